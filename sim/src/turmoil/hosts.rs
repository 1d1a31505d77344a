//! What runs on simulated hosts: the real front, worker and peer, wired as their programs wire them, with disks that
//! survive a crash of the host. Here is no story: what happens to the hosts is decided elsewhere.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::turmoil::Sim;
use kollator_core::auth::SharedKey;
use kollator_core::cluster::FrontId;
use kollator_core::cluster::roster::Roster;
use kollator_core::cluster::saved::Recovered;
use kollator_core::id::{Digest, PeerId};
use kollator_core::machine::Rng;
use kollator_core::metainfo::Metainfo;
use kollator_core::node::front::{ClusterConfig, Front, FrontConfig};
use kollator_core::node::peer::{Command, Order, PeerConfig, PeerEvent, Totals};
use kollator_core::node::worker::WorkerConfig;
use kollator_runtime::blocking::Blocking;
use kollator_runtime::disk::{Disk, HashedShare, OutputOptions, ShareOptions, hash_share};
use kollator_runtime::http::front::{Surroundings, serve, system_clock};
use kollator_runtime::http::worker::{self, REQUESTS, WorkerHttp};
use kollator_runtime::link::FrontUrl;
use kollator_runtime::net::Net;
use kollator_runtime::node::peer::{PeerNode, PeerOptions};
use kollator_runtime::node::worker::{WorkerNode, WorkerOptions};
use kollator_runtime::rtc::WebRtc;
use kollator_runtime::state::State;
use kollator_runtime::storage::{CacheDir, DirBacking, StoreDriver};
use tokio::sync::mpsc;

use super::{SimNet, Udp, rtc_config};

/// Why a host gave up.
pub type Failure = Box<dyn Error>;

/// Where every front listens.
const FRONT_PORT: u16 = 8080;
const WORKER_PORT: u16 = 8181;
const PIECE_LENGTH: u32 = 64 << 10;

/// What all hosts of one network share.
#[derive(Clone, Debug)]
pub struct Network {
    /// The hosts that are fronts.
    pub fronts: &'static [&'static str],
    /// Where every disk is.
    pub dir: PathBuf,
    /// Decides what the hosts draw.
    pub seed: u64,
}

/// Who a peer is, and which fronts it knows.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its host.
    pub host: String,
    /// Its own among workers and peers.
    pub number: u8,
    /// The hosts of its fronts, the first one first.
    pub fronts: Vec<&'static str>,
    /// Its datagrams.
    pub udp: Udp,
}

impl Network {
    /// A simulation without hosts.
    #[must_use]
    pub fn sim<'a>(&self) -> Sim<'a> {
        super::seeded::builder(self.seed)
            .tick_duration(Duration::from_millis(2))
            .simulation_duration(Duration::from_secs(600))
            .min_message_latency(Duration::from_millis(2))
            .max_message_latency(Duration::from_millis(20))
            .build()
    }

    /// A file of `len` random bytes, and the share made of it.
    ///
    /// # Panics
    /// If there is no room for it.
    #[must_use]
    pub fn file(&self, len: usize) -> (Vec<u8>, HashedShare) {
        let mut rng = Rng::new(self.seed);
        let content: Vec<u8> = (0..len / 8).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
        let original = self.dir.join("original");
        std::fs::write(&original, &content).expect("room for a file");
        let options = ShareOptions { piece_length: PIECE_LENGTH, threads: 1, ..ShareOptions::default() };
        (content, hash_share(&original, &options, &|_, _| {}).expect("a file that can be shared"))
    }

    /// The front on `host`, for as long as the host runs. `look` sees what its disk kept of its earlier lives.
    ///
    /// # Errors
    /// If its state cannot be read, `look` objects, or its listener fails.
    pub async fn front(
        self,
        host: &'static str,
        look: impl FnOnce(&Recovered) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let listener = SimNet.bind(([0, 0, 0, 0], FRONT_PORT).into()).await?;
        let names: Vec<String> = self.fronts.iter().map(|name| (*name).to_owned()).collect();
        let roster = Roster::new(host, names.clone())?;
        let urls = roster.others().map(|front| (front, url(roster.name(front))));
        let FrontId(place) = roster.own();
        let mut config = FrontConfig::new(key(), system_clock(), self.seed.wrapping_add(place.into()));
        config.cluster = ClusterConfig::among(names, host).ok_or("a front among others")?;
        let (state, recovered) = State::open(&self.dir.join(format!("{host}.db")), Blocking::Inline).await?;
        look(&recovered)?;
        let alone = Surroundings::alone(SimNet, key(), system_clock);
        let around = Surroundings { urls: urls.collect(), roster, state: Some(state), ..alone };
        serve(listener, Front::recovered(config, recovered), around, std::future::pending()).await?;
        Ok(())
    }

