//! What a worker is told and what it answers. Types only.

use std::sync::Arc;

use bytes::Bytes;

use super::dht::{Announcement, DhtCommand, DhtEvent};
use crate::dht::Item;
use crate::id::{ChunkId, Digest, InfoHash, PeerId};
use crate::merkle::HashedBlocks;
use crate::node::io::{LinkCommand, LinkEvent, Ticket};
use crate::rtc::{RtcCommand, RtcEvent};
use crate::store::{Effect, EffectDone, Home, HomeAnswer, StoreError};

/// Most blocks in one [`Ask::BlocksForWorker`], and in one [`Ask::Blocks`] without a limit on what is sent.
pub const MAX_ASK_BLOCKS: u16 = 16;

/// What can happen to a worker.
#[derive(Clone, Debug)]
pub enum WorkerInput {
    /// Time passed.
    Wake,
    /// The front said something.
    Link(LinkEvent),
    /// A connection said something.
    Rtc(RtcEvent),
    /// The cache or the backing store answered.
    Store(EffectDone),
    /// Another worker answered [`WorkerOutput::AskHome`], or did not.
    HomeAnswered {
        /// Of the question.
        ticket: Ticket,
        /// How it went.
        answer: HomeAnswer,
    },
    /// Blocks that were to be hashed.
    Hashed {
        /// Of the command.
        ticket: Ticket,
        /// Blocks and hashes.
        blocks: HashedBlocks,
    },
    /// The wall clock. To be told every minute or so: clocks are set while a worker runs, and fronts judge its
    /// proof by theirs.
    Clock {
        /// Unix milliseconds.
        unix_ms: u64,
    },
    /// How much memory the process takes. To be told every second or so, where the driver can know it.
    Memory {
        /// Bytes.
        bytes: u64,
    },
    /// Someone asks other than over a data channel: [`WorkerOutput::Told`].
    Ask {
        /// Returned in the answer.
        id: AskId,
        /// What.
        ask: Ask,
    },
    /// The DHT answered. Only if the worker uses it.
    Dht(DhtEvent),
    /// Someone who reads other than over a data channel will ask for these chunks next, in this order, and not for what
    /// was said before. Said with nothing at the end.
    Ahead {
        /// The driver's own number for the reader, below 2^63.
        body: u64,
        /// At most [`crate::store::MAX_AHEAD`] of them count.
        next: Vec<ChunkId>,
    },
    /// Take no new work, finish what is open, then say [`WorkerOutput::Drained`].
    Drain,
}

/// What a worker wants done.
#[derive(Clone, Debug)]
pub enum WorkerOutput {
    /// Of the connection to the front.
    Link(LinkCommand),
    /// Of WebRTC.
    Rtc(RtcCommand),
    /// Of the cache or the backing store.
    Store(Effect),
    /// Of the DHT.
    Dht(DhtCommand),
    /// Ask another worker for a chunk, in its name and with a proof, and verify what it sends:
    /// [`WorkerInput::HomeAnswered`].
    AskHome {
        /// Returned in the answer.
        ticket: Ticket,
        /// Which chunk.
        chunk: ChunkId,
        /// Whom to ask.
        home: Arc<Home>,
    },
    /// Hash these blocks.
    Hash {
        /// Returned in the answer.
        ticket: Ticket,
        /// Whole blocks but for a chunk's last.
        data: Bytes,
    },
    /// The answer to an ask. Each gets exactly one.
    Told {
        /// Of the ask.
        id: AskId,
        /// The answer, or why there is none.
        result: Result<Told, AskError>,
    },
    /// For the log.
    Event(WorkerEvent),
    /// Nothing is open any more: the process may exit.
    Drained,
}

/// The driver's own number for an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// What can be asked of a worker other than over a data channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The `.ko` of a share: [`Told::Torrent`].
    Torrent(InfoHash),
    /// Whether a chunk is stored for good: [`Told::Has`].
    Has(ChunkId),
    /// Blocks of a chunk: [`Told::Blocks`].
    Blocks {
        /// The chunk.
        chunk: ChunkId,
        /// First block.
        first: u16,
        /// How many, at most [`WorkerConfig::ask_blocks`](super::WorkerConfig::ask_blocks).
        count: u16,
    },
    /// The leaf hashes of a chunk: [`Told::Leaves`].
    Leaves(ChunkId),
    /// The same on behalf of another worker, which has proven itself: never asked of a third.
    BlocksForWorker {
        /// The chunk.
        chunk: ChunkId,
        /// First block.
        first: u16,
        /// How many, at most [`MAX_ASK_BLOCKS`].
        count: u16,
    },
    /// Empty the cache of whatever nobody is reading or writing: [`Told::Cleared`].
    ClearCache,
    /// Announce something on the DHT: [`Told::Announcement`].
    Announce(Item),
}

/// Kinds of asks, of each of which only so many are open at once, so that none waits for those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskKind {
    /// For bytes, which may have to wait for their turn under the limit on what is sent.
    Read,
    /// For another worker.
    ForWorker,
    /// For anything else.
    Other,
}

impl Ask {
    /// Which kind it is of.
    #[must_use]
    pub const fn kind(&self) -> AskKind {
        match self {
            Self::Blocks { .. } | Self::Leaves(_) => AskKind::Read,
            Self::BlocksForWorker { .. } => AskKind::ForWorker,
            Self::Torrent(_) | Self::Has(_) | Self::ClearCache | Self::Announce(_) => AskKind::Other,
        }
    }
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The `.ko`, if it is stored.
    Torrent(Option<Bytes>),
    /// Whether it is.
    Has(bool),
    /// The bytes, verified.
    Blocks(Bytes),
    /// The hashes, one a block, verified.
    Leaves(Vec<Digest>),
    /// So many chunks are leaving the cache. They can be read all the same: they are stored for good.
    Cleared {
        /// How many.
        chunks: usize,
    },
    /// What became of it.
    Announcement(Announcement),
}

/// Why an [`Ask`] has no answer. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The worker is about to leave.
    #[error("this worker is about to leave")]
    Leaving,
    /// More blocks at once than there may be.
    #[error("too many blocks at once")]
    TooMuch,
    /// It was to be announced.
    #[error("this worker does not use the DHT")]
    NoDht,
    /// The store says no, or too many asks are open.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a worker tells its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerEvent {
    /// A front counts it in.
    Online,
    /// The front is gone; trying again.
    Offline {
        /// Why.
        reason: String,
    },
    /// A share is whole and stored for good.
    ShareStored {
        /// Which.
        info_hash: InfoHash,
    },
    /// Someone lied or broke the protocol and was cut off.
    Blamed {
        /// Who.
        peer: PeerId,
        /// What it did.
        offence: String,
    },
    /// The store met a fault (a wrong body, a failed write); it goes on.
    StoreFault {
        /// In words.
        what: String,
    },
}
