//! What an election is configured with, and the arithmetic that makes a lease safe although clocks differ.

use std::ops::Range;
use std::time::Duration;

use crate::cluster::{FrontId, MAX_FRONTS};

/// Parts in a whole, for [`ElectionConfig::max_drift_ppm`].
const MILLION: u128 = 1_000_000;

/// Settings of an [`Election`](super::Election). All fronts of a network must have the same, but for `id`, `seed`
/// and `floor`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ElectionConfig {
    /// This front.
    pub id: FrontId,
    /// How many fronts there are, this one included: 1 to [`MAX_FRONTS`].
    pub fronts: u8,
    /// Decides all chance. It must differ from front to front and from start to start: answers to questions of
    /// an earlier life are told apart by it.
    pub seed: u64,
    /// The newest term that this front knows of from elsewhere than its ballot, such as from the newest epoch it
    /// kept; 0 if none. A front that lost its ballot starts no lower.
    pub floor: u64,
    /// Time between two rounds of heartbeats.
    pub heartbeat: Duration,
    /// A front that has not heard a leader for a time drawn from here looks for votes. A leader that has not had a
    /// majority for the longest of it gives up.
    pub timeout: Range<Duration>,
    /// For so long after hearing a leader a front votes for nobody.
    pub promise: Duration,
    /// For so long after sending a round of heartbeats that a majority acknowledged, nobody else can lead.
    pub lease: Duration,
    /// How far a clock may be from true speed, in parts per million.
    pub max_drift_ppm: u32,
}

impl ElectionConfig {
    /// Front `id` of `fronts`, with the timings that `docs/election.md` gives reasons for.
    #[must_use]
    pub const fn new(id: FrontId, fronts: u8, seed: u64) -> Self {
        Self {
            id,
            fronts,
            seed,
            floor: 0,
            heartbeat: Duration::from_millis(100),
            timeout: Duration::from_millis(400)..Duration::from_millis(800),
            promise: Duration::from_millis(400),
            lease: Duration::from_millis(390),
            max_drift_ppm: 10_000,
        }
    }

    /// Fronts that make a majority.
    #[must_use]
    pub const fn majority(&self) -> usize {
        self.fronts as usize / 2 + 1
    }

    /// All fronts but this one.
    pub(super) fn others(&self) -> impl Iterator<Item = FrontId> + use<> {
        let id = self.id;
        (0..self.fronts).map(FrontId).filter(move |&front| front != id)
    }

    /// Whether `front` is another front of this network.
    pub(super) fn is_other(&self, front: FrontId) -> bool {
        front != self.id && front.0 < self.fronts
    }

    /// Stops a process whose settings could give two fronts a lease at once.
    ///
    /// # Panics
    /// If a setting is out of range or two of them do not fit.
    pub(super) fn check(&self) {
        assert!((1..=MAX_FRONTS).contains(&usize::from(self.fronts)), "1 to {MAX_FRONTS} fronts make a network");
        assert!(self.id.0 < self.fronts, "{} is none of {} fronts", self.id, self.fronts);
        assert!(!self.heartbeat.is_zero(), "heartbeats need time between them");
        assert!(self.heartbeat < self.timeout.start, "a heartbeat must fit into the election time-out");
        assert!(self.timeout.start < self.timeout.end, "election time-outs are drawn from a range");
        // E13: whoever looks for votes votes for itself.
        assert!(self.promise <= self.timeout.start, "a front would break its promise by standing itself");
        // E12
        let drift = u128::from(self.max_drift_ppm);
        assert!(drift < MILLION, "a clock that may stand still measures nothing");
        let longest_lease = self.lease.as_nanos() * (MILLION + drift);
        let shortest_promise = self.promise.as_nanos() * (MILLION - drift);
        assert!(longest_lease <= shortest_promise, "the lease outlives the promise if clocks drift");
    }
}
