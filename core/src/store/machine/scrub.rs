//! The scrub: cached chunks are verified whole, one at a time and slowly, whether anyone reads them or not.
//!
//! It never makes a reader wait: its one chunk is only kept from being evicted meanwhile.

use std::time::Duration;

use super::{Pending, Step, Store};
use crate::id::ChunkId;
use crate::machine::Instant;
use crate::store::cache::Pin;
use crate::store::effect::{Effect, Key, Outcome};
use crate::store::{SCRUB_LEAST, cached_len};

/// How far the scrub has come.
#[derive(Debug)]
pub(super) struct Scrub {
    /// When the next verification may begin.
    next: Instant,
    busy: bool,
}

impl Default for Scrub {
    fn default() -> Self {
        Self { next: Instant::ZERO, busy: false }
    }
}

impl Store {
    /// When the next verification may begin, if there is anything to verify.
    pub(super) fn next_verification(&self) -> Option<Instant> {
        let waits = self.config.scrub_rate > 0 && !self.scrub.busy && self.cache.can_be_verified();
        waits.then_some(self.scrub.next)
    }

    /// Begins with the chunk that was verified longest ago, if it is time.
    pub(super) fn begin_verification(&mut self, now: Instant) {
        if self.next_verification().is_none_or(|at| at > now) {
            return;
        }
        let Some(pin) = self.cache.pin_to_verify() else { return };
        let chunk = pin.chunk();
        let bytes = u128::from(cached_len(chunk).max(SCRUB_LEAST));
        let pause = bytes * 1_000_000_000 / u128::from(self.config.scrub_rate);
        self.scrub.busy = true;
        self.scrub.next = now + Duration::from_nanos(u64::try_from(pause).unwrap_or(u64::MAX / 2));
        self.start(Pending::CacheVerify(pin), |ticket| Effect::CacheVerify { ticket, chunk });
    }

    pub(super) fn cache_verified(&mut self, pin: Pin, outcome: Outcome) {
        self.scrub.busy = false;
        self.stats.cache_corrupt += u64::from(matches!(outcome, Outcome::Corrupt(_)));
        match outcome {
            Outcome::Done => {
                self.stats.cache_verified += 1;
                self.cache.verified(pin);
            }
            Outcome::Failed(why) | Outcome::Corrupt(why) => {
                self.fault("verify in the cache", Key::Chunk(pin.chunk()), why);
                if self.cache.reject(pin) {
                    self.remove(vec![pin.chunk()]);
                    self.restore(pin.chunk());
                }
            }
            other => panic!("a verification ended in {other:?}"),
        }
    }

    /// Has a chunk whose cached bytes were wrong written anew, from memory or from the backing store, though
    /// nobody asks for it. Where a limit forbids that, whoever asks next has it fetched.
    pub(super) fn restore(&mut self, chunk: ChunkId) {
        match self.chunks.get_mut(&chunk) {
            Some(active) if active.data.is_some() => {
                if active.write == Step::Idle {
                    active.write = Step::Queued;
                    self.write_queue.push_back(chunk);
                }
                self.stays(chunk);
            }
            // It is on its way.
            Some(active) => active.must_stay = true,
            None => {
                let is_manageable = self.is_manageable(u64::from(chunk.length())).is_ok();
                if is_manageable && self.fetch_queue.len() < self.config.max_queued_fetches {
                    let active = self.chunks.entry(chunk).or_default();
                    (active.fetch, active.must_stay) = (Step::Queued, true);
                    self.fetch_queue.push_back(chunk);
                }
            }
        }
    }
}
