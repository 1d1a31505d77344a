//! What a peer is told and what it answers. Types only.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use super::web::{WebAsk, WebCommand, WebEvent, WebId, WorkerUrl};
use crate::id::{InfoHash, PeerId};
use crate::metainfo::Metainfo;
use crate::node::io::{DiskCommand, DiskEvent, LinkCommand, LinkEvent, Place};
use crate::rtc::{RtcCommand, RtcEvent};
pub use crate::transfer::{Order, SourceKind, SourceStats};

/// What can happen to a peer.
#[derive(Clone, Debug)]
pub enum PeerInput {
    /// Time passed.
    Wake,
    /// The user wants something.
    Command(Command),
    /// The front said something.
    Link(LinkEvent),
    /// A connection said something.
    Rtc(RtcEvent),
    /// The disk answered.
    Disk(DiskEvent),
    /// Something came over HTTP.
    Web(WebEvent),
}

/// What a peer wants done.
#[derive(Clone, Debug)]
pub enum PeerOutput {
    /// Of the connection to the front.
    Link(LinkCommand),
    /// Of WebRTC.
    Rtc(RtcCommand),
    /// Of the disk.
    Disk(DiskCommand),
    /// Of HTTP.
    Web(WebCommand),
    /// To tell the user.
    Event(PeerEvent),
}

/// What a user can ask of a peer.
#[derive(Clone, Debug)]
pub enum Command {
    /// Get a share. Ends with [`PeerEvent::Completed`] or [`PeerEvent::Failed`].
    Download {
        /// Which.
        info_hash: InfoHash,
        /// Its `.ko`, if it is at hand.
        metainfo: Option<Arc<Metainfo>>,
        /// In which order.
        order: Order,
    },
    /// Ask these workers over HTTP, too, for a share that is being downloaded, and at once. At most 64 are remembered for
    /// each share.
    AddWorkers {
        /// Which.
        info_hash: InfoHash,
        /// Where they serve HTTP.
        workers: Vec<WorkerUrl>,
    },
    /// Connect to this peer for a share, whether or not the front names it, and beside however many of the swarm: it is
    /// a source if something of the share is missing here, and may take what is here. Ends with [`PeerEvent::Met`]. If the
    /// connection is lost later, it is made again, once. At most 64 are remembered for each share.
    Meet {
        /// Which.
        info_hash: InfoHash,
        /// Whom.
        peer: PeerId,
    },
    /// Move the window of a share that is, or will be, downloaded: somebody is waiting for what is at `place`. While one
    /// is set, [`PeerConfig::window`](super::PeerConfig::window) bytes from there on, but not beyond the end of the file,
    /// come before all else, first byte first; the rest is asked for behind them, as the order of the download says.
    /// Move it along as the bytes are used. A share that is not here, or complete, needs no window: then it does nothing.
    Seek {
        /// Which.
        info_hash: InfoHash,
        /// Where; the block that the offset lies in comes first. `None`, or a place outside the share: no window.
        place: Option<Place>,
    },
    /// Limit the bytes a second that are sent to others, and that downloads ask for; 0: no limit. What is on its way is
    /// not held back.
    SetLimits {
        /// Most bytes a second sent, over all sessions.
        upload: u64,
        /// Most bytes a second asked for, over all downloads.
        download: u64,
    },
    /// Ask the front for more peers of what is being downloaded so often, as
    /// [`PeerConfig::discovery`](super::PeerConfig::discovery) has it.
    SetDiscovery {
        /// The time between.
        interval: Duration,
    },
    /// Offer a share whose content the disk has. With `upload`, also bring it to the assigned worker; that
    /// ends with [`PeerEvent::Safe`] or [`PeerEvent::Failed`].
    Share {
        /// Its `.ko`.
        metainfo: Arc<Metainfo>,
        /// Whether to bring it to the worker.
        upload: bool,
    },
    /// Stop downloading or offering a share.
    Stop {
        /// Which.
        info_hash: InfoHash,
    },
    /// Leave every swarm and close every connection. Nothing else comes after the outputs of this.
    Shutdown,
}

/// Who a source is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceName {
    /// A node, over a data channel.
    Node(PeerId),
    /// A worker, over HTTP.
    Web(WorkerUrl),
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(peer) => peer.fmt(f),
            Self::Web(url) => url.fmt(f),
        }
    }
}

/// What a peer tells its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// The front answered; shares can be found now.
    Online {
        /// Name of the assigned worker, if there is one.
        worker: Option<String>,
    },
    /// The front is gone; trying again.
    Offline {
        /// Why.
        reason: String,
    },
    /// What the share holds is known now; its content is next.
    Metainfo {
        /// The share.
        metainfo: Arc<Metainfo>,
    },
    /// The front turned a message of ours down; nothing came of it.
    FrontComplained {
        /// In its words.
        message: String,
    },
    /// Blocks of a share are verified and written. Of what is downloaded, each byte is told of once for each of its
    /// places, however the share is cut.
    Gained {
        /// The share.
        info_hash: InfoHash,
        /// Where the first byte of them is: everywhere where the same blocks belong.
        places: Arc<[Place]>,
        /// Bytes at each place.
        length: u32,
        /// Who gave them, and what it is; `None`: found on disk.
        from: Option<(SourceName, SourceKind)>,
    },
    /// A source is connected.
    SourceUp {
        /// Who.
        source: SourceName,
        /// What it is.
        kind: SourceKind,
    },
    /// A source is gone.
    SourceDown {
        /// Who.
        source: SourceName,
        /// Why.
        reason: String,
    },
    /// A peer that was to be met is connected, or is not going to be.
    Met {
        /// For which share.
        info_hash: InfoHash,
        /// Who.
        peer: PeerId,
        /// Why it could not be reached, if it could not.
        result: Result<(), String>,
    },
    /// A source lied or broke the protocol; it gets no more requests.
    Blamed {
        /// Who.
        source: SourceName,
        /// What it did.
        offence: String,
    },
    /// The worker holds one more chunk for good.
    Stored {
        /// The share.
        info_hash: InfoHash,
        /// Bytes of the share stored so far.
        bytes: u64,
    },
    /// The worker holds the whole share for good: its link needs us no more.
    Safe {
        /// The share.
        info_hash: InfoHash,
        /// Where the worker serves HTTP, unless another was assigned meanwhile.
        http: Option<String>,
    },
    /// The download is verified, written and under its final name.
    Completed {
        /// The share.
        info_hash: InfoHash,
        /// Where its bytes came from.
        totals: Totals,
    },
    /// The command cannot be carried out. It is over.
    Failed {
        /// The share.
        info_hash: InfoHash,
        /// Why, for the user.
        reason: String,
    },
}

/// Where a download's verified bytes came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes in the share.
    pub bytes_total: u64,
    /// Found on disk, left by an earlier run.
    pub from_disk: u64,
    /// Verified bytes by kind of source.
    pub from: BTreeMap<SourceKind, u64>,
}

/// How a download stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// So far.
    pub totals: Totals,
    /// Verified bytes on disk.
    pub bytes_done: u64,
    /// Connected sources.
    pub sources: usize,
}

/// How a connected source of a download stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Who.
    pub source: SourceName,
    /// What it is.
    pub kind: SourceKind,
    /// What it gave, how fast it is, and what it did wrong.
    pub stats: SourceStats,
}

/// How a node stands with which there is a session, whatever for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStatus {
    /// Who.
    pub peer: PeerId,
    /// What it is.
    pub kind: SourceKind,
    /// Bytes of blocks given to it since the session began.
    pub bytes_sent: u64,
}
