//! Metainfo: what a `.ko` (or any BitTorrent v2 `.torrent`) says of a share (BEP 52).

use std::ops::Range;

use bytes::Bytes;

use crate::id::{ChunkId, Digest, InfoHash};

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

    /// Bytes in a piece, a power of two from 16 KiB to 16 MiB.
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
}
