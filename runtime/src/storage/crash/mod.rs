//! What is left of the cache and of a folder as backing store when the power fails, or the disk does, at any change
//! that they make to the file system.
//!
//! A [`journal::Journal`] stands in for the file system: it makes every change for real and writes it down, or refuses
//! one. From what was written down, [`disks::disks`] makes every disk that a power cut at some moment may leave, and
//! the real code is started on each ([`power`]).

mod cache;
mod disks;
mod folder;
mod journal;
mod power;
mod world;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::merkle::{VerifiedChunk, height_for, leaves, root};

use self::journal::{Failure, Flaw};

/// Every way of not doing what the store relies on.
const FLAWS: [Flaw; 3] =
    [Flaw::FilesAreNotSynced, Flaw::FoldersAreNotSynced, Flaw::FilesAreSyncedAfterTheirRename];

/// How a change may fail.
const FAILURES: [Failure; 4] = [
    Failure { errno: libc::ENOSPC, harms: false, lasts: false },
    Failure { errno: libc::EIO, harms: true, lasts: false },
    Failure { errno: libc::EIO, harms: false, lasts: true },
    Failure { errno: libc::ENOSPC, harms: true, lasts: true },
];

/// Chunk number `n`.
fn chunk(n: u8, length: u32) -> VerifiedChunk {
    let data: Bytes = (0..length).map(|i| (i * 13 % 251) as u8 ^ n).collect();
    let hashes = leaves(&data);
    let height = height_for(hashes.len() as u64);
    let id = ChunkId::new(root(&hashes, height, Digest::default()), length, height).unwrap();
    VerifiedChunk::verify(id, data).unwrap()
}
