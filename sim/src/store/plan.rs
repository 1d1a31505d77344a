//! What a seed decides before a run begins: the store's limits, how much happens, which faults there are.

use std::num::NonZeroUsize;
use std::time::Duration;

use kollator_core::machine::Rng;
use kollator_core::store::Config;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// S3 answers with an error and did nothing.
    S3Error,
    /// S3 takes a hundred times as long.
    S3Slow,
    /// S3 did what it was asked and answers with an error.
    AppliedButFailed,
    /// S3 sends other bytes than it was asked for.
    S3Lie,
    /// S3 does what a process asked that has died since.
    AppliedAfterDeath,
    /// The process dies.
    Crash,
    /// The process dies having created a file of the cache.
    CrashAtCreated,
    /// The process dies having written half a file of the cache.
    CrashAtHalf,
    /// The process dies before a whole file of the cache has its name.
    CrashAtWhole,
    /// The process dies before a file's name is durable, and the name is lost.
    CrashLosesName,
    /// Somebody empties the cache.
    Wipe,
    /// A file of the cache rots, and is read.
    Rot,
    /// The disk refuses a write.
    WriteFailed,
    /// The disk refuses a removal.
    RemoveFailed,
}

impl Fault {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::S3Error,
        Self::S3Slow,
        Self::AppliedButFailed,
        Self::S3Lie,
        Self::AppliedAfterDeath,
        Self::Crash,
        Self::CrashAtCreated,
        Self::CrashAtHalf,
        Self::CrashAtWhole,
        Self::CrashLosesName,
        Self::Wipe,
        Self::Rot,
        Self::WriteFailed,
        Self::RemoveFailed,
    ];
}

/// How often each kind of fault happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fired([u64; Fault::ALL.len()]);

impl Fired {
    /// Counts one.
    pub fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// Adds what happened in another run.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }

    /// How often `fault` happened.
    #[must_use]
    pub const fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }
}

/// A bug put into the world on purpose: an oracle that does not see it is no oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// The driver says that a chunk is stored when it has only begun to send it.
    StoredTooEarly,
    /// The driver says that a chunk is off the disk and leaves it there.
    NeverRemoves,
    /// The driver reads files of the cache without checking them.
    ServesRot,
    /// Recovery takes half-written files for whole ones.
    RecoversTorn,
    /// Recovery overlooks a file.
    OverlooksFile,
    /// The store is told a larger limit than it may use.
    TooMuchMemory,
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
    enabled: [bool; Fault::ALL.len()],
    /// An enabled fault happens once in so many chances.
    rarity: u64,
}

impl Plan {
    pub(super) fn draw(rng: &mut Rng, pool: usize) -> Self {
        let mut up_to = |most: u64| 1 + rng.below(most);
        let config = Config {
            cache_bytes: [0, 200, 1_000, 5_000, 60_000, 200_000][up_to(6) as usize - 1],
            max_age: Duration::from_millis([20, 500, 60_000][up_to(3) as usize - 1]),
            max_fetches: up_to(4) as usize,
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
        Self { config, questions, pace, chunks, enabled: Fault::ALL.map(|_| rng.one_in(2)), rarity }
    }

    /// Whether an enabled fault happens at this chance.
    pub(super) fn strikes(&self, fault: Fault, rng: &mut Rng) -> bool {
        self.enabled[fault as usize] && rng.one_in(self.rarity)
    }

    /// From now on nothing fails any more.
    pub(super) fn heal(&mut self) {
        self.enabled = Default::default();
    }
}
