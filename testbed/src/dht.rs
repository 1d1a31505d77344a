//! A DHT of a few nodes on one machine, for networks that are not to meet the real one.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, ensure};
use mainline::Dht;

/// A DHT whose first node others bootstrap from. It goes when this is dropped.
#[derive(Debug)]
pub struct LocalDht {
    nodes: Vec<Dht>,
    first: SocketAddrV4,
}

impl LocalDht {
    /// Starts `nodes` nodes on `host`, the first at UDP port `port` (0 lets the system choose).
    ///
    /// # Errors
    /// If there is to be none, or a port cannot be had.
    pub async fn start(host: Ipv4Addr, port: u16, nodes: usize) -> anyhow::Result<Self> {
        ensure!(nodes > 0, "a DHT needs at least one node");
        let first = Dht::builder().server_mode().no_bootstrap().bind_address(host).port(port).build();
        let first = first.with_context(|| format!("cannot listen on UDP {host}:{port}"))?;
        let known = [first.clone().as_async().info().await.local_addr()];
        let mut all = vec![first];
        while all.len() < nodes {
            let node = Dht::builder().server_mode().bootstrap(&known).bind_address(host).port(0).build();
            all.push(node.with_context(|| format!("cannot listen on UDP at {host}"))?);
        }
        Ok(Self { nodes: all, first: known[0] })
    }

    /// Where the first node listens.
    #[must_use]
    pub const fn bootstrap(&self) -> SocketAddrV4 {
        self.first
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }
}
