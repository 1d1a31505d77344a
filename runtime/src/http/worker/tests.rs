//! The server over real sockets on loopback, in front of a worker whose store is a folder.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path as FsPath;
use std::sync::Mutex;

use axum::serve::Listener as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kollator_core::dht::DhtName;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::merkle::{ChunkLeaves, VerifiedChunk, sha256};
use kollator_core::metainfo::{MetainfoBuilder, piece_root};
use kollator_core::node::worker::WorkerConfig;
use kollator_core::store::{Home, HomeAnswer, Key};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::dht::{Dht, DhtError};
use crate::http::front::system_clock;
use crate::http::proof::Prover;
use crate::link::FrontUrl;
use crate::net::{Net as _, TokioNet};
use crate::node::homes::{Homes, path_of};
use crate::node::worker::{WorkerDht, WorkerNode, WorkerOptions};
use crate::node::{random_id, random_seed};
use crate::rtc::{RtcConfig, WebRtc};
use crate::storage::{Backing as _, CacheDir, DirBacking, PutMode, StoreDriver, chunk_name};

const PIECE: u32 = 65_536;
const GENEROUS: Budget = Budget { burst: 1_000_000, interval: Duration::from_nanos(1) };

/// A worker and its HTTP; what it stores is in a folder that goes with it.
struct Stage {
    addr: SocketAddr,
    _node: WorkerNode,
    _stop: oneshot::Sender<()>,
    _serving: JoinHandle<io::Result<()>>,
    folder: TempDir,
}

/// A share that is stored.
struct Stored {
    share: Metainfo,
    files: Vec<(String, Vec<u8>)>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

fn key() -> SharedKey {
    SharedKey::new(b"a key for testing").expect("long enough")
}

impl Stage {
    async fn new() -> Self {
        Self::with(GENEROUS).await
    }

    async fn with(requests: Budget) -> Self {
        Self::of(requests, None).await
    }

    async fn of(requests: Budget, dht: Option<WorkerDht>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let blocking = Blocking::threads(2);
        let (cache, recovered) = CacheDir::open(folder.path().join("cache")).expect("an empty folder");
        let backing = Arc::new(DirBacking::open(folder.path().join("store"), blocking.clone()).expect("a folder"));
        let store = StoreDriver::new(cache, backing, blocking.clone());
        let listener = TokioNet.bind((Ipv4Addr::LOCALHOST, 0).into()).await.expect("loopback");
        let addr = listener.local_addr().expect("bound");
        let url = format!("http://{addr}");
        let config =
            WorkerConfig::new(random_id(), "w1".into(), url.clone(), key(), system_clock(), random_seed());
        // Nobody is there: what is stored is served all the same.
        let fronts = vec![FrontUrl::parse("http://127.0.0.1:1").expect("a URL")];
        let options =
            WorkerOptions { config, fronts, store, recovered, blocking: blocking.clone(), memory: || None, dht };
        let rtc = RtcConfig::default();
        let node = WorkerNode::start(options, TokioNet, |sink| WebRtc::new(rtc, sink)).expect("WebRTC");
        let (stop, stopped) = oneshot::channel();
        let http = WorkerHttp { name: "w1".into(), url, key: key(), unix_ms: system_clock, requests, blocking };
        let serving = tokio::spawn(serve(listener, http, node.asker().clone(), async {
            // Resolves when the other side is dropped.
            let _ = stopped.await;
        }));
        Self { addr, _node: node, _stop: stop, _serving: serving, folder }
    }

    /// Puts a share into the worker's folder.
    async fn store(&self, name: &str, files: &[(&[&str], usize)]) -> Stored {
        let backing = DirBacking::open(self.folder.path().join("store"), Blocking::Inline).expect("a folder");
        let mut builder = MetainfoBuilder::new(name, PIECE).expect("a name");
        let mut contents: Vec<(String, Vec<u8>)> = Vec::new();
        for (path, length) in files {
            let data: Vec<u8> = (0..*length).map(|i| (i * 31 + i / 251 + contents.len()) as u8).collect();
            let roots = data.chunks(PIECE as usize).map(|piece| piece_root(piece, *length as u64, PIECE));
            builder.file(path, *length as u64, roots.collect()).expect("legal");
            contents.push((path.join("/"), data));
        }
        let share = builder.build().expect("a share");
        for piece in share.pieces() {
            let path = share.files()[piece.file as usize].path.join("/");
            let (_, data) = contents.iter().find(|(known, _)| *known == path).expect("one of them");
            let data = &data[piece.offset as usize..][..piece.chunk.length() as usize];
            let body = Bytes::copy_from_slice(data);
            assert!(VerifiedChunk::verify(piece.chunk, body.clone()).is_some());
            backing.put(Key::Chunk(piece.chunk), body, PutMode::Create).await.expect("room");
        }
        backing.put(Key::Torrent(share.info_hash()), share.raw().clone(), PutMode::Create).await.expect("room");
        Stored { share, files: contents }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask_with(method, path, headers, Bytes::new()).await
    }

