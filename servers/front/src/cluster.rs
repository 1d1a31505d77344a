//! The settings that make several fronts one network: who they are, where they are, and how they keep in touch.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kollator_core::cluster::FrontId;
use kollator_core::cluster::roster::{BadRoster, Roster};
use kollator_core::node::front::{ClusterConfig, FrontConfig};
use kollator_core::wire::signal_codec::{is_region, is_worker_name};
use kollator_runtime::link::FrontUrl;

/// What the operator can set about it.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterSettings {
    /// Name of this front in its network: 1 to 64 of A-Z a-z 0-9 . _ -
    #[arg(long, env = "FRONT_ID", default_value = "front-1", value_parser = front_name)]
    pub(crate) front_id: String,

    /// Another front of the network and where this one reaches it, such as
    /// `front-2=https://front-2.example.org`; repeat for each (comma-separated in the environment variable). This
    /// front may be among them. All fronts of a network must be told the same names
    #[arg(long = "peer", env = "FRONT_PEERS", value_name = "NAME=URL", value_delimiter = ',', value_parser = peer)]
    pub(crate) peers: Vec<(String, FrontUrl)>,

    /// File in which this front keeps what it must know after a restart; each front needs its own
    #[arg(long, env = "SQLITE_PATH", default_value = "./kollator-front.db")]
    pub(crate) sqlite_path: PathBuf,

    /// Milliseconds of silence after which a worker counts as dead
    #[arg(
        long,
        env = "WORKER_HEALTH_TIMEOUT",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u64).range(100..=60_000)
    )]
    pub(crate) worker_health_timeout: u64,

    /// Milliseconds between two comparisons of what fronts know
    #[arg(
        long,
        env = "SYNC_INTERVAL",
        default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(10..=2_000)
    )]
    pub(crate) sync_interval: u64,

    /// Where this front stands, 1 to 32 of A-Z a-z 0-9 . _ -: clients are given workers of the same region first
    #[arg(long, env = "REGION", value_parser = region)]
    pub(crate) region: Option<String>,
}

/// This front's place in its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// All fronts, and which of them this is.
    pub(crate) roster: Roster,
    /// Where the others are.
    pub(crate) urls: BTreeMap<FrontId, FrontUrl>,
}

impl ClusterSettings {
    /// Which fronts there are.
    ///
    /// # Errors
    /// Says which setting is wrong and what would be right.
    pub(crate) fn to_cluster(&self) -> Result<Cluster, String> {
        let own = &self.front_id;
        let mut names: Vec<_> = self.peers.iter().map(|(name, _)| name.clone()).collect();
        if !names.contains(own) {
            names.push(own.clone());
        }
        let roster = Roster::new(own, names).map_err(|error| match error {
            BadRoster::Repeated { name } if name == *own => format!(
                "--peer (FRONT_PEERS): {name} is named twice; it is this front's own name (--front-id, FRONT_ID)"
            ),
            error => format!("--peer (FRONT_PEERS): {error}"),
        })?;
        let others = self.peers.iter().filter(|(name, _)| name != own);
        let urls = others.map(|(name, url)| {
            (roster.find(name.as_bytes()).expect("the roster was made of these names"), url.clone())
        });
        Ok(Cluster { urls: urls.collect(), roster })
    }

    /// Puts these settings into the front's configuration.
    pub(crate) fn apply(&self, roster: &Roster, config: &mut FrontConfig) {
        let names = roster.all().map(|front| roster.name(front).to_owned()).collect();
        let mut cluster = ClusterConfig::among(names, roster.own_name()).expect("a roster has its own front");
        cluster.sync_interval = self.sync_interval();
        // A follower hears of another only what they compare.
        cluster.front_timeout = cluster.front_timeout.max(self.sync_interval() * 5);
        cluster.region = self.region.clone().unwrap_or_default();
        config.cluster = cluster;
        let timeout = self.worker_health_timeout();
        config.health.timeout = timeout;
        config.health.probe_every = config.health.probe_every.min(timeout / 4);
        config.health.flap_window = config.health.flap_window.max(timeout);
    }

    /// How long a worker may be silent.
    pub(crate) const fn worker_health_timeout(&self) -> Duration {
        Duration::from_millis(self.worker_health_timeout)
    }

