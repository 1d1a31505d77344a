//! When a download takes to HTTP though nobody told it to: where data channels do not come about, or carry little.
//! It looks at one download and never at its sources.

use std::time::Duration;

use crate::machine::Instant;

/// How often it looks, and so the time that data channels have to come about.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Bytes a second below which data channels are slow. On a clean network they carry several times that at any distance,
/// and a third of it with 1% of packets lost.
const SLOW: u64 = 2 << 20;
/// What is left in less time at the rate so far needs no help.
const SOON: Duration = Duration::from_secs(10);

/// What a look sees.
#[derive(Clone, Copy, Debug)]
pub(in crate::node::peer) struct Sight {
    /// Whether there is a data channel to the worker that the front named.
    pub(in crate::node::peer) has_worker: bool,
    /// Bytes fetched so far.
    pub(in crate::node::peer) fetched: u64,
    /// Bytes not on disk; `None` while nobody knows what the share holds.
    pub(in crate::node::peer) missing: Option<u64>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::node::peer) struct Ladder {
    is_on_http: bool,
    since: Instant,
    fetched: u64,
}

impl Ladder {
    /// `at_once`: there is nothing to wait for.
    pub(in crate::node::peer) const fn new(now: Instant, at_once: bool) -> Self {
        Self { is_on_http: at_once, since: now, fetched: 0 }
    }

    /// Whether workers are to be asked over HTTP. Once begun, it goes on to the download's end.
    pub(in crate::node::peer) const fn is_on_http(&self) -> bool {
        self.is_on_http
    }

    /// The clock begins anew: what was done so far was not fetching.
    pub(in crate::node::peer) const fn rest(&mut self, now: Instant, fetched: u64) {
        (self.since, self.fetched) = (now, fetched);
    }

    /// When to look next.
    pub(in crate::node::peer) fn next_look(&self) -> Option<Instant> {
        (!self.is_on_http).then(|| self.since + LOOK_EVERY)
    }

    /// Looks, if it is time.
    pub(in crate::node::peer) fn look(&mut self, now: Instant, sight: Sight) {
        if self.next_look().is_none_or(|at| now < at) {
            return;
        }
        let gained = u128::from(sight.fetched - self.fetched);
        let millis = now.since(self.since).as_millis();
        let is_slow = gained * 1000 < u128::from(SLOW) * millis;
        let takes_long = sight.missing.is_none_or(|left| u128::from(left) * millis > gained * SOON.as_millis());
        self.is_on_http = !sight.has_worker || is_slow && takes_long;
        self.rest(now, sight.fetched);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Whether a download that is so after five seconds takes to HTTP.
    fn joins(has_worker: bool, fetched: u64, missing: Option<u64>) -> bool {
        let mut ladder = Ladder::new(Instant::ZERO, false);
        let sight = Sight { has_worker, fetched, missing };
        ladder.look(Instant::ZERO + (LOOK_EVERY - Duration::from_millis(1)), sight);
        assert!(!ladder.is_on_http(), "data channels have five seconds");
        ladder.look(Instant::ZERO + LOOK_EVERY, sight);
        ladder.is_on_http()
    }

    #[test]
    fn http_helps_where_data_channels_are_missing_or_slow() {
        assert!(joins(false, 100 * MIB, Some(1)), "no data channel to the worker");
        assert!(joins(true, 0, None), "nobody gives the .ko");
        assert!(joins(true, 0, Some(1)), "all stalled");
        assert!(joins(true, 9 * MIB, Some(100 * MIB)), "slow, and long to go");
        assert!(!joins(true, 9 * MIB, Some(10 * MIB)), "slow, and nearly done");
        assert!(!joins(true, 11 * MIB, Some(1 << 40)), "fast enough");
        assert!(Ladder::new(Instant::ZERO, true).is_on_http());
    }

    proptest! {
        /// Less speed, or more to fetch, never speaks against HTTP.
        #[test]
        fn worse_is_never_left_alone_where_better_was_not(
            fetched in 0..20 * MIB, less in 0..20 * MIB, missing in 0..200 * MIB, more in 0..200 * MIB,
        ) {
            if joins(true, fetched, Some(missing)) {
                prop_assert!(joins(true, fetched - less.min(fetched), Some(missing + more)));
            }
        }

        #[test]
        fn what_has_begun_goes_on(looks in proptest::collection::vec((any::<bool>(), 0..50 * MIB), 1..20)) {
            let (mut ladder, mut now, mut fetched, mut begun) = (Ladder::new(Instant::ZERO, false), Instant::ZERO, 0, false);
            for (has_worker, more) in looks {
                now = now + LOOK_EVERY;
                fetched += more;
                ladder.look(now, Sight { has_worker, fetched, missing: Some(100 * MIB) });
                prop_assert!(ladder.is_on_http() || !begun);
                prop_assert!(ladder.is_on_http() || has_worker);
                begun = ladder.is_on_http();
            }
        }
    }
}
