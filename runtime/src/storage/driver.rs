//! Does what the store machine asks, off the caller's task, and verifies whatever comes back from outside.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest, InfoHash};
use kollator_core::merkle::{self, MAX_HEIGHT, VerifiedChunk};
use kollator_core::metainfo::Metainfo;
use kollator_core::node::io::DiskError;
use kollator_core::store::{Effect, EffectDone, Key, Outcome};

use super::backing::{Backing, Found, PutMode};
use super::cache_dir::CacheDir;
use crate::blocking::Blocking;

/// Most objects remembered as wrong in the backing store. Beyond it, the smallest names are forgotten.
const MAX_WRONG: usize = 4096;
/// Folder of the backing store where `.ko`s are.
const TORRENTS: &str = "torrents/";

/// Executes [`Effect`]s. Clones drive the same disk and backing store.
#[derive(Clone)]
pub struct StoreDriver(Arc<Inner>);

struct Inner {
    cache: CacheDir,
    backing: Arc<dyn Backing>,
    blocking: Blocking,
    /// Names of objects of the backing store whose content was wrong: they count as missing, and are replaced when put.
    /// Chunks whose trees differ in height alone are one object.
    wrong: Mutex<BTreeSet<String>>,
}

impl std::fmt::Debug for StoreDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreDriver").field("cache", &self.0.cache).finish_non_exhaustive()
    }
}

impl StoreDriver {
    /// Drives `cache` and `backing`; disk work and hashing go through `blocking`.
    #[must_use]
    pub fn new(cache: CacheDir, backing: Arc<dyn Backing>, blocking: Blocking) -> Self {
        Self(Arc::new(Inner { cache, backing, blocking, wrong: Mutex::default() }))
    }

