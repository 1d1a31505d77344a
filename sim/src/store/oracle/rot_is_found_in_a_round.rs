//! A file that rots is found within one round of the scrub, though nobody reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kollator_core::id::ChunkId;
use kollator_core::machine::Instant;
use kollator_core::store::{SCRUB_LEAST, cached_len};

use super::{Happening, Oracle, View};

/// What the disk may take for the last verification of a round.
const SLACK: Duration = Duration::from_millis(10);

/// Remembers since when each file of the index is rotten.
#[derive(Debug, Default)]
pub struct RotIsFoundInARound {
    /// Which life of the process it was in: a new one begins its round anew.
    life: u64,
    since: BTreeMap<ChunkId, Instant>,
}

impl Oracle for RotIsFoundInARound {
    fn name(&self) -> &'static str {
        "rot is found in a round"
    }

    fn watch(&mut self, _: Happening<'_>, view: &View<'_>) -> Result<(), String> {
        if view.config.scrub_rate == 0 {
            return Ok(());
        }
        if view.life != self.life {
            self.life = view.life;
            self.since.clear();
        }
        let mut rotten: BTreeSet<_> = view.disk.rotten().collect();
        if !rotten.is_empty() {
            let index: BTreeSet<_> = view.store.cached().collect();
            rotten.retain(|chunk| index.contains(chunk));
        }
        self.since.retain(|chunk, _| rotten.contains(chunk));
        let bytes: u64 = view.truth.iter().map(|chunk| cached_len(chunk.id()).max(SCRUB_LEAST)).sum();
        let round = Duration::from_secs_f64(bytes as f64 / view.config.scrub_rate as f64) + SLACK;
        for chunk in rotten {
            let since = *self.since.entry(chunk).or_insert(view.now);
            if view.now > since + round {
                return Err(format!("{chunk:?} is rotten since {since:?}, and a round takes {round:?}"));
            }
        }
        Ok(())
    }
}
