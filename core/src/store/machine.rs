//! The store's decisions: who is answered from where, what is fetched once for many, what is acknowledged when.
//!
//! It never acknowledges a chunk before the backing store has it, and never holds more bytes than its limits say.

mod clear;
mod scrub;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use lru::LruCache;

use self::scrub::Scrub;
use super::answer::{Answer, StoreError};
use super::cache::{Cache, CacheStats, Pin, Room};
use super::config::Config;
use super::effect::{Effect, EffectDone, Key, Outcome, Part};
use super::torrents::Torrents;
use super::{MAX_KO_LEN, cached_len};
use crate::id::{ChunkId, InfoHash};
use crate::machine::{Instant, Outbox, earliest};
use crate::merkle::VerifiedChunk;
use crate::node::io::{DiskError, Ticket};

/// Time until a removal from the cache that failed is tried again.
const REMOVE_RETRY: Duration = Duration::from_secs(1);

/// What the store wants done or says.
#[derive(Clone, Debug)]
pub enum Output {
    /// For the driver; answered by [`Store::done`].
    Effect(Effect),
    /// For who asked.
    Answer(Answer),
    /// For the log: something failed, the store goes on.
    Fault(Fault),
}

/// An effect that failed. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was tried.
    pub doing: &'static str,
    /// To what.
    pub key: Key,
    /// Why it failed.
    pub why: DiskError,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} {}: {}", self.doing, self.key, self.why)
    }
}

/// What a store has done and holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The cache.
    pub cache: CacheStats,
    /// Chunks fetched from the backing store.
    pub fetched: u64,
    /// Bytes of them.
    pub fetched_bytes: u64,
    /// Chunks put into the backing store.
    pub stored: u64,
    /// Bytes of them.
    pub stored_bytes: u64,
    /// Requests to the backing store that were begun, a driver's own retries not counted.
    pub backing_requests: u64,
    /// Those of them that failed or found what could not be used.
    pub backing_errors: u64,
    /// Effects that failed.
    pub faults: u64,
    /// Verifications of whole cached chunks that found them right.
    pub cache_verified: u64,
    /// Faults that found cached bytes to be others than were written.
    pub cache_corrupt: u64,
    /// Faults that found an object of the backing store not to be what its name says.
    pub backing_corrupt: u64,
    /// Bytes of chunks and `.ko`s in memory.
    pub memory: u64,
    /// Tickets that wait for an answer.
    pub waiting: usize,
}

/// A bounded cache in front of a backing store.
///
/// Its caller is one node machine: call a method, then [`Store::poll`] until `None`. Effects go to the driver,
/// whose answers come back through [`Store::done`]. Tickets in questions and answers are the caller's own, those
/// in effects are the store's: the two are never mixed up, but neither are they disjoint.
#[derive(Debug)]
pub struct Store {
    config: Config,
    cache: Cache,
    /// Chunks in memory or on their way there.
    chunks: BTreeMap<ChunkId, Active>,
    fetch_queue: VecDeque<ChunkId>,
    fetches: usize,
    put_queue: VecDeque<ChunkId>,
    puts: usize,
    /// Chunks in memory that wait for room in the cache.
    write_queue: VecDeque<ChunkId>,
    /// Questions of existence and first questions for a `.ko` that wait for their turn.
    lookup_queue: VecDeque<Pending>,
    lookups: usize,
    torrents: Torrents,
    torrent_readers: BTreeMap<InfoHash, Vec<Ticket>>,
    known: LruCache<ChunkId, ()>,
    pending: BTreeMap<Ticket, Pending>,
    next_ticket: u64,
    waiting: usize,
    /// Bytes reserved for fetches in flight.
    fetching_bytes: u64,
    /// Bytes of chunks in memory, and of `.ko`s being put.
    held_bytes: u64,
    /// When each stuck removal is tried again.
    retries: VecDeque<(Instant, ChunkId)>,
    scrub: Scrub,
    stats: Stats,
    outbox: Outbox<Output>,
}

