//! Sessions: data channels to other nodes, from the first offer to the last frame.
//!
//! At most one session a peer. Dials, answers offers, greets (HELLO), parses frames, notices silence and counts
//! what the transport still has to send. It never looks into what the frames are about.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::id::PeerId;
use crate::machine::{Instant, Outbox, earliest};
use crate::rtc::{ConnId, RtcCommand, RtcEvent};
use crate::wire::frame::{Frame, Hello, MAX_FRAME_BLOCKS, VERSION};
use crate::wire::signal::Signal;

/// A dial, or an accepted offer, that is not open by then has failed.
const SETUP_TIMEOUT: Duration = Duration::from_secs(15);
/// An offer that is not answered for so long was lost on its way, or its answer was: it is worth another try. Longer
/// than the other side may take to learn its own addresses.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// After this much silence the other side is asked for a sign of life.
const ASK_AFTER: Duration = Duration::from_secs(2);
/// After this much silence the session is dead. Above what a full send buffer takes on a slow line.
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// A frame that the transport took after so long was waiting for room.
const WAITED: Duration = Duration::from_millis(100);

/// Limits of the sessions of a node.
#[derive(Clone, Debug)]
pub struct SessionsConfig {
    /// Our own name: decides who gives way when two nodes dial each other.
    pub id: PeerId,
    /// Most sessions at once, those being set up included.
    pub max_sessions: usize,
}

/// What sessions want done, and what they report.
#[derive(Clone, Debug)]
pub enum SessionsOutput {
    /// Of WebRTC.
    Rtc(RtcCommand),
    /// Hand this to a peer through the front.
    Signal {
        /// The peer.
        to: PeerId,
        /// Number of the connection.
        session: u32,
        /// What to hand over.
        body: Signal,
    },
    /// Both sides said HELLO.
    Up {
        /// The session.
        conn: ConnId,
        /// Who is on the other side.
        peer: PeerId,
        /// Most blocks it takes in one CHUNK_RESPONSE.
        frame_blocks: u8,
    },
    /// A frame other than HELLO, HEALTH_CHECK and HEALTH.
    Frame {
        /// The session.
        conn: ConnId,
        /// The frame.
        frame: Frame,
    },
    /// The transport took this many encoded bytes of CHUNK_RESPONSEs and HASHES.
    BulkSent {
        /// The session.
        conn: ConnId,
        /// Bytes.
        bytes: u32,
    },
    /// The session is over, or a dial failed.
    Down {
        /// The session.
        conn: ConnId,
        /// Who was on the other side.
        peer: PeerId,
        /// Why, in words.
        reason: String,
        /// Whether the other side broke the protocol.
        offence: bool,
    },
}

#[derive(Debug)]
enum State {
    /// Ours: waiting for our description, then for the answer; or theirs: waiting for our description.
    SettingUp { dialled: bool },
    /// The channel is open; HELLO is on its way.
    Open,
    /// Both sides greeted.
    Up,
}

#[derive(Debug)]
struct Session {
    peer: PeerId,
    number: u32,
    state: State,
    began: Instant,
    /// When our offer left, while it is not answered.
    unanswered: Option<Instant>,
    heard: Instant,
    asked: bool,
    /// Frames the transport did not take yet.
    queued: VecDeque<Queued>,
}

/// A frame on its way into the transport.
#[derive(Debug)]
struct Queued {
    /// Encoded bytes not taken yet.
    bytes: u32,
    bulk: bool,
    since: Instant,
}

/// The sessions of a node. See the module's documentation.
#[derive(Debug)]
pub struct Sessions {
    now: Instant,
    config: SessionsConfig,
    sessions: BTreeMap<ConnId, Session>,
    by_peer: BTreeMap<PeerId, ConnId>,
    next_conn: u64,
    next_number: u32,
    nonce: u64,
    is_full: bool,
    turned_away: u64,
    out: Outbox<SessionsOutput>,
}

