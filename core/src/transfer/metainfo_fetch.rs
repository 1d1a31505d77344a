//! Fetching the `.ko` of a share from one source, part by part, several parts at once. The result is checked
//! against the info hash by parsing it; a source that sends another is a liar.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::id::InfoHash;
use crate::metainfo::Metainfo;
use crate::transfer::Offence;
use crate::wire::frame::{Frame, MAX_METAINFO, METAINFO_PART, RequestId};

/// Most parts asked for at once.
const WINDOW: usize = 8;

/// One try to get a `.ko` from one source.
#[derive(Debug)]
pub struct MetainfoFetch {
    info_hash: InfoHash,
    data: BytesMut,
    /// Unknown until the first part came.
    total: Option<u32>,
    next_offset: u32,
    left: u32,
    open: BTreeMap<RequestId, u32>,
}

impl MetainfoFetch {
    /// Begins; the frame asks for the first part.
    #[must_use]
    pub fn begin(info_hash: InfoHash, request: RequestId) -> (Self, Frame) {
        let fetch = Self {
            info_hash,
            data: BytesMut::new(),
            total: None,
            next_offset: METAINFO_PART,
            left: 0,
            open: BTreeMap::from([(request, 0)]),
        };
        (fetch, Frame::MetainfoRequest { request, info_hash, offset: 0 })
    }

    /// Whether this request is one of ours and open.
    #[must_use]
    pub fn owns(&self, request: RequestId) -> bool {
        self.open.contains_key(&request)
    }

    /// Takes a part. Gives frames that ask for more, with request numbers drawn from `request`; or, once all
    /// of it is there, the metainfo.
    ///
    /// # Errors
    /// What the source did wrong; this try is over.
    pub fn part(
        &mut self,
        id: RequestId,
        total: u32,
        offset: u32,
        data: &Bytes,
        mut request: impl FnMut() -> RequestId,
    ) -> Result<Fetched, Offence> {
        if self.open.remove(&id) != Some(offset) {
            return Err(Offence::Unsolicited);
        }
        let want = total.saturating_sub(offset).min(METAINFO_PART);
        if *self.total.get_or_insert(total) != total || total > MAX_METAINFO || data.len() != want as usize {
            return Err(Offence::Misfit);
        }
        if self.data.is_empty() {
            self.data = BytesMut::zeroed(total as usize);
            self.left = total;
        }
        self.data[offset as usize..][..data.len()].copy_from_slice(data);
        self.left -= want;
        if self.left == 0 {
            let raw = std::mem::take(&mut self.data).freeze();
            return match Metainfo::parse(raw) {
                Ok(metainfo) if metainfo.info_hash() == self.info_hash => Ok(Fetched::Whole(metainfo)),
                _ => Err(Offence::WrongMetainfo),
            };
        }
        let mut frames = Vec::new();
        while self.open.len() < WINDOW && self.next_offset < total {
            let (request, offset) = (request(), self.next_offset);
            self.open.insert(request, offset);
            self.next_offset += METAINFO_PART;
            frames.push(Frame::MetainfoRequest { request, info_hash: self.info_hash, offset });
        }
        Ok(Fetched::More(frames))
    }
}

/// How a fetch stands after a part.
#[derive(Debug)]
pub enum Fetched {
    /// These ask for more.
    More(Vec<Frame>),
    /// All of it, and it is the one that was asked for.
    Whole(Metainfo),
}

/// The part of `ko` from `offset` on, as METAINFO carries it; `None` past its end.
#[must_use]
pub fn part_of(ko: &Bytes, offset: u32) -> Option<Bytes> {
    let end = (offset as usize).saturating_add(METAINFO_PART as usize).min(ko.len());
    ((offset as usize) < end).then(|| ko.slice(offset as usize..end))
}
