//! The ground truth of a share: its metainfo and the bytes of each of its pieces.

use std::sync::Arc;

use bytes::Bytes;
use kollator_core::id::{ChunkId, InfoHash};
use kollator_core::machine::Rng;
use kollator_core::merkle::BLOCK_LEN;
use kollator_core::metainfo::{Metainfo, MetainfoBuilder, piece_root};

/// A share and what it really holds.
#[derive(Clone, Debug)]
pub struct Share {
    /// Its metainfo.
    pub metainfo: Arc<Metainfo>,
    /// The bytes of each piece, in the metainfo's order.
    pub pieces: Vec<Bytes>,
}

impl Share {
    /// Its name on the network.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        self.metainfo.info_hash()
    }

    /// The bytes of one block; `None` if there is no such block.
    #[must_use]
    pub fn block(&self, piece: u32, block: u16) -> Option<Bytes> {
        self.range(piece, block, 1)
    }

    /// The bytes of `count` blocks of a piece from `first` on; `None` if there is no such range.
    #[must_use]
    pub fn range(&self, piece: u32, first: u16, count: u16) -> Option<Bytes> {
        let chunk = self.metainfo.pieces().get(piece as usize)?.chunk;
        let len = chunk.range_len(first, count)? as usize;
        let at = usize::from(first) * BLOCK_LEN as usize;
        Some(self.pieces[piece as usize].slice(at..at + len))
    }

    /// Whether one of its pieces is this chunk.
    #[must_use]
    pub fn has(&self, chunk: ChunkId) -> bool {
        self.metainfo.pieces().iter().any(|piece| piece.chunk == chunk)
    }

    /// How many blocks each piece has.
    pub fn blocks(&self) -> impl Iterator<Item = (u32, u16)> {
        (0..).zip(self.metainfo.pieces()).map(|(piece, at)| (piece, at.chunk.blocks()))
    }
}

/// A small share. It may hold a piece twice, or one that `other` holds too.
pub(super) fn draw(rng: &mut Rng, other: Option<&Share>) -> Share {
    let piece_length = BLOCK_LEN << rng.below(3);
    let mut files: Vec<Bytes> = Vec::new();
    for _ in 0..1 + rng.below(3) {
        let file = match rng.below(8) {
            0 if !files.is_empty() => files[rng.below(files.len() as u64) as usize].clone(),
            1 => other.and_then(|share| share.pieces.first().cloned()).unwrap_or_default(),
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

fn build(piece_length: u32, files: &[Bytes], salt: u64) -> Share {
    let name = format!("share-{salt:x}");
    let mut builder = MetainfoBuilder::new(&name, piece_length).expect("the name and length are legal");
    let mut pieces = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let length = file.len() as u64;
        let cut = file.chunks(piece_length as usize);
        let roots = cut.clone().map(|piece| piece_root(piece, length, piece_length)).collect();
        builder.file(&[format!("file-{number}")], length, roots).expect("the paths differ");
        pieces.extend(cut.map(|piece| file.slice_ref(piece)));
    }
    let metainfo = Arc::new(builder.build().expect("there is at least one file"));
    Share { metainfo, pieces }
}
