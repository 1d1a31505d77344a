//! The S3 backing store object by object as a worker uses it: against the embedded server, or against the one at
//! `KOLLATOR_TEST_S3`, which must take any keys.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::merkle::{MAX_CHUNK_LEN, MAX_HEIGHT, VerifiedChunk, leaves, root};
use kollator_core::node::io::Ticket;
use kollator_core::store::{Effect, Key, Outcome};
use kollator_runtime::blocking::Blocking;
use kollator_runtime::storage::{Backing, CacheDir, Found, PutMode, S3Backing, S3Settings, StoreDriver};
use kollator_testbed::s3::{Keys, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn chunk(length: u32) -> VerifiedChunk {
    let data: Bytes = (0..length).map(|i| (i * 13 % 251) as u8).collect();
    let hashes = leaves(&data);
    let id = ChunkId::new(root(&hashes, 8, Digest::default()), length, 8).unwrap();
    VerifiedChunk::verify(id, data).unwrap()
}

/// The server under test, and a bucket there that nobody has used.
async fn server(root: &Path) -> S3Settings {
    match std::env::var("KOLLATOR_TEST_S3") {
        Ok(endpoint) => settings(endpoint),
        Err(_) => settings(embedded(root).await),
    }
}

fn settings(endpoint: String) -> S3Settings {
    static BUCKETS: AtomicU32 = AtomicU32::new(0);
    let number = BUCKETS.fetch_add(1, Ordering::Relaxed);
    S3Settings {
        endpoint: Some(endpoint),
        region: "us-east-1".into(),
        bucket: format!("kollator-{}-{number}", std::process::id()),
        access_key: "access".into(),
        secret_key: "secret".into(),
        path_style: true,
        attempt_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(10),
        deadline: Duration::from_secs(30),
    }
}

/// Starts the embedded server; its URL.
async fn embedded(root: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let keys = Keys { access: "access".into(), secret: "secret".into() };
    tokio::spawn(serve(listener, root.to_owned(), keys, std::future::pending()));
    endpoint
}

#[tokio::test]
async fn objects_are_kept_found_and_created_once() {
    let folder = tempfile::tempdir().unwrap();
    let settings = server(folder.path()).await;
    let s3 = S3Backing::connect(settings.clone(), 1).await.unwrap();
    let whole = chunk(4 << 20);
    let key = Key::Chunk(whole.id());
    assert_eq!(s3.get(key).await.unwrap(), Found::Nothing);
    assert!(!s3.has(key).await.unwrap());
    s3.put(key, whole.data().clone(), PutMode::Create).await.unwrap();
    s3.put(key, whole.data().clone(), PutMode::Create).await.unwrap();
    assert!(s3.has(key).await.unwrap());
    let again = S3Backing::connect(settings, 2).await.unwrap();
    assert_eq!(again.get(key).await.unwrap(), Found::Body(whole.data().clone()));
}

#[tokio::test]
async fn an_object_of_a_wrong_length_is_not_there_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3Backing::connect(server(folder.path()).await, 1).await.unwrap();
    let whole = chunk(100);
    let key = Key::Chunk(whole.id());
    for length in [0, 60, 101, 200_000] {
        s3.put(key, vec![7; length].into(), PutMode::Replace).await.unwrap();
        assert!(!s3.has(key).await.unwrap(), "{length} bytes");
        assert_eq!(s3.get(key).await.unwrap(), Found::WrongLength(length as u64));
        s3.put(key, whole.data().clone(), PutMode::Create).await.unwrap();
        assert_eq!(s3.get(key).await.unwrap(), Found::Body(whole.data().clone()));
    }
}

#[tokio::test]
async fn a_rotten_object_is_not_taken_for_the_chunk_that_is_uploaded() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3Backing::connect(server(folder.path()).await, 1).await.unwrap();
    for length in [1, 20_000, 4 << 20] {
        let whole = chunk(length);
        let key = Key::Chunk(whole.id());
        for at in [0, length as usize / 2, length as usize - 1] {
            let mut rotten = whole.data().to_vec();
            rotten[at] ^= 1;
            s3.put(key, rotten.into(), PutMode::Replace).await.unwrap();
            s3.put(key, whole.data().clone(), PutMode::Create).await.unwrap();
            assert_eq!(s3.get(key).await.unwrap(), Found::Body(whole.data().clone()), "byte {at} of {length}");
        }
    }
}

