//! A front: hands newcomers their worker, relays signaling, tracks swarms and steps out of the way.

use std::net::IpAddr;

use bytes::Bytes;

use crate::node::io::Ticket;
use crate::wire::signal::Bootstrap;

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
    /// `POST /bootstrap`: answered at once by [`FrontOutput::Bootstrap`].
    Bootstrap {
        /// Returned in the answer.
        ticket: Ticket,
        /// Where from.
        ip: IpAddr,
    },
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
    /// The answer to [`FrontInput::Bootstrap`].
    Bootstrap {
        /// Of the input.
        ticket: Ticket,
        /// The body.
        bootstrap: Bootstrap,
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
