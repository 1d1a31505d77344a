//! The cache's folder as a crash leaves it: files under their names, whole or rotten, and temporary ones.

use std::collections::BTreeMap;
use std::time::Duration;

use kollator_core::id::ChunkId;
use kollator_core::machine::{Instant, Rng};
use kollator_core::store::cached_len;

use super::plan::{Fault, Plant};
use crate::fault::Fired;

/// How far a write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The temporary file is there, empty.
    Created,
    /// Half of it is written.
    Half,
    /// All of it is written and durable.
    Whole,
    /// It has its name, which a crash may still lose.
    Named,
}

/// A file under a chunk's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    /// Its bytes are as they were written.
    pub(super) right: bool,
    /// When it was last used.
    pub(super) used: Instant,
}

/// The folder.
#[derive(Debug, Default)]
pub struct Disk {
    pub(super) files: BTreeMap<ChunkId, File>,
    pub(super) writes: BTreeMap<ChunkId, Stage>,
}

impl Disk {
    /// The chunks that have a file.
    pub fn names(&self) -> impl Iterator<Item = ChunkId> {
        self.files.keys().copied()
    }

    /// The chunks whose file is not as it was written.
    pub fn rotten(&self) -> impl Iterator<Item = ChunkId> {
        self.files.iter().filter(|(_, file)| !file.right).map(|(&chunk, _)| chunk)
    }

    /// Bytes of all files, temporary ones included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let temporary = self.writes.iter().map(|(&chunk, stage)| match stage {
            Stage::Created | Stage::Named => 0,
            Stage::Half => cached_len(chunk) / 2,
            Stage::Whole => cached_len(chunk),
        });
        self.names().map(cached_len).sum::<u64>() + temporary.sum::<u64>()
    }

    /// The process dies: names that are not durable may be lost.
    pub(super) fn crash(&mut self, rng: &mut Rng, fired: &mut Fired<Fault>) {
        for (chunk, stage) in &mut self.writes {
            match stage {
                Stage::Created => fired.count(Fault::CrashAtCreated),
                Stage::Half => fired.count(Fault::CrashAtHalf),
                Stage::Whole => fired.count(Fault::CrashAtWhole),
                Stage::Named if rng.one_in(2) => {
                    fired.count(Fault::CrashLosesName);
                    self.files.remove(chunk);
                    *stage = Stage::Whole;
                }
                Stage::Named => {}
            }
        }
    }

    /// What the next process finds: temporary files are removed, the others are named with their age.
    pub(super) fn recover(&mut self, now: Instant, plant: Option<Plant>) -> Vec<(ChunkId, Duration)> {
        let left = std::mem::take(&mut self.writes);
        if plant == Some(Plant::RecoversTorn) {
            let torn = left.into_iter().filter(|(_, stage)| *stage == Stage::Half);
            self.files.extend(torn.map(|(chunk, _)| (chunk, File { right: false, used: now })));
        }
        let overlooked = usize::from(plant == Some(Plant::OverlooksFile));
        self.files.iter().skip(overlooked).map(|(&chunk, file)| (chunk, now.since(file.used))).collect()
    }
}
