//! Asks other workers for chunks, over connections that are kept for the next question. Whatever a worker sends is
//! hashed before it counts. How much is asked at once is the machine's decision; nothing here retries for long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kollator_core::id::ChunkId;
use kollator_core::merkle::VerifiedChunk;
use kollator_core::node::io::DiskError;
use kollator_core::store::{Home, HomeAnswer};
use tokio::time::{Instant, timeout};

use crate::blocking::Blocking;
use crate::http::proof::Prover;
use crate::net::Net;
use crate::net::origin::Origin;
use crate::net::tls;
use crate::storage::chunk_name;

/// Longest wait for a connection, for the head of an answer, and for more of its body.
const PATIENCE: Duration = Duration::from_millis(500);
/// Longest time for all of it.
const DEADLINE: Duration = Duration::from_secs(5);
/// Most connections kept open to one worker without a question, and to all.
const MAX_IDLE: (usize, usize) = (4, 64);
/// A connection that was not used for so long is closed.
const IDLE_AGE: Duration = Duration::from_secs(20);
/// Most bytes of an answer that is no chunk.
const MAX_REFUSAL: u64 = 4096;

type Sender = SendRequest<Empty<Bytes>>;

/// The path at which a worker answers others for a chunk.
pub(crate) fn path_of(chunk: ChunkId) -> String {
    format!("/home/{}", chunk_name(chunk))
}

/// Asks other workers. Clones share their connections.
pub(crate) struct Homes<N>(Arc<Inner<N>>);

struct Inner<N> {
    net: N,
    prover: Prover,
    blocking: Blocking,
    /// Connections without a question, by worker, and since when.
    idle: Mutex<BTreeMap<String, Vec<(Instant, Sender)>>>,
}

impl<N> Clone for Homes<N> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Why there is no answer: in words.
type Fault = String;

impl<N: Net> Homes<N> {
    /// Asks over `net`, in the name and with the key of `prover`; hashing goes through `blocking`.
    pub(crate) fn new(net: N, prover: Prover, blocking: Blocking) -> Self {
        Self(Arc::new(Inner { net, prover, blocking, idle: Mutex::default() }))
    }

    /// Asks a worker for a chunk.
    pub(crate) async fn ask(&self, chunk: ChunkId, home: &Home) -> HomeAnswer {
        let slow = || HomeAnswer::Failed(DiskError(format!("{} took too long", home.http)));
        timeout(DEADLINE, self.0.ask(chunk, home)).await.unwrap_or_else(|_| slow())
    }
}

impl<N: Net> Inner<N> {
    async fn ask(&self, chunk: ChunkId, home: &Home) -> HomeAnswer {
        let failed = |why: Fault| HomeAnswer::Failed(DiskError(format!("{}: {why}", home.http)));
        let origin = match Origin::parse(&home.http) {
            Ok((origin, _)) => origin,
            Err(error) => return failed(error.to_string()),
        };
        // A connection that was kept may have been closed meanwhile, which says nothing of the worker.
        if let Some(sender) = self.take(&home.name)
            && let Ok(answer) = self.exchange(sender, &origin, chunk, home).await
        {
            return answer;
        }
        let sender = match self.connect(&origin).await {
            Ok(sender) => sender,
            Err(why) => return failed(why),
        };
        self.exchange(sender, &origin, chunk, home).await.unwrap_or_else(failed)
    }

