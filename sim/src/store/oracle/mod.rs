//! What must hold of the store: one file a property.

mod acknowledged_chunk_is_readable;
mod cache_index_equals_disk;
mod cache_within_budget;
mod memory_within_bound;
mod nothing_unverified_is_served;
mod rot_is_found_in_a_round;

use std::collections::BTreeSet;

use kollator_core::id::ChunkId;
use kollator_core::machine::Instant;
use kollator_core::merkle::VerifiedChunk;
use kollator_core::store::{Answer, Config, Part, Store};

pub use acknowledged_chunk_is_readable::AcknowledgedChunkIsReadable;
pub use cache_index_equals_disk::CacheIndexEqualsDisk;
pub use cache_within_budget::CacheWithinBudget;
pub use memory_within_bound::MemoryWithinBound;
pub use nothing_unverified_is_served::NothingUnverifiedIsServed;
pub use rot_is_found_in_a_round::RotIsFoundInARound;

use super::disk::Disk;

/// A question about one chunk that the world asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A part of it.
    Read(ChunkId, Part),
    /// To store it.
    Put(ChunkId),
    /// Whether it is stored.
    Contains(ChunkId),
    /// A `.ko`, by its number.
    Torrent(u8),
    /// To store a `.ko`, by its number.
    PutTorrent(u8),
}

/// What happened last.
#[derive(Clone, Copy, Debug)]
pub enum Happening<'a> {
    /// The store answered a question.
    Answered(Question, &'a Answer),
    /// Something else.
    Other,
}

/// Everything as it is.
#[derive(Debug)]
pub struct View<'a> {
    /// What time it is.
    pub now: Instant,
    /// Which life of the process this is.
    pub life: u64,
    /// The machine.
    pub store: &'a Store,
    /// The limits it was promised to keep.
    pub config: &'a Config,
    /// The cache's folder.
    pub disk: &'a Disk,
    /// Chunks that S3 has.
    pub s3: &'a BTreeSet<ChunkId>,
    /// All faults are over: whatever is asked from now on works.
    pub healed: bool,
    /// Every chunk there is, as it should be.
    pub truth: &'a [VerifiedChunk],
}

/// Watches one property.
pub trait Oracle {
    /// Its name, for reports.
    fn name(&self) -> &'static str;

    /// Called after every event.
    ///
    /// # Errors
    /// How the property is broken.
    fn watch(&mut self, happening: Happening<'_>, view: &View<'_>) -> Result<(), String> {
        let _ = (happening, view);
        Ok(())
    }

    /// Called when all faults are over, everything was read once, and nothing is under way.
    ///
    /// # Errors
    /// How the property is broken.
    fn healed(&mut self, view: &View<'_>) -> Result<(), String> {
        let _ = view;
        Ok(())
    }
}

/// One of each.
#[must_use]
pub fn all() -> Vec<Box<dyn Oracle>> {
    vec![
        Box::new(AcknowledgedChunkIsReadable::default()),
        Box::new(CacheWithinBudget),
        Box::new(NothingUnverifiedIsServed),
        Box::new(CacheIndexEqualsDisk),
        Box::new(MemoryWithinBound),
        Box::new(RotIsFoundInARound::default()),
    ]
}
