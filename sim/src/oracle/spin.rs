//! No machine spins: after it has spoken, the next wake-up it asks for lies in the future, and it is not busy
//! with itself while time stands still.

use std::collections::BTreeMap;

use kollator_core::machine::Instant;

use super::{Fact, Oracle, WorldEvent};
use crate::world::Truth;

/// More inputs at one instant than any sound run has.
const MAX_AT_ONCE: u32 = 5_000;

#[derive(Default)]
pub(super) struct Spin(BTreeMap<usize, (Instant, u32)>);

impl Oracle for Spin {
    fn name(&self) -> &'static str {
        "spin"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, _: &Truth) -> Result<(), String> {
        let Fact::Rested { next_wake, .. } = event.fact else { return Ok(()) };
        if let Some(next_wake) = next_wake
            && next_wake <= event.at
        {
            return Err("asks to be woken at once".into());
        }
        let (at, times) = self.0.entry(event.node).or_default();
        if *at != event.at {
            (*at, *times) = (event.at, 0);
        }
        *times += 1;
        if *times > MAX_AT_ONCE {
            return Err(format!("busy {times} times at one instant"));
        }
        Ok(())
    }
}
