//! What a leader knows of its followers: which round of heartbeats each acknowledged, and so how long its lease
//! lasts and whether it still has a majority.

use std::collections::{BTreeMap, VecDeque};

use super::config::ElectionConfig;
use crate::cluster::FrontId;
use crate::machine::Instant;

/// The time of a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lead {
    since: Instant,
    /// The newest round; they count from 1.
    round: u64,
    /// When each round was sent, oldest first; only those whose acknowledgement would still matter.
    sent: VecDeque<(u64, Instant)>,
    /// When the newest round was sent that each follower acknowledged.
    acknowledged: BTreeMap<FrontId, Instant>,
}

impl Lead {
    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, round: 0, sent: VecDeque::new(), acknowledged: BTreeMap::new() }
    }

    /// Begins a round; its number.
    pub(super) fn begin(&mut self, now: Instant, config: &ElectionConfig) -> u64 {
        self.round += 1;
        self.sent.retain(|&(_, sent)| now < sent + config.timeout.end);
        self.sent.push_back((self.round, now));
        self.round
    }

    /// When the next round is due; none in a cluster of one.
    pub(super) fn next_round(&self, config: &ElectionConfig) -> Option<Instant> {
        self.sent.back().map(|&(_, sent)| sent + config.heartbeat)
    }

    /// Follower `from` acknowledged `round`. One that was never sent, or long ago, counts for nothing.
    pub(super) fn acknowledge(&mut self, from: FrontId, round: u64) {
        if let Some(&(_, sent)) = self.sent.iter().find(|&&(number, _)| number == round) {
            let newest = self.acknowledged.entry(from).or_insert(sent);
            *newest = sent.max(*newest);
        }
    }

    /// E12: the lease runs from when the newest round was *sent* that a majority acknowledged.
    pub(super) fn lease_until(&self, config: &ElectionConfig) -> Option<Instant> {
        match config.fronts {
            1 => Some(Instant::from_nanos(u64::MAX)), // E16
            _ => self.confirmed(config).map(|sent| sent + config.lease),
        }
    }

    /// E15: when this leader gives up if nothing more is acknowledged; never in a cluster of one.
    pub(super) fn quorum_until(&self, config: &ElectionConfig) -> Option<Instant> {
        (config.fronts > 1).then(|| self.confirmed(config).unwrap_or(self.since) + config.timeout.end)
    }

    /// When the newest round was sent that a majority acknowledged, this front being one of them.
    fn confirmed(&self, config: &ElectionConfig) -> Option<Instant> {
        let mut newest: Vec<_> = self.acknowledged.values().copied().collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        newest.get(config.majority() - 2).copied()
    }
}
