//! The fronts' election alone, on an event heap: clocks that run at different speeds, a network that loses, delays,
//! repeats and reorders, links that are cut one way or flap, and processes that pause, crash and lose ballots.
//!
//! One number decides everything that happens in a run. Nothing here is shared with production but the machine
//! under test: the world plays the drivers, their disks and what lies between them.

mod node;
pub mod oracle;
mod plan;
mod world;

pub use plan::{Fault, Plant};
pub use world::Elections;
