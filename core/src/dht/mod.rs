//! What a worker announces on the BitTorrent DHT (BEP 5): names of 20 bytes, and which of them it is time for. Never
//! sends a packet: the DHT itself is the driver's.

mod announcing;

pub use announcing::{Announcing, Config, Job, Sort, Stats, Want};

use std::fmt;
use std::str::FromStr;

use crate::id::{BadName, ChunkId, Digest, InfoHash};

/// A name on the DHT: the first 20 bytes of an info hash (BEP 52) or of a chunk's root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DhtName(pub [u8; 20]);

impl DhtName {
    fn of(digest: Digest) -> Self {
        let mut name = [0; 20];
        name.copy_from_slice(&digest.0[..20]);
        Self(name)
    }
}

impl From<InfoHash> for DhtName {
    fn from(info_hash: InfoHash) -> Self {
        Self::of(info_hash.0)
    }
}

impl From<ChunkId> for DhtName {
    fn from(chunk: ChunkId) -> Self {
        Self::of(chunk.root())
    }
}

impl fmt::Display for DhtName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for DhtName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

impl FromStr for DhtName {
    type Err = BadName;

    fn from_str(s: &str) -> Result<Self, BadName> {
        let bad = || BadName::new("a DHT name", "40 hexadecimal digits", s);
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(s.as_bytes()).map_err(|_| bad())?;
        bytes.try_into().map(Self).map_err(|_| bad())
    }
}

/// Something that can be announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A share.
    Share(InfoHash),
    /// A chunk.
    Chunk(ChunkId),
}

impl Item {
    /// Under which name.
    #[must_use]
    pub fn name(&self) -> DhtName {
        match self {
            Self::Share(info_hash) => (*info_hash).into(),
            Self::Chunk(chunk) => (*chunk).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::sha256;

    #[test]
    fn names_are_the_first_20_bytes() {
        let digest = sha256(b"a share");
        let name = DhtName::from(InfoHash(digest));
        assert_eq!(name.to_string(), digest.to_string()[..40]);
        assert_eq!(name.to_string().parse(), Ok(name));
        let chunk = ChunkId::new(digest, 100, 0).expect("100 bytes under one leaf");
        assert_eq!(Item::Chunk(chunk).name(), name);
        assert_eq!(Item::Share(InfoHash(digest)).name(), name);
        assert!(digest.to_string().parse::<DhtName>().is_err(), "64 digits are no DHT name");
    }
}
