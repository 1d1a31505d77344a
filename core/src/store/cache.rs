//! Which chunks are cached: those used lately and those read often stay, unused ones go when they are too old.
//!
//! Policy only: it never touches a disk. It counts what is being written and what is being removed as well as
//! what is there, so that the disk stays within the bound at every moment.

mod heat;
mod order;

use std::collections::BTreeMap;
use std::time::Duration;

use self::order::Order;
use crate::id::ChunkId;
use crate::machine::Instant;

/// Proof that a chunk is cached and stays so until it is given back with [`Cache::unpin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    chunk: ChunkId,
    generation: u64,
}

impl Pin {
    /// Which chunk it keeps.
    #[must_use]
    pub const fn chunk(&self) -> ChunkId {
        self.chunk
    }
}

/// Whether there is room for a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// Yes, now.
    Now,
    /// Later: victims must be removed first, or readers and writers must finish.
    Later,
    /// Not at all: it is larger than the cache, or than what removals that failed leave of it.
    Never,
}

/// What the cache has done and holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Reads answered without asking the backing store.
    pub hits: u64,
    /// Reads that had to wait for the backing store.
    pub misses: u64,
    /// Chunks removed to make room.
    pub evictions: u64,
    /// Chunks removed because nobody read them for the maximum age.
    pub expirations: u64,
    /// Chunks that can be read.
    pub chunks: usize,
    /// Bytes on disk, those being written and removed included.
    pub bytes: u64,
    /// Most bytes there may be.
    pub limit: u64,
    /// The most read chunks and how often each was read while cached; at most ten.
    pub most_used: Vec<(ChunkId, u64)>,
    /// The least read ones; at most ten.
    pub least_used: Vec<(ChunkId, u64)>,
}

/// A cache bounded by bytes and age.
#[derive(Debug)]
pub struct Cache {
    limit: u64,
    max_age: Duration,
    /// Of entries and of what is leaving.
    bytes: u64,
    entries: BTreeMap<ChunkId, Entry>,
    /// Of the entries.
    order: Order,
    leaving: BTreeMap<ChunkId, Leaving>,
    /// Those that can be read, by the number of their last verification: the one of longest ago first.
    by_verification: BTreeMap<u64, ChunkId>,
    verifications: u64,
    generations: u64,
    hits: u64,
    misses: u64,
    evictions: u64,
    expirations: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    expires: Instant,
    /// Being written: not readable, not evictable.
    writing: bool,
    pins: u32,
    generation: u64,
    /// Number of its last verification, of its own once it can be read.
    verification: u64,
    uses: u64,
}

#[derive(Debug)]
struct Leaving {
    bytes: u64,
    /// Its removal failed: it takes its bytes until a later try works.
    stuck: bool,
}

impl Entry {
    const fn new(bytes: u64, expires: Instant, generation: u64) -> Self {
        Self { bytes, expires, writing: true, pins: 0, generation, verification: 0, uses: 0 }
    }

    const fn is_evictable(&self) -> bool {
        !self.writing && self.pins == 0
    }
}

impl Cache {
    /// An empty cache of at most `limit` bytes whose chunks go when unused for `max_age`.
    #[must_use]
    pub fn new(limit: u64, max_age: Duration) -> Self {
        Self {
            limit,
            max_age,
            bytes: 0,
            entries: BTreeMap::new(),
            order: Order::new(limit),
            leaving: BTreeMap::new(),
            by_verification: BTreeMap::new(),
            verifications: 0,
            generations: 0,
            hits: 0,
            misses: 0,
            evictions: 0,
            expirations: 0,
        }
    }

    /// Takes in chunks that an earlier run left, each with its bytes on disk and the time since it was last
    /// used. They may exceed the bound: [`Cache::shrink`] says what must go.
    ///
    /// # Panics
    /// If one of them is in the cache already.
    pub fn recover(&mut self, now: Instant, mut found: Vec<(ChunkId, u64, Duration)>) {
        found.sort_by_key(|&(chunk, _, age)| (std::cmp::Reverse(age), chunk));
        for (chunk, bytes, age) in found {
            let expires = now + self.max_age.saturating_sub(age);
            self.add(chunk, Entry::new(bytes, expires, 0));
            self.written(chunk);
        }
    }

