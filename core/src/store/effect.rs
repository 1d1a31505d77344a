//! What the store asks of its driver and hears back: the words only, no decisions.

use std::fmt;

use bytes::Bytes;

use crate::id::{ChunkId, Digest, InfoHash};
use crate::merkle::{BLOCK_LEN, VerifiedChunk};
use crate::node::io::{DiskError, Ticket};

/// Part of a chunk to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its leaf hashes.
    Leaves,
    /// Some of its blocks.
    Blocks {
        /// First.
        first: u16,
        /// How many, inside the chunk.
        count: u16,
    },
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartData {
    /// Leaf hashes, as they were when the chunk was verified.
    Leaves(Vec<Digest>),
    /// Bytes of blocks.
    Blocks(Bytes),
}

/// An object of the backing store. Displays as its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `chunks/<root>.<length>`
    Chunk(ChunkId),
    /// `torrents/<info hash>.ko`
    Torrent(InfoHash),
}

impl Part {
    /// Whether `chunk` has such a part.
    #[must_use]
    pub fn is_of(self, chunk: ChunkId) -> bool {
        match self {
            Self::Leaves => true,
            Self::Blocks { first, count } => chunk.range_len(first, count).is_some(),
        }
    }

    /// The part, taken from the whole chunk without copying its bytes; `None` if the chunk has no such part.
    #[must_use]
    pub fn of(self, chunk: &VerifiedChunk) -> Option<PartData> {
        match self {
            Self::Leaves => Some(PartData::Leaves(chunk.leaves().hashes().to_vec())),
            Self::Blocks { first, count } => {
                let length = chunk.id().range_len(first, count)? as usize;
                let start = usize::from(first) * BLOCK_LEN as usize;
                Some(PartData::Blocks(chunk.data().slice(start..start + length)))
            }
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunk(chunk) => write!(f, "chunks/{chunk}"),
            Self::Torrent(info_hash) => write!(f, "torrents/{info_hash}.ko"),
        }
    }
}

/// What the store asks its driver to do. Each is answered by exactly one [`EffectDone`] with its ticket.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Read part of a cached chunk.
    CacheRead {
        /// Returned in the answer.
        ticket: Ticket,
        /// Which.
        chunk: ChunkId,
        /// What of it.
        part: Part,
    },
    /// Write a chunk and its leaves to the cache: whole or not at all, whatever crashes.
    CacheWrite {
        /// Returned in the answer.
        ticket: Ticket,
        /// The chunk.
        chunk: VerifiedChunk,
    },
    /// Remove a chunk from the cache.
    CacheRemove {
        /// Returned in the answer.
        ticket: Ticket,
        /// Which.
        chunk: ChunkId,
    },
    /// Read a cached chunk whole, afresh from the disk, and verify every byte of it.
    CacheVerify {
        /// Returned in the answer.
        ticket: Ticket,
        /// Which.
        chunk: ChunkId,
    },
    /// Get a chunk from the backing store; a body that is not the chunk is an error.
    FetchChunk {
        /// Returned in the answer.
        ticket: Ticket,
        /// Which.
        chunk: ChunkId,
    },
    /// Get a `.ko` from the backing store; one with another info hash is an error.
    FetchTorrent {
        /// Returned in the answer.
        ticket: Ticket,
        /// Which.
        info_hash: InfoHash,
    },
    /// Put a chunk into the backing store, unless it has it.
    PutChunk {
        /// Returned in the answer.
        ticket: Ticket,
        /// The chunk.
        chunk: VerifiedChunk,
    },
    /// Put a `.ko` into the backing store.
    PutTorrent {
        /// Returned in the answer.
        ticket: Ticket,
        /// Its name.
        info_hash: InfoHash,
        /// Its bytes.
        ko: Bytes,
    },
    /// Does the backing store have this object, at its right size?
    Exists {
        /// Returned in the answer.
        ticket: Ticket,
        /// Which.
        key: Key,
    },
}

/// An [`Effect`] is done.
#[derive(Clone, Debug)]
pub struct EffectDone {
    /// Of the effect.
    pub ticket: Ticket,
    /// How it went. Every variant belongs to one kind of effect; `Failed` to any.
    pub outcome: Outcome,
}

/// How an [`Effect`] went.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// `CacheRead`.
    Read(PartData),
    /// `CacheWrite`, `CacheRemove`, `CacheVerify`, `PutChunk`, `PutTorrent`.
    Done,
    /// `FetchChunk`; `None`: the backing store has no such object.
    Chunk(Option<VerifiedChunk>),
    /// `FetchTorrent`; `None`: the backing store has no such object.
    Torrent(Option<Bytes>),
    /// `Exists`.
    Exists(bool),
    /// `CacheRead`, `CacheVerify`, `FetchChunk`, `FetchTorrent`: what is there is not what it must be. None of it is to be used.
    Corrupt(DiskError),
    /// It failed; whether a write was applied is unknown.
    Failed(DiskError),
}

/// How it went to ask a chunk's home.
#[derive(Clone, Debug)]
pub enum HomeAnswer {
    /// It sent the chunk.
    Chunk(VerifiedChunk),
    /// It does not have it at hand.
    NotThere,
    /// It has too much to do, or is about to leave.
    Busy,
    /// It could not be reached, was too slow, broke off, or refused.
    Failed(DiskError),
    /// It sent something else.
    Lie(DiskError),
}
