//! What a seed decides before a run begins: how many workers, their limits, how much happens, which faults there are.

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
        /// A worker dies, and starts again after a while.
        Crash = "worker dies",
        /// It starts again with an empty cache.
        Wipe = "cache lost with it",
        /// A worker that is not there is asked.
        HomeDown = "home is down",
        /// A home takes longer than patience lasts.
        HomeSlow = "home is slow",
        /// A home has too much to do.
        HomeBusy = "home is busy",
        /// A home breaks off in the middle.
        HomeBreaksOff = "home breaks off",
        /// A home sends other bytes.
        HomeLies = "home lies",
        /// Two workers cannot reach each other.
        Partition = "partition between workers",
        /// A worker is told of other workers than there are.
        StaleRing = "stale ring",
        /// S3 fails.
        S3Error = "S3 error",
        /// S3 takes a hundred times as long.
        S3Slow = "S3 slow",
        /// S3 answers nobody for a while.
        S3Down = "S3 down",
        /// S3 did what it was asked and answers with an error.
        AppliedButFailed = "S3 applied, reported a failure",
    }
}

kinds! {
    /// A bug put into the world on purpose: an oracle that does not see it is no oracle.
    pub enum Plant: plant::Plant, judges -> &'static [&'static str] {
        /// The driver says that a chunk is stored when it has only begun to send it.
        StoredTooEarly = &["acknowledged chunk is readable"],
        /// A worker that is asked by another reads as if a client had asked.
        AsksForOthers = &["no question goes round"],
        /// The driver takes a lie for a chunk that is not there.
        OverlooksLies = &["liars are left alone"],
        /// The driver waits for ever for a home that is silent.
        WaitsForEver = &["everybody is answered"],
        /// Workers are not told of each other any more once faults are over.
        KeepsOldRing = &["reads go on without S3"],
        /// The driver reads files of the cache that have rotted without checking them.
        ServesRot = &["nothing wrong is served"],
        /// The store is told larger limits than it may use.
        TooMuch = &["bounds hold"],
    }
}

/// What a seed decided.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// One for each worker, whose name it has.
    pub(super) configs: Vec<Config>,
    /// Questions that are asked.
    pub(super) questions: u32,
    /// Longest time between two questions, in nanoseconds.
    pub(super) pace: u64,
    /// Chunks that there are.
    pub(super) chunks: usize,
    enabled: FaultSet<Fault>,
    rarity: u64,
}

impl Plan {
    pub(super) fn draw(rng: &mut Rng, pool: usize) -> Self {
        let workers = 2 + rng.below(2) as usize;
        let configs = (0..workers).map(|n| config(rng, n)).collect();
        let mut up_to = |most: u64| 1 + rng.below(most);
        let (questions, pace) = (20 + up_to(80) as u32, [3_000_000, 100_000_000][up_to(2) as usize - 1]);
        let (chunks, rarity) = (up_to(pool as u64) as usize, 3 + up_to(20));
        Self { configs, questions, pace, chunks, enabled: FaultSet::draw(rng, 2), rarity }
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

fn config(rng: &mut Rng, number: usize) -> Config {
    let mut up_to = |most: u64| 1 + rng.below(most);
    Config {
        name: name_of(number),
        cache_bytes: [200, 5_000, 60_000, 400_000][up_to(4) as usize - 1],
        max_age: Duration::from_secs(100 * 3600),
        scrub_rate: 0,
        max_fetches: up_to(4) as usize,
        max_asks: up_to(5) as usize - 1,
        keep_after: up_to(3) as u32,
        passing_age: Duration::from_millis([5, 500, 2_000][up_to(3) as usize - 1]),
        max_puts: up_to(4) as usize,
        max_lookups: up_to(3) as usize,
        max_memory: [3_000, 40_000, 100_000, 400_000][up_to(4) as usize - 1],
        max_queued_fetches: up_to(10) as usize,
        max_waiting: up_to(40) as usize,
        max_known: NonZeroUsize::new(up_to(20) as usize).expect("at least one"),
        torrent_bytes: 100,
    }
}

/// What a worker is called.
pub(super) fn name_of(number: usize) -> String {
    format!("w{number}")
}
