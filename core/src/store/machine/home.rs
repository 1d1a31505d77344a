//! Workers together: a chunk that is not here is asked of its home before the backing store is; and other workers are
//! answered, for whom we are the home.
//!
//! It never asks another worker for the sake of one, and never lets one wait for another worker's answer: no question
//! goes round. Whatever a home does, the backing store is asked next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;

use super::{Fault, Output, Reader, Step, Store};
use crate::id::ChunkId;
use crate::machine::{Instant, earliest};
use crate::merkle::VerifiedChunk;
use crate::node::io::{DiskError, Ticket};
use crate::store::answer::{Answer, StoreError};
use crate::store::effect::{HomeAnswer, Key, Part};
use crate::store::homes::{Home, Homes};
use crate::wire::signal::WorkersNews;

/// How long another worker waits for a chunk that has to come from the backing store. Less than it would wait for our
/// answer, so that it learns that we are there and only our backing store is slow.
const WORKER_WAIT: Duration = Duration::from_millis(350);
/// A chunk was fetched from its home lately if no more bytes came from homes since than this part of the cache, whatever
/// time that took: what is asked for more rarely would push out what is asked for more often.
const LATELY: u64 = 12;
/// Most chunks remembered as fetched from their home.
const MAX_REMEMBERED: usize = 1 << 14;
/// Most chunks that stay in memory without being written.
const MAX_PASSING: usize = 256;

/// What came of asking other workers, and of their asking us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HomeStats {
    /// Workers on the ring of chunks, this one included.
    pub workers: usize,
    /// Chunks that were asked of their home.
    pub asked: u64,
    /// Those of them that it sent.
    pub hits: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Those that it did not have at hand.
    pub missing: u64,
    /// Those for which it was too busy.
    pub busy: u64,
    /// Those where it could not be reached, was too slow, broke off, or refused.
    pub failures: u64,
    /// Those where it sent something else.
    pub lies: u64,
    /// Parts of chunks that other workers asked for and got.
    pub served: u64,
    /// Those that they did not get.
    pub unserved: u64,
}

/// Questions to other workers, and those of theirs that wait.
#[derive(Debug)]
pub(super) struct Asking {
    homes: Homes,
    open: BTreeMap<Ticket, (ChunkId, Arc<Home>)>,
    /// Bytes of the chunks that are asked for.
    pub(super) bytes: u64,
    /// Chunks that came from their home lately, and how often.
    lately: LruCache<ChunkId, u32>,
    /// Bytes of them.
    lately_bytes: u64,
    /// Chunks in memory that are neither written nor put, and until when each stays.
    passing: VecDeque<(Instant, ChunkId)>,
    pub(super) passing_bytes: u64,
    /// Other workers' readers that had to wait, and until when: some have been answered.
    impatient: VecDeque<(Instant, ChunkId, Ticket)>,
    stats: HomeStats,
}

impl Asking {
    pub(super) fn new(name: String) -> Self {
        Self {
            homes: Homes::new(name),
            open: BTreeMap::new(),
            bytes: 0,
            lately: LruCache::unbounded(),
            lately_bytes: 0,
            passing: VecDeque::new(),
            passing_bytes: 0,
            impatient: VecDeque::new(),
            stats: HomeStats::default(),
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        earliest([self.passing.front().map(|(at, _)| *at), self.impatient.front().map(|(at, ..)| *at)])
    }

    pub(super) fn stats(&self) -> HomeStats {
        HomeStats { workers: self.homes.len(), ..self.stats.clone() }
    }

    /// Whether another worker's reader may wait.
    pub(super) fn may_wait(&self, limit: usize) -> bool {
        self.impatient.len() < limit
    }

    /// Another worker's reader was answered.
    pub(super) fn count_served(&mut self, served: bool) {
        if served {
            self.stats.served += 1;
        } else {
            self.stats.unserved += 1;
        }
    }
}

impl Store {
    /// A front told which workers there are.
    pub fn tell_of_workers(&mut self, news: WorkersNews) {
        self.asking.homes.tell(news);
    }

    /// Workers that are left alone for now because they failed, are busy, or lied.
    #[must_use]
    pub fn avoided_workers(&self, now: Instant) -> usize {
        self.asking.homes.avoided(now)
    }

    /// Asks for a part of a chunk on behalf of another worker: [`Answer::Data`]. Out of memory, cache or backing
    /// store; [`StoreError::NotFound`] too if that would take long or a third worker.
    pub fn read_for_worker(&mut self, now: Instant, ticket: Ticket, chunk: ChunkId, part: Part) {
        self.read_as(now, Reader { ticket, part, is_worker: true }, chunk);
    }

