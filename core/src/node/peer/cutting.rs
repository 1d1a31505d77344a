//! Finding out in which chunks others hold a share. The `.ko` at hand may be cut into other pieces than the copy
//! that a worker keeps: another program made it, or its maker chose another piece length. The roots of the files
//! are the same all the same. So a worker that does not know the share is asked for each of its files: as one
//! chunk, and as the share of that file alone at every piece length there is (see [`file_info_hash`]).
//!
//! Decides only how the share is cut; it downloads nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::layout::{Claims, Layout};
use super::share::Job;
use super::web::say;
use super::{Ask, Peer};
use crate::id::{ChunkId, Digest, InfoHash};
use crate::machine::Instant;
use crate::merkle::{BLOCK_LEN, ChunkLeaves, MAX_CHUNK_LEN, height_for};
use crate::metainfo::{DEFAULT_PIECE_LENGTH, MAX_PIECE_LENGTH, MIN_PIECE_LENGTH, Metainfo, file_info_hash};
use crate::rtc::ConnId;
use crate::transfer::metainfo_fetch::Fetched;
use crate::transfer::{Download, MetainfoFetch, Offence};
use crate::wire::frame::{Frame, Reason, RequestId};

/// Everybody is asked again after so long without any answer.
const RETRY: Duration = Duration::from_secs(3);
/// Pause before a source that could not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// Most questions open at once.
const WINDOW: usize = 16;
/// Most questions about one share. What is not found by then is taken as the `.ko` has it.
const MAX_QUESTIONS: u32 = 1 << 16;

/// A file as its root and length name it.
type FileId = (Digest, u64);

/// A share whose chunks are being settled.
#[derive(Debug)]
pub(super) struct Cutting {
    /// The download, should the share turn out to be held as the `.ko` has it.
    own: Box<Download>,
    /// What the disk has of it.
    claims: Claims,
    /// The pieces of the `.ko` that nobody said to have. Some of them alone prove little: whoever has those may be
    /// as stuck as we would be.
    unseen: BTreeSet<u32>,
    some_seen: bool,
    search: Option<Search>,
    retry_at: Instant,
}

/// Asking one worker about each file.
#[derive(Debug)]
struct Search {
    conn: ConnId,
    queue: VecDeque<Sought>,
    open: Vec<(Question, Sought)>,
    /// How the files that were found are cut.
    found: BTreeMap<FileId, Vec<ChunkId>>,
    /// The piece length that was right last: likely right for the next file too.
    hit: u32,
    questions: u32,
}

/// A file that is looked for, and the ways to cut it that were not asked about.
#[derive(Debug)]
struct Sought {
    file: FileId,
    whole: Option<ChunkId>,
    piece_lengths: Vec<u32>,
}

#[derive(Debug)]
enum Question {
    /// Is the whole file one chunk of yours?
    Whole { request: RequestId, chunk: ChunkId },
    /// What is the share of this file alone, cut in this way?
    Pieces { fetch: MetainfoFetch, piece_length: u32 },
}

impl Cutting {
    /// When everybody is to be asked again.
    pub(super) const fn retry_at(&self) -> Instant {
        self.retry_at
    }

    /// Somebody has these pieces of the `.ko` (`None`: all of them); true once every one is somewhere.
    pub(super) fn seen(&mut self, pieces: Option<&[u32]>) -> bool {
        match pieces {
            None => self.unseen.clear(),
            Some(pieces) => pieces.iter().for_each(|piece| self.some_seen |= self.unseen.remove(piece)),
        }
        self.unseen.is_empty()
    }

    /// A session is gone.
    pub(super) fn session_down(&mut self, conn: ConnId) {
        if self.search.as_ref().is_some_and(|search| search.conn == conn) {
            self.search = None;
        }
    }
}

impl Sought {
    fn new(root: Digest, length: u64, own: u32) -> Self {
        let powers = (MIN_PIECE_LENGTH.trailing_zeros()..=MAX_PIECE_LENGTH.trailing_zeros()).rev().map(|n| 1 << n);
        let mut piece_lengths: Vec<u32> = powers.filter(|n| u64::from(*n) < length).collect();
        // Asked from the back: the usual one first, then our own, then the longest.
        piece_lengths.reverse();
        piece_lengths.sort_by_key(|n| (*n == DEFAULT_PIECE_LENGTH, *n == own));
        let fits = u32::try_from(length).ok().filter(|length| *length <= MAX_CHUNK_LEN);
        let whole =
            fits.and_then(|fits| ChunkId::new(root, fits, height_for(length.div_ceil(u64::from(BLOCK_LEN)))));
        Self { file: (root, length), whole, piece_lengths }
    }
}

