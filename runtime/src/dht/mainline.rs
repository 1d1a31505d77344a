//! A node in the DHT, by the `mainline` crate. It has a thread of its own. UDP over IPv4 only, as the crate is.
//!
//! Two habits of the crate are dealt with here. A look-up joins whatever query for that name its node has open, and
//! the query by which an announcement finds its nodes brings no peers: so an announcement looks the name up first, whose
//! nodes the crate then announces to. And a broken node panics in whoever asks it: that ends the request, not the asker.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::str::FromStr;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use kollator_core::dht::DhtName;
use mainline::Id;
use mainline::async_dht::AsyncDht;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

use super::{Dht, DhtError};

/// Longest that the name of a bootstrap node may take to be resolved.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);
/// Longest look-up.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(20);
/// Once somebody was found, others are waited for as long again as that took, within these bounds.
const SETTLE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(2));

/// Where a node that is already in the DHT listens: `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    host: String,
    port: u16,
}

impl Bootstrap {
    /// The node at this address.
    #[must_use]
    pub fn at(address: SocketAddrV4) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl FromStr for Bootstrap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            let got: String = text.chars().take(80).collect();
            format!("a DHT node must be host:port, such as router.bittorrent.com:6881, not {got:?}")
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || host.len() > 253 || !host.chars().all(legal) {
            return Err(bad());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Bootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Nodes to begin with, as a setting: separated by commas, perhaps none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootstrapNodes(pub Vec<Bootstrap>);

impl FromStr for BootstrapNodes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let nodes = text.split(',').map(str::trim).filter(|node| !node.is_empty());
        nodes.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// What a node in the DHT is made of.
#[derive(Clone, Debug)]
pub struct MainlineSettings {
    /// Nodes to begin with.
    pub bootstrap: Vec<Bootstrap>,
    /// Address to listen at.
    pub host: Ipv4Addr,
    /// UDP port to listen at; 0 lets the system choose.
    pub port: u16,
    /// Longest wait for another node's answer.
    pub request_timeout: Duration,
}

impl MainlineSettings {
    /// Usual settings.
    #[must_use]
    pub const fn new(bootstrap: Vec<Bootstrap>, host: Ipv4Addr, port: u16) -> Self {
        Self { bootstrap, host, port, request_timeout: mainline::DEFAULT_REQUEST_TIMEOUT }
    }
}

/// A node in the DHT. Leaves it when dropped.
pub struct Mainline(AsyncDht);

impl fmt::Debug for Mainline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mainline").finish_non_exhaustive()
    }
}

impl Mainline {
    /// Joins the DHT. Whether any node answers shows with the first request.
    ///
    /// # Errors
    /// If no bootstrap node has an IPv4 address, or the port cannot be had.
    pub async fn join(settings: MainlineSettings) -> Result<Self, DhtError> {
        let MainlineSettings { bootstrap, host, port, request_timeout } = settings;
        let known = resolve(&bootstrap).await?;
        // It waits for the thread that it starts.
        let build = move || {
            let mut builder = mainline::Dht::builder();
            builder.bootstrap(&known).bind_address(host).port(port).request_timeout(request_timeout).build()
        };
        let built = tokio::task::spawn_blocking(build).await.map_err(io::Error::other);
        let node = built.and_then(|built| built);
        node.map(|node| Self(node.as_async()))
            .map_err(|error| DhtError(format!("cannot listen on UDP {host}:{port}: {error}")))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the node broke down.
    pub async fn address(&self) -> Result<SocketAddrV4, DhtError> {
        guarded(async { self.0.info().await.local_addr() }).await
    }

    async fn look_up(&self, name: DhtName, most: usize) -> Vec<SocketAddrV4> {
        let began = Instant::now();
        let mut end = began + LOOK_UP_LIMIT;
        let mut peers = Vec::new();
        let mut seen = BTreeSet::new();
        let mut answers = pin!(self.0.get_peers(id_of(name)));
        while peers.len() < most
            && let Ok(Some(answer)) = timeout_at(end, answers.next()).await
        {
            let is_first = peers.is_empty();
            let room = most - peers.len();
            peers.extend(answer.into_iter().filter(|peer| seen.insert(*peer)).take(room));
            if is_first && !peers.is_empty() {
                end = end.min(Instant::now() + began.elapsed().clamp(SETTLE.0, SETTLE.1));
            }
        }
        peers
    }
}

#[async_trait::async_trait]
impl Dht for Mainline {
    async fn announce(&self, name: DhtName, port: u16) -> Result<(), DhtError> {
        let announce = async {
            let mut answers = pin!(self.0.get_peers(id_of(name)));
            while answers.next().await.is_some() {}
            self.0.announce_peer(id_of(name), Some(port)).await
        };
        guarded(announce).await?.map(|_| ()).map_err(|error| DhtError(error.to_string()))
    }

