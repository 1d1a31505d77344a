//! A token bucket: how many bytes may go now, so that over any time no more go than a rate allows, and one burst. It only
//! counts; what waits, and who is next, is its user's business.

use std::time::Duration;

use crate::machine::Instant;
use crate::merkle::BLOCK_LEN;

/// Room for the heads of frames in a burst.
const HEADS: u64 = 1024;
/// What may go at once at a low rate: a few blocks.
const MIN_BURST: u64 = 4 * BLOCK_LEN as u64 + HEADS;
/// What may go at once at a high rate: what comes in so much time.
const BURST_TIME: Duration = Duration::from_millis(125);
/// Credit is counted in parts of a byte, so that none is lost however often time is looked at.
const PARTS: u64 = 1_000_000_000;

/// The machine. See the module's documentation.
#[derive(Clone, Debug)]
pub struct Rate {
    /// Bytes a second; 0: no limit.
    limit: u64,
    burst: u64,
    /// In parts of a byte, as it was at `at`. Never above the burst.
    credit: u128,
    at: Instant,
}

impl Rate {
    /// Lets `limit` bytes a second go; 0 means no limit.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        let burst = burst(limit);
        Self { limit, burst, credit: u128::from(burst) * u128::from(PARTS), at: Instant::ZERO }
    }

    /// Changes the limit from `now` on. Credit is kept, as far as the new burst goes.
    pub fn set(&mut self, now: Instant, limit: u64) {
        self.refill(now);
        let was_limited = self.is_limited();
        (self.limit, self.burst) = (limit, burst(limit));
        let most = u128::from(self.burst) * u128::from(PARTS);
        self.credit = if was_limited { self.credit.min(most) } else { most };
    }

    /// Whether there is a limit.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.limit > 0
    }

    /// Most bytes that may go at once.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.burst
    }

    /// How many blocks may go in one frame: few at a low rate, so that everybody gets something often.
    #[must_use]
    pub fn blocks_at_once(&self) -> u64 {
        if self.limit == 0 {
            return u64::MAX;
        }
        ((self.limit / 4).min(self.burst - HEADS) / u64::from(BLOCK_LEN)).max(1)
    }

    /// Bytes that may go now.
    pub fn credit(&mut self, now: Instant) -> u64 {
        if self.limit == 0 {
            return u64::MAX;
        }
        self.refill(now);
        (self.credit / u128::from(PARTS)) as u64
    }

    /// Whether `bytes` may go now, which are not taken yet. More than a burst may never go at once.
    ///
    /// # Errors
    /// They may not go before this.
    ///
    /// # Panics
    /// If it is more than a burst, under a limit.
    pub fn ready(&mut self, now: Instant, bytes: u64) -> Result<(), Instant> {
        if self.limit == 0 {
            return Ok(());
        }
        assert!(bytes <= self.burst, "more than a burst would never go");
        self.refill(now);
        let lacking = (u128::from(bytes) * u128::from(PARTS)).saturating_sub(self.credit);
        if lacking == 0 {
            return Ok(());
        }
        Err(now + Duration::from_nanos(lacking.div_ceil(u128::from(self.limit)) as u64))
    }

    /// Takes `bytes` if they may go now; else tells when they may.
    ///
    /// # Errors
    /// They may not go before this.
    ///
    /// # Panics
    /// If it is more than a burst, under a limit.
    pub fn take(&mut self, now: Instant, bytes: u64) -> Result<(), Instant> {
        self.ready(now, bytes)?;
        if self.limit > 0 {
            self.credit -= u128::from(bytes) * u128::from(PARTS);
        }
        Ok(())
    }

    fn refill(&mut self, now: Instant) {
        let most = u128::from(self.burst) * u128::from(PARTS);
        // A nanosecond at one byte a second is one part.
        let earned = now.since(self.at).as_nanos() * u128::from(self.limit);
        self.credit = self.credit.saturating_add(earned).min(most);
        self.at = self.at.max(now);
    }
}

fn burst(limit: u64) -> u64 {
    let earned = u128::from(limit) * BURST_TIME.as_nanos() / u128::from(PARTS);
    MIN_BURST.max(u64::try_from(earned).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::MAX_FRAME_BLOCKS;

    proptest! {
        #[test]
        fn a_frame_of_the_blocks_that_go_at_once_can_go(limit in prop_oneof![1..2_000_000u64, Just(u64::MAX / 4)]) {
            let mut rate = Rate::new(limit);
            let blocks = rate.blocks_at_once().min(MAX_FRAME_BLOCKS.into());
            prop_assert!(rate.take(Instant::ZERO, blocks * u64::from(BLOCK_LEN) + 8).is_ok(), "{blocks} blocks");
        }

        #[test]
        fn over_any_time_no_more_goes_than_the_rate_and_a_burst(
            limit in prop_oneof![1..2_000u64, 2_000..100_000_000u64, Just(u64::MAX / 4)],
            steps in proptest::collection::vec((0..40_000_000u64, 1..=MIN_BURST), 1..200),
        ) {
            let mut rate = Rate::new(limit);
            let mut now = Instant::ZERO;
            let mut gone: Vec<(Instant, u64)> = Vec::new();
            for (wait, bytes) in steps {
                now = now + Duration::from_nanos(wait);
                if rate.take(now, bytes).is_ok() {
                    gone.push((now, bytes));
                }
            }
            for (index, (from, _)) in gone.iter().enumerate() {
                let mut sum = 0;
                for (at, bytes) in &gone[index..] {
                    sum += bytes;
                    let earned = at.since(*from).as_nanos() * u128::from(limit) / u128::from(PARTS);
                    let most = earned + 1 + u128::from(rate.burst());
                    prop_assert!(u128::from(sum) <= most, "{sum} bytes, {most} may go");
                }
            }
        }

        #[test]
        fn what_waits_until_it_is_told_goes_then_and_nothing_is_lost(
            limit in 1..100_000_000u64,
            steps in proptest::collection::vec(1..=MIN_BURST, 1..100),
        ) {
            let mut rate = Rate::new(limit);
            let (mut now, mut sum) = (Instant::ZERO, 0);
            for bytes in steps {
                if let Err(at) = rate.take(now, bytes) {
                    prop_assert!(at > now);
                    prop_assert_eq!(rate.take(at, bytes), Ok(()));
                    now = at;
                }
                sum += bytes;
            }
            let earned = now.as_nanos() as f64 * limit as f64 / PARTS as f64;
            prop_assert!(sum as f64 + rate.burst() as f64 >= earned * 0.999, "{sum} bytes where {earned} might go");
        }
    }

    #[test]
    fn no_limit_is_no_limit_and_one_set_later_begins_with_a_burst() {
        let mut rate = Rate::new(0);
        assert_eq!(rate.take(Instant::ZERO, u64::MAX), Ok(()));
        let now = Instant::ZERO + Duration::from_secs(5);
        rate.set(now, 1000);
        assert_eq!(rate.credit(now), MIN_BURST);
        assert_eq!(rate.take(now, MIN_BURST), Ok(()));
        assert_eq!(rate.take(now, 500), Err(now + Duration::from_millis(500)));
        rate.set(now, 0);
        assert_eq!(rate.take(now, u64::MAX), Ok(()));
    }
}
