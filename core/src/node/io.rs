//! What peers and workers ask of their driver besides WebRTC, and what they hear back. Types only.

use std::sync::Arc;

use bytes::Bytes;

use crate::id::{Digest, InfoHash};
use crate::merkle::{HashedBlocks, VerifiedBlocks};
use crate::metainfo::Metainfo;

/// A machine's own number for something it asked the driver to do; the answer carries it. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The WebSocket to a front, as a client of it asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkCommand {
    /// Connect to `/signaling` of the front with this index in the configured list, giving up any other
    /// connection: [`LinkEvent::Up`] or [`LinkEvent::Down`].
    Connect {
        /// Index in the configured list of fronts.
        front: usize,
    },
    /// Send a message on the connection that is up.
    Send {
        /// JSON text.
        text: String,
    },
}

/// What happened to the WebSocket to a front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// It is open.
    Up,
    /// A message arrived, not yet parsed.
    Message {
        /// Its bytes.
        text: Bytes,
    },
    /// It could not be opened, or closed.
    Down {
        /// Why, in words.
        reason: String,
    },
}

/// Where bytes of a share belong: a file, as an index into [`Metainfo::files`], and the first byte in it. The disk
/// knows files and offsets; how they are cut into chunks is the machine's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: u32,
    /// First byte in it, a multiple of 16 KiB.
    pub offset: u64,
}

/// What a peer asks of its disk.
#[derive(Clone, Debug)]
pub enum DiskCommand {
    /// Make room for a download and find what an earlier run left: [`DiskEvent::Prepared`].
    Prepare {
        /// What will be downloaded.
        metainfo: Arc<Metainfo>,
    },
    /// Read part of a file: [`DiskEvent::Read`].
    Read {
        /// Returned in the answer.
        ticket: Ticket,
        /// The share.
        info_hash: InfoHash,
        /// Where.
        place: Place,
        /// How many bytes, inside the file.
        length: u32,
    },
    /// Read part of a file and hash its blocks: [`DiskEvent::Leaves`].
    ReadLeaves {
        /// Returned in the answer.
        ticket: Ticket,
        /// The share.
        info_hash: InfoHash,
        /// Where.
        place: Place,
        /// How many bytes, inside the file.
        length: u32,
    },
    /// Hash these blocks: [`DiskEvent::Hashed`].
    Hash {
        /// Returned in the answer.
        ticket: Ticket,
        /// Whole blocks but for a chunk's last.
        data: Bytes,
    },
    /// Write verified blocks, then note in the resume state that they are there: [`DiskEvent::Written`].
    Write {
        /// Returned in the answer.
        ticket: Ticket,
        /// The share.
        info_hash: InfoHash,
        /// Where the chunk of these blocks belongs.
        places: Arc<[Place]>,
        /// What to write.
        blocks: VerifiedBlocks,
    },
    /// Everything is written: give it its final name, drop the resume state:
    /// [`DiskEvent::Finished`].
    Finish {
        /// The share.
        info_hash: InfoHash,
    },
}

/// What the disk answers.
#[derive(Clone, Debug)]
pub enum DiskEvent {
    /// A download can begin.
    Prepared {
        /// The share.
        info_hash: InfoHash,
        /// What is on disk already, or why the download cannot be written.
        found: Result<Vec<Claim>, DiskError>,
    },
    /// Blocks that were asked for.
    Read {
        /// Of the command.
        ticket: Ticket,
        /// The bytes, not verified.
        data: Result<Bytes, DiskError>,
    },
    /// Hashes of blocks as they are on disk, not compared with anything.
    Leaves {
        /// Of the command.
        ticket: Ticket,
        /// One a block.
        leaves: Result<Vec<Digest>, DiskError>,
    },
    /// Blocks and their hashes.
    Hashed {
        /// Of the command.
        ticket: Ticket,
        /// Both.
        blocks: HashedBlocks,
    },
    /// Blocks are written (they survive the process, not yet a power cut).
    Written {
        /// Of the command.
        ticket: Ticket,
        /// Whether it worked.
        result: Result<(), DiskError>,
    },
    /// The download has its final name.
    Finished {
        /// The share.
        info_hash: InfoHash,
        /// Whether it worked.
        result: Result<(), DiskError>,
    },
}

/// Blocks in a row that an earlier run says it wrote, hashed as they are on disk now. Believed only once the
/// proven leaves of their chunk say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where the first of them is.
    pub place: Place,
    /// One for each block.
    pub leaves: Vec<Digest>,
}

/// Why the disk could not do it, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DiskError(pub String);
