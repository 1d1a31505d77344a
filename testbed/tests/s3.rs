//! The S3 backing store against the embedded server, object by object as a worker uses it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::merkle::{VerifiedChunk, leaves, root};
use kollator_core::node::io::Ticket;
use kollator_core::store::{Effect, Key, Outcome};
use kollator_runtime::blocking::Blocking;
use kollator_runtime::storage::{Backing, CacheDir, PutMode, S3Backing, S3Settings, StoreDriver};
use kollator_testbed::s3::{Keys, serve};
use tokio::net::TcpListener;

fn chunk(length: u32) -> VerifiedChunk {
    let data: Bytes = (0..length).map(|i| (i * 13 % 251) as u8).collect();
    let hashes = leaves(&data);
    let id = ChunkId::new(root(&hashes, 8, Digest::default()), length, 8).unwrap();
    VerifiedChunk::verify(id, data).unwrap()
}

async fn server(root: &Path) -> S3Settings {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let keys = Keys { access: "access".into(), secret: "secret".into() };
    tokio::spawn(serve(listener, root.to_owned(), keys, std::future::pending()));
    S3Settings {
        endpoint: Some(endpoint),
        region: "us-east-1".into(),
        bucket: "kollator".into(),
        access_key: "access".into(),
        secret_key: "secret".into(),
        path_style: true,
        attempt_timeout: Duration::from_secs(10),
        deadline: Duration::from_secs(30),
    }
}

#[tokio::test]
async fn objects_are_kept_found_and_created_once() {
    let folder = tempfile::tempdir().unwrap();
    let settings = server(folder.path()).await;
    let s3 = S3Backing::connect(settings.clone(), 1).await.unwrap();
    let whole = chunk(4 << 20);
    let key = Key::Chunk(whole.id());
    assert_eq!(s3.get(key).await.unwrap(), None);
    assert!(!s3.has(key).await.unwrap());
    s3.put(key, whole.data().clone(), PutMode::Create).await.unwrap();
    s3.put(key, whole.data().clone(), PutMode::Create).await.unwrap();
    assert!(s3.has(key).await.unwrap());
    let again = S3Backing::connect(settings, 2).await.unwrap();
    assert_eq!(again.get(key).await.unwrap().as_ref(), Some(whole.data()));
}

#[tokio::test]
async fn a_truncated_object_is_not_there_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3Backing::connect(server(folder.path()).await, 1).await.unwrap();
    let whole = chunk(100);
    let key = Key::Chunk(whole.id());
    s3.put(key, whole.data().slice(..60), PutMode::Replace).await.unwrap();
    assert!(!s3.has(key).await.unwrap());
    assert!(s3.get(key).await.unwrap_err().0.contains("60 bytes"));
    s3.put(key, whole.data().clone(), PutMode::Create).await.unwrap();
    assert_eq!(s3.get(key).await.unwrap().as_ref(), Some(whole.data()));
}

#[tokio::test]
async fn a_wrong_body_is_never_returned_and_the_next_put_heals_it() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = Arc::new(S3Backing::connect(server(&folder.path().join("s3")).await, 1).await.unwrap());
    let (cache, _) = CacheDir::open(folder.path().join("cache")).unwrap();
    let driver = StoreDriver::new(cache, Arc::clone(&s3) as Arc<dyn Backing>, Blocking::threads(2));
    let whole = chunk(20_000);
    let (ticket, key) = (Ticket(1), Key::Chunk(whole.id()));
    s3.put(key, vec![0; 20_000].into(), PutMode::Replace).await.unwrap();
    let fetch = || driver.execute(Effect::FetchChunk { ticket, chunk: whole.id() });
    assert!(matches!(fetch().await.outcome, Outcome::Failed(_)));
    let put = driver.execute(Effect::PutChunk { ticket, chunk: whole.clone() }).await;
    assert!(matches!(put.outcome, Outcome::Done));
    assert!(matches!(fetch().await.outcome, Outcome::Chunk(Some(fetched)) if fetched.data() == whole.data()));
}

#[tokio::test]
async fn wrong_settings_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let right = server(folder.path()).await;
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
