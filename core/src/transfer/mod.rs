//! Moving chunks: [`Download`] takes blocks from any number of sources at once, [`Upload`] gives blocks to any
//! number of requesters in fair turns, [`MetainfoFetch`] brings a `.ko`.
//!
//! None of them knows what a share, a file or a front is: they deal in chunks and sessions.

mod chunk;
pub mod download;
pub mod metainfo_fetch;
pub mod rate;
mod source;
pub mod upload;

pub use download::{Download, DownloadConfig, DownloadOutput, Urgent};
pub use metainfo_fetch::MetainfoFetch;
pub use rate::Rate;
pub use source::SourceStats;
pub use upload::{Upload, UploadConfig, UploadOutput};

/// In which order a download takes its chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The rarest among the sources first: best for the swarm.
    RarestFirst,
    /// From the first byte to the last: to use it while it comes.
    Sequential,
}

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// An always-on worker.
    Worker,
    /// Another peer.
    Peer,
    /// An always-on worker, over HTTP.
    Http,
}

impl SourceKind {
    /// Whether it is a worker, reached in whichever way.
    #[must_use]
    pub const fn is_worker(self) -> bool {
        matches!(self, Self::Worker | Self::Http)
    }
}

/// What a source did wrong. Each is proof: it can't happen to one that keeps to the protocol and has good
/// storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Offence {
    /// A block that is not what its chunk's root says.
    #[error("sent a wrong block")]
    WrongBlock,
    /// Leaf hashes that do not fold to the chunk's root.
    #[error("sent wrong leaf hashes")]
    WrongLeaves,
    /// A `.ko` that does not have the info hash that was asked for.
    #[error("sent a wrong .ko")]
    WrongMetainfo,
    /// An answer that does not fit its request.
    #[error("sent an answer that does not fit the request")]
    Misfit,
    /// More than was ever asked for.
    #[error("sent what nobody asked for")]
    Unsolicited,
}
