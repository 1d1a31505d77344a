//! The worker's place in the DHT: its settings, and what it says there.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use clap::Args;
use kollator_runtime::dht::{BootstrapNodes, Mainline, MainlineSettings};
use kollator_runtime::node::worker::WorkerDht;
use tracing::info;

#[derive(Clone, Debug, Args)]
pub(crate) struct DhtSettings {
    /// Nodes of the BitTorrent DHT by which to join it, as host:port, separated by commas; without any, it is not used
    #[arg(
        long = "dht-bootstrap",
        env = "DHT_BOOTSTRAP_NODES",
        value_name = "NODES",
        default_value = "",
        hide_default_value = true
    )]
    bootstrap: BootstrapNodes,

    /// UDP port for the DHT; 0 lets the system choose
    #[arg(long, env = "DHT_PORT", default_value_t = 6881)]
    dht_port: u16,
}

impl DhtSettings {
    /// What to join the DHT with, if it is used, for a worker that listens at `host`.
    pub(crate) fn settings(&self, host: IpAddr) -> Result<Option<MainlineSettings>, String> {
        let BootstrapNodes(nodes) = self.bootstrap.clone();
        if nodes.is_empty() {
            return Ok(None);
        }
        let host = match host {
            IpAddr::V4(host) => host,
            host if host.is_unspecified() => Ipv4Addr::UNSPECIFIED,
            host => {
                return Err(format!(
                    "the DHT (--dht-bootstrap, DHT_BOOTSTRAP_NODES) is for IPv4 only, so --host (HOST) cannot be {host}"
                ));
            }
        };
        Ok(Some(MainlineSettings::new(nodes, host, self.dht_port)))
    }
}

/// Joins the DHT, to announce `port` there.
pub(crate) async fn join(settings: MainlineSettings, port: u16) -> anyhow::Result<WorkerDht> {
    ensure!(port != 0, "with --port 0 (PORT), --public-url (PUBLIC_URL) must say which port the DHT is told");
    let node = Mainline::join(settings)
        .await
        .context("DHT (--dht-bootstrap, DHT_BOOTSTRAP_NODES, --dht-port, DHT_PORT)")?;
    info!(udp = %node.address().await?, announced = port, "in the DHT");
    Ok(WorkerDht { dht: Arc::new(node), port })
}

/// The port under which others reach the worker's plain HTTP: that of its public URL, or its own where that is HTTPS,
/// for nobody who finds an address in the DHT knows which name to ask a certificate for.
pub(crate) fn announced_port(public_url: &str, own: u16) -> u16 {
    let Some(rest) = public_url.strip_prefix("http://") else { return own };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once(':') {
        // In an IPv6 address without a port, a colon is followed by the bracket that closes it.
        Some((_, port)) if !port.ends_with(']') => port.parse().unwrap_or(own),
        _ => 80,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        dht: DhtSettings,
    }

    fn parse(args: &[&str], host: &str) -> Result<Option<MainlineSettings>, String> {
        let only = Only::try_parse_from(["worker"].iter().chain(args)).expect("legal settings");
        only.dht.settings(host.parse().expect("an address"))
    }

    #[test]
    fn without_nodes_the_dht_is_not_used() {
        assert!(parse(&[], "0.0.0.0").expect("legal").is_none());
        assert!(parse(&["--dht-bootstrap", ""], "::1").expect("legal").is_none());
        let settings =
            parse(&["--dht-bootstrap", "a:1,b:2", "--dht-port", "7"], "::").expect("legal").expect("used");
        assert_eq!((settings.bootstrap.len(), settings.host, settings.port), (2, Ipv4Addr::UNSPECIFIED, 7));
        let fault = parse(&["--dht-bootstrap", "a:1"], "::1").expect_err("the DHT is for IPv4");
        assert!(fault.contains("::1") && fault.contains("--host"), "{fault}");
    }

    #[test]
    fn the_announced_port_is_that_of_plain_http() {
        for (url, port) in [
            ("http://worker:8181", 8181),
            ("http://worker", 80),
            ("http://worker/under/here", 80),
            ("http://[::1]:99", 99),
            ("http://[::1]", 80),
            ("https://worker:443", 7),
        ] {
            assert_eq!(announced_port(url, 7), port, "{url}");
        }
    }
}
