//! What a worker is told and what it answers. Types only.

use bytes::Bytes;

use crate::id::{InfoHash, PeerId};
use crate::merkle::HashedBlocks;
use crate::node::io::{LinkCommand, LinkEvent, Ticket};
use crate::rtc::{RtcCommand, RtcEvent};
use crate::store::{Effect, EffectDone};

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
    /// Hash these blocks.
    Hash {
        /// Returned in the answer.
        ticket: Ticket,
        /// Whole blocks but for a chunk's last.
        data: Bytes,
    },
    /// For the log.
    Event(WorkerEvent),
    /// Nothing is open any more: the process may exit.
    Drained,
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
