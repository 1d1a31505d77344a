//! Serving blocks and leaf hashes to any number of requesters, in fair turns, with a bounded window of bytes
//! for each. It never reads a disk itself and never verifies: what it serves comes from verified storage. What is sent in
//! other ways under the same limit takes turns with the sessions.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, Bytes};

use crate::id::{ChunkId, Digest};
use crate::machine::{Instant, Outbox, earliest};
use crate::merkle::BLOCK_LEN;
use crate::node::io::Ticket;
use crate::rtc::ConnId;
use crate::transfer::Rate;
use crate::wire::frame::{Frame, Reason, RequestId};

/// Blocks in a frame for whoever asks for little at once, and for everybody while a limit is shared out: 64 KiB.
const SHORT_FRAME: u16 = 4;
/// Bytes of blocks that go in one turn under a limit.
const TURN: u32 = SHORT_FRAME as u32 * BLOCK_LEN;

/// Limits of an upload.
#[derive(Clone, Debug)]
pub struct UploadConfig {
    /// The low byte of its tickets.
    pub lane: u8,
    /// Most requests a session may have open; more are turned down as busy.
    pub max_requests: usize,
    /// Most bytes a session may have read and not yet taken by the transport.
    pub window: u32,
    /// Most bytes that all sessions together may have read and not yet taken by the transport, but for one frame each,
    /// so that nobody waits for others to take theirs. A session's window is never more than what is left of it
    /// (dynamic thresholds, Choudhury and Hahne 1998): however many are slow, there is room for one more.
    pub max_unsent: u64,
    /// Most blocks in one read.
    pub read_blocks: u16,
    /// Most reads at once, over all sessions.
    pub max_reads: usize,
    /// Most bytes of CHUNK_RESPONSEs and HASHES a second, over all sessions, and of what waits for its turn by
    /// [`Upload::wait`]; 0: no limit. See [`Rate`].
    pub limit: u64,
    /// The same for each session.
    pub session_limit: u64,
}

impl Default for UploadConfig {
    fn default() -> Self {
        Self {
            lane: 0xff,
            max_requests: 256,
            window: 2 << 20,
            max_unsent: 64 << 20,
            read_blocks: 16,
            max_reads: 64,
            limit: 0,
            session_limit: 0,
        }
    }
}

/// What an upload wants done.
#[derive(Clone, Debug)]
pub enum UploadOutput {
    /// Read blocks, then call [`Upload::read`].
    ReadBlocks {
        /// Returned in the call.
        ticket: Ticket,
        /// The chunk.
        chunk: ChunkId,
        /// First block.
        first: u16,
        /// How many, inside the chunk.
        count: u16,
    },
    /// Read leaf hashes, then call [`Upload::read_leaves`].
    ReadLeaves {
        /// Returned in the call.
        ticket: Ticket,
        /// The chunk.
        chunk: ChunkId,
    },
    /// Send a frame to a requester.
    Send {
        /// The requester.
        conn: ConnId,
        /// The frame.
        frame: Frame,
    },
    /// A requester used the number of a request that is still open: it broke the protocol.
    Misused {
        /// The requester.
        conn: ConnId,
    },
    /// What was to wait for its turn may go now.
    Go {
        /// As [`Upload::wait`] was told.
        ticket: Ticket,
    },
}

/// A request whose blocks are not all being read yet.
#[derive(Debug)]
struct Job {
    request: RequestId,
    chunk: ChunkId,
    what: What,
}

#[derive(Debug)]
enum What {
    Leaves,
    /// Blocks not yet being read, and most of them in one frame.
    Blocks {
        next: u16,
        end: u16,
        frame: u16,
    },
}

/// A read, in the order in which its answer must be sent.
#[derive(Debug)]
struct Slot {
    request: RequestId,
    ticket: Ticket,
    /// Bytes it takes of the window.
    bytes: u32,
    first: u16,
    /// Most blocks in one frame.
    frame: u16,
    result: Option<Result<Ready, Reason>>,
    /// The last of its request.
    last: bool,
}

#[derive(Debug)]
enum Ready {
    Blocks(Bytes),
    Leaves(Vec<Digest>),
}

#[derive(Debug)]
struct Requester {
    frame_blocks: u8,
    jobs: VecDeque<Job>,
    reads: VecDeque<Slot>,
    /// Open requests; false once one is cancelled or turned down and only its reads are awaited.
    open: BTreeMap<RequestId, bool>,
    /// Bytes being read, or given to the transport and not yet taken.
    unsent: u32,
    /// Bytes of blocks given to the transport.
    served: u64,
    rate: Rate,
}

