//! What the operator can set, and the front's configuration that comes of it. Nothing bad gets past this room.

use std::net::IpAddr;
use std::time::Duration;

use clap::Parser;
use kollator_core::allow::AllowList;
use kollator_core::node::front::{Budget, FrontConfig};
use kollator_core::wire::signal::MAX_SERVERS;
use kollator_servers::{IceSettings, KeySettings, LogSettings, public_url};

use crate::cluster::ClusterSettings;

/// Kollator's front server: hands newcomers their worker, relays WebRTC signaling, tracks swarms.
#[derive(Clone, Debug, Parser)]
#[command(name = "kollator-front", version)]
pub(crate) struct Settings {
    /// TCP port to listen on; 0 lets the system choose
    #[arg(long, env = "PORT", default_value_t = 8080)]
    pub(crate) port: u16,

    /// IP address to listen on
    #[arg(long, env = "HOST", default_value = "0.0.0.0")]
    pub(crate) host: IpAddr,

    #[command(flatten)]
    ice: IceSettings,

    /// Virtual nodes on the ring for a worker of capacity 100
    #[arg(
        long,
        env = "CONSISTENT_HASH_REPLICAS",
        default_value_t = 150,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub(crate) consistent_hash_replicas: u32,

    #[command(flatten)]
    key: KeySettings,

    /// URL of a front as clients reach it, such as `https://front-1.example.org`; repeat for each front of the
    /// network (comma-separated in the environment variable)
    #[arg(long = "public-url", env = "PUBLIC_URL", value_delimiter = ',', value_parser = public_url)]
    pub(crate) public_urls: Vec<String>,

    #[command(flatten)]
    pub(crate) cluster: ClusterSettings,

    /// Most WebSockets at once
    #[arg(
        long,
        env = "MAX_CONNECTIONS",
        default_value_t = 16_384,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub(crate) max_connections: u32,

    /// Most WebSockets at once from one IPv4 address or IPv6 /64
    #[arg(
        long,
        env = "MAX_CONNECTIONS_PER_IP",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub(crate) max_connections_per_ip: u32,

    /// HTTP requests that one IPv4 address or IPv6 /64 may make in a second, WebSockets' first ones included, those for
    /// the web app's files not; five seconds' worth at once
    #[arg(
        long,
        env = "RATE_LIMIT_RPS",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub(crate) rate_limit_rps: u32,

    /// Networks that workers may connect from, such as 10.0.0.0/8,2001:db8::/32; comma-separated. Anywhere if absent
    #[arg(long, env = "WORKER_NETWORKS")]
    pub(crate) worker_networks: Option<AllowList>,

    #[command(flatten)]
    pub(crate) log: LogSettings,
}

impl Settings {
    /// The front's configuration.
    ///
    /// # Errors
    /// Says which setting is wrong and what would be right.
    pub(crate) fn to_config(&self, unix_ms: u64, seed: u64) -> Result<FrontConfig, String> {
        let mut config = FrontConfig::new(self.key.read()?, unix_ms, seed);
        config.replicas = self.consistent_hash_replicas;
        config.ice_servers = self.ice.servers()?;
        config.fronts = self.public_urls.clone();
        config.max_clients = self.max_connections as usize;
        config.max_clients_per_ip = self.max_connections_per_ip as usize;
        config.worker_networks = self.worker_networks.clone().unwrap_or_default();
        if config.fronts.len() > MAX_SERVERS {
            return Err(format!("--public-url: at most {MAX_SERVERS}"));
        }
        Ok(config)
    }

    /// Requests that one address may make.
    pub(crate) const fn requests(&self) -> Budget {
        let interval = Duration::from_secs(1).checked_div(self.rate_limit_rps).expect("at least 1");
        Budget { burst: 5 * self.rate_limit_rps, interval }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Settings, String> {
        let all = ["kollator-front", "--worker-shared-key-path", "key"].iter().chain(args);
        Settings::try_parse_from(all).map_err(|e| e.to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Settings::command().debug_assert();
    }

    #[test]
    fn bad_settings_are_refused_by_name() {
        for (args, name) in [
            (&["--port", "65536"], "--port"),
            (&["--host", "localhost!"], "--host"),
            (&["--consistent-hash-replicas", "0"], "--consistent-hash-replicas"),
            (&["--public-url", "front.example"], "--public-url"),
            (&["--log-format", "xml"], "--log-format"),
            (&["--max-connections", "0"], "--max-connections"),
            (&["--rate-limit-rps", "0"], "--rate-limit-rps"),
            (&["--worker-networks", "10.0.0.0/33"], "--worker-networks"),
        ] {
            let error = parse(args).expect_err("refused");
            assert!(error.contains(name) && error.contains(args[1]), "{error}");
        }
        let missing = Settings::try_parse_from(["kollator-front"]).expect_err("refused");
        assert_eq!(missing.exit_code(), 2);
        assert!(missing.to_string().contains("--worker-shared-key-path"));
    }
}
