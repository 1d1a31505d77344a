//! What the operator can set, and the front's configuration that comes of it. Nothing bad gets past this room.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use kollator_core::allow::AllowList;
use kollator_core::auth::SharedKey;
use kollator_core::node::front::{Budget, FrontConfig};
use kollator_core::wire::signal::{IceServer, MAX_SERVERS, MAX_URL};
use kollator_core::wire::signal_codec::is_http_url;

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

    /// STUN servers told to clients, such as stun:stun.example.org:3478; comma-separated
    #[arg(long, env = "STUN_SERVERS", value_delimiter = ',', value_parser = stun_server)]
    pub(crate) stun_servers: Vec<IceServer>,

    /// TURN servers told to clients, each turn:USER:PASSWORD@HOST:PORT (or turns:); comma-separated
    #[arg(long, env = "TURN_SERVERS", hide_env_values = true, value_delimiter = ',', value_parser = turn_server)]
    pub(crate) turn_servers: Vec<IceServer>,

    /// Virtual nodes on the ring for a worker of capacity 100
    #[arg(
        long,
        env = "CONSISTENT_HASH_REPLICAS",
        default_value_t = 150,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub(crate) consistent_hash_replicas: u32,

    /// File with the key that fronts and workers of a network share, at least 16 bytes
    #[arg(long, env = "WORKER_SHARED_KEY_PATH")]
    pub(crate) worker_shared_key_path: PathBuf,

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

    /// HTTP requests that one IPv4 address or IPv6 /64 may make in a second, WebSockets' first ones included; five
    /// seconds' worth at once
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

    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, or directives as tracing-subscriber has them
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub(crate) log: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// The front's configuration.
    ///
    /// # Errors
    /// Says which setting is wrong and what would be right.
    pub(crate) fn to_config(&self, unix_ms: u64, seed: u64) -> Result<FrontConfig, String> {
        let mut config = FrontConfig::new(read_key(&self.worker_shared_key_path)?, unix_ms, seed);
        config.replicas = self.consistent_hash_replicas;
        config.ice_servers = [&self.stun_servers[..], &self.turn_servers].concat();
        config.fronts = self.public_urls.clone();
        config.max_clients = self.max_connections as usize;
        config.max_clients_per_ip = self.max_connections_per_ip as usize;
        config.worker_networks = self.worker_networks.clone().unwrap_or_default();
        if config.ice_servers.len() > MAX_SERVERS {
            return Err(format!("--stun-servers and --turn-servers: at most {MAX_SERVERS} together"));
        }
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

fn read_key(path: &Path) -> Result<SharedKey, String> {
    let fault = |what: String| {
        format!(
            "--worker-shared-key-path (WORKER_SHARED_KEY_PATH): {}: {what}; it must be a file of at least {} bytes, \
             the same for every front and worker",
            path.display(),
            SharedKey::MIN_LEN
        )
    };
    let content = fs::read(path).map_err(|e| fault(e.to_string()))?;
    SharedKey::new(&content).map_err(|e| fault(e.to_string()))
}

fn public_url(url: &str) -> Result<String, String> {
    if is_http_url(url) {
        Ok(url.to_owned())
    } else {
        Err("must be http://HOST[:PORT] or https://HOST[:PORT]".into())
    }
}

fn stun_server(url: &str) -> Result<IceServer, String> {
    let address = url.strip_prefix("stun:").or_else(|| url.strip_prefix("stuns:"));
    if url.len() <= MAX_URL && address.is_some_and(is_address) {
        Ok(IceServer { urls: vec![url.to_owned()], username: None, credential: None })
    } else {
        Err("must be stun:HOST[:PORT] or stuns:HOST[:PORT]".into())
    }
}

fn turn_server(url: &str) -> Result<IceServer, String> {
    let parse = || {
        let (scheme, rest) = url.split_once(':')?;
        let (login, address) = rest.rsplit_once('@')?;
        let (user, password) = login.split_once(':')?;
        let visible = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        let fits = matches!(scheme, "turn" | "turns")
            && visible(user)
            && visible(password)
            && is_address(address)
            && url.len() <= MAX_URL;
        fits.then(|| IceServer {
            urls: vec![format!("{scheme}:{address}")],
            username: Some(user.to_owned()),
            credential: Some(password.to_owned()),
        })
    };
    parse().ok_or_else(|| "must be turn:USER:PASSWORD@HOST[:PORT] or the same with turns".into())
}

/// Whether `address` is `HOST[:PORT]`, perhaps with the `?transport=` that TURN URLs may have (RFC 7065).
fn is_address(address: &str) -> bool {
    let (address, query) = address.split_once('?').unwrap_or((address, "transport=udp"));
    matches!(query, "transport=udp" | "transport=tcp")
        && !address.contains('/')
        && is_http_url(&format!("http://{address}"))
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
    fn ice_servers_are_told_as_browsers_take_them() {
        let settings = parse(&[
            "--stun-servers",
            "stun:a.example:3478,stun:[2001:db8::1]:3478",
            "--turn-servers",
            "turn:me:p:w@d@b.example:3478,turns:u:p@c.example?transport=tcp",
        ])
        .expect("valid");
        let stun: Vec<_> = settings.stun_servers.iter().map(|server| server.urls[0].as_str()).collect();
        assert_eq!(stun, ["stun:a.example:3478", "stun:[2001:db8::1]:3478"]);
        let expected = IceServer {
            urls: vec!["turn:b.example:3478".into()],
            username: Some("me".into()),
            credential: Some("p:w@d".into()),
        };
        assert_eq!(settings.turn_servers[0], expected);
        assert_eq!(settings.turn_servers[1].urls, ["turns:c.example?transport=tcp"]);
    }

    #[test]
    fn bad_settings_are_refused_by_name() {
        for (args, name) in [
            (&["--port", "65536"], "--port"),
            (&["--host", "localhost!"], "--host"),
            (&["--stun-servers", "turn:a"], "--stun-servers"),
            (&["--stun-servers", "stun:"], "--stun-servers"),
            (&["--turn-servers", "turn:a.example:3478"], "--turn-servers"),
            (&["--turn-servers", "turn:u@a.example"], "--turn-servers"),
            (&["--turn-servers", "turn::p@a.example"], "--turn-servers"),
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

    #[test]
    fn the_key_file_is_named_when_it_cannot_be_used() {
        let config = |path: &Path| {
            let path = path.to_str().expect("ASCII");
            let all = ["kollator-front", "--worker-shared-key-path", path, "--public-url", "http://a"];
            Settings::try_parse_from(all).expect("valid").to_config(0, 0)
        };
        let missing = config(Path::new("/nonexistent/key")).expect_err("refused");
        assert!(missing.contains("/nonexistent/key") && missing.contains("WORKER_SHARED_KEY_PATH"), "{missing}");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        fs::write(&path, "short\n").expect("written");
        assert!(config(&path).expect_err("refused").contains("at least 16 bytes, this one has 5"));
        fs::write(&path, "sixteen bytes ok\n").expect("written");
        assert_eq!(config(&path).expect("usable").fronts, ["http://a"]);
    }
}
