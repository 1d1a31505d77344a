//! Who has or wants which share, as far as one front knows. Members announce themselves again and again; who
//! falls silent expires. Bounded in every direction; an empty swarm takes no memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::{InfoHash, PeerId};
use crate::machine::{Instant, Rng};
use crate::wire::signal::MAX_SAMPLE;

/// How much a front tracks.
#[derive(Clone, Copy, Debug)]
pub struct SwarmLimits {
    /// Swarms.
    pub swarms: usize,
    /// Members of one swarm.
    pub members: usize,
    /// Swarms that one client is in.
    pub per_client: usize,
    /// How long a membership lasts after its last announcement.
    pub expiry: Duration,
}

/// Why an announcement is not counted. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SwarmFull {
    /// The front tracks as many swarms as it can.
    #[error("this front tracks no more swarms")]
    Swarms,
    /// The swarm has as many members as are tracked.
    #[error("this swarm has no room for more members")]
    Members,
    /// The client is in as many swarms as it may be.
    #[error("you are in too many swarms")]
    PerClient,
}

/// The swarms of a front.
#[derive(Debug)]
pub struct Swarms {
    limits: SwarmLimits,
    rng: Rng,
    swarms: BTreeMap<InfoHash, Swarm>,
    /// Until when each membership lasts, by client.
    clients: BTreeMap<PeerId, BTreeMap<InfoHash, Instant>>,
    /// The same, in order of time.
    deadlines: BTreeSet<(Instant, PeerId, InfoHash)>,
}

impl Swarms {
    /// No swarms. `seed` decides every sample.
    #[must_use]
    pub const fn new(limits: SwarmLimits, seed: u64) -> Self {
        Self {
            limits,
            rng: Rng::new(seed),
            swarms: BTreeMap::new(),
            clients: BTreeMap::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// Counts `peer` in, or in for another while.
    ///
    /// # Errors
    /// If a limit is reached; nothing changed then.
    pub fn announce(
        &mut self,
        now: Instant,
        info_hash: InfoHash,
        peer: PeerId,
        complete: bool,
    ) -> Result<(), SwarmFull> {
        let mine = self.clients.get(&peer);
        let renewed = mine.and_then(|mine| mine.get(&info_hash)).copied();
        if let Some(old) = renewed {
            self.deadlines.remove(&(old, peer, info_hash));
        } else {
            if mine.is_some_and(|mine| mine.len() >= self.limits.per_client) {
                return Err(SwarmFull::PerClient);
            }
            match self.swarms.get(&info_hash) {
                Some(swarm) if swarm.slots.len() >= self.limits.members => return Err(SwarmFull::Members),
                None if self.swarms.len() >= self.limits.swarms => return Err(SwarmFull::Swarms),
                _ => {}
            }
        }
        let until = now + self.limits.expiry;
        self.deadlines.insert((until, peer, info_hash));
        self.clients.entry(peer).or_default().insert(info_hash, until);
        self.swarms.entry(info_hash).or_default().put(peer, complete);
        Ok(())
    }

    /// Counts `peer` out of one swarm; whether it was in.
    pub fn leave(&mut self, info_hash: InfoHash, peer: PeerId) -> bool {
        let Some(mine) = self.clients.get_mut(&peer) else { return false };
        let Some(until) = mine.remove(&info_hash) else { return false };
        if mine.is_empty() {
            self.clients.remove(&peer);
        }
        self.deadlines.remove(&(until, peer, info_hash));
        self.drop_member(info_hash, peer);
        true
    }

    /// Counts `peer` out of every swarm; gives those it was in.
    pub fn leave_all(&mut self, peer: PeerId) -> Vec<InfoHash> {
        let mine = self.clients.remove(&peer).unwrap_or_default();
        for (info_hash, until) in &mine {
            self.deadlines.remove(&(*until, peer, *info_hash));
            self.drop_member(*info_hash, peer);
        }
        mine.into_keys().collect()
    }

    /// Counts out whoever has been silent for too long; gives them.
    pub fn expire(&mut self, now: Instant) -> Vec<(InfoHash, PeerId)> {
        let mut expired = Vec::new();
        while let Some((until, peer, info_hash)) = self.deadlines.first().copied()
            && until <= now
        {
            self.leave(info_hash, peer);
            expired.push((info_hash, peer));
        }
        expired
    }

    /// Whether `peer` is counted in as complete, or as not; `None` if it is not counted in.
    #[must_use]
    pub fn membership(&self, info_hash: InfoHash, peer: PeerId) -> Option<bool> {
        Some(self.swarms.get(&info_hash)?.slots.get(&peer)?.complete)
    }

    /// When the next membership expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.deadlines.first().map(|(until, ..)| *until)
    }

    /// Up to [`MAX_SAMPLE`] random members without `asker`: half of them complete and half not, as far as there
    /// are enough of each, in random order.
    pub fn sample(&mut self, info_hash: InfoHash, asker: PeerId) -> Vec<PeerId> {
        let Some(swarm) = self.swarms.get(&info_hash) else { return Vec::new() };
        let [others, seeders] = &swarm.lists;
        let half = MAX_SAMPLE / 2;
        let own = swarm.slots.get(&asker);
        let own_in = |complete| own.filter(|slot| slot.complete == complete).map(|slot| slot.index);
        let there_others = others.len() - usize::from(own_in(false).is_some());
        let there_seeders = seeders.len() - usize::from(own_in(true).is_some());
        let from_seeders = there_seeders.min(MAX_SAMPLE - there_others.min(half));
        let from_others = there_others.min(MAX_SAMPLE - from_seeders);
        let mut sample = choose(&mut self.rng, seeders, from_seeders, own_in(true));
        sample.extend(choose(&mut self.rng, others, from_others, own_in(false)));
        for i in (1..sample.len()).rev() {
            sample.swap(i, self.rng.below(i as u64 + 1) as usize);
        }
        sample
    }

    /// Swarms that have members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.swarms.len()
    }

