//! Three real fronts with their SQLite files, five real workers and real peers on simulated hosts: the leader is cut
//! off, falls silent or loses its power, each front restarts in turn, and nobody who downloads may notice. A seed
//! decides every packet. The fronts are watched from outside, on `GET /health`.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kollator_core::machine::Rng;
use kollator_core::metainfo::Metainfo;
use kollator_sim::turmoil::hosts::{Client, Network, power_off, power_on};
use kollator_sim::turmoil::seeded::seeds;
use kollator_sim::turmoil::watch::{Health, Watch, attend};
use kollator_sim::turmoil::{Udp, repeat};

const FILE_LEN: usize = 1 << 20;
const FRONTS: [&str; 3] = ["front-1", "front-2", "front-3"];
const WORKERS: [&str; 5] = ["worker-1", "worker-2", "worker-3", "worker-4", "worker-5"];
/// Peers are numbered from here.
const FIRST_PEER: u8 = 11;

/// In so much simulated time a majority has another leader. Several elections fit into it.
const ELECTED: Duration = Duration::from_secs(5);
/// In so much, fronts that can talk to each other agree: connections that a partition has silenced are noticed and
/// opened again, workers come back, an epoch is published.
const AGREED: Duration = Duration::from_secs(30);
/// In so much, a peer that has a way to a worker has its file.
const FETCHED: Duration = Duration::from_secs(60);
/// Fronts that agree for this long have kept what they know.
const STEADY: Duration = Duration::from_secs(1);

/// A download that somebody asked for.
struct Download {
    name: String,
    output: PathBuf,
    bytes: Rc<Cell<u64>>,
    done: Rc<Cell<bool>>,
}

impl Download {
    fn has_begun(&self) -> bool {
        self.bytes.get() >= FILE_LEN as u64 / 8
    }
}

/// A network with a file in it that its workers keep and nobody else offers.
struct Story {
    sim: turmoil::Sim<'static>,
    network: Network,
    watch: Rc<RefCell<Watch>>,
    /// All there are.
    hosts: Vec<String>,
    content: Vec<u8>,
    metainfo: Arc<Metainfo>,
    next_peer: u8,
    rng: Rng,
}

impl Story {
    /// Returns once the fronts agree and the workers have the file.
    fn begin(seed: u64, dir: &Path) -> Self {
        let network = Network { fronts: &FRONTS, dir: dir.to_owned(), seed };
        let (content, share) = network.file(FILE_LEN);
        let (mut sim, watch) = (network.sim(), Rc::<RefCell<Watch>>::default());
        for front in FRONTS {
            let (net, watch) = (network.clone(), watch.clone());
            sim.host(front, move || {
                let watch = watch.clone();
                net.clone().front(front, move |kept| Ok(watch.borrow_mut().started(front, kept)?))
            });
        }
        for (number, host) in (1..).zip(WORKERS) {
            let net = network.clone();
            sim.host(host, move || net.clone().worker(host, number));
        }
        let heard = watch.clone();
        sim.host("watch", move || {
            let heard = heard.clone();
            async move {
                let [first, second, third] = FRONTS.map(|front| attend(heard.clone(), front));
                tokio::try_join!(first, second, third)?;
                Ok(())
            }
        });
        let hosts = FRONTS.iter().chain(&WORKERS).chain(&["watch"]).map(|host| (*host).to_owned()).collect();
        let (metainfo, rng) = (share.metainfo.clone(), Rng::new(seed));
        let mut story = Self { sim, network, watch, hosts, content, metainfo, next_peer: FIRST_PEER, rng };
        story.agree();
        let sharer = story.client("sharer", FRONTS.to_vec());
        let (net, safe) = (story.network.clone(), Rc::new(Cell::new(false)));
        let told = safe.clone();
        story.sim.client("sharer", async move {
            net.share(sharer, share).await?;
            told.set(true);
            Ok(())
        });
        story.until("the share is safe", FETCHED, |_| safe.get());
        story
    }

