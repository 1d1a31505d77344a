//! Peer connections behind a trait: what a node machine commands, and how its events come back.
//!
//! Nothing here parses a frame or judges a peer. What a remote sends in a session description or a candidate
//! is handed to the WebRTC stack; what the stack refuses becomes a `Closed` event with the reason.

mod connection;
mod socket;
#[cfg(test)]
mod tests;
mod webrtc;

use futures_util::future::BoxFuture;
use kollator_core::rtc::RtcCommand;

pub use self::webrtc::{BadIceServer, Binding, RtcConfig, WebRtc};

/// Carries out a machine's [`RtcCommand`]s. Events go to the `EventSink<RtcEvent>` it was made with.
///
/// A trait, so that a test can stand between a machine and the real thing.
pub trait Transport: Send {
    /// Begins to carry out `command` and returns at once.
    fn execute(&mut self, command: RtcCommand);

    /// Ready once no connection is left: each one was closed, has sent what it could (for at most a second)
    /// and has freed its sockets. To be awaited before a process exits.
    fn idle(&self) -> BoxFuture<'static, ()>;
}