    async fn connect(&self, origin: &Origin) -> Result<Sender, Fault> {
        let connect = async {
            let stream = tls::connect(&self.net, origin).await.map_err(|error| error.to_string())?;
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())
        };
        let (sender, connection) = timeout(PATIENCE, connect).await.map_err(|_| "no connection in time")??;
        // Ends once its sender is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to another worker broke");
            }
        });
        Ok(sender)
    }

    /// One question and its answer. An error is one of the connection before it had brought any answer.
    async fn exchange(
        &self,
        mut sender: Sender,
        origin: &Origin,
        chunk: ChunkId,
        home: &Home,
    ) -> Result<HomeAnswer, Fault> {
        let path = path_of(chunk);
        let (_, base) = Origin::parse(&home.http).map_err(|error| error.to_string())?;
        let request = Request::get(format!("{}{path}", base.trim_end_matches('/')))
            .header(HOST, origin.authority())
            .header(AUTHORIZATION, self.prover.header("GET", &path, &home.name))
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let failed = |why: Fault| HomeAnswer::Failed(DiskError(format!("{}: {why}", home.http)));
        let Ok(response) = timeout(PATIENCE, sender.send_request(request)).await else {
            return Ok(failed("no answer in time".into()));
        };
        let response = response.map_err(|error| error.to_string())?;
        let answer = match response.status().as_u16() {
            200 => match body_of(response, u64::from(chunk.length())).await {
                Ok(Some(body)) => self.verify(chunk, body, home).await,
                Ok(None) => HomeAnswer::Lie(DiskError(format!("{} sent a body of another length", home.http))),
                Err(why) => return Ok(failed(why)),
            },
            status => {
                if !matches!(body_of(response, MAX_REFUSAL).await, Ok(Some(_) | None)) {
                    return Ok(failed(format!("status {status}, and broke off")));
                }
                match status {
                    404 => HomeAnswer::NotThere,
                    429 | 503 => HomeAnswer::Busy,
                    status => failed(format!("status {status}")),
                }
            }
        };
        self.keep(&home.name, sender);
        Ok(answer)
    }

    async fn verify(&self, chunk: ChunkId, body: Bytes, home: &Home) -> HomeAnswer {
        match self.blocking.run(move || VerifiedChunk::verify(chunk, body)).await {
            Some(verified) => HomeAnswer::Chunk(verified),
            None => HomeAnswer::Lie(DiskError(format!("{} sent other bytes", home.http))),
        }
    }

    fn take(&self, worker: &str) -> Option<Sender> {
        let mut idle = self.idle();
        let kept = idle.get_mut(worker)?;
        while let Some((since, sender)) = kept.pop() {
            if since.elapsed() < IDLE_AGE && sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, worker: &str, sender: Sender) {
        let mut idle = self.idle();
        for kept in idle.values_mut() {
            kept.retain(|(since, sender)| since.elapsed() < IDLE_AGE && !sender.is_closed());
        }
        idle.retain(|_, kept| !kept.is_empty());
        let (of_one, of_all) = MAX_IDLE;
        let all: usize = idle.values().map(Vec::len).sum();
        let kept = idle.entry(worker.to_owned()).or_default();
        if kept.len() < of_one && all < of_all {
            kept.push((Instant::now(), sender));
        }
    }

    fn idle(&self) -> MutexGuard<'_, BTreeMap<String, Vec<(Instant, Sender)>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body of `length` bytes; `None` if it is whole and of another length, or goes on beyond it.
async fn body_of(response: Response<Incoming>, length: u64) -> Result<Option<Bytes>, Fault> {
    let mut body = response.into_body();
    if body.size_hint().exact().is_some_and(|exact| exact > length) {
        return Ok(None);
    }
    let mut bytes = BytesMut::with_capacity(body.size_hint().lower().min(length) as usize);
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.map_err(|_| "it stopped sending")? {
        let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() else { continue };
        if (bytes.len() + data.len()) as u64 > length {
            return Ok(None);
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.len() as u64 == length).then(|| bytes.freeze()))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kollator_core::auth::SharedKey;
    use kollator_core::id::Digest;
    use kollator_core::merkle::{height_for, leaves, root};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::sleep;

    use super::*;

    /// What a worker does with the questions of one connection, one after the other.
    type Script = Vec<Vec<Act>>;

    #[derive(Clone, Debug)]
    enum Act {
        Say(Vec<u8>),
        Wait(Duration),
        Close,
    }

    /// A network of one worker, which does with each connection what its script says. `down` refuses connections.
    #[derive(Clone)]
    struct Stage {
        scripts: Arc<Vec<Script>>,
        connections: Arc<AtomicUsize>,
        heard: Arc<Mutex<Vec<String>>>,
    }

    struct NoListener;

    impl axum::serve::Listener for NoListener {
        type Io = DuplexStream;
        type Addr = SocketAddr;

        async fn accept(&mut self) -> (DuplexStream, SocketAddr) {
            std::future::pending().await
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    impl Net for Stage {
        type Stream = DuplexStream;
        type Listener = NoListener;

        async fn bind(&self, _: SocketAddr) -> io::Result<NoListener> {
            Err(io::ErrorKind::Unsupported.into())
        }

        async fn connect(&self, host: &str, _: u16) -> io::Result<DuplexStream> {
            if host == "down" {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(1 << 16);
            let number = self.connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(perform(self.scripts[number].clone(), theirs, self.heard.clone()));
            Ok(ours)
        }
    }

    async fn perform(script: Script, mut stream: DuplexStream, heard: Arc<Mutex<Vec<String>>>) {
        for answer in script {
            let mut question = Vec::new();
            while !question.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                question.push(byte);
            }
            heard.lock().expect("no panic holds it").push(String::from_utf8(question).expect("ASCII"));
            for act in answer {
                match act {
                    // Who asked may have gone away meanwhile.
                    Act::Say(bytes) => drop(stream.write_all(&bytes).await),
                    Act::Wait(time) => sleep(time).await,
                    Act::Close => return,
                }
            }
        }
        std::future::pending::<()>().await;
    }

    fn stage(scripts: Vec<Script>) -> (Homes<Stage>, Stage) {
        let net = Stage { scripts: Arc::new(scripts), connections: Arc::default(), heard: Arc::default() };
        let key = SharedKey::new(b"a key for testing").expect("long enough");
        let prover = Prover::new("w2".into(), key, || 1_767_225_600_000);
        (Homes::new(net.clone(), prover, Blocking::Inline), net)
    }

    fn home(host: &str) -> Home {
        Home { name: "w1".into(), http: format!("http://{host}:8081") }
    }

    fn chunk() -> VerifiedChunk {
        let data: Bytes = (0..40_000u32).map(|i| i as u8).collect();
        let hashes = leaves(&data);
        let height = height_for(hashes.len() as u64);
        let id = ChunkId::new(root(&hashes, height, Digest::default()), data.len() as u32, height);
        VerifiedChunk::verify(id.expect("legal"), data).expect("its own bytes")
    }

    fn answer(status: &str, claimed: usize, body: &[u8]) -> Act {
        let mut bytes = format!("HTTP/1.1 {status}\r\ncontent-length: {claimed}\r\n\r\n").into_bytes();
        bytes.extend_from_slice(body);
        Act::Say(bytes)
    }

    fn whole() -> Act {
        answer("200 OK", 40_000, chunk().data())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_serves_for_many_questions_each_with_its_own_proof() {
        let (homes, net) =
            stage(vec![vec![vec![whole()], vec![answer("404 Not Found", 3, b"no\n")], vec![whole()]]]);
        let ask = || async { homes.ask(chunk().id(), &home("w1")).await };
        assert!(matches!(ask().await, HomeAnswer::Chunk(found) if found.data() == chunk().data()));
        assert!(matches!(ask().await, HomeAnswer::NotThere));
        assert!(matches!(ask().await, HomeAnswer::Chunk(_)));
        assert_eq!(net.connections.load(Ordering::Relaxed), 1);
        let heard = net.heard.lock().expect("no panic holds it").clone();
        let begin = format!("GET {} HTTP/1.1\r\n", path_of(chunk().id()));
        assert!(heard.iter().all(|question| question.starts_with(&begin)), "{heard:?}");
        let proof = |question: &String| {
            let line = question.lines().find_map(|line| line.strip_prefix("authorization: Kollator w2:"));
            line.expect("a proof").to_owned()
        };
        let proofs: Vec<String> = heard.iter().map(proof).collect();
        assert!(proofs[0] != proofs[1] && proofs[1] != proofs[2], "{proofs:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_a_home_does_is_told_apart() {
        use HomeAnswer::{Busy, Failed, Lie, NotThere};
        let data = chunk().data().to_vec();
        let flipped: Vec<u8> = data.iter().enumerate().map(|(n, byte)| byte ^ u8::from(n == 20_000)).collect();
        let drips = (0..40).flat_map(|n| [answer_part(&data, n), Act::Wait(Duration::from_millis(400))]);
        let head = Act::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n".to_vec());
        type Check = fn(&HomeAnswer) -> bool;
        let cases: Vec<(&str, Vec<Act>, Check)> = vec![
            ("other bytes", vec![answer("200 OK", 40_000, &flipped)], |a| matches!(a, Lie(_))),
            ("too few", vec![answer("200 OK", 39_999, &data[1..])], |a| matches!(a, Lie(_))),
            ("too many", vec![answer("200 OK", 50_000, &data)], |a| matches!(a, Lie(_))),
            ("no end", vec![chunked(&[&data[..], b"more"].concat())], |a| matches!(a, Lie(_))),
            ("broken off", vec![answer("200 OK", 40_000, &data[..100]), Act::Close], |a| matches!(a, Failed(_))),
            ("busy", vec![answer("503 Service Unavailable", 0, b"")], |a| matches!(a, Busy)),
            ("too often", vec![answer("429 Too Many Requests", 0, b"")], |a| matches!(a, Busy)),
            ("not there", vec![answer("404 Not Found", 0, b"")], |a| matches!(a, NotThere)),
            ("refused", vec![answer("401 Unauthorized", 4, b"who?")], |a| matches!(a, Failed(_))),
            ("broken", vec![answer("500 Internal Server Error", 0, b"")], |a| matches!(a, Failed(_))),
            ("no HTTP", vec![Act::Say(b"SSH-2.0-x\r\n\r\n".to_vec())], |a| matches!(a, Failed(_))),
            ("silent", vec![Act::Wait(Duration::from_secs(60))], |a| matches!(a, Failed(_))),
            ("stops", vec![answer("200 OK", 40_000, &data[..100])], |a| matches!(a, Failed(_))),
            ("drips", std::iter::once(head).chain(drips).collect(), |a| matches!(a, Failed(_))),
        ];
        for (what, acts, check) in cases {
            let (homes, _net) = stage(vec![vec![acts]]);
            let began = Instant::now();
            let answer = homes.ask(chunk().id(), &home("w1")).await;
            assert!(check(&answer), "{what}: {answer:?}");
            assert!(began.elapsed() <= DEADLINE, "{what} took {:?}", began.elapsed());
        }
        let (homes, _net) = stage(Vec::new());
        assert!(matches!(homes.ask(chunk().id(), &home("down")).await, Failed(_)));
        let nowhere = Home { name: "w1".into(), http: "ftp://w1".into() };
        assert!(matches!(homes.ask(chunk().id(), &nowhere).await, Failed(_)));
    }

    fn answer_part(data: &[u8], n: usize) -> Act {
        Act::Say(data[n * 100..(n + 1) * 100].to_vec())
    }

    /// A body whose length is not said.
    fn chunked(data: &[u8]) -> Act {
        let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        bytes.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(b"\r\n");
        Act::Say(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_closed_meanwhile_is_replaced() {
        let (homes, net) = stage(vec![vec![vec![whole(), Act::Close]], vec![vec![whole()]]]);
        for connections in 1..=2 {
            assert!(matches!(homes.ask(chunk().id(), &home("w1")).await, HomeAnswer::Chunk(_)));
            assert_eq!(net.connections.load(Ordering::Relaxed), connections);
        }
    }
}
