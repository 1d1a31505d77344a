//! A front: hands newcomers their worker, relays signaling, tracks swarms and steps out of the way. Here is
//! what it hears and says; what it decides is in its [`Front`].

mod assign;
mod budget;
mod cluster;
mod config;
mod machine;
mod neighbours;
#[cfg(test)]
mod tests;
mod workers;

use core::net::IpAddr;

use bytes::Bytes;
use serde::Serialize;

pub use self::budget::{Budget, PerNetwork};
pub use self::config::{ClusterConfig, FrontConfig};
pub use self::machine::Front;
pub use self::workers::{Enrolled, Enrolment, RosterFull, RosterOutput, WorkerRoster};
use crate::cluster::FrontId;
use crate::cluster::saved::{Record, Saved};
use crate::id::PeerId;
use crate::node::io::Ticket;

/// A front's own name for one WebSocket, chosen by the driver, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// What can happen to a front.
#[derive(Clone, Debug)]
pub enum FrontInput {
    /// Time passed.
    Wake,
    /// A WebSocket to `/signaling` opened.
    Connected {
        /// Its name.
        client: ClientId,
        /// Where from.
        ip: IpAddr,
    },
    /// A message arrived on it, not yet parsed.
    Message {
        /// The WebSocket.
        client: ClientId,
        /// Its bytes.
        text: Bytes,
    },
    /// It closed; nothing more comes from it.
    Disconnected {
        /// The WebSocket.
        client: ClientId,
    },
    /// The wall clock. To be told every minute or so: clocks are set while a front runs, and a worker's proof
    /// is judged by it.
    Clock {
        /// Unix milliseconds.
        unix_ms: u64,
    },
    /// Our connection to another front is open: what we send to it now arrives in order, or not at all.
    PeerUp {
        /// Which front.
        front: FrontId,
    },
    /// Our connection to another front is gone.
    PeerDown {
        /// Which front.
        front: FrontId,
    },
    /// Another front sent a message, on a connection that proved to be its own.
    PeerMessage {
        /// Which front.
        front: FrontId,
        /// The message, not yet parsed.
        data: Bytes,
    },
    /// What [`FrontOutput::Persist`] asked for is on disk for good.
    Persisted {
        /// Of the output.
        ticket: Ticket,
    },
    /// Close every WebSocket and turn newcomers away from now on.
    Shutdown,
}

/// What a front wants done.
#[derive(Clone, Debug)]
pub enum FrontOutput {
    /// Send a message.
    Send {
        /// The WebSocket.
        client: ClientId,
        /// JSON text.
        text: String,
    },
    /// Close a WebSocket after what was sent before; no [`FrontInput::Disconnected`] is needed for it.
    Close {
        /// The WebSocket.
        client: ClientId,
        /// Why, for the log and the close frame.
        reason: String,
    },
    /// Send a message to another front; if there is no connection, drop it.
    PeerSend {
        /// Which front.
        front: FrontId,
        /// The message.
        data: Bytes,
    },
    /// Put this on disk for good, then answer [`FrontInput::Persisted`].
    Persist {
        /// Returned in the answer.
        ticket: Ticket,
        /// What.
        record: Record,
    },
    /// Keep this for the next start, when it is convenient. No answer.
    Save(Vec<Saved>),
    /// For the log.
    Event(FrontEvent),
}

/// What a front tells its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontEvent {
    /// A worker is counted in.
    WorkerUp {
        /// Its name.
        name: String,
    },
    /// A worker of this front does not answer, or does again.
    WorkerHealth {
        /// Its name.
        name: String,
        /// Whether clients can be given it.
        alive: bool,
    },
    /// A worker of this front takes no new clients any more.
    WorkerDraining {
        /// Its name.
        name: String,
    },
    /// This front's part among the fronts changed.
    Standing {
        /// What it is.
        role: Role,
        /// In which term.
        term: u64,
        /// Name of the leader, if one is known.
        leader: Option<String>,
    },
    /// A new epoch rules the ring.
    Epoch {
        /// The term of the leader that published it.
        term: u64,
        /// Its number in that term.
        n: u64,
        /// How many workers it has.
        workers: usize,
    },
    /// Another front came within hearing, or fell silent.
    Front {
        /// Its name.
        name: String,
        /// Whether it is heard.
        live: bool,
    },
    /// Another front broke the protocol; what it said is dropped.
    FrontFault {
        /// Its name.
        name: String,
        /// What it did.
        offence: String,
    },
    /// A worker is gone; its share of the ring moved.
    WorkerDown {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A security event: someone broke the protocol or failed to prove who it is.
    Audit {
        /// Where from.
        ip: IpAddr,
        /// What it did.
        offence: String,
    },
}

/// How a front stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FrontStatus {
    /// WebSockets, welcomed or not.
    pub clients: usize,
    /// Welcomed peers.
    pub peers: usize,
    /// The workers of all fronts, by name.
    pub workers: Vec<WorkerStatus>,
    /// Swarms that have members.
    pub swarms: usize,
    /// Memberships in all swarms.
    pub memberships: usize,
    /// Signals handed to the client they were for.
    pub relayed: u64,
    /// Signals passed on to the front of the client they were for.
    pub forwarded: u64,
    /// Signals whose target was not here.
    pub unreachable: u64,
    /// Messages that broke a rule.
    pub faults: u64,
    /// Workers that could not prove what they are, or came from where none may.
    pub workers_refused: u64,
    /// Clients that were given another worker because theirs had no room for them.
    pub turned_away: u64,
    /// How it stands among the fronts.
    pub cluster: ClusterStatus,
}

/// How a front stands among the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// Its name.
    pub name: String,
    /// Its part.
    pub role: Role,
    /// The newest term it knows.
    pub term: u64,
    /// Name of the leader of that term, if it knows one.
    pub leader: Option<String>,
    /// Whether it is in touch with a majority: as leader by answers, as follower through the leader.
    pub quorum: bool,
    /// The epoch it goes by: term and number.
    pub epoch: (u64, u64),
    /// Workers that its clients can be given.
    pub usable_workers: usize,
    /// Rows that it knows, those of other fronts included.
    pub rows: usize,
    /// Messages of other fronts that broke a rule.
    pub faults: u64,
    /// The other fronts.
    pub peers: Vec<PeerFrontStatus>,
}

/// How another front looks from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerFrontStatus {
    /// Its name.
    pub name: String,
    /// Whether we can send to it.
    pub connected: bool,
    /// Milliseconds since it was heard last; absent if it never was.
    pub heard_ms_ago: Option<u64>,
    /// Changes of ours that it has not yet said to know.
    pub behind: u64,
}

/// A front's part in the leadership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It publishes epochs.
    Leader,
    /// It goes by what the leader publishes.
    #[default]
    Follower,
    /// It asks for votes.
    Candidate,
}

/// How a worker stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerStatus {
    /// Its name in the ring.
    pub name: String,
    /// Its share of the ring.
    pub capacity: u16,
    /// Where it serves HTTP.
    pub http: String,
    /// Whom to signal.
    pub peer: PeerId,
    /// Where it stands; empty if it does not say.
    pub region: String,
    /// Name of the front it is connected to.
    pub front: String,
    /// Whether clients can be given it.
    pub alive: bool,
    /// Whether it takes no new clients.
    pub draining: bool,
    /// How much of what it can do is being done, in percent, as it says; at 100 it turns newcomers away.
    pub load: u8,
    /// Peers of this front it is assigned to.
    pub assigned: usize,
}
