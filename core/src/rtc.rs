//! What a node machine asks of the WebRTC stack, and what it hears back.
//!
//! A machine names each connection with a [`ConnId`] of its own, never reused. The driver answers every
//! command for a name it does not know, or no longer knows, with silence.

use bytes::Bytes;

use crate::wire::frame::Frame;
use crate::wire::signal::IceServer;

/// A node's own name for one peer connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// To the WebRTC stack.
#[derive(Clone, Debug)]
pub enum RtcCommand {
    /// Use these STUN and TURN servers for connections made from now on, instead of those before.
    UseIceServers {
        /// As the front told; those that cannot be used are left out.
        servers: Vec<IceServer>,
    },
    /// Create a connection with one ordered, reliable data channel and describe it: [`RtcEvent::Described`].
    Offer {
        /// Its name.
        conn: ConnId,
    },
    /// Create a connection for the other side's offer and describe it: [`RtcEvent::Described`].
    Accept {
        /// Its name.
        conn: ConnId,
        /// The offer's session description.
        sdp: String,
    },
    /// The other side answered our offer.
    SetAnswer {
        /// The connection.
        conn: ConnId,
        /// The answer's session description.
        sdp: String,
    },
    /// The other side found one more way to be reached.
    AddCandidate {
        /// The connection.
        conn: ConnId,
        /// The candidate line.
        candidate: String,
    },
    /// Send a frame. Once the stack took it, [`RtcEvent::Sent`] says so.
    Send {
        /// The connection.
        conn: ConnId,
        /// The frame.
        frame: Frame,
    },
    /// Close and forget the connection. No event comes for it any more.
    Close {
        /// The connection.
        conn: ConnId,
        /// Whether the frames given before are to reach the other side first, which may take a second.
        flush: bool,
    },
}

/// From the WebRTC stack.
#[derive(Clone, Debug)]
pub enum RtcEvent {
    /// Our session description, all candidates gathered.
    Described {
        /// The connection.
        conn: ConnId,
        /// Ours.
        sdp: String,
    },
    /// The data channel is open.
    Open {
        /// The connection.
        conn: ConnId,
    },
    /// A message arrived, not yet parsed.
    Message {
        /// The connection.
        conn: ConnId,
        /// Its bytes.
        data: Bytes,
    },
    /// The stack took a frame from us; its send buffer has room again.
    Sent {
        /// The connection.
        conn: ConnId,
        /// Bytes of the encoded frame.
        bytes: u32,
    },
    /// The connection failed or was closed by the other side; it is forgotten.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why, in words.
        reason: String,
    },
}
