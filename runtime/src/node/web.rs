//! A peer's requests over HTTP, on connections that are kept for the next one. It decides nothing: what is asked, for how
//! long an answer is waited for and what makes a bad one is the machine's business.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderValue, RANGE, RETRY_AFTER};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use kollator_core::merkle::BLOCK_LEN;
use kollator_core::node::peer::{WebAsk, WebCommand, WebEvent, WebId, WorkerUrl};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::tasks::Tasks;
use crate::event::{EventSink, Lease, Stopped};
use crate::net::Net;
use crate::net::origin::Origin;
use crate::net::tls;

/// Most connections kept for one server.
const MAX_IDLE: usize = 4;
/// Most servers for which connections are kept.
const MAX_SERVERS: usize = 32;
/// Most bytes of a response's head, and of what is read of a body before it is handed on.
const MAX_BUFFER: usize = 256 * 1024;
/// A body that nobody wants is read to its end within so long and so many bytes, or the connection is closed.
const UNWANTED: (Duration, usize) = (Duration::from_secs(1), 16 * 1024);

type Connection = SendRequest<Empty<Bytes>>;

/// Carries out [`WebCommand`]s. Dropped, it gives every request up.
pub(super) struct WebClient<N> {
    servers: Servers<N>,
    tasks: Tasks,
    sink: EventSink<WebEvent>,
    open: HashMap<WebId, (AbortHandle, Lease)>,
}

impl<N> Drop for WebClient<N> {
    fn drop(&mut self) {
        self.open.values().for_each(|(task, _)| task.abort());
    }
}

impl<N: Net> WebClient<N> {
    pub(super) fn new(net: N, tasks: Tasks, sink: EventSink<WebEvent>) -> Self {
        Self { servers: Servers { net, idle: Arc::default() }, tasks, sink, open: HashMap::new() }
    }

    /// Begins to carry out `command` and returns at once.
    pub(super) fn execute(&mut self, command: WebCommand) {
        match command {
            WebCommand::Request { id, worker, ask } => {
                let (servers, (sink, lease)) = (self.servers.clone(), self.sink.leased());
                let task = self.tasks.spawn(async move {
                    // An error says that the machine has stopped: nobody is left to be told.
                    let _ = servers.carry(id, &worker, ask, &sink).await;
                });
                self.open.retain(|_, (task, _)| !task.is_finished());
                self.open.insert(id, (task, lease));
            }
            WebCommand::Cancel { id } => {
                if let Some((task, lease)) = self.open.remove(&id) {
                    lease.revoke();
                    task.abort();
                }
            }
        }
    }
}

/// Where requests go.
#[derive(Clone)]
struct Servers<N> {
    net: N,
    /// Connections that wait for a request, by origin.
    idle: Arc<Mutex<HashMap<String, Vec<Connection>>>>,
}

impl<N: Net> Servers<N> {
    /// One request, from connecting to the last byte of the answer.
    async fn carry(
        &self,
        id: WebId,
        worker: &WorkerUrl,
        ask: WebAsk,
        sink: &EventSink<WebEvent>,
    ) -> Result<(), Stopped> {
        match self.begin(worker, ask).await {
            Ok((origin, connection, response)) => {
                let (status, retry_after) = (response.status(), retry_after(response.headers()));
                sink.send(WebEvent::Head { id, status: status.as_u16(), retry_after }).await?;
                let is_read = if status.is_success() && !ask.is_head() {
                    hand_on(id, response.into_body(), sink).await?
                } else {
                    let (within, most) = UNWANTED;
                    timeout(within, skip(response.into_body(), most)).await.unwrap_or(false)
                };
                if is_read {
                    self.keep(origin, connection);
                }
                Ok(())
            }
            Err(reason) => sink.send(WebEvent::Failed { id, reason }).await,
        }
    }

    /// Sends a request on a connection that was kept, or on a new one; waits for the head of the answer.
    async fn begin(
        &self,
        worker: &WorkerUrl,
        ask: WebAsk,
    ) -> Result<(String, Connection, Response<Incoming>), String> {
        let (origin, base) = Origin::parse(worker.as_str()).map_err(|error| error.to_string())?;
        let request = request(&origin, &base, ask)?;
        let name = origin.to_string();
        while let Some(mut kept) = self.take(&name) {
            // The server may have closed it meanwhile: that says nothing about the request.
            if kept.ready().await.is_ok()
                && let Ok(response) = kept.send_request(request.clone()).await
            {
                return Ok((name, kept, response));
            }
        }
        let stream = tls::connect(&self.net, &origin).await.map_err(|error| format!("cannot connect: {error}"))?;
        let broken = |error: hyper::Error| format!("no answer: {error}");
        let shaken = http1::Builder::new().max_buf_size(MAX_BUFFER).handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(broken)?;
        // It ends when nobody can send on it any more, and whoever waits for an answer hears of its errors.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok((name, sender, response))
    }

