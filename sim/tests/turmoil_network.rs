//! A whole network on simulated hosts: the real front, workers and peers, with the real WebRTC stack between
//! them, share and fetch a file while hosts are cut off, crash and come back. A seed decides every packet.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kollator_core::auth::SharedKey;
use kollator_core::id::{Digest, PeerId};
use kollator_core::machine::Rng;
use kollator_core::metainfo::Metainfo;
use kollator_core::node::front::{Front, FrontConfig};
use kollator_core::node::peer::{Command, Order, PeerConfig, PeerEvent};
use kollator_core::node::worker::WorkerConfig;
use kollator_runtime::blocking::Blocking;
use kollator_runtime::disk::{Disk, HashedShare, OutputOptions, ShareOptions, hash_share};
use kollator_runtime::http::front::{Surroundings, serve, system_clock};
use kollator_runtime::link::FrontUrl;
use kollator_runtime::net::Net;
use kollator_runtime::node::peer::{PeerNode, PeerOptions};
use kollator_runtime::node::worker::{WorkerNode, WorkerOptions};
use kollator_runtime::rtc::WebRtc;
use kollator_runtime::storage::{CacheDir, DirBacking, StoreDriver};
use kollator_sim::turmoil::seeded::{builder, run_seeded, seeds};
use kollator_sim::turmoil::{SimNet, rtc_config};
use tokio::sync::mpsc;

const FILE_LEN: usize = 2 << 20;
const PIECE_LENGTH: u32 = 64 << 10;
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];

type Failure = Box<dyn std::error::Error>;

/// What goes wrong while the file is fetched.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// The fetching peer is cut off from the workers for a while.
    Partition,
    /// The workers lose their power, and come back.
    WorkerCrash,
    /// The front loses its power, and comes back.
    FrontRestart,
}

const TROUBLES: [(&str, Trouble); 3] = [
    ("partition", Trouble::Partition),
    ("worker-crash", Trouble::WorkerCrash),
    ("front-restart", Trouble::FrontRestart),
];

/// How far the story has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Sharing,
    Fetching { bytes: u64 },
    Done,
}

fn key() -> SharedKey {
    SharedKey::new(b"a key for simulations").expect("long enough")
}

fn fronts() -> Vec<FrontUrl> {
    vec![FrontUrl::parse("http://front:8080").expect("a good URL")]
}

fn name_of(number: u8) -> PeerId {
    PeerId(Digest([number; 32]))
}

async fn front(seed: u64) -> Result<(), Failure> {
    let listener = SimNet.bind("0.0.0.0:8080".parse()?).await?;
    let config = FrontConfig::new(key(), system_clock(), seed);
    let around = Surroundings::alone(SimNet, key(), system_clock);
    serve(listener, Front::new(config), around, std::future::pending()).await?;
    Ok(())
}

async fn worker(host: &'static str, number: u8, dir: PathBuf, seed: u64) -> Result<(), Failure> {
    let (cache, recovered) = CacheDir::open(dir.join(host))?;
    // One place for all workers, as S3 is.
    let backing = DirBacking::open(dir.join("backing"), Blocking::Inline)?;
    let config = WorkerConfig::new(
        name_of(number),
        host.into(),
        format!("http://{host}:8181"),
        key(),
        system_clock(),
        seed,
    );
    let options = WorkerOptions {
        config,
        fronts: fronts(),
        store: StoreDriver::new(cache, Arc::new(backing), Blocking::Inline),
        recovered,
        blocking: Blocking::Inline,
    };
    let mut node = WorkerNode::start(options, SimNet, |sink| WebRtc::new(rtc_config(host), sink))?;
    node.broken_down().await;
    Err("the worker broke down".into())
}

