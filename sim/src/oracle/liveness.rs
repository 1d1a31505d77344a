//! Once the faults are over, everybody gets what somebody honest and reachable has, in bounded time.

use super::{Oracle, WorldEvent};
use crate::world::Truth;

#[derive(Default)]
pub(super) struct Liveness;

impl Oracle for Liveness {
    fn name(&self) -> &'static str {
        "liveness"
    }

    fn observe(&mut self, _: &WorldEvent<'_>, _: &Truth) -> Result<(), String> {
        Ok(())
    }

    fn at_end(&mut self, truth: &Truth) -> Result<(), String> {
        match truth.unfulfilled.first() {
            Some((node, share, what)) => Err(format!("node {node}, share {share}: {what}")),
            None => Ok(()),
        }
    }
}
