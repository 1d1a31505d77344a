//! A whole network on simulated hosts: the real front, workers and peers, with the real WebRTC stack between
//! them, share and fetch a file while hosts are cut off, crash and come back. A seed decides every packet.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use kollator_core::machine::Rng;
use kollator_sim::turmoil::hosts::{Client, Network, power_off, power_on};
use kollator_sim::turmoil::seeded::seeds;
use kollator_sim::turmoil::{Udp, repeat};

const FILE_LEN: usize = 2 << 20;
const FRONTS: [&str; 1] = ["front"];
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];
const HOSTS: [&str; 5] = ["front", "worker-1", "worker-2", "sharer", "fetcher"];

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

fn begin(sim: &mut turmoil::Sim<'_>, trouble: Trouble) {
    match trouble {
        Trouble::Partition => WORKERS.iter().for_each(|worker| sim.partition("fetcher", *worker)),
        Trouble::WorkerCrash => WORKERS.iter().for_each(|worker| power_off(sim, worker, HOSTS)),
        Trouble::FrontRestart => power_off(sim, "front", HOSTS),
    }
}

fn end(sim: &mut turmoil::Sim<'_>, trouble: Trouble) {
    match trouble {
        Trouble::Partition => WORKERS.iter().for_each(|worker| sim.repair("fetcher", *worker)),
        Trouble::WorkerCrash => WORKERS.iter().for_each(|worker| power_on(sim, worker, HOSTS)),
        Trouble::FrontRestart => power_on(sim, "front", HOSTS),
    }
}

fn client(host: &str, number: u8) -> Client {
    Client { host: host.to_owned(), number, fronts: FRONTS.to_vec(), udp: Udp::default() }
}

fn world(seed: u64, trouble: Trouble, dir: &Path) {
    let network = Network { fronts: &FRONTS, dir: dir.to_owned(), seed };
    let (content, share) = network.file(FILE_LEN);
    let (metainfo, fetched) = (share.metainfo.clone(), dir.join("fetched"));
    let length_of_trouble = Duration::from_millis(500 + Rng::new(seed).below(8_000));

    let mut sim = network.sim();
    let net = network.clone();
    sim.host("front", move || net.clone().front("front", |_| Ok(())));
    for (number, host) in (1..).zip(WORKERS) {
        let net = network.clone();
        sim.host(host, move || net.clone().worker(host, number));
    }
    let stage = Rc::new(Cell::new(Stage::Sharing));
    let (net, told) = (network.clone(), stage.clone());
    sim.client("sharer", async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        net.share(client("sharer", 11), share).await?;
        told.set(Stage::Fetching { bytes: 0 });
        Ok(())
    });
    let (told, output) = (stage.clone(), fetched.clone());
    sim.client("fetcher", async move {
        while told.get() == Stage::Sharing {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let progress = |bytes| told.set(Stage::Fetching { bytes });
        network.fetch(client("fetcher", 12), metainfo, output, progress).await?;
        told.set(Stage::Done);
        Ok(())
    });

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

#[test]
fn child_process() {
    let dir = tempfile::tempdir().expect("a folder");
    repeat::child_process(move |story, seed| {
        let (_, trouble) = TROUBLES.into_iter().find(|(known, _)| *known == story).expect("a trouble");
        world(seed, trouble, dir.path());
    });
}

fn survives(trouble: &str) {
    repeat::assert_repeats(trouble, &seeds(1..3));
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
