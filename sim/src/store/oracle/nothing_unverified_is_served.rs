//! Whatever part of a chunk is served is that part of that chunk.

use kollator_core::store::Answer;

use super::{Happening, Oracle, Question, View};

/// Compares every answer with the truth.
#[derive(Debug)]
pub struct NothingUnverifiedIsServed;

impl Oracle for NothingUnverifiedIsServed {
    fn name(&self) -> &'static str {
        "nothing unverified is served"
    }

    fn watch(&mut self, happening: Happening<'_>, view: &View<'_>) -> Result<(), String> {
        let Happening::Answered(Question::Read(chunk, part), Answer::Data { result: Ok(data), .. }) = happening
        else {
            return Ok(());
        };
        let right = view.truth.iter().find(|truth| truth.id() == chunk).and_then(|truth| part.of(truth));
        if right.as_ref() != Some(data) {
            return Err(format!("{part:?} of {chunk:?} was served wrong"));
        }
        Ok(())
    }
}
