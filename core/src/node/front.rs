//! A front: hands newcomers their worker, relays signaling, tracks swarms and steps out of the way. Here is
//! what it hears and says; what it decides is in its [`Front`].

mod budget;
mod config;
mod machine;
#[cfg(test)]
mod tests;
mod workers;

use core::net::IpAddr;

use bytes::Bytes;
use serde::Serialize;

pub use self::budget::{Budget, PerNetwork};
pub use self::config::FrontConfig;
pub use self::machine::Front;
pub use self::workers::{Enrolled, Enrolment, RosterFull, RosterOutput, WorkerRoster};
use crate::id::PeerId;

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
    /// Welcomed workers, by name.
    pub workers: Vec<WorkerStatus>,
    /// Swarms that have members.
    pub swarms: usize,
    /// Memberships in all swarms.
    pub memberships: usize,
    /// Signals handed to the client they were for.
    pub relayed: u64,
    /// Signals whose target was not here.
    pub unreachable: u64,
    /// Messages that broke a rule.
    pub faults: u64,
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
    /// Connected peers it is assigned to.
    pub assigned: usize,
}
