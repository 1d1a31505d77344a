//! Merkle trees over 16 KiB blocks as BEP 52 has them, and the types that prove a block was checked.
//!
//! [`ChunkLeaves`] is made only from leaf hashes that fold to the chunk's root; [`VerifiedBlocks`] only from
//! blocks whose hashes are those leaves; [`VerifiedChunk`] only from a whole chunk. Nothing else may be
//! written, cached or served.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use crate::id::{ChunkId, Digest};

/// Bytes in a block, the unit of verification: one Merkle leaf (BEP 52).
pub const BLOCK_LEN: u32 = 16 * 1024;
/// Most bytes in a chunk.
pub const MAX_CHUNK_LEN: u32 = 16 * 1024 * 1024;
/// Most levels above the leaves of a chunk's tree: 1024 blocks.
pub const MAX_HEIGHT: u8 = 10;

/// SHA-256 of anything.
#[must_use]
pub fn sha256(data: &[u8]) -> Digest {
    Digest(Sha256::digest(data).into())
}

/// The parent of two nodes.
#[must_use]
pub fn parent(left: &Digest, right: &Digest) -> Digest {
    let mut hash = Sha256::new();
    hash.update(left.0);
    hash.update(right.0);
    Digest(hash.finalize().into())
}

/// The leaf hashes of `data`: one for each 16 KiB block, the short last block unpadded.
#[must_use]
pub fn leaves(data: &[u8]) -> Vec<Digest> {
    data.chunks(BLOCK_LEN as usize).map(sha256).collect()
}

/// Root of the tree of `height` levels whose leftmost leaves are `nodes`, the missing ones being `pad`.
///
/// # Panics
/// If there are more than 2^`height` nodes.
#[must_use]
pub fn root(nodes: &[Digest], height: u8, mut pad: Digest) -> Digest {
    assert!(nodes.len() <= 1usize << height, "{} nodes in a tree of height {height}", nodes.len());
    let mut level = nodes.to_vec();
    for _ in 0..height {
        level = level.chunks(2).map(|pair| parent(&pair[0], pair.get(1).unwrap_or(&pad))).collect();
        pad = parent(&pad, &pad);
    }
    level.first().copied().unwrap_or(pad)
}

/// Root of a tree of `height` levels over leaves that are all 32 zero bytes: BEP 52's padding.
#[must_use]
pub fn zero_root(height: u8) -> Digest {
    root(&[], height, Digest::default())
}

/// The height of the smallest tree with at least `nodes` leaves.
#[must_use]
pub fn height_for(nodes: u64) -> u8 {
    nodes.next_power_of_two().trailing_zeros() as u8
}

/// The leaf hashes of one chunk, proven: they fold to its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkLeaves {
    chunk: ChunkId,
    leaves: Arc<[Digest]>,
}

impl ChunkLeaves {
    /// Proves `leaves` for `chunk`; `None` if their number or their root is wrong.
    #[must_use]
    pub fn prove(chunk: ChunkId, leaves: impl Into<Arc<[Digest]>>) -> Option<Self> {
        let leaves = leaves.into();
        let right = leaves.len() == usize::from(chunk.blocks())
            && root(&leaves, chunk.height(), Digest::default()) == chunk.root();
        right.then_some(Self { chunk, leaves })
    }

    /// The chunk whose leaves these are.
    #[must_use]
    pub const fn chunk(&self) -> ChunkId {
        self.chunk
    }

    /// The hashes, one a block.
    #[must_use]
    pub fn hashes(&self) -> &[Digest] {
        &self.leaves
    }

