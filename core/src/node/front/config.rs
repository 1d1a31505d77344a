//! What a front is told before it begins. Numbers only; nothing here acts.

use std::time::Duration;

use super::Budget;
use crate::allow::AllowList;
use crate::auth::SharedKey;
use crate::cluster::health::HealthConfig;
use crate::cluster::{FrontId, MAX_FRONTS};
use crate::ring::DEFAULT_REPLICAS;
use crate::swarm::SwarmLimits;
use crate::wire::signal::IceServer;

/// A front's place among the fronts.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Names of all fronts of the network, sorted; each 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub names: Vec<String>,
    /// Which of them this one is.
    pub me: FrontId,
    /// How often each front tells the others what it knows, and looks at what it must publish.
    pub sync_interval: Duration,
    /// A front that says nothing for this long no longer vouches for its workers and clients.
    pub front_timeout: Duration,
    /// Where this front stands: its clients get workers of the same region first. Empty: all are alike.
    pub region: String,
    /// Most rows of one front.
    pub max_rows: usize,
    /// Most bytes of rows of one front.
    pub max_rows_bytes: usize,
}

impl ClusterConfig {
    /// A front that is alone.
    #[must_use]
    pub fn alone() -> Self {
        Self::among(vec!["front-1".to_owned()], "front-1").expect("one name, and it is there")
    }

    /// The front `me` of those named, with the usual timings and limits. `None` if it is not one of them, a name
    /// occurs twice, or there are more than [`MAX_FRONTS`].
    #[must_use]
    pub fn among(mut names: Vec<String>, me: &str) -> Option<Self> {
        names.sort();
        let index = names.iter().position(|name| name == me)?;
        let unique = names.windows(2).all(|pair| pair[0] != pair[1]);
        (unique && names.len() <= MAX_FRONTS).then_some(Self {
            names,
            me: FrontId(index as u8),
            sync_interval: Duration::from_millis(100),
            front_timeout: Duration::from_millis(1500),
            region: String::new(),
            max_rows: 100_000,
            max_rows_bytes: 32 << 20,
        })
    }
}

/// Settings and limits of a front.
#[derive(Clone, Debug)]
pub struct FrontConfig {
    /// Its place among the fronts.
    pub cluster: ClusterConfig,
    /// The key workers prove to hold.
    pub key: SharedKey,
    /// Unix milliseconds at the machine's [`Instant::ZERO`](crate::machine::Instant::ZERO).
    pub unix_ms: u64,
    /// Decides every random choice.
    pub seed: u64,
    /// Virtual nodes of a worker with capacity 100.
    pub replicas: u32,
    /// STUN and TURN servers told to clients, at most [`MAX_SERVERS`](crate::wire::signal::MAX_SERVERS).
    pub ice_servers: Vec<IceServer>,
    /// URLs of all fronts told to clients, at most [`MAX_SERVERS`](crate::wire::signal::MAX_SERVERS).
    pub fronts: Vec<String>,
    /// How often clients announce, in seconds, 1 to 3600.
    pub heartbeat_seconds: u32,
    /// A client that sends nothing for this long is closed.
    pub idle_timeout: Duration,
    /// A connection that says no `hello` for this long is closed.
    pub hello_timeout: Duration,
    /// After this long without a word from it, a connection loses its name to a newcomer of that name.
    pub takeover_after: Duration,
    /// Most WebSockets.
    pub max_clients: usize,
    /// Most WebSockets from one IPv4 address or IPv6 /64.
    pub max_clients_per_ip: usize,
    /// Most workers.
    pub max_workers: usize,
    /// Where workers may connect from.
    pub worker_networks: AllowList,
    /// How the health of workers is judged.
    pub health: HealthConfig,
    /// Messages a client may send.
    pub messages: Budget,
    /// Faults that are borne with; one more closes.
    pub faults: Budget,
    /// Limits on swarms.
    pub swarms: SwarmLimits,
}

impl FrontConfig {
    /// The usual settings and limits.
    #[must_use]
    pub fn new(key: SharedKey, unix_ms: u64, seed: u64) -> Self {
        let heartbeat_seconds = 30;
        Self {
            cluster: ClusterConfig::alone(),
            key,
            unix_ms,
            seed,
            replicas: DEFAULT_REPLICAS,
            ice_servers: Vec::new(),
            fronts: Vec::new(),
            heartbeat_seconds,
            idle_timeout: Duration::from_secs(45),
            hello_timeout: Duration::from_secs(10),
            takeover_after: Duration::from_secs(20),
            max_clients: 16_384,
            max_clients_per_ip: 1024,
            max_workers: 1024,
            worker_networks: AllowList::default(),
            health: HealthConfig::default(),
            messages: Budget { burst: 200, interval: Duration::from_millis(20) },
            faults: Budget { burst: 8, interval: Duration::from_secs(60) },
            swarms: SwarmLimits {
                swarms: 100_000,
                members: 10_000,
                per_client: 256,
                expiry: Duration::from_secs(3 * heartbeat_seconds as u64),
            },
        }
    }
}
