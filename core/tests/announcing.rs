//! What is announced, against a naive model of what was promised: nothing too often, nothing too fast, nothing that is
//! not held, and everything that is held before long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kollator_core::dht::{Announcing, Config, DhtName, Item, Job, Sort, Want};
use kollator_core::id::{ChunkId, InfoHash};
use kollator_core::machine::{Instant, Rng};
use kollator_core::merkle::sha256;
use proptest::collection::vec;
use proptest::prelude::*;

fn share(n: u8) -> Item {
    Item::Share(InfoHash(sha256(&[n])))
}

fn chunk(n: u8) -> Item {
    Item::Chunk(ChunkId::new(sha256(&[n, n]), 100, 0).expect("100 bytes under one leaf"))
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A worker and a DHT, as simple as can be, and every promise checked on the way.
struct Model {
    now: Instant,
    config: Config,
    machine: Announcing,
    rng: Rng,
    held: BTreeSet<Item>,
    /// Announcements on their way: until when.
    open: BTreeMap<DhtName, Instant>,
    last_began: Option<Instant>,
    /// When each name was heard last.
    heard: BTreeMap<DhtName, Instant>,
    /// Whether the DHT and the listing of what is held work.
    works: bool,
    order: Vec<Item>,
}

impl Model {
    fn new(config: Config) -> Self {
        Self {
            now: Instant::ZERO,
            machine: Announcing::new(config.clone()),
            rng: Rng::new(config.seed ^ 1),
            config,
            held: BTreeSet::new(),
            open: BTreeMap::new(),
            last_began: None,
            heard: BTreeMap::new(),
            works: true,
            order: Vec::new(),
        }
    }

    fn news(&mut self, item: Item) {
        self.held.insert(item);
        self.machine.news(self.now, item);
        self.settle();
    }

    /// Lets everything happen until `end`.
    fn run_until(&mut self, end: Instant) {
        self.settle();
        loop {
            let first_open = self.open.values().min().copied();
            let next = [first_open, self.machine.next_wake()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            assert!(next > self.now, "woken at {next:?}, which has passed");
            self.now = next;
            let done: Vec<DhtName> =
                self.open.iter().filter(|(_, until)| **until <= next).map(|(name, _)| *name).collect();
            for name in done {
                self.open.remove(&name);
                if self.works {
                    self.heard.insert(name, next);
                }
                self.machine.done(next, name, self.works);
            }
            self.settle();
        }
        self.now = end;
    }

    /// Does what the machine wants now.
    fn settle(&mut self) {
        while let Some(job) = self.machine.next(self.now, |item| self.held.contains(item)) {
            match job {
                Job::Announce(item) => self.began(item),
                Job::List(Want { sort, most }) => {
                    let page: Vec<Item> = match sort {
                        Sort::Shares(after) => {
                            let after = after.map(Item::Share);
                            let shares = self.held.iter().filter(|item| matches!(item, Item::Share(_)));
                            shares.filter(|item| Some(**item) > after).take(most).copied().collect()
                        }
                        Sort::Chunks(after) => {
                            let after = after.map(Item::Chunk);
                            let chunks = self.held.iter().filter(|item| matches!(item, Item::Chunk(_)));
                            chunks.filter(|item| Some(**item) > after).take(most).copied().collect()
                        }
                    };
                    self.machine.listed(self.now, self.works.then_some(&page));
                }
            }
        }
        assert!(self.machine.stats().items <= self.config.most_items, "more is remembered than allowed");
    }

    fn began(&mut self, item: Item) {
        let name = item.name();
        assert!(self.held.contains(&item), "{item:?} is not held");
        if let Some(heard) = self.heard.get(&name) {
            assert!(self.now - *heard >= self.config.interval, "{item:?} again after {:?}", self.now - *heard);
        }
        if let Some(last) = self.last_began {
            assert!(self.now - last >= self.config.pace, "two announcements within {:?}", self.now - last);
        }
        self.last_began = Some(self.now);
        let takes = Duration::from_millis(1 + self.rng.below(3_000));
        assert!(self.open.insert(name, self.now + takes).is_none(), "{item:?} twice at once");
        assert!(self.open.len() <= self.config.most_open, "too many at once");
        self.order.push(item);
    }

    /// A time within which everything is announced at least once, if nothing changes and all works: the places are
    /// filled and announced in as many turns as it takes, three times over, since a sweep may just have passed.
    fn patience(&self) -> Duration {
        let places = self.config.most_items - self.config.most_items / 8;
        let all = self.config.most_items as u32;
        let turn = self.config.interval + self.config.jitter + (self.config.pace + seconds(3)) * all;
        turn * 3 * (self.held.len() / places + 2) as u32
    }
}

#[derive(Clone, Debug)]
enum Step {
    News(u8, bool),
    /// Held, but nobody says so.
    Found(u8, bool),
    Gone(u8, bool),
    Works(bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..60u8, any::<bool>()).prop_map(|(n, is_share)| Step::News(n, is_share)),
        4 => (0..60u8, any::<bool>()).prop_map(|(n, is_share)| Step::Found(n, is_share)),
        2 => (0..60u8, any::<bool>()).prop_map(|(n, is_share)| Step::Gone(n, is_share)),
        1 => any::<bool>().prop_map(Step::Works),
        4 => prop_oneof![0..10u64, 0..3_000u64].prop_map(Step::Wait),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    (0..200u64, 1..5usize, 8..100usize, 1..4u64, any::<u64>()).prop_map(
        |(jitter, most_open, most_items, pace, seed)| Config {
            interval: seconds(1_000),
            jitter: seconds(jitter),
            retry: seconds(20),
            pace: seconds(pace),
            most_open,
            most_items,
            seed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whatever happens, every promise is kept; and once all works and nothing changes, everything held is announced.
    #[test]
    fn everything_held_is_announced_and_nothing_too_often(config in config(), steps in vec(step(), 0..150)) {
        let mut model = Model::new(config);
        for step in steps {
            let item = |n, is_share| if is_share { share(n) } else { chunk(n) };
            match step {
                Step::News(n, is_share) => model.news(item(n, is_share)),
                Step::Found(n, is_share) => drop(model.held.insert(item(n, is_share))),
                Step::Gone(n, is_share) => drop(model.held.remove(&item(n, is_share))),
                Step::Works(works) => model.works = works,
                Step::Wait(wait) => model.run_until(model.now + seconds(wait)),
            }
        }
        model.works = true;
        for _ in 0..2 {
            let since = model.now;
            model.run_until(since + model.patience());
            for item in &model.held {
                let heard = model.heard.get(&item.name());
                prop_assert!(heard.is_some_and(|heard| *heard > since), "{item:?} was not announced, {heard:?}");
            }
        }
    }
}

fn calm(most_items: usize) -> Config {
    Config { most_open: 1, most_items, interval: seconds(1_000), jitter: seconds(0), ..Config::new(3) }
}

#[test]
fn the_newest_share_goes_first_and_old_ones_still_have_their_turn() {
    let mut model = Model::new(calm(100));
    model.machine.news(model.now, chunk(0));
    model.held.insert(chunk(0));
    for n in 1..=4 {
        model.held.insert(share(n));
        model.machine.news(model.now, share(n));
    }
    model.run_until(Instant::ZERO + seconds(100));
    assert_eq!(model.order[0], share(4));
    assert!(model.order[..4].contains(&share(3)), "news come before the rest: {:?}", model.order);
    assert_eq!(model.order.len(), 5, "each once: {:?}", model.order);
}

#[test]
fn failures_are_tried_again_with_growing_pauses() {
    let mut model = Model::new(calm(8));
    model.works = false;
    model.news(share(1));
    let mut began = Vec::new();
    for _ in 0..4_000 {
        let before = model.order.len();
        model.run_until(model.now + seconds(1));
        began.extend((model.order.len() > before).then_some(model.now));
    }
    let pauses: Vec<Duration> = began.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(began.len() >= 6, "{began:?}");
    assert!(pauses[4] > pauses[0] * 4, "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= seconds(1_004)), "{pauses:?}");
    assert!(!model.machine.is_announced(share(1).name()));
    model.works = true;
    let patience = model.now + seconds(1_004);
    while model.now < patience && !model.machine.is_announced(share(1).name()) {
        model.run_until(model.now + seconds(1));
    }
    assert!(model.machine.is_announced(share(1).name()));
    // Saying it again changes nothing.
    let times = model.order.len();
    assert!(model.machine.news(model.now, share(1)));
    model.run_until(model.now + seconds(500));
    assert_eq!(model.order.len(), times);
}

#[test]
fn there_is_a_last_place() {
    let mut machine = Announcing::new(calm(8));
    for n in 0..8 {
        assert!(machine.news(Instant::ZERO, share(n)));
    }
    assert!(!machine.news(Instant::ZERO, share(8)));
    assert!(machine.news(Instant::ZERO, share(3)), "it has its place");
    assert_eq!(machine.stats().items, 8);
}

#[test]
#[should_panic(expected = "an announcement that began")]
fn an_answer_without_a_question_is_a_bug() {
    Announcing::new(calm(8)).done(Instant::ZERO, share(1).name(), true);
}
