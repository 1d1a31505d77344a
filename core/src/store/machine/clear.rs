//! Emptying the cache because an operator says so. What is stored for good is not touched.

use super::Store;
use crate::machine::Instant;

impl Store {
    /// Removes every cached chunk that nobody is reading or writing; how many. Not counted as evictions.
    pub fn clear_cache(&mut self, now: Instant) -> usize {
        let mut victims = Vec::new();
        self.cache.clear(&mut victims);
        let leaving = victims.len();
        self.remove(victims);
        self.tidy(now);
        leaving
    }
}
