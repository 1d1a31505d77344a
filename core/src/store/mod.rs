//! The worker's store: a bounded cache in front of a backing store that keeps everything for good.
//!
//! Decides what is cached, fetched, evicted and acknowledged; the disk and S3 are the driver's.

mod answer;
pub mod cache;
mod config;
mod effect;
mod homes;
mod machine;
mod torrents;

pub use answer::{Answer, StoreError};
pub use config::Config;
pub use effect::{Effect, EffectDone, HomeAnswer, Key, Outcome, Part, PartData};
pub use homes::{HOME_REPLICAS, Home};
pub use machine::{AheadStats, Fault, HomeStats, MAX_AHEAD, Output, ReaderId, Stats, Store};

use crate::id::ChunkId;

/// Most bytes of a `.ko` that is stored: the hashes of a million pieces.
pub const MAX_KO_LEN: u64 = 32 << 20;

/// Bytes that a cached chunk takes besides its data and its leaf hashes: the footer that says they are whole.
pub const CACHE_FOOTER_LEN: u64 = 64;

/// Least bytes that verifying a cached chunk counts for: finding a file costs the disk something, however short it is.
pub const SCRUB_LEAST: u64 = 4096;

/// Bytes that a chunk takes in the cache: its data, 32 a block for its leaf hashes, and the footer.
#[must_use]
pub const fn cached_len(chunk: ChunkId) -> u64 {
    chunk.length() as u64 + 32 * chunk.blocks() as u64 + CACHE_FOOTER_LEN
}
