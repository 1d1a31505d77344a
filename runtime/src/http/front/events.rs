//! `GET /ws`: what happens at this front, as it happens, to whoever watches. One JSON object a message, with the
//! kind in `event`. Anybody may watch, so nothing here tells a client's address; nobody waits for a watcher.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::WebSocketUpgrade;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, close_code};
use kollator_core::node::front::FrontEvent;
use serde_json::json;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::http::farewell;

/// Events that a watcher may be behind.
const MAX_BEHIND: usize = 256;
/// Most watchers at a time.
const MAX_WATCHERS: usize = 64;
/// Longest wait for the network to take an event.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A watcher has nothing to say.
const MAX_MESSAGE: usize = 125;
/// tungstenite fills this much with zeros before each read.
const READ_BUFFER: usize = 256;

/// Where events begin. Its watchers are told to go when it is dropped.
#[derive(Debug)]
pub(super) struct Events(broadcast::Sender<Utf8Bytes>);

/// Where they are watched. Clones count together.
#[derive(Clone, Debug)]
pub(super) struct Watching {
    events: broadcast::WeakSender<Utf8Bytes>,
    watchers: Arc<AtomicUsize>,
}

impl Events {
    /// Events without watchers, and the place for these.
    pub(super) fn new() -> (Self, Watching) {
        let events = broadcast::Sender::new(MAX_BEHIND);
        let watching = Watching { events: events.downgrade(), watchers: Arc::default() };
        (Self(events), watching)
    }

    /// Tells it to all who watch.
    pub(super) fn tell(&self, event: &FrontEvent) {
        if self.0.receiver_count() > 0 {
            // An error says that the last watcher has just gone.
            let _ = self.0.send(text(event).into());
        }
    }
}

impl Watching {
    /// Sets the limits of a WebSocket that is to be [`Self::attend`]ed.
    pub(super) fn limit(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
        upgrade.read_buffer_size(READ_BUFFER).max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE)
    }

    /// Sends events until either side has enough.
    pub(super) async fn attend(self, mut socket: WebSocket) {
        let (code, reason) = match self.watch(&mut socket).await {
            Some(ending) => ending,
            None => return,
        };
        farewell::close(&mut socket, code, reason).await;
    }

    /// Why to close, if the watcher has not.
    async fn watch(&self, socket: &mut WebSocket) -> Option<(u16, &'static str)> {
        let _seat = match Seat::take(&self.watchers) {
            Some(seat) => seat,
            None => return Some((close_code::AGAIN, "too many are watching")),
        };
        let Some(mut events) = self.events.upgrade().map(|events| events.subscribe()) else {
            return Some((close_code::AWAY, "this front has stopped"));
        };
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => match timeout(WRITE_TIMEOUT, socket.send(Message::Text(event))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) | Err(_) => return None,
                    },
                    Err(RecvError::Lagged(_)) => return Some((close_code::POLICY, "too slow: events were missed")),
                    Err(RecvError::Closed) => return Some((close_code::AWAY, "this front has stopped")),
                },
                message = socket.recv() => match message {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                        return Some((close_code::POLICY, "a watcher has nothing to say"));
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                },
            }
        }
    }
}

/// One of the places for watchers; free again when dropped.
struct Seat<'a>(&'a AtomicUsize);

