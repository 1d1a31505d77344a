//! The server over real sockets on loopback, with clients that keep the protocol and clients that do not.

use std::net::Ipv4Addr;

use axum::serve::Listener as _;
use futures_util::{SinkExt, StreamExt};
use kollator_core::auth::SharedKey;
use kollator_core::id::{Digest, PeerId};
use kollator_core::node::front::FrontConfig;
use kollator_core::wire::signal::{
    Bootstrap, FromFront, MAX_MESSAGE, Role, Signal, ToFront, VERSION, WorkerHello,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;
use crate::blocking::Blocking;
use crate::net::http::{Limits, get, post_json};
use crate::net::{Net, TokioNet};

struct Server {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

fn key() -> SharedKey {
    SharedKey::new(b"a key for testing").expect("long enough")
}

impl Server {
    async fn start() -> Self {
        Self::with(Surroundings::alone(TokioNet, key(), system_clock)).await
    }

    async fn with(around: Surroundings<TokioNet>) -> Self {
        let listener = TokioNet.bind((Ipv4Addr::LOCALHOST, 0).into()).await.expect("loopback");
        let addr = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let mut config = FrontConfig::new(key(), system_clock(), 1);
        config.messages.burst = 10_000;
        let front = Front::new(config);
        let task = tokio::spawn(serve(listener, front, around, async {
            stopped.await.expect("told");
        }));
        Self { addr, stop, task }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.addr);
        let response = get(&TokioNet, &url, Limits::default()).await.expect("answered");
        (response.status, String::from_utf8(response.body.to_vec()).expect("text"))
    }

    /// The value of one line of the metrics.
    async fn metric(&self, name: &str) -> u64 {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200);
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("kollator_front_")?.split_once(' '));
        let (_, value) = lines.find(|(found, _)| *found == name).expect("it is there");
        value.parse().expect("a number")
    }

    async fn client(&self) -> Client {
        self.client_on(TcpSocket::new_v4().expect("a socket")).await
    }

    async fn client_on(&self, socket: TcpSocket) -> Client {
        let stream = socket.connect(self.addr).await.expect("listening");
        stream.set_nodelay(true).expect("connected");
        let url = format!("ws://{}/signaling", self.addr);
        Client(client_async(url, stream).await.expect("upgraded").0)
    }

    async fn peer(&self, n: u8) -> Client {
        self.client().await.greet(n).await
    }

    async fn worker(&self, n: u8, name: &str) -> Client {
        let mut client = self.client().await;
        let role = Role::Worker(worker_hello(name));
        client.say(&ToFront::Hello { version: VERSION, id: peer(n), role }).await;
        assert!(matches!(client.hear().await, FromFront::Welcome(_)));
        client
    }
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn greet(mut self, n: u8) -> Self {
        self.say(&ToFront::Hello { version: VERSION, id: peer(n), role: Role::Peer {} }).await;
        assert!(matches!(self.hear().await, FromFront::Welcome(_)));
        self
    }

    async fn say(&mut self, message: &ToFront) {
        self.0.send(Message::text(message.to_text())).await.expect("open");
    }

    async fn hear(&mut self) -> FromFront {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => FromFront::parse(text.as_bytes()).expect("the protocol"),
            other => panic!("no message: {other:?}"),
        }
    }

    /// Reads on to the close frame; its reason.
    async fn closing(&mut self) -> String {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.reason.to_string(),
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }
}

fn worker_hello(name: &str) -> WorkerHello {
    let timestamp_ms = system_clock();
    WorkerHello {
        name: name.to_owned(),
        capacity: 100,
        http: "http://127.0.0.1:9".to_owned(),
        region: String::new(),
        timestamp_ms,
        mac: key().token(name, timestamp_ms),
    }
}

fn peer(n: u8) -> PeerId {
    PeerId(Digest([n; 32]))
}

#[tokio::test]
async fn pages_tell_how_the_front_stands() {
    let server = Server::start().await;
    let (status, page) = server.get("/").await;
    assert_eq!((status, page.contains("Kollator")), (200, true));
    let _worker = server.worker(9, "w1").await;
    let _peer = server.peer(1).await;

    let (_, health) = server.get("/health").await;
    let health: Value = serde_json::from_str(&health).expect("JSON");
    // It is alone, so it leads and has published its worker.
    let expected = serde_json::json!({"status": "ok", "clients": 2, "workers": 1, "name": "front-1",
        "role": "leader", "term": 1, "leader": "front-1", "epoch": [1, 1], "quorum": true, "fronts": []});
    assert_eq!(health, expected);

    let (_, workers) = server.get("/workers").await;
    let workers: Value = serde_json::from_str(&workers).expect("JSON");
    let id = peer(9).to_string();
    let expected = serde_json::json!([{"name": "w1", "capacity": 100, "http": "http://127.0.0.1:9",
        "peer": id, "region": "", "front": "front-1", "alive": true, "draining": false, "load": 0, "assigned": 1}]);
    assert_eq!(workers, expected);

    let url = format!("http://{}/bootstrap", server.addr);
    let response = post_json(&TokioNet, &url, "{}".to_owned(), Limits::default()).await.expect("answered");
    let bootstrap = Bootstrap::parse(&response.body).expect("a bootstrap");
    assert_eq!(bootstrap.worker.map(|worker| worker.name).as_deref(), Some("w1"));

    let (_, metrics) = server.get("/metrics").await;
    assert!(metrics.contains("\nkollator_front_workers 1\n"), "{metrics}");
    assert!(metrics.contains("\nkollator_front_worker_assigned{worker=\"w1\"} 1\n"), "{metrics}");

    assert_eq!(server.get("/nothing").await.0, 404);
    assert_eq!(server.get("/bootstrap").await.0, 405);
}

