//! Names of things: digests, info hashes, chunks, peers. Types that cannot hold nonsense.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::merkle::{BLOCK_LEN, MAX_CHUNK_LEN, MAX_HEIGHT};

/// A SHA-256 digest.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// What is wrong with a text that should name something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {expected}, got {got:?}")]
pub struct BadName {
    /// What the text should have named.
    pub what: &'static str,
    /// What it should look like.
    pub expected: &'static str,
    /// The text, shortened to 80 characters.
    pub got: String,
}

impl BadName {
    pub(crate) fn new(what: &'static str, expected: &'static str, got: &str) -> Self {
        Self { what, expected, got: got.chars().take(80).collect() }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

impl FromStr for Digest {
    type Err = BadName;

    fn from_str(s: &str) -> Result<Self, BadName> {
        let bad = || BadName::new("a digest", "64 hexadecimal digits", s);
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(s.as_bytes()).map_err(|_| bad())?;
        bytes.try_into().map(Self).map_err(|_| bad())
    }
}

macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

serde_as_text!(Digest);

macro_rules! digest_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Digest);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(s: &str) -> Result<Self, BadName> {
                s.parse().map(Self).map_err(|e: BadName| BadName { what: $what, ..e })
            }
        }

        serde_as_text!($name);
    };
}

digest_name! {
    /// The SHA-256 of a metainfo's raw `info` dictionary: the name of a share (BEP 52).
    InfoHash, "an info hash"
}
digest_name! {
    /// The name of a node on the network, worker or peer alike: 32 random bytes for the life of the process.
    PeerId, "a peer id"
}

/// The identity of a chunk: the root of its Merkle tree, its length and the height of that tree.
///
/// BEP 52 hashes have no domain separation, so the root alone is not an identity: 64 bytes holding two child
/// hashes would verify as a whole subtree. Length tells blocks from subtrees. The height says how far a short
/// last piece was padded (BEP 52 pads it to a whole piece, but a file below one piece only to the next power
/// of two); with it, verification has exactly one way to succeed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId {
    root: Digest,
    length: u32,
    height: u8,
}

impl ChunkId {
    /// A chunk of `length` bytes (1 to 16 MiB) under `root`, a tree of `height` levels above its leaves.
    /// `None` if the length is out of range, or the tree has too few leaves for it or more than 16 MiB of them.
    #[must_use]
    pub fn new(root: Digest, length: u32, height: u8) -> Option<Self> {
        let fits = (1..=MAX_CHUNK_LEN).contains(&length)
            && height <= MAX_HEIGHT
            && length.div_ceil(BLOCK_LEN) <= 1 << height;
        fits.then_some(Self { root, length, height })
    }

    /// Root of the Merkle tree over the chunk's blocks.
    #[must_use]
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// Bytes in the chunk, 1 to 16 MiB.
    #[must_use]
    pub const fn length(&self) -> u32 {
        self.length
    }

    /// Levels of the tree above its leaves, 0 to 10.
    #[must_use]
    pub const fn height(&self) -> u8 {
        self.height
    }

    /// 16 KiB blocks in the chunk, 1 to 1024; the last may be shorter.
    #[must_use]
    pub const fn blocks(&self) -> u16 {
        self.length.div_ceil(BLOCK_LEN) as u16
    }

    /// Bytes in `count` blocks from `first` on, cut at the chunk's end; `None` if there is no such range.
    #[must_use]
    pub fn range_len(&self, first: u16, count: u16) -> Option<u32> {
        let end = first.checked_add(count)?;
        (count > 0 && end <= self.blocks())
            .then(|| self.length.min(u32::from(end) * BLOCK_LEN) - u32::from(first) * BLOCK_LEN)
    }
}

impl fmt::Display for ChunkId {
    /// `<root>.<length>`, the name under which it is stored. Only 64 bytes could be both a block and a tree
    /// node, so only there a padded tree adds its height.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.root, self.length)?;
        if self.length == 64 && self.height > 0 {
            write!(f, ".{}", self.height)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.{}^{}", self.root, self.length, self.height)
    }
}
