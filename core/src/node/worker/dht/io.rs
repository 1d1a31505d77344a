//! What a worker asks of the DHT, what it hears back, and how much of it. Types only.

use core::net::SocketAddrV4;

use crate::dht::{self, DhtName};
use crate::id::InfoHash;

/// How a worker uses the DHT.
#[derive(Clone, Debug)]
pub struct DhtConfig {
    /// What is announced, and how often.
    pub announcing: dht::Config,
    /// Most look-ups open at once, at least one.
    pub max_look_ups: usize,
    /// Most names that wait to be looked up; those who ask for more are told to come back.
    pub max_queued: usize,
    /// Most requests that one session may have open.
    pub max_of_session: usize,
}

impl DhtConfig {
    /// Usual settings.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { announcing: dht::Config::new(seed), max_look_ups: 16, max_queued: 256, max_of_session: 8 }
    }
}

/// What a worker asks of the DHT. Each is answered by exactly one [`DhtEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhtCommand {
    /// List shares out of the backing store: [`DhtEvent::Listed`]. One at a time.
    List {
        /// Those above this one, or the smallest.
        after: Option<InfoHash>,
        /// So many, or all there are.
        most: usize,
    },
    /// Announce this worker's HTTP under a name: [`DhtEvent::Announced`]. One at a time for each name.
    Announce(DhtName),
    /// Find those who are announced under a name: [`DhtEvent::Found`]. One at a time for each name.
    LookUp(DhtName),
}

/// What became of a [`DhtCommand`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DhtEvent {
    /// The shares that were to be listed, in order; `None` if they could not be.
    Listed(Option<Vec<InfoHash>>),
    /// An announcement ended.
    Announced {
        /// Of the command.
        name: DhtName,
        /// Whether anyone heard it.
        heard: bool,
    },
    /// A look-up ended.
    Found {
        /// Of the command.
        name: DhtName,
        /// Whatever the DHT said, not to be trusted; `None` if it said nothing.
        peers: Option<Vec<SocketAddrV4>>,
    },
}

/// What a worker has done on the DHT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DhtStats {
    /// Announcements that were heard.
    pub announcements: u64,
    /// Announcements that were not.
    pub announcements_failed: u64,
    /// Things that are announced again and again.
    pub items: usize,
    /// Look-ups for clients that the DHT answered.
    pub queries: u64,
    /// Look-ups for clients that it did not.
    pub queries_failed: u64,
    /// Addresses that look-ups found.
    pub peers: u64,
}

/// What became of [`Ask::Announce`](crate::node::worker::Ask::Announce).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// The DHT has heard of it, and will again.
    Announced,
    /// It will be announced.
    Queued,
    /// The worker does not have it: of chunks only those in the cache are announced.
    NotHeld,
    /// Too many other things are announced. It gets its turn all the same, later.
    NoRoom,
}
