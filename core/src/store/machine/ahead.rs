//! Reading ahead: chunks that a reader will ask for next, as far as can be told, are fetched into the cache before.
//!
//! It never makes anyone wait: a fetch is begun for it only while nobody waits for one, and with room to spare. What is
//! no longer expected is not begun.

use std::collections::{BTreeSet, VecDeque};

use super::{Step, Store};
use crate::id::ChunkId;
use crate::machine::Instant;

/// Most chunks that wait to be fetched for one reader.
pub const MAX_AHEAD: usize = 4;
/// Most chunks that wait to be fetched, for all readers.
const MAX_QUEUED: usize = 256;
/// Most chunks that were fetched and that nobody has read yet.
const MAX_UNREAD: usize = 256;

/// A reader, by the caller's own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReaderId(pub u64);

/// What came of reading ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AheadStats {
    /// Chunks that were begun to be fetched before anyone asked for them.
    pub begun: u64,
    /// Those of them that somebody asked for afterwards.
    pub used: u64,
    /// Those that could not be fetched or cached, or left the cache, before anyone did.
    pub wasted: u64,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// What to fetch, in order, and for whom.
    queue: VecDeque<(ReaderId, ChunkId)>,
    /// Fetched, or being fetched, and not read yet.
    unread: BTreeSet<ChunkId>,
    pub(super) stats: AheadStats,
}

impl Ahead {
    /// Somebody reads a chunk.
    pub(super) fn read(&mut self, chunk: ChunkId) {
        self.stats.used += u64::from(self.unread.remove(&chunk));
    }

    /// A chunk is not here any more, or never was.
    pub(super) fn gone(&mut self, chunk: ChunkId) {
        self.stats.wasted += u64::from(self.unread.remove(&chunk));
    }
}

impl Store {
    /// What a reader will ask for next, in that order, in place of what was said of it before; nothing if that is not
    /// to be told any more. Beyond [`MAX_AHEAD`] it is not taken in.
    pub fn read_ahead(&mut self, now: Instant, reader: ReaderId, next: &[ChunkId]) {
        self.ahead.queue.retain(|(of, _)| *of != reader);
        let room = MAX_QUEUED - self.ahead.queue.len();
        self.ahead.queue.extend(next.iter().take(MAX_AHEAD.min(room)).map(|chunk| (reader, *chunk)));
        self.tidy(now);
    }

    /// Begins to fetch what somebody will ask for, as long as nobody would rather have something else.
    pub(super) fn begin_ahead(&mut self, now: Instant) {
        while let Some(&(_, chunk)) = self.ahead.queue.front() {
            let length = u64::from(chunk.length());
            let is_quiet = self.fetch_queue.is_empty() && self.fetches < self.config.max_fetches / 2;
            let fits = self.fetching_bytes + length <= self.config.max_memory / 4 && self.has_room_for(2 * length);
            if !is_quiet || !fits || self.ahead.unread.len() >= MAX_UNREAD {
                return;
            }
            self.ahead.queue.pop_front();
            if self.cache.holds(chunk) || self.chunks.contains_key(&chunk) {
                continue;
            }
            self.ahead.unread.insert(chunk);
            self.ahead.stats.begun += 1;
            let is_asked = self.ask_home(now, chunk);
            let active = self.chunks.entry(chunk).or_default();
            active.must_stay = true;
            if !is_asked {
                active.fetch = Step::Queued;
                self.fetch_queue.push_back(chunk);
                self.begin_fetches();
            }
        }
    }

    /// Whether a chunk is on its way only because somebody may ask for it.
    pub(super) fn is_only_ahead(&self, chunk: ChunkId) -> bool {
        let unread = self.ahead.unread.contains(&chunk);
        unread && self.chunks.get(&chunk).is_some_and(|active| active.readers.is_empty())
    }
}
