//! A store among others: what it asks of homes, what it keeps of it, how it answers other workers, and what it reads
//! ahead; each limit reached.

use std::time::Duration;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::machine::Instant;
use kollator_core::merkle::{VerifiedChunk, height_for, leaves, root};
use kollator_core::node::io::{DiskError, Ticket};
use kollator_core::store::{
    AheadStats, Answer, Config, Effect, EffectDone, HomeAnswer, MAX_AHEAD, Outcome, Output, Part, ReaderId, Store,
    StoreError,
};
use kollator_core::wire::signal::{Neighbour, WorkersNews};

const LENGTH: u64 = 1000;

fn chunk(n: u16) -> VerifiedChunk {
    let data: Bytes = (0..LENGTH).map(|i| (i * u64::from(n + 3)) as u8 ^ n as u8).collect();
    let hashes = leaves(&data);
    let height = height_for(hashes.len() as u64);
    let id = ChunkId::new(root(&hashes, height, Digest::default()), LENGTH as u32, height).expect("a legal chunk");
    VerifiedChunk::verify(id, data).expect("hashed just now")
}

fn config() -> Config {
    Config { name: "w0".into(), scrub_rate: 0, ..Config::default() }
}

/// A store and what it wants.
struct World {
    store: Store,
    now: Instant,
    effects: Vec<Effect>,
    asks: Vec<(Ticket, ChunkId)>,
    answers: Vec<(u64, Result<(), StoreError>)>,
    faults: usize,
}

impl World {
    /// Every chunk's home is another worker; or none is known.
    fn new(config: Config, has_home: bool) -> Self {
        let mut store = Store::new(config);
        let come = vec![Neighbour { name: "w1".into(), capacity: 100, http: "http://w1".into() }];
        if has_home {
            store.tell_of_workers(WorkersNews { anew: true, come, gone: Vec::new() });
        }
        let (effects, asks, answers) = Default::default();
        Self { store, now: Instant::ZERO, effects, asks, answers, faults: 0 }
    }

    fn work(&mut self) {
        while let Some(output) = self.store.poll() {
            match output {
                Output::Effect(effect) => self.effects.push(effect),
                Output::AskHome { ticket, chunk, home } => {
                    assert_eq!((&home.name[..], &home.http[..]), ("w1", "http://w1"));
                    self.asks.push((ticket, chunk));
                }
                Output::Answer(Answer::Data { ticket, result }) => {
                    self.answers.push((ticket.0, result.map(|_| ())))
                }
                Output::Answer(Answer::Stored { ticket, result }) => self.answers.push((ticket.0, result)),
                Output::Answer(other) => panic!("nobody asked for {other:?}"),
                Output::Fault(_) => self.faults += 1,
            }
        }
    }

    fn read(&mut self, ticket: u64, n: u16) {
        self.store.read(self.now, Ticket(ticket), chunk(n).id(), Part::Leaves);
        self.work();
    }

    fn read_for_worker(&mut self, ticket: u64, n: u16) {
        self.store.read_for_worker(self.now, Ticket(ticket), chunk(n).id(), Part::Leaves);
        self.work();
    }

    fn ahead(&mut self, reader: u64, next: &[u16]) {
        let next: Vec<ChunkId> = next.iter().map(|n| chunk(*n).id()).collect();
        self.store.read_ahead(self.now, ReaderId(reader), &next);
        self.work();
    }

    /// The home answers the oldest question.
    fn home(&mut self, answer: HomeAnswer) {
        let (ticket, _) = self.asks.remove(0);
        self.store.home_answered(self.now, ticket, answer);
        self.work();
    }

    /// The home sends what was asked of it first.
    fn home_sends(&mut self) {
        let asked = self.asks[0].1;
        let found = (0..100).map(chunk).find(|chunk| chunk.id() == asked).expect("one of them");
        self.home(HomeAnswer::Chunk(found));
    }

    /// Chunks being fetched from the backing store.
    fn fetching(&self) -> Vec<ChunkId> {
        let fetched = |effect: &Effect| match effect {
            Effect::FetchChunk { chunk, .. } => Some(*chunk),
            _ => None,
        };
        self.effects.iter().filter_map(fetched).collect()
    }

    fn writing(&self) -> usize {
        self.effects.iter().filter(|effect| matches!(effect, Effect::CacheWrite { .. })).count()
    }

