//! A worker that heard a lie asks the liar nothing for an hour.

use std::collections::BTreeMap;
use std::time::Duration;

use kollator_core::machine::Instant;
use kollator_core::store::HomeAnswer;

use super::{Happening, Oracle, View};

const HOUR: Duration = Duration::from_secs(3600);

/// Remembers who lied to whom, and when; a worker that died has forgotten.
#[derive(Debug, Default)]
pub struct LiarsAreLeftAlone {
    lies: BTreeMap<(usize, u64, usize), Instant>,
}

impl Oracle for LiarsAreLeftAlone {
    fn name(&self) -> &'static str {
        "liars are left alone"
    }

    fn watch(&mut self, happening: Happening<'_>, view: &View<'_>) -> Result<(), String> {
        match happening {
            Happening::Answered { worker, home, answer: HomeAnswer::Lie(_), .. } => {
                self.lies.insert((worker, view.workers[worker].life, home), view.now);
            }
            Happening::Asks { worker, home, .. } => {
                let lied = self.lies.get(&(worker, view.workers[worker].life, home));
                if lied.is_some_and(|lied| view.now.since(*lied) < HOUR) {
                    return Err(format!("worker {worker} asks {home}, who lied to it at {lied:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
