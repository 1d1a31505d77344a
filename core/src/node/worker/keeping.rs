//! One share whose `.ko` a sharer wants kept: fetched from the sharer, then every chunk is looked up in the
//! backing store, then the `.ko` itself is stored. Only after that does the link need its sharer no more.

use std::collections::BTreeSet;

use crate::id::{ChunkId, InfoHash};
use crate::metainfo::Metainfo;
use crate::rtc::ConnId;
use crate::transfer::MetainfoFetch;
use crate::wire::frame::RequestId;

/// Most look-ups at once for one share.
const WINDOW: usize = 16;

#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) conn: ConnId,
    /// The METAINFO_STORE that is to be answered.
    pub(super) request: RequestId,
    pub(super) info_hash: InfoHash,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The store is asked whether it has the `.ko` already.
    Asking,
    Fetching(MetainfoFetch),
    Checking(Check),
    Storing,
}

/// Looking up every chunk of a share.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) metainfo: Metainfo,
    chunks: Vec<ChunkId>,
    open: usize,
}

impl Check {
    pub(super) fn new(metainfo: Metainfo) -> Self {
        let chunks: BTreeSet<ChunkId> = metainfo.pieces().iter().map(|piece| piece.chunk).collect();
        Self { metainfo, chunks: chunks.into_iter().collect(), open: 0 }
    }

    /// The next chunk to look up, if the window has room.
    pub(super) fn next(&mut self) -> Option<ChunkId> {
        if self.open >= WINDOW {
            return None;
        }
        let chunk = self.chunks.pop()?;
        self.open += 1;
        Some(chunk)
    }

    /// A chunk is there.
    pub(super) fn found(&mut self) {
        self.open -= 1;
    }

    pub(super) fn is_done(&self) -> bool {
        self.open == 0 && self.chunks.is_empty()
    }
}