/// Something that is sent other than over a session, and waits for its turn.
#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    bytes: u32,
    /// Turns to let pass before its own: in so many, a session sends as much.
    turns: u32,
}

/// Who may have a turn under a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Session(ConnId),
    Waiter(u64),
}

/// What came of trying to send a frame.
enum Sending {
    /// Nothing is ready.
    Nothing,
    /// Something was sent, or came to nothing.
    Moved,
    /// The session's limit allows nothing before this.
    SessionWaits(Instant),
    /// The limit over all sessions does not.
    AllWait(Instant),
}

/// The machine. See the module's documentation.
#[derive(Debug)]
pub struct Upload {
    config: UploadConfig,
    requesters: BTreeMap<ConnId, Requester>,
    reads: BTreeMap<Ticket, ConnId>,
    next_ticket: u64,
    turn: Option<ConnId>,
    bytes_served: u64,
    /// Of all sessions.
    unsent: u64,
    now: Instant,
    rate: Rate,
    /// In the order in which they came.
    waiters: BTreeMap<u64, Waiter>,
    last_waiter: u64,
    /// The last of them when their turns in this round began: who comes later waits for the next, or sessions would never
    /// have another turn.
    round: u64,
    /// Under a limit, who had the last turn.
    last_turn: Option<Turn>,
    /// When a limit allows what is ready.
    wake_at: Option<Instant>,
    out: Outbox<UploadOutput>,
}