    /// The answer to [`Output::AskHome`].
    ///
    /// # Panics
    /// If there is no such question, or the chunk is another.
    pub fn home_answered(&mut self, now: Instant, ticket: Ticket, answer: HomeAnswer) {
        let (chunk, home) = self.asking.open.remove(&ticket).expect("an open question");
        self.asking.bytes -= u64::from(chunk.length());
        self.active(chunk).is_asked = false;
        let Asking { homes, stats, .. } = &mut self.asking;
        match answer {
            HomeAnswer::Chunk(data) => {
                assert_eq!(data.id(), chunk, "another chunk than was asked for");
                stats.hits += 1;
                stats.bytes += u64::from(chunk.length());
                homes.went_well(now, &home.name);
                self.arrived(now, data);
            }
            HomeAnswer::NotThere => {
                stats.missing += 1;
                homes.went_well(now, &home.name);
            }
            HomeAnswer::Busy => {
                stats.busy += 1;
                homes.is_busy(now, &home.name);
            }
            HomeAnswer::Failed(_) => {
                stats.failures += 1;
                homes.failed(now, &home.name);
            }
            HomeAnswer::Lie(why) => {
                stats.lies += 1;
                homes.lied(now, &home.name);
                let why = DiskError(format!("worker {} is left alone: {why}", home.name));
                self.outbox.push(Output::Fault(Fault {
                    doing: "ask another worker for",
                    key: Key::Chunk(chunk),
                    why,
                }));
            }
        }
        // Whoever still waits, waits for the backing store: before those who came later. If it is nobody, the home was
        // asked in vain for one who may never come.
        let is_only_ahead = self.is_only_ahead(chunk);
        let active = self.active(chunk);
        active.must_stay &= !is_only_ahead;
        if active.data.is_none() && active.fetch == Step::Idle && active.is_wanted() {
            active.fetch = Step::Queued;
            self.fetch_queue.push_front(chunk);
        }
        self.release(chunk);
        self.tidy(now);
    }

    /// Asks the home of a chunk for it, if there is one to ask and a limit allows it; whether it did.
    pub(super) fn ask_home(&mut self, now: Instant, chunk: ChunkId) -> bool {
        let length = u64::from(chunk.length());
        let fits = self.asking.bytes + length <= self.config.max_memory / 4 && self.has_room_for(length);
        if self.asking.open.len() >= self.config.max_asks || !fits {
            return false;
        }
        let Some(home) = self.asking.homes.to_ask(now, chunk) else { return false };
        self.make_room_for(length);
        self.asking.bytes += length;
        self.asking.stats.asked += 1;
        let ticket = self.ticket();
        self.asking.open.insert(ticket, (chunk, home.clone()));
        self.chunks.entry(chunk).or_default().is_asked = true;
        self.outbox.push(Output::AskHome { ticket, chunk, home });
        true
    }

    /// Has another worker's reader wait, but not for long.
    pub(super) fn hurry(&mut self, now: Instant, chunk: ChunkId, ticket: Ticket) {
        self.asking.impatient.push_back((now + WORKER_WAIT, chunk, ticket));
    }

    /// Sends on whom waiting has taken too long, and lets go of what stayed in memory long enough.
    pub(super) fn tidy_asking(&mut self, now: Instant) {
        while let Some((_, chunk, ticket)) = self.asking.impatient.front().copied().filter(|(at, ..)| *at <= now) {
            self.asking.impatient.pop_front();
            let Some(active) = self.chunks.get_mut(&chunk) else { continue };
            let before = active.readers.len();
            active.readers.retain(|reader| !(reader.is_worker && reader.ticket == ticket));
            if active.readers.len() < before {
                self.asking.count_served(false);
                self.settle(Answer::Data { ticket, result: Err(StoreError::NotFound) });
            }
        }
        while self.asking.passing.front().is_some_and(|(at, _)| *at <= now) {
            self.let_one_pass();
        }
    }

    /// Makes room in memory for so many bytes, for which there is room.
    pub(super) fn make_room_for(&mut self, length: u64) {
        while self.memory_in_use() + length > self.config.max_memory {
            self.let_one_pass();
        }
    }

    /// A chunk that is only passing is to be written after all.
    pub(super) fn stays(&mut self, chunk: ChunkId) {
        if std::mem::take(&mut self.active(chunk).is_passing) {
            self.asking.passing.retain(|(_, passing)| *passing != chunk);
            self.asking.passing_bytes -= u64::from(chunk.length());
        }
    }

    /// A chunk came from its home. It is held there too, so it is written to our cache only if it is asked for again
    /// and again: the caches together hold more that way. Until then it stays in memory for those who read it now,
    /// block by block.
    fn arrived(&mut self, now: Instant, data: VerifiedChunk) {
        let chunk = data.id();
        let active = self.active(chunk);
        if active.data.is_some() {
            return;
        }
        let must_stay = std::mem::take(&mut active.must_stay);
        if must_stay || self.is_fetched_often(chunk) {
            return self.hold(data, true);
        }
        self.hold(data, false);
        self.active(chunk).is_passing = true;
        self.asking.passing.push_back((now + self.config.passing_age, chunk));
        self.asking.passing_bytes += u64::from(chunk.length());
        while self.asking.passing_bytes > self.config.max_memory / 4 || self.asking.passing.len() > MAX_PASSING {
            self.let_one_pass();
        }
    }

    /// Counts that a chunk came from its home; whether it came often enough lately to be written here.
    fn is_fetched_often(&mut self, chunk: ChunkId) -> bool {
        let (length, Asking { lately, lately_bytes, .. }) = (u64::from(chunk.length()), &mut self.asking);
        let before = lately.pop(&chunk);
        *lately_bytes -= before.map_or(0, |_| length);
        let count = before.unwrap_or_default().saturating_add(1);
        if count >= self.config.keep_after {
            return true;
        }
        lately.put(chunk, count);
        *lately_bytes += length;
        let most = self.config.cache_bytes / LATELY;
        while (*lately_bytes > most && lately.len() > 1) || lately.len() > MAX_REMEMBERED {
            let (oldest, _) = lately.pop_lru().expect("there are several");
            *lately_bytes -= u64::from(oldest.length());
        }
        false
    }

    /// Lets go of the chunk that is passing for longest.
    fn let_one_pass(&mut self) {
        let (_, chunk) = self.asking.passing.pop_front().expect("bytes are held by something");
        self.asking.passing_bytes -= u64::from(chunk.length());
        self.active(chunk).is_passing = false;
        self.release(chunk);
    }
}
