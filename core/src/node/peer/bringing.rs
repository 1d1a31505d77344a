//! Bringing a share to a worker: offers chunks in batches, sees each acknowledged, then offers the `.ko`.
//! The worker asks for the content itself; serving it is the upload's part.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::ChunkId;
use crate::machine::Instant;
use crate::metainfo::Metainfo;
use crate::rtc::ConnId;
use crate::wire::frame::{MAX_STORE_CHUNKS, Reason, RequestId};

/// Pause before a worker that turned us down is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// Most chunks offered and not yet acknowledged.
const WINDOW: usize = 2 * MAX_STORE_CHUNKS;
/// So often in a row may a worker's storage fail before we give up.
const MAX_FAILURES: u32 = 8;

/// What to say to the worker next.
#[derive(Debug)]
pub(crate) enum Say {
    /// CHUNK_STORE.
    Chunks(Vec<ChunkId>),
    /// METAINFO_STORE.
    Metainfo,
}

#[derive(Debug)]
pub(crate) struct Bringing {
    /// Each chunk once, with the bytes of the share that it makes up.
    chunks: Vec<(ChunkId, u64)>,
    sizes: BTreeMap<ChunkId, u64>,
    next: usize,
    open: BTreeMap<RequestId, BTreeSet<ChunkId>>,
    in_open: usize,
    stored: BTreeSet<ChunkId>,
    pub(crate) stored_bytes: u64,
    asked_metainfo: bool,
    conn: Option<ConnId>,
    pub(crate) retry_at: Option<Instant>,
    failures: u32,
    pub(crate) last_progress: Instant,
}

impl Bringing {
    pub(crate) fn new(now: Instant, metainfo: &Metainfo) -> Self {
        let mut sizes: BTreeMap<ChunkId, u64> = BTreeMap::new();
        let mut chunks = Vec::new();
        for piece in metainfo.pieces() {
            let size = sizes.entry(piece.chunk).or_insert_with(|| {
                chunks.push((piece.chunk, 0));
                0
            });
            *size += u64::from(piece.chunk.length());
        }
        Self {
            chunks,
            sizes,
            next: 0,
            open: BTreeMap::new(),
            in_open: 0,
            stored: BTreeSet::new(),
            stored_bytes: 0,
            asked_metainfo: false,
            conn: None,
            retry_at: None,
            failures: 0,
            last_progress: now,
        }
    }

    /// The worker it is being brought to.
    pub(crate) const fn conn(&self) -> Option<ConnId> {
        self.conn
    }

    /// Begins with a worker. It may be another than before, with another store: everything is offered again.
    pub(crate) fn begin(&mut self, conn: ConnId) {
        self.conn = Some(conn);
        self.stored.clear();
        self.stored_bytes = 0;
        self.rewind();
    }

    /// The worker is gone.
    pub(crate) fn end(&mut self) {
        self.conn = None;
        self.rewind();
    }

    /// What to say next, if anything.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Say> {
        if self.conn.is_none() || self.asked_metainfo || self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        self.retry_at = None;
        if self.stored.len() == self.chunks.len() {
            self.asked_metainfo = true;
            return Some(Say::Metainfo);
        }
        // Offered in whole batches, so that there are few frames.
        if self.in_open + MAX_STORE_CHUNKS > WINDOW {
            return None;
        }
        let stored = &self.stored;
        let mut batch = Vec::new();
        while let Some((chunk, _)) = self.chunks.get(self.next)
            && batch.len() < MAX_STORE_CHUNKS
        {
            self.next += 1;
            if !stored.contains(chunk) {
                batch.push(*chunk);
            }
        }
        (!batch.is_empty()).then_some(Say::Chunks(batch))
    }

    /// Notes the number under which a batch was offered.
    pub(crate) fn offered(&mut self, request: RequestId, chunks: &[ChunkId]) {
        self.in_open += chunks.len();
        self.open.insert(request, chunks.iter().copied().collect());
    }

    /// A chunk is stored; true once its batch is done.
    pub(crate) fn stored(&mut self, now: Instant, request: RequestId, chunk: ChunkId) -> bool {
        let Some(batch) = self.open.get_mut(&request) else { return true };
        if batch.remove(&chunk) {
            self.in_open -= 1;
            self.last_progress = now;
            self.failures = 0;
            if self.stored.insert(chunk) {
                self.stored_bytes += self.sizes[&chunk];
            }
        }
        let done = batch.is_empty();
        if done {
            self.open.remove(&request);
        }
        done
    }

    /// The worker turned something down. The error is why there is no use in going on.
    pub(crate) fn rejected(&mut self, now: Instant, reason: Reason) -> Result<(), String> {
        self.failures += 1;
        match reason {
            Reason::Unsupported => return Err("the worker does not store shares".into()),
            Reason::Invalid => return Err("the worker refused the share as malformed".into()),
            Reason::StorageFailed if self.failures >= MAX_FAILURES => {
                return Err("the worker's storage keeps failing".into());
            }
            Reason::Incomplete => {
                self.stored.clear();
                self.stored_bytes = 0;
            }
            _ => {}
        }
        self.rewind();
        self.retry_at = Some(now + RETRY * self.failures.min(8));
        Ok(())
    }

    fn rewind(&mut self) {
        self.next = 0;
        self.open.clear();
        self.in_open = 0;
        self.asked_metainfo = false;
        self.retry_at = None;
    }
}
