//! A chunk that any worker acknowledged is in S3 from then on, and read at every worker once faults are over.

use std::collections::BTreeSet;

use kollator_core::id::ChunkId;
use kollator_core::store::Answer;

use super::{Happening, Oracle, View};

/// Remembers what was acknowledged, by whomever.
#[derive(Debug, Default)]
pub struct AcknowledgedChunkIsReadable {
    acknowledged: BTreeSet<ChunkId>,
}

impl Oracle for AcknowledgedChunkIsReadable {
    fn name(&self) -> &'static str {
        "acknowledged chunk is readable"
    }

    fn watch(&mut self, happening: Happening<'_>, view: &View<'_>) -> Result<(), String> {
        if let Happening::Said { worker, chunk, answer } = happening {
            let config = &view.workers[worker].config;
            let fits = u64::from(chunk.length()) <= config.max_memory / 2;
            match answer {
                Answer::Stored { result: Ok(()), .. } => {
                    self.acknowledged.insert(chunk);
                }
                Answer::Data { result: Err(error), .. }
                    if view.healed && !view.s3_down && fits && self.acknowledged.contains(&chunk) =>
                {
                    return Err(format!("{chunk:?} was acknowledged and worker {worker} cannot read it: {error}"));
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