impl Sessions {
    /// No sessions yet. `first_number` makes session numbers of different runs differ.
    #[must_use]
    pub fn new(config: SessionsConfig, first_number: u32) -> Self {
        Self {
            now: Instant::ZERO,
            config,
            sessions: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            next_conn: 0,
            next_number: first_number,
            nonce: 0,
            is_full: false,
            turned_away: 0,
            out: Outbox::default(),
        }
    }

    /// Tells the time. To be called first, on every input of the node.
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
    }

    /// The next thing to do or to know.
    pub fn poll(&mut self) -> Option<SessionsOutput> {
        self.out.pop()
    }

    /// How many there are, those being set up included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Takes no new sessions from now on.
    pub fn close_doors(&mut self) {
        self.config.max_sessions = 0;
    }

    /// Says whether whoever dials is to be turned away although there may be fewer sessions than the most.
    pub fn set_full(&mut self, full: bool) {
        self.is_full = full;
    }

    /// How many who dialled found no room.
    #[must_use]
    pub const fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// The session with a peer, open or being set up.
    #[must_use]
    pub fn with(&self, peer: PeerId) -> Option<ConnId> {
        self.by_peer.get(&peer).copied()
    }

    /// Who is on the other side of a session.
    #[must_use]
    pub fn peer(&self, conn: ConnId) -> Option<PeerId> {
        self.sessions.get(&conn).map(|session| session.peer)
    }

    /// Whether both sides of a session greeted.
    #[must_use]
    pub fn is_up(&self, conn: ConnId) -> bool {
        self.sessions.get(&conn).is_some_and(|session| matches!(session.state, State::Up))
    }

    /// Dials a peer, unless there is a session with it or the limit is reached.
    pub fn dial(&mut self, now: Instant, peer: PeerId) {
        if self.by_peer.contains_key(&peer)
            || self.sessions.len() >= self.config.max_sessions
            || peer == self.config.id
        {
            return;
        }
        self.next_number = self.next_number.wrapping_add(1);
        let conn = self.insert(now, peer, self.next_number, State::SettingUp { dialled: true });
        self.out.push(SessionsOutput::Rtc(RtcCommand::Offer { conn }));
    }

    /// Sends a frame on a session that is up; others are ignored.
    pub fn send(&mut self, conn: ConnId, frame: Frame) {
        if self.is_up(conn) {
            self.push(conn, frame);
        }
    }

    /// Closes a session; frames sent before still go out. No `Down` is reported for it.
    pub fn close(&mut self, conn: ConnId) {
        self.end(conn, true);
    }

    /// Closes a session at once; frames sent before may be lost. No `Down` is reported for it.
    pub fn cut(&mut self, conn: ConnId) {
        self.end(conn, false);
    }

    fn end(&mut self, conn: ConnId, flush: bool) {
        if self.remove(conn).is_some() {
            self.out.push(SessionsOutput::Rtc(RtcCommand::Close { conn, flush }));
        }
    }

    /// Another node said something through the front.
    pub fn signal(&mut self, now: Instant, from: PeerId, number: u32, body: Signal) {
        let current = self.by_peer.get(&from).copied();
        let matching = current.filter(|conn| self.sessions[conn].number == number);
        match body {
            Signal::Offer { sdp } => self.offered(now, from, number, sdp),
            Signal::Answer { sdp } => {
                let dialled =
                    |conn: &ConnId| matches!(self.sessions[conn].state, State::SettingUp { dialled: true });
                if let Some(conn) = matching.filter(dialled) {
                    self.sessions.get_mut(&conn).expect("it is the one that matches").unanswered = None;
                    self.out.push(SessionsOutput::Rtc(RtcCommand::SetAnswer { conn, sdp }));
                }
            }
            Signal::Candidate { candidate } => {
                if let Some(conn) = matching {
                    self.out.push(SessionsOutput::Rtc(RtcCommand::AddCandidate { conn, candidate }));
                }
            }
            Signal::Bye { reason } => {
                if let Some(conn) = matching {
                    self.fail(conn, format!("the other side declined: {reason}"), false);
                }
            }
            Signal::Full {} => {
                if let Some(conn) = matching {
                    self.fail(conn, "the other side has no room".into(), false);
                }
            }
            Signal::Unreachable {} => {
                // What is open needs no front any more.
                let setting_up = |conn: &ConnId| matches!(self.sessions[conn].state, State::SettingUp { .. });
                if let Some(conn) = matching.filter(setting_up) {
                    self.fail(conn, "the front cannot reach it".into(), false);
                }
            }
        }
    }

    /// The WebRTC stack said something.
    pub fn rtc(&mut self, now: Instant, event: RtcEvent) {
        match event {
            RtcEvent::Described { conn, sdp } => {
                let Some(session) = self.sessions.get_mut(&conn) else { return };
                let State::SettingUp { dialled } = session.state else { return };
                session.unanswered = dialled.then_some(now);
                let body = if dialled { Signal::Offer { sdp } } else { Signal::Answer { sdp } };
                let (to, session) = (session.peer, session.number);
                self.out.push(SessionsOutput::Signal { to, session, body });
            }
            RtcEvent::Open { conn } => {
                let Some(session) = self.sessions.get_mut(&conn) else { return };
                if matches!(session.state, State::SettingUp { .. }) {
                    session.state = State::Open;
                    session.heard = now;
                    let hello = Hello { version: VERSION, frame_blocks: MAX_FRAME_BLOCKS };
                    self.push(conn, Frame::Hello(hello));
                }
            }
            RtcEvent::Message { conn, data } => self.message(now, conn, data),
            RtcEvent::Sent { conn, bytes } => self.sent(now, conn, bytes),
            RtcEvent::Closed { conn, reason } => {
                if let Some(session) = self.remove(conn) {
                    let peer = session.peer;
                    self.out.push(SessionsOutput::Down { conn, peer, reason, offence: false });
                }
            }
        }
    }

    /// Time passed: looks after silent sessions.
    pub fn wake(&mut self, now: Instant) {
        let (mut dead, mut silent) = (Vec::new(), Vec::new());
        for (conn, session) in &self.sessions {
            match session.state {
                State::Up if now >= session.heard + DEAD_AFTER => dead.push((*conn, "it fell silent")),
                State::Up if !session.asked && now >= session.heard + ASK_AFTER => silent.push(*conn),
                State::SettingUp { .. } | State::Open if now >= session.began + SETUP_TIMEOUT => {
                    dead.push((*conn, "no connection came about in time"));
                }
                State::SettingUp { .. } if session.unanswered.is_some_and(|at| now >= at + ANSWER_TIMEOUT) => {
                    dead.push((*conn, "the offer was not answered in time"));
                }
                _ => {}
            }
        }
        for (conn, reason) in dead {
            self.fail(conn, reason.into(), false);
        }
        for conn in silent {
            self.nonce += 1;
            let nonce = self.nonce;
            if let Some(session) = self.sessions.get_mut(&conn) {
                session.asked = true;
            }
            self.push(conn, Frame::HealthCheck { nonce });
        }
    }

    /// When to call [`Sessions::wake`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        earliest(self.sessions.values().map(|session| {
            Some(match session.state {
                State::Up if session.asked => session.heard + DEAD_AFTER,
                State::Up => session.heard + ASK_AFTER,
                State::SettingUp { .. } | State::Open => {
                    let answer = session.unanswered.map(|at| at + ANSWER_TIMEOUT);
                    answer.unwrap_or(session.began + SETUP_TIMEOUT).min(session.began + SETUP_TIMEOUT)
                }
            })
        }))
    }

    fn offered(&mut self, now: Instant, from: PeerId, number: u32, sdp: String) {
        if from == self.config.id {
            return;
        }
        if let Some(conn) = self.by_peer.get(&from).copied() {
            let dialling = matches!(self.sessions[&conn].state, State::SettingUp { dialled: true });
            if dialling && self.config.id < from {
                // Both dialled: the lower name's offer stands, and the other side knows that too.
                return;
            }
            // The other side knows of no session, or gave the old one up.
            let peer = from;
            self.close(conn);
            let reason = "the other side began anew".into();
            self.out.push(SessionsOutput::Down { conn, peer, reason, offence: false });
        }
        if self.sessions.len() >= self.config.max_sessions || self.is_full {
            self.turned_away += 1;
            self.out.push(SessionsOutput::Signal { to: from, session: number, body: Signal::Full {} });
            return;
        }
        let conn = self.insert(now, from, number, State::SettingUp { dialled: false });
        self.out.push(SessionsOutput::Rtc(RtcCommand::Accept { conn, sdp }));
    }

    fn message(&mut self, now: Instant, conn: ConnId, data: Bytes) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.heard = now;
        session.asked = false;
        let frame = match Frame::decode(data) {
            Ok(frame) => frame,
            Err(error) => return self.fail(conn, format!("it sent a bad frame: {error}"), true),
        };
        match (&session.state, frame) {
            (State::Open, Frame::Hello(hello)) if hello.version == VERSION => {
                session.state = State::Up;
                let (peer, frame_blocks) = (session.peer, hello.frame_blocks);
                self.out.push(SessionsOutput::Up { conn, peer, frame_blocks });
            }
            (State::Open, Frame::Hello(hello)) => {
                let reason = format!("it speaks version {} of the protocol, we speak {VERSION}", hello.version);
                self.fail(conn, reason, false);
            }
            (State::Up, Frame::HealthCheck { nonce }) => self.push(conn, Frame::Health { nonce }),
            (State::Up, Frame::Health { .. }) => {}
            (State::Up, Frame::Hello(_)) => self.fail(conn, "it said HELLO twice".into(), true),
            (State::Up, frame) => self.out.push(SessionsOutput::Frame { conn, frame }),
            (State::Open | State::SettingUp { .. }, _) => {
                self.fail(conn, "it spoke before HELLO".into(), true);
            }
        }
    }

    fn sent(&mut self, now: Instant, conn: ConnId, mut bytes: u32) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let mut bulk = 0;
        while let Some(next) = session.queued.front_mut() {
            let taken = bytes.min(next.bytes);
            next.bytes -= taken;
            bytes -= taken;
            bulk += if next.bulk { taken } else { 0 };
            // A full transport takes more only as the other side acknowledges: a sign of life. One with room
            // takes anything at once, whoever is or is not there.
            if now >= next.since + WAITED {
                session.heard = now;
                session.asked = false;
            }
            if next.bytes > 0 {
                break;
            }
            session.queued.pop_front();
        }
        if bulk > 0 {
            self.out.push(SessionsOutput::BulkSent { conn, bytes: bulk });
        }
    }

    fn insert(&mut self, now: Instant, peer: PeerId, number: u32, state: State) -> ConnId {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let session = Session {
            peer,
            number,
            state,
            began: now,
            unanswered: None,
            heard: now,
            asked: false,
            queued: VecDeque::new(),
        };
        self.sessions.insert(conn, session);
        self.by_peer.insert(peer, conn);
        conn
    }

    fn remove(&mut self, conn: ConnId) -> Option<Session> {
        let session = self.sessions.remove(&conn)?;
        self.by_peer.remove(&session.peer);
        Some(session)
    }

    fn push(&mut self, conn: ConnId, frame: Frame) {
        let bulk = matches!(frame, Frame::ChunkResponse { .. } | Frame::Hashes { .. });
        if let Some(session) = self.sessions.get_mut(&conn) {
            let queued = Queued { bytes: frame.encoded_len() as u32, bulk, since: self.now };
            session.queued.push_back(queued);
            self.out.push(SessionsOutput::Rtc(RtcCommand::Send { conn, frame }));
        }
    }

    fn fail(&mut self, conn: ConnId, reason: String, offence: bool) {
        if let Some(session) = self.remove(conn) {
            self.out.push(SessionsOutput::Rtc(RtcCommand::Close { conn, flush: true }));
            self.out.push(SessionsOutput::Down { conn, peer: session.peer, reason, offence });
        }
    }
}
