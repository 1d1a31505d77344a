//! What a worker's store stands on: its own cache, and the one backing store that all workers share. Nothing
//! is ever removed from the backing store, but it may fail, dawdle, or do as told and say it failed.

use std::collections::BTreeMap;

use bytes::Bytes;
use kollator_core::id::{ChunkId, InfoHash};
use kollator_core::merkle::{HashedBlocks, VerifiedChunk};
use kollator_core::node::io::{DiskError, Ticket};
use kollator_core::node::worker::WorkerInput;
use kollator_core::store::{Effect, EffectDone, Key, Outcome, Part};

use super::net::between;
use super::{Event, Fact, FaultKind, Input, World};

/// The backing store.
#[derive(Debug, Default)]
pub(super) struct Backing {
    pub(super) chunks: BTreeMap<ChunkId, VerifiedChunk>,
    pub(super) torrents: BTreeMap<InfoHash, Bytes>,
}

impl Backing {
    pub(super) fn has(&self, key: Key) -> bool {
        match key {
            Key::Chunk(chunk) => self.chunks.contains_key(&chunk),
            Key::Torrent(info_hash) => self.torrents.contains_key(&info_hash),
        }
    }
}

/// A worker's cache.
pub(super) type Cache = BTreeMap<ChunkId, VerifiedChunk>;

impl World {
    /// A worker asks something of its cache or of the backing store.
    pub(super) fn store_command(&mut self, node: usize, effect: Effect) {
        let cached = matches!(
            effect,
            Effect::CacheRead { .. }
                | Effect::CacheWrite { .. }
                | Effect::CacheRemove { .. }
                | Effect::CacheVerify { .. }
        );
        let mut takes = if cached {
            between(&mut self.rng, &self.settings.disk_latency)
        } else {
            between(&mut self.rng, &self.settings.backing_latency)
        };
        if !cached && self.strikes(FaultKind::BackingSlow) {
            takes = takes * 20 + takes;
        }
        let life = self.nodes[node].life;
        self.after(takes, Event::Store { node, life, effect });
    }

    /// A worker asks to have blocks hashed.
    pub(super) fn hash_command(&mut self, node: usize, ticket: Ticket, data: Bytes) {
        let takes = between(&mut self.rng, &self.settings.disk_latency);
        let blocks = HashedBlocks::compute(data);
        self.hear_later(takes, node, Input::Worker(WorkerInput::Hashed { ticket, blocks }));
    }

    /// The cache or the backing store gets to an effect. What was on its way to the backing store when the
    /// worker died may still get there; what was on its way to the cache does not.
    pub(super) fn store_step(&mut self, node: usize, life: u32, effect: Effect) {
        let alive = self.nodes[node].up() && self.nodes[node].life == life;
        if !alive && !matches!(effect, Effect::PutChunk { .. } | Effect::PutTorrent { .. }) {
            return;
        }
        let (ticket, outcome) = match effect {
            Effect::CacheRead { ticket, chunk, part } => (ticket, self.cache_read(node, chunk, part)),
            Effect::CacheWrite { ticket, chunk } => {
                if self.strikes(FaultKind::CacheError) {
                    (ticket, failed("no space left on device"))
                } else {
                    self.nodes[node].cache.insert(chunk.id(), chunk);
                    (ticket, Outcome::Done)
                }
            }
            Effect::CacheRemove { ticket, chunk } => {
                self.nodes[node].cache.remove(&chunk);
                (ticket, Outcome::Done)
            }
            Effect::CacheVerify { ticket, chunk } => match self.cache_read(node, chunk, Part::Leaves) {
                Outcome::Read(_) => (ticket, Outcome::Done),
                wrong => (ticket, wrong),
            },
            Effect::FetchChunk { ticket, chunk } => {
                let found = self.backing.chunks.get(&chunk).cloned();
                (ticket, self.backing_answer(Outcome::Chunk(found)))
            }
            Effect::FetchTorrent { ticket, info_hash } => {
                let found = self.backing.torrents.get(&info_hash).cloned();
                (ticket, self.backing_answer(Outcome::Torrent(found)))
            }
            Effect::Exists { ticket, key } => {
                let found = self.backing.has(key);
                (ticket, self.backing_answer(Outcome::Exists(found)))
            }
            Effect::PutChunk { ticket, chunk } => (
                ticket,
                self.backing_put(node, Key::Chunk(chunk.id()), |backing| {
                    backing.chunks.insert(chunk.id(), chunk);
                }),
            ),
            Effect::PutTorrent { ticket, info_hash, ko } => (
                ticket,
                self.backing_put(node, Key::Torrent(info_hash), |backing| {
                    backing.torrents.insert(info_hash, ko);
                }),
            ),
        };
        if alive {
            self.hear(node, Input::Worker(WorkerInput::Store(EffectDone { ticket, outcome })));
        }
    }

    fn cache_read(&mut self, node: usize, chunk: ChunkId, part: Part) -> Outcome {
        if self.strikes(FaultKind::CacheError) {
            return failed("input/output error");
        }
        let rotten = self.strikes(FaultKind::CacheCorrupt);
        let Some(cached) = self.nodes[node].cache.get(&chunk) else {
            return failed("no such file");
        };
        match part.of(cached) {
            None => failed("no such range"),
            Some(_) if rotten => Outcome::Corrupt(DiskError("it is not as it was written".into())),
            Some(read) => Outcome::Read(read),
        }
    }

    fn backing_answer(&mut self, answer: Outcome) -> Outcome {
        if self.strikes(FaultKind::BackingError) { failed("503 slow down") } else { answer }
    }

    fn backing_put(&mut self, node: usize, key: Key, put: impl FnOnce(&mut Backing)) -> Outcome {
        if self.strikes(FaultKind::BackingError) {
            return failed("503 slow down");
        }
        put(&mut self.backing);
        self.observe(node, &Fact::Backed(key));
        if self.strikes(FaultKind::BackingUnknown) {
            failed("connection reset while waiting")
        } else {
            Outcome::Done
        }
    }
}

fn failed(why: &str) -> Outcome {
    Outcome::Failed(DiskError(why.into()))
}
