//! Whom to evict first: of the chunks that were not used lately, the one that is read least often.
//!
//! Plain LRU forgets how often a chunk was read: one visit of a large share drives out what everyone asks for. A
//! plain count of readings never forgets, and throws out what has just come. So both: the chunks used last are safe,
//! in the order of LRU; the others go by their heat, the coldest first. How many bytes are safe is learned. A list of
//! ids says what plain LRU would hold now: what only LRU would have kept makes the safe part larger, what it would
//! have lost makes it smaller. At its largest this is nearly LRU, at its smallest nearly LFU.
//!
//! Which of them can go, and whether one must, is not decided here.

use std::collections::{BTreeMap, BTreeSet};

use lru::LruCache;

use super::heat::Heat;
use crate::id::ChunkId;

/// Readings for each cached chunk until an epoch ends and all earlier readings count half.
const EPOCH: u64 = 8;
/// Chunks whose heat is remembered after they left, for each that is cached.
const REMEMBERED: usize = 4;
/// Most of these.
const MAX_REMEMBERED: usize = 1 << 16;
/// The safe part and the rest each keep at least one in so many bytes, so that there is always something to learn from.
const LEAST_PART: u64 = 16;

/// The order of eviction of the chunks in a cache.
#[derive(Debug)]
pub(super) struct Order {
    limit: u64,
    cached: BTreeMap<ChunkId, Place>,
    by_use: BTreeMap<u64, ChunkId>,
    /// Number of the last use of anything.
    uses: u64,
    /// Chunks used after this are safe.
    safe_after: u64,
    safe_bytes: u64,
    most_safe_bytes: u64,
    /// The others, by heat and then last use.
    by_heat: BTreeSet<(Heat, u64)>,
    epoch: u32,
    readings: u64,
    /// Heat of chunks that are not cached.
    remembered: LruCache<ChunkId, Heat>,
    plain: PlainLru,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    bytes: u64,
    /// Number of its last use; of its own.
    last_use: u64,
    heat: Heat,
}

