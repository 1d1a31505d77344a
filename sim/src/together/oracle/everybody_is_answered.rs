//! Once nothing is under way, nobody waits for an answer.

use super::{Oracle, View};

/// Looks for whoever still waits.
#[derive(Debug)]
pub struct EverybodyIsAnswered;

impl Oracle for EverybodyIsAnswered {
    fn name(&self) -> &'static str {
        "everybody is answered"
    }

    fn healed(&mut self, view: &View<'_>) -> Result<(), String> {
        match view.workers.iter().enumerate().find(|(_, worker)| !worker.open.is_empty()) {
            Some((number, worker)) => Err(format!("worker {number} owes answers: {:?}", worker.open)),
            None => Ok(()),
        }
    }
}
