//! What the operator can set. Nothing bad gets past this room.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use kollator_core::wire::signal::{MAX_CAPACITY, MAX_NAME};
use kollator_runtime::link::FrontUrl;
use kollator_runtime::storage::S3Settings;
use kollator_servers::{IceSettings, KeySettings, LogSettings, public_url};

use crate::dht::DhtSettings;

/// Kollator's worker: an always-on peer with a cache in front of S3.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "kollator-worker",
    version,
    after_help = "kollator-worker verify checks a whole store: see its --help"
)]
pub(crate) struct Settings {
    /// TCP port for HTTP; 0 lets the system choose
    #[arg(long, env = "PORT", default_value_t = 8081)]
    pub(crate) port: u16,

    /// IP address for HTTP
    #[arg(long, env = "HOST", default_value = "0.0.0.0")]
    pub(crate) host: IpAddr,

    /// Name of this worker, of its own in the network: up to 64 of A-Z a-z 0-9 . _ -
    #[arg(long, env = "WORKER_ID", default_value_t = default_name(), value_parser = worker_name)]
    pub(crate) worker_id: String,

    /// Base URL of a front; repeat for several (comma-separated in the environment variable)
    #[arg(long = "front", env = "FRONTS", value_name = "URL", value_delimiter = ',',
          default_value = "http://localhost:8080", value_parser = FrontUrl::parse)]
    pub(crate) fronts: Vec<FrontUrl>,

    #[command(flatten)]
    pub(crate) key: KeySettings,

    /// Share of the network's keys that this worker takes; 100 is usual
    #[arg(long, env = "CAPACITY", default_value_t = 100,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_CAPACITY)))]
    pub(crate) capacity: u16,

    /// URL of this worker's HTTP as clients reach it; http://HOST:PORT by default
    #[arg(long, env = "PUBLIC_URL", value_parser = public_url)]
    public_url: Option<String>,

    #[command(flatten)]
    pub(crate) store: StoreSettings,

    /// Most bytes of the cache, in MB
    #[arg(long, env = "CACHE_SIZE_MB", default_value_t = 300,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) cache_size_mb: u64,

    /// Hours after which a cached chunk that nobody read is removed
    #[arg(long, env = "LRU_MAX_AGE_HOURS", default_value_t = 24,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) lru_max_age_hours: u64,

    /// KB of cached chunks to verify each second, readers or none; 0 verifies none. 50 see 300 MB in 1.7 hours
    #[arg(long, env = "SCRUB_RATE_KB", default_value_t = 50,
          value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub(crate) scrub_rate_kb: u64,

    #[command(flatten)]
    pub(crate) load: LoadSettings,

    #[command(flatten)]
    pub(crate) dht: DhtSettings,

    #[command(flatten)]
    pub(crate) ice: IceSettings,

    #[command(flatten)]
    pub(crate) log: LogSettings,
}

/// Checks a whole store, cache and S3 or folder, while no worker uses that cache.
///
/// Prints what is wrong and changes nothing. Exits with 0 if nothing is wrong, with 1 if something is or could not be
/// checked.
#[derive(Clone, Debug, Parser)]
#[command(name = "kollator-worker verify", version)]
pub(crate) struct VerifySettings {
    /// Print JSON lines
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) store: StoreSettings,

    #[command(flatten)]
    pub(crate) log: LogSettings,
}

/// How much it does at most, and with how much at once newcomers are sent to another worker.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoadSettings {
    /// Most data channels at once; newcomers beyond them are sent to another worker
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 1200,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) max_connections: u32,

    /// MB of memory of the process from which on newcomers are sent to another worker (Linux)
    #[arg(long, env = "MAX_MEMORY_MB", default_value_t = 1024,
          value_parser = clap::value_parser!(u64).range(64..=10_000_000))]
    pub(crate) max_memory_mb: u64,

    /// MB read for data channels and not yet sent, over all of them, from which on newcomers are sent to another worker
    #[arg(long, env = "MAX_SEND_QUEUE_MB", default_value_t = 128,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) max_send_queue_mb: u64,

    /// KB to send a second at most, over data channels and HTTP together; 0 sets no limit. What other workers ask for is not
    /// limited
    #[arg(long, env = "UPLOAD_LIMIT_KB", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    pub(crate) upload_limit_kb: u64,
}

/// Where chunks are.
#[derive(Clone, Debug, Args)]
pub(crate) struct StoreSettings {
    /// S3-compatible service, such as http://127.0.0.1:9000; without it, DATA_PATH takes its place
    #[arg(long, env = "S3_ENDPOINT", value_parser = public_url)]
    s3_endpoint: Option<String>,