impl Order {
    /// Of no chunk, in a cache of at most `limit` bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            cached: BTreeMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            safe_after: 0,
            safe_bytes: 0,
            most_safe_bytes: limit / 2,
            by_heat: BTreeSet::new(),
            epoch: 0,
            readings: 0,
            remembered: LruCache::unbounded(),
            plain: PlainLru::new(limit),
        }
    }

    /// A chunk comes into the cache, as the last one used.
    pub(super) fn enter(&mut self, chunk: ChunkId, bytes: u64) {
        if self.plain.touch(chunk, bytes) {
            self.most_safe_bytes = (self.most_safe_bytes + bytes).min(self.limit - self.limit / LEAST_PART);
        }
        let heat = self.remembered.pop(&chunk).unwrap_or(Heat::ZERO);
        self.put_last(chunk, bytes, heat);
    }

    /// A cached chunk is used.
    pub(super) fn touch(&mut self, chunk: ChunkId) {
        let Place { bytes, heat, .. } = self.take(chunk);
        if !self.plain.touch(chunk, bytes) {
            self.most_safe_bytes = self.most_safe_bytes.saturating_sub(bytes).max(self.limit / LEAST_PART);
        }
        self.put_last(chunk, bytes, heat);
    }

    /// Someone begins to read a chunk, cached or not.
    pub(super) fn read(&mut self, chunk: ChunkId) {
        self.readings += 1;
        if self.readings >= EPOCH * (self.cached.len() as u64).max(1) {
            self.readings = 0;
            self.epoch += 1;
        }
        match self.cached.get_mut(&chunk) {
            Some(place) => {
                let warmer = place.heat.read_in(self.epoch);
                if self.by_heat.remove(&(place.heat, place.last_use)) {
                    self.by_heat.insert((warmer, place.last_use));
                }
                place.heat = warmer;
            }
            None => {
                let heat = self.remembered.pop(&chunk).unwrap_or(Heat::ZERO);
                self.remember(chunk, heat.read_in(self.epoch));
            }
        }
    }

    /// A chunk leaves the cache because another needs its room.
    pub(super) fn evict(&mut self, chunk: ChunkId) {
        let heat = self.take(chunk).heat;
        if heat > Heat::ZERO {
            self.remember(chunk, heat);
        }
    }

    /// A chunk of `bytes` will come, and be the last one used.
    pub(super) fn expect(&mut self, bytes: u64) {
        self.expose(self.uses + 1, bytes);
    }

    /// A chunk leaves the cache whatever the policy is.
    pub(super) fn lose(&mut self, chunk: ChunkId) {
        self.evict(chunk);
        self.plain.lose(chunk);
    }

    /// The cached chunks, the one to be evicted first first.
    pub(super) fn victims(&self) -> impl Iterator<Item = ChunkId> {
        let others = self.by_heat.iter().map(|(_, last_use)| self.by_use[last_use]);
        others.chain(self.by_use.range(self.safe_after + 1..).map(|(_, &chunk)| chunk))
    }

    /// The cached chunks, the least recently used first.
    pub(super) fn by_use(&self) -> impl DoubleEndedIterator<Item = ChunkId> {
        self.by_use.values().copied()
    }

    fn put_last(&mut self, chunk: ChunkId, bytes: u64, heat: Heat) {
        self.uses += 1;
        self.cached.insert(chunk, Place { bytes, last_use: self.uses, heat });
        self.by_use.insert(self.uses, chunk);
        self.safe_bytes += bytes;
        // The last one used is safe in any case.
        self.expose(self.uses, 0);
    }

    /// Takes chunks last used before `before` out of the safe part, until `bytes` more have room in it.
    fn expose(&mut self, before: u64, bytes: u64) {
        while self.safe_bytes + bytes > self.most_safe_bytes {
            let mut safe = self.by_use.range(self.safe_after + 1..before);
            let Some((&last_use, chunk)) = safe.next() else { return };
            let place = self.cached[chunk];
            self.safe_after = last_use;
            self.safe_bytes -= place.bytes;
            self.by_heat.insert((place.heat, last_use));
        }
    }

    fn take(&mut self, chunk: ChunkId) -> Place {
        let place = self.cached.remove(&chunk).expect("only what is cached has a place");
        self.by_use.remove(&place.last_use);
        match place.last_use > self.safe_after {
            true => self.safe_bytes -= place.bytes,
            false => {
                assert!(self.by_heat.remove(&(place.heat, place.last_use)), "{chunk} is neither safe nor not")
            }
        }
        place
    }

    fn remember(&mut self, chunk: ChunkId, heat: Heat) {
        self.remembered.put(chunk, heat);
        let most = (REMEMBERED * self.cached.len().max(1)).min(MAX_REMEMBERED);
        while self.remembered.len() > most {
            self.remembered.pop_lru();
        }
    }
}

/// Which chunks plain LRU would hold: names only.
#[derive(Debug)]
struct PlainLru {
    limit: u64,
    bytes: u64,
    chunks: LruCache<ChunkId, u64>,
}

impl PlainLru {
    fn new(limit: u64) -> Self {
        Self { limit, bytes: 0, chunks: LruCache::unbounded() }
    }

    /// Uses a chunk; whether it was there.
    fn touch(&mut self, chunk: ChunkId, bytes: u64) -> bool {
        let before = self.chunks.put(chunk, bytes);
        self.bytes += bytes;
        self.bytes -= before.unwrap_or(0);
        while self.bytes > self.limit {
            let (_, gone) = self.chunks.pop_lru().expect("it has bytes, so it has chunks");
            self.bytes -= gone;
        }
        before.is_some()
    }
    fn lose(&mut self, chunk: ChunkId) {
        self.bytes -= self.chunks.pop(&chunk).unwrap_or(0);
    }
}
