//! Whatever a worker's own client reads of a chunk is that of the chunk.

use kollator_core::store::{Answer, Part};

use super::{Happening, Oracle, View};
use crate::store::chunk_of;

/// Compares every answer with the truth.
#[derive(Debug)]
pub struct NothingWrongIsServed;

impl Oracle for NothingWrongIsServed {
    fn name(&self) -> &'static str {
        "nothing wrong is served"
    }

    fn watch(&mut self, happening: Happening<'_>, _: &View<'_>) -> Result<(), String> {
        let Happening::Said { worker, chunk, answer: Answer::Data { result: Ok(data), .. } } = happening else {
            return Ok(());
        };
        let right = Part::Blocks { first: 0, count: chunk.blocks() }.of(&chunk_of(chunk));
        if right.as_ref() != Some(data) {
            return Err(format!("worker {worker} served {chunk:?} wrong"));
        }
        Ok(())
    }
}
