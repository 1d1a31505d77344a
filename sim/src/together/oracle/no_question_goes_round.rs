//! No worker has another one wait for the answer of a third.

use super::{Happening, Oracle, View};

/// Looks for a chunk that a worker is asked for and asks for at once.
#[derive(Debug)]
pub struct NoQuestionGoesRound;

impl Oracle for NoQuestionGoesRound {
    fn name(&self) -> &'static str {
        "no question goes round"
    }

    fn watch(&mut self, _: Happening<'_>, view: &View<'_>) -> Result<(), String> {
        for (number, worker) in view.workers.iter().enumerate() {
            // What it has got by another way meanwhile, nobody waits for.
            let waits = |chunk| {
                !worker.caches(chunk)
                    && worker.open.values().any(|(open, asked)| *open == chunk && asked.is_some())
            };
            if let Some(chunk) = worker.asking.values().find(|chunk| waits(**chunk)) {
                return Err(format!("worker {number} asks for {chunk:?}, and another waits for it there"));
            }
        }
        Ok(())
    }
}