    /// Whether nobody is in any swarm.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.swarms.is_empty()
    }

    /// Memberships in all swarms.
    #[must_use]
    pub fn memberships(&self) -> usize {
        self.deadlines.len()
    }

    fn drop_member(&mut self, info_hash: InfoHash, peer: PeerId) {
        let swarm = self.swarms.get_mut(&info_hash).expect("a membership has its swarm");
        swarm.take(peer);
        if swarm.slots.is_empty() {
            self.swarms.remove(&info_hash);
        }
    }
}

/// `count` random members of `list` without the one at index `except`; there must be as many.
fn choose(rng: &mut Rng, list: &[PeerId], count: usize, except: Option<usize>) -> Vec<PeerId> {
    let eligible = list.len() - usize::from(except.is_some());
    // Floyd's sampling (Bentley and Floyd 1987).
    let mut chosen: Vec<usize> = Vec::with_capacity(count);
    for top in eligible - count..eligible {
        let drawn = rng.below(top as u64 + 1) as usize;
        chosen.push(if chosen.contains(&drawn) { top } else { drawn });
    }
    let skip = |i: usize| if except.is_some_and(|except| i >= except) { i + 1 } else { i };
    chosen.into_iter().map(|i| list[skip(i)]).collect()
}

/// Members in two lists that a random index reaches: not complete, and complete.
#[derive(Debug, Default)]
struct Swarm {
    lists: [Vec<PeerId>; 2],
    slots: BTreeMap<PeerId, Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    complete: bool,
    index: usize,
}

impl Swarm {
    fn put(&mut self, peer: PeerId, complete: bool) {
        if self.slots.get(&peer).is_some_and(|slot| slot.complete == complete) {
            return;
        }
        self.take(peer);
        let list = &mut self.lists[usize::from(complete)];
        self.slots.insert(peer, Slot { complete, index: list.len() });
        list.push(peer);
    }

