//! How a share is cut: its chunks, where each belongs, and which pieces are here. Knows no session and no disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::id::{ChunkId, Digest};
use crate::merkle::BLOCK_LEN;
use crate::metainfo::{Metainfo, Piece};
use crate::node::io::{Claim, Place};
use crate::transfer::Urgent;
use crate::wire::frame::{Frame, MAX_HAVE_PIECES, RequestId};

/// A chunk of a share.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) chunk: ChunkId,
    /// The pieces that are this chunk.
    pieces: Vec<u32>,
    /// Where they belong, in the same order.
    pub(super) places: Arc<[Place]>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) metainfo: Arc<Metainfo>,
    /// The chunks, each by the first of its pieces.
    pub(super) slots: BTreeMap<u32, Slot>,
    /// Which pieces are here.
    have: Vec<bool>,
    /// Whether the pieces are those that the `.ko` lists: only then do others count them as we do.
    is_own: bool,
}

impl Layout {
    /// Cut as the `.ko` says; nothing is here.
    pub(super) fn new(metainfo: Arc<Metainfo>) -> Self {
        let mut pieces: BTreeMap<ChunkId, Vec<u32>> = BTreeMap::new();
        for (index, piece) in (0..).zip(metainfo.pieces()) {
            pieces.entry(piece.chunk).or_default().push(index);
        }
        let place = |index: &u32| place_of(&metainfo.pieces()[*index as usize]);
        let slot = |(chunk, pieces): (ChunkId, Vec<u32>)| {
            (pieces[0], Slot { chunk, places: pieces.iter().map(place).collect(), pieces })
        };
        Self {
            slots: pieces.into_iter().map(slot).collect(),
            have: vec![false; metainfo.pieces().len()],
            is_own: true,
            metainfo,
        }
    }

    /// The same share cut in another way; nothing is here.
    pub(super) fn recut(metainfo: Arc<Metainfo>) -> Self {
        Self { is_own: false, ..Self::new(metainfo) }
    }

    /// Everything is here.
    pub(super) fn fill(&mut self) {
        self.have.fill(true);
    }

