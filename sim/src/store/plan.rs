//! What a seed decides before a run begins: the store's limits, how much happens, which faults there are.

use std::num::NonZeroUsize;
use std::time::Duration;

use kollator_core::machine::Rng;
use kollator_core::store::Config;

use crate::fault::{self, FaultSet};
use crate::kinds::kinds;
use crate::plant;

kinds! {
    /// A kind of fault.
    pub enum Fault: fault::Fault, text -> &'static str {
        /// S3 answers with an error and did nothing.
        S3Error = "S3 error",
        /// S3 takes a hundred times as long.
        S3Slow = "S3 slow",
        /// S3 did what it was asked and answers with an error.
        AppliedButFailed = "S3 applied, reported a failure",
        /// S3 sends other bytes than it was asked for.
        S3Lie = "S3 sends other bytes",
        /// S3 does what a process asked that has died since.
        AppliedAfterDeath = "S3 applied after a crash",
        /// The process dies.
        Crash = "crash",
        /// The process dies having created a file of the cache.
        CrashAtCreated = "crash, file created",
        /// The process dies having written half a file of the cache.
        CrashAtHalf = "crash, file half written",
        /// The process dies before a whole file of the cache has its name.
        CrashAtWhole = "crash, file not named",
        /// The process dies before a file's name is durable, and the name is lost.
        CrashLosesName = "crash, name lost",
        /// Somebody empties the cache.
        Wipe = "cache emptied",
        /// A file of the cache rots, and is read or verified.
        Rot = "file rotten",
        /// The disk refuses a write.
        WriteFailed = "write refused",
        /// The disk refuses a removal.
        RemoveFailed = "removal refused",
    }
}

kinds! {
    /// A bug put into the world on purpose: an oracle that does not see it is no oracle.
    pub enum Plant: plant::Plant, judges -> &'static [&'static str] {
        /// The driver says that a chunk is stored when it has only begun to send it.
        StoredTooEarly = &["acknowledged chunk is readable"],
        /// The driver says that a chunk is off the disk and leaves it there.
        NeverRemoves = &["cache within budget", "cache index equals disk"],
        /// The driver reads files of the cache without checking them.
        ServesRot = &["nothing unverified is served"],
        /// The driver says of every file that it is as it was written.
        OverlooksRot = &["rot is found in a round"],
        /// Recovery takes half-written files for whole ones.
        RecoversTorn = &["nothing unverified is served"],
        /// Recovery overlooks a file.
        OverlooksFile = &["cache index equals disk"],
        /// The store is told a larger limit than it may use.
        TooMuchMemory = &["memory within bound"],
    }
}

/// What a seed decided.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    /// Questions that are asked.
    pub(super) questions: u32,
    /// Longest time between two questions.
    pub(super) pace: u64,
    /// Chunks that there are.
    pub(super) chunks: usize,
    /// Faults that may happen.
    enabled: FaultSet<Fault>,
    /// An enabled fault happens once in so many chances.
    rarity: u64,
}

impl Plan {
    pub(super) fn draw(rng: &mut Rng, pool: usize) -> Self {
        let mut up_to = |most: u64| 1 + rng.below(most);
        let config = Config {
            name: String::new(),
            cache_bytes: [0, 200, 1_000, 5_000, 60_000, 200_000][up_to(6) as usize - 1],
            max_age: Duration::from_millis([20, 500, 60_000][up_to(3) as usize - 1]),
            scrub_rate: [0, 0, 200_000][up_to(3) as usize - 1],
            max_fetches: up_to(4) as usize,
            max_asks: 0,
            keep_after: 1,
            passing_age: Duration::ZERO,
            max_puts: up_to(4) as usize,
            max_lookups: up_to(3) as usize,
            max_memory: [150, 3_000, 40_000, 200_000][up_to(4) as usize - 1],
            max_queued_fetches: up_to(10) as usize,
            max_waiting: up_to(40) as usize,
            max_known: NonZeroUsize::new(up_to(20) as usize).expect("at least one"),
            torrent_bytes: up_to(300),
        };
        let (questions, pace) = (20 + up_to(80) as u32, up_to(3_000_000));
        let (chunks, rarity) = (up_to(pool as u64) as usize, 3 + up_to(20));
        Self { config, questions, pace, chunks, enabled: FaultSet::draw(rng, 2), rarity }
    }

    /// Whether an enabled fault happens at this chance.
    pub(super) fn strikes(&self, fault: Fault, rng: &mut Rng) -> bool {
        self.enabled.strikes(fault, self.rarity, rng)
    }

    /// From now on nothing fails any more.
    pub(super) fn heal(&mut self) {
        self.enabled = FaultSet::none();
    }
}
