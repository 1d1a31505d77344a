//! Fronts that dial each other over real sockets on loopback.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::{ConnectInfo, WebSocketUpgrade};
use axum::routing::get;
use axum::serve::{Listener as _, ListenerExt as _};
use futures_util::{SinkExt, StreamExt};
use kollator_core::cluster::channel::{AuthedSender, Dialler};
use kollator_core::wire::sync::MAX_MESSAGE;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;
use crate::event::EventStream;
use crate::net::TokioNet;

fn key() -> SharedKey {
    SharedKey::new(b"a key for testing").expect("long enough")
}

fn roster(own: u8, count: u8) -> Roster {
    Roster::new(&format!("front-{own}"), (0..count).map(|n| format!("front-{n}")).collect()).expect("good")
}

/// The accepting half of a front.
struct Server {
    addr: SocketAddr,
    acceptor: Arc<Acceptor>,
    sink: EventSink<SyncEvent>,
    events: EventStream<SyncEvent>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(roster: Roster) -> Self {
        let (sink, events) = EventSink::channel(16);
        let acceptor = Arc::new(Acceptor::new(key(), roster, sink.clone()));
        let listener = TokioNet.bind((Ipv4Addr::LOCALHOST, 0).into()).await.expect("loopback");
        let addr = listener.local_addr().expect("bound");
        let accepting = acceptor.clone();
        let accept = move |ConnectInfo(remote): ConnectInfo<SocketAddr>, upgrade: WebSocketUpgrade| async move {
            Acceptor::limit(upgrade)
                .on_upgrade(move |socket| async move { accepting.attend(socket, remote).await })
        };
        let app = Router::new().route(PATH, get(accept)).into_make_service_with_connect_info::<SocketAddr>();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            axum::serve(listener.tap_io(|_| {}), app).await.expect("serves for ever");
        });
        Self { addr, acceptor, sink, events, _tasks: tasks }
    }

    async fn event(&mut self) -> SyncEvent {
        event(&mut self.events).await
    }

    /// What `front` says next, whatever else happens meanwhile.
    async fn message(&mut self, from: u8) -> Bytes {
        loop {
            match self.event().await {
                SyncEvent::Message { front, data } if front == FrontId(from) => return data,
                _ => {}
            }
        }
    }

    async fn client(&self) -> WebSocketStream<TcpStream> {
        let stream = TcpStream::connect(self.addr).await.expect("listening");
        client_async(format!("ws://{}{PATH}", self.addr), stream).await.expect("upgraded").0
    }

    /// An honest front's connection, by hand.
    async fn dial(&self, roster: Roster) -> (WebSocketStream<TcpStream>, AuthedSender) {
        let mut socket = self.client().await;
        let dialler = Dialler::new(key(), roster, FrontId(0), nonce());
        let (proven, hello) = dialler.answer(&binary(&mut socket).await).expect("honest");
        socket.send(Message::Binary(hello)).await.expect("open");
        let sender = proven.finish(&binary(&mut socket).await).expect("honest");
        (socket, sender)
    }
}

async fn event(events: &mut EventStream<SyncEvent>) -> SyncEvent {
    timeout(Duration::from_secs(60), events.recv()).await.expect("an event in time").expect("the links live")
}

async fn up(events: &mut EventStream<SyncEvent>, front: u8) {
    assert_eq!(event(events).await, SyncEvent::Up { front: FrontId(front) });
}

async fn binary(socket: &mut WebSocketStream<TcpStream>) -> Bytes {
    match socket.next().await {
        Some(Ok(Message::Binary(message))) => message,
        other => panic!("no binary message: {other:?}"),
    }
}

/// Reads on to the close frame; its reason.
async fn closing(socket: &mut WebSocketStream<TcpStream>) -> String {
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => return frame.reason.to_string(),
            Some(Ok(_)) => {}
            other => panic!("no close frame: {other:?}"),
        }
    }
}

fn urls(addrs: &[(u8, SocketAddr)]) -> BTreeMap<FrontId, FrontUrl> {
    let url = |addr: &SocketAddr| FrontUrl::parse(&format!("http://{addr}")).expect("good");
    addrs.iter().map(|(front, addr)| (FrontId(*front), url(addr))).collect()
}