impl<'a> Seat<'a> {
    fn take(watchers: &'a AtomicUsize) -> Option<Self> {
        let free = |taken| (taken < MAX_WATCHERS).then_some(taken + 1);
        watchers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok().map(|_| Self(watchers))
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn text(event: &FrontEvent) -> String {
    match event {
        FrontEvent::WorkerUp { name } => json!({"event": "worker-up", "name": name}),
        FrontEvent::WorkerDown { name, reason } => json!({"event": "worker-down", "name": name, "reason": reason}),
        FrontEvent::WorkerHealth { name, alive } => {
            json!({"event": "worker-health", "name": name, "alive": alive})
        }
        FrontEvent::WorkerDraining { name } => json!({"event": "worker-draining", "name": name}),
        FrontEvent::Standing { role, term, leader } => {
            json!({"event": "standing", "role": role, "term": term, "leader": leader})
        }
        FrontEvent::Epoch { term, n, workers } => {
            json!({"event": "epoch", "term": term, "n": n, "workers": workers})
        }
        FrontEvent::Front { name, live } => json!({"event": "front", "name": name, "live": live}),
        FrontEvent::FrontFault { name, offence } => {
            json!({"event": "front-fault", "name": name, "offence": offence})
        }
        FrontEvent::Audit { ip: _, offence } => json!({"event": "audit", "offence": offence}),
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::Router;
    use axum::routing::get;
    use futures_util::{SinkExt, StreamExt};
    use serde_json::Value;
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use tokio::task::JoinSet;
    use tokio_tungstenite::tungstenite::Message as Theirs;
    use tokio_tungstenite::{WebSocketStream, client_async};

    use super::*;

    struct Server {
        addr: std::net::SocketAddr,
        watching: Watching,
        _tasks: JoinSet<()>,
    }

    impl Server {
        async fn start(watching: Watching) -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback");
            let addr = listener.local_addr().expect("bound");
            let shared = watching.clone();
            let watch = move |upgrade: WebSocketUpgrade| async move {
                Watching::limit(upgrade).on_upgrade(move |socket| shared.attend(socket))
            };
            let mut tasks = JoinSet::new();
            tasks.spawn(async move {
                let app = Router::new().route("/ws", get(watch));
                axum::serve(listener, app).await.expect("serves for ever");
            });
            Self { addr, watching, _tasks: tasks }
        }

        /// A watcher that is counted in.
        async fn watcher(&self) -> WebSocketStream<TcpStream> {
            let before = self.count();
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_recv_buffer_size(4096).expect("it can be small");
            let stream = socket.connect(self.addr).await.expect("listening");
            let (socket, _) = client_async(format!("ws://{}/ws", self.addr), stream).await.expect("upgraded");
            while before == self.count() {
                tokio::task::yield_now().await;
            }
            socket
        }

        fn count(&self) -> usize {
            self.watching.events.upgrade().map_or(0, |events| events.receiver_count())
        }
    }

    /// Reads on to the close frame; its reason, and how many events came before.
    async fn closing(socket: &mut WebSocketStream<TcpStream>) -> (String, usize) {
        let mut events = 0;
        loop {
            match socket.next().await {
                Some(Ok(Theirs::Close(Some(frame)))) => return (frame.reason.to_string(), events),
                Some(Ok(_)) => events += 1,
                other => panic!("no close frame: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn tells_every_watcher_what_happens_but_no_address() {
        let (events, watching) = Events::new();
        let server = Server::start(watching).await;
        let mut watchers = [server.watcher().await, server.watcher().await];
        events.tell(&FrontEvent::WorkerUp { name: "w".into() });
        events.tell(&FrontEvent::Audit { ip: [192, 0, 2, 7].into(), offence: "junk".into() });
        for watcher in &mut watchers {
            for expected in
                [json!({"event": "worker-up", "name": "w"}), json!({"event": "audit", "offence": "junk"})]
            {
                let message = watcher.next().await.expect("open").expect("open");
                let told: Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
                assert_eq!(told, expected);
            }
        }
        drop(events);
        assert_eq!(closing(&mut watchers[0]).await.0, "this front has stopped");
    }

    #[tokio::test]
    async fn a_watcher_that_talks_or_is_one_too_many_is_closed() {
        let (_events, watching) = Events::new();
        let server = Server::start(watching).await;
        let mut talker = server.watcher().await;
        talker.send(Theirs::text("hello")).await.expect("open");
        assert_eq!(closing(&mut talker).await.0, "a watcher has nothing to say");
        server.watching.watchers.store(MAX_WATCHERS, Ordering::Relaxed);
        let stream = TcpStream::connect(server.addr).await.expect("listening");
        let (mut late, _) = client_async(format!("ws://{}/ws", server.addr), stream).await.expect("upgraded");
        assert_eq!(closing(&mut late).await.0, "too many are watching");
        assert_eq!(server.watching.watchers.load(Ordering::Relaxed), MAX_WATCHERS);
    }

    #[tokio::test]
    async fn a_slow_watcher_is_cut_and_nobody_waits_for_it() {
        let (events, watching) = Events::new();
        let server = Server::start(watching).await;
        let mut slow = server.watcher().await;
        let event = FrontEvent::WorkerUp { name: "w".repeat(64) };
        // Nothing is read meanwhile: this task does not wait.
        (0..=MAX_BEHIND).for_each(|_| events.tell(&event));
        let (reason, told) = closing(&mut slow).await;
        assert_eq!((reason.as_str(), told), ("too slow: events were missed", 0));
    }
}