impl Search {
    fn new(conn: ConnId, metainfo: &Metainfo) -> Self {
        let own = metainfo.piece_length();
        let files = metainfo.files().iter().filter(|file| file.length > u64::from(BLOCK_LEN));
        let files: BTreeSet<FileId> = files.filter_map(|file| Some((file.pieces_root?, file.length))).collect();
        Self {
            conn,
            queue: files.into_iter().map(|(root, length)| Sought::new(root, length, own)).collect(),
            open: Vec::new(),
            found: BTreeMap::new(),
            hit: DEFAULT_PIECE_LENGTH,
            questions: 0,
        }
    }

    /// The next question, if the window has room and there is one.
    fn ask(&mut self, mut request: impl FnMut(bool) -> RequestId) -> Option<Frame> {
        while self.open.len() < WINDOW && self.questions < MAX_QUESTIONS {
            let mut sought = self.queue.pop_front()?;
            let hit = sought.piece_lengths.iter().position(|n| *n == self.hit);
            let (question, frame) = if let Some(chunk) = sought.whole.take() {
                let request = request(true);
                (Question::Whole { request, chunk }, Frame::HashRequest { request, chunk })
            } else if let Some(last) = sought.piece_lengths.len().checked_sub(1) {
                let piece_length = sought.piece_lengths.remove(hit.unwrap_or(last));
                let name = file_info_hash(sought.file.0, sought.file.1, piece_length);
                let (fetch, frame) = MetainfoFetch::begin(name, request(false));
                (Question::Pieces { fetch, piece_length }, frame)
            } else {
                continue;
            };
            self.questions += 1;
            self.open.push((question, sought));
            return Some(frame);
        }
        None
    }

    fn is_over(&self) -> bool {
        self.open.is_empty() && (self.queue.is_empty() || self.questions >= MAX_QUESTIONS)
    }

    /// The open question that this request belongs to.
    fn question(&self, request: RequestId) -> Option<usize> {
        self.open.iter().position(|(question, _)| match question {
            Question::Whole { request: asked, .. } => *asked == request,
            Question::Pieces { fetch, .. } => fetch.owns(request),
        })
    }

    fn found(&mut self, question: usize, chunks: Vec<ChunkId>) {
        let (question, sought) = self.open.swap_remove(question);
        if let Question::Pieces { piece_length, .. } = question {
            self.hit = piece_length;
        }
        self.found.insert(sought.file, chunks);
    }
}