/// Links of front `own` to the others, with events of their own.
fn links(key: &SharedKey, roster: &Roster, addrs: &[(u8, SocketAddr)]) -> (Links, EventStream<SyncEvent>) {
    let (sink, events) = EventSink::channel(16);
    (Links::start(&TokioNet, key, roster, &urls(addrs), &sink), events)
}

#[tokio::test]
async fn three_fronts_say_to_each_other_what_they_mean_to() {
    let mut servers = Vec::new();
    for own in 0..3 {
        servers.push(Server::start(roster(own, 3)).await);
    }
    let addrs: Vec<_> = servers.iter().zip(0..).map(|(server, n)| (n, server.addr)).collect();
    let all: Vec<_> = servers
        .iter()
        .zip(0..)
        .map(|(server, own)| Links::start(&TokioNet, &key(), &roster(own, 3), &urls(&addrs), &server.sink))
        .collect();
    for server in &mut servers {
        let mut ups = [server.event().await, server.event().await];
        ups.sort_by_key(|event| format!("{event:?}"));
        assert!(ups.iter().all(|event| matches!(event, SyncEvent::Up { .. })) && ups[0] != ups[1], "{ups:?}");
    }
    for (links, own) in all.iter().zip(0u8..) {
        for other in (0..3).filter(|other| *other != own) {
            for n in 0..50 {
                links.send(FrontId(other), vec![own, other, n].into());
            }
            links.send(FrontId(other), vec![own; MAX_MESSAGE].into());
        }
    }
    for (server, own) in servers.iter_mut().zip(0u8..) {
        let mut expected = [0u8; 3];
        while expected.iter().map(|n| u32::from(*n)).sum::<u32>() < 2 * 51 {
            let SyncEvent::Message { front: FrontId(from), data } = server.event().await else {
                panic!("nothing else happens");
            };
            let n = &mut expected[usize::from(from)];
            if *n < 50 {
                assert_eq!(data, [from, own, *n][..]);
            } else {
                assert_eq!(data, vec![from; MAX_MESSAGE]);
            }
            *n += 1;
        }
        assert_eq!(server.acceptor.refused(), 0);
    }
}

#[tokio::test]
async fn another_key_never_comes_up() {
    let server = Server::start(roster(0, 2)).await;
    let other = SharedKey::new(b"another key for testing").expect("long enough");
    let (_links, mut events) = links(&other, &roster(1, 2), &[(0, server.addr)]);
    while server.acceptor.refused() < 3 {
        tokio::task::yield_now().await;
    }
    assert!(timeout(Duration::ZERO, events.recv()).await.is_err(), "it is tried again, and nothing is told");
}

#[tokio::test]
async fn whoever_is_refused_is_told_why() {
    let server = Server::start(roster(0, 2)).await;
    let mut socket = server.client().await;
    let (_, hello) =
        Dialler::new(key(), roster(1, 3), FrontId(0), nonce()).answer(&binary(&mut socket).await).expect("honest");
    socket.send(Message::Binary(hello)).await.expect("open");
    assert!(closing(&mut socket).await.contains("another list of fronts"));

    let mut socket = server.client().await;
    socket.send(Message::Binary(Bytes::from_static(&[0, 9]))).await.expect("open");
    assert!(closing(&mut socket).await.contains("version 9"));

    let mut socket = server.client().await;
    socket.send(Message::text("hello")).await.expect("open");
    assert_eq!(closing(&mut socket).await, "messages are binary");

    let mut socket = server.client().await;
    assert!(closing(&mut socket).await.contains("no handshake within"));

    let (mut socket, mut sender) = server.dial(roster(1, 2)).await;
    let sealed = sender.seal(b"once");
    for _ in 0..2 {
        socket.send(Message::Binary(sealed.clone())).await.expect("open");
    }
    assert!(closing(&mut socket).await.contains("came again"));
    assert_eq!(server.acceptor.refused(), 5);
}

#[tokio::test]
async fn a_newer_connection_silences_the_older_one() {
    let mut server = Server::start(roster(0, 2)).await;
    let (mut old, mut old_sender) = server.dial(roster(1, 2)).await;
    old.send(Message::Binary(old_sender.seal(b"old"))).await.expect("open");
    assert_eq!(server.message(1).await, "old");
    let (mut new, mut new_sender) = server.dial(roster(1, 2)).await;
    assert!(closing(&mut old).await.contains("took its place"));
    // It may be too late to be sent at all.
    let _ = old.send(Message::Binary(old_sender.seal(b"late"))).await;
    new.send(Message::Binary(new_sender.seal(b"new"))).await.expect("open");
    assert_eq!(server.message(1).await, "new");
    server.acceptor.close();
    closing(&mut new).await;
}