fn peer(
    host: &str,
    number: u8,
    disk: &Disk,
    seed: u64,
) -> Result<(PeerNode, mpsc::UnboundedReceiver<PeerEvent>), Failure> {
    let options = PeerOptions {
        config: PeerConfig::new(name_of(number), seed, 1),
        fronts: fronts(),
        disk: disk.clone(),
        blocking: Blocking::Inline,
    };
    Ok(PeerNode::start(options, SimNet, |sink| WebRtc::new(rtc_config(host), sink))?)
}

/// Brings the share to a worker and leaves.
async fn sharer(share: HashedShare, stage: Rc<Cell<Stage>>, seed: u64) -> Result<(), Failure> {
    tokio::time::sleep(Duration::from_millis(500)).await;
    let disk = Disk::default();
    let metainfo = share.metainfo;
    disk.offer(metainfo.clone(), share.source);
    let (node, mut events) = peer("sharer", 11, &disk, seed)?;
    node.command(Command::Share { metainfo, upload: true }).await?;
    loop {
        match events.recv().await.ok_or("the sharer broke down")? {
            PeerEvent::Safe { .. } => break,
            PeerEvent::Failed { reason, .. } => return Err(reason.into()),
            _ => {}
        }
    }
    node.shutdown().await;
    stage.set(Stage::Fetching { bytes: 0 });
    Ok(())
}