impl Upload {
    /// An upload with no requesters yet.
    #[must_use]
    pub fn new(config: UploadConfig) -> Self {
        Self {
            rate: Rate::new(config.limit),
            config,
            requesters: BTreeMap::new(),
            reads: BTreeMap::new(),
            next_ticket: 0,
            turn: None,
            bytes_served: 0,
            unsent: 0,
            now: Instant::ZERO,
            waiters: BTreeMap::new(),
            last_waiter: 0,
            round: 0,
            last_turn: None,
            wake_at: None,
            out: Outbox::default(),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<UploadOutput> {
        self.out.pop()
    }

    /// Time passed. To be told before anything else, where there is a limit.
    pub fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Time passed: sends what a limit held back.
    pub fn wake(&mut self, now: Instant) {
        self.tick(now);
        if self.wake_at.is_some_and(|at| now >= at) {
            self.send_in_turns();
            self.fill();
        }
    }

    /// When to call [`Upload::wake`].
    #[must_use]
    pub const fn next_wake(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Changes the limit over all sessions, in bytes a second; 0: none.
    pub fn set_limit(&mut self, now: Instant, limit: u64) {
        self.tick(now);
        self.config.limit = limit;
        self.rate.set(now, limit);
        self.send_in_turns();
        self.fill();
    }

    /// Bytes of blocks given to the transport so far.
    #[must_use]
    pub const fn bytes_served(&self) -> u64 {
        self.bytes_served
    }

    /// The same of one session.
    #[must_use]
    pub fn bytes_served_to(&self, conn: ConnId) -> u64 {
        self.requesters.get(&conn).map_or(0, |requester| requester.served)
    }

    /// Bytes being read, or given to the transport and not yet taken, over all sessions.
    #[must_use]
    pub const fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Whether a session waits for something, or has not yet taken what it was given.
    #[must_use]
    pub fn serves(&self, conn: ConnId) -> bool {
        self.requesters.get(&conn).is_some_and(|requester| !requester.open.is_empty() || requester.unsent > 0)
    }

    /// Whether nobody waits for anything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiters.is_empty() && self.requesters.values().all(|r| r.jobs.is_empty() && r.reads.is_empty())
    }

    /// A session is up; `frame_blocks` is what it takes in one CHUNK_RESPONSE.
    pub fn session_up(&mut self, conn: ConnId, frame_blocks: u8) {
        let (jobs, reads, open) = Default::default();
        let frame_blocks = frame_blocks.max(1);
        let rate = Rate::new(self.config.session_limit);
        self.requesters.insert(conn, Requester { frame_blocks, jobs, reads, open, unsent: 0, served: 0, rate });
    }

    /// A session is gone with all it asked for.
    pub fn session_down(&mut self, conn: ConnId) {
        if let Some(requester) = self.requesters.remove(&conn) {
            self.unsent -= u64::from(requester.unsent);
            for slot in requester.reads {
                self.reads.remove(&slot.ticket);
            }
        }
        self.fill();
    }

    /// So many bytes are to be sent other than over a session: [`UploadOutput::Go`] says when, as soon as the limit over
    /// all sessions allows them in turn with these. They are not among the bytes served.
    ///
    /// # Panics
    /// If they are more than a burst, under a limit.
    pub fn wait(&mut self, ticket: Ticket, bytes: u32) {
        if !self.rate.is_limited() {
            return self.out.push(UploadOutput::Go { ticket });
        }
        assert!(u64::from(bytes) <= self.rate.burst(), "it would wait for ever");
        self.last_waiter += 1;
        let turns = bytes.div_ceil(TURN).saturating_sub(1);
        self.waiters.insert(self.last_waiter, Waiter { ticket, bytes, turns });
        self.send_in_turns();
    }

    /// A CHUNK_REQUEST came; its range lies inside the chunk.
    pub fn request(&mut self, conn: ConnId, request: RequestId, chunk: ChunkId, first: u16, count: u16) {
        // Who asks for much at once is fast, and long frames cost it less; to a slow one they would be a wait for all else.
        let frame = (count / 4).max(SHORT_FRAME);
        self.enqueue(conn, Job { request, chunk, what: What::Blocks { next: first, end: first + count, frame } });
    }

    /// A HASH_REQUEST came.
    pub fn hash_request(&mut self, conn: ConnId, request: RequestId, chunk: ChunkId) {
        self.enqueue(conn, Job { request, chunk, what: What::Leaves });
    }

    /// A CANCEL came. Unknown requests are ignored: the answer may have been on its way.
    pub fn cancel(&mut self, conn: ConnId, request: RequestId) {
        if let Some(requester) = self.requesters.get_mut(&conn) {
            requester.drop_request(request);
            self.flush(conn);
            self.fill();
        }
    }

    /// The driver read blocks, or could not. Tickets of sessions that are gone are ignored.
    pub fn read(&mut self, ticket: Ticket, result: Result<Bytes, Reason>) {
        self.answer(ticket, result.map(Ready::Blocks));
    }

    /// The driver read leaf hashes, or could not. Tickets of sessions that are gone are ignored.
    pub fn read_leaves(&mut self, ticket: Ticket, result: Result<Vec<Digest>, Reason>) {
        self.answer(ticket, result.map(Ready::Leaves));
    }

    /// The transport took CHUNK_RESPONSEs and HASHES of a session, this many encoded bytes of them.
    pub fn sent(&mut self, conn: ConnId, bytes: u32) {
        if let Some(requester) = self.requesters.get_mut(&conn) {
            let taken = bytes.min(requester.unsent);
            requester.unsent -= taken;
            self.unsent -= u64::from(taken);
            self.fill();
        }
    }

    fn enqueue(&mut self, conn: ConnId, job: Job) {
        let Some(requester) = self.requesters.get_mut(&conn) else { return };
        let request = job.request;
        if requester.open.contains_key(&request) {
            self.out.push(UploadOutput::Misused { conn });
        } else if requester.open.len() >= self.config.max_requests {
            let frame = Frame::Reject { request, reason: Reason::Busy };
            self.out.push(UploadOutput::Send { conn, frame });
        } else {
            requester.open.insert(request, true);
            match job.what {
                // Blocks are worth nothing without their hashes, and these are few: they go before all blocks.
                What::Leaves => {
                    let before = requester.jobs.iter().take_while(|job| matches!(job.what, What::Leaves)).count();
                    requester.jobs.insert(before, job);
                }
                What::Blocks { .. } => requester.jobs.push_back(job),
            }
            self.fill();
        }
    }

    fn answer(&mut self, ticket: Ticket, result: Result<Ready, Reason>) {
        let Some(conn) = self.reads.remove(&ticket) else { return };
        let requester = self.requesters.get_mut(&conn).expect("a session's reads go with it");
        let slot = requester.reads.iter_mut().find(|slot| slot.ticket == ticket);
        slot.expect("a read has a slot until it is answered").result = Some(result);
        self.flush(conn);
        self.fill();
    }

    /// Sends what is ready of a session; under a limit, of whoever's turn it is.
    fn flush(&mut self, conn: ConnId) {
        if self.rate.is_limited() || self.config.session_limit > 0 {
            self.send_in_turns();
        } else {
            while matches!(self.send(conn), Sending::Moved) {}
        }
    }

    /// Sends a frame of each session in turn, and what else waits, as far as the limits allow.
    fn send_in_turns(&mut self) {
        self.wake_at = None;
        let mut idle = 0;
        while idle < self.requesters.len() + self.waiters.len() {
            let Some(turn) = self.next_turn() else {
                self.last_turn = None;
                continue;
            };
            if !matches!(self.last_turn, Some(Turn::Waiter(_))) {
                self.round = self.last_waiter;
            }
            let sending = match turn {
                Turn::Session(conn) => self.send(conn),
                Turn::Waiter(number) => self.let_go(number),
            };
            match sending {
                Sending::Moved => idle = 0,
                Sending::Nothing => idle += 1,
                Sending::SessionWaits(at) => {
                    self.wake_at = earliest([self.wake_at, Some(at)]);
                    idle += 1;
                }
                // It is still this one's turn then.
                Sending::AllWait(at) => {
                    self.wake_at = earliest([self.wake_at, Some(at)]);
                    return;
                }
            }
            self.last_turn = Some(turn);
        }
    }

    /// Whose turn is next in this round; `None` if it is over.
    fn next_turn(&self) -> Option<Turn> {
        let (session, waiter, end) = match self.last_turn {
            None => (Some(ConnId(0)), 0, u64::MAX),
            Some(Turn::Session(ConnId(last))) => (Some(ConnId(last + 1)), 0, u64::MAX),
            Some(Turn::Waiter(last)) => (None, last + 1, self.round),
        };
        let session = session.and_then(|from| self.requesters.range(from..).next());
        let waiter = || self.waiters.range(waiter..).next().filter(|(number, _)| **number <= end);
        let waiter = || waiter().map(|(number, _)| Turn::Waiter(*number));
        session.map(|(conn, _)| Turn::Session(*conn)).or_else(waiter)
    }

    /// Lets what waits go, if it has let enough turns pass.
    fn let_go(&mut self, number: u64) -> Sending {
        let Some(waiter) = self.waiters.get_mut(&number) else { return Sending::Nothing };
        if waiter.turns > 0 {
            waiter.turns -= 1;
            return Sending::Moved;
        }
        let ticket = waiter.ticket;
        if let Err(at) = self.rate.take(self.now, waiter.bytes.into()) {
            return Sending::AllWait(at);
        }
        self.waiters.remove(&number);
        self.out.push(UploadOutput::Go { ticket });
        Sending::Moved
    }

    /// Sends one frame of what is ready at the head of a session's reads.
    fn send(&mut self, conn: ConnId) -> Sending {
        let Some(requester) = self.requesters.get_mut(&conn) else { return Sending::Nothing };
        let Some(slot) = requester.reads.front_mut() else { return Sending::Nothing };
        let Some(result) = &mut slot.result else { return Sending::Nothing };
        let request = slot.request;
        let wanted = requester.open.get(&request) == Some(&true);
        // The frame, and how much of what was read is left after it.
        let (frame, rest) = match result {
            _ if !wanted => (None, 0),
            Ok(Ready::Blocks(data)) if data.is_empty() => (None, 0),
            Ok(Ready::Blocks(data)) => {
                let blocks = self.rate.blocks_at_once().min(requester.rate.blocks_at_once());
                // A turn is a frame: under a limit nobody's is longer, or who asks for more at once would get more of it.
                let turn = if self.rate.is_limited() { SHORT_FRAME } else { slot.frame };
                let blocks = blocks.min(requester.frame_blocks.into()).min(turn.into());
                let sent = data.slice(..data.len().min(blocks as usize * BLOCK_LEN as usize));
                let rest = data.len() - sent.len();
                (Some(Frame::ChunkResponse { request, first: slot.first, data: sent }), rest as u32)
            }
            Ok(Ready::Leaves(leaves)) => (Some(Frame::Hashes { request, leaves: leaves.clone() }), 0),
            Err(reason) => (Some(Frame::Reject { request, reason: *reason }), 0),
        };
        let mut given = 0;
        if let Some(frame) = frame {
            if !matches!(frame, Frame::Reject { .. }) {
                given = frame.encoded_len() as u32;
                if let Err(at) = requester.rate.ready(self.now, given.into()) {
                    return Sending::SessionWaits(at);
                }
                if let Err(at) = self.rate.take(self.now, given.into()) {
                    return Sending::AllWait(at);
                }
                requester.rate.take(self.now, given.into()).expect("it was ready a line ago");
            }
            if let (Frame::ChunkResponse { data: sent, .. }, Ok(Ready::Blocks(data))) = (&frame, result) {
                self.bytes_served += sent.len() as u64;
                requester.served += sent.len() as u64;
                data.advance(sent.len());
                slot.first += sent.len().div_ceil(BLOCK_LEN as usize) as u16;
            }
            self.out.push(UploadOutput::Send { conn, frame });
        }
        let done = slot.bytes.saturating_sub(rest);
        slot.bytes -= done;
        requester.unsent = requester.unsent - done + given;
        self.unsent = self.unsent - u64::from(done) + u64::from(given);
        if rest > 0 {
            return Sending::Moved;
        }
        let Some(Slot { last, result, .. }) = requester.reads.pop_front() else {
            unreachable!("it was at the front a line ago");
        };
        if wanted && matches!(result, Some(Err(_))) {
            requester.drop_request(request);
        }
        if last || (!requester.reads.iter().any(|slot| slot.request == request) && !wanted) {
            requester.open.remove(&request);
        }
        Sending::Moved
    }

    /// Starts reads, a session at a time in turns, as far as windows and the limit on reads allow.
    fn fill(&mut self) {
        // Under a limit, little is read before it may be sent.
        let limited = self.rate.is_limited() || self.config.session_limit > 0;
        let ahead = if limited { 2 * self.rate.burst() } else { u64::MAX };
        let mut idle = 0;
        while self.reads.len() < self.config.max_reads && idle < self.requesters.len() {
            let after = self.turn.map_or(ConnId(0), |ConnId(turn)| ConnId(turn + 1));
            let next = self.requesters.range_mut(after..).next();
            let Some((conn, requester)) = next else {
                self.turn = None;
                continue;
            };
            let conn = *conn;
            self.turn = Some(conn);
            let before = requester.unsent;
            let room = self.config.max_unsent.saturating_sub(self.unsent);
            let window = room.min(self.config.window.into()).min(ahead) as u32;
            match requester.next_read(&self.config, window, self.next_ticket + 1) {
                Some((ticket, output)) => {
                    self.unsent += u64::from(requester.unsent - before);
                    self.next_ticket += 1;
                    self.reads.insert(ticket, conn);
                    self.out.push(output);
                    idle = 0;
                }
                None => idle += 1,
            }
        }
    }
}

impl Requester {
    /// Takes the next read off the jobs, if the window has room.
    fn next_read(&mut self, config: &UploadConfig, window: u32, number: u64) -> Option<(Ticket, UploadOutput)> {
        let job = self.jobs.front_mut()?;
        let ticket = Ticket(number << 8 | u64::from(config.lane));
        let (request, chunk) = (job.request, job.chunk);
        let (bytes, first, frame, last, output) = match &mut job.what {
            What::Leaves => {
                let output = UploadOutput::ReadLeaves { ticket, chunk };
                (u32::from(chunk.blocks()) * 32, 0, 0, true, output)
            }
            What::Blocks { next, end, frame } => {
                // Where there is room for little, little is read at once: a frame of blocks at least.
                let room = u16::try_from(window / BLOCK_LEN)
                    .unwrap_or(u16::MAX)
                    .max(u16::from(self.frame_blocks).min(*frame));
                let (first, count) = (*next, (*end - *next).min(config.read_blocks).min(room));
                let bytes = chunk.range_len(first, count).expect("checked when the frame was parsed");
                *next += count;
                (bytes, first, *frame, *next == *end, UploadOutput::ReadBlocks { ticket, chunk, first, count })
            }
        };
        if self.unsent > 0 && self.unsent + bytes > window {
            if let What::Blocks { next, .. } = &mut job.what {
                *next = first;
            }
            return None;
        }
        if last {
            self.jobs.pop_front();
        }
        self.unsent += bytes;
        self.reads.push_back(Slot { request, ticket, bytes, first, frame, result: None, last });
        Some((ticket, output))
    }

    /// Forgets what of a request is not yet being read; answers to its reads are dropped when they come.
    fn drop_request(&mut self, request: RequestId) {
        let Some(wanted) = self.open.get_mut(&request) else { return };
        *wanted = false;
        self.jobs.retain(|job| job.request != request);
        if !self.reads.iter().any(|slot| slot.request == request) {
            self.open.remove(&request);
        }
    }
}
