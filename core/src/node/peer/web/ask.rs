//! What a peer asks of a worker's HTTP server, and what it hears back. Types only; docs/protocol.md, section 7, has the
//! endpoints.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::id::{BadName, ChunkId, InfoHash};
use crate::link::front_url;
use crate::merkle::BLOCK_LEN;
use crate::metainfo::worker_of_web_seed;

/// Where a worker serves HTTP: an `http` or `https` URL without user, query and fragment, no slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerUrl(Arc<str>);

impl WorkerUrl {
    /// The worker behind a web seed of a share; `None` if it is no worker's.
    #[must_use]
    pub fn of_web_seed(web_seed: &str, info_hash: InfoHash) -> Option<Self> {
        worker_of_web_seed(web_seed, info_hash)?.parse().ok()
    }

    /// As it goes before the path of a request.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkerUrl {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let url = front_url(text).map_err(|expected| BadName::new("the URL of a worker", expected, text))?;
        Ok(Self(url.into()))
    }
}

impl fmt::Display for WorkerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A peer's own number for a request over HTTP, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebId(pub u64);

/// What can be asked of a worker over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebAsk {
    /// Blocks of a chunk.
    Blocks {
        /// The chunk.
        chunk: ChunkId,
        /// First block.
        first: u16,
        /// How many, inside the chunk.
        count: u16,
    },
    /// The leaf hashes of a chunk.
    Leaves {
        /// The chunk.
        chunk: ChunkId,
    },
    /// A share's `.ko`.
    Metainfo {
        /// The share.
        info_hash: InfoHash,
    },
    /// Whether it keeps a share.
    Kept {
        /// The share.
        info_hash: InfoHash,
    },
}

impl WebAsk {
    /// The path to request, after the worker's URL.
    #[must_use]
    pub fn path(&self) -> String {
        let name = |chunk: &ChunkId| format!("{}.{}.{}", chunk.root(), chunk.length(), chunk.height());
        match self {
            Self::Blocks { chunk, .. } => format!("/chunks/{}", name(chunk)),
            Self::Leaves { chunk } => format!("/chunks/{}/hashes", name(chunk)),
            Self::Metainfo { info_hash } | Self::Kept { info_hash } => format!("/torrents/{info_hash}.ko"),
        }
    }

    /// The bytes to name in `Range`; `None`: no such header.
    #[must_use]
    pub fn range(&self) -> Option<RangeInclusive<u32>> {
        let Self::Blocks { chunk, first, count } = self else { return None };
        let begin = u32::from(*first) * BLOCK_LEN;
        chunk.range_len(*first, *count).map(|length| begin..=begin + length - 1)
    }

    /// Whether the method is HEAD rather than GET.
    #[must_use]
    pub const fn is_head(&self) -> bool {
        matches!(self, Self::Kept { .. })
    }
}

/// What a peer wants of HTTP.
#[derive(Clone, Debug)]
pub enum WebCommand {
    /// Request something. Redirects are not followed.
    Request {
        /// Returned in every event.
        id: WebId,
        /// Whom to ask.
        worker: WorkerUrl,
        /// What.
        ask: WebAsk,
    },
    /// Give a request up. No event comes for it any more.
    Cancel {
        /// Which.
        id: WebId,
    },
}

/// What comes of a request: [`WebEvent::Head`], then, if the status reports success and it was no HEAD, any number of
/// [`WebEvent::Data`] and [`WebEvent::End`]; or, at any point, [`WebEvent::Failed`], which is the last.
#[derive(Clone, Debug)]
pub enum WebEvent {
    /// The server answers.
    Head {
        /// Of the request.
        id: WebId,
        /// Status code.
        status: u16,
        /// `Retry-After`, if it is there in seconds.
        retry_after: Option<Duration>,
    },
    /// The next bytes of the body; a driver does well to cut them at multiples of 16 KiB.
    Data {
        /// Of the request.
        id: WebId,
        /// At least one byte.
        data: Bytes,
    },
    /// The body ended as HTTP has it.
    End {
        /// Of the request.
        id: WebId,
    },
    /// There is no answer, or it broke off.
    Failed {
        /// Of the request.
        id: WebId,
        /// Why, in words.
        reason: String,
    },
}

impl WebEvent {
    /// The request that it is about.
    #[must_use]
    pub const fn id(&self) -> WebId {
        match self {
            Self::Head { id, .. } | Self::Data { id, .. } | Self::End { id } | Self::Failed { id, .. } => *id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;
    use crate::metainfo::web_seed_url;

    #[test]
    fn a_worker_s_url_is_read_as_it_is_given() {
        for (text, url) in [
            ("http://127.0.0.1:8181", "http://127.0.0.1:8181"),
            ("https://w.example/base/", "https://w.example/base"),
            ("http://[::1]:81//", "http://[::1]:81"),
        ] {
            assert_eq!(text.parse::<WorkerUrl>().expect(text).as_str(), url);
        }
        for text in
            ["", "w.example", "ftp://w", "http://", "http://u@w", "http://w/?q", "http://w/#f", "http://a b"]
        {
            let error = text.parse::<WorkerUrl>().expect_err(text);
            assert!(error.to_string().contains("an http or https URL"), "{error}");
        }
    }

    #[test]
    fn a_web_seed_names_its_worker_to_its_own_share_only() {
        let (share, other) = (InfoHash(Digest([3; 32])), InfoHash(Digest([4; 32])));
        for base in ["http://127.0.0.1:8181", "https://w.example/base"] {
            let seed = web_seed_url(base, share);
            assert_eq!(WorkerUrl::of_web_seed(&seed, share).expect("ours").as_str(), base);
            assert_eq!(WorkerUrl::of_web_seed(&seed, other), None);
        }
        for seed in ["http://seed.example/", "http://seed.example/files/", &format!("ftp://w/files/{share}/")] {
            assert_eq!(WorkerUrl::of_web_seed(seed, share), None, "{seed}");
        }
    }

    #[test]
    fn a_range_is_what_the_blocks_are() {
        let chunk = ChunkId::new(Digest([5; 32]), 3 * BLOCK_LEN + 7, 2).expect("legal");
        let range = |first, count| WebAsk::Blocks { chunk, first, count }.range();
        assert_eq!(range(0, 1), Some(0..=BLOCK_LEN - 1));
        assert_eq!(range(2, 2), Some(2 * BLOCK_LEN..=3 * BLOCK_LEN + 6));
        assert_eq!(range(3, 1), Some(3 * BLOCK_LEN..=3 * BLOCK_LEN + 6));
        assert_eq!(WebAsk::Leaves { chunk }.range(), None);
    }
}