    /// Does one effect. The future is to be spawned: it ends when the effect is done, with the machine's answer.
    pub fn execute(&self, effect: Effect) -> impl Future<Output = EffectDone> + Send + 'static {
        let driver = self.clone();
        async move {
            let (ticket, outcome) = match effect {
                Effect::CacheRead { ticket, chunk, part } => {
                    (ticket, Ok(driver.on_disk(move |cache| cache.read(chunk, part)).await))
                }
                Effect::CacheWrite { ticket, chunk } => {
                    let write = move |cache: &CacheDir| cache.write(&chunk).map(|()| Outcome::Done);
                    (ticket, driver.on_disk(write).await)
                }
                Effect::CacheRemove { ticket, chunk } => {
                    let remove = move |cache: &CacheDir| cache.remove(chunk).map(|()| Outcome::Done);
                    (ticket, driver.on_disk(remove).await)
                }
                Effect::CacheVerify { ticket, chunk } => {
                    (ticket, Ok(driver.on_disk(move |cache| cache.verify(chunk)).await))
                }
                Effect::FetchChunk { ticket, chunk } => (ticket, driver.fetch_chunk(chunk).await),
                Effect::FetchTorrent { ticket, info_hash } => (ticket, driver.fetch_torrent(info_hash).await),
                Effect::PutChunk { ticket, chunk } => {
                    let put = driver.put(Key::Chunk(chunk.id()), chunk.data().clone(), PutMode::Create);
                    (ticket, put.await.map(|()| Outcome::Done))
                }
                Effect::PutTorrent { ticket, info_hash, ko } => {
                    // Keys outside `info` may differ, so another `.ko` of the same share is no reason to skip it.
                    let put = driver.put(Key::Torrent(info_hash), ko, PutMode::Replace);
                    (ticket, put.await.map(|()| Outcome::Done))
                }
                Effect::Exists { ticket, key } => (ticket, driver.has(key).await.map(Outcome::Exists)),
            };
            EffectDone { ticket, outcome: outcome.unwrap_or_else(Outcome::Failed) }
        }
    }

    /// Shares that the backing store has: the first `most` above `after`, in order, or all there are.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn shares(&self, after: Option<InfoHash>, most: usize) -> Result<Vec<InfoHash>, DiskError> {
        let mut after = after.map_or_else(String::new, |share| Key::Torrent(share).to_string());
        let mut shares = Vec::new();
        while shares.len() < most {
            let names = self.0.backing.list(TORRENTS, &after).await?;
            let Some(last) = names.iter().max() else { break };
            after.clone_from(last);
            let known = names.iter().filter_map(|name| share_of(name));
            let right = known.filter(|share| !self.is_wrong(Key::Torrent(*share)));
            shares.extend(right.take(most - shares.len()));
        }
        Ok(shares)
    }

    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce(&CacheDir) -> T + Send + 'static) -> T {
        let inner = Arc::clone(&self.0);
        self.0.blocking.run(move || work(&inner.cache)).await
    }

    async fn fetch_chunk(&self, chunk: ChunkId) -> Result<Outcome, DiskError> {
        let key = Key::Chunk(chunk);
        let body = match self.0.backing.get(key).await? {
            Found::Nothing => return Ok(Outcome::Chunk(None)),
            Found::WrongLength(length) => return Ok(Outcome::Corrupt(self.condemn_length(key, length))),
            Found::Body(body) => body,
        };
        let verify = move || match VerifiedChunk::verify(chunk, body.clone()) {
            None if is_at_another_height(chunk, &body) => Some(None),
            None => None,
            verified => Some(verified),
        };
        Ok(match self.0.blocking.run(verify).await {
            Some(found) => Outcome::Chunk(found),
            None => Outcome::Corrupt(self.condemn(key, &"its bytes are not the chunk")),
        })
    }

    async fn fetch_torrent(&self, info_hash: InfoHash) -> Result<Outcome, DiskError> {
        let key = Key::Torrent(info_hash);
        let ko = match self.0.backing.get(key).await? {
            Found::Nothing => return Ok(Outcome::Torrent(None)),
            Found::WrongLength(length) => return Ok(Outcome::Corrupt(self.condemn_length(key, length))),
            Found::Body(ko) => ko,
        };
        Ok(match self.0.blocking.run(move || Metainfo::parse(ko)).await {
            Ok(metainfo) if metainfo.info_hash() == info_hash => Outcome::Torrent(Some(metainfo.raw().clone())),
            Ok(other) => {
                Outcome::Corrupt(self.condemn(key, &format_args!("it is the share {}", other.info_hash())))
            }
            Err(error) => Outcome::Corrupt(self.condemn(key, &error)),
        })
    }

    async fn put(&self, key: Key, body: Bytes, mode: PutMode) -> Result<(), DiskError> {
        let mode = if self.is_wrong(key) { PutMode::Replace } else { mode };
        self.0.backing.put(key, body, mode).await?;
        self.0.wrong.lock().unwrap_or_else(PoisonError::into_inner).remove(&key.to_string());
        Ok(())
    }

    async fn has(&self, key: Key) -> Result<bool, DiskError> {
        Ok(!self.is_wrong(key) && self.0.backing.has(key).await?)
    }

    fn is_wrong(&self, key: Key) -> bool {
        self.0.wrong.lock().unwrap_or_else(PoisonError::into_inner).contains(&key.to_string())
    }

    fn condemn_length(&self, key: Key, length: u64) -> DiskError {
        self.condemn(key, &format_args!("it is {length} bytes long, which it cannot be"))
    }

    /// Remembers that the object is wrong.
    fn condemn(&self, key: Key, why: &dyn std::fmt::Display) -> DiskError {
        let mut wrong = self.0.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.insert(key.to_string());
        if wrong.len() > MAX_WRONG {
            wrong.pop_first();
        }
        DiskError(format!("{key} is wrong in the backing store: {why}"))
    }
}

/// The share whose `.ko` has this name in the backing store.
fn share_of(name: &str) -> Option<InfoHash> {
    let share = name.strip_prefix(TORRENTS)?.strip_suffix(".ko")?.parse().ok()?;
    (Key::Torrent(share).to_string() == name).then_some(share)
}

/// Whether these bytes are a chunk of the same root and length whose tree has another height. Both have one name in the
/// backing store, and whoever asks for a chunk may say any height: there is no such chunk, and nothing is wrong.
fn is_at_another_height(chunk: ChunkId, body: &[u8]) -> bool {
    let leaves = merkle::leaves(body);
    (0..=MAX_HEIGHT)
        .filter_map(|height| ChunkId::new(chunk.root(), chunk.length(), height))
        .filter(|other| Key::Chunk(*other).to_string() == Key::Chunk(chunk).to_string())
        .any(|other| merkle::root(&leaves, other.height(), Digest::default()) == other.root())
}