/// Waits until the share is safe, and fetches it into `output`.
async fn fetcher(
    metainfo: Arc<Metainfo>,
    output: PathBuf,
    stage: Rc<Cell<Stage>>,
    seed: u64,
) -> Result<(), Failure> {
    while stage.get() == Stage::Sharing {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let info_hash = metainfo.info_hash();
    let disk = Disk::default();
    disk.expect(info_hash, OutputOptions { path: Some(output), overwrite: false, sync: false, threads: 1 });
    let (node, mut events) = peer("fetcher", 12, &disk, seed)?;
    node.command(Command::Download { info_hash, metainfo: None, order: Order::RarestFirst }).await?;
    loop {
        tokio::select! {
            event = events.recv() => match event.ok_or("the fetcher broke down")? {
                PeerEvent::Completed { .. } => break,
                PeerEvent::Failed { reason, .. } => return Err(reason.into()),
                PeerEvent::Blamed { offence, .. } => return Err(format!("blamed the honest: {offence}").into()),
                _ => {}
            },
            () = tokio::time::sleep(Duration::from_millis(5)) => {
                if let Some(progress) = node.progress(info_hash).await? {
                    stage.set(Stage::Fetching { bytes: progress.bytes_done });
                }
            }
        }
    }
    node.shutdown().await;
    stage.set(Stage::Done);
    Ok(())
}

/// Cuts `host` off from everyone, or connects it again.
fn isolate(sim: &turmoil::Sim<'_>, host: &str, cut: bool) {
    for other in ["front", "worker-1", "worker-2", "sharer", "fetcher"] {
        if other != host {
            if cut { sim.partition(host, other) } else { sim.repair(host, other) }
        }
    }
}

fn begin(sim: &mut turmoil::Sim<'_>, trouble: Trouble) {
    match trouble {
        Trouble::Partition => WORKERS.iter().for_each(|worker| sim.partition("fetcher", *worker)),
        Trouble::WorkerCrash => crash(sim, &WORKERS),
        Trouble::FrontRestart => crash(sim, &["front"]),
    }
}

/// A power cut: nobody is told.
fn crash(sim: &mut turmoil::Sim<'_>, hosts: &[&str]) {
    for host in hosts {
        isolate(sim, host, true);
        sim.crash(*host);
    }
}

fn end(sim: &mut turmoil::Sim<'_>, trouble: Trouble) {
    let back: &[&str] = match trouble {
        Trouble::Partition => {
            WORKERS.iter().for_each(|worker| sim.repair("fetcher", *worker));
            return;
        }
        Trouble::WorkerCrash => &WORKERS,
        Trouble::FrontRestart => &["front"],
    };
    for host in back {
        isolate(sim, host, false);
        sim.bounce(*host);
    }
}

fn world(seed: u64, trouble: Trouble, dir: &Path) {
    let mut rng = Rng::new(seed);
    let content: Vec<u8> = (0..FILE_LEN / 8).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
    let original = dir.join("original");
    std::fs::write(&original, &content).expect("room for a file");
    let options = ShareOptions { piece_length: PIECE_LENGTH, threads: 1, ..ShareOptions::default() };
    let share = hash_share(&original, &options, &|_, _| {}).expect("a file that can be shared");
    let (metainfo, fetched) = (share.metainfo.clone(), dir.join("fetched"));
    let length_of_trouble = Duration::from_millis(500 + rng.below(8_000));

    let mut sim = builder(seed)
        .tick_duration(Duration::from_millis(2))
        .simulation_duration(Duration::from_secs(600))
        .min_message_latency(Duration::from_millis(2))
        .max_message_latency(Duration::from_millis(20))
        .build();
    sim.host("front", move || front(seed));
    for (number, host) in (1..).zip(WORKERS) {
        let dir = dir.to_owned();
        sim.host(host, move || worker(host, number, dir.clone(), seed));
    }
    let stage = Rc::new(Cell::new(Stage::Sharing));
    sim.client("sharer", sharer(share, stage.clone(), seed));
    sim.client("fetcher", fetcher(metainfo, fetched.clone(), stage.clone(), seed));

    let (mut began, mut ended) = (None, false);
    while !sim.step().unwrap_or_else(|error| panic!("seed {seed}, {trouble:?}: {error}")) {
        let now = sim.elapsed();
        match (began, stage.get()) {
            (None, Stage::Fetching { bytes }) if bytes >= FILE_LEN as u64 / 8 => {
                begin(&mut sim, trouble);
                began = Some(now);
            }
            (Some(since), _) if !ended && now - since >= length_of_trouble => {
                end(&mut sim, trouble);
                ended = true;
            }
            _ => {}
        }
    }
    assert!(began.is_some(), "seed {seed}, {trouble:?}: the trouble came too late");
    assert_eq!(stage.get(), Stage::Done, "seed {seed}, {trouble:?}");
    assert!(std::fs::read(fetched).expect("a fetched file") == content, "seed {seed}, {trouble:?}: another file");
}

/// Set in a child process: the seed to run, and the trouble's name after a colon.
const CHILD: &str = "SIM_NETWORK_CHILD";

#[test]
#[expect(clippy::print_stdout, reason = "how a child process answers")]
fn child_process() {
    let Ok(run) = std::env::var(CHILD) else { return };
    let (seed, name) = run.split_once(':').expect("a seed and a trouble");
    let seed = seed.parse().expect("a seed");
    let (_, trouble) = TROUBLES.into_iter().find(|(known, _)| *known == name).expect("a trouble");
    let dir = tempfile::tempdir().expect("a folder");
    let ((), trace) = run_seeded(seed, move || world(seed, trouble, dir.path()));
    println!("\nTRACE {trace}");
}

fn trace(seed: u64, trouble: &str) -> String {
    let output = Process::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child_process", "--nocapture"])
        .env(CHILD, format!("{seed}:{trouble}"))
        .output()
        .expect("this test runs again");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let trace = stdout.lines().find_map(|line| line.strip_prefix("TRACE "));
    trace.map_or_else(
        || panic!("SIM_SEED={seed}, {trouble}:\n{stdout}{}", String::from_utf8_lossy(&output.stderr)),
        str::to_owned,
    )
}

fn survives(trouble: &str) {
    for seed in seeds(1..3) {
        assert_eq!(trace(seed, trouble), trace(seed, trouble), "SIM_SEED={seed} gave two different runs");
    }
}

#[test]
fn a_download_survives_a_partition() {
    survives("partition");
}

#[test]
fn a_download_survives_the_crash_of_its_workers() {
    survives("worker-crash");
}

#[test]
fn a_download_survives_a_front_restart() {
    survives("front-restart");
}
