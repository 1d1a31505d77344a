//! The connection to one other front: dialled, proven, written to, and dialled again for ever.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use kollator_core::auth::SharedKey;
use kollator_core::cluster::FrontId;
use kollator_core::cluster::channel::{AuthedSender, Dialler, MAX_HANDSHAKE};
use kollator_core::cluster::roster::Roster;
use kollator_core::machine::Rng;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tracing::{info, warn};

use super::queue::{MAX_BYTES, Queue};
use super::{PATH, SETUP_TIMEOUT, SILENCE, SyncEvent, nonce};
use crate::event::{EventSink, Stopped};
use crate::link::FrontUrl;
use crate::net::Net;
use crate::net::tls::{self, Stream};

/// The other side only reads, so it is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Longest pause after the first failure, and after any.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A connection that was open for less than this counts as a failure: else two fronts that refuse what the other
/// says would dial without a pause.
const STEADY: Duration = Duration::from_secs(1);
/// Nothing long comes: two messages of the handshake, answers to pings, a close frame.
const READ_BUFFER: usize = 1024;
/// Messages are put together before they are handed to the network.
const WRITE_BUFFER: usize = 64 * 1024;

/// Everything that one connection needs.
pub(super) struct Link<N> {
    pub(super) net: N,
    pub(super) key: SharedKey,
    pub(super) roster: Roster,
    pub(super) front: FrontId,
    pub(super) url: FrontUrl,
    pub(super) queue: Arc<Queue>,
    pub(super) sink: EventSink<SyncEvent>,
}

type Socket<S> = WebSocketStream<Stream<S>>;

impl<N: Net> Link<N> {
    /// Dials until nobody listens to the events any more.
    pub(super) async fn run(self) {
        let mut rng = Rng::new(getrandom::u64().expect("the operating system gives random numbers"));
        let mut failures: u32 = 0;
        // A front that stays away is told once, not with every try.
        let mut told = String::new();
        loop {
            match self.connect().await {
                Ok((socket, sender)) => {
                    let since = Instant::now();
                    let Ok(reason) = self.attend(socket, sender).await else { return };
                    let steady = since.elapsed() >= STEADY;
                    failures = if steady { 0 } else { failures + 1 };
                    told = reason;
                }
                Err(reason) => {
                    failures += 1;
                    if reason != told {
                        warn!(front = self.name(), url = %self.url, reason, "cannot reach a front");
                        told = reason;
                    }
                }
            }
            sleep(pause(failures, &mut rng)).await;
        }
    }

    fn name(&self) -> &str {
        self.roster.name(self.front)
    }

    async fn connect(&self) -> Result<(Socket<N::Stream>, AuthedSender), String> {
        let late = |_| format!("no answer within {SETUP_TIMEOUT:?}");
        let mut socket = timeout(SETUP_TIMEOUT, self.open()).await.map_err(late)??;
        let sender = timeout(SETUP_TIMEOUT, self.shake(&mut socket)).await.map_err(late)??;
        Ok((socket, sender))
    }

    async fn open(&self) -> Result<Socket<N::Stream>, String> {
        let origin = self.url.origin();
        let stream = tls::connect(&self.net, origin).await.map_err(|error| error.to_string())?;
        let url = format!("{}://{}{PATH}", if origin.secure { "wss" } else { "ws" }, origin.authority());
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(MAX_HANDSHAKE))
            .max_frame_size(Some(MAX_HANDSHAKE));
        let (socket, _) =
            client_async_with_config(url, stream, Some(config)).await.map_err(|error| error.to_string())?;
        Ok(socket)
    }

    async fn shake(&self, socket: &mut Socket<N::Stream>) -> Result<AuthedSender, String> {
        let dialler = Dialler::new(self.key.clone(), self.roster.clone(), self.front, nonce());
        let challenge = hear(socket).await?;
        let (proven, hello) = dialler.answer(&challenge).map_err(|refusal| refusal.to_string())?;
        socket.send(Message::Binary(hello)).await.map_err(|error| error.to_string())?;
        proven.finish(&hear(socket).await?).map_err(|refusal| refusal.to_string())
    }

    /// Keeps an open connection until it ends; says why it did.
    async fn attend(&self, socket: Socket<N::Stream>, sender: AuthedSender) -> Result<String, Stopped> {
        let front = self.front;
        info!(front = self.name(), url = %self.url, "connected to a front");
        self.queue.open();
        self.sink.send(SyncEvent::Up { front }).await?;
        let reason = talk(socket, sender, &self.queue).await;
        self.queue.close();
        warn!(front = self.name(), reason, "lost a front");
        self.sink.send(SyncEvent::Down { front, reason: reason.clone() }).await?;
        Ok(reason)
    }
}

/// The next message of the handshake.
async fn hear<S>(socket: &mut WebSocketStream<S>) -> Result<Bytes, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(message))) => return Ok(message),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => return Err(ending(other)),
        }
    }
}

/// Writes what waits and listens for signs of life, until either fails; says why.
async fn talk<S>(socket: WebSocketStream<S>, mut sender: AuthedSender, queue: &Queue) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut writer, mut reader) = socket.split();
    let write = async {
        let mut pings = interval(PING_EVERY);
        loop {
            tokio::select! {
                messages = queue.take() => {
                    for message in messages {
                        writer.feed(Message::Binary(sender.seal(&message))).await?;
                    }
                }
                _ = pings.tick() => writer.feed(Message::Ping(Bytes::new())).await?,
            }
            writer.flush().await?;
        }
    };
    let write = async {
        let result: Result<Infallible, Error> = write.await;
        match result {
            Ok(never) => match never {},
            Err(error) => format!("cannot write to it: {error}"),
        }
    };
    let read = async {
        loop {
            match timeout(SILENCE, reader.next()).await {
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Ok(other) => return ending(other),
                Err(_) => return format!("it was silent for {SILENCE:?}"),
            }
        }
    };
    tokio::select! {
        reason = write => reason,
        reason = read => reason,
        () = queue.overflown() => format!("it does not read: more than {MAX_BYTES} bytes wait"),
    }
}

/// What a message means that is not the one hoped for.
fn ending(message: Option<Result<Message, Error>>) -> String {
    match message {
        Some(Ok(Message::Close(Some(frame)))) if !frame.reason.is_empty() => {
            format!("it closed: {}", frame.reason)
        }
        Some(Ok(Message::Close(_))) | None => "it closed".to_owned(),
        Some(Ok(_)) => "it said what has no place on this connection".to_owned(),
        Some(Err(error)) => error.to_string(),
    }
}

/// How long to wait after so many failures: none at first, then random, so that fronts do not dial in step.
fn pause(failures: u32, rng: &mut Rng) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let (first, longest) = BACKOFF;
    let most = first.saturating_mul(1 << (failures - 1).min(16)).min(longest);
    let millis = u64::try_from(most.as_millis()).expect("at most a second");
    Duration::from_millis(millis / 2 + rng.next_u64() % (millis / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second_and_differ() {
        let mut rng = Rng::new(1);
        assert_eq!(pause(0, &mut rng), Duration::ZERO);
        for (failures, most) in [(1, 50), (2, 100), (5, 800), (6, 1000), (u32::MAX, 1000)] {
            let pauses: Vec<_> = (0..100).map(|_| pause(failures, &mut rng).as_millis()).collect();
            assert!(pauses.iter().all(|pause| (most / 2..=most).contains(pause)), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}