    fn take(&mut self, peer: PeerId) {
        let Some(Slot { complete, index }) = self.slots.remove(&peer) else { return };
        let list = &mut self.lists[usize::from(complete)];
        list.swap_remove(index);
        if let Some(moved) = list.get(index) {
            self.slots.get_mut(moved).expect("a listed member has a slot").index = index;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::id::Digest;

    const EXPIRY: Duration = Duration::from_secs(90);
    const LIMITS: SwarmLimits = SwarmLimits { swarms: 4, members: 5, per_client: 3, expiry: EXPIRY };

    fn peer(n: u8) -> PeerId {
        PeerId(Digest([n; 32]))
    }

    fn share(n: u8) -> InfoHash {
        InfoHash(Digest([n; 32]))
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[derive(Clone, Debug)]
    enum Op {
        Announce { share: u8, peer: u8, complete: bool },
        Leave { share: u8, peer: u8 },
        LeaveAll { peer: u8 },
        Sample { share: u8, asker: u8 },
        Pass { seconds: u64 },
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (0..6u8, 0..8u8, any::<bool>())
                .prop_map(|(share, peer, complete)| Op::Announce { share, peer, complete }),
            1 => (0..6u8, 0..8u8).prop_map(|(share, peer)| Op::Leave { share, peer }),
            1 => (0..8u8).prop_map(|peer| Op::LeaveAll { peer }),
            2 => (0..6u8, 0..8u8).prop_map(|(share, asker)| Op::Sample { share, asker }),
            2 => (0..60u64).prop_map(|seconds| Op::Pass { seconds }),
        ]
    }

    /// The whole truth as one flat list: share, peer, complete, last announced.
    type Model = Vec<(u8, u8, bool, u64)>;

    fn model_announce(model: &mut Model, new: (u8, u8, bool, u64)) -> Result<(), SwarmFull> {
        let (share, peer, ..) = new;
        if let Some(old) = model.iter_mut().find(|m| (m.0, m.1) == (share, peer)) {
            *old = new;
            return Ok(());
        }
        let shares: BTreeSet<u8> = model.iter().map(|m| m.0).collect();
        if model.iter().filter(|m| m.1 == peer).count() >= LIMITS.per_client {
            return Err(SwarmFull::PerClient);
        }
        if model.iter().filter(|m| m.0 == share).count() >= LIMITS.members {
            return Err(SwarmFull::Members);
        }
        if !shares.contains(&share) && shares.len() >= LIMITS.swarms {
            return Err(SwarmFull::Swarms);
        }
        model.push(new);
        Ok(())
    }

    proptest! {
        #[test]
        fn swarms_are_those_of_a_naive_model(ops in vec(op(), 0..120), seed: u64) {
            let mut swarms = Swarms::new(LIMITS, seed);
            let mut model = Model::new();
            let mut now = 0;
            for op in ops {
                match op {
                    Op::Announce { share: s, peer: p, complete } => prop_assert_eq!(
                        swarms.announce(at(now), share(s), peer(p), complete),
                        model_announce(&mut model, (s, p, complete, now))
                    ),
                    Op::Leave { share: s, peer: p } => {
                        let before = model.len();
                        model.retain(|m| (m.0, m.1) != (s, p));
                        prop_assert_eq!(swarms.leave(share(s), peer(p)), model.len() < before);
                    }
                    Op::LeaveAll { peer: p } => {
                        model.retain(|m| m.1 != p);
                        swarms.leave_all(peer(p));
                    }
                    Op::Sample { share: s, asker } => {
                        let mut sample = swarms.sample(share(s), peer(asker));
                        sample.sort_unstable();
                        let mut all: Vec<_> =
                            model.iter().filter(|m| m.0 == s && m.1 != asker).map(|m| peer(m.1)).collect();
                        all.sort_unstable();
                        prop_assert_eq!(sample, all);
                    }
                    Op::Pass { seconds } => {
                        now += seconds;
                        model.retain(|m| at(m.3) + EXPIRY > at(now));
                        swarms.expire(at(now));
                        prop_assert!(swarms.next_expiry().is_none_or(|next| next > at(now)));
                    }
                }
                prop_assert_eq!(swarms.memberships(), model.len());
                prop_assert_eq!(swarms.len(), model.iter().map(|m| m.0).collect::<BTreeSet<_>>().len());
                prop_assert_eq!(
                    swarms.next_expiry(),
                    model.iter().map(|m| at(m.3) + EXPIRY).min()
                );
            }
            swarms.expire(at(now) + EXPIRY);
            prop_assert!(swarms.is_empty() && swarms.clients.is_empty() && swarms.deadlines.is_empty());
        }

        #[test]
        fn a_sample_of_a_large_swarm_is_mixed_and_distinct(
            seeders in 0..100u8, others in 0..100u8, asker in 0..250u8, seed: u64,
        ) {
            let limits = SwarmLimits { members: 1000, ..LIMITS };
            let mut swarms = Swarms::new(limits, seed);
            for n in 0..seeders + others {
                swarms.announce(at(0), share(0), peer(n), n < seeders).expect("room");
            }
            let sample = swarms.sample(share(0), peer(asker));
            let distinct: BTreeSet<_> = sample.iter().collect();
            prop_assert_eq!(distinct.len(), sample.len());
            prop_assert!(!sample.contains(&peer(asker)));
            let size = |all: u8, own: bool| usize::from(all) - usize::from(own);
            let seeders_there = size(seeders, asker < seeders);
            let others_there = size(others, (seeders..seeders + others).contains(&asker));
            prop_assert_eq!(sample.len(), MAX_SAMPLE.min(seeders_there + others_there));
            let from_seeders = sample.iter().filter(|p| **p < peer(seeders)).count();
            prop_assert!(from_seeders >= seeders_there.min(MAX_SAMPLE / 2));
            prop_assert!(sample.len() - from_seeders >= others_there.min(MAX_SAMPLE / 2));
        }
    }

    #[test]
    fn samples_reach_everyone() {
        let limits = SwarmLimits { members: 1000, ..LIMITS };
        let mut swarms = Swarms::new(limits, 7);
        for n in 0..100 {
            swarms.announce(at(0), share(0), peer(n), n % 2 == 0).expect("room");
        }
        let seen: BTreeSet<_> = (0..50).flat_map(|_| swarms.sample(share(0), peer(0))).collect();
        assert_eq!(seen.len(), 99);
    }
}