    /// Whether there is room for a chunk of `bytes`; adds to `victims` the chunks to remove for it.
    pub fn make_room(&mut self, bytes: u64, victims: &mut Vec<ChunkId>) -> Room {
        let stuck: u64 = self.leaving.values().filter(|leaving| leaving.stuck).map(|leaving| leaving.bytes).sum();
        if bytes.saturating_add(stuck) > self.limit {
            return Room::Never;
        }
        let leaving: u64 = self.leaving.values().map(|leaving| leaving.bytes).sum();
        let mut excess = (self.bytes - (leaving - stuck) + bytes).saturating_sub(self.limit);
        let from = victims.len();
        self.order.expect(bytes);
        for chunk in self.order.victims() {
            if excess == 0 {
                break;
            }
            let entry = &self.entries[&chunk];
            if entry.is_evictable() {
                excess = excess.saturating_sub(entry.bytes);
                victims.push(chunk);
            }
        }
        for chunk in &victims[from..] {
            self.order.evict(*chunk);
            self.leave(chunk);
            self.evictions += 1;
        }
        if self.bytes + bytes <= self.limit { Room::Now } else { Room::Later }
    }

    /// Adds to `victims` what must go for the bound to hold.
    pub fn shrink(&mut self, victims: &mut Vec<ChunkId>) {
        self.make_room(0, victims);
    }

    /// Begins to write a chunk: its bytes count from now on.
    ///
    /// # Panics
    /// If it is in the cache, if it is being removed, or if there is no room.
    pub fn begin_write(&mut self, now: Instant, chunk: ChunkId, bytes: u64) {
        assert!(self.bytes + bytes <= self.limit, "no room was made for {chunk}");
        assert!(!self.leaving.contains_key(&chunk), "{chunk} is being removed");
        self.generations += 1;
        let (expires, generation) = (now + self.max_age, self.generations);
        self.add(chunk, Entry::new(bytes, expires, generation));
    }

    /// The chunk is written: it can be read.
    ///
    /// # Panics
    /// If it was not being written.
    pub fn written(&mut self, chunk: ChunkId) {
        let entry = self.entries.get_mut(&chunk).filter(|entry| entry.writing);
        let entry = entry.expect("a write that ends has begun");
        entry.writing = false;
        self.verifications += 1;
        entry.verification = self.verifications;
        self.by_verification.insert(self.verifications, chunk);
    }

    /// Whether the chunk can be read or is being written.
    #[must_use]
    pub fn holds(&self, chunk: ChunkId) -> bool {
        self.entries.contains_key(&chunk)
    }

    /// Whether the chunk is being removed, or failed to be.
    #[must_use]
    pub fn is_leaving(&self, chunk: ChunkId) -> bool {
        self.leaving.contains_key(&chunk)
    }

    /// Whether the chunk's removal failed and was not tried again yet.
    #[must_use]
    pub fn is_stuck(&self, chunk: ChunkId) -> bool {
        self.leaving.get(&chunk).is_some_and(|leaving| leaving.stuck)
    }

    /// Uses a chunk: if it can be read it becomes the most recently used, stays until the pin is given back, and
    /// counts as a hit.
    pub fn pin(&mut self, now: Instant, chunk: ChunkId) -> Option<Pin> {
        let entry = self.entries.get_mut(&chunk).filter(|entry| !entry.writing)?;
        entry.expires = now + self.max_age;
        entry.pins += 1;
        entry.uses += 1;
        self.hits += 1;
        let generation = entry.generation;
        self.order.touch(chunk);
        Some(Pin { chunk, generation })
    }

    /// Someone begins to read a chunk, cached or not: to be said once for each reading of a whole chunk, in however
    /// many parts. Chunks that are read often are evicted late.
    pub fn count_reading(&mut self, chunk: ChunkId) {
        self.order.read(chunk);
    }

    /// Whether there is a chunk to verify.
    #[must_use]
    pub fn can_be_verified(&self) -> bool {
        !self.by_verification.is_empty()
    }

    /// Has the chunk that was written or verified longest ago stay until the pin is given back. That is no use of
    /// it, and no hit.
    pub fn pin_to_verify(&mut self) -> Option<Pin> {
        let (_, &chunk) = self.by_verification.first_key_value()?;
        let entry = self.entries.get_mut(&chunk)?;
        entry.pins += 1;
        Some(Pin { chunk, generation: entry.generation })
    }

    /// Gives a pin back because the chunk was verified: it is the last to be verified again.
    pub fn verified(&mut self, pin: Pin) {
        self.verifications += 1;
        let number = self.verifications;
        let Some(entry) = self.pinned(pin) else { return };
        entry.pins -= 1;
        let before = std::mem::replace(&mut entry.verification, number);
        self.by_verification.remove(&before);
        self.by_verification.insert(number, pin.chunk);
    }

