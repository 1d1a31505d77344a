//! One reader: the real uplink and the real sessions, and in place of a download single requests for blocks whose answers
//! are counted. It does not compare them with hashes: that would time the reader, and is tested elsewhere.

use std::collections::BTreeMap;

use kollator_core::id::{ChunkId, PeerId};
use kollator_core::machine::{Instant, Machine, Outbox};
use kollator_core::node::io::{LinkCommand, LinkEvent};
use kollator_core::rtc::{ConnId, RtcCommand, RtcEvent};
use kollator_core::session::{Sessions, SessionsConfig, SessionsOutput};
use kollator_core::uplink::{Uplink, UplinkConfig, UplinkOutput};
use kollator_core::wire::frame::{Frame, RequestId};
use kollator_core::wire::signal::{Bootstrap, FromFront, Role, ToFront, VERSION};

#[derive(Debug)]
pub(super) enum Input {
    Wake,
    Link(LinkEvent),
    Rtc(RtcEvent),
    /// Ask the worker for blocks.
    Ask {
        chunk: ChunkId,
        first: u16,
        count: u16,
    },
}

#[derive(Debug)]
pub(super) enum Output {
    Link(LinkCommand),
    Rtc(RtcCommand),
    Told(Told),
}

/// What a reader has to tell.
#[derive(Debug)]
pub(super) enum Told {
    /// The session with the worker is up.
    Up,
    /// It is over, or could not be made.
    Down(String),
    /// Blocks came; whether they are the last of their request.
    Blocks { bytes: u64, last: bool },
    /// A request was turned down.
    Rejected(String),
}

pub(super) struct Reader {
    id: PeerId,
    uplink: Uplink,
    sessions: Sessions,
    worker: Option<ConnId>,
    /// Bytes that open requests still have to bring.
    open: BTreeMap<RequestId, u64>,
    last_request: RequestId,
    out: Outbox<Output>,
}

impl Reader {
    pub(super) fn new(id: PeerId, seed: u64) -> Self {
        Self {
            id,
            uplink: Uplink::new(UplinkConfig::new(1, seed)),
            sessions: Sessions::new(SessionsConfig { id, max_sessions: 4 }, seed as u32),
            worker: None,
            open: BTreeMap::new(),
            last_request: 0,
            out: Outbox::default(),
        }
    }

    fn pump(&mut self, now: Instant) {
        loop {
            if let Some(output) = self.uplink.poll() {
                self.uplink_said(now, output);
            } else if let Some(output) = self.sessions.poll() {
                self.sessions_said(output);
            } else {
                return;
            }
        }
    }

    fn uplink_said(&mut self, now: Instant, output: UplinkOutput) {
        match output {
            UplinkOutput::Link(command) => self.out.push(Output::Link(command)),
            UplinkOutput::Greet => {
                self.uplink.greet(&ToFront::Hello { version: VERSION, id: self.id, role: Role::Peer {} });
            }
            // Without a worker: one that begins is told of.
            UplinkOutput::Welcome(Bootstrap { worker, .. })
            | UplinkOutput::Message(FromFront::Assign { worker }) => {
                if let (Some(worker), None) = (worker, self.worker) {
                    self.sessions.dial(now, worker.peer);
                }
            }
            UplinkOutput::Message(FromFront::Signal { from, session, body }) => {
                self.sessions.signal(now, from, session, body);
            }
            UplinkOutput::Message(_) => {}
            UplinkOutput::Lost { reason } => self.tell(Told::Down(reason)),
        }
    }

    fn sessions_said(&mut self, output: SessionsOutput) {
        match output {
            SessionsOutput::Rtc(command) => self.out.push(Output::Rtc(command)),
            SessionsOutput::Signal { to, session, body } => {
                self.uplink.send(&ToFront::Signal { to, session, body });
            }
            SessionsOutput::Up { conn, .. } => {
                self.worker = Some(conn);
                self.tell(Told::Up);
            }
            SessionsOutput::Frame { frame: Frame::ChunkResponse { request, data, .. }, .. } => {
                let bytes = data.len() as u64;
                let Some(owed) = self.open.get_mut(&request) else { return };
                *owed = owed.saturating_sub(bytes);
                let last = *owed == 0;
                if last {
                    self.open.remove(&request);
                }
                self.tell(Told::Blocks { bytes, last });
            }
            SessionsOutput::Frame { frame: Frame::Reject { request, reason }, .. } => {
                self.open.remove(&request);
                self.tell(Told::Rejected(format!("{reason:?}")));
            }
            SessionsOutput::Frame { .. } | SessionsOutput::BulkSent { .. } => {}
            SessionsOutput::Down { reason, .. } => self.tell(Told::Down(reason)),
        }
    }

    fn ask(&mut self, chunk: ChunkId, first: u16, count: u16) {
        let (Some(conn), Some(length)) = (self.worker, chunk.range_len(first, count)) else {
            return self.tell(Told::Rejected("no session, or no such blocks".into()));
        };
        self.last_request += 1;
        let request = self.last_request;
        self.open.insert(request, u64::from(length));
        self.sessions.send(conn, Frame::ChunkRequest { request, chunk, first, count });
    }

    fn tell(&mut self, told: Told) {
        self.out.push(Output::Told(told));
    }
}

impl Machine for Reader {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input) {
        self.sessions.tick(now);
        match input {
            Input::Wake => {
                self.uplink.wake(now);
                self.sessions.wake(now);
            }
            Input::Link(event) => self.uplink.event(now, event),
            Input::Rtc(event) => self.sessions.rtc(now, event),
            Input::Ask { chunk, first, count } => self.ask(chunk, first, count),
        }
        self.pump(now);
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop()
    }

    fn next_wake(&self) -> Option<Instant> {
        [self.uplink.next_wake(), self.sessions.next_wake()].into_iter().flatten().min()
    }
}
