//! The store's decisions: who is answered from where, what is fetched once for many, what is acknowledged when.
//!
//! It never acknowledges a chunk before the backing store has it, and never holds more bytes than its limits say.

mod ahead;
mod clear;
mod home;
mod scrub;
mod torrents;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lru::LruCache;

use self::ahead::Ahead;
pub use self::ahead::{AheadStats, MAX_AHEAD, ReaderId};
use self::home::Asking;
pub use self::home::HomeStats;
use self::scrub::Scrub;
use super::answer::{Answer, StoreError};
use super::cache::{Cache, CacheStats, Pin, Room};
use super::cached_len;
use super::config::Config;
use super::effect::{Effect, EffectDone, Key, Outcome, Part, PartData};
use super::homes::Home;
use super::torrents::Torrents;
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
    /// For the driver: ask another worker for a chunk, and verify what it sends; answered by
    /// [`Store::home_answered`].
    AskHome {
        /// Returned in the answer.
        ticket: Ticket,
        /// Which chunk.
        chunk: ChunkId,
        /// Whom to ask.
        home: Arc<Home>,
    },
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
    /// Other workers.
    pub homes: HomeStats,
    /// Reading ahead.
    pub ahead: AheadStats,
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
    asking: Asking,
    ahead: Ahead,
    stats: Stats,
    outbox: Outbox<Output>,
}

/// A chunk that someone waits for, or that is in memory.
#[derive(Debug, Default)]
struct Active {
    data: Option<VerifiedChunk>,
    fetch: Step,
    /// Another worker is asked for it.
    is_asked: bool,
    put: Step,
    write: Step,
    /// It stays in memory for a while, though it is neither written nor put.
    is_passing: bool,
    /// It is to be written wherever it comes from, whether anyone reads it or not.
    must_stay: bool,
    readers: Vec<Reader>,
    putters: Vec<Ticket>,
}

/// Who waits for a part of a chunk.
#[derive(Clone, Copy, Debug)]
struct Reader {
    ticket: Ticket,
    part: Part,
    /// Whether that is another worker.
    is_worker: bool,
}

impl Active {
    /// Whether it is on its way into memory.
    fn is_coming(&self) -> bool {
        self.fetch != Step::Idle || self.is_asked
    }

