//! Two or three stores of workers that ask each other, on one event heap: homes that are down, slow, busy, cut off or
//! lie, workers who believe in different rings, an S3 that fails or is gone.
//!
//! One number decides everything that happens in a run. Nothing here is shared with production but the machines under
//! test: the world plays their drivers, their disks, the network between them and S3.

pub mod oracle;
mod plan;
mod world;

pub use plan::{Fault, Plant};
pub use world::Together;
