//! What a cached chunk looks like on disk, and how to tell a whole file from any other.
//!
//! A file is the chunk's data, then its leaf hashes (32 bytes a block), then a footer of 64 bytes:
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `KOLCHUNK` |
//! | 4 | version, 1, big-endian |
//! | 4 | length of the data, big-endian |
//! | 1 | height of the tree |
//! | 15 | zero |
//! | 32 | SHA-256 of the above and of the leaf hashes, in this order |
//!
//! So leaves can be read and trusted without hashing the data, and any block proves itself by its leaf: bytes that
//! rotted are found when they are read.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::{fmt, io};

use kollator_core::id::{ChunkId, Digest};
use kollator_core::merkle::{self, BLOCK_LEN, VerifiedChunk};
use kollator_core::store::{CACHE_FOOTER_LEN, cached_len};
use sha2::{Digest as _, Sha256};

use crate::pread::read_exact_at;

const MAGIC: &[u8; 8] = b"KOLCHUNK";
const VERSION: u32 = 1;
const FOOTER_LEN: usize = CACHE_FOOTER_LEN as usize;
const HEADER_LEN: usize = 32;
const DIGEST_LEN: usize = 32;

/// The name of a chunk's file: `<root>.<length>.<height>`.
pub(crate) fn name(chunk: ChunkId) -> String {
    format!("{}.{}.{}", chunk.root(), chunk.length(), chunk.height())
}

/// The chunk that a file name names; `None` if it is not a name that [`name`] gives.
pub(crate) fn parse_name(file: &str) -> Option<ChunkId> {
    let mut fields = file.split('.');
    let (root, length, height) = (fields.next()?, fields.next()?, fields.next()?);
    let chunk = ChunkId::new(root.parse().ok()?, length.parse().ok()?, height.parse().ok()?)?;
    (name(chunk) == file).then_some(chunk)
}

/// What follows the data: leaf hashes and footer.
pub(super) fn trailer(chunk: &VerifiedChunk) -> Vec<u8> {
    let leaves: Vec<u8> = chunk.leaves().hashes().iter().flat_map(|leaf| leaf.0).collect();
    let header = header(chunk.id());
    let digest = digest(&header, &leaves);
    [&leaves[..], &header, &digest].concat()
}

/// Why a file gives no data.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is not as it was written.
    Rotten(String),
    /// The disk refuses, or there is no such part.
    Failed(String),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Rotten("it is shorter than it was written".into()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<&str> for Unreadable {
    fn from(why: &str) -> Self {
        Self::Failed(why.to_owned())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Rotten(why) | Self::Failed(why)) = self;
        f.write_str(why)
    }
}

/// The leaf hashes in the chunk's file.
///
/// # Errors
/// What is wrong with the file, if it is not whole.
pub(super) fn read_leaves(file: &File, chunk: ChunkId) -> Result<Vec<Digest>, Unreadable> {
    let length = file.metadata()?.len();
    if length != cached_len(chunk) {
        return Err(Unreadable::Rotten(format!("{length} bytes instead of {}", cached_len(chunk))));
    }
    let mut trailer = vec![0; usize::from(chunk.blocks()) * DIGEST_LEN + FOOTER_LEN];
    file.read_exact_at(&mut trailer, u64::from(chunk.length()))?;
    let (leaves, footer) = trailer.split_at(trailer.len() - FOOTER_LEN);
    let header = header(chunk);
    if footer[..HEADER_LEN] != header || footer[HEADER_LEN..] != digest(&header, leaves) {
        return Err(Unreadable::Rotten("its leaf hashes are not as they were written".into()));
    }
    let leaves = leaves.chunks_exact(DIGEST_LEN);
    Ok(leaves.map(|leaf| Digest(leaf.try_into().expect("chunks of that size"))).collect())
}

/// The bytes of `count` blocks from `first` on, if they are those of `leaves`, the chunk's leaf hashes.
///
/// # Errors
/// What is wrong with the file or with the range.
pub(super) fn read_blocks(
    file: &File,
    chunk: ChunkId,
    leaves: &[Digest],
    first: u16,
    count: u16,
) -> Result<Vec<u8>, Unreadable> {
    let length = chunk.range_len(first, count).ok_or("the chunk has no such blocks")?;
    let offset = u64::from(first) * u64::from(BLOCK_LEN);
    let bytes = read_exact_at(file, length as usize, offset)?;
    let right = &leaves[usize::from(first)..][..usize::from(count)];
    match merkle::leaves(&bytes).iter().zip(right).position(|(found, right)| found != right) {
        None => Ok(bytes),
        Some(at) => Err(Unreadable::Rotten(format!("block {} is not as it was written", usize::from(first) + at))),
    }
}

/// Whether the file is that chunk, every byte of it.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn verify(file: &File, chunk: ChunkId) -> Result<(), Unreadable> {
    let leaves = read_leaves(file, chunk)?;
    if merkle::root(&leaves, chunk.height(), Digest::default()) != chunk.root() {
        return Err(Unreadable::Rotten("its leaf hashes are those of another chunk".into()));
    }
    read_blocks(file, chunk, &leaves, 0, chunk.blocks()).map(|_| ())
}

fn header(chunk: ChunkId) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_be_bytes());
    header[12..16].copy_from_slice(&chunk.length().to_be_bytes());
    header[16] = chunk.height();
    header
}

fn digest(header: &[u8], leaves: &[u8]) -> [u8; DIGEST_LEN] {
    let mut hash = Sha256::new();
    hash.update(header);
    hash.update(leaves);
    hash.finalize().into()
}