    /// Bucket; created if it is missing
    #[arg(long, env = "S3_BUCKET", default_value = "kollator-chunks")]
    s3_bucket: String,

    /// Access key id
    #[arg(long, env = "S3_ACCESS_KEY")]
    s3_access_key: Option<String>,

    /// Secret access key
    #[arg(long, env = "S3_SECRET_KEY", hide_env_values = true)]
    s3_secret_key: Option<String>,

    /// Region
    #[arg(long, env = "S3_REGION", default_value = "us-east-1")]
    s3_region: String,

    /// Folder that keeps everything where there is no S3
    #[arg(long, env = "DATA_PATH", default_value = "./data")]
    data_path: PathBuf,

    /// Folder of the cache, for this worker alone
    #[arg(long, env = "CACHE_PATH", default_value = "./cache")]
    pub(crate) cache_path: PathBuf,
}

/// What keeps chunks for good.
#[derive(Debug)]
pub(crate) enum Storage {
    S3(S3Settings),
    Folder(PathBuf),
}

impl StoreSettings {
    /// Where chunks are kept.
    pub(crate) fn storage(&self) -> Result<Storage, String> {
        let Some(endpoint) = &self.s3_endpoint else { return Ok(Storage::Folder(self.data_path.clone())) };
        let needed = |value: &Option<String>, name: &str| {
            value
                .clone()
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("S3_ENDPOINT is set, so {name} must be too"))
        };
        Ok(Storage::S3(S3Settings {
            endpoint: Some(endpoint.clone()),
            region: self.s3_region.clone(),
            bucket: self.s3_bucket.clone(),
            access_key: needed(&self.s3_access_key, "--s3-access-key (S3_ACCESS_KEY)")?,
            secret_key: needed(&self.s3_secret_key, "--s3-secret-key (S3_SECRET_KEY)")?,
            path_style: true,
            attempt_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(60),
        }))
    }
}

impl Settings {
    /// Where clients reach this worker's HTTP.
    pub(crate) fn public_url(&self) -> String {
        let host = match self.host {
            host if host.is_unspecified() => hostname().unwrap_or_else(|| "localhost".to_owned()),
            IpAddr::V6(host) => format!("[{host}]"),
            IpAddr::V4(host) => host.to_string(),
        };
        self.public_url.clone().unwrap_or_else(|| format!("http://{host}:{}", self.port))
    }
}

fn hostname() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    worker_name(name).ok()
}

fn default_name() -> String {
    let name = hostname().map_or_else(|| "worker".to_owned(), |host| format!("worker-{host}"));
    name.chars().take(MAX_NAME).collect()
}

fn worker_name(name: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=MAX_NAME).contains(&name.len()) && name.chars().all(legal) {
        Ok(name.to_owned())
    } else {
        Err(format!("must be 1 to {MAX_NAME} of A-Z a-z 0-9 . _ -"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(args: &[&str]) -> Result<Settings, clap::Error> {
        let needed = ["kollator-worker", "--worker-shared-key-path", "/nowhere/key"];
        Settings::try_parse_from(needed.iter().chain(args))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Settings::command().debug_assert();
        VerifySettings::command().debug_assert();
    }

    #[test]
    fn bad_settings_are_named() {
        for (flag, value) in [
            ("--capacity", "0"),
            ("--capacity", "1001"),
            ("--port", "70000"),
            ("--host", "localhost"),
            ("--worker-id", "a b"),
            ("--front", "ftp://x"),
            ("--public-url", "localhost:1"),
            ("--s3-endpoint", "minio:9000"),
            ("--cache-size-mb", "0"),
            ("--scrub-rate-kb", "1000001"),
            ("--max-connections", "0"),
            ("--max-memory-mb", "63"),
            ("--max-send-queue-mb", "0"),
            ("--dht-bootstrap", "localhost"),
            ("--dht-port", "70000"),
        ] {
            let fault = parse(&[flag, value]).unwrap_err().to_string();
            assert!(fault.contains(flag) && fault.contains(value), "{fault}");
        }
    }

    #[test]
    fn s3_needs_its_keys() {
        let settings = parse(&["--s3-endpoint", "http://127.0.0.1:9000/", "--s3-access-key", "a"]).unwrap();
        assert!(settings.store.storage().unwrap_err().contains("S3_SECRET_KEY"));
        let settings =
            parse(&["--s3-endpoint", "http://127.0.0.1:9000/", "--s3-access-key", "a", "--s3-secret-key", "b"])
                .unwrap();
        let Ok(Storage::S3(s3)) = settings.store.storage() else { panic!("{settings:?}") };
        assert_eq!(s3.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert!(matches!(parse(&[]).unwrap().store.storage(), Ok(Storage::Folder(_))));
    }
}
