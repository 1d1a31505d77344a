//! How often something may happen. Eight bytes of state for each one that is watched, and a bound on how many are.

use core::net::{IpAddr, Ipv6Addr};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::machine::Instant;

/// A rate with a burst: `burst` at once, then one every `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many may come at once, at least 1.
    pub burst: u32,
    /// How long it takes to earn one more.
    pub interval: Duration,
}

/// What one client has used of a [`Budget`] (GCRA: the time at which all of it will have been earned back).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter(Instant);

impl Meter {
    /// Uses one of the budget; `false`, and nothing used, if there is none left.
    pub(super) fn take(&mut self, now: Instant, budget: Budget) -> bool {
        let earned_back = self.0.max(now) + budget.interval;
        let fits = earned_back <= now + budget.interval * budget.burst;
        if fits {
            self.0 = earned_back;
        }
        fits
    }
}

/// A [`Budget`] for each network, for those who come without a connection to keep it in. Remembers only networks
/// that have used some of theirs and not earned all of it back, and at most so many: with more than that at once,
/// the one that would be forgotten next has all of its budget again.
#[derive(Debug)]
pub struct PerNetwork {
    budget: Budget,
    max_networks: usize,
    meters: BTreeMap<IpAddr, Meter>,
    /// When each network will have earned back all it used.
    idle_at: BTreeSet<(Instant, IpAddr)>,
}

impl PerNetwork {
    /// A budget for each network, of which at most `max_networks` are remembered.
    ///
    /// # Panics
    /// If the burst or `max_networks` is zero.
    #[must_use]
    pub fn new(budget: Budget, max_networks: usize) -> Self {
        assert!(budget.burst > 0 && max_networks > 0, "a limit of zero lets nothing through");
        Self { budget, max_networks, meters: BTreeMap::new(), idle_at: BTreeSet::new() }
    }

    /// Uses one of the budget of the network of `ip` (an IPv4 address, or an IPv6 /64); `false`, and nothing used,
    /// if there is none left. `now` never goes back.
    pub fn take(&mut self, now: Instant, ip: IpAddr) -> bool {
        while self.idle_at.first().is_some_and(|(at, _)| *at <= now) {
            self.forget_first();
        }
        let network = network(ip);
        let known = self.meters.get(&network).copied();
        let mut meter = known.unwrap_or_default();
        if !meter.take(now, self.budget) {
            return false;
        }
        match known {
            Some(before) => {
                self.idle_at.remove(&(before.0, network));
            }
            None if self.meters.len() >= self.max_networks => self.forget_first(),
            None => {}
        }
        self.idle_at.insert((meter.0, network));
        self.meters.insert(network, meter);
        true
    }

    /// Networks remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.meters.len()
    }

    /// Whether no network is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.meters.is_empty()
    }

    fn forget_first(&mut self) {
        if let Some((_, network)) = self.idle_at.pop_first() {
            self.meters.remove(&network);
        }
    }
}

/// What counts as one address for limits: an IPv4 address, or an IPv6 /64, which is one household.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a bucket of tokens counted in nanoseconds.
        #[test]
        fn a_meter_is_a_token_bucket(waits in vec(0..3_000u64, 0..200), burst in 1..10u32) {
            let interval = 1_000;
            let budget = Budget { burst, interval: Duration::from_nanos(interval) };
            let full = u64::from(burst) * interval;
            let (mut meter, mut tokens, mut now) = (Meter::default(), full, 0);
            for wait in waits {
                now += wait;
                tokens = full.min(tokens + wait);
                let expected = tokens >= interval;
                if expected {
                    tokens -= interval;
                }
                prop_assert_eq!(meter.take(Instant::from_nanos(now), budget), expected);
            }
        }
    }

    fn ip(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    const BUDGET: Budget = Budget { burst: 3, interval: Duration::from_millis(100) };

    proptest! {
        /// As long as there is room, each network has a meter of its own, and none is kept that has nothing to tell.
        #[test]
        fn with_room_for_all_each_network_has_its_own_meter(steps in vec((0..150u64, 0..4u8), 0..200)) {
            let mut budgets = PerNetwork::new(BUDGET, 4);
            let mut meters = [Meter::default(); 4];
            let mut ms = 0;
            for (wait, n) in steps {
                ms += wait;
                let expected = meters[usize::from(n)].take(at(ms), BUDGET);
                prop_assert_eq!(budgets.take(at(ms), ip(n)), expected);
                prop_assert_eq!(budgets.len(), meters.iter().filter(|meter| meter.0 > at(ms)).count());
                prop_assert_eq!(budgets.idle_at.len(), budgets.len());
            }
        }

        /// Whatever the crowd, memory is bounded, nobody gets less than its budget, and one that is not forgotten
        /// gets no more.
        #[test]
        fn a_crowd_takes_no_more_room_and_nothing_from_anybody(steps in vec((0..30u64, any::<u8>()), 0..300)) {
            let mut budgets = PerNetwork::new(BUDGET, 5);
            let mut meters = vec![Meter::default(); 256];
            let mut ms = 0;
            for (wait, n) in steps {
                ms += wait;
                let taken = budgets.take(at(ms), ip(n));
                let strict = meters[usize::from(n)].take(at(ms), BUDGET);
                prop_assert!(taken || !strict, "a network had less than its budget");
                prop_assert!(budgets.len() <= 5 && budgets.idle_at.len() == budgets.len());
            }
        }
    }

    #[test]
    fn a_flood_from_one_household_is_cut_and_forgotten_in_time() {
        let mut budgets = PerNetwork::new(BUDGET, 100);
        let host = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]);
        let passed = (0..1000).filter(|n| budgets.take(at(0), host(*n))).count();
        assert_eq!((passed, budgets.len()), (3, 1));
        assert!(budgets.take(at(0), IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1])));
        assert!(budgets.take(at(300), "::ffff:192.0.2.9".parse().expect("an address")));
        assert_eq!(budgets.len(), 1, "who earned all of it back is forgotten");
        assert!(budgets.take(at(300), ip(9)));
        assert_eq!(budgets.len(), 1, "an IPv4 address is one however it is written");
    }

    #[test]
    fn the_lightest_user_is_forgotten_first() {
        let mut budgets = PerNetwork::new(BUDGET, 2);
        assert!((0..3).all(|_| budgets.take(at(0), ip(1))));
        assert!(budgets.take(at(0), ip(2)));
        assert!(budgets.take(at(0), ip(3)));
        assert!(!budgets.take(at(0), ip(1)), "the heaviest is still remembered");
        assert_eq!(budgets.len(), 2);
    }
}