    fn take(&self, origin: &str) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(origin)?.pop()
    }

    fn keep(&self, origin: String, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= MAX_SERVERS && !idle.contains_key(&origin) {
            idle.clear();
        }
        let kept = idle.entry(origin).or_default();
        kept.retain(|connection| !connection.is_closed());
        if kept.len() < MAX_IDLE && !connection.is_closed() {
            kept.push(connection);
        }
    }
}

fn request(origin: &Origin, base: &str, ask: WebAsk) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::new(Empty::new());
    if ask.is_head() {
        *request.method_mut() = Method::HEAD;
    }
    let path = format!("{}{}", base.trim_end_matches('/'), ask.path());
    *request.uri_mut() = path.parse().map_err(|_| "its path cannot be requested".to_owned())?;
    let host = HeaderValue::from_str(&origin.authority()).map_err(|_| "its host cannot be named".to_owned())?;
    request.headers_mut().insert(HOST, host);
    if let Some(range) = ask.range() {
        let range = format!("bytes={}-{}", range.start(), range.end());
        request.headers_mut().insert(RANGE, range.parse().expect("digits and a dash"));
    }
    Ok(request)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Hands on a body in whole blocks as it comes. Whether it came to its end.
async fn hand_on(id: WebId, mut body: Incoming, sink: &EventSink<WebEvent>) -> Result<bool, Stopped> {
    let mut held = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => held.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Err(error) => {
                let reason = format!("the answer broke off: {error}");
                sink.send(WebEvent::Failed { id, reason }).await?;
                return Ok(false);
            }
        }
        let whole = held.len() - held.len() % BLOCK_LEN as usize;
        if whole > 0 {
            sink.send(WebEvent::Data { id, data: held.split_to(whole).freeze() }).await?;
        }
    }
    if !held.is_empty() {
        sink.send(WebEvent::Data { id, data: held.freeze() }).await?;
    }
    sink.send(WebEvent::End { id }).await?;
    Ok(true)
}