    /// Checks blocks from `first` on; the error is how many of them, from the first, were right.
    ///
    /// # Errors
    /// The number of leading blocks that are right, if not all are (0 also for a range the chunk does not have).
    pub fn verify(&self, first: u16, blocks: HashedBlocks) -> Result<VerifiedBlocks, u16> {
        let count = blocks.hashes.len() as u16;
        match self.chunk.range_len(first, count) {
            Some(len) if len as usize == blocks.data.len() => {}
            _ => return Err(0),
        }
        let expected = &self.leaves[usize::from(first)..];
        let right = blocks.hashes.iter().zip(expected).take_while(|(got, want)| got == want).count();
        if right < blocks.hashes.len() {
            return Err(right as u16);
        }
        Ok(VerifiedBlocks { leaves: self.clone(), first, data: blocks.data })
    }
}

/// Bytes with the hash of each of their blocks, computed but not yet compared with anything.
#[derive(Clone, Debug)]
pub struct HashedBlocks {
    data: Bytes,
    hashes: Vec<Digest>,
}

impl HashedBlocks {
    /// Hashes `data` block by block.
    #[must_use]
    pub fn compute(data: Bytes) -> Self {
        let hashes = leaves(&data);
        Self { data, hashes }
    }

    /// Takes hashes that the driver's own engine computed (in a browser: `crypto.subtle`).
    ///
    /// # Panics
    /// If there is not one hash for each block.
    #[must_use]
    pub fn from_engine(data: Bytes, hashes: Vec<Digest>) -> Self {
        assert_eq!(hashes.len(), data.len().div_ceil(BLOCK_LEN as usize), "one hash a block");
        Self { data, hashes }
    }
}

/// Blocks of a chunk that are what the chunk's root says they are.
#[derive(Clone, Debug)]
pub struct VerifiedBlocks {
    leaves: ChunkLeaves,
    first: u16,
    data: Bytes,
}

impl VerifiedBlocks {
    /// The chunk they belong to.
    #[must_use]
    pub const fn chunk(&self) -> ChunkId {
        self.leaves.chunk
    }

    /// The proven leaves of that chunk.
    #[must_use]
    pub const fn leaves(&self) -> &ChunkLeaves {
        &self.leaves
    }

    /// Index of the first of them.
    #[must_use]
    pub const fn first(&self) -> u16 {
        self.first
    }

    /// How many blocks these are.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.data.len().div_ceil(BLOCK_LEN as usize) as u16
    }

    /// Their bytes.
    #[must_use]
    pub const fn data(&self) -> &Bytes {
        &self.data
    }
}

/// A whole chunk that is what its identity says, with its leaf hashes.
#[derive(Clone, Debug)]
pub struct VerifiedChunk {
    leaves: ChunkLeaves,
    data: Bytes,
}

impl VerifiedChunk {
    /// Hashes `data` and compares it with `chunk`; `None` if it is something else. Takes about 2 ms for 4 MiB.
    #[must_use]
    pub fn verify(chunk: ChunkId, data: Bytes) -> Option<Self> {
        if data.len() != chunk.length() as usize {
            return None;
        }
        let leaves = ChunkLeaves::prove(chunk, leaves(&data))?;
        Some(Self { leaves, data })
    }

    /// Which chunk it is.
    #[must_use]
    pub const fn id(&self) -> ChunkId {
        self.leaves.chunk
    }

    /// Its leaf hashes.
    #[must_use]
    pub const fn leaves(&self) -> &ChunkLeaves {
        &self.leaves
    }

    /// Its bytes.
    #[must_use]
    pub const fn data(&self) -> &Bytes {
        &self.data
    }
}

/// A chunk being put together from verified blocks, in any order.
#[derive(Debug)]
pub struct ChunkAssembly {
    leaves: ChunkLeaves,
    data: BytesMut,
    missing: Vec<bool>,
    left: u16,
}

impl ChunkAssembly {
    /// An empty assembly for the chunk of `leaves`. Allocates the chunk's length.
    #[must_use]
    pub fn new(leaves: ChunkLeaves) -> Self {
        let chunk = leaves.chunk();
        let left = chunk.blocks();
        Self {
            leaves,
            data: BytesMut::zeroed(chunk.length() as usize),
            missing: vec![true; usize::from(left)],
            left,
        }
    }