    /// How often fronts compare what they know.
    pub(crate) const fn sync_interval(&self) -> Duration {
        Duration::from_millis(self.sync_interval)
    }
}

fn front_name(name: &str) -> Result<String, String> {
    if is_worker_name(name) { Ok(name.to_owned()) } else { Err("must be 1 to 64 of A-Z a-z 0-9 . _ -".into()) }
}

fn peer(peer: &str) -> Result<(String, FrontUrl), String> {
    let (name, url) = peer.split_once('=').ok_or("must be NAME=URL")?;
    let name = front_name(name).map_err(|fault| format!("its name {fault}"))?;
    Ok((name, FrontUrl::parse(url).map_err(|error| error.to_string())?))
}

fn region(region: &str) -> Result<String, String> {
    if !region.is_empty() && is_region(region) {
        Ok(region.to_owned())
    } else {
        Err("must be 1 to 32 of A-Z a-z 0-9 . _ -".into())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        cluster: ClusterSettings,
    }

    fn parse(args: &[&str]) -> Result<ClusterSettings, String> {
        let line = Line::try_parse_from(["kollator-front"].iter().chain(args)).map_err(|e| e.to_string())?;
        Ok(line.cluster)
    }

    fn cluster(args: &[&str]) -> Result<Cluster, String> {
        parse(args).expect("each is valid").to_cluster()
    }

    #[test]
    fn a_front_alone_is_a_network() {
        let settings = parse(&[]).expect("valid");
        let Cluster { roster, urls } = settings.to_cluster().expect("valid");
        assert_eq!((roster.own_name(), roster.all().len(), urls.len()), ("front-1", 1, 0));
        assert_eq!(settings.worker_health_timeout(), Duration::from_secs(1));
        assert_eq!(settings.sync_interval(), Duration::from_millis(100));
        assert_eq!((settings.region, settings.sqlite_path.to_str()), (None, Some("./kollator-front.db")));
    }

    #[test]
    fn the_own_name_may_be_among_the_peers_or_not() {
        let others = ["--front-id", "b", "--peer", "c=http://c.example,a=https://a.example:8443"];
        let others = cluster(&others).expect("valid");
        assert_eq!((others.roster.own(), others.roster.all().len()), (FrontId(1), 3));
        let url = |n| others.urls[&FrontId(n)].to_string();
        assert_eq!((url(0), url(2)), ("https://a.example:8443".into(), "http://c.example".into()));
        let all = ["a=https://a.example:8443", "b=http://b.example", "c=http://c.example"];
        let all = ["--front-id", "b", "--peer", all[0], "--peer", all[1], "--peer", all[2]];
        assert_eq!(cluster(&all), Ok(others));
    }

    #[test]
    fn bad_settings_are_refused_by_name() {
        for (args, name) in [
            (&["--front-id", "front 1"], "--front-id"),
            (&["--front-id", ""], "--front-id"),
            (&["--peer", "http://a.example"], "--peer"),
            (&["--peer", "a=http://a.example/path"], "--peer"),
            (&["--peer", "a=ftp://a.example"], "--peer"),
            (&["--peer", "a b=http://a.example"], "--peer"),
            (&["--worker-health-timeout", "99"], "--worker-health-timeout"),
            (&["--sync-interval", "2001"], "--sync-interval"),
            (&["--region", "here there"], "--region"),
            (&["--region", ""], "--region"),
        ] {
            let error = parse(args).expect_err("refused");
            assert!(error.contains(name) && error.contains(args[1]), "{error}");
        }
    }

    #[test]
    fn names_that_make_no_network_are_refused_by_name() {
        let twice = cluster(&["--peer", "a=http://a.example,a=http://b.example"]).expect_err("refused");
        assert!(twice.contains("--peer (FRONT_PEERS): a is named twice"), "{twice}");
        let own = cluster(&["--peer", "front-1=http://a,front-1=http://b,c=http://c"]).expect_err("refused");
        assert!(own.contains("this front's own name (--front-id, FRONT_ID)"), "{own}");
        let many: Vec<_> = (0..32).map(|n| format!("f{n}=http://f{n}.example")).collect();
        let many = cluster(&["--peer", &many.join(",")]).expect_err("refused");
        assert!(many.contains("33 fronts are more than 32"), "{many}");
    }
}
