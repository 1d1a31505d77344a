//! The ground truth of a share: its metainfo and the bytes of each of its files.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use kollator_core::id::{ChunkId, InfoHash};
use kollator_core::machine::Rng;
use kollator_core::merkle::{BLOCK_LEN, height_for};
use kollator_core::metainfo::{File, Metainfo, MetainfoBuilder, piece_root};
use kollator_core::node::io::Place;

/// A share and what it really holds.
#[derive(Clone, Debug)]
pub struct Share {
    /// Its metainfo.
    pub metainfo: Arc<Metainfo>,
    /// The bytes of each file, in the metainfo's order.
    pub files: Vec<Bytes>,
    /// The share whose files it has, under another name and in other pieces: its index.
    pub recut_of: Option<usize>,
    /// Chunks that its content is cut into elsewhere.
    foreign: BTreeSet<ChunkId>,
}

impl Share {
    /// Its name on the network.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        self.metainfo.info_hash()
    }

    /// The bytes at a place; `None` if the share has not so many there.
    #[must_use]
    pub fn bytes(&self, place: Place, length: u32) -> Option<Bytes> {
        let file = self.files.get(place.file as usize)?;
        let start = usize::try_from(place.offset).ok()?;
        let end = start.checked_add(length as usize)?;
        (end <= file.len()).then(|| file.slice(start..end))
    }

    /// The bytes of the block that begins at a place; `None` if there is none.
    #[must_use]
    pub fn block(&self, place: Place) -> Option<Bytes> {
        let left = (self.files.get(place.file as usize)?.len() as u64).checked_sub(place.offset)?;
        self.bytes(place, left.min(BLOCK_LEN.into()) as u32).filter(|block| !block.is_empty())
    }

    /// Where each of its blocks begins.
    pub fn blocks(&self) -> impl Iterator<Item = Place> + '_ {
        let places = |(file, bytes): (u32, &Bytes)| {
            (0..bytes.len() as u64).step_by(BLOCK_LEN as usize).map(move |offset| Place { file, offset })
        };
        (0..).zip(&self.files).flat_map(places)
    }

    /// The bytes of `count` blocks of a chunk from `first` on; `None` if it has no such chunk or range.
    #[must_use]
    pub fn range(&self, chunk: ChunkId, first: u16, count: u16) -> Option<Bytes> {
        let piece = self.metainfo.pieces().iter().find(|piece| piece.chunk == chunk)?;
        let offset = piece.offset + u64::from(first) * u64::from(BLOCK_LEN);
        self.bytes(Place { file: piece.file, offset }, chunk.range_len(first, count)?)
    }

    /// Whether its content, cut in any way that somebody knows, is this chunk among others.
    #[must_use]
    pub fn has(&self, chunk: ChunkId) -> bool {
        self.lists(chunk) || self.foreign.contains(&chunk)
    }

    /// Whether one of its pieces is this chunk.
    #[must_use]
    pub fn lists(&self, chunk: ChunkId) -> bool {
        self.metainfo.pieces().iter().any(|piece| piece.chunk == chunk)
    }
}

/// A small share. It may hold a piece twice, or one that `other` holds too.
pub(super) fn draw(rng: &mut Rng, other: Option<&Share>) -> Share {
    let piece_length = BLOCK_LEN << rng.below(3);
    let mut files: Vec<Bytes> = Vec::new();
    for _ in 0..1 + rng.below(3) {
        let file = match rng.below(8) {
            0 if !files.is_empty() => files[rng.below(files.len() as u64) as usize].clone(),
            1 => other.map(first_piece).unwrap_or_default(),
            _ => content(rng),
        };
        files.push(file);
    }
    build(piece_length, &files, rng.next_u64())
}

/// Up to ten blocks of noise, with a liking for lengths at the edge of a block.
fn content(rng: &mut Rng) -> Bytes {
    let blocks = rng.below(10) * u64::from(BLOCK_LEN);
    let length = match rng.below(4) {
        0 => blocks,
        1 => blocks + 1,
        2 => (blocks + u64::from(BLOCK_LEN)) - 1,
        _ => blocks + rng.below(u64::from(BLOCK_LEN)),
    };
    let mut noise: Vec<u8> = Vec::with_capacity(length as usize + 8);
    while (noise.len() as u64) < length {
        noise.extend(rng.next_u64().to_le_bytes());
    }
    noise.truncate(length as usize);
    noise.into()
}

fn first_piece(share: &Share) -> Bytes {
    let piece = share.metainfo.pieces().first();
    piece.and_then(|piece| share.range(piece.chunk, 0, piece.chunk.blocks())).unwrap_or_default()
}

/// The same files under another name and in other pieces: what another program made of them.
pub(super) fn recut(rng: &mut Rng, shares: &mut Vec<Share>, original: usize) {
    let before = &shares[original];
    let others: Vec<u32> =
        (0..4).map(|n| BLOCK_LEN << n).filter(|length| *length != before.metainfo.piece_length()).collect();
    let mut share = build(others[rng.below(others.len() as u64) as usize], &before.files, rng.next_u64());
    share.recut_of = Some(original);
    share.foreign.extend(before.metainfo.pieces().iter().map(|piece| piece.chunk));
    let foreign = share.metainfo.pieces().iter().map(|piece| piece.chunk);
    shares[original].foreign.extend(foreign);
    shares.push(share);
}

fn build(piece_length: u32, files: &[Bytes], salt: u64) -> Share {
    let name = format!("share-{salt:x}");
    let mut builder = MetainfoBuilder::new(&name, piece_length).expect("the name and length are legal");
    for (number, file) in files.iter().enumerate() {
        let length = file.len() as u64;
        let cut = file.chunks(piece_length as usize);
        let roots = cut.map(|piece| piece_root(piece, length, piece_length)).collect();
        builder.file(&[format!("file-{number}")], length, roots).expect("the paths differ");
    }
    let metainfo = Arc::new(builder.build().expect("there is at least one file"));
    // A file that is one chunk elsewhere.
    let whole = |file: &File| {
        let length = u32::try_from(file.length).ok()?;
        ChunkId::new(file.pieces_root?, length, height_for(u64::from(length.div_ceil(BLOCK_LEN))))
    };
    let foreign = metainfo.files().iter().filter_map(whole).collect();
    Share { metainfo, files: files.to_vec(), recut_of: None, foreign }
}