    /// Puts blocks in their place; repeated ones are ignored.
    ///
    /// # Panics
    /// If they belong to another chunk.
    pub fn insert(&mut self, blocks: &VerifiedBlocks) {
        assert_eq!(blocks.chunk(), self.leaves.chunk(), "blocks of another chunk");
        let at = usize::from(blocks.first()) * BLOCK_LEN as usize;
        self.data[at..at + blocks.data().len()].copy_from_slice(blocks.data());
        for missing in &mut self.missing[usize::from(blocks.first())..][..usize::from(blocks.count())] {
            self.left -= u16::from(std::mem::take(missing));
        }
    }

    /// The chunk, once every block is there; else the assembly as it was.
    ///
    /// # Errors
    /// The assembly itself, unchanged, while blocks are missing.
    pub fn finish(self) -> Result<VerifiedChunk, Self> {
        if self.left > 0 {
            return Err(self);
        }
        Ok(VerifiedChunk { leaves: self.leaves, data: self.data.freeze() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_have_the_roots_that_bep_52_implementations_agree_on() {
        for (blocks, want) in [
            (4u64, "60aae9c7b428f87e0713e88229e18f0adf12cd7b22a0dd8a92bb2485eb7af242"),
            (64, "515ea9181744b817744ded9d2e8e9dc6a8450c0b0c52e24b5077f302ffbd9008"),
        ] {
            let data = vec![0; blocks as usize * BLOCK_LEN as usize];
            let got = root(&leaves(&data), height_for(blocks), Digest::default());
            assert_eq!(got.to_string(), want);
        }
    }

    #[test]
    fn sixty_four_bytes_cannot_pass_for_a_padded_block() {
        let block = [7u8; 64];
        let padded = parent(&sha256(&block), &Digest::default());
        let chunk = ChunkId::new(padded, 64, 1).unwrap();
        let forged = [sha256(&block).0, [0; 32]].concat();
        assert_eq!(sha256(&forged), padded, "the forgery is a preimage of the root");
        assert!(VerifiedChunk::verify(chunk, Bytes::from(forged)).is_none());
        assert!(VerifiedChunk::verify(chunk, Bytes::copy_from_slice(&block)).is_some());
    }

    #[test]
    fn a_chunk_is_assembled_once_from_blocks_in_any_order() {
        let data: Bytes = (0..5 * BLOCK_LEN - 9).map(|i| (i * 31 % 251) as u8).collect();
        let hashes = leaves(&data);
        let chunk = ChunkId::new(root(&hashes, 3, Digest::default()), data.len() as u32, 3).unwrap();
        let proven = ChunkLeaves::prove(chunk, hashes).unwrap();
        let mut assembly = ChunkAssembly::new(proven.clone());
        for first in [4u16, 0, 0, 2] {
            assembly = assembly.finish().unwrap_err();
            let count = (chunk.blocks() - first).min(2);
            let at = usize::from(first) * BLOCK_LEN as usize;
            let part = data.slice(at..at + chunk.range_len(first, count).unwrap() as usize);
            assembly.insert(&proven.verify(first, HashedBlocks::compute(part)).unwrap());
        }
        assert_eq!(assembly.finish().unwrap().data(), &data);
    }

    #[test]
    fn the_first_wrong_block_is_counted() {
        let data = Bytes::from(vec![3; 4 * BLOCK_LEN as usize]);
        let hashes = leaves(&data);
        let chunk = ChunkId::new(root(&hashes, 2, Digest::default()), data.len() as u32, 2).unwrap();
        let proven = ChunkLeaves::prove(chunk, hashes).unwrap();
        let mut bad = data.to_vec();
        bad[2 * BLOCK_LEN as usize + 5] ^= 1;
        assert_eq!(proven.verify(0, HashedBlocks::compute(bad.into())).unwrap_err(), 2);
        assert_eq!(proven.verify(1, HashedBlocks::compute(data)).unwrap_err(), 0);
    }
}