/// Forwards to `target`; each connection can be cut.
struct Proxy {
    addr: SocketAddr,
    cuts: tokio::sync::mpsc::UnboundedReceiver<AbortHandle>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback");
        let addr = listener.local_addr().expect("bound");
        let (cut, cuts) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                let handle = open.spawn(async move {
                    let mut to = TcpStream::connect(target).await.expect("listening");
                    // However it ends, it has ended.
                    let _ = copy_bidirectional(&mut from, &mut to).await;
                });
                cut.send(handle).expect("the test lives");
            }
        });
        Self { addr, cuts, _tasks: tasks }
    }

    async fn cut(&mut self) {
        self.cuts.recv().await.expect("a connection").abort();
    }
}

#[tokio::test]
async fn a_cut_connection_is_dialled_again() {
    let mut server = Server::start(roster(0, 2)).await;
    let mut proxy = Proxy::start(server.addr).await;
    let (links, mut events) = links(&key(), &roster(1, 2), &[(0, proxy.addr)]);
    for n in 0..3 {
        up(&mut events, 0).await;
        links.send(FrontId(0), vec![n].into());
        assert_eq!(server.message(1).await, [n][..]);
        proxy.cut().await;
        assert!(matches!(event(&mut events).await, SyncEvent::Down { front: FrontId(0), .. }));
        links.send(FrontId(0), "while it is down".into());
    }
    assert_eq!(server.acceptor.refused(), 0);
}

/// A front that completes the handshake and never reads on.
async fn mute(roster: Roster) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback");
    let addr = listener.local_addr().expect("bound");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a WebSocket");
            let challenger = kollator_core::cluster::channel::Challenger::new(key(), roster.clone(), nonce());
            socket.send(Message::Binary(challenger.1)).await.expect("open");
            let (_, accept) = challenger.0.accept(&binary(&mut socket).await).expect("honest");
            socket.send(Message::Binary(accept)).await.expect("open");
            held.push(socket);
        }
    });
    (addr, tasks)
}

#[tokio::test]
async fn a_front_that_does_not_read_is_given_up_and_nobody_waits_for_it() {
    let (addr, _tasks) = mute(roster(0, 2)).await;
    let (links, mut events) = links(&key(), &roster(1, 2), &[(0, addr)]);
    up(&mut events, 0).await;
    // What the kernel's buffers take, and the queue.
    let message = Bytes::from(vec![0; MAX_MESSAGE]);
    for _ in 0..(32 << 20) / MAX_MESSAGE {
        links.send(FrontId(0), message.clone());
        tokio::task::yield_now().await;
    }
    match event(&mut events).await {
        SyncEvent::Down { reason, .. } => assert!(reason.contains("does not read"), "{reason}"),
        other => panic!("{other:?}"),
    }
    up(&mut events, 0).await;
}

#[tokio::test]
async fn a_front_that_answers_nothing_is_given_up() {
    let (addr, _tasks) = mute(roster(0, 2)).await;
    let (_links, mut events) = links(&key(), &roster(1, 2), &[(0, addr)]);
    up(&mut events, 0).await;
    match event(&mut events).await {
        SyncEvent::Down { reason, .. } => assert!(reason.contains("silent"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_dead() {
    let server = Server::start(roster(0, 2)).await;
    let (mut socket, mut sender) = server.dial(roster(1, 2)).await;
    socket.send(Message::Binary(sender.seal(b"x"))).await.expect("open");
    while let Some(Ok(_)) = socket.next().await {}
    assert_eq!(server.acceptor.refused(), 0);
}

#[tokio::test]
async fn bytes_that_are_no_websocket_do_no_harm() {
    let mut server = Server::start(roster(0, 2)).await;
    let mut stream = TcpStream::connect(server.addr).await.expect("listening");
    stream.write_all(b"\x16\x03\x01 junk\r\n\r\n").await.expect("open");
    let mut answer = Vec::new();
    // It may be reset as well as closed.
    let _ = stream.read_to_end(&mut answer).await;
    let (mut socket, mut sender) = server.dial(roster(1, 2)).await;
    socket.send(Message::Binary(sender.seal(b"fine"))).await.expect("open");
    assert_eq!(server.message(1).await, "fine");
}
