//! `kollator-front`: settings, logging, signals. What a front does is in `kollator-core`, how it is served in
//! `kollator-runtime`.

mod cluster;
mod settings;

use std::io::{IsTerminal, stderr};
use std::net::SocketAddr;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use kollator_core::node::front::{Front, FrontConfig};
use kollator_runtime::http::front::{serve, system_clock};
use kollator_runtime::net::{Net, TokioNet};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

use self::settings::{LogFormat, Settings};

fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let filter = EnvFilter::try_new(&settings.log).unwrap_or_else(|e| {
        refuse(&format!("--log (RUST_LOG): {:?}: {e}; such as info or kollator=debug", settings.log))
    });
    let seed = getrandom::u64().context("the operating system gives no random numbers")?;
    let config = settings.to_config(system_clock(), seed).unwrap_or_else(|fault| refuse(&fault));
    let cluster = settings.cluster.to_cluster().unwrap_or_else(|fault| refuse(&fault));

    let log =
        tracing_subscriber::fmt().with_writer(stderr).with_ansi(stderr().is_terminal()).with_env_filter(filter);
    match settings.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    info!(
        version = env!("CARGO_PKG_VERSION"),
        front = cluster.roster.own_name(),
        others = ?cluster.urls.values().map(ToString::to_string).collect::<Vec<_>>(),
        region = settings.cluster.region,
        sqlite_path = %settings.cluster.sqlite_path.display(),
        worker_health_timeout = ?settings.cluster.worker_health_timeout(),
        sync_interval = ?settings.cluster.sync_interval(),
        "starting"
    );
    let addr = SocketAddr::new(settings.host, settings.port);
    tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(run(addr, config))
}

async fn run(addr: SocketAddr, config: FrontConfig) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let listener =
        TokioNet.bind(addr).await.with_context(|| format!("cannot listen on {addr} (--host, --port)"))?;
    let shutdown = async {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal, "shutting down");
    };
    serve(listener, Front::new(config), system_clock, shutdown).await.context("the listener failed")?;
    info!("front down");
    Ok(())
}

/// Ends the process with exit code 2: a setting is bad.
fn refuse(fault: &str) -> ! {
    Settings::command().error(ErrorKind::ValueValidation, fault).exit()
}
