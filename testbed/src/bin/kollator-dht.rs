//! `kollator-dht`: a local DHT of a few nodes, for networks on one machine. Settings and wiring only.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use clap::Parser;
use kollator_testbed::dht::LocalDht;
use tokio::signal::unix::{SignalKind, signal};

/// A local DHT of a few nodes, for networks on one machine.
#[derive(Parser)]
#[command(version)]
struct Settings {
    /// IPv4 address to listen on.
    #[arg(long, env = "KOLLATOR_DHT_HOST", default_value_t = Ipv4Addr::LOCALHOST)]
    host: Ipv4Addr,
    /// UDP port of the first node, by which others join; 0 lets the system choose one, which the log then names.
    #[arg(long, env = "KOLLATOR_DHT_PORT", default_value_t = 8380)]
    port: u16,
    /// How many nodes.
    #[arg(long, env = "KOLLATOR_DHT_NODES", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    nodes: u16,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::INFO.into())
        .from_env()
        .context("RUST_LOG must be a tracing filter, such as info or mainline=debug")?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let Settings { host, port, nodes } = settings;
    let dht = LocalDht::start(host, port, nodes.into()).await?;
    tracing::info!(bootstrap = %dht.bootstrap(), nodes = dht.nodes(), "up");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    Ok(())
}
