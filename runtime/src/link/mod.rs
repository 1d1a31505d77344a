//! The WebSocket from a peer or worker to its front: carries text both ways and says when it is up or down.
//! Which front, when to try again and what the text means is the machine's business.

#[cfg(test)]
mod tests;
mod url;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use kollator_core::node::io::{LinkCommand, LinkEvent};
use kollator_core::wire::signal::MAX_MESSAGE;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

pub use self::url::FrontUrl;
use crate::event::{EventSink, Lease};
use crate::net::Net;
use crate::net::tls::{self, Stream};

/// Longest wait for a connection, TLS and the WebSocket's upgrade together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages waiting to be written before the link counts as stuck.
const MAX_QUEUED: usize = 256;
/// tungstenite fills this much with zeros before each read.
const READ_BUFFER: usize = 4096;

/// Carries out a machine's [`LinkCommand`]s.
#[derive(Debug)]
pub struct Link<N: Net> {
    net: N,
    fronts: Arc<[FrontUrl]>,
    sink: EventSink<LinkEvent>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    queue: mpsc::Sender<String>,
    lease: Lease,
    task: JoinHandle<()>,
}

impl Drop for Current {
    fn drop(&mut self) {
        self.lease.revoke();
        self.task.abort();
    }
}

impl<N: Net> Link<N> {
    /// A link that is down, to one of `fronts` at a time.
    pub fn new(net: N, fronts: Vec<FrontUrl>, sink: EventSink<LinkEvent>) -> Self {
        Self { net, fronts: fronts.into(), sink, current: None }
    }

    /// Begins to carry out `command` and returns at once.
    ///
    /// # Panics
    /// If it names a front outside the list.
    pub fn execute(&mut self, command: LinkCommand) {
        match command {
            LinkCommand::Connect { front } => self.connect(front),
            LinkCommand::Send { text } => self.send(text),
        }
    }

    fn connect(&mut self, front: usize) {
        // The old one falls silent before the new one begins.
        self.current = None;
        let (sink, lease) = self.sink.leased();
        let (queue, messages) = mpsc::channel(MAX_QUEUED);
        let (net, fronts) = (self.net.clone(), self.fronts.clone());
        let task = tokio::spawn(async move {
            let reason = match timeout(CONNECT_TIMEOUT, open(&net, &fronts[front])).await {
                Ok(Ok(socket)) => talk(socket, messages, &sink).await,
                Ok(Err(reason)) => reason,
                Err(_) => format!("{} did not answer within {CONNECT_TIMEOUT:?}", fronts[front]),
            };
            // An error says that the machine has stopped.
            let _ = sink.send(LinkEvent::Down { reason }).await;
        });
        self.current = Some(Current { queue, lease, task });
    }

    fn send(&mut self, text: String) {
        let Some(current) = &self.current else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = current.queue.try_send(text) {
            self.current = None;
            let sink = self.sink.clone();
            tokio::spawn(async move {
                let reason = format!("the front does not read: {MAX_QUEUED} messages wait");
                let _ = sink.send(LinkEvent::Down { reason }).await;
            });
        }
    }
}

type Socket<S> = WebSocketStream<Stream<S>>;

async fn open<N: Net>(net: &N, front: &FrontUrl) -> Result<Socket<N::Stream>, String> {
    let stream =
        tls::connect(net, front.origin()).await.map_err(|error| format!("cannot connect to {front}: {error}"))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    client_async_with_config(front.signaling(), stream, Some(config))
        .await
        .map(|(socket, _)| socket)
        .map_err(|error| format!("{front} refused the connection: {error}"))
}

/// Carries messages both ways until one way ends; says why.
async fn talk<S>(
    socket: WebSocketStream<S>,
    mut queue: mpsc::Receiver<String>,
    sink: &EventSink<LinkEvent>,
) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut writer, mut reader) = socket.split();
    let write = async {
        while let Some(text) = queue.recv().await {
            if let Err(error) = writer.send(Message::text(text)).await {
                return format!("cannot write to the front: {error}");
            }
        }
        "given up".to_owned()
    };
    let read = async {
        if sink.send(LinkEvent::Up).await.is_err() {
            return "the machine has stopped".to_owned();
        }
        while let Some(message) = reader.next().await {
            match message {
                Ok(Message::Text(text)) => {
                    let text = Bytes::from(text);
                    if sink.send(LinkEvent::Message { text }).await.is_err() {
                        return "the machine has stopped".to_owned();
                    }
                }
                Ok(Message::Close(frame)) => {
                    return frame.filter(|frame| !frame.reason.is_empty()).map_or_else(
                        || "the front closed".to_owned(),
                        |frame| format!("the front closed: {}", frame.reason),
                    );
                }
                Ok(Message::Binary(_)) => return "the front sent binary data".to_owned(),
                Ok(_) => {}
                Err(error) => return format!("lost the front: {error}"),
            }
        }
        "lost the front".to_owned()
    };
    tokio::select! {
        reason = read => reason,
        reason = write => reason,
    }
}
