//! Ring epochs: which workers serve clients, as the leader last published it. Numbered, and adopted only upwards.

/// The number of an epoch: the leader's term, and a count within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EpochNumber {
    /// The term of the leader that published it.
    pub term: u64,
    /// Rises with every epoch that this leader publishes, from 1.
    pub n: u64,
}

/// The workers on the ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    /// Which epoch this is; zero before any was published.
    pub number: EpochNumber,
    /// Its workers, sorted by name, at most [`MAX_MEMBERS`].
    pub members: Vec<EpochMember>,
}

/// A worker on the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochMember {
    /// Its name.
    pub name: String,
    /// Its share of the ring.
    pub capacity: u16,
    /// Where it stands; empty if it does not say.
    pub region: String,
}

/// Most workers in an epoch.
pub const MAX_MEMBERS: usize = 1024;

impl Epoch {
    /// Takes `other` if it is newer; whether it did.
    pub fn adopt(&mut self, other: Self) -> bool {
        let newer = other.number > self.number;
        if newer {
            *self = other;
        }
        newer
    }
}
