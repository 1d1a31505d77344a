//! A chunk that was acknowledged is in S3 from then on, and once faults are over whoever asks gets it.

use std::collections::BTreeSet;

use kollator_core::id::ChunkId;
use kollator_core::store::Answer;

use super::{Happening, Oracle, Question, View};

/// Remembers what was acknowledged, across all lives of the process.
#[derive(Debug, Default)]
pub struct AcknowledgedChunkIsReadable {
    acknowledged: BTreeSet<ChunkId>,
}

impl Oracle for AcknowledgedChunkIsReadable {
    fn name(&self) -> &'static str {
        "acknowledged chunk is readable"
    }

    fn watch(&mut self, happening: Happening<'_>, view: &View<'_>) -> Result<(), String> {
        if let Happening::Answered(question, answer) = happening {
            match (question, answer) {
                (Question::Put(chunk), Answer::Stored { result: Ok(()), .. })
                | (Question::Contains(chunk), Answer::Contains { result: Ok(true), .. }) => {
                    self.acknowledged.insert(chunk);
                }
                (Question::Read(chunk, _), Answer::Data { result: Err(error), .. })
                    if view.healed && self.acknowledged.contains(&chunk) =>
                {
                    return Err(format!("{chunk:?} was acknowledged and cannot be read: {error}"));
                }
                _ => {}
            }
        }
        match self.acknowledged.difference(view.s3).next() {
            Some(chunk) => Err(format!("{chunk:?} was acknowledged and S3 does not have it")),
            None => Ok(()),
        }
    }
}
