//! The worker's store alone, on an event heap: a disk that fails and rots, an S3 that is slow, lies and applies
//! what it said had failed, and a process that dies at any moment.
//!
//! One number decides everything that happens in a run. Nothing here is shared with production but the machine
//! under test: the world plays its driver.

mod disk;
pub mod oracle;
mod plan;
mod trace;
mod world;

pub use plan::{Fault, Plant};
pub use world::Stores;
pub(crate) use world::{POOL, chunk_of};