impl Peer {
    /// Asks who is there whether they hold the share as the `.ko` has it.
    pub(super) fn begin_cutting(&mut self, now: Instant, info_hash: InfoHash, own: Box<Download>, claims: Claims) {
        let share = self.shares.get_mut(&info_hash).expect("the caller knows the share");
        share.sources = self.conns.len();
        let slots = share.layout.iter().flat_map(|layout| layout.slots.keys());
        let unseen = slots.copied().filter(|slot| own.wants(*slot)).collect();
        share.ladder.rest(now, share.fetched());
        let cutting = Cutting { own, claims, unseen, some_seen: false, search: None, retry_at: now + RETRY };
        share.job = Job::Cutting(Box::new(cutting));
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            self.ask_for_list(conn, info_hash);
        }
        self.dial_wanted(now);
    }

    pub(super) fn is_cutting(&self, info_hash: InfoHash) -> bool {
        self.shares.get(&info_hash).is_some_and(|share| matches!(share.job, Job::Cutting(_)))
    }

    fn cutting(&mut self, info_hash: InfoHash) -> Option<&mut Cutting> {
        match &mut self.shares.get_mut(&info_hash)?.job {
            Job::Cutting(cutting) => Some(cutting),
            _ => None,
        }
    }

    /// No worker answered for a while. Others who have some of it are better than nobody.
    pub(super) fn retry_cutting(&mut self, now: Instant, info_hash: InfoHash) {
        let Some(cutting) = self.cutting(info_hash) else { return };
        if cutting.search.take().is_none() && cutting.some_seen {
            return self.cut_as_own(now, info_hash);
        }
        cutting.retry_at = now + RETRY;
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            self.ask_for_list(conn, info_hash);
        }
    }

    /// Somebody holds the share as the `.ko` has it.
    pub(super) fn cut_as_own(&mut self, now: Instant, info_hash: InfoHash) {
        let Some(share) = self.shares.get_mut(&info_hash) else { return };
        if let Job::Cutting(cutting) = std::mem::replace(&mut share.job, Job::Preparing) {
            self.start_download(now, info_hash, cutting.own);
        }
    }

    /// A source turned a question down.
    pub(super) fn cut_denied(
        &mut self,
        now: Instant,
        conn: ConnId,
        info_hash: InfoHash,
        request: RequestId,
        reason: Reason,
    ) {
        let is_worker = self.conns.get(&conn).is_some_and(|entry| entry.kind.is_worker());
        let metainfo = self.shares.get(&info_hash).and_then(|share| share.metainfo()).cloned();
        let (Some(cutting), Some(metainfo), true) = (self.cutting(info_hash), metainfo, is_worker) else { return };
        match reason {
            Reason::NotFound | Reason::Unsupported | Reason::Invalid | Reason::Incomplete => {}
            Reason::Busy | Reason::StorageFailed | Reason::Leaving => {
                cutting.retry_at = cutting.retry_at.min(now + PAUSE);
                return;
            }
        }
        cutting.retry_at = now + RETRY;
        match &mut cutting.search {
            Some(search) => {
                let Some(question) = search.question(request).filter(|_| search.conn == conn) else { return };
                let (_, sought) = search.open.swap_remove(question);
                // At the front: what is begun ends before more is begun.
                search.queue.push_front(sought);
            }
            None => cutting.search = Some(Search::new(conn, &metainfo)),
        }
        self.search_on(now, info_hash);
    }

    /// The leaves of a whole file came.
    pub(super) fn probed(&mut self, now: Instant, conn: ConnId, request: RequestId, leaves: Vec<Digest>) {
        let asked = self.conns.get_mut(&conn).and_then(|entry| entry.asks.remove(&request));
        let Some(Ask::Probe(info_hash)) = asked else {
            return self.blame(now, conn, Offence::Unsolicited.to_string());
        };
        let Some(cutting) = self.cutting(info_hash) else { return };
        let Some(search) = cutting.search.as_mut().filter(|search| search.conn == conn) else { return };
        let Some(question) = search.question(request) else { return };
        let Question::Whole { chunk, .. } = search.open[question].0 else { return };
        if ChunkLeaves::prove(chunk, leaves).is_none() {
            return self.blame(now, conn, Offence::WrongLeaves.to_string());
        }
        cutting.retry_at = now + RETRY;
        search.found(question, vec![chunk]);
        self.search_on(now, info_hash);
    }

    /// Part of the share of one file came. The request is open no more.
    pub(super) fn cut_part(
        &mut self,
        now: Instant,
        conn: ConnId,
        info_hash: InfoHash,
        (request, total, offset, data): (RequestId, u32, u32, &Bytes),
    ) {
        let (asks, numbers) = match self.conns.get_mut(&conn) {
            Some(entry) => (&mut entry.asks, &mut self.next_request),
            None => return,
        };
        let Some(Job::Cutting(cutting)) = self.shares.get_mut(&info_hash).map(|share| &mut share.job) else {
            return;
        };
        let Some(search) = cutting.search.as_mut().filter(|search| search.conn == conn) else { return };
        let Some(index) = search.question(request) else { return };
        let Question::Pieces { fetch, .. } = &mut search.open[index].0 else { return };
        cutting.retry_at = now + RETRY;
        let next = || super::next_ask(numbers, asks, Ask::Cut(info_hash));
        match fetch.part(request, total, offset, data, next) {
            Ok(Fetched::More(frames)) => {
                frames
                    .into_iter()
                    .for_each(|frame| say(&mut self.sessions, &mut self.web, &mut self.out, conn, frame));
            }
            Ok(Fetched::Whole(metainfo)) => {
                search.found(index, metainfo.pieces().iter().map(|piece| piece.chunk).collect());
                self.search_on(now, info_hash);
            }
            Err(offence) => self.blame(now, conn, offence.to_string()),
        }
    }

    /// Asks more, or settles how the share is cut.
    fn search_on(&mut self, now: Instant, info_hash: InfoHash) {
        let Some(Job::Cutting(cutting)) = self.shares.get_mut(&info_hash).map(|share| &mut share.job) else {
            return;
        };
        let Some(search) = &mut cutting.search else { return };
        let conn = search.conn;
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        let numbers = &mut self.next_request;
        let mut request = |is_probe| {
            let ask = if is_probe { Ask::Probe(info_hash) } else { Ask::Cut(info_hash) };
            super::next_ask(numbers, &mut entry.asks, ask)
        };
        while let Some(frame) = search.ask(&mut request) {
            say(&mut self.sessions, &mut self.web, &mut self.out, conn, frame);
        }
        if search.is_over() {
            let found = std::mem::take(&mut search.found);
            self.settle_cut(now, info_hash, &found);
        }
    }

    fn settle_cut(&mut self, now: Instant, info_hash: InfoHash, found: &BTreeMap<FileId, Vec<ChunkId>>) {
        let share = self.shares.get_mut(&info_hash).expect("the caller knows the share");
        let metainfo = share.metainfo().expect("what is cut is known");
        let cut = metainfo.recut(found).filter(|cut| cut.pieces() != metainfo.pieces());
        let Some(cut) = cut else { return self.cut_as_own(now, info_hash) };
        let Job::Cutting(cutting) = std::mem::replace(&mut share.job, Job::Preparing) else { return };
        share.layout = Some(Layout::recut(Arc::new(cut)));
        let download = self.begin_download(info_hash, &cutting.claims);
        self.start_download(now, info_hash, download);
    }
}
