//! A peer whose datagrams get lost, on simulated hosts: what data channels cannot bring comes over HTTP by itself, with
//! the real front, workers, WebRTC stack and HTTP client. A seed decides every packet.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use kollator_core::node::peer::SourceKind;
use kollator_sim::turmoil::hosts::{Client, Network};
use kollator_sim::turmoil::seeded::seeds;
use kollator_sim::turmoil::{Udp, repeat};

const FILE_LEN: usize = 8 << 20;
const FRONTS: [&str; 1] = ["front"];
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];

/// What happens to the datagrams of the peer that fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// None gets through, ever.
    Wall,
    /// None gets through once part of the file is there.
    Cut,
    /// One in ten is lost.
    Lossy,
}

const WEATHERS: [(&str, Weather); 3] = [("wall", Weather::Wall), ("cut", Weather::Cut), ("lossy", Weather::Lossy)];

fn client(host: &str, number: u8, udp: Udp) -> Client {
    Client { host: host.to_owned(), number, fronts: FRONTS.to_vec(), udp }
}

fn world(seed: u64, weather: Weather, dir: &Path) {
    let network = Network { fronts: &FRONTS, dir: dir.to_owned(), seed };
    let (content, share) = network.file(FILE_LEN);
    let (metainfo, fetched) = (share.metainfo.clone(), dir.join("fetched"));
    let mut sim = network.sim();
    let net = network.clone();
    sim.host("front", move || net.clone().front("front", |_| Ok(())));
    for (number, host) in (1..).zip(WORKERS) {
        let net = network.clone();
        sim.host(host, move || net.clone().worker(host, number));
    }
    let safe = Rc::new(Cell::new(false));
    let (net, told) = (network.clone(), safe.clone());
    sim.client("sharer", async move {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        net.share(client("sharer", 11, Udp::default()), share).await?;
        told.set(true);
        Ok(())
    });
    let udp = Udp::default();
    match weather {
        Weather::Wall => udp.lose_one_in(1),
        Weather::Lossy => udp.lose_one_in(10),
        Weather::Cut => {}
    }
    let from = Rc::new(Cell::new(BTreeMap::new()));
    let (told, output) = (from.clone(), fetched.clone());
    sim.client("fetcher", async move {
        while !safe.get() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let (fetcher, cut) = (client("fetcher", 12, udp.clone()), udp);
        let progress = |bytes| {
            if weather == Weather::Cut && bytes >= FILE_LEN as u64 / 8 {
                cut.lose_one_in(1);
            }
        };
        told.set(network.fetch(fetcher, metainfo, output, progress).await?.from);
        Ok(())
    });
    sim.run().unwrap_or_else(|error| panic!("seed {seed}, {weather:?}: {error}"));

    assert!(std::fs::read(fetched).expect("a fetched file") == content, "seed {seed}, {weather:?}: another file");
    let from = from.take();
    let of = |kind| from.get(&kind).copied().unwrap_or_default();
    let (http, channels) = (of(SourceKind::Http), of(SourceKind::Worker));
    assert_eq!(http + channels, FILE_LEN as u64, "seed {seed}, {weather:?}: {from:?}");
    match weather {
        Weather::Wall => assert_eq!(channels, 0, "seed {seed}: through a wall"),
        Weather::Cut => assert!(http > 0 && channels >= FILE_LEN as u64 / 8, "seed {seed}: {from:?}"),
        Weather::Lossy => assert!(http > channels, "seed {seed}: HTTP did not win: {from:?}"),
    }
}

#[test]
fn child_process() {
    let dir = tempfile::tempdir().expect("a folder");
    repeat::child_process(move |story, seed| {
        let (_, weather) = WEATHERS.into_iter().find(|(known, _)| *known == story).expect("a kind of weather");
        world(seed, weather, dir.path());
    });
}

#[test]
fn where_no_datagram_gets_through_a_download_goes_over_http() {
    repeat::assert_repeats("wall", &seeds(1..3));
}

#[test]
fn a_download_whose_datagrams_stop_goes_on_over_http() {
    repeat::assert_repeats("cut", &seeds(1..3));
}

#[test]
fn where_datagrams_get_lost_http_wins() {
    repeat::assert_repeats("lossy", &seeds(1..3));
}
