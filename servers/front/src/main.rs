//! `kollator-front`: settings, logging, signals. What a front does is in `kollator-core`, how it is served in
//! `kollator-runtime`.

mod cluster;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use kollator_core::node::front::{Budget, Front, FrontConfig};
use kollator_runtime::blocking::Blocking;
use kollator_runtime::http::front::{Pages, Surroundings, serve, system_clock};
use kollator_runtime::net::{Net, TokioNet};
use kollator_runtime::state::State;
use kollator_servers::{Signals, raise_open_files};
use tracing::info;

use self::cluster::Cluster;
use self::settings::Settings;

/// The web app's files, each by its path; none if it was not built before this program.
static APP: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/app.rs"));

fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let seed = getrandom::u64().context("the operating system gives no random numbers")?;
    let cluster = settings.cluster.to_cluster().unwrap_or_else(|fault| refuse(&fault));
    let mut config = settings.to_config(system_clock(), seed).unwrap_or_else(|fault| refuse(&fault));
    settings.cluster.apply(&cluster.roster, &mut config);
    settings.log.start().unwrap_or_else(|fault| refuse(&fault));
    info!(
        version = env!("CARGO_PKG_VERSION"),
        front = cluster.roster.own_name(),
        others = ?cluster.urls.values().map(ToString::to_string).collect::<Vec<_>>(),
        region = settings.cluster.region,
        sqlite_path = %settings.cluster.sqlite_path.display(),
        worker_health_timeout = ?settings.cluster.worker_health_timeout(),
        app_files = APP.len(),
        sync_interval = ?settings.cluster.sync_interval(),
        "starting"
    );
    raise_open_files();
    let addr = SocketAddr::new(settings.host, settings.port);
    let requests = settings.requests();
    let start = Start { addr, config, requests, cluster, sqlite_path: settings.cluster.sqlite_path };
    tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(run(start))
}

/// What a front starts with.
struct Start {
    addr: SocketAddr,
    config: FrontConfig,
    requests: Budget,
    cluster: Cluster,
    sqlite_path: PathBuf,
}

async fn run(start: Start) -> anyhow::Result<()> {
    let Start { addr, config, requests, cluster: Cluster { roster, urls }, sqlite_path } = start;
    let mut signals = Signals::listen()?;
    let listener =
        TokioNet.bind(addr).await.with_context(|| format!("cannot listen on {addr} (--host, --port)"))?;
    let (state, recovered) = State::open(&sqlite_path, Blocking::threads(1))
        .await
        .with_context(|| format!("cannot keep anything in {} (--sqlite-path)", sqlite_path.display()))?;
    let key = config.key.clone();
    let pages = Pages::new(APP);
    let around = Surroundings {
        net: TokioNet,
        key,
        roster,
        urls,
        state: Some(state),
        unix_ms: system_clock,
        requests,
        pages,
    };
    let front = Front::recovered(config, recovered);
    serve(listener, front, around, signals.stop()).await.context("the listener failed")?;
    info!("front down");
    Ok(())
}

/// Ends the process with exit code 2: a setting is bad.
fn refuse(fault: &str) -> ! {
    Settings::command().error(ErrorKind::ValueValidation, fault).exit()
}