/// A proxy before a server that takes the first put of a connection and never answers, `stalls` times; before it stalls,
/// it takes the whole body or only the head.
async fn stalling(upstream: String, stalls: u32, takes_body: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let left = Arc::new(AtomicU32::new(stalls));
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (left, upstream) = (Arc::clone(&left), upstream.clone());
            tokio::spawn(async move {
                let mut first = [0; 3];
                client.read_exact(&mut first).await.unwrap();
                let take = |left: u32| left.checked_sub(1);
                if &first == b"PUT" && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    if takes_body {
                        // Ends when the client gives up.
                        let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
                    } else {
                        std::future::pending::<()>().await;
                    }
                    return;
                }
                let address = upstream.strip_prefix("http://").unwrap();
                let mut server = TcpStream::connect(address).await.unwrap();
                server.write_all(&first).await.unwrap();
                // Either side may end it.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    endpoint
}

#[tokio::test]
async fn a_put_that_stands_still_is_tried_again_long_before_its_time_is_up() {
    let folder = tempfile::tempdir().unwrap();
    for takes_body in [true, false] {
        let direct = server(folder.path()).await;
        S3Backing::connect(direct.clone(), 1).await.unwrap();
        let endpoint = stalling(direct.endpoint.clone().unwrap(), 2, takes_body).await;
        let settings = S3Settings {
            endpoint: Some(endpoint),
            idle_timeout: Duration::from_millis(500),
            attempt_timeout: Duration::from_secs(3600),
            deadline: Duration::from_secs(3600),
            ..direct
        };
        let s3 = S3Backing::of_existing(settings, 1).unwrap();
        // More than the system takes without anyone reading it; short where the answer is waited for.
        let whole = match takes_body {
            true => chunk(100_000),
            false => large(),
        };
        let put = s3.put(Key::Chunk(whole.id()), whole.data().clone(), PutMode::Create);
        tokio::time::timeout(Duration::from_secs(120), put).await.expect("it is not waited for").unwrap();
        let found = s3.get(Key::Chunk(whole.id())).await.unwrap();
        assert_eq!(found, Found::Body(whole.data().clone()));
    }
}

/// The largest chunk there is.
fn large() -> VerifiedChunk {
    let data = Bytes::from(vec![7; MAX_CHUNK_LEN as usize]);
    let id = ChunkId::new(root(&leaves(&data), MAX_HEIGHT, Digest::default()), MAX_CHUNK_LEN, MAX_HEIGHT).unwrap();
    VerifiedChunk::verify(id, data).unwrap()
}

#[tokio::test]
async fn a_wrong_body_is_never_returned_and_the_next_put_heals_it() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = Arc::new(S3Backing::connect(server(&folder.path().join("s3")).await, 1).await.unwrap());
    let (cache, _) = CacheDir::open(folder.path().join("cache")).unwrap();
    let driver = StoreDriver::new(cache, Arc::clone(&s3) as Arc<dyn Backing>, Blocking::threads(2));
    let whole = chunk(20_000);
    let (ticket, key) = (Ticket(1), Key::Chunk(whole.id()));
    let fetch = || driver.execute(Effect::FetchChunk { ticket, chunk: whole.id() });
    for length in [20_000, 0, 19_999, 20_001] {
        s3.put(key, vec![0; length].into(), PutMode::Replace).await.unwrap();
        assert!(matches!(fetch().await.outcome, Outcome::Corrupt(_)), "{length} bytes");
        let put = driver.execute(Effect::PutChunk { ticket, chunk: whole.clone() }).await;
        assert!(matches!(put.outcome, Outcome::Done));
        assert!(matches!(fetch().await.outcome, Outcome::Chunk(Some(fetched)) if fetched.data() == whole.data()));
    }
}

#[tokio::test]
async fn wrong_settings_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let right = settings(embedded(folder.path()).await);
    let wrong = |change: fn(&mut S3Settings)| {
        let mut settings = right.clone();
        change(&mut settings);
        S3Backing::connect(settings, 1)
    };
    let endpoint = wrong(|settings| settings.endpoint = Some("localhost:9000".into())).await.unwrap_err();
    assert!(endpoint.0.contains("the S3 endpoint must be"), "{endpoint}");
    let bucket = wrong(|settings| settings.bucket = "No Bucket".into()).await.unwrap_err();
    assert!(bucket.0.contains("the S3 bucket must be"), "{bucket}");
    let keys = wrong(|settings| settings.secret_key = "guess".into()).await.unwrap_err();
    assert!(keys.0.contains("403"), "{keys}");
}
