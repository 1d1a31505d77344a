//! The limits that a store keeps.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Limits of a store.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the worker among the others; empty if there are none.
    pub name: String,
    /// Most bytes of the cache on disk, leaf hashes and footers included.
    pub cache_bytes: u64,
    /// Cached chunks that nobody used for so long are removed.
    pub max_age: Duration,
    /// Bytes of cached chunks that are verified each second, readers or none; 0 verifies none. Each chunk counts
    /// for at least [`super::SCRUB_LEAST`].
    pub scrub_rate: u64,
    /// Most chunks fetched from the backing store at once.
    pub max_fetches: usize,
    /// Most chunks asked of other workers at once; 0 asks nobody.
    pub max_asks: usize,
    /// A chunk that came from its home is written to the cache when it came so many times lately, at least 1: before
    /// a twelfth as many bytes as the cache holds came of others. Until then it is only in memory, for a while.
    pub keep_after: u32,
    /// How long a chunk that came from its home and is not written to the cache stays in memory at most.
    pub passing_age: Duration,
    /// Most chunks put into the backing store at once.
    pub max_puts: usize,
    /// Most small requests (existence, `.ko`s) to the backing store at once.
    pub max_lookups: usize,
    /// Most bytes of chunks and `.ko`s in memory on their way in or out; fetches may take half of it and questions to
    /// other workers a quarter, so that readers never keep uploads out.
    pub max_memory: u64,
    /// Most chunks that wait for a fetch to begin.
    pub max_queued_fetches: usize,
    /// Most tickets that wait for an answer.
    pub max_waiting: usize,
    /// Chunks remembered as stored for good.
    pub max_known: NonZeroUsize,
    /// Most bytes of `.ko`s kept in memory.
    pub torrent_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: String::new(),
            cache_bytes: 300_000_000,
            max_age: Duration::from_secs(24 * 3600),
            scrub_rate: 50_000,
            max_fetches: 16,
            max_asks: 16,
            keep_after: 2,
            passing_age: Duration::from_secs(30),
            max_puts: 8,
            max_lookups: 32,
            max_memory: 64 << 20,
            max_queued_fetches: 1024,
            max_waiting: 16_384,
            max_known: NonZeroUsize::new(1 << 16).expect("not zero"),
            torrent_bytes: 16 << 20,
        }
    }
}
