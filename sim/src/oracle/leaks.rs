//! A machine knows exactly the connections that its WebRTC stack has for it: none is forgotten on either side.

use super::{Fact, Oracle, WorldEvent};
use crate::world::Truth;

#[derive(Default)]
pub(super) struct Leaks;

impl Oracle for Leaks {
    fn name(&self) -> &'static str {
        "leaks"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, _: &Truth) -> Result<(), String> {
        match event.fact {
            Fact::Rested { sessions: Some(sessions), channels, .. } if sessions != channels => {
                Err(format!("{sessions} sessions over {channels} connections"))
            }
            _ => Ok(()),
        }
    }
}
