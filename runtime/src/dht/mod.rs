//! The BitTorrent DHT (BEP 5): what workers and terminals ask of it, and the node that asks. Decides nothing about what
//! is announced when, and believes nothing that is found.

mod driver;
mod mainline;

use std::net::SocketAddrV4;

use kollator_core::dht::DhtName;

pub(crate) use self::driver::DhtDriver;
pub use self::mainline::{Bootstrap, BootstrapNodes, Mainline, MainlineSettings};

/// Why the DHT could not do it, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DhtError(pub String);

/// A DHT to ask: a node in it, or a stand-in. An answer may take its time: whoever asks sets a limit.
#[async_trait::async_trait]
pub trait Dht: Send + Sync + 'static {
    /// Says that this host serves what has this name, at TCP port `port`.
    ///
    /// # Errors
    /// If no node of the DHT took note of it.
    async fn announce(&self, name: DhtName, port: u16) -> Result<(), DhtError>;

    /// At most `most` of those who announced this name; none if nobody did.
    ///
    /// # Errors
    /// If no node of the DHT answers.
    async fn peers(&self, name: DhtName, most: usize) -> Result<Vec<SocketAddrV4>, DhtError>;
}