/// A chunk that someone waits for, or that is in memory.
#[derive(Debug, Default)]
struct Active {
    data: Option<VerifiedChunk>,
    fetch: Step,
    put: Step,
    write: Step,
    readers: Vec<(Ticket, Part)>,
    putters: Vec<Ticket>,
}

/// How far one of the things that happen to an active chunk has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Idle,
    Queued,
    InFlight,
}

/// What an effect in flight was for.
#[derive(Debug)]
enum Pending {
    CacheRead { pin: Pin, chunk: ChunkId, ticket: Ticket, part: Part },
    CacheWrite(ChunkId),
    CacheRemove(ChunkId),
    CacheVerify(Pin),
    FetchChunk(ChunkId),
    PutChunk(ChunkId),
    FetchTorrent(InfoHash),
    PutTorrent { ticket: Ticket, info_hash: InfoHash, ko: Bytes },
    Exists { ticket: Ticket, chunk: ChunkId },
}

impl Pending {
    const fn is_of_cache(&self) -> bool {
        matches!(self, Self::CacheRead { .. } | Self::CacheWrite(_) | Self::CacheRemove(_))
    }
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            cache: Cache::new(config.cache_bytes, config.max_age),
            chunks: BTreeMap::new(),
            fetch_queue: VecDeque::new(),
            fetches: 0,
            put_queue: VecDeque::new(),
            puts: 0,
            write_queue: VecDeque::new(),
            lookup_queue: VecDeque::new(),
            lookups: 0,
            torrents: Torrents::new(config.torrent_bytes),
            torrent_readers: BTreeMap::new(),
            known: LruCache::new(config.max_known),
            pending: BTreeMap::new(),
            next_ticket: 0,
            waiting: 0,
            fetching_bytes: 0,
            held_bytes: 0,
            retries: VecDeque::new(),
            scrub: Scrub::default(),
            stats: Stats::default(),
            outbox: Outbox::default(),
            config,
        }
    }

    /// Takes in what an earlier run left in the cache: each chunk once, with the time since it was last used.
    /// To be called before anything else.
    ///
    /// # Panics
    /// If a chunk is named twice, or is in the cache already.
    pub fn recovered(&mut self, now: Instant, entries: impl IntoIterator<Item = (ChunkId, Duration)>) {
        let found = entries.into_iter().map(|(chunk, age)| (chunk, cached_len(chunk), age)).collect();
        self.cache.recover(now, found);
        let mut victims = Vec::new();
        self.cache.shrink(&mut victims);
        self.remove(victims);
        self.tidy(now);
    }

    /// Asks for a part of a chunk: [`Answer::Data`].
    pub fn read(&mut self, now: Instant, ticket: Ticket, chunk: ChunkId, part: Part) {
        if !part.is_of(chunk) {
            return self.answer(Answer::Data { ticket, result: Err(StoreError::NotFound) });
        }
        if let Some(data) = self.chunks.get(&chunk).and_then(|active| active.data.as_ref()) {
            let result = part.of(data).ok_or(StoreError::NotFound);
            self.cache.count_hit();
            self.count_reading(chunk, part);
            return self.answer(Answer::Data { ticket, result });
        }
        if self.waiting >= self.config.max_waiting {
            return self.answer(Answer::Data { ticket, result: Err(StoreError::Busy) });
        }
        self.waiting += 1;
        if let Some(pin) = self.cache.pin(now, chunk) {
            self.count_reading(chunk, part);
            let pending = Pending::CacheRead { pin, chunk, ticket, part };
            self.start(pending, |ticket| Effect::CacheRead { ticket, chunk, part });
        } else {
            self.fetch(ticket, chunk, part);
        }
        self.tidy(now);
    }

    /// Asks for a chunk to be stored for good: [`Answer::Stored`] once the backing store has it.
    pub fn put(&mut self, now: Instant, ticket: Ticket, chunk: VerifiedChunk) {
        let id = chunk.id();
        if self.known.get(&id).is_some() {
            return self.answer(Answer::Stored { ticket, result: Ok(()) });
        }
        let length = u64::from(id.length());
        // What could not be fetched again must not be acknowledged.
        if let Err(error) = self.is_manageable(length) {
            return self.answer(Answer::Stored { ticket, result: Err(error) });
        }
        let is_held = self.chunks.get(&id).is_some_and(|active| active.data.is_some());
        if self.waiting >= self.config.max_waiting || !(is_held || self.has_room_for(length)) {
            return self.answer(Answer::Stored { ticket, result: Err(StoreError::Busy) });
        }
        self.waiting += 1;
        self.hold(chunk);
        let active = self.chunks.get_mut(&id).expect("held above");
        active.putters.push(ticket);
        if active.put == Step::Idle {
            active.put = Step::Queued;
            self.put_queue.push_back(id);
        }
        self.tidy(now);
    }

    /// Asks whether a chunk is stored for good: [`Answer::Contains`].
    pub fn contains(&mut self, now: Instant, ticket: Ticket, chunk: ChunkId) {
        if self.known.get(&chunk).is_some() {
            return self.answer(Answer::Contains { ticket, result: Ok(true) });
        }
        if self.waiting >= self.config.max_waiting {
            return self.answer(Answer::Contains { ticket, result: Err(StoreError::Busy) });
        }
        self.waiting += 1;
        self.lookup_queue.push_back(Pending::Exists { ticket, chunk });
        self.tidy(now);
    }

    /// Asks for the `.ko` of a share: [`Answer::Torrent`].
    pub fn torrent(&mut self, now: Instant, ticket: Ticket, info_hash: InfoHash) {
        if let Some(ko) = self.torrents.get(&info_hash) {
            return self.answer(Answer::Torrent { ticket, result: Ok(Some(ko)) });
        }
        if self.waiting >= self.config.max_waiting {
            return self.answer(Answer::Torrent { ticket, result: Err(StoreError::Busy) });
        }
        self.waiting += 1;
        let readers = self.torrent_readers.entry(info_hash).or_default();
        readers.push(ticket);
        if readers.len() == 1 {
            self.lookup_queue.push_back(Pending::FetchTorrent(info_hash));
        }
        self.tidy(now);
    }

    /// Asks for a `.ko`, which must have this info hash, to be stored for good: [`Answer::Stored`].
    pub fn put_torrent(&mut self, now: Instant, ticket: Ticket, info_hash: InfoHash, ko: Bytes) {
        let length = ko.len() as u64;
        if length > MAX_KO_LEN.min(self.config.max_memory) {
            let why = format!("a .ko of {length} bytes is too long");
            return self.answer(Answer::Stored { ticket, result: Err(StoreError::Failed(why)) });
        }
        if self.waiting >= self.config.max_waiting || !self.has_room_for(length) {
            return self.answer(Answer::Stored { ticket, result: Err(StoreError::Busy) });
        }
        self.waiting += 1;
        self.held_bytes += length;
        let pending = Pending::PutTorrent { ticket, info_hash, ko: ko.clone() };
        self.start(pending, |ticket| Effect::PutTorrent { ticket, info_hash, ko });
        self.tidy(now);
    }

    /// The driver has done an effect.
    ///
    /// # Panics
    /// If there is no such effect in flight, or the outcome is of another kind of effect.
    pub fn done(&mut self, now: Instant, done: EffectDone) {
        let pending = self.pending.remove(&done.ticket).expect("an effect in flight");
        let failed = matches!(done.outcome, Outcome::Failed(_) | Outcome::Corrupt(_));
        self.stats.backing_errors += u64::from(failed && !pending.is_of_cache());
        match (pending, done.outcome) {
            (Pending::CacheRead { pin, chunk, ticket, part }, outcome) => {
                self.cache_read(pin, chunk, ticket, part, outcome);
            }
            (Pending::CacheWrite(chunk), outcome) => self.cache_written(chunk, outcome),
            (Pending::CacheRemove(chunk), outcome) => self.cache_removed(now, chunk, outcome),
            (Pending::CacheVerify(pin), outcome) => self.cache_verified(pin, outcome),
            (Pending::FetchChunk(chunk), outcome) => self.chunk_fetched(chunk, outcome),
            (Pending::PutChunk(chunk), outcome) => self.chunk_put(chunk, outcome),
            (Pending::FetchTorrent(info_hash), outcome) => self.torrent_fetched(info_hash, outcome),
            (Pending::PutTorrent { ticket, info_hash, ko }, outcome) => {
                self.torrent_put(ticket, info_hash, ko, outcome);
            }
            (Pending::Exists { ticket, chunk }, outcome) => self.existence(ticket, chunk, outcome),
        }
        self.tidy(now);
    }

    /// Time passed: what is too old goes.
    pub fn wake(&mut self, now: Instant) {
        self.tidy(now);
    }

    /// When to call [`Store::wake`] if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        let retry = self.retries.front().map(|&(at, _)| at);
        earliest([self.cache.next_expiry(), retry, self.next_verification()])
    }

    /// The next thing to do, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    /// Bytes of chunks and `.ko`s in memory on their way in or out, chunks being fetched included; never more
    /// than the limit. Parts read from the cache are not counted: they are as many as the waiting tickets.
    #[must_use]
    pub const fn memory_in_use(&self) -> u64 {
        self.held_bytes + self.fetching_bytes
    }

    /// Whether [`Store::put`] would take a new chunk of `length` bytes now: who uploads should wait if not.
    #[must_use]
    pub const fn has_room_for(&self, length: u64) -> bool {
        self.memory_in_use() + length <= self.config.max_memory
    }

    /// The chunks that can be read from the cache, most recently used first.
    pub fn cached(&self) -> impl Iterator<Item = ChunkId> {
        self.cache.chunks()
    }

    /// Whether a chunk is in the cache, in memory, or on its way from memory into the cache.
    #[must_use]
    pub fn holds(&self, chunk: ChunkId) -> bool {
        self.cache.holds(chunk) || self.chunks.get(&chunk).is_some_and(|active| active.data.is_some())
    }

    /// What it has done and holds. Sorts the cache's entries: for people and dashboards, not for a loop.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            cache: self.cache.stats(),
            memory: self.memory_in_use(),
            waiting: self.waiting,
            ..self.stats.clone()
        }
    }

    /// Lets a reader, already counted as waiting, wait for a chunk that is not in memory.
    fn fetch(&mut self, ticket: Ticket, chunk: ChunkId, part: Part) {
        self.cache.count_miss();
        let is_new = self.chunks.get(&chunk).is_none_or(|active| active.fetch == Step::Idle);
        if is_new {
            let length = u64::from(chunk.length());
            if let Err(error) = self.is_manageable(length) {
                return self.settle(Answer::Data { ticket, result: Err(error) });
            }
            if self.fetch_queue.len() >= self.config.max_queued_fetches {
                return self.settle(Answer::Data { ticket, result: Err(StoreError::Busy) });
            }
            self.fetch_queue.push_back(chunk);
        }
        let active = self.chunks.entry(chunk).or_default();
        if is_new {
            active.fetch = Step::Queued;
        }
        active.readers.push((ticket, part));
    }

    /// Whether a chunk of `length` bytes can ever be fetched.
    fn is_manageable(&self, length: u64) -> Result<(), StoreError> {
        if length <= self.config.max_memory / 2 {
            return Ok(());
        }
        let why = format!("a chunk of {length} bytes needs twice as much memory as there is");
        Err(StoreError::Failed(why))
    }

    /// Puts a chunk in memory, serves who waits for it, and has it written to the cache.
    fn hold(&mut self, chunk: VerifiedChunk) {
        let id = chunk.id();
        let active = self.chunks.entry(id).or_default();
        if active.data.is_some() {
            return;
        }
        if active.fetch == Step::Queued {
            active.fetch = Step::Idle;
            self.fetch_queue.retain(|queued| *queued != id);
        }
        if active.write == Step::Idle && !self.cache.holds(id) {
            active.write = Step::Queued;
            self.write_queue.push_back(id);
        }
        let readers = std::mem::take(&mut active.readers);
        active.data = Some(chunk.clone());
        self.held_bytes += u64::from(id.length());
        for (ticket, part) in readers {
            self.count_reading(id, part);
            let result = part.of(&chunk).ok_or(StoreError::NotFound);
            self.settle(Answer::Data { ticket, result });
        }
    }

    /// Tells the cache of a reading of a chunk that is there, once: when its first block is read.
    fn count_reading(&mut self, chunk: ChunkId, part: Part) {
        if matches!(part, Part::Blocks { first: 0, .. }) {
            self.cache.count_reading(chunk);
        }
    }

    /// Forgets an active chunk that nothing happens to any more.
    fn release(&mut self, chunk: ChunkId) {
        let Some(active) = self.chunks.get_mut(&chunk) else { return };
        if active.put == Step::Idle && active.write == Step::Idle && active.data.take().is_some() {
            self.held_bytes -= u64::from(chunk.length());
        }
        if active.data.is_none() && active.fetch == Step::Idle {
            assert!(active.readers.is_empty() && active.putters.is_empty(), "{chunk} is still waited for");
            self.chunks.remove(&chunk);
        }
    }

    fn cache_read(&mut self, pin: Pin, chunk: ChunkId, ticket: Ticket, part: Part, outcome: Outcome) {
        self.stats.cache_corrupt += u64::from(matches!(outcome, Outcome::Corrupt(_)));
        match outcome {
            Outcome::Read(data) => {
                self.cache.unpin(pin);
                self.settle(Answer::Data { ticket, result: Ok(data) });
            }
            Outcome::Failed(why) | Outcome::Corrupt(why) => {
                self.fault("read from the cache", Key::Chunk(chunk), why);
                if self.cache.reject(pin) {
                    self.remove(vec![chunk]);
                    self.restore(chunk);
                }
                match self.chunks.get(&chunk).and_then(|active| active.data.as_ref()) {
                    Some(data) => {
                        let result = part.of(data).ok_or(StoreError::NotFound);
                        self.settle(Answer::Data { ticket, result });
                    }
                    None => self.fetch(ticket, chunk, part),
                }
            }
            other => panic!("a cache read ended in {other:?}"),
        }
    }

    fn cache_written(&mut self, chunk: ChunkId, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.cache.written(chunk),
            Outcome::Failed(why) => {
                self.fault("write to the cache", Key::Chunk(chunk), why);
                self.cache.write_failed(chunk);
                self.remove(vec![chunk]);
            }
            other => panic!("a cache write ended in {other:?}"),
        }
        self.active(chunk).write = Step::Idle;
        self.release(chunk);
    }

    fn cache_removed(&mut self, now: Instant, chunk: ChunkId, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.cache.removed(chunk),
            Outcome::Failed(why) => {
                self.fault("remove from the cache", Key::Chunk(chunk), why);
                self.cache.set_stuck(chunk, true);
                self.retries.push_back((now + REMOVE_RETRY, chunk));
            }
            other => panic!("a removal from the cache ended in {other:?}"),
        }
    }

    fn chunk_fetched(&mut self, chunk: ChunkId, outcome: Outcome) {
        self.fetches -= 1;
        self.fetching_bytes -= u64::from(chunk.length());
        self.active(chunk).fetch = Step::Idle;
        self.stats.backing_corrupt += u64::from(matches!(outcome, Outcome::Corrupt(_)));
        let error = match outcome {
            Outcome::Chunk(Some(data)) => {
                assert_eq!(data.id(), chunk, "another chunk than was asked for");
                self.stats.fetched += 1;
                self.stats.fetched_bytes += u64::from(chunk.length());
                self.known.put(chunk, ());
                self.hold(data);
                None
            }
            Outcome::Chunk(None) => Some(StoreError::NotFound),
            Outcome::Failed(why) | Outcome::Corrupt(why) => {
                let error = StoreError::Failed(why.0.clone());
                self.fault("fetch", Key::Chunk(chunk), why);
                Some(error)
            }
            other => panic!("a fetch ended in {other:?}"),
        };
        if let Some(error) = error {
            // What was believed of the backing store is in doubt: the next upload puts the chunk again.
            self.known.pop(&chunk);
            for (ticket, _) in std::mem::take(&mut self.active(chunk).readers) {
                self.settle(Answer::Data { ticket, result: Err(error.clone()) });
            }
        }
        self.release(chunk);
    }

    fn chunk_put(&mut self, chunk: ChunkId, outcome: Outcome) {
        self.puts -= 1;
        let result = match outcome {
            Outcome::Done => {
                self.stats.stored += 1;
                self.stats.stored_bytes += u64::from(chunk.length());
                self.known.put(chunk, ());
                Ok(())
            }
            Outcome::Failed(why) => {
                let error = StoreError::Failed(why.0.clone());
                self.fault("store", Key::Chunk(chunk), why);
                Err(error)
            }
            other => panic!("a put ended in {other:?}"),
        };
        let active = self.active(chunk);
        active.put = Step::Idle;
        for ticket in std::mem::take(&mut active.putters) {
            self.settle(Answer::Stored { ticket, result: result.clone() });
        }
        self.release(chunk);
    }

    fn torrent_fetched(&mut self, info_hash: InfoHash, outcome: Outcome) {
        self.lookups -= 1;
        self.stats.backing_corrupt += u64::from(matches!(outcome, Outcome::Corrupt(_)));
        let result = match outcome {
            Outcome::Torrent(ko) => {
                if let Some(ko) = &ko {
                    self.torrents.insert(info_hash, ko.clone());
                }
                Ok(ko)
            }
            Outcome::Failed(why) | Outcome::Corrupt(why) => {
                let error = StoreError::Failed(why.0.clone());
                self.fault("fetch", Key::Torrent(info_hash), why);
                Err(error)
            }
            other => panic!("a fetch of a .ko ended in {other:?}"),
        };
        for ticket in self.torrent_readers.remove(&info_hash).expect("fetched for someone") {
            self.settle(Answer::Torrent { ticket, result: result.clone() });
        }
    }

    fn torrent_put(&mut self, ticket: Ticket, info_hash: InfoHash, ko: Bytes, outcome: Outcome) {
        self.held_bytes -= ko.len() as u64;
        let result = match outcome {
            Outcome::Done => {
                self.torrents.insert(info_hash, ko);
                Ok(())
            }
            Outcome::Failed(why) => {
                let error = StoreError::Failed(why.0.clone());
                self.fault("store", Key::Torrent(info_hash), why);
                Err(error)
            }
            other => panic!("a put of a .ko ended in {other:?}"),
        };
        self.settle(Answer::Stored { ticket, result });
    }

    fn existence(&mut self, ticket: Ticket, chunk: ChunkId, outcome: Outcome) {
        self.lookups -= 1;
        let result = match outcome {
            Outcome::Exists(exists) => {
                if exists {
                    self.known.put(chunk, ());
                }
                Ok(exists)
            }
            Outcome::Failed(why) => {
                let error = StoreError::Failed(why.0.clone());
                self.fault("look up", Key::Chunk(chunk), why);
                Err(error)
            }
            other => panic!("a question of existence ended in {other:?}"),
        };
        self.settle(Answer::Contains { ticket, result });
    }

    /// Does whatever has become possible: the last step of every change.
    fn tidy(&mut self, now: Instant) {
        while self.retries.front().is_some_and(|&(at, _)| at <= now) {
            let (_, chunk) = self.retries.pop_front().expect("just seen");
            self.cache.set_stuck(chunk, false);
            self.remove(vec![chunk]);
        }
        let mut victims = Vec::new();
        self.cache.expire(now, &mut victims);
        self.remove(victims);
        self.begin_writes(now);
        self.begin_puts();
        self.begin_fetches();
        self.begin_lookups();
        self.begin_verification(now);
    }

    /// First come, first written: room that is made for one chunk is not taken by another.
    fn begin_writes(&mut self, now: Instant) {
        while let Some(&chunk) = self.write_queue.front() {
            let bytes = cached_len(chunk);
            let mut victims = Vec::new();
            let room = match self.cache.is_leaving(chunk) {
                true if self.cache.is_stuck(chunk) => Room::Never,
                true => Room::Later,
                false => self.cache.make_room(bytes, &mut victims),
            };
            self.remove(victims);
            match room {
                Room::Later => return,
                Room::Never => {
                    self.write_queue.pop_front();
                    self.active(chunk).write = Step::Idle;
                    self.release(chunk);
                }
                Room::Now => {
                    self.write_queue.pop_front();
                    self.cache.begin_write(now, chunk, bytes);
                    let active = self.active(chunk);
                    active.write = Step::InFlight;
                    let data = active.data.clone().expect("what waits to be written is in memory");
                    self.start(Pending::CacheWrite(chunk), |ticket| Effect::CacheWrite { ticket, chunk: data });
                }
            }
        }
    }

    fn begin_puts(&mut self) {
        while self.puts < self.config.max_puts {
            let Some(chunk) = self.put_queue.pop_front() else { return };
            self.puts += 1;
            let active = self.active(chunk);
            active.put = Step::InFlight;
            let data = active.data.clone().expect("what waits to be put is in memory");
            self.start(Pending::PutChunk(chunk), |ticket| Effect::PutChunk { ticket, chunk: data });
        }
    }

    fn begin_fetches(&mut self) {
        while self.fetches < self.config.max_fetches {
            let Some(&chunk) = self.fetch_queue.front() else { return };
            let length = u64::from(chunk.length());
            if self.fetching_bytes + length > self.config.max_memory / 2 || !self.has_room_for(length) {
                return;
            }
            self.fetch_queue.pop_front();
            self.fetches += 1;
            self.fetching_bytes += length;
            self.active(chunk).fetch = Step::InFlight;
            self.start(Pending::FetchChunk(chunk), |ticket| Effect::FetchChunk { ticket, chunk });
        }
    }

    fn begin_lookups(&mut self) {
        while self.lookups < self.config.max_lookups {
            let Some(pending) = self.lookup_queue.pop_front() else { return };
            self.lookups += 1;
            match pending {
                Pending::Exists { chunk, .. } => {
                    self.start(pending, |ticket| Effect::Exists { ticket, key: Key::Chunk(chunk) });
                }
                Pending::FetchTorrent(info_hash) => {
                    self.start(pending, |ticket| Effect::FetchTorrent { ticket, info_hash });
                }
                other => unreachable!("{other:?} is not queued as a look-up"),
            }
        }
    }

    fn remove(&mut self, victims: Vec<ChunkId>) {
        for chunk in victims {
            self.start(Pending::CacheRemove(chunk), |ticket| Effect::CacheRemove { ticket, chunk });
        }
    }

    fn start(&mut self, pending: Pending, effect: impl FnOnce(Ticket) -> Effect) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.stats.backing_requests += u64::from(!pending.is_of_cache());
        self.pending.insert(ticket, pending);
        self.outbox.push(Output::Effect(effect(ticket)));
    }

    /// Answers a ticket that was counted as waiting.
    fn settle(&mut self, answer: Answer) {
        self.waiting -= 1;
        self.answer(answer);
    }

    fn answer(&mut self, answer: Answer) {
        self.outbox.push(Output::Answer(answer));
    }

    fn fault(&mut self, doing: &'static str, key: Key, why: DiskError) {
        self.stats.faults += 1;
        self.outbox.push(Output::Fault(Fault { doing, key, why }));
    }

    fn active(&mut self, chunk: ChunkId) -> &mut Active {
        self.chunks.get_mut(&chunk).expect("something happens to it, so it is active")
    }
}
