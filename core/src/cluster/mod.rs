//! What fronts agree on among themselves: who leads, who is where, which worker is alive and which of them serve
//! whom. Each is a small machine of its own; a front routes between them. None of them knows a socket, a disk or
//! a clock.

pub mod channel;
pub mod election;
pub mod epoch;
pub mod health;
pub mod roster;
pub mod saved;
pub mod table;

use std::fmt;

/// Most fronts of a network.
pub const MAX_FRONTS: usize = 32;

/// A front: its place in the sorted list of the names of all fronts, which every one of them is configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrontId(pub u8);

impl fmt::Display for FrontId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "front #{}", self.0)
    }
}