    /// Gives a pin back.
    pub fn unpin(&mut self, pin: Pin) {
        if let Some(entry) = self.pinned(pin) {
            entry.pins -= 1;
        }
    }

    /// Gives a pin back because the chunk could not be read: it must be removed. False if it is gone already,
    /// or was written anew since.
    pub fn reject(&mut self, pin: Pin) -> bool {
        let found = self.pinned(pin).is_some();
        if found {
            self.order.lose(pin.chunk);
            self.leave(&pin.chunk);
        }
        found
    }

    /// A write failed: whether the chunk is on disk is not known, so it must be removed.
    ///
    /// # Panics
    /// If it was not being written.
    pub fn write_failed(&mut self, chunk: ChunkId) {
        let writing = self.entries.get(&chunk).is_some_and(|entry| entry.writing);
        assert!(writing, "a write that ends has begun");
        self.order.lose(chunk);
        self.leave(&chunk);
    }

    /// The chunk is off the disk: its bytes are free.
    ///
    /// # Panics
    /// If it was not being removed.
    pub fn removed(&mut self, chunk: ChunkId) {
        let gone = self.leaving.remove(&chunk).expect("a removal that ends has begun");
        self.bytes -= gone.bytes;
    }

    /// Notes whether the removal of a chunk is stuck (failed, to be tried again) or under way.
    ///
    /// # Panics
    /// If it was not being removed.
    pub fn set_stuck(&mut self, chunk: ChunkId, stuck: bool) {
        self.leaving.get_mut(&chunk).expect("only a removal gets stuck").stuck = stuck;
    }

    /// Adds to `victims` every chunk that nobody is reading or writing.
    pub fn clear(&mut self, victims: &mut Vec<ChunkId>) {
        let from = victims.len();
        victims.extend(self.unread().map(|(chunk, _)| chunk));
        for chunk in &victims[from..] {
            self.order.lose(*chunk);
            self.leave(chunk);
        }
    }

    /// Adds to `victims` the chunks that nobody used for the maximum age. Pinned ones stay.
    pub fn expire(&mut self, now: Instant, victims: &mut Vec<ChunkId>) {
        let from = victims.len();
        victims.extend(self.unread().take_while(|(_, entry)| entry.expires <= now).map(|(chunk, _)| chunk));
        for chunk in &victims[from..] {
            self.order.lose(*chunk);
            self.leave(chunk);
            self.expirations += 1;
        }
    }