    fn client(&mut self, name: &str, fronts: Vec<&'static str>) -> Client {
        self.hosts.push(name.to_owned());
        self.next_peer += 1;
        Client { host: name.to_owned(), number: self.next_peer, fronts, udp: Udp::default() }
    }

    /// Somebody who knows these fronts begins to fetch the file.
    fn fetch(&mut self, name: &str, fronts: Vec<&'static str>) -> Download {
        let client = self.client(name, fronts);
        let (net, metainfo) = (self.network.clone(), self.metainfo.clone());
        let output = net.dir.join(name);
        let (bytes, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let download = Download { name: name.to_owned(), output: output.clone(), bytes, done };
        let (bytes, done) = (download.bytes.clone(), download.done.clone());
        self.sim.client(name, async move {
            net.fetch(client, metainfo, output, |now| bytes.set(now)).await?;
            done.set(true);
            Ok(())
        });
        download
    }

    /// As [`Story::fetch`], for somebody who reaches one front only.
    fn fetch_through(&mut self, name: &str, front: &'static str) -> Download {
        let download = self.fetch(name, vec![front]);
        for other in FRONTS.into_iter().filter(|other| *other != front) {
            self.sim.partition(name, other);
        }
        download
    }

    /// Goes on until every download has ended, with the file that was shared.
    fn finish(&mut self, downloads: &[Download]) {
        for download in downloads {
            let name = &download.name;
            self.until(&format!("{name} has its file"), FETCHED, |_| download.done.get());
            let fetched = std::fs::read(&download.output).expect("a fetched file");
            assert!(fetched == self.content, "{name} has another file");
        }
    }

    fn until(&mut self, what: &str, within: Duration, mut holds: impl FnMut(&Self) -> bool) {
        let last = self.sim.elapsed() + within;
        while !holds(self) {
            let now = self.sim.elapsed();
            assert!(now < last, "{now:?}: waited for {within:?} until {what}: {:#?}", self.watch.borrow());
            self.step();
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.sim.elapsed() + time;
        while self.sim.elapsed() < until {
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.sim.elapsed();
        self.sim.step().unwrap_or_else(|error| panic!("{now:?}: {error}"));
    }

    /// Between half a second and as much longer.
    fn some_time(&mut self, longer: Duration) -> Duration {
        Duration::from_millis(500 + self.rng.below(longer.as_millis() as u64))
    }

    /// Goes on until all fronts agree and have done so for a while. Who leads.
    fn agree(&mut self) -> &'static str {
        let mut since = None;
        self.until("all fronts agree", AGREED, |story| {
            let now = story.sim.elapsed();
            let leader = story.watch.borrow().agreed(&FRONTS, WORKERS.len());
            since = leader.map(|leader| match since.take() {
                Some((known, since)) if known == leader => (known, since),
                _ => (leader, now),
            });
            since.as_ref().is_some_and(|(_, since)| now - *since >= STEADY)
        });
        let (leader, _) = since.expect("they agree");
        FRONTS.into_iter().find(|front| *front == leader).expect("a front leads")
    }

    fn said(&self, front: &str) -> Health {
        self.watch.borrow().of(front).cloned().expect("it answers")
    }

    fn power_off(&mut self, host: &str) {
        power_off(&mut self.sim, host, self.hosts.iter().map(String::as_str));
    }

    fn power_on(&mut self, host: &str) {
        power_on(&mut self.sim, host, self.hosts.iter().map(String::as_str));
    }
}

/// All fronts, this one first.
fn beginning_with(front: &'static str) -> Vec<&'static str> {
    let others = FRONTS.into_iter().filter(|other| *other != front);
    std::iter::once(front).chain(others).collect()
}

/// Which way the leader and the other fronts cannot talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    BothWays,
    /// The leader hears and is not heard.
    OneWay,
}

/// The leader is cut off from the other fronts, but not from clients and workers.
fn leader_is_cut_off(story: &mut Story, cut: Cut) {
    let old = story.agree();
    let others: Vec<&str> = FRONTS.into_iter().filter(|front| *front != old).collect();
    let term = story.said(old).term;
    let amid = story.fetch("amid", beginning_with(old));
    story.until("a download has begun", FETCHED, |_| amid.has_begun());
    for other in &others {
        match cut {
            Cut::BothWays => story.sim.partition(old, *other),
            Cut::OneWay => story.sim.partition_oneway(old, *other),
        }
    }
    let at_once = story.fetch_through("at-once", old);
    let majority = story.fetch("majority", beginning_with(others[0]));
    story.until("the majority has a new leader, and the old one has stepped down", ELECTED, |story| {
        let watch = story.watch.borrow();
        let said = |front: &str| watch.of(front).cloned();
        let new = others.iter().filter_map(|other| said(other)).find(Health::leads);
        new.is_some_and(|new| new.term > term) && said(old).is_some_and(|old| !old.leads())
    });
    story.finish(&[amid, at_once, majority]);
    // No other peer is left that could give it anything.
    let leaderless = story.fetch_through("leaderless", old);
    story.finish(&[leaderless]);
    let more = story.some_time(Duration::from_secs(8));
    story.pass(more);
    assert!(!story.said(old).leads(), "nobody hears {old}, and it leads");
    assert!(cut == Cut::OneWay || !story.said(old).quorum, "{old} is alone and speaks of a majority");

    for other in &others {
        match cut {
            Cut::BothWays => story.sim.repair(old, *other),
            Cut::OneWay => story.sim.repair_oneway(old, *other),
        }
    }
    story.agree();
    assert!(story.said(old).term > term);
    let after = story.fetch("after", beginning_with(old));
    story.finish(&[after]);
}

/// Each front in turn loses its power while somebody downloads and somebody else wants to begin; then all do at once.
fn rolling_restart(story: &mut Story) {
    let mut order = FRONTS;
    order.rotate_left(story.rng.below(FRONTS.len() as u64) as usize);
    for front in order {
        story.agree();
        let amid = story.fetch(&format!("amid-{front}"), beginning_with(front));
        story.until("a download has begun", FETCHED, |_| amid.has_begun());
        story.power_off(front);
        let late = story.fetch(&format!("late-{front}"), beginning_with(front));
        story.sim.partition(late.name.as_str(), front);
        let dark = story.some_time(Duration::from_secs(4));
        story.pass(dark);
        story.power_on(front);
        story.finish(&[amid, late]);
    }
    story.agree();
    let before = story.said(order[0]).term;
    for front in FRONTS {
        story.power_off(front);
    }
    let dark = story.some_time(Duration::from_secs(4));
    story.pass(dark);
    for front in FRONTS {
        story.power_on(front);
    }
    story.agree();
    // Nobody was left to remind them of the terms that were used up, and who leads has a new one.
    assert!(story.said(order[0]).term > before, "term {before} began again");
    let last = story.fetch("last", FRONTS.to_vec());
    story.finish(&[last]);
}

#[test]
fn child_process() {
    let dir = tempfile::tempdir().expect("a folder");
    repeat::child_process(move |name, seed| {
        let mut story = Story::begin(seed, dir.path());
        match name {
            "isolated" => leader_is_cut_off(&mut story, Cut::BothWays),
            "one-way" => leader_is_cut_off(&mut story, Cut::OneWay),
            "rolling-restart" => rolling_restart(&mut story),
            other => panic!("no story is called {other}"),
        }
    });
}

#[test]
fn a_leader_that_is_cut_off_is_replaced_and_its_clients_are_served() {
    repeat::assert_repeats("isolated", &seeds(1..3));
}

#[test]
fn a_leader_that_nobody_hears_is_replaced_and_its_clients_are_served() {
    repeat::assert_repeats("one-way", &seeds(1..3));
}

#[test]
fn downloads_survive_the_restart_of_each_front_and_of_all() {
    repeat::assert_repeats("rolling-restart", &seeds(1..3));
}
