//! The times with which a worker proves itself to fronts: by the newest reading of the wall clock, and each later
//! than the one before as far as fronts would still take it. Never reads a clock itself.

use crate::auth;
use crate::machine::Instant;

/// Gives out timestamps for proofs.
#[derive(Debug)]
pub(super) struct ProofClock {
    /// The newest reading: when, and Unix milliseconds.
    reading: (Instant, u64),
    newest: Option<u64>,
}

impl ProofClock {
    /// A clock that read `unix_ms` at [`Instant::ZERO`].
    pub(super) const fn new(unix_ms: u64) -> Self {
        Self { reading: (Instant::ZERO, unix_ms), newest: None }
    }

    /// The wall clock reads `unix_ms`.
    pub(super) const fn set(&mut self, now: Instant, unix_ms: u64) {
        self.reading = (now, unix_ms);
    }

    /// A timestamp for one proof, in Unix milliseconds. A clock that was set back by less than fronts tolerate
    /// does not lead to one that they would take for a replay.
    pub(super) fn next(&mut self, now: Instant) -> u64 {
        let (at, unix_ms) = self.reading;
        let passed = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        let read = unix_ms.saturating_add(passed);
        let after = self.newest.map_or(0, |newest| newest.saturating_add(1));
        let tolerated = read.saturating_add(auth::WINDOW.as_millis() as u64 / 2);
        let next = if after > read && after <= tolerated { after } else { read };
        self.newest = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::auth::{Gate, Refusal, SharedKey};

    const START: u64 = 1_767_225_600_000;

    proptest! {
        /// A front whose clock is right takes every proof, however long the worker runs, as long as the worker's
        /// clock is off by less than half a minute whenever it is read.
        #[test]
        fn a_front_takes_every_proof(
            steps in vec((0..3_600_000u64, -14_000..14_000i64, any::<bool>()), 1..100),
        ) {
            let key = SharedKey::new(b"sixteen bytes ok").expect("long enough");
            let mut gate = Gate::new(key.clone(), 1);
            let mut clock = ProofClock::new(START);
            let mut ms = 0;
            for (wait, off, both) in steps {
                ms += wait;
                let now = Instant::ZERO + Duration::from_millis(ms);
                clock.set(now, (START + ms).saturating_add_signed(off));
                for _ in 0..=u8::from(both) {
                    let timestamp = clock.next(now);
                    let verdict = gate.admit(START + ms, "w", timestamp, &key.token("w", timestamp));
                    prop_assert_eq!(verdict, Ok(()));
                }
            }
        }
    }

    #[test]
    fn time_passes_between_two_readings() {
        let mut clock = ProofClock::new(START);
        assert_eq!(clock.next(Instant::ZERO + Duration::from_secs(86_400)), START + 86_400_000);
        clock.set(Instant::ZERO + Duration::from_secs(86_400), 7);
        assert_eq!(clock.next(Instant::ZERO + Duration::from_secs(86_401)), 1007);
    }

    /// What is far ahead of the clock was a mistake, and no front would take anything later.
    #[test]
    fn a_clock_that_was_far_ahead_is_forgotten() {
        let key = SharedKey::new(b"sixteen bytes ok").expect("long enough");
        let mut gate = Gate::new(key.clone(), 1);
        let mut clock = ProofClock::new(START + 3_600_000);
        let mut hello = |clock: &mut ProofClock| {
            let timestamp = clock.next(Instant::ZERO);
            gate.admit(START, "w", timestamp, &key.token("w", timestamp))
        };
        assert_eq!(hello(&mut clock), Err(Refusal::Stale { off_ms: 3_600_000 }));
        clock.set(Instant::ZERO, START);
        assert_eq!(hello(&mut clock), Ok(()));
    }
}