    /// Does the first effect of a kind; `fails`, and it fails.
    fn finish(&mut self, is_it: impl Fn(&Effect) -> bool, fails: bool) {
        let at = self.effects.iter().position(is_it).expect("such an effect is under way");
        let (ticket, outcome) = match self.effects.remove(at) {
            Effect::CacheWrite { ticket, .. }
            | Effect::CacheRemove { ticket, .. }
            | Effect::CacheVerify { ticket, .. }
            | Effect::PutChunk { ticket, .. } => (ticket, Outcome::Done),
            Effect::FetchChunk { ticket, chunk: id } => {
                (ticket, Outcome::Chunk((0..100).map(chunk).find(|chunk| chunk.id() == id)))
            }
            Effect::CacheRead { ticket, chunk: id, part } => {
                let found = (0..100).map(chunk).find(|chunk| chunk.id() == id).expect("one of them");
                (ticket, Outcome::Read(part.of(&found).expect("a part of it")))
            }
            other => panic!("nobody asked for {other:?}"),
        };
        let outcome = if fails { Outcome::Failed(DiskError("no".into())) } else { outcome };
        self.store.done(self.now, EffectDone { ticket, outcome });
        self.work();
    }

    fn finish_all(&mut self) {
        while !self.effects.is_empty() {
            self.finish(|_| true, false);
        }
    }

    /// Wakes the store whenever it wants to be.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.store.next_wake().filter(|at| *at <= until) {
            self.now = at;
            self.store.wake(at);
            self.work();
        }
        self.now = until;
    }

    fn answers(&mut self) -> Vec<(u64, Result<(), StoreError>)> {
        std::mem::take(&mut self.answers)
    }
}

fn is_fetch(effect: &Effect) -> bool {
    matches!(effect, Effect::FetchChunk { .. })
}

fn failed() -> HomeAnswer {
    HomeAnswer::Failed(DiskError("no answer".into()))
}

#[test]
fn whatever_the_home_says_the_backing_store_is_asked_next() {
    type Say = fn() -> HomeAnswer;
    let says: [Say; 4] = [
        || HomeAnswer::NotThere,
        || HomeAnswer::Busy,
        failed,
        || HomeAnswer::Lie(DiskError("other bytes".into())),
    ];
    for (n, say) in says.into_iter().enumerate() {
        let mut world = World::new(config(), true);
        for ticket in 0..3 {
            world.read(ticket, 1);
        }
        assert_eq!((world.asks.len(), world.fetching()), (1, vec![]), "one question for many readers");
        world.home(say());
        assert_eq!(world.fetching(), [chunk(1).id()]);
        world.finish(is_fetch, false);
        assert_eq!(world.answers(), [0, 1, 2].map(|ticket| (ticket, Ok(()))));
        assert_eq!(world.writing(), 1, "what the backing store sent is cached");
        // Who does not have it at hand may have the next; the others are left alone.
        world.read(4, 2);
        assert_eq!(world.asks.len(), usize::from(n == 0));
        assert_eq!(world.faults, usize::from(n == 3));
        world.finish_all();
        assert_eq!(world.store.stats().homes.asked, 1 + u64::from(n == 0));
    }
}

#[test]
fn what_came_from_its_home_is_cached_the_second_time() {
    let mut world = World::new(Config { cache_bytes: 12 * 3 * LENGTH, ..config() }, true);
    world.read(1, 1);
    world.home_sends();
    assert_eq!((world.answers(), world.writing()), (vec![(1, Ok(()))], 0));
    // Whoever reads on, block by block, finds it in memory.
    world.pass(Duration::from_secs(29));
    world.read(2, 1);
    assert_eq!((world.answers(), world.asks.len()), (vec![(2, Ok(()))], 0));
    assert_eq!(world.store.memory_in_use(), LENGTH);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.store.memory_in_use(), 0);
    world.read(3, 1);
    world.home_sends();
    assert_eq!((world.answers(), world.writing()), (vec![(3, Ok(()))], 1));
    world.finish_all();
    assert_eq!(world.store.cached().collect::<Vec<_>>(), [chunk(1).id()]);
    // However long ago: what counts is what else came meanwhile.
    for (others, writes) in [(10..12, 1), (20..23, 0)] {
        world.read(4, 2);
        world.home_sends();
        world.pass(Duration::from_secs(3600));
        for n in others {
            world.read(5, n);
            world.home_sends();
        }
        world.pass(Duration::from_secs(31));
        world.read(6, 2);
        world.home_sends();
        assert_eq!(world.writing(), writes);
        world.finish_all();
        world.store.clear_cache(world.now);
        world.work();
        world.finish_all();
        world.pass(Duration::from_secs(31));
    }
}

