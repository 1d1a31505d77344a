//! `kollator-worker`: settings, logging, signals. What a worker does is in `kollator-core`, how its disk, its
//! network and its HTTP are driven in `kollator-runtime`.

mod dht;
mod settings;
mod verify;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser as _};
use kollator_core::auth::SharedKey;
use kollator_core::node::worker::WorkerConfig;
use kollator_runtime::blocking::Blocking;
use kollator_runtime::dht::MainlineSettings;
use kollator_runtime::http::front::system_clock;
use kollator_runtime::http::worker::{self, WorkerHttp};
use kollator_runtime::net::{Net as _, TokioNet};
use kollator_runtime::node::worker::{WorkerNode, WorkerOptions};
use kollator_runtime::node::{random_id, random_seed, resident_memory};
use kollator_runtime::rtc::{RtcConfig, WebRtc};
use kollator_runtime::storage::{Backing, CacheDir, DirBacking, S3Backing, StoreDriver};
use kollator_servers::{Signals, raise_open_files};
use tokio::sync::oneshot;
use tracing::info;

use self::dht::{announced_port, join};
use self::settings::{Settings, Storage, VerifySettings};

/// Longest wait at shutdown for what is open to be finished.
const DRAIN: Duration = Duration::from_secs(30);

fn main() -> anyhow::Result<ExitCode> {
    if std::env::args_os().nth(1).is_some_and(|word| word == "verify") {
        return verify::run(VerifySettings::parse_from(std::env::args_os().skip(1)));
    }
    let settings = Settings::parse();
    let key = settings.key.read().unwrap_or_else(|fault| refuse::<Settings>(&fault));
    let dht = settings.dht.settings(settings.host).unwrap_or_else(|fault| refuse::<Settings>(&fault));
    let ice_servers = settings.ice.servers().unwrap_or_else(|fault| refuse::<Settings>(&fault));
    let storage = settings.store.storage().unwrap_or_else(|fault| refuse::<Settings>(&fault));
    settings.log.start().unwrap_or_else(|fault| refuse::<Settings>(&fault));
    info!(version = env!("CARGO_PKG_VERSION"), name = settings.worker_id, "starting");
    raise_open_files();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let rtc = RtcConfig { ice_servers, ..RtcConfig::default() };
    runtime.block_on(run(settings, key, storage, rtc, dht))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(
    settings: Settings,
    key: SharedKey,
    storage: Storage,
    rtc: RtcConfig,
    dht: Option<MainlineSettings>,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let addr = SocketAddr::new(settings.host, settings.port);
    let listener =
        TokioNet.bind(addr).await.with_context(|| format!("cannot listen on {addr} (--host, --port)"))?;

    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    let blocking = Blocking::threads(cores.clamp(2, 16));
    let (cache, recovered) = CacheDir::open(&settings.store.cache_path).context("--cache-path (CACHE_PATH)")?;
    info!(chunks = recovered.len(), path = %settings.store.cache_path.display(), "cache opened");
    let backing: Arc<dyn Backing> = match storage {
        Storage::S3(s3) => {
            info!(settings = ?s3, "storing in S3");
            Arc::new(S3Backing::connect(s3, random_seed()).await.context("S3 (S3_ENDPOINT, S3_BUCKET and keys)")?)
        }
        Storage::Folder(path) => {
            info!(path = %path.display(), "storing in a folder");
            Arc::new(DirBacking::open(path, blocking.clone()).context("--data-path (DATA_PATH)")?)
        }
    };
    let config = machine_config(&settings, key);
    let url = config.http.clone();
    let dht = match dht {
        Some(dht) => Some(join(dht, announced_port(&url, settings.port)).await?),
        None => None,
    };
    let http = WorkerHttp {
        name: config.name.clone(),
        url: url.clone(),
        key: config.key.clone(),
        unix_ms: system_clock,
        requests: worker::REQUESTS,
        blocking: blocking.clone(),
    };
    let store = StoreDriver::new(cache, backing, blocking.clone());
    let options = WorkerOptions {
        config,
        fronts: settings.fronts.clone(),
        store,
        recovered,
        blocking,
        memory: resident_memory,
        dht,
    };
    let mut node = WorkerNode::start(options, TokioNet, |sink| WebRtc::new(rtc, sink))
        .context("--stun-servers, --turn-servers")?;

    let (stop_http, http_stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(worker::serve(listener, http, node.asker().clone(), async {
        // Resolves when the other side is dropped.
        let _ = http_stopped.await;
    }));
    info!(http = url, "worker up");
    tokio::select! {
        () = signals.stop() => {}
        () = node.broken_down() => bail!("the worker broke down"),
    }
    node.drain(DRAIN).await.context("the worker broke down")?;
    drop(stop_http);
    serving.await.context("the HTTP server broke down")?.context("the HTTP server failed")?;
    info!("worker down");
    Ok(())
}

fn machine_config(settings: &Settings, key: SharedKey) -> WorkerConfig {
    let name = settings.worker_id.clone();
    let mut config =
        WorkerConfig::new(random_id(), name, settings.public_url(), key, system_clock(), random_seed());
    config.capacity = settings.capacity;
    config.store.cache_bytes = settings.cache_size_mb * 1_000_000;
    config.store.max_age = Duration::from_secs(settings.lru_max_age_hours * 3600);
    config.max_sessions = settings.load.max_connections as usize;
    config.max_memory = settings.load.max_memory_mb * 1_000_000;
    config.upload.max_unsent = settings.load.max_send_queue_mb * 1_000_000;
    config.upload.limit = settings.load.upload_limit_kb * 1000;
    config.store.scrub_rate = settings.scrub_rate_kb * 1000;
    config
}

/// Ends the process with exit code 2: a setting is bad.
fn refuse<S: CommandFactory>(fault: &str) -> ! {
    S::command().error(ErrorKind::ValueValidation, fault).exit()
}
