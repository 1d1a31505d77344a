//! Messages between fronts: binary, over `/worker-sync`, on connections that both sides authenticated.

use crate::cluster::FrontId;
use crate::cluster::epoch::{Epoch, EpochNumber};
use crate::id::{InfoHash, PeerId};
pub use crate::wire::signal::MAX_REGION;
use crate::wire::signal::Signal;

/// Version of this protocol, told in the handshake; its low byte begins every message.
pub const VERSION: u16 = 1;
/// Most bytes in one message.
pub const MAX_MESSAGE: usize = 128 * 1024;
/// Most bytes of rows in one [`RowsPart`].
pub const MAX_ROWS_BYTES: usize = 60 * 1024;
/// Largest term, count, incarnation or time on the wire: far below where adding to one could overflow.
pub const MAX_NUMBER: u64 = 1 << 62;

/// From one front to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncMessage {
    /// About who leads.
    Election(ElectionMessage),
    /// What the sender knows: whoever knows more answers with rows, or with the epoch.
    Digest {
        /// For each author that it knows anything of, in order.
        authors: Vec<AuthorDigest>,
        /// Its newest epoch.
        epoch: EpochNumber,
    },
    /// What the receiver lacks of one author's rows.
    Rows(RowsPart),
    /// A newer epoch.
    Epoch(Epoch),
    /// A signal for a client of the receiver.
    Signal {
        /// Who sent it: a client of the sender.
        from: PeerId,
        /// Whom it is for.
        to: PeerId,
        /// Number of the connection that is being made.
        session: u32,
        /// What it says.
        body: Signal,
    },
}

/// What fronts say to elect a leader; the rules are in `docs/election.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElectionMessage {
    /// Would you vote for me in this term?
    PreVote {
        /// The term I would stand in.
        term: u64,
    },
    /// Answer to a pre-vote.
    PreVoteReply {
        /// The term asked about if granted; else the term I am in.
        term: u64,
        /// Whether I would.
        granted: bool,
    },
    /// Vote for me.
    Vote {
        /// The term I stand in.
        term: u64,
    },
    /// Answer to a vote.
    VoteReply {
        /// The term I am in.
        term: u64,
        /// Whether you have my vote in it.
        granted: bool,
    },
    /// I lead this term; or, of term 0 which nobody leads, a question: which term are you in?
    Heartbeat {
        /// The term.
        term: u64,
        /// Counts rounds of heartbeats, from 1. Of a question, any number that is no round's.
        round: u64,
    },
    /// I follow you; or, if my term is later than yours, I do not.
    HeartbeatReply {
        /// The term I am in.
        term: u64,
        /// The round or question this answers; 0 if it was of an earlier term.
        round: u64,
    },
}

/// What a front knows of one author's rows. While it gathers a snapshot, `number` is below `floor`: it has the
/// rows up to `number` of a snapshot that will be whole at `floor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorDigest {
    /// Whose rows.
    pub author: FrontId,
    /// Which life of that front, from 1.
    pub incarnation: u64,
    /// It knows every change of that life up to this number.
    pub number: u64,
    /// Of removals up to this number it does not remember which they were.
    pub floor: u64,
}

/// Some of an author's rows: all that changed after one number and up to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsPart<K = RowKey, V = RowValue> {
    /// Whose rows.
    pub author: FrontId,
    /// Which life of that front, from 1.
    pub incarnation: u64,
    /// Changes after this number; 0 in the first part of a snapshot.
    pub after: u64,
    /// Changes up to this number.
    pub upto: u64,
    /// Removals up to this number are not told.
    pub floor: u64,
    /// Whether this belongs to a snapshot: once parts of it reach `floor`, they replace all that the receiver has
    /// of the author.
    pub snapshot: bool,
    /// The rows, by rising number.
    pub rows: Vec<Row<K, V>>,
}

impl<K, V> RowsPart<K, V> {
    /// Whether the rows rise by number from after `after` up to `upto`.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        let mut last = self.after;
        let rising = self.rows.iter().all(|row| core::mem::replace(&mut last, row.number) < row.number);
        rising && last <= self.upto
    }
}

/// Something an author says of a worker or client of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<K = RowKey, V = RowValue> {
    /// What it is about.
    pub key: K,
    /// The author's count of changes when it last changed.
    pub number: u64,
    /// What holds; absent once nothing does. Its kind is that of the key.
    pub value: Option<V>,
}

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// A worker, by its name.
    Worker(String),
    /// A client that is connected, workers included.
    Client(PeerId),
    /// A client's membership in a swarm.
    Member {
        /// The share.
        info_hash: InfoHash,
        /// The client.
        peer: PeerId,
    },
}

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowValue {
    /// Of a worker.
    Worker(WorkerRow),
    /// Of a client.
    Client {
        /// Unix milliseconds of its hello, by the author's clock.
        since_ms: u64,
    },
    /// Of a membership.
    Member {
        /// Whether it has all of the share.
        complete: bool,
    },
}

/// A worker as its front knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRow {
    /// Whom to signal.
    pub peer: PeerId,
    /// Where it serves HTTP.
    pub http: String,
    /// Its share of the ring, 1 to 1000.
    pub capacity: u16,
    /// Where it stands: up to [`MAX_REGION`] of `A-Z a-z 0-9 . _ -`, empty if it does not say.
    pub region: String,
    /// Unix milliseconds of its hello, by its own clock: of two fronts that speak of one worker, the later is right.
    pub since_ms: u64,
    /// Whether it answers its front.
    pub alive: bool,
    /// Whether it is about to leave and takes no new clients.
    pub draining: bool,
    /// How much of what it can do is being done, in percent, as it told its front.
    pub load: u8,
}
