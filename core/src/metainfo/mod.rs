//! Metainfo: what a `.ko` (or any BitTorrent v2 `.torrent`) says of a share (BEP 52).
//!
//! [`Metainfo::parse`] reads one from anywhere and [`MetainfoBuilder`] makes one; both end in the same checks.
//! Nothing here touches a file: hashing is [`piece_root`], called by a driver on as many cores as it likes.

mod bencode;
mod build;
mod error;
pub(crate) mod name;
mod parse;
mod recut;
mod web_seed;

use std::ops::Range;

use bytes::Bytes;

pub use build::MetainfoBuilder;
pub use error::{MetainfoError, Problem};
pub use parse::{MAX_FILES, MAX_PATH_DEPTH, MAX_PIECES, MAX_TOTAL_LENGTH, MAX_URLS};
pub use recut::file_info_hash;
pub use web_seed::{web_seed_url, worker_of_web_seed};

use crate::id::{ChunkId, Digest, InfoHash};
use crate::merkle::{BLOCK_LEN, MAX_CHUNK_LEN, height_for, leaves, root};

/// Piece length of a share unless told otherwise: 4 MiB.
pub const DEFAULT_PIECE_LENGTH: u32 = 4 * 1024 * 1024;
/// Least piece length: one block (BEP 52).
pub const MIN_PIECE_LENGTH: u32 = BLOCK_LEN;
/// Greatest piece length: the longest chunk.
pub const MAX_PIECE_LENGTH: u32 = MAX_CHUNK_LEN;

/// Levels above the leaves in the tree of a piece of a file of `file_length` bytes. BEP 52 pads each piece of a
/// file larger than one piece to a whole piece, but a smaller file only to the next power of two of blocks.
///
/// # Panics
/// If `piece_length` is not a power of two of at least [`MIN_PIECE_LENGTH`].
#[must_use]
pub fn piece_height(file_length: u64, piece_length: u32) -> u8 {
    assert!(piece_length.is_power_of_two() && piece_length >= MIN_PIECE_LENGTH, "piece length {piece_length}");
    height_for(file_length.min(u64::from(piece_length)).div_ceil(u64::from(BLOCK_LEN)))
}

/// The hash of the piece `data` of a file of `file_length` bytes: what [`MetainfoBuilder::file`] takes.
///
/// # Panics
/// If `data` is longer than a piece, or `piece_length` is none.
#[must_use]
pub fn piece_root(data: &[u8], file_length: u64, piece_length: u32) -> Digest {
    root(&leaves(data), piece_height(file_length, piece_length), Digest::default())
}

/// `length` as a piece length, if it is one that BEP 52 and the longest chunk allow.
fn check_piece_length(length: u64) -> Result<u32, MetainfoError> {
    let known = u32::try_from(length).ok();
    known.filter(|n| n.is_power_of_two() && (MIN_PIECE_LENGTH..=MAX_PIECE_LENGTH).contains(n)).ok_or_else(|| {
        let expected = "a power of two from 16384 (16 KiB) to 16777216 (16 MiB)";
        MetainfoError::new("info.piece length", Problem::Value { expected, got: length.to_string() })
    })
}

/// A parsed, checked metainfo: its trees are consistent, its paths are safe to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    raw: Bytes,
    info_hash: InfoHash,
    name: String,
    single_file: bool,
    piece_length: u32,
    files: Vec<File>,
    pieces: Vec<Piece>,
    total_length: u64,
    fronts: Vec<String>,
    trackers: Vec<String>,
    url_list: Vec<String>,
}

/// A file of a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path below the share's name; for a single file, the name alone.
    pub path: Vec<String>,
    /// Bytes.
    pub length: u64,
    /// Root of its Merkle tree; absent for an empty file.
    pub pieces_root: Option<Digest>,
    /// Its pieces, as indices into [`Metainfo::pieces`].
    pub pieces: Range<u32>,
}

/// A piece of a share: which chunk it is and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its content. Two pieces may be the same chunk.
    pub chunk: ChunkId,
    /// Index into [`Metainfo::files`].
    pub file: u32,
    /// First byte in that file.
    pub offset: u64,
}

impl Metainfo {
    /// Reads a `.ko` or a BitTorrent v2 or hybrid `.torrent`. Keys that are not known are passed over; those in
    /// `info` count for the info hash nevertheless.
    ///
    /// # Errors
    /// The first field that is not what BEP 52 demands, that exceeds a limit (32 MiB of metainfo,
    /// [`MAX_FILES`], [`MAX_PIECES`], [`MAX_TOTAL_LENGTH`], [`MAX_PATH_DEPTH`], [`MAX_URLS`]), or that names a
    /// file which could not be created safely.
    pub fn parse(ko: Bytes) -> Result<Self, MetainfoError> {
        parse::parse(ko)
    }

    /// The whole `.ko`, as it came.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// SHA-256 of the raw `info` dictionary.
    #[must_use]
    pub const fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// Suggested name of the file or folder: one path component, safe to create.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the share is one file rather than a folder.
    #[must_use]
    pub const fn is_single_file(&self) -> bool {
        self.single_file
    }

    /// Bytes in a piece, a power of two from 16 KiB to 16 MiB. A share that was [`Metainfo::recut`] keeps the one
    /// that its `info` names, whatever its pieces are now.
    #[must_use]
    pub const fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// The files, in the order of the file tree.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The pieces of all files, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Bytes in all files.
    #[must_use]
    pub const fn total_length(&self) -> u64 {
        self.total_length
    }

    /// Base URLs of fronts that know the share, without a slash at the end (Kollator's own key, outside `info`).
    #[must_use]
    pub fn fronts(&self) -> &[String] {
        &self.fronts
    }

    /// Announce URLs of BitTorrent trackers, those of all tiers in order (BEP 3, BEP 12).
    #[must_use]
    pub fn trackers(&self) -> &[String] {
        &self.trackers
    }

    /// Web seeds (BEP 19).
    #[must_use]
    pub fn url_list(&self) -> &[String] {
        &self.url_list
    }
}