#[test]
fn what_only_stays_in_memory_makes_room_for_everything_else() {
    let mut world = World::new(Config { max_memory: 8 * LENGTH, ..config() }, true);
    for n in 0..5 {
        world.read(n, n as u16);
        world.home_sends();
    }
    assert_eq!(world.store.memory_in_use(), 2 * LENGTH, "a quarter of the memory");
    assert!(world.store.has_room_for(8 * LENGTH));
    for n in 10..18 {
        world.store.put(world.now, Ticket(n), chunk(n as u16));
    }
    world.work();
    assert_eq!((world.store.memory_in_use(), world.store.has_room_for(1)), (8 * LENGTH, false));
    world.finish_all();
    assert_eq!(world.answers().len(), 5 + 8);
    assert_eq!(world.store.memory_in_use(), 0);
    // An upload of what is only passing is cached like any other.
    world.read(20, 7);
    world.home_sends();
    world.store.put(world.now, Ticket(21), chunk(7));
    world.work();
    assert_eq!((world.writing(), world.store.memory_in_use()), (1, LENGTH));
    world.finish_all();
    assert_eq!(world.store.memory_in_use(), 0);
}

/// A chunk that is in the cache and only passing in memory, whose file turns out to be rotten, is held to be written.
#[test]
fn what_has_to_be_written_anew_makes_no_room() {
    let mut world = World::new(Config { max_memory: 8 * LENGTH, scrub_rate: 1_000_000, ..config() }, true);
    world.read(1, 1);
    world.store.put(world.now, Ticket(2), chunk(1));
    world.work();
    world.finish(|effect| matches!(effect, Effect::PutChunk { .. }), false);
    world.finish(|effect| matches!(effect, Effect::CacheWrite { .. }), false);
    world.home_sends();
    assert_eq!((world.store.memory_in_use(), world.store.has_room_for(8 * LENGTH)), (LENGTH, true));
    world.pass(Duration::from_millis(10));
    world.finish(|effect| matches!(effect, Effect::CacheVerify { .. }), true);
    assert!(world.store.has_room_for(7 * LENGTH) && !world.store.has_room_for(7 * LENGTH + 1));
    (10..17).for_each(|n| world.store.put(world.now, Ticket(n), chunk(n as u16)));
    world.work();
    world.finish_all();
    assert_eq!((world.answers().len(), world.store.memory_in_use()), (2 + 7, 0));
}

#[test]
fn questions_have_a_limit_and_memory_of_their_own() {
    let mut world = World::new(Config { max_asks: 2, ..config() }, true);
    (0..4).for_each(|n| world.read(n, n as u16));
    assert_eq!((world.asks.len(), world.fetching().len()), (2, 2));

    let mut world = World::new(Config { max_memory: 8 * LENGTH, max_fetches: 9, ..config() }, true);
    (0..8).for_each(|n| world.read(n, n as u16));
    assert_eq!((world.asks.len(), world.fetching().len()), (2, 4), "a quarter and a half of the memory");
    assert!(world.store.has_room_for(2 * LENGTH), "readers keep no upload out");
    // Requests that hang at the backing store do not hold up questions.
    world.home_sends();
    world.home_sends();
    world.read(9, 9);
    assert_eq!((world.asks.len(), world.fetching().len()), (1, 4));

    let mut world = World::new(Config { max_memory: 4 * LENGTH - 1, ..config() }, true);
    world.read(1, 1);
    assert_eq!((world.asks.len(), world.fetching().len()), (0, 1), "it could never be asked for");
}

#[test]
fn another_worker_is_answered_from_here_or_told_at_once() {
    let mut world = World::new(config(), true);
    world.read_for_worker(1, 1);
    assert_eq!((world.asks.len(), world.fetching()), (0, vec![chunk(1).id()]), "nobody is asked for its sake");
    world.pass(Duration::from_millis(349));
    assert_eq!(world.answers(), []);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.answers(), [(1, Err(StoreError::NotFound))], "it has a way to the backing store of its own");
    // What was begun is finished: others will ask.
    world.read_for_worker(2, 1);
    world.finish(is_fetch, false);
    assert_eq!((world.answers(), world.writing()), (vec![(2, Ok(()))], 1));
    world.finish_all();
    world.read_for_worker(3, 1);
    world.finish_all();
    assert_eq!(world.answers(), [(3, Ok(()))]);

    // It does not wait for a third.
    world.read(4, 2);
    world.read_for_worker(5, 2);
    assert_eq!(world.answers(), [(5, Err(StoreError::NotFound))]);
    world.home(failed());
    world.read_for_worker(6, 2);
    world.finish(is_fetch, false);
    assert_eq!(world.answers(), [(4, Ok(())), (6, Ok(()))]);
    let homes = world.store.stats().homes;
    assert_eq!((homes.served, homes.unserved), (3, 2));
}

#[test]
fn other_workers_wait_within_a_limit() {
    let mut world = World::new(Config { max_waiting: 3, max_fetches: 9, ..config() }, false);
    (0..4).for_each(|n| world.read_for_worker(n, n as u16));
    assert_eq!(world.answers(), [(3, Err(StoreError::Busy))]);
    (0..3).for_each(|_| world.finish(is_fetch, false));
    assert_eq!(world.answers().len(), 3);
    world.read_for_worker(7, 7);
    assert_eq!(world.answers(), [(7, Err(StoreError::Busy))], "those that were answered are not forgotten yet");
    world.pass(Duration::from_millis(350));
    world.read_for_worker(8, 8);
    assert_eq!(world.answers(), []);
}

