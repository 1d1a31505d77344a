//! Fetching chunks from any number of sources at once.
//!
//! Hands out ranges of blocks to sources by what they have and how fast they are, asks each block of one source
//! only (until the end game), checks every block against the chunk's proven leaves, and drops a source at its
//! first lie. It holds at most [`DownloadConfig::max_buffered`] bytes that came or are asked for and not yet
//! written. It never writes, never hashes and never talks to a source itself.

mod ask;
mod judge;
mod pace;
mod release;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::id::{ChunkId, Digest};
use crate::machine::{Instant, Outbox, Rng, earliest};
use crate::merkle::{BLOCK_LEN, ChunkLeaves, HashedBlocks, VerifiedBlocks};
use crate::node::io::Ticket;
use crate::rtc::ConnId;
use crate::transfer::chunk::{Block, Chunk, Open};
use crate::transfer::source::{Request, Source};
use crate::transfer::{Offence, Order, SourceKind, SourceStats};
use crate::wire::frame::{Frame, Reason, RequestId};

use pace::Pacing;
pub use window::Urgent;

/// A source that owes something and gives nothing for this long loses its turn to others.
const STALL: Duration = Duration::from_secs(3);
/// How often a chunk that every source denied is asked for again.
const RETRY_DENIED: Duration = Duration::from_secs(5);
/// Most blocks in one request of the end game.
const END_GAME_BLOCKS: u16 = 4;

/// Limits and choices of a download.
#[derive(Clone, Debug)]
pub struct DownloadConfig {
    /// Decides among equals.
    pub seed: u64,
    /// Which chunks first.
    pub order: Order,
    /// Told apart from other users of the same sessions: the low byte of its tickets and request numbers.
    pub lane: u8,
    /// Most bytes asked for or held at once, over all sources.
    pub max_buffered: u64,
    /// Most bytes asked of one source at once.
    pub max_pipeline: u64,
    /// Most bytes of chunks being fetched at once (at least one chunk always is).
    pub max_open: u64,
    /// Most blocks in one request.
    pub request_blocks: u16,
}

impl Default for DownloadConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            order: Order::RarestFirst,
            lane: 1,
            max_buffered: 24 << 20,
            max_pipeline: 8 << 20,
            max_open: 64 << 20,
            request_blocks: 32,
        }
    }
}

/// What a download wants done.
#[derive(Clone, Debug)]
pub enum DownloadOutput {
    /// Send a frame to a source.
    Send {
        /// The source.
        conn: ConnId,
        /// The frame.
        frame: Frame,
    },
    /// Hash blocks, then call [`Download::hashed`].
    Hash {
        /// Returned in the call.
        ticket: Ticket,
        /// The blocks.
        data: Bytes,
    },
    /// Write verified blocks, then call [`Download::written`].
    Write {
        /// Returned in the call.
        ticket: Ticket,
        /// The chunk, as [`Download::want`] named it.
        slot: u32,
        /// The blocks.
        blocks: VerifiedBlocks,
    },
    /// Blocks more are verified and written.
    Gained {
        /// The chunk, as [`Download::want`] named it.
        slot: u32,
        /// The first of them.
        first: u16,
        /// Their length.
        bytes: u32,
        /// Who gave them, perhaps gone by now, and what it is; `None`: found on disk.
        from: Option<(ConnId, SourceKind)>,
    },
    /// A chunk is complete and forgotten.
    ChunkDone {
        /// The chunk, as [`Download::want`] named it.
        slot: u32,
    },
    /// A source lied or broke the protocol. It is forgotten; nothing more may be passed on from it.
    Blame {
        /// The source.
        conn: ConnId,
        /// What it did.
        offence: Offence,
    },
}

/// Blocks between arrival and disk.
#[derive(Debug)]
struct Pending {
    slot: u32,
    first: u16,
    count: u16,
    bytes: u64,
    conn: ConnId,
    kind: SourceKind,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Hashing,
    /// Hashed before the chunk's leaves were known.
    Waiting(HashedBlocks),
    Writing,
}

/// The machine. See the module's documentation.
#[derive(Debug)]
pub struct Download {
    config: DownloadConfig,
    rng: Rng,
    chunks: BTreeMap<u32, Chunk>,
    open: BTreeSet<u32>,
    open_bytes: u64,
    /// Not open, with claims to be settled: taken first.
    claimed: BTreeSet<u32>,
    sources: BTreeMap<ConnId, Source>,
    pending: BTreeMap<Ticket, Pending>,
    /// Bytes that came and are not yet written.
    held: u64,
    in_flight: u64,
    next_request: u32,
    next_ticket: u64,
    /// The source whose turn it is.
    turn: Option<ConnId>,
    retry_denied: Option<Instant>,
    /// What somebody is waiting for, in the order in which it is needed.
    window: Vec<Urgent>,
    /// Somebody is, even if nothing of that is missing now: no source owes more than it gives soon.
    is_watched: bool,
    pacing: Pacing,
    out: Outbox<DownloadOutput>,
}