    /// Whether somebody waits for it, or the cache does.
    const fn is_wanted(&self) -> bool {
        !self.readers.is_empty() || self.must_stay
    }
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
    CacheRead { pin: Pin, chunk: ChunkId, reader: Reader },
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
            asking: Asking::new(config.name.clone()),
            ahead: Ahead::default(),
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
        self.read_as(now, Reader { ticket, part, is_worker: false }, chunk);
    }

    fn read_as(&mut self, now: Instant, reader: Reader, chunk: ChunkId) {
        if !reader.part.is_of(chunk) {
            return self.tell(reader, Err(StoreError::NotFound));
        }
        self.ahead.read(chunk);
        if let Some(data) = self.chunks.get(&chunk).and_then(|active| active.data.as_ref()) {
            let result = reader.part.of(data).ok_or(StoreError::NotFound);
            self.cache.count_hit();
            self.count_reading(chunk, reader.part);
            return self.tell(reader, result);
        }
        if self.waiting >= self.config.max_waiting {
            return self.tell(reader, Err(StoreError::Busy));
        }
        self.waiting += 1;
        if let Some(pin) = self.cache.pin(now, chunk) {
            self.count_reading(chunk, reader.part);
            let part = reader.part;
            let pending = Pending::CacheRead { pin, chunk, reader };
            self.start(pending, |ticket| Effect::CacheRead { ticket, chunk, part });
        } else {
            self.fetch(now, reader, chunk);
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
        if !is_held {
            self.make_room_for(length);
        }
        self.hold(chunk, true);
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

    /// The driver has done an effect.
    ///
    /// # Panics
    /// If there is no such effect in flight, or the outcome is of another kind of effect.
    pub fn done(&mut self, now: Instant, done: EffectDone) {
        let pending = self.pending.remove(&done.ticket).expect("an effect in flight");
        let failed = matches!(done.outcome, Outcome::Failed(_) | Outcome::Corrupt(_));
        self.stats.backing_errors += u64::from(failed && !pending.is_of_cache());
        match (pending, done.outcome) {
            (Pending::CacheRead { pin, chunk, reader }, outcome) => {
                self.cache_read(now, pin, chunk, reader, outcome);
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
        earliest([self.cache.next_expiry(), retry, self.next_verification(), self.asking.next_wake()])
    }

    /// The next thing to do, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    /// Bytes of chunks and `.ko`s in memory on their way in or out, chunks being fetched included; never more
    /// than the limit. Parts read from the cache are not counted: they are as many as the waiting tickets.
    #[must_use]
    pub const fn memory_in_use(&self) -> u64 {
        self.held_bytes + self.fetching_bytes + self.asking.bytes
    }

    /// Whether [`Store::put`] would take a new chunk of `length` bytes now: who uploads should wait if not. What
    /// only stays in memory for a while makes room.
    #[must_use]
    pub const fn has_room_for(&self, length: u64) -> bool {
        self.memory_in_use() - self.asking.passing_bytes + length <= self.config.max_memory
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
            homes: self.asking.stats(),
            ahead: self.ahead.stats.clone(),
            ..self.stats.clone()
        }
    }

    /// Lets a reader, already counted as waiting, wait for a chunk that is not in memory.
    fn fetch(&mut self, now: Instant, reader: Reader, chunk: ChunkId) {
        self.cache.count_miss();
        let active = self.chunks.get(&chunk);
        // To wait for another worker could be to wait for the one that asks.
        if reader.is_worker && active.is_some_and(|active| active.is_asked) {
            return self.settle_reader(reader, Err(StoreError::NotFound));
        }
        if reader.is_worker && !self.asking.may_wait(self.config.max_waiting) {
            return self.settle_reader(reader, Err(StoreError::Busy));
        }
        if !active.is_some_and(Active::is_coming) {
            if let Err(error) = self.is_manageable(u64::from(chunk.length())) {
                return self.settle_reader(reader, Err(error));
            }
            let is_asked = !reader.is_worker && self.ask_home(now, chunk);
            if !is_asked {
                if self.fetch_queue.len() >= self.config.max_queued_fetches {
                    return self.settle_reader(reader, Err(StoreError::Busy));
                }
                self.fetch_queue.push_back(chunk);
                self.chunks.entry(chunk).or_default().fetch = Step::Queued;
            }
        }
        self.active(chunk).readers.push(reader);
        if reader.is_worker {
            self.hurry(now, chunk, reader.ticket);
        }
    }

    /// Whether a chunk of `length` bytes can ever be fetched.
    fn is_manageable(&self, length: u64) -> Result<(), StoreError> {
        if length <= self.config.max_memory / 2 {
            return Ok(());
        }
        let why = format!("a chunk of {length} bytes needs twice as much memory as there is");
        Err(StoreError::Failed(why))
    }

    /// Puts a chunk in memory, serves who waits for it, and has it written to the cache if it is to be `kept`.
    fn hold(&mut self, chunk: VerifiedChunk, kept: bool) {
        let id = chunk.id();
        let active = self.chunks.entry(id).or_default();
        if active.data.is_some() && !(kept && active.is_passing) {
            return;
        }
        if active.fetch == Step::Queued {
            active.fetch = Step::Idle;
            self.fetch_queue.retain(|queued| *queued != id);
        }
        if kept && active.write == Step::Idle && !self.cache.holds(id) {
            active.write = Step::Queued;
            self.write_queue.push_back(id);
        }
        let readers = std::mem::take(&mut active.readers);
        if active.data.is_none() {
            active.data = Some(chunk.clone());
            self.held_bytes += u64::from(id.length());
        }
        if kept {
            active.must_stay = false;
            self.stays(id);
        }
        for reader in readers {
            self.count_reading(id, reader.part);
            let result = reader.part.of(&chunk).ok_or(StoreError::NotFound);
            self.settle_reader(reader, result);
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
        let is_used = active.put != Step::Idle || active.write != Step::Idle || active.is_passing;
        if !is_used && active.data.take().is_some() {
            self.held_bytes -= u64::from(chunk.length());
        }
        if active.data.is_none() && !active.is_coming() {
            assert!(active.readers.is_empty() && active.putters.is_empty(), "{chunk} is still waited for");
            self.chunks.remove(&chunk);
            if !self.cache.holds(chunk) {
                self.ahead.gone(chunk);
            }
        }
    }

    fn cache_read(&mut self, now: Instant, pin: Pin, chunk: ChunkId, reader: Reader, outcome: Outcome) {
        self.stats.cache_corrupt += u64::from(matches!(outcome, Outcome::Corrupt(_)));
        match outcome {
            Outcome::Read(data) => {
                self.cache.unpin(pin);
                self.settle_reader(reader, Ok(data));
            }
            Outcome::Failed(why) | Outcome::Corrupt(why) => {
                self.fault("read from the cache", Key::Chunk(chunk), why);
                let is_gone = self.cache.reject(pin);
                if is_gone {
                    self.remove(vec![chunk]);
                }
                match self.chunks.get(&chunk).and_then(|active| active.data.as_ref()) {
                    Some(data) => {
                        let result = reader.part.of(data).ok_or(StoreError::NotFound);
                        self.settle_reader(reader, result);
                    }
                    None => self.fetch(now, reader, chunk),
                }
                if is_gone {
                    self.restore(chunk);
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
                self.hold(data, true);
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
            let active = self.active(chunk);
            active.must_stay = false;
            for reader in std::mem::take(&mut active.readers) {
                self.settle_reader(reader, Err(error.clone()));
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
        self.tidy_asking(now);
        self.begin_writes(now);
        self.begin_puts();
        self.begin_fetches();
        self.begin_ahead(now);
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
            self.make_room_for(length);
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
            self.ahead.gone(chunk);
            self.start(Pending::CacheRemove(chunk), |ticket| Effect::CacheRemove { ticket, chunk });
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    fn start(&mut self, pending: Pending, effect: impl FnOnce(Ticket) -> Effect) {
        let ticket = self.ticket();
        self.stats.backing_requests += u64::from(!pending.is_of_cache());
        self.pending.insert(ticket, pending);
        self.outbox.push(Output::Effect(effect(ticket)));
    }

    /// Answers a reader that was counted as waiting.
    fn settle_reader(&mut self, reader: Reader, result: Result<PartData, StoreError>) {
        self.waiting -= 1;
        self.tell(reader, result);
    }

    fn tell(&mut self, reader: Reader, result: Result<PartData, StoreError>) {
        if reader.is_worker {
            self.asking.count_served(result.is_ok());
        }
        self.answer(Answer::Data { ticket: reader.ticket, result });
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
