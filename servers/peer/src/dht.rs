//! Finding workers on the BitTorrent DHT, where no front says which there are.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Args;
use kollator_core::id::InfoHash;
use kollator_core::node::peer::WorkerUrl;
use kollator_runtime::dht::{BootstrapNodes, Dht as _, Mainline, MainlineSettings};
use tokio::time::{Instant, sleep};

use crate::words;

/// Most workers that are tried.
const MOST: usize = 50;
/// Pause before the DHT is asked again.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct DhtArgs {
    /// Find workers on the BitTorrent DHT and ask them over HTTP. With it, no front is asked but those that --front or the
    /// link names.
    #[arg(long, requires = "dht_bootstrap", conflicts_with = "no_http")]
    dht: bool,
    /// Nodes by which to join the DHT, as host:port, separated by commas, such as router.bittorrent.com:6881.
    #[arg(long, env = "DHT_BOOTSTRAP_NODES", value_name = "NODES")]
    dht_bootstrap: Option<BootstrapNodes>,
}

impl DhtArgs {
    /// Whether the DHT is to be asked.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.dht
    }

    /// Those who are announced for a share: looked for until there are some, for `patience` at most.
    pub(crate) async fn workers(&self, info_hash: InfoHash, patience: Duration) -> anyhow::Result<Vec<WorkerUrl>> {
        let BootstrapNodes(nodes) = self.dht_bootstrap.clone().unwrap_or_default();
        ensure!(!nodes.is_empty(), "--dht needs a node to begin with: --dht-bootstrap (DHT_BOOTSTRAP_NODES)");
        let end = Instant::now() + patience;
        let node = Mainline::join(MainlineSettings::new(nodes, Ipv4Addr::UNSPECIFIED, 0)).await?;
        loop {
            let found = node.peers(info_hash.into(), MOST).await;
            let why = match found {
                Ok(peers) if !peers.is_empty() => {
                    words::say(&format!("workers found on the DHT: {}", peers.len()));
                    return Ok(peers.iter().filter_map(|peer| format!("http://{peer}").parse().ok()).collect());
                }
                Ok(_) => format!("nobody is announced for {info_hash} on the DHT"),
                Err(error) => error.to_string(),
            };
            if Instant::now() + PAUSE >= end {
                bail!("{why}");
            }
            sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::settings::{Settings, Verb};

    #[test]
    fn the_dht_needs_nodes_and_http() {
        let parse = |args: &[&str]| {
            let settings = Settings::try_parse_from(["kollator", "download", "x"].iter().chain(args));
            settings.map(|settings| match settings.verb {
                Verb::Download(download) => download.dht.is_wanted(),
                _ => panic!("a download was asked for"),
            })
        };
        assert!(parse(&["--dht", "--dht-bootstrap", "127.0.0.1:8380,localhost:1"]).expect("legal"));
        assert!(!parse(&["--dht-bootstrap", "127.0.0.1:8380"]).expect("legal"));
        for (args, word) in [
            (&["--dht"][..], "--dht-bootstrap"),
            (&["--dht", "--dht-bootstrap", "localhost"], "host:port"),
            (&["--dht", "--dht-bootstrap", "a:1", "--no-http"], "--no-http"),
        ] {
            let error = parse(args).expect_err("it cannot work");
            assert!(error.exit_code() == 2 && error.to_string().contains(word), "{args:?}: {error}");
        }
    }
}