fn ahead(begun: u64, used: u64, wasted: u64) -> AheadStats {
    AheadStats { begun, used, wasted }
}

#[test]
fn what_comes_next_is_fetched_while_nobody_waits() {
    let mut world = World::new(Config { max_fetches: 4, ..config() }, false);
    (0..3).for_each(|n| world.read(n, n as u16));
    world.ahead(1, &[10, 11, 12]);
    assert_eq!(world.fetching().len(), 3, "half of the fetches are for those who wait");
    world.finish(is_fetch, false);
    world.finish(is_fetch, false);
    assert_eq!(world.fetching(), [2, 10].map(|n| chunk(n).id()));
    (4..8).for_each(|n| world.read(n, n as u16));
    world.finish(is_fetch, false);
    world.finish(is_fetch, false);
    assert!(!world.fetching().contains(&chunk(11).id()), "those who wait come first");
    world.finish_all();
    assert_eq!(world.store.stats().ahead, ahead(3, 0, 0));
    assert_eq!(world.store.cached().count(), 10);
    let reads = world.answers().len();
    world.read(20, 10);
    world.read(21, 10);
    world.finish_all();
    assert_eq!(world.answers().len() - 2, 0, "of {reads}");
    assert_eq!(world.store.stats().ahead, ahead(3, 1, 0));
}

#[test]
fn what_is_not_expected_any_more_is_not_begun() {
    let mut world = World::new(Config { max_fetches: 2, ..config() }, false);
    world.ahead(1, &[1, 2, 3]);
    world.ahead(2, &[4]);
    assert_eq!(world.fetching(), [chunk(1).id()]);
    world.ahead(1, &[]);
    world.finish_all();
    assert_eq!(world.store.stats().ahead, ahead(2, 0, 0), "the first of one reader, and that of the other");
    // What is here, or on its way, is not fetched again; what would be too much is not taken in.
    world.ahead(1, &[1, 4, 5, 6, 7, 8, 9]);
    world.finish_all();
    assert_eq!(world.store.stats().ahead, ahead(2 + MAX_AHEAD as u64 - 2, 0, 0));
    world.store.clear_cache(world.now);
    world.work();
    assert_eq!(world.store.stats().ahead, ahead(4, 0, 4));
}

#[test]
fn what_could_not_be_fetched_ahead_is_wasted_and_keeps_nobody_waiting() {
    let mut world = World::new(config(), false);
    world.ahead(1, &[1, 2]);
    world.read(1, 2);
    world.finish(is_fetch, true);
    world.finish(is_fetch, true);
    assert_eq!(world.answers(), [(1, Err(StoreError::Failed("no".into())))]);
    assert_eq!((world.store.stats().ahead, world.store.memory_in_use()), (ahead(2, 1, 1), 0));

    // With a home it is asked first. In vain: then it is let be, unless somebody waits by now.
    let mut world = World::new(config(), true);
    world.ahead(1, &[1, 2, 3]);
    assert_eq!((world.asks.len(), world.fetching().len()), (3, 0));
    world.read(1, 2);
    world.home(HomeAnswer::NotThere);
    assert_eq!(world.fetching(), []);
    world.home(HomeAnswer::NotThere);
    assert_eq!(world.fetching(), [chunk(2).id()]);
    world.home_sends();
    world.finish_all();
    assert_eq!(world.store.stats().ahead, ahead(3, 1, 1));
    assert_eq!(world.store.cached().count(), 2, "what was fetched ahead is cached, whoever sent it");

    // A cache that is too small keeps nothing for later.
    let mut world = World::new(Config { cache_bytes: LENGTH, ..config() }, false);
    world.ahead(1, &[1]);
    world.finish_all();
    assert_eq!((world.store.stats().ahead, world.store.memory_in_use()), (ahead(1, 0, 1), 0));
}

#[test]
fn memory_is_left_for_those_who_wait() {
    let mut world = World::new(Config { max_memory: 8 * LENGTH, ..config() }, false);
    world.ahead(1, &[1, 2, 3, 4]);
    assert_eq!(world.fetching().len(), 2, "a quarter of the memory");
    for n in 10..15 {
        world.store.put(world.now, Ticket(n), chunk(n as u16));
    }
    world.work();
    world.finish(is_fetch, false);
    assert_eq!(world.fetching().len(), 1, "nor the last of it");
    world.finish_all();
    assert_eq!((world.store.stats().ahead.begun, world.store.memory_in_use()), (4, 0));
}