/// Reads a body to its end; false if there is no end to it within so many bytes.
async fn skip(mut body: Incoming, most: usize) -> bool {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > most {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kollator_core::id::{ChunkId, Digest, InfoHash};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::event::EventStream;
    use crate::net::TokioNet;

    const SHARE: InfoHash = InfoHash(Digest([7; 32]));

    /// A server whose answers are written down; what it heard and how often it was connected to.
    struct Stage {
        client: WebClient<TokioNet>,
        events: EventStream<WebEvent>,
        worker: WorkerUrl,
        connections: Arc<AtomicUsize>,
        heard: Arc<Mutex<Vec<String>>>,
        next: u64,
    }

    impl Stage {
        /// Its server closes a connection after so many answers, if it is not closed before.
        async fn new(
            answers_a_connection: usize,
            answer: impl Fn(&str) -> Vec<u8> + Clone + Send + 'static,
        ) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let addr: SocketAddr = listener.local_addr().expect("bound");
            let (connections, heard) = (Arc::new(AtomicUsize::new(0)), Arc::<Mutex<Vec<String>>>::default());
            let (count, log) = (connections.clone(), heard.clone());
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(attend(stream, answers_a_connection, answer.clone(), log.clone()));
                }
            });
            let (sink, events) = EventSink::channel(64);
            let client = WebClient::new(TokioNet, Tasks::new().0, sink);
            let worker = format!("http://{addr}/base/").parse().expect("a URL");
            Self { client, events, worker, connections, heard, next: 0 }
        }

        fn request(&mut self, ask: WebAsk) -> WebId {
            self.next += 1;
            let (id, worker) = (WebId(self.next), self.worker.clone());
            self.client.execute(WebCommand::Request { id, worker, ask });
            id
        }

        /// All that comes of a request: status and body.
        async fn get(&mut self, ask: WebAsk) -> Result<(u16, Vec<Bytes>), String> {
            let asked = self.request(ask);
            let (mut seen, mut parts) = (0, Vec::new());
            loop {
                let event = self.events.recv().await.expect("the client is there");
                assert_eq!(event.id(), asked);
                match event {
                    WebEvent::Head { status, .. } if ask.is_head() || status >= 300 => return Ok((status, parts)),
                    WebEvent::Head { status, .. } => seen = status,
                    WebEvent::Data { data, .. } => parts.push(data),
                    WebEvent::End { .. } => return Ok((seen, parts)),
                    WebEvent::Failed { reason, .. } => return Err(reason),
                }
            }
        }
    }

    async fn attend(
        mut stream: TcpStream,
        answers: usize,
        answer: impl Fn(&str) -> Vec<u8>,
        heard: Arc<Mutex<Vec<String>>>,
    ) {
        for _ in 0..answers {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return heard.lock().unwrap().push("closed".to_owned()),
                }
            }
            let head = String::from_utf8(head).expect("ASCII");
            heard.lock().unwrap().push(head.clone());
            if stream.write_all(&answer(&head)).await.is_err() {
                return;
            }
        }
    }

    fn answer(status: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    fn blocks() -> (WebAsk, Vec<u8>) {
        let length = 5 * BLOCK_LEN + 100;
        let chunk = ChunkId::new(Digest([3; 32]), length, 3).expect("legal");
        let data: Vec<u8> = (0..length).map(|i| (i % 253) as u8).collect();
        (WebAsk::Blocks { chunk, first: 2, count: 4 }, data[2 * BLOCK_LEN as usize..].to_vec())
    }

    #[tokio::test]
    async fn connections_are_kept_and_replaced_when_the_server_closes_them() {
        let mut stage = Stage::new(2, |_| answer("200 OK", b"a .ko")).await;
        for _ in 0..5 {
            let (status, parts) = stage.get(WebAsk::Metainfo { info_hash: SHARE }).await.expect("an answer");
            assert_eq!((status, parts.concat()), (200, b"a .ko".to_vec()));
        }
        assert_eq!(stage.connections.load(Ordering::Relaxed), 3);
        let heard = stage.heard.lock().unwrap();
        assert!(heard[0].starts_with(&format!("GET /base/torrents/{SHARE}.ko HTTP/1.1\r\n")), "{heard:?}");
    }

    #[tokio::test]
    async fn a_body_comes_in_whole_blocks() {
        let (ask, body) = blocks();
        let sent = body.clone();
        let mut stage = Stage::new(1, move |_| answer("206 Partial Content", &sent)).await;
        let (status, parts) = stage.get(ask).await.expect("an answer");
        assert_eq!((status, parts.concat()), (206, body));
        let (last, others) = parts.split_last().expect("some parts");
        assert!(others.iter().all(|part| part.len() % BLOCK_LEN as usize == 0) && last.len() == 100);
        let heard = stage.heard.lock().unwrap();
        assert!(heard[0].contains("\r\nrange: bytes=32768-82019\r\n"), "{heard:?}");
    }

    #[tokio::test]
    async fn what_is_refused_or_redirected_is_told_and_not_followed() {
        for (status, code) in [("404 Not Found", 404), ("302 Found", 302), ("503 Service Unavailable", 503)] {
            let head = format!(
                "HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:1/\r\nretry-after: 7\r\ncontent-length: 3\r\n\r\nno\n"
            );
            let mut stage = Stage::new(9, move |_| head.clone().into_bytes()).await;
            let id = stage.request(WebAsk::Metainfo { info_hash: SHARE });
            match stage.events.recv().await.expect("the client is there") {
                WebEvent::Head { id: of, status, retry_after } => {
                    assert_eq!((of, status, retry_after), (id, code, Some(Duration::from_secs(7))));
                }
                other => panic!("{other:?}"),
            }
            // The connection serves again once the answer nobody wanted is read.
            assert_eq!(stage.get(WebAsk::Kept { info_hash: SHARE }).await.expect("an answer").0, code);
        }
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_is_heard_of_no_more() {
        let (ask, body) = blocks();
        // More is promised than is sent.
        let head = format!("HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\n\r\n", body.len() + 1);
        let sent = [head.as_bytes(), &body[..]].concat();
        let mut stage = Stage::new(2, move |_| sent.clone()).await;
        let id = stage.request(ask);
        for _ in 0..2 {
            assert_eq!(stage.events.recv().await.expect("the client is there").id(), id);
        }
        stage.client.execute(WebCommand::Cancel { id });
        while !stage.heard.lock().unwrap().contains(&"closed".to_owned()) {
            tokio::task::yield_now().await;
        }
        let next = stage.request(ask);
        assert_eq!(stage.events.recv().await.expect("the client is there").id(), next);
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_has_failed() {
        let mut stage = Stage::new(1, |_| b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()).await;
        let failed = stage.get(WebAsk::Metainfo { info_hash: SHARE }).await.expect_err("half an answer");
        assert!(failed.starts_with("the answer broke off"), "{failed}");
        let mut stage = Stage::new(1, |_| b"this is not HTTP\r\n\r\n".to_vec()).await;
        let failed = stage.get(WebAsk::Metainfo { info_hash: SHARE }).await.expect_err("no answer");
        assert!(failed.starts_with("no answer"), "{failed}");
        stage.worker = "http://127.0.0.1:1".parse().expect("a URL");
        let failed = stage.get(WebAsk::Metainfo { info_hash: SHARE }).await.expect_err("nobody there");
        assert!(failed.starts_with("cannot connect"), "{failed}");
    }
}
