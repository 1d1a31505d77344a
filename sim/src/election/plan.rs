//! What a seed decides before a run begins: how many fronts, their timings and clocks, which faults there are.

use std::time::Duration;

use kollator_core::cluster::FrontId;
use kollator_core::cluster::election::ElectionConfig;
use kollator_core::machine::Rng;

use crate::fault::{self, FaultSet};
use crate::kinds::kinds;
use crate::plant;

kinds! {
    /// A kind of fault.
    pub enum Fault: fault::Fault, text -> &'static str {
        /// A message is lost.
        Loss = "message lost",
        /// A message takes up to two seconds, and others overtake it.
        Delay = "message late",
        /// A message arrives twice.
        Duplicate = "message twice",
        /// Some fronts cannot reach the others, and the other way round.
        Partition = "partition",
        /// A front cannot reach another, who can reach it.
        OneWay = "one-way partition",
        /// A link comes and goes.
        Flapping = "flapping link",
        /// A process stands still, and all that arrived meanwhile is told afterwards.
        Pause = "pause",
        /// A process dies.
        Crash = "crash",
        /// A process dies while its ballot is being written, and the disk has it.
        CrashWritten = "crash in a write, written",
        /// A process dies while its ballot is being written, and the disk does not have it.
        CrashUnwritten = "crash in a write, not written",
        /// A front's disk loses its ballot. Only when no other front's is lost.
        LostBallot = "ballot lost",
        /// A disk takes up to two seconds for a ballot.
        SlowDisk = "slow disk",
        /// A wake-up that nobody asked for.
        EarlyWake = "early wake-up",
    }
}

kinds! {
    /// A bug put into the world on purpose: an oracle that does not see it is no oracle.
    pub enum Plant: plant::Plant, judges -> &'static [&'static str] {
        /// Whoever asks for a vote gets it.
        VotesTwice = &["one vote a term", "one leader a term", "vote is on disk"],
        /// The driver says that a ballot is on disk when it has only begun to write.
        PersistedTooEarly = &["vote is on disk", "one vote a term"],
        /// The lease is as long as the promise, as if all clocks ran alike.
        LeaseIgnoresDrift = &["leases are disjoint"],
        /// The lease is taken to last as long as the lead.
        LeaseWithoutEnd = &["leases are disjoint", "lease is earned"],
        /// A leader stays one, whatever it hears or does not hear.
        NeverStepsDown = &["one leader in the end"],
        /// A disk gives back the ballot before the last.
        DiskGoesBack = &["ballots rise", "one leader a term"],
        /// A front that lost its ballot takes itself for new.
        LossForgotten = &["one vote a term"],
    }
}

/// What a seed decided.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) fronts: u8,
    /// How far clocks may be from true speed, in parts per million, and are.
    pub(super) drift: u32,
    settings: ElectionConfig,
    /// Longest time that a healthy message takes, in nanoseconds.
    pub(super) latency: u64,
    /// Longest time that a healthy disk takes for a ballot, in nanoseconds.
    pub(super) disk: u64,
    /// Time during which faults strike.
    pub(super) chaos: Duration,
    /// Longest time between two occasions for the larger faults, in nanoseconds.
    pub(super) pace: u64,
    /// Faults that may happen.
    enabled: FaultSet<Fault>,
    /// An enabled fault happens once in so many chances.
    rarity: u64,
}

impl Plan {
    pub(super) fn draw(rng: &mut Rng, plant: Option<Plant>) -> Self {
        let fronts = 1 + rng.below(7) as u8;
        let drift = [0, 10_000, 50_000, 200_000][rng.below(4) as usize];
        let mut settings = ElectionConfig::new(FrontId(0), fronts, 0);
        settings.heartbeat = Duration::from_millis(50 + rng.below(100));
        let start = settings.heartbeat * (3 + rng.below(3) as u32);
        settings.timeout = start..start * (13 + rng.below(12) as u32) / 10;
        settings.promise = start - start * rng.below(2) as u32 / 10;
        settings.max_drift_ppm = drift;
        let (fast, slow) = (1_000_000 + u64::from(drift), 1_000_000 - u64::from(drift));
        settings.lease = Duration::from_nanos(settings.promise.as_nanos() as u64 * slow / fast);
        if plant == Some(Plant::LeaseIgnoresDrift) {
            (settings.lease, settings.max_drift_ppm) = (settings.promise, 0);
        }
        let millis = |most: u64| 1_000_000 * most;
        let mut enabled = FaultSet::draw(rng, 2);
        let mut rarity = 2 + rng.below(15);
        if plant == Some(Plant::LossForgotten) {
            // A bug that takes a lost ballot, and other fronts to make use of it.
            enabled.allow(Fault::Crash);
            enabled.allow(Fault::LostBallot);
            rarity = 2;
        }
        Self {
            fronts,
            drift,
            settings,
            latency: millis(1 + rng.below(20)),
            disk: millis(1 + rng.below(20)),
            chaos: Duration::from_millis(3_000 + rng.below(9_000)),
            pace: millis(50 + rng.below(400)),
            enabled,
            rarity,
        }
    }

    /// The settings of a front at its start.
    pub(super) fn config(&self, id: FrontId, seed: u64, floor: u64) -> ElectionConfig {
        ElectionConfig { id, seed, floor, ..self.settings.clone() }
    }

    /// How far a front's clock is from true speed, in parts per million.
    pub(super) fn draw_drift(&self, rng: &mut Rng) -> i64 {
        let most = i64::from(self.drift);
        match rng.below(3) {
            0 => -most,
            1 => most,
            _ => rng.below(2 * most as u64 + 1) as i64 - most,
        }
    }

    /// Whether an enabled fault happens at this chance.
    pub(super) fn strikes(&self, fault: Fault, rng: &mut Rng) -> bool {
        self.enabled.strikes(fault, self.rarity, rng)
    }
}