    /// When the next chunk gets too old, of those that nobody reads now.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.unread().next().map(|(_, entry)| entry.expires)
    }

    /// Counts a read that was answered from memory.
    pub fn count_hit(&mut self) {
        self.hits += 1;
    }

    /// Counts a read that has to wait for the backing store.
    pub fn count_miss(&mut self) {
        self.misses += 1;
    }

    /// Bytes on disk, those being written and removed included.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The chunks that can be read, most recently used first.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkId> {
        self.order.by_use().rev().filter(|chunk| !self.entries[chunk].writing)
    }

    /// What it has done and holds. Sorts all entries: for people and dashboards, not for a loop.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        const SHOWN: usize = 10;
        let readable = self.entries.iter().filter(|(_, entry)| !entry.writing);
        let mut by_use: Vec<_> = readable.map(|(&chunk, entry)| (chunk, entry.uses)).collect();
        by_use.sort_by_key(|&(chunk, uses)| (std::cmp::Reverse(uses), chunk));
        CacheStats {
            hits: self.hits,
            misses: self.misses,
            evictions: self.evictions,
            expirations: self.expirations,
            chunks: by_use.len(),
            bytes: self.bytes,
            limit: self.limit,
            most_used: by_use.iter().take(SHOWN).copied().collect(),
            least_used: by_use.iter().rev().take(SHOWN).copied().collect(),
        }
    }

    fn add(&mut self, chunk: ChunkId, entry: Entry) {
        self.bytes += entry.bytes;
        let bytes = entry.bytes;
        assert!(self.entries.insert(chunk, entry).is_none(), "{chunk} is in the cache already");
        self.order.enter(chunk, bytes);
    }

    /// Those that nobody is reading or writing, the least recently used first.
    fn unread(&self) -> impl Iterator<Item = (ChunkId, &Entry)> {
        self.order.by_use().map(|chunk| (chunk, &self.entries[&chunk])).filter(|(_, entry)| entry.is_evictable())
    }

    fn leave(&mut self, chunk: &ChunkId) {
        let entry = self.entries.remove(chunk).expect("only what is cached leaves");
        self.by_verification.remove(&entry.verification);
        self.leaving.insert(*chunk, Leaving { bytes: entry.bytes, stuck: false });
    }

    /// The entry of a pin, unless it left since (and perhaps came back).
    fn pinned(&mut self, pin: Pin) -> Option<&mut Entry> {
        self.entries.get_mut(&pin.chunk).filter(|entry| entry.generation == pin.generation)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::sha256;

    fn chunk(n: u8) -> ChunkId {
        ChunkId::new(sha256(&[n]), 1 + u32::from(n), 0).unwrap()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u8, u64),
        Use(u8),
        Read(u8),
        Hold(u8),
        GiveBack,
        Expire,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..12u8, 0..60u64).prop_map(|(n, bytes)| Step::Write(n, bytes)),
            4 => (0..12u8).prop_map(Step::Use),
            4 => (0..12u8).prop_map(Step::Read),
            1 => (0..12u8).prop_map(Step::Hold),
            1 => Just(Step::GiveBack),
            1 => Just(Step::Expire),
            3 => (1..40u64).prop_map(Step::Wait),
        ]
    }

    const LIMIT: u64 = 150;
    const MAX_AGE: u64 = 100;

    /// The policy as anyone would write it down: lists, which are gone through from the beginning each time.
    #[derive(Default)]
    struct Naive {
        /// The least recently used first.
        cached: Vec<Cached>,
        /// Heat of what left, that of longest ago first.
        gone: Vec<(ChunkId, u128)>,
        /// What plain LRU would hold, the least recently used first.
        plain: Vec<(ChunkId, u64)>,
        most_safe: u64,
        readings: usize,
        epoch: u32,
    }

    #[derive(Clone, Copy)]
    struct Cached {
        chunk: ChunkId,
        bytes: u64,
        used: Instant,
        safe: bool,
        heat: u128,
    }

    impl Naive {
        fn bytes(&self) -> u64 {
            self.cached.iter().map(|cached| cached.bytes).sum()
        }

        fn enter(&mut self, now: Instant, chunk: ChunkId, bytes: u64) {
            if self.use_in_plain(chunk, bytes) {
                self.most_safe = (self.most_safe + bytes).min(LIMIT - LIMIT / 16);
            }
            let heat = self.forget(chunk);
            self.cached.push(Cached { chunk, bytes, used: now, safe: true, heat });
            self.settle(1, 0);
        }

        fn touch(&mut self, now: Instant, chunk: ChunkId) -> bool {
            let Some(at) = self.cached.iter().position(|cached| cached.chunk == chunk) else { return false };
            let cached = self.cached.remove(at);
            if !self.use_in_plain(chunk, cached.bytes) {
                self.most_safe = self.most_safe.saturating_sub(cached.bytes).max(LIMIT / 16);
            }
            self.cached.push(Cached { used: now, safe: true, ..cached });
            self.settle(1, 0);
            true
        }

        /// Makes room among the safe ones for so many bytes, the last `kept` of them left alone.
        fn settle(&mut self, kept: usize, more: u64) {
            loop {
                let safe: Vec<usize> = (0..self.cached.len()).filter(|&at| self.cached[at].safe).collect();
                let bytes: u64 = safe.iter().map(|&at| self.cached[at].bytes).sum();
                if bytes + more <= self.most_safe || safe.len() <= kept {
                    return;
                }
                self.cached[safe[0]].safe = false;
            }
        }

        fn use_in_plain(&mut self, chunk: ChunkId, bytes: u64) -> bool {
            let was_there = self.plain.iter().any(|known| known.0 == chunk);
            self.plain.retain(|known| known.0 != chunk);
            self.plain.push((chunk, bytes));
            while self.plain.iter().map(|known| known.1).sum::<u64>() > LIMIT {
                self.plain.remove(0);
            }
            was_there
        }

        fn read(&mut self, chunk: ChunkId) {
            self.readings += 1;
            if self.readings >= 8 * self.cached.len().max(1) {
                (self.readings, self.epoch) = (0, self.epoch + 1);
            }
            match self.cached.iter_mut().find(|cached| cached.chunk == chunk) {
                Some(cached) => cached.heat += 1 << self.epoch,
                None => {
                    let heat = self.forget(chunk) + (1 << self.epoch);
                    self.remember(chunk, heat);
                }
            }
        }

        fn forget(&mut self, chunk: ChunkId) -> u128 {
            let heat = self.gone.iter().find(|gone| gone.0 == chunk).map_or(0, |gone| gone.1);
            self.gone.retain(|gone| gone.0 != chunk);
            heat
        }

        fn remember(&mut self, chunk: ChunkId, heat: u128) {
            self.gone.push((chunk, heat));
            let most = 4 * self.cached.len().max(1);
            let excess = self.gone.len().saturating_sub(most);
            self.gone.drain(..excess);
        }

        fn remove(&mut self, chunk: ChunkId) {
            let at = self.cached.iter().position(|cached| cached.chunk == chunk).expect("it is there");
            let heat = self.cached.remove(at).heat;
            if heat > 0 {
                self.remember(chunk, heat);
            }
        }

        /// Makes room for so many bytes: those not safe go by their heat, and equally hot ones, like the safe ones
        /// after them, by their last use.
        fn evict(&mut self, bytes: u64, held: &[Pin]) -> Vec<ChunkId> {
            self.settle(0, bytes);
            let mut order: Vec<usize> = (0..self.cached.len()).collect();
            order.sort_by_key(|&at| {
                let cached = &self.cached[at];
                (cached.safe, if cached.safe { 0 } else { cached.heat }, at)
            });
            let order: Vec<ChunkId> = order.into_iter().map(|at| self.cached[at].chunk).collect();
            let mut gone = Vec::new();
            for chunk in order {
                if self.bytes() + bytes > LIMIT && !held.iter().any(|pin| pin.chunk == chunk) {
                    self.remove(chunk);
                    gone.push(chunk);
                }
            }
            gone
        }

        fn expire(&mut self, now: Instant, held: &[Pin]) -> Vec<ChunkId> {
            let old = |cached: &&Cached| now.since(cached.used) >= Duration::from_nanos(MAX_AGE);
            let old: Vec<ChunkId> = self.cached.iter().filter(old).map(|cached| cached.chunk).collect();
            let gone: Vec<ChunkId> =
                old.into_iter().filter(|chunk| !held.iter().any(|pin| pin.chunk == *chunk)).collect();
            gone.iter().for_each(|chunk| self.remove(*chunk));
            self.plain.retain(|known| !gone.contains(&known.0));
            gone
        }
    }

    proptest! {
        #[test]
        fn verification_goes_round(steps in proptest::collection::vec((0..3, 0..12u8), 1..100)) {
            let (mut cache, mut order) = (Cache::new(1000, Duration::from_secs(1)), Vec::new());
            for (step, n) in steps {
                match step {
                    0 if !cache.holds(chunk(n)) => {
                        cache.begin_write(Instant::ZERO, chunk(n), 1);
                        prop_assert!(cache.can_be_verified() != order.is_empty());
                        cache.written(chunk(n));
                        order.push(chunk(n));
                    }
                    1 => {
                        let Some(pin) = cache.pin(Instant::ZERO, chunk(n)) else { continue };
                        prop_assert!(cache.reject(pin));
                        cache.removed(chunk(n));
                        order.retain(|kept| *kept != chunk(n));
                    }
                    _ => {
                        let pin = cache.pin_to_verify();
                        prop_assert_eq!(pin.map(|pin| pin.chunk()), order.first().copied());
                        let Some(pin) = pin else { continue };
                        cache.verified(pin);
                        order.rotate_left(1);
                    }
                }
            }
        }

        #[test]
        fn it_is_the_naive_model(steps in proptest::collection::vec(step(), 1..300)) {
            let mut cache = Cache::new(LIMIT, Duration::from_nanos(MAX_AGE));
            let mut naive = Naive { most_safe: LIMIT / 2, ..Naive::default() };
            let (mut now, mut held) = (Instant::ZERO, Vec::<Pin>::new());
            for step in steps {
                let mut victims = Vec::new();
                match step {
                    Step::Write(n, bytes) if !cache.holds(chunk(n)) => {
                        let room = cache.make_room(bytes, &mut victims);
                        prop_assert_eq!(&victims, &naive.evict(bytes, &held));
                        for victim in victims.drain(..) {
                            cache.removed(victim);
                        }
                        let fits = naive.bytes() + bytes <= LIMIT;
                        prop_assert!(fits || room == Room::Later, "{:?}", room);
                        if fits {
                            cache.begin_write(now, chunk(n), bytes);
                            prop_assert_eq!(cache.pin(now, chunk(n)), None, "readable before it is written");
                            cache.written(chunk(n));
                            naive.enter(now, chunk(n), bytes);
                        }
                    }
                    Step::Write(..) => {}
                    Step::Use(n) => {
                        let pin = cache.pin(now, chunk(n));
                        prop_assert_eq!(pin.is_some(), naive.touch(now, chunk(n)));
                        pin.into_iter().for_each(|pin| cache.unpin(pin));
                    }
                    Step::Read(n) => {
                        cache.count_reading(chunk(n));
                        naive.read(chunk(n));
                    }
                    Step::Hold(n) => {
                        held.extend(cache.pin(now, chunk(n)));
                        naive.touch(now, chunk(n));
                    }
                    Step::GiveBack => held.pop().into_iter().for_each(|pin| cache.unpin(pin)),
                    Step::Expire => {
                        let due = cache.next_expiry().is_some_and(|at| at <= now);
                        cache.expire(now, &mut victims);
                        prop_assert_eq!(&victims, &naive.expire(now, &held));
                        prop_assert_eq!(due, !victims.is_empty(), "the wake-up is when something is due");
                        victims.drain(..).for_each(|victim| cache.removed(victim));
                    }
                    Step::Wait(nanos) => now = now + Duration::from_nanos(nanos),
                }
                prop_assert_eq!(cache.bytes(), naive.bytes());
                prop_assert!(cache.bytes() <= LIMIT);
                let order: Vec<_> = naive.cached.iter().rev().map(|cached| cached.chunk).collect();
                prop_assert_eq!(cache.chunks().collect::<Vec<_>>(), order);
            }
        }
    }

    /// Reads a chunk as the store does: one that is not cached is written.
    fn read(cache: &mut Cache, n: u8) -> bool {
        cache.count_reading(chunk(n));
        let pin = cache.pin(Instant::ZERO, chunk(n));
        let Some(pin) = pin else {
            let mut victims = Vec::new();
            cache.make_room(10, &mut victims);
            victims.into_iter().for_each(|victim| cache.removed(victim));
            cache.begin_write(Instant::ZERO, chunk(n), 10);
            cache.written(chunk(n));
            return false;
        };
        cache.unpin(pin);
        true
    }

    #[test]
    fn a_visit_of_a_large_share_does_not_drive_out_what_is_read_often() {
        let mut cache = Cache::new(100, Duration::from_secs(1));
        for _ in 0..5 {
            (0..5).for_each(|n| _ = read(&mut cache, n));
        }
        for n in 100..200 {
            read(&mut cache, n);
        }
        assert!((0..5).all(|n| read(&mut cache, n)));
    }

    #[test]
    fn what_was_read_often_once_does_not_stay_for_ever() {
        let mut cache = Cache::new(100, Duration::from_secs(1));
        for _ in 0..1000 {
            (0..5).for_each(|n| _ = read(&mut cache, n));
        }
        for _ in 0..200 {
            (100..110).for_each(|n| _ = read(&mut cache, n));
        }
        assert!((100..110).all(|n| read(&mut cache, n)));
    }

    #[test]
    fn what_an_earlier_run_left_keeps_its_age_and_is_cut_to_the_bound() {
        let mut cache = Cache::new(100, Duration::from_secs(100));
        let age = Duration::from_secs;
        cache.recover(
            Instant::ZERO,
            vec![(chunk(1), 60, age(5)), (chunk(2), 60, age(50)), (chunk(3), 30, age(200))],
        );
        let mut victims = Vec::new();
        cache.shrink(&mut victims);
        assert_eq!(victims, [chunk(3), chunk(2)]);
        assert_eq!(cache.next_expiry(), Some(Instant::ZERO + age(95)));
        let stats = cache.stats();
        assert_eq!((stats.evictions, stats.chunks, stats.bytes), (2, 1, 150));
    }

    #[test]
    fn a_removal_that_failed_keeps_its_bytes_and_blocks_nobody() {
        let mut cache = Cache::new(100, Duration::from_secs(1));
        cache.recover(Instant::ZERO, vec![(chunk(1), 60, Duration::ZERO)]);
        let mut victims = Vec::new();
        assert_eq!(cache.make_room(70, &mut victims), Room::Later);
        cache.set_stuck(chunk(1), true);
        assert_eq!(cache.make_room(70, &mut victims), Room::Never);
        assert_eq!(cache.make_room(40, &mut victims), Room::Now);
        cache.removed(chunk(1));
        assert_eq!((victims, cache.bytes()), (vec![chunk(1)], 0));
    }
}