    /// The worker on `host`, for as long as the host runs. Its number decides which front it knows first.
    ///
    /// # Errors
    /// If it breaks down.
    pub async fn worker(self, host: &'static str, number: u8) -> Result<(), Failure> {
        let (cache, recovered) = CacheDir::open(self.dir.join(host))?;
        // One place for all workers, as S3 is.
        let backing = DirBacking::open(self.dir.join("backing"), Blocking::Inline)?;
        let http = format!("http://{host}:{WORKER_PORT}");
        let id = name_of(number);
        let listener = SimNet.bind(([0, 0, 0, 0], WORKER_PORT).into()).await?;
        let served = WorkerHttp {
            name: host.into(),
            url: http.clone(),
            key: key(),
            unix_ms: system_clock,
            requests: REQUESTS,
            blocking: Blocking::Inline,
        };
        let config = WorkerConfig::new(id, host.into(), http, key(), system_clock(), self.seed);
        let mut fronts: Vec<FrontUrl> = self.fronts.iter().map(|front| url(front)).collect();
        let first = usize::from(number) % fronts.len();
        fronts.rotate_left(first);
        let options = WorkerOptions {
            config,
            fronts,
            store: StoreDriver::new(cache, Arc::new(backing), Blocking::Inline),
            recovered,
            blocking: Blocking::Inline,
            memory: || None,
            dht: None,
        };
        let transport = |sink| WebRtc::new(rtc_config(host, Udp::default()), sink);
        let mut node = WorkerNode::start(options, SimNet, transport)?;
        let asker = node.asker().clone();
        tokio::select! {
            ended = worker::serve(listener, served, asker, std::future::pending()) => ended?,
            () = node.broken_down() => {}
        }
        Err("the worker broke down".into())
    }

    /// Brings a share to a worker, and leaves when it is safe there.
    ///
    /// # Errors
    /// If the share fails.
    pub async fn share(self, client: Client, share: HashedShare) -> Result<(), Failure> {
        let disk = Disk::default();
        let metainfo = share.metainfo;
        disk.offer(share.source);
        let (node, mut events) = self.peer(&client, &disk)?;
        node.command(Command::Share { metainfo, upload: true }).await?;
        loop {
            match events.recv().await.ok_or("the sharer broke down")? {
                PeerEvent::Safe { .. } => break,
                PeerEvent::Failed { reason, .. } => return Err(reason.into()),
                _ => {}
            }
        }
        node.shutdown().await;
        Ok(())
    }

    /// Fetches a share into `output`, tells `progress` how many bytes there are, and leaves when it has all of it: from
    /// where.
    ///
    /// # Errors
    /// If the download fails, or somebody is blamed for it: here everybody is honest.
    pub async fn fetch(
        self,
        client: Client,
        metainfo: Arc<Metainfo>,
        output: PathBuf,
        progress: impl Fn(u64),
    ) -> Result<Totals, Failure> {
        let info_hash = metainfo.info_hash();
        let disk = Disk::default();
        disk.expect(info_hash, OutputOptions { path: Some(output), threads: 1, ..OutputOptions::default() });
        let (node, mut events) = self.peer(&client, &disk)?;
        node.command(Command::Download { info_hash, metainfo: None, order: Order::RarestFirst }).await?;
        let totals = loop {
            tokio::select! {
                event = events.recv() => match event.ok_or("the fetcher broke down")? {
                    PeerEvent::Completed { totals, .. } => break totals,
                    PeerEvent::Failed { reason, .. } => return Err(reason.into()),
                    PeerEvent::Blamed { offence, .. } => {
                        return Err(format!("blamed the honest: {offence}").into());
                    }
                    _ => {}
                },
                () = tokio::time::sleep(Duration::from_millis(5)) => {
                    if let Some(known) = node.progress(info_hash).await? {
                        progress(known.bytes_done);
                    }
                }
            }
        };
        node.shutdown().await;
        Ok(totals)
    }

    fn peer(
        &self,
        client: &Client,
        disk: &Disk,
    ) -> Result<(PeerNode, mpsc::UnboundedReceiver<PeerEvent>), Failure> {
        let options = PeerOptions {
            config: PeerConfig::new(name_of(client.number), self.seed, 1),
            fronts: client.fronts.iter().map(|front| url(front)).collect(),
            disk: disk.clone(),
            blocking: Blocking::Inline,
        };
        let transport = |sink| WebRtc::new(rtc_config(&client.host, client.udp.clone()), sink);
        Ok(PeerNode::start(options, SimNet, transport)?)
    }
}

/// Where the front on `host` is.
///
/// # Panics
/// If that is no name of a host.
#[must_use]
pub fn url(host: &str) -> FrontUrl {
    FrontUrl::parse(&format!("http://{host}:{FRONT_PORT}")).expect("a host's name")
}

/// Cuts `host` off from all `others`, or connects it again.
pub fn isolate<'h>(sim: &Sim<'_>, host: &str, others: impl IntoIterator<Item = &'h str>, cut: bool) {
    for other in others {
        if other != host {
            if cut { sim.partition(host, other) } else { sim.repair(host, other) }
        }
    }
}

/// The host loses its power: none of the others is told.
pub fn power_off<'h>(sim: &mut Sim<'_>, host: &str, others: impl IntoIterator<Item = &'h str>) {
    isolate(sim, host, others, true);
    sim.crash(host);
}

/// The host has power again, and starts anew with what is on its disk.
pub fn power_on<'h>(sim: &mut Sim<'_>, host: &str, others: impl IntoIterator<Item = &'h str>) {
    isolate(sim, host, others, false);
    sim.bounce(host);
}

fn key() -> SharedKey {
    SharedKey::new(b"a key for simulations").expect("long enough")
}

fn name_of(number: u8) -> PeerId {
    PeerId(Digest([number; 32]))
}
