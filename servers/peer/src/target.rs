//! What the user named: a link, or a file that holds a metainfo.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use kollator_core::id::InfoHash;
use kollator_core::link::{LinkKey, ShareRef};
use kollator_core::metainfo::Metainfo;
use kollator_core::node::peer::WorkerUrl;
use kollator_core::wire::frame::MAX_METAINFO;

/// A share that was named.
pub(crate) enum Target {
    /// By a link.
    Link(Box<ShareRef>),
    /// By its metainfo.
    File(Arc<Metainfo>),
}

impl Target {
    /// Reads a link or, if there is such a file, a `.ko` or `.torrent`.
    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        let not_a_link = match text.parse::<ShareRef>() {
            Ok(share) => return Ok(Self::Link(Box::new(share))),
            Err(error) => error,
        };
        let path = Path::new(text);
        if path.exists() || looks_like_a_file(path) {
            return read_file(path).map(|metainfo| Self::File(Arc::new(metainfo)));
        }
        Err(not_a_link.into())
    }

    pub(crate) fn info_hash(&self) -> InfoHash {
        match self {
            Self::Link(share) => share.info_hash,
            Self::File(metainfo) => metainfo.info_hash(),
        }
    }

    /// The metainfo, if it is at hand.
    pub(crate) fn metainfo(&self) -> Option<Arc<Metainfo>> {
        match self {
            Self::Link(_) => None,
            Self::File(metainfo) => Some(Arc::clone(metainfo)),
        }
    }

    /// The workers that a link names as web seeds; those of a file are known to the peer.
    pub(crate) fn workers(&self) -> Vec<WorkerUrl> {
        let Self::Link(share) = self else { return Vec::new() };
        share.web_seeds.iter().filter_map(|url| WorkerUrl::of_web_seed(url, share.info_hash)).collect()
    }

    /// What it has to open an encrypted share with.
    pub(crate) const fn key(&self) -> Option<&LinkKey> {
        match self {
            Self::Link(share) => share.key.as_ref(),
            Self::File(_) => None,
        }
    }

    /// Base URLs of the fronts it names.
    pub(crate) fn fronts(&self) -> &[String] {
        match self {
            Self::Link(share) => &share.fronts,
            Self::File(metainfo) => metainfo.fronts(),
        }
    }
}

fn looks_like_a_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "ko" || extension == "torrent")
        && !path.as_os_str().as_encoded_bytes().contains(&b'#')
}

fn read_file(path: &Path) -> anyhow::Result<Metainfo> {
    let named = || path.display().to_string();
    if path.is_dir() {
        bail!("{} is a folder, not a .ko or .torrent file", path.display());
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, so that the parser sees that it is too long.
    let most = u64::from(MAX_METAINFO) + 1;
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).with_context(named)?;
    Metainfo::parse(bytes.into()).with_context(named)
}
