//! How often something may happen. Eight bytes of state for each one that is watched.

use core::net::{IpAddr, Ipv6Addr};
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
}