    async fn peers(&self, name: DhtName, most: usize) -> Result<Vec<SocketAddrV4>, DhtError> {
        let look_up = async {
            let peers = self.look_up(name, most).await;
            let alone = peers.is_empty() && self.0.to_bootstrap().await.is_empty();
            (!alone).then_some(peers).ok_or_else(|| DhtError("no node of the DHT answers".to_owned()))
        };
        guarded(look_up).await?
    }
}

/// Asks a node that may be broken.
async fn guarded<T>(ask: impl Future<Output = T>) -> Result<T, DhtError> {
    AssertUnwindSafe(ask).catch_unwind().await.map_err(|_| DhtError("the DHT node broke down".to_owned()))
}

fn id_of(name: DhtName) -> Id {
    Id::from_bytes(name.0).expect("both have 20 bytes")
}

/// The IPv4 addresses of all nodes that have some.
async fn resolve(nodes: &[Bootstrap]) -> Result<Vec<SocketAddrV4>, DhtError> {
    let mut known = Vec::new();
    let mut faults = Vec::new();
    for node in nodes {
        let found = match timeout(RESOLVE_LIMIT, lookup_host((node.host.as_str(), node.port))).await {
            Ok(Ok(found)) => found.filter_map(v4).collect(),
            Ok(Err(error)) => {
                faults.push(format!("{node}: {error}"));
                continue;
            }
            Err(_) => Vec::new(),
        };
        if found.is_empty() {
            faults.push(format!("{node}: it has no IPv4 address"));
        }
        known.extend(found);
    }
    if known.is_empty() {
        return Err(DhtError(format!("no bootstrap node can be found: {}", faults.join("; "))));
    }
    for fault in faults {
        warn!(fault, "a bootstrap node of the DHT cannot be found");
    }
    Ok(known)
}

const fn v4(address: SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use kollator_core::dht::Item;
    use kollator_core::id::InfoHash;
    use kollator_core::merkle::sha256;
    use mainline::Testnet;

    use super::*;

    fn name(n: u8) -> DhtName {
        Item::Share(InfoHash(sha256(&[n]))).name()
    }

    /// A DHT of a few nodes on loopback, which goes when it is dropped.
    fn testnet() -> (Testnet, Vec<Bootstrap>) {
        let testnet = Testnet::builder(4).build().expect("loopback");
        let bootstrap = testnet.bootstrap.iter().map(|node| node.parse().expect("an address")).collect();
        (testnet, bootstrap)
    }

    async fn join(bootstrap: Vec<Bootstrap>) -> Mainline {
        let settings = MainlineSettings {
            request_timeout: Duration::from_millis(500),
            ..MainlineSettings::new(bootstrap, Ipv4Addr::LOCALHOST, 0)
        };
        Mainline::join(settings).await.expect("loopback")
    }

    fn at(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_announced_a_name_is_found_under_it() {
        let testnet = testnet();
        let (one, other) = (join(testnet.1.clone()).await, join(testnet.1.clone()).await);
        one.announce(name(1), 7001).await.expect("heard");
        other.announce(name(1), 7002).await.expect("heard");
        let reader = join(testnet.1.clone()).await;
        let mut peers = reader.peers(name(1), 10).await.expect("an answer");
        peers.sort_unstable();
        assert_eq!(peers, [at(7001), at(7002)]);
        assert_eq!(reader.peers(name(1), 1).await.expect("an answer").len(), 1);
        assert_eq!(reader.peers(name(2), 10).await, Ok(Vec::new()), "nobody has it");
    }

    /// A node that announces a name finds others under it meanwhile.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_look_up_beside_an_announcement_of_the_same_name_finds_others() {
        let (_testnet, bootstrap) = testnet();
        let (one, other) = (join(bootstrap.clone()).await, join(bootstrap).await);
        one.announce(name(1), 7001).await.expect("heard");
        for _ in 0..3 {
            let looked = async {
                // The announcement's own query is open by then.
                tokio::time::sleep(Duration::from_millis(100)).await;
                other.peers(name(1), 10).await
            };
            let (announced, peers) = tokio::join!(other.announce(name(1), 7002), looked);
            announced.expect("heard");
            assert!(peers.expect("an answer").contains(&at(7001)));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_dht_that_does_not_answer_is_an_error() {
        let silent = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let SocketAddr::V4(address) = silent.local_addr().expect("bound") else { unreachable!("it is IPv4") };
        let node = join(vec![Bootstrap::at(address)]).await;
        assert!(node.announce(name(1), 7001).await.is_err());
        let error = node.peers(name(1), 10).await.expect_err("nobody is there");
        assert_eq!(error.to_string(), "no node of the DHT answers");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn settings_that_cannot_work_are_named() {
        let taken = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let port = taken.local_addr().expect("bound").port();
        let nodes = vec![Bootstrap::at(at(9))];
        let settings = MainlineSettings::new(nodes, Ipv4Addr::LOCALHOST, port);
        let error = Mainline::join(settings).await.expect_err("the port is taken").to_string();
        assert!(error.starts_with(&format!("cannot listen on UDP 127.0.0.1:{port}: ")), "{error}");
        // No part of a name is so long: nobody is asked for it.
        let host = "a".repeat(64);
        let nowhere = vec![format!("{host}:6881").parse().expect("host and port")];
        let settings = MainlineSettings::new(nowhere, Ipv4Addr::LOCALHOST, 0);
        let error = Mainline::join(settings).await.expect_err("there is no such host").to_string();
        assert!(error.contains(&format!("{host}:6881")), "{error}");
    }

    #[test]
    fn bootstrap_nodes_are_hosts_with_ports() {
        let list = " router.bittorrent.com:6881,127.0.0.1:1 , localhost:65535,";
        let BootstrapNodes(nodes) = list.parse().expect("three nodes");
        let texts: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["router.bittorrent.com:6881", "127.0.0.1:1", "localhost:65535"]);
        assert_eq!("".parse(), Ok(BootstrapNodes(Vec::new())));
        for bad in
            ["localhost", "localhost:", ":6881", "a:0", "a:65536", "a b:1", "http://a:1", "[::1]:1", "a:1;b:1"]
        {
            let error = bad.parse::<BootstrapNodes>().expect_err(bad);
            assert!(error.contains(bad), "{error}");
        }
    }
}
