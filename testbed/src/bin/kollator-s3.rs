//! `kollator-s3`: an S3-compatible server over a folder, for networks on one machine. Settings and wiring only.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use kollator_testbed::s3::{Keys, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// An S3-compatible server over a folder, for networks on one machine.
#[derive(Parser)]
#[command(version)]
struct Settings {
    /// Address to listen on.
    #[arg(long, env = "KOLLATOR_S3_HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to listen on; 0 lets the system choose one, which the log then names.
    #[arg(long, env = "KOLLATOR_S3_PORT", default_value_t = 8280)]
    port: u16,
    /// Folder that holds the buckets; created if it is missing.
    #[arg(long, env = "KOLLATOR_S3_ROOT")]
    root: PathBuf,
    /// Access key id that clients must have.
    #[arg(long, env = "S3_ACCESS_KEY", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    access_key: String,
    /// Secret access key that clients must have.
    #[arg(long, env = "S3_SECRET_KEY", hide_env_values = true,
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    secret_key: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::INFO.into())
        .from_env()
        .context("RUST_LOG must be a tracing filter, such as info or s3s=debug")?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let address = (settings.host, settings.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("could not listen on {}:{}", settings.host, settings.port))?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    };
    let keys = Keys { access: settings.access_key, secret: settings.secret_key };
    serve(listener, settings.root, keys, stop).await
}