#[tokio::test]
async fn who_asks_too_often_is_told_to_wait_and_nobody_else_is() {
    let burst = 20;
    let requests = Budget { burst, interval: Duration::from_secs(3600) };
    let server =
        Server::with(Surroundings { requests, ..Surroundings::alone(TokioNet, key(), system_clock) }).await;
    let mut client = server.peer(1).await;
    for _ in 1..burst {
        assert_eq!(server.get("/health").await.0, 200);
    }
    for path in ["/health", "/bootstrap", "/worker-sync", "/ws", "/signaling"] {
        assert_eq!(server.get(path).await, (429, "too many requests from your address\n".to_owned()));
    }
    // The app's files are counted apart.
    assert_eq!(server.get("/").await.0, 200);
    assert_eq!(server.get("/nothing").await.0, 404);
    // What is open goes on.
    client.say(&ToFront::Ping {}).await;
    assert_eq!(client.hear().await, FromFront::Pong {});
    // Another address has a budget of its own.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.2:0".parse().expect("an address")).expect("loopback");
    let mut stream = socket.connect(server.addr).await.expect("listening");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\nkollator_front_requests_refused_total 5\n"));
}

#[tokio::test]
async fn the_app_is_served_until_an_address_asks_too_often_even_for_that() {
    let pages = Pages::new(&[("index.html", b"<!doctype html>the app"), ("assets/app-1a2b.js", b"run()")]);
    let server = Server::with(Surroundings { pages, ..Surroundings::alone(TokioNet, key(), system_clock) }).await;
    assert_eq!(server.get("/").await, (200, "<!doctype html>the app".to_owned()));
    assert_eq!(server.get("/assets/app-1a2b.js?x=1").await, (200, "run()".to_owned()));
    assert_eq!(server.get("/_share/0/film.webm").await.0, 404);
    let mut stream = TcpStream::connect(server.addr).await.expect("listening");
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.contains("\r\ncontent-length: 22\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");

    let mut served = 0;
    while server.get("/").await.0 == 200 {
        served += 1;
        assert!(served < 20 * REQUESTS.burst, "an address may take pages without end");
    }
    assert!(served > REQUESTS.burst / 2, "{served}");
    // What the app asks next is answered.
    assert_eq!(server.get("/health").await.0, 200);
    assert_eq!(server.metric("requests_refused_total").await, 1);
}

#[tokio::test]
async fn whoever_is_refused_is_counted() {
    let server = Server::start().await;
    let names = ["workers_refused_total", "fronts_refused_total", "faults_total", "state_lost"];
    for name in names {
        assert_eq!(server.metric(name).await, 0, "{name}");
    }
    let mut worker = server.client().await;
    let other = SharedKey::new(b"some other network's").expect("long enough");
    let hello = WorkerHello { mac: other.token("w1", system_clock()), ..worker_hello("w1") };
    worker.say(&ToFront::Hello { version: VERSION, id: peer(1), role: Role::Worker(hello) }).await;
    assert!(matches!(worker.hear().await, FromFront::Error { .. }));
    assert_eq!(worker.closing().await, "the proof does not match the shared key");

    let stream = TcpStream::connect(server.addr).await.expect("listening");
    let url = format!("ws://{}{}", server.addr, sync::PATH);
    let mut front = Client(client_async(url, stream).await.expect("upgraded").0);
    front.0.send(Message::binary(b"junk".to_vec())).await.expect("open");
    while !matches!(front.0.next().await, Some(Ok(Message::Close(_)))) {}
    for (name, count) in names.into_iter().zip([1, 1, 1, 0]) {
        assert_eq!(server.metric(name).await, count, "{name}");
    }
}

#[tokio::test]
async fn a_front_tells_that_its_state_was_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("front.db");
    std::fs::write(&path, "not a database").expect("written");
    let (state, _) = FrontState::open(&path, Blocking::threads(1)).await.expect("moved aside");
    let around = Surroundings::alone(TokioNet, key(), system_clock);
    let server = Server::with(Surroundings { state: Some(state), ..around }).await;
    assert_eq!(server.metric("state_lost").await, 1);
}