impl Download {
    /// A download that wants nothing yet.
    #[must_use]
    pub fn new(config: DownloadConfig) -> Self {
        Self {
            rng: Rng::new(config.seed),
            config,
            chunks: BTreeMap::new(),
            open: BTreeSet::new(),
            open_bytes: 0,
            claimed: BTreeSet::new(),
            sources: BTreeMap::new(),
            pending: BTreeMap::new(),
            held: 0,
            in_flight: 0,
            next_request: 0,
            next_ticket: 0,
            turn: None,
            retry_denied: None,
            window: Vec::new(),
            is_watched: false,
            pacing: Pacing::default(),
            out: Outbox::default(),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<DownloadOutput> {
        self.out.pop()
    }

    /// Whether every wanted chunk is complete.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether a chunk is wanted and not complete.
    #[must_use]
    pub fn wants(&self, slot: u32) -> bool {
        self.chunks.contains_key(&slot)
    }

    /// Whether blocks that this source gave are here and not yet written.
    #[must_use]
    pub fn holds_of(&self, conn: ConnId) -> bool {
        self.pending.values().any(|pending| pending.conn == conn)
    }

    /// Bytes asked for, or here and not yet written.
    #[must_use]
    pub fn buffered(&self) -> u64 {
        self.held + self.in_flight
    }

    /// How each source stands.
    pub fn sources(&self) -> impl Iterator<Item = (ConnId, SourceStats)> + '_ {
        self.sources.iter().map(|(conn, source)| (*conn, source.stats()))
    }

    /// Wants a chunk under a name of the caller's. `claims` are hashes of blocks that an earlier run wrote.
    /// Call [`Download::wake`] after a series of these.
    ///
    /// # Panics
    /// If the slot is wanted already, or the claims are not one a block.
    pub fn want(&mut self, slot: u32, id: ChunkId, claims: Option<Vec<Option<Digest>>>) {
        if let Some(claims) = &claims {
            assert_eq!(claims.len(), usize::from(id.blocks()), "one claim a block");
            let all: Option<Vec<Digest>> = claims.iter().copied().collect();
            if all.is_some_and(|leaves| ChunkLeaves::prove(id, leaves).is_some()) {
                self.out.push(DownloadOutput::Gained { slot, first: 0, bytes: id.length(), from: None });
                self.out.push(DownloadOutput::ChunkDone { slot });
                return;
            }
        }
        let claims = claims.filter(|claims| claims.iter().any(Option::is_some));
        if claims.is_some() {
            self.claimed.insert(slot);
        }
        let holders = self.sources.values().filter(|s| !s.has_all && s.has(slot)).count() as u32;
        let before = self.chunks.insert(slot, Chunk { id, holders, claims, open: None });
        assert!(before.is_none(), "slot {slot} is wanted already");
    }

    /// No longer wants a chunk; unknown slots are ignored.
    pub fn unwant(&mut self, now: Instant, slot: u32) {
        if self.chunks.contains_key(&slot) {
            self.forget(slot);
            for source in self.sources.values_mut() {
                if !source.has_all {
                    source.except.remove(&slot);
                }
            }
            self.fill(now);
        }
    }

    /// Ends it. The frames tell who is asked for something that it is not needed any more.
    pub fn abandon(self) -> impl Iterator<Item = (ConnId, Frame)> {
        self.sources.into_iter().flat_map(|(conn, source)| {
            source.requests.into_keys().map(move |request| (conn, Frame::Cancel { request }))
        })
    }

    /// A source is there; it has nothing until told otherwise.
    pub fn source_up(&mut self, now: Instant, conn: ConnId, kind: SourceKind) {
        self.sources.entry(conn).or_insert_with(|| Source::new(now, kind));
    }

    /// A source is gone.
    pub fn source_down(&mut self, now: Instant, conn: ConnId) {
        let Some(mut source) = self.sources.remove(&conn) else { return };
        self.release(conn, &mut source, false);
        if !source.has_all {
            for slot in &source.except {
                if let Some(chunk) = self.chunks.get_mut(slot) {
                    chunk.holders -= 1;
                }
            }
        }
        self.fill(now);
    }

    /// A source has every chunk, now and later.
    pub fn source_has_all(&mut self, now: Instant, conn: ConnId) {
        let Some(source) = self.sources.get_mut(&conn) else { return };
        if !source.has_all {
            source.has_all = true;
            for slot in std::mem::take(&mut source.except) {
                if let Some(chunk) = self.chunks.get_mut(&slot) {
                    chunk.holders -= 1;
                }
            }
        }
        self.fill(now);
    }

    /// A source has these chunks too. Slots that are not wanted are ignored.
    pub fn source_has(&mut self, now: Instant, conn: ConnId, slots: impl IntoIterator<Item = u32>) {
        let Some(source) = self.sources.get_mut(&conn) else { return };
        for slot in slots {
            if let Some(chunk) = self.chunks.get_mut(&slot)
                && source.set_has(slot, true)
                && !source.has_all
            {
                chunk.holders += 1;
            }
        }
        self.fill(now);
    }

    /// Blocks came (CHUNK_RESPONSE).
    pub fn blocks(&mut self, now: Instant, conn: ConnId, request: RequestId, first: u16, data: Bytes) {
        let Some(source) = self.sources.get_mut(&conn) else { return };
        let bytes = data.len() as u64;
        let Some(asked) = source.requests.get_mut(&request) else {
            if source.late < bytes {
                return self.blame(now, conn, Offence::Unsolicited);
            }
            source.late -= bytes;
            return;
        };
        let count = u16::try_from(data.len().div_ceil(BLOCK_LEN as usize)).unwrap_or(u16::MAX);
        let slot = asked.slot;
        let id = self.chunks[&slot].id;
        let fits = first == asked.next
            && count <= asked.end - first
            && id.range_len(first, count).is_some_and(|len| u64::from(len) == bytes);
        if !fits {
            return self.blame(now, conn, Offence::Misfit);
        }
        asked.next += count;
        asked.owed -= bytes as u32;
        let asked = *asked;
        let kind = source.kind;
        if asked.next == asked.end {
            source.requests.remove(&request);
        }
        source.received(now, bytes, asked.asked_at);
        source.in_flight -= bytes;
        self.in_flight -= bytes;

        let open = self.chunks.get_mut(&slot).and_then(|chunk| chunk.open.as_mut());
        let open = open.expect("a chunk with a request is open");
        let mut rivals = rivals(open, conn, first, count);
        // Blocks that were lost on their way may have been asked of the same source twice.
        let overlaps = |asked: &Request| asked.slot == slot && asked.next < first + count && first < asked.end;
        if source.requests.values().any(overlaps) {
            rivals.insert(conn);
        }
        for (start, len) in open.arrive(first, count) {
            let from = usize::from(start - first) * BLOCK_LEN as usize;
            let size = id.range_len(start, len).expect("a run inside the chunk");
            let part = data.slice(from..from + size as usize);
            let ticket = self.ticket();
            self.held += u64::from(size);
            let (bytes, stage) = (u64::from(size), Stage::Hashing);
            let pending = Pending { slot, first: start, count: len, bytes, conn, kind, stage };
            self.pending.insert(ticket, pending);
            self.out.push(DownloadOutput::Hash { ticket, data: part });
        }
        for rival in rivals {
            self.cancel_useless(rival, slot);
        }
        self.fill(now);
    }

    /// Leaf hashes came (HASHES).
    pub fn leaves(&mut self, now: Instant, conn: ConnId, request: RequestId, leaves: Vec<Digest>) {
        let Some(source) = self.sources.get_mut(&conn) else { return };
        let Some(slot) = source.leaf_requests.remove(&request) else {
            if source.late_answers == 0 {
                return self.blame(now, conn, Offence::Unsolicited);
            }
            source.late_answers -= 1;
            return;
        };
        source.progressed(now);
        let Some(proven) = ChunkLeaves::prove(self.chunks[&slot].id, leaves) else {
            return self.blame(now, conn, Offence::WrongLeaves);
        };
        self.settle(now, slot, proven);
        self.fill(now);
    }

    /// A source turned a request down (REJECT).
    pub fn rejected(&mut self, now: Instant, conn: ConnId, request: RequestId, reason: Reason) {
        let Some(source) = self.sources.get_mut(&conn) else { return };
        let slot = if let Some(asked) = source.requests.remove(&request) {
            source.in_flight -= u64::from(asked.owed);
            self.in_flight -= u64::from(asked.owed);
            if let Some(open) = self.chunks.get_mut(&asked.slot).and_then(|chunk| chunk.open.as_mut()) {
                open.unask(conn, asked.next, asked.end);
            }
            asked.slot
        } else if let Some(slot) = source.leaf_requests.remove(&request) {
            if let Some(open) = self.chunks.get_mut(&slot).and_then(|chunk| chunk.open.as_mut()) {
                open.leaves_asked = None;
            }
            slot
        } else {
            // The answer to something that was given up.
            source.late_answers = source.late_answers.saturating_sub(1);
            return;
        };
        match reason {
            Reason::NotFound | Reason::Unsupported | Reason::Invalid | Reason::Incomplete => {
                source.failures += 1;
                if source.set_has(slot, false)
                    && !source.has_all
                    && let Some(chunk) = self.chunks.get_mut(&slot)
                {
                    chunk.holders -= 1;
                }
                self.retry_denied.get_or_insert(now + RETRY_DENIED);
            }
            Reason::Busy | Reason::StorageFailed | Reason::Leaving => source.pause(now),
        }
        self.fill(now);
    }

    /// A source asks to be left alone for so long. What it owes is still owed.
    pub fn source_busy(&mut self, now: Instant, conn: ConnId, wait: Duration) {
        if let Some(source) = self.sources.get_mut(&conn) {
            source.paused_until = source.paused_until.max(Some(now + wait));
        }
    }

    /// The driver hashed blocks. Unknown tickets (of chunks no longer wanted) are ignored.
    pub fn hashed(&mut self, now: Instant, ticket: Ticket, blocks: HashedBlocks) {
        let Some(pending) = self.pending.get_mut(&ticket) else { return };
        let slot = pending.slot;
        let open = self.chunks.get(&slot).and_then(|chunk| chunk.open.as_ref());
        match open.and_then(|open| open.leaves.clone()) {
            Some(leaves) => self.check(now, ticket, &leaves, blocks),
            None => pending.stage = Stage::Waiting(blocks),
        }
        self.fill(now);
    }

    /// The driver wrote blocks, or could not: then they count as missing. Unknown tickets are ignored.
    pub fn written(&mut self, now: Instant, ticket: Ticket, result: Result<(), ()>) {
        let Some(pending) = self.pending.remove(&ticket) else { return };
        assert!(matches!(pending.stage, Stage::Writing), "only verified blocks are written");
        self.held -= pending.bytes;
        let chunk = self.chunks.get_mut(&pending.slot).expect("pending blocks belong to a wanted chunk");
        let open = chunk.open.as_mut().expect("pending blocks belong to an open chunk");
        match result {
            Ok(()) => {
                open.finish(pending.first, pending.count);
                if let Some(source) = self.sources.get_mut(&pending.conn) {
                    source.bytes += pending.bytes;
                }
                let Pending { slot, first, bytes, conn, kind, .. } = pending;
                let bytes = bytes as u32;
                self.out.push(DownloadOutput::Gained { slot, first, bytes, from: Some((conn, kind)) });
                self.complete(pending.slot);
            }
            Err(()) => self.lose(&pending),
        }
        self.fill(now);
    }

    /// Time passed, or [`Download::want`] was called: looks after stalled sources and asks for more.
    pub fn wake(&mut self, now: Instant) {
        self.give_up_stalled(now);
        self.give_up_leaves(now);
        if self.retry_denied.is_some_and(|at| now >= at) {
            self.retry_denied = None;
            for source in self.sources.values_mut().filter(|source| source.has_all) {
                source.except.clear();
            }
        }
        self.fill(now);
    }

    /// When to call [`Download::wake`]; always after the last `now`.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        if self.chunks.is_empty() {
            return None;
        }
        let sources = self.sources.values().flat_map(|source| {
            let stall = (!source.owes_nothing()).then(|| source.last_progress + STALL);
            [stall, source.paused_until, source.busy_until]
        });
        let leaves = self.open.iter().map(|slot| {
            let open = self.chunks[slot].open.as_ref()?;
            open.leaves_asked.filter(|_| open.leaves.is_none()).map(|(_, at)| at + STALL)
        });
        earliest(sources.chain(leaves).chain([self.retry_denied]))
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket << 8 | u64::from(self.config.lane))
    }

    fn request(&mut self) -> RequestId {
        self.next_request = self.next_request.wrapping_add(1) & 0x00ff_ffff;
        self.next_request << 8 | u32::from(self.config.lane)
    }
}

/// Others that were asked for some of these blocks.
fn rivals(open: &Open, conn: ConnId, first: u16, count: u16) -> BTreeSet<ConnId> {
    let mut rivals = BTreeSet::new();
    for block in &open.blocks[usize::from(first)..usize::from(first + count)] {
        if let Block::Asked(by) = block {
            rivals.extend(by.iter().filter(|other| **other != conn));
        }
    }
    rivals
}