    /// The chunks that are here, and where.
    pub(super) fn held(&self) -> impl Iterator<Item = (ChunkId, Place)> + '_ {
        let pieces = self.metainfo.pieces().iter().zip(&self.have);
        pieces.filter(|(_, have)| **have).map(|(piece, _)| (piece.chunk, place_of(piece)))
    }

    /// A chunk is here now. Gives the HAVE frames that tell others.
    pub(super) fn gain(&mut self, slot: u32) -> Vec<Frame> {
        let info_hash = self.metainfo.info_hash();
        let mut news = Vec::new();
        for piece in &self.slots[&slot].pieces {
            self.have[*piece as usize] = true;
            let first = piece & !7;
            let eight = &self.have[first as usize..self.have.len().min(first as usize + 8)];
            news.push(Frame::Have { request: 0, info_hash, first, bitmap: bitmap(eight) });
        }
        if self.is_own { news } else { Vec::new() }
    }

    /// The blocks from `place` on to the end of its file, `bytes` of it at most, in the order of the file; none if there
    /// is no such place.
    pub(super) fn window(&self, place: Option<Place>, bytes: u64) -> Vec<Urgent> {
        let found = place.and_then(|place| Some((place.offset, self.metainfo.files().get(place.file as usize)?)));
        let Some((from, file)) = found.filter(|(from, file)| *from < file.length) else { return Vec::new() };
        let until = from.saturating_add(bytes);
        let first = file.pieces.start;
        let pieces = &self.metainfo.pieces()[first as usize..file.pieces.end as usize];
        let skipped = pieces.partition_point(|piece| piece.offset + u64::from(piece.chunk.length()) <= from);
        let pieces = (first..).zip(pieces).skip(skipped).take_while(|(_, piece)| piece.offset < until);
        let pieces: Vec<(u32, &Piece)> = pieces.collect();
        // A piece whose chunk occurred before goes by the name of the first.
        let repeated = pieces.iter().filter(|(number, _)| !self.slots.contains_key(number));
        let repeated: BTreeSet<ChunkId> = repeated.map(|(_, piece)| piece.chunk).collect();
        let mut names = BTreeMap::new();
        if !repeated.is_empty() {
            let slots = self.slots.iter().filter(|(_, slot)| repeated.contains(&slot.chunk));
            names.extend(slots.map(|(name, slot)| (slot.chunk, *name)));
        }
        let urgent = |(number, piece): (u32, &Piece)| {
            let block = |offset: u64| offset.saturating_sub(piece.offset) / u64::from(BLOCK_LEN);
            let end = (block(until - 1) + 1).min(piece.chunk.blocks().into()) as u16;
            let slot = names.get(&piece.chunk).copied().unwrap_or(number);
            Urgent { slot, first: block(from) as u16, end }
        };
        pieces.into_iter().map(urgent).collect()
    }

    /// HAVE frames that tell of every piece; `None` if others could not make sense of them.
    pub(super) fn have_frames(&self, request: RequestId) -> Option<Vec<Frame>> {
        let info_hash = self.metainfo.info_hash();
        let frames = (0..).step_by(MAX_HAVE_PIECES as usize).zip(self.have.chunks(MAX_HAVE_PIECES as usize));
        let frame =
            |(first, pieces): (u32, &[bool])| Frame::Have { request, info_hash, first, bitmap: bitmap(pieces) };
        self.is_own.then(|| frames.map(frame).collect())
    }

    /// The pieces of a HAVE that are there; `None` if it is all of the share.
    pub(super) fn listed(&self, first: u32, bits: &Bytes) -> Option<Vec<u32>> {
        if !self.is_own {
            return Some(Vec::new());
        }
        let pieces = self.have.len() as u32;
        let set = |piece: &u32| {
            let bit = (*piece - first) as usize;
            bits.get(bit / 8).is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0)
        };
        let end = first.saturating_add(bits.len() as u32 * 8).min(pieces);
        let there: Vec<u32> = (first.min(end)..end).filter(set).collect();
        (there.len() != pieces as usize).then_some(there)
    }
}

/// What the disk claims to hold of a share.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<Place, Vec<Digest>>);

impl Claims {
    pub(super) fn new(claims: Vec<Claim>) -> Self {
        Self(claims.into_iter().map(|claim| (claim.place, claim.leaves)).collect())
    }

    /// What is claimed of a chunk in all its places, if anything is claimed at all: a block counts only where
    /// every place has the same.
    pub(super) fn of(&self, slot: &Slot) -> Option<Vec<Option<Digest>>> {
        let leaf = |block: u16| {
            let mut leaves = slot.places.iter().map(|place| self.leaf(*place, block));
            let first = leaves.next()??;
            leaves.all(|other| other == Some(first)).then_some(first)
        };
        (!self.0.is_empty()).then(|| (0..slot.chunk.blocks()).map(leaf).collect())
    }

    fn leaf(&self, Place { file, offset }: Place, block: u16) -> Option<Digest> {
        let offset = offset + u64::from(block) * u64::from(BLOCK_LEN);
        let (first, leaves) = self.0.range(..=Place { file, offset }).next_back()?;
        let index = (offset - first.offset.min(offset)) / u64::from(BLOCK_LEN);
        leaves.get(index as usize).copied().filter(|_| first.file == file)
    }
}

const fn place_of(piece: &Piece) -> Place {
    Place { file: piece.file, offset: piece.offset }
}

fn bitmap(pieces: &[bool]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(pieces.len().div_ceil(8));
    for eight in pieces.chunks(8) {
        bytes.put_u8(eight.iter().enumerate().fold(0, |byte, (bit, have)| byte | u8::from(*have) << (7 - bit)));
    }
    bytes.freeze()
}