#[tokio::test]
async fn signals_pass_between_clients() {
    let server = Server::start().await;
    let (mut a, mut b) = (server.peer(1).await, server.peer(2).await);
    for session in 0..100 {
        let body = Signal::Offer { sdp: format!("v={session}") };
        a.say(&ToFront::Signal { to: peer(2), session, body: body.clone() }).await;
        assert_eq!(b.hear().await, FromFront::Signal { from: peer(1), session, body });
    }
    drop(b);
    // Until the front has heard of it, signals to the other side vanish.
    loop {
        a.say(&ToFront::Signal { to: peer(2), session: 7, body: Signal::bye("") }).await;
        a.say(&ToFront::Ping {}).await;
        if let FromFront::Signal { from, session, body } = a.hear().await {
            assert_eq!((from, session, body), (peer(2), 7, Signal::Unreachable {}));
            break;
        }
    }
}

#[tokio::test]
async fn a_lost_worker_is_told_to_its_clients() {
    let server = Server::start().await;
    let mut client = server.peer(1).await;
    let worker = server.worker(9, "w1").await;
    assert!(matches!(client.hear().await, FromFront::Assign { worker: Some(worker) } if worker.name == "w1"));
    drop(worker);
    assert_eq!(client.hear().await, FromFront::Assign { worker: None });
}

#[tokio::test]
async fn bad_messages_end_in_an_error_or_a_closed_connection() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.0.send(Message::text("junk")).await.expect("open");
    assert!(matches!(client.hear().await, FromFront::Error { .. }));
    client.0.send(Message::binary(vec![0])).await.expect("open");
    assert_eq!(client.closing().await, "messages are text");

    let mut client = server.client().await;
    client.0.send(Message::text("x".repeat(MAX_MESSAGE + 1))).await.expect("open");
    assert_eq!(client.closing().await, "a message longer than 65536 bytes");

    let mut client = server.client().await;
    for _ in 0..9 {
        client.0.send(Message::text("junk")).await.expect("open");
    }
    assert_eq!(client.closing().await, "too many faults");
    server.peer(1).await;
}

#[tokio::test]
async fn only_a_proper_handshake_becomes_a_websocket() {
    let server = Server::start().await;
    assert_eq!(server.get("/signaling").await, (426, "this is a WebSocket\n".to_owned()));
    for (head, status) in [
        (
            "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x",
            101,
        ),
        ("Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: x", 426),
        ("Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13", 400),
        ("Connection: upgrade\r\nUpgrade: h2c", 426),
    ] {
        let mut stream = TcpStream::connect(server.addr).await.expect("listening");
        let request = format!("GET /signaling HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("open");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(answer, format!("HTTP/1.1 {status}").as_bytes(), "{head}");
    }
}

#[tokio::test]
async fn pings_are_answered_and_a_close_is_answered_with_its_code() {
    let server = Server::start().await;
    let mut client = server.peer(1).await;
    client.0.send(Message::Ping("still there".into())).await.expect("open");
    let Some(Ok(Message::Pong(payload))) = client.0.next().await else { panic!("no pong") };
    assert_eq!(payload, "still there");
    client.0.close(Some(CloseFrame { code: CloseCode::Away, reason: "bye".into() })).await.expect("open");
    let Some(Ok(Message::Close(Some(frame)))) = client.0.next().await else { panic!("no close") };
    assert_eq!(frame.code, CloseCode::Away);
    assert!(client.0.next().await.is_none(), "and the connection ends");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_nobody_waits_for_it() {
    let server = Server::start().await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("it can be small");
    let _mute = server.client_on(socket).await.greet(1).await;
    let mut fast = server.peer(2).await;
    let sdp = "x".repeat(30_000);
    // What the kernel's buffers take, and the outbox. A client cut by nothing but the write's timeout gets more.
    let most = (16 << 20) / sdp.len();
    for _ in 0..most {
        fast.say(&ToFront::Signal { to: peer(1), session: 1, body: Signal::Offer { sdp: sdp.clone() } }).await;
        fast.say(&ToFront::Ping {}).await;
        if let FromFront::Signal { body: Signal::Unreachable {}, .. } = fast.hear().await {
            return;
        }
    }
    panic!("the front holds {most} messages for a client that does not read");
}

#[tokio::test]
async fn shutdown_says_goodbye() {
    let server = Server::start().await;
    let mut client = server.peer(1).await;
    server.stop.send(()).expect("running");
    assert_eq!(client.closing().await, "this front is shutting down");
    server.task.await.expect("no panic").expect("no failure");
    assert!(TcpStream::connect(server.addr).await.is_err());
}
