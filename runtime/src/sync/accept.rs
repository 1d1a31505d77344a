//! The connections that other fronts open: proven, then only read. One of each front at a time, and the newest is
//! the one that counts.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::WebSocketUpgrade;
use axum::extract::ws::{Message, WebSocket, close_code};
use bytes::Bytes;
use kollator_core::auth::SharedKey;
use kollator_core::cluster::FrontId;
use kollator_core::cluster::channel::{AuthedReceiver, Challenger, MAX_SEALED};
use kollator_core::cluster::roster::Roster;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{SETUP_TIMEOUT, SILENCE, SyncEvent, nonce};
use crate::event::{EventSink, Lease, Stopped};
use crate::http::farewell::close;

/// Most handshakes at a time: anybody can begin one.
const MAX_HANDSHAKES: usize = 64;
/// tungstenite fills this much with zeros before each read.
const READ_BUFFER: usize = 16 * 1024;

/// Accepts the other fronts.
pub struct Acceptor {
    key: SharedKey,
    roster: Roster,
    sink: EventSink<SyncEvent>,
    handshakes: Semaphore,
    refused: AtomicU64,
    /// `None` once closed.
    accepted: Mutex<Option<BTreeMap<FrontId, Accepted>>>,
}

/// The one connection of a front.
struct Accepted {
    lease: Lease,
    /// Dropped to end it.
    _stop: oneshot::Sender<Infallible>,
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.lease.revoke();
    }
}

/// Why a connection ends.
enum Ending {
    /// It, or what came on it, is refused.
    Refused(String),
    /// The other side closed, or the connection is lost.
    Lost(String),
    /// A newer one took its place, or the front is shutting down.
    Stopped,
}

impl From<Stopped> for Ending {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Acceptor {
    /// Accepts the fronts of `roster` that hold `key`; what they say goes to `sink`.
    #[must_use]
    pub const fn new(key: SharedKey, roster: Roster, sink: EventSink<SyncEvent>) -> Self {
        Self {
            key,
            roster,
            sink,
            handshakes: Semaphore::const_new(MAX_HANDSHAKES),
            refused: AtomicU64::new(0),
            accepted: Mutex::new(Some(BTreeMap::new())),
        }
    }

    /// Sets the limits of a WebSocket that is to be [`Self::attend`]ed.
    pub fn limit<F>(upgrade: WebSocketUpgrade<F>) -> WebSocketUpgrade<F> {
        upgrade.read_buffer_size(READ_BUFFER).max_message_size(MAX_SEALED).max_frame_size(MAX_SEALED)
    }

    /// Connections refused so far: those that could not prove themselves, and those on which a message could not.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Ends all connections, and every one that is accepted from now on.
    pub fn close(&self) {
        self.with(|accepted| *accepted = None);
    }

    /// Serves a connection that somebody at `remote` opened, until it ends.
    pub async fn attend(&self, mut socket: WebSocket, remote: SocketAddr) {
        match self.serve(&mut socket, remote).await {
            Ending::Refused(reason) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                warn!(target: "kollator::audit", %remote, reason, "refused a connection between fronts");
                close(&mut socket, close_code::POLICY, &reason).await;
            }
            Ending::Lost(reason) => info!(%remote, reason, "a connection between fronts ended"),
            Ending::Stopped => close(&mut socket, close_code::AWAY, "another connection took its place").await,
        }
    }

    async fn serve(&self, socket: &mut WebSocket, remote: SocketAddr) -> Ending {
        let receiver = match self.handshake(socket).await {
            Ok(receiver) => receiver,
            Err(ending) => return ending,
        };
        let front = receiver.from();
        info!(front = self.roster.name(front), %remote, "accepted a front");
        let (sink, lease) = self.sink.leased();
        let (stop, stopped) = oneshot::channel();
        let mine = Accepted { lease: lease.clone(), _stop: stop };
        match self.with(|all| all.as_mut().map(|all| all.insert(front, mine).is_some())) {
            Some(false) => {}
            Some(true) => {
                warn!(front = self.roster.name(front), %remote, "a newer connection of a front replaces one")
            }
            None => return Ending::Stopped,
        }
        let ending = tokio::select! {
            ending = read(socket, receiver, &sink) => ending,
            _ = stopped => Ending::Stopped,
        };
        if !lease.is_revoked() {
            self.with(|all| all.as_mut().map(|all| all.remove(&front)));
        }
        ending
    }

    async fn handshake(&self, socket: &mut WebSocket) -> Result<AuthedReceiver, Ending> {
        let Ok(_permit) = self.handshakes.try_acquire() else {
            return Err(Ending::Refused(format!("{MAX_HANDSHAKES} others are being accepted already")));
        };
        timeout(SETUP_TIMEOUT, self.shake(socket))
            .await
            .unwrap_or_else(|_| Err(Ending::Refused(format!("no handshake within {SETUP_TIMEOUT:?}"))))
    }

    async fn shake(&self, socket: &mut WebSocket) -> Result<AuthedReceiver, Ending> {
        let (challenger, challenge) = Challenger::new(self.key.clone(), self.roster.clone(), nonce());
        send(socket, challenge).await?;
        let hello = hear(socket).await?;
        let (receiver, accept) =
            challenger.accept(&hello).map_err(|refusal| Ending::Refused(refusal.to_string()))?;
        send(socket, accept).await?;
        Ok(receiver)
    }

    fn with<R>(&self, f: impl FnOnce(&mut Option<BTreeMap<FrontId, Accepted>>) -> R) -> R {
        f(&mut self.accepted.lock().expect("no holder of this lock can panic"))
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("roster", &self.roster).finish_non_exhaustive()
    }
}

/// Hands over what the front says until the connection ends.
async fn read(socket: &mut WebSocket, mut receiver: AuthedReceiver, sink: &EventSink<SyncEvent>) -> Ending {
    let front = receiver.from();
    let messages = async {
        loop {
            let sealed = timeout(SILENCE, hear(socket))
                .await
                .map_err(|_| Ending::Lost(format!("it was silent for {SILENCE:?}")))??;
            let data = receiver.open(&sealed).map_err(|refusal| Ending::Refused(refusal.to_string()))?;
            sink.send(SyncEvent::Message { front, data }).await?;
        }
    };
    let result: Result<Infallible, Ending> = messages.await;
    match result {
        Ok(never) => match never {},
        Err(ending) => ending,
    }
}

/// The next binary message.
async fn hear(socket: &mut WebSocket) -> Result<Bytes, Ending> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Binary(message))) => return Ok(message),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Text(_))) => return Err(Ending::Refused("messages are binary".to_owned())),
            Some(Ok(Message::Close(Some(frame)))) if !frame.reason.is_empty() => {
                return Err(Ending::Lost(format!("it closed: {}", frame.reason)));
            }
            Some(Ok(Message::Close(_))) | None => return Err(Ending::Lost("it closed".to_owned())),
            Some(Err(error)) => return Err(Ending::Lost(error.to_string())),
        }
    }
}

async fn send(socket: &mut WebSocket, message: Bytes) -> Result<(), Ending> {
    socket.send(Message::Binary(message)).await.map_err(|error| Ending::Lost(error.to_string()))
}