    async fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let stream = TcpStream::connect(self.addr).await.expect("listening");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        let carrying = tokio::spawn(connection);
        let mut request = hyper::Request::builder().method(method).uri(path).header("Host", "w1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("legal");
        let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("all of it").to_bytes();
        carrying.abort();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }
}

impl Stored {
    fn url(&self, file: &str) -> String {
        let name = self.share.name();
        let below = if self.share.is_single_file() { String::new() } else { format!("/{file}") };
        format!("/files/{}/{name}{below}", self.share.info_hash())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_of_a_share_is_served_whole_and_in_parts() {
    let stage = Stage::new().await;
    let folder: [(&[&str], usize); 4] =
        [(&["big"], 700_001), (&["empty"], 0), (&["sub", "one"], 1), (&["sub", "piece"], PIECE as usize)];
    for stored in [stage.store("folder", &folder).await, stage.store("only", &[(&["only"], 20_000)]).await] {
        for (path, data) in &stored.files {
            let url = stored.url(path);
            let whole = stage.get(&url).await;
            assert_eq!((whole.status, &whole.body[..]), (200, &data[..]), "{url}");
            assert_eq!(whole.header("content-length"), data.len().to_string());
            assert_eq!(whole.header("accept-ranges"), "bytes");
            assert_eq!(whole.header("access-control-allow-origin"), "*");
            let tag = whole.header("etag").to_owned();
            assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");

            let head = stage.ask("HEAD", &url, &[("Range", "bytes=0-0")]).await;
            assert_eq!((head.status, head.body.len()), (200, 0));
            assert_eq!(head.header("content-length"), data.len().to_string());
            assert_eq!(head.header("etag"), tag);

            for (from, to) in [(0, 1), (16_383, 16_385), (65_530, 65_540), (199_999, 480_000), (700_000, 700_001)]
            {
                let range = format!("bytes={from}-{}", to - 1);
                let part = stage.ask("GET", &url, &[("Range", &range), ("If-Range", &tag)]).await;
                let expected = &data[from.min(data.len())..to.min(data.len())];
                if expected.is_empty() {
                    assert_eq!(part.status, 416, "{url} {range}");
                    assert_eq!(part.header("content-range"), format!("bytes */{}", data.len()));
                } else {
                    assert_eq!((part.status, &part.body[..]), (206, expected), "{url} {range}");
                    let last = from + expected.len() - 1;
                    assert_eq!(part.header("content-range"), format!("bytes {from}-{last}/{}", data.len()));
                }
            }
            let known = stage.ask("GET", &url, &[("If-None-Match", &tag)]).await;
            assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, &tag[..]));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_are_listed_once_cached_and_served_whether_or_not() {
    let stage = Stage::new().await;
    let stored = stage.store("only", &[(&["only"], 200_000)]).await;
    let data = &stored.files[0].1;
    assert_eq!(stage.get("/chunks").await.json(), json!({"chunks": [], "next": null}));
    let pieces: Vec<ChunkId> = stored.share.pieces().iter().map(|piece| piece.chunk).collect();
    for (n, chunk) in pieces.iter().enumerate() {
        let url = format!("/chunks/{}", chunk_name(*chunk));
        assert_eq!(stage.ask("HEAD", &url, &[]).await.status, 200);
        let body = stage.get(&url).await.body;
        assert!(body == data[n * PIECE as usize..][..chunk.length() as usize]);
        let part = stage.ask("GET", &url, &[("Range", "bytes=-5")]).await;
        assert_eq!((part.status, &part.body[..]), (206, &body[body.len() - 5..]));
        let hashes = stage.get(&format!("{url}/hashes")).await;
        assert_eq!((hashes.status, hashes.header("content-type")), (200, "application/octet-stream"));
        let (leaves, rest) = hashes.body.as_chunks();
        let leaves: Vec<Digest> = leaves.iter().copied().map(Digest).collect();
        assert!(rest.is_empty() && ChunkLeaves::prove(*chunk, leaves).is_some(), "{url}");
    }
    // Written to the cache behind the answer.
    let mut listed = stage.get("/chunks").await.json();
    while listed["chunks"].as_array().expect("a list").len() < pieces.len() {
        tokio::task::yield_now().await;
        listed = stage.get("/chunks").await.json();
    }
    let mut sorted = pieces.clone();
    sorted.sort_unstable();
    let names: Vec<String> = sorted.into_iter().map(chunk_name).collect();
    assert_eq!(listed, json!({"chunks": names, "next": null}));
    let page = stage.get("/chunks?limit=3").await.json();
    assert_eq!(page, json!({"chunks": names[..3], "next": names[2]}));
    assert_eq!(stage.get(&format!("/chunks?after={}", names[2])).await.json()["chunks"], json!(names[3..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_or_not_right_is_refused_with_the_reason() {
    let stage = Stage::new().await;
    let stored = stage.store("folder", &[(&["a"], 70_000), (&["b"], 5)]).await;
    let hash = stored.share.info_hash();
    let nowhere = "ab".repeat(32);
    for (path, status, why) in [
        (format!("/files/{nowhere}/folder/a"), 404, "not stored"),
        (format!("/files/{hash}/folder/c"), 404, "no such file"),
        (format!("/files/{hash}/folder/../folder/a"), 404, "no such file"),
        (format!("/files/{hash}/%2e%2e/%2e%2e/etc/passwd"), 404, "no such file"),
        (format!("/files/{hash}/folder/%zz"), 400, "percent sign"),
        ("/files/ab/folder/a".to_owned(), 400, "64 hexadecimal digits"),
        (format!("/torrents/{nowhere}.ko"), 404, "not stored"),
        (format!("/torrents/{hash}"), 400, "`.ko`"),
        (format!("/chunks/{nowhere}"), 400, "ROOT.LENGTH.HEIGHT"),
        (format!("/chunks/{nowhere}.1.0"), 404, "not stored"),
        (format!("/chunks/{nowhere}.1.0/hashes"), 404, "not stored"),
        (format!("/chunks/{nowhere}/hashes"), 400, "ROOT.LENGTH.HEIGHT"),
        (format!("/chunks/{nowhere}.16777217.10"), 400, "ROOT.LENGTH.HEIGHT"),
        ("/chunks?limit=0".to_owned(), 400, "1 to 1000"),
    ] {
        let answer = stage.get(&path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text().contains(why), "{path}: {}", answer.text());
        if !path.contains('?') {
            assert_eq!(stage.ask("HEAD", &path, &[]).await.status, status, "{path}");
        }
    }
    assert_eq!(stage.ask("POST", &stored.url("a"), &[]).await.status, 405);
    let preflight = stage.ask("OPTIONS", &stored.url("a"), &[("Origin", "http://page")]).await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, "GET, HEAD"));
}

/// What rotted in the backing store is never served, and is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotten_bytes_are_not_served() {
    let stage = Stage::new().await;
    let stored = stage.store("only", &[(&["only"], 100_000)]).await;
    let rot = |chunk: ChunkId| {
        let path = stage.folder.path().join("store").join(Key::Chunk(chunk).to_string());
        flip(&path);
    };
    rot(stored.share.pieces()[0].chunk);
    let url = stored.url("only");
    assert_eq!(stage.get(&url).await.status, 503);
    let last = stage.ask("GET", &url, &[("Range", "bytes=-10")]).await;
    assert_eq!((last.status, &last.body[..]), (206, &stored.files[0].1[99_990..]));
    let stats = stage.get("/stats").await.json();
    assert_eq!((&stats["store"]["backing_corrupt"], &stats["storage"]["s3Errors"]), (&json!(1), &json!(1)));
    assert!(stage.get("/metrics").await.text().contains("kollator_worker_storage_corrupt_total 1\n"));
}

fn flip(path: &FsPath) {
    let mut bytes = std::fs::read(path).expect("stored");
    bytes[7] ^= 1;
    std::fs::write(path, bytes).expect("writable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ko_names_this_worker_as_its_web_seed() {
    let stage = Stage::new().await;
    let stored = stage.store("folder", &[(&["a"], 70_000), (&["b"], 5)]).await;
    let hash = stored.share.info_hash();
    let answer = stage.get(&format!("/torrents/{hash}.ko")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/x-bittorrent"));
    let seeded = Metainfo::parse(answer.body).expect("a .ko");
    assert_eq!(seeded.info_hash(), hash);
    assert_eq!(seeded.url_list(), [format!("http://{}/files/{hash}/", stage.addr)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_is_cleared_for_whoever_has_the_key() {
    let stage = Stage::new().await;
    let stored = stage.store("only", &[(&["only"], 100)]).await;
    assert_eq!(stage.get(&stored.url("only")).await.status, 200);
    while stage.get("/chunks").await.json()["chunks"] == json!([]) {
        tokio::task::yield_now().await;
    }
    let now = system_clock();
    let proof = format!("Kollator admin:{now}:{}", key().token("POST /cache/clear w1 admin", now));
    let forged = format!("Kollator admin:{now}:{}", key().token("POST /cache/clear w2 admin", now));
    let clear = |proof: String| {
        let stage = &stage;
        async move { stage.ask("POST", "/cache/clear", &[("Authorization", &proof)]).await }
    };
    assert_eq!(stage.ask("POST", "/cache/clear", &[]).await.status, 401);
    assert_eq!(clear(forged).await.status, 401);
    assert_ne!(stage.get("/chunks").await.json()["chunks"], json!([]));
    let cleared = clear(proof.clone()).await;
    assert_eq!((cleared.status, cleared.json()), (200, json!({"removed": 1})));
    assert_eq!(cleared.header("access-control-allow-origin"), "");
    assert_eq!(stage.get("/chunks").await.json()["chunks"], json!([]));
    let again = clear(proof).await;
    assert_eq!((again.status, again.header("www-authenticate")), (401, "Kollator"));
    assert!(again.text().contains("not newer"), "{}", again.text());
    assert_eq!(stage.get("/stats").await.json()["http"]["proofs_refused"], json!(3));
    assert_eq!(stage.get(&stored.url("only")).await.body, stored.files[0].1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_asks_too_often_is_told_so() {
    let stage = Stage::with(Budget { burst: 2, interval: Duration::from_secs(3600) }).await;
    assert_eq!(stage.get("/health").await.status, 200);
    assert_eq!(stage.get("/nowhere").await.status, 404);
    let refused = stage.get("/health").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (429, "*"));
}

/// A body that its client does not take keeps only little in memory, and its place only until the client is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_read_no_faster_than_it_is_taken() {
    let stage = Stage::new().await;
    let length = 32 << 20;
    let stored = stage.store("only", &[(&["only"], length)]).await;
    let stream = TcpStream::connect(stage.addr).await.expect("listening");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    let carrying = tokio::spawn(connection);
    let request = hyper::Request::builder().uri(stored.url("only")).header("Host", "w1");
    let answer =
        sender.send_request(request.body(Empty::<Bytes>::new()).expect("legal")).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let (mut served, mut before) = (1, 0);
    // Until the buffers between the two are full.
    while served != before {
        before = served;
        tokio::time::sleep(Duration::from_millis(500)).await;
        served = stage.get("/stats").await.json()["http"]["bytes_served"].as_u64().expect("a number");
    }
    assert!(served > 0 && served < length as u64 / 2, "{served} bytes were read for a client that takes none");
    assert_eq!(stage.get("/stats").await.json()["http"]["bodies"], json!(1));
    drop(answer);
    drop(sender);
    carrying.abort();
    while stage.get("/stats").await.json()["http"]["bodies"] != json!(0) {
        tokio::task::yield_now().await;
    }
}

/// A DHT that remembers what was announced, and knows nobody.
#[derive(Default)]
struct Heard(Mutex<BTreeSet<DhtName>>);

#[async_trait::async_trait]
impl Dht for Heard {
    async fn announce(&self, name: DhtName, port: u16) -> Result<(), DhtError> {
        assert_eq!(port, 8181);
        self.0.lock().expect("no test panics with it").insert(name);
        Ok(())
    }

    async fn peers(&self, _name: DhtName, _most: usize) -> Result<Vec<SocketAddrV4>, DhtError> {
        Ok(Vec::new())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_names_is_announced() {
    let heard = Arc::new(Heard::default());
    let dht = WorkerDht { dht: heard.clone(), port: 8181 };
    let stage = Stage::of(GENEROUS, Some(dht)).await;
    let stored = stage.store("file", &[(&["file"], 100)]).await;
    assert_eq!(stage.get(&stored.url("file")).await.status, 200);
    while stage.get("/chunks").await.json()["chunks"] == json!([]) {
        tokio::task::yield_now().await;
    }
    let (hash, chunk) = (stored.share.info_hash(), stored.share.pieces()[0].chunk);
    let (unknown, id) = (InfoHash(sha256(b"unknown")), chunk_name(chunk));
    let mut now = system_clock();
    let mut announce = async |body: String| {
        now += 1;
        let proof = format!("Kollator admin:{now}:{}", key().token("POST /dht/announce w1 admin", now));
        stage.ask_with("POST", "/dht/announce", &[("Authorization", &proof)], body.into()).await
    };
    let body = json!({"shares": [hash, unknown], "chunks": [id]});
    assert_eq!(stage.ask_with("POST", "/dht/announce", &[], body.to_string().into()).await.status, 401);
    let answer = announce(body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["not_held"], json!([unknown]));
    // Which of them the first sweep came to first is not said.
    let names = [DhtName::from(hash), chunk.into()];
    while !names.iter().all(|name| heard.0.lock().expect("no test panics with it").contains(name)) {
        tokio::task::yield_now().await;
    }
    while announce(body.to_string()).await.json()["announced"] != json!([hash, id]) {
        tokio::task::yield_now().await;
    }
    let refused = announce("{}".to_owned()).await;
    assert_eq!((refused.status, refused.text().contains("1 to 100")), (400, true), "{}", refused.text());
    let told = stage.get("/stats").await.json()["dht"].clone();
    assert_eq!(told["enabled"], json!(true));
    assert!(told["announcements"].as_u64() >= Some(2), "{told}");
    assert!(!heard.0.lock().expect("no test panics with it").contains(&unknown.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_dht_nothing_is_announced() {
    let stage = Stage::new().await;
    let now = system_clock();
    let proof = format!("Kollator admin:{now}:{}", key().token("POST /dht/announce w1 admin", now));
    let body = json!({"shares": [InfoHash(sha256(b"share"))]}).to_string();
    let answer = stage.ask_with("POST", "/dht/announce", &[("Authorization", &proof)], body.into()).await;
    assert_eq!((answer.status, answer.text()), (501, "this worker does not use the DHT\n"));
    assert_eq!(stage.get("/stats").await.json()["dht"]["enabled"], json!(false));
}

/// A worker gets a chunk from another, cached or not, and nobody else gets it that way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_get_chunks_from_each_other() {
    let stage = Stage::new().await;
    let stored = stage.store("only", &[(&["only"], 200_000)]).await;
    let chunk = stored.share.pieces()[0].chunk;
    let (path, data) = (path_of(chunk), &stored.files[0].1[..PIECE as usize]);
    let prover = |name: &str, key| Prover::new(name.into(), key, system_clock);
    let homes = Homes::new(TokioNet, prover("w2", key()), Blocking::Inline);
    let home = Home { name: "w1".into(), http: format!("http://{}", stage.addr) };
    for _ in 0..3 {
        let HomeAnswer::Chunk(found) = homes.ask(chunk, &home).await else { panic!("not found") };
        assert!(found.data() == data);
    }
    let unknown = ChunkId::new(chunk.root(), 5, 0).expect("legal");
    assert!(matches!(homes.ask(unknown, &home).await, HomeAnswer::NotThere));

    let stranger = SharedKey::new(b"another key for testing").expect("long enough");
    let stranger = Homes::new(TokioNet, prover("w2", stranger), Blocking::Inline);
    assert!(matches!(stranger.ask(chunk, &home).await, HomeAnswer::Failed(_)));
    assert_eq!(stage.get(&path).await.status, 401);
    let proof = prover("w4", key()).header("GET", &path, "w1");
    let ask = |proof: &str| {
        let (stage, path, proof) = (&stage, &path, proof.to_owned());
        async move { stage.ask("GET", path, &[("Authorization", &proof)]).await }
    };
    let answer = ask(&proof).await;
    assert_eq!((answer.status, &answer.body[..], answer.header("access-control-allow-origin")), (200, data, ""));
    assert_eq!(ask(&proof).await.status, 401, "a proof is good once");
    assert_eq!(ask(&prover("w5", key()).header("GET", &path, "w3")).await.status, 401, "for one worker");

    let stats = stage.get("/stats").await.json();
    assert_eq!(stats["homes"]["bytes_served"], json!(4 * u64::from(PIECE)));
    assert_eq!((&stats["homes"]["served"], &stats["http"]["proofs_refused"]), (&json!(4), &json!(4)));
}
