//! A worker and its front, told what happens one input at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use kollator_core::auth::{Gate, SharedKey};
use kollator_core::id::{ChunkId, Digest, InfoHash, PeerId};
use kollator_core::machine::{Instant, Machine};
use kollator_core::merkle::{VerifiedChunk, height_for, leaves, root, sha256};
use kollator_core::node::io::{DiskError, LinkCommand, LinkEvent, Ticket};
use kollator_core::node::worker::{
    Ask, AskError, AskId, MAX_ASK_BLOCKS, Told, Worker, WorkerConfig, WorkerInput, WorkerOutput,
};
use kollator_core::store::{Effect, EffectDone, Outcome, StoreError};
use kollator_core::wire::signal::{Bootstrap, FromFront, Neighbour, Role, ToFront, WorkerHello, WorkersNews};
use proptest::collection::vec;
use proptest::prelude::*;

const START: u64 = 1_767_225_600_000;

fn key() -> SharedKey {
    SharedKey::new(b"a key for testing").expect("long enough")
}

struct Stage {
    now: Instant,
    worker: Worker,
    dialled: Vec<usize>,
    said: Vec<ToFront>,
    effects: Vec<Effect>,
    asked: Vec<(ChunkId, String)>,
    told: Vec<(u64, Result<Told, AskError>)>,
    drained: bool,
}

impl Stage {
    /// A worker that is dialling the first of its fronts.
    fn new(fronts: usize) -> Self {
        Self::holding(fronts, &[])
    }

    /// The same with chunks in its cache.
    fn holding(fronts: usize, chunks: &[ChunkId]) -> Self {
        Self::limited(fronts, chunks, 0)
    }

    /// The same with a limit on what it sends a second.
    fn limited(fronts: usize, chunks: &[ChunkId], limit: u64) -> Self {
        let (name, http) = ("w1".to_owned(), "http://w1:8081".to_owned());
        let mut config = WorkerConfig::new(PeerId(Digest([1; 32])), name, http, key(), START, 5);
        (config.fronts, config.region) = (fronts, "eu-west".to_owned());
        // Reads that nobody asked for are not what is tested here.
        config.store.scrub_rate = 0;
        config.upload.limit = limit;
        let mut worker = Worker::new(config);
        worker.recovered(chunks.iter().map(|chunk| (*chunk, Duration::ZERO)));
        let (dialled, said, effects, asked, told) = Default::default();
        let mut stage = Self { now: Instant::ZERO, worker, dialled, said, effects, asked, told, drained: false };
        stage.tell(WorkerInput::Wake);
        stage
    }

    fn ask(&mut self, id: u64, ask: Ask) {
        self.tell(WorkerInput::Ask { id: AskId(id), ask });
    }

    /// The driver has done the oldest effect.
    fn done(&mut self, outcome: Outcome) {
        let ticket = ticket_of(&self.effects.remove(0));
        self.tell(WorkerInput::Store(EffectDone { ticket, outcome }));
    }

    fn tell(&mut self, input: WorkerInput) {
        self.worker.handle(self.now, input);
        while let Some(output) = self.worker.poll() {
            match output {
                WorkerOutput::Link(LinkCommand::Connect { front }) => self.dialled.push(front),
                WorkerOutput::Link(LinkCommand::Send { text }) => {
                    self.said.push(ToFront::parse(text.as_bytes()).expect("the protocol"));
                }
                WorkerOutput::Store(effect) => self.effects.push(effect),
                WorkerOutput::AskHome { chunk, home, .. } => self.asked.push((chunk, home.name.clone())),
                WorkerOutput::Told { id, result } => self.told.push((id.0, result)),
                WorkerOutput::Drained => self.drained = true,
                _ => {}
            }
        }
    }

    fn front(&mut self, message: &FromFront) {
        self.tell(WorkerInput::Link(LinkEvent::Message { text: message.to_text().into() }));
    }

    /// The dialled front answers and welcomes; the hello it heard.
    fn welcome(&mut self) -> WorkerHello {
        self.tell(WorkerInput::Link(LinkEvent::Up));
        let Some(ToFront::Hello { role: Role::Worker(hello), .. }) = self.said.pop() else { panic!("a hello") };
        let (ice_servers, fronts) = (Vec::new(), Vec::new());
        let bootstrap = Bootstrap { worker: None, ice_servers, fronts, heartbeat_seconds: 30 };
        self.front(&FromFront::Welcome(bootstrap));
        hello
    }

    /// The connection closes; the worker dials again.
    fn redial(&mut self) {
        self.tell(WorkerInput::Link(LinkEvent::Down { reason: "gone".into() }));
        let dialled = self.dialled.len();
        while self.dialled.len() == dialled {
            self.pass(Duration::from_millis(10));
        }
    }

    /// Wakes the worker whenever it wants to be.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.worker.next_wake().filter(|at| *at <= until) {
            self.now = at;
            self.tell(WorkerInput::Wake);
        }
        self.now = until;
    }
}

const fn ticket_of(effect: &Effect) -> Ticket {
    match effect {
        Effect::CacheRead { ticket, .. }
        | Effect::CacheVerify { ticket, .. }
        | Effect::CacheWrite { ticket, .. }
        | Effect::CacheRemove { ticket, .. }
        | Effect::FetchChunk { ticket, .. }
        | Effect::FetchTorrent { ticket, .. }
        | Effect::PutChunk { ticket, .. }
        | Effect::PutTorrent { ticket, .. }
        | Effect::Exists { ticket, .. } => *ticket,
    }
}

/// A chunk of `length` bytes that depend on `n`.
fn chunk(n: u8, length: u32) -> VerifiedChunk {
    let data: Bytes = (0..length).map(|i| (i % 251) as u8 ^ n).collect();
    let hashes = leaves(&data);
    let height = height_for(hashes.len() as u64);
    let id = ChunkId::new(root(&hashes, height, Digest::default()), length, height).expect("a legal length");
    VerifiedChunk::verify(id, data).expect("its own bytes")
}

const BUSY: Result<Told, AskError> = Err(AskError::Store(StoreError::Busy));

#[test]
fn a_probe_is_answered_and_a_front_that_stops_probing_is_left() {
    let mut stage = Stage::new(2);
    stage.welcome();
    for round in 1..=20 {
        stage.pass(Duration::from_millis(250));
        stage.front(&FromFront::Probe {});
        assert_eq!(stage.said, vec![ToFront::Alive {}; round]);
    }
    assert!(stage.worker.is_online());
    stage.pass(Duration::from_millis(1_999));
    assert_eq!(stage.dialled, [0]);
    stage.pass(Duration::from_millis(2));
    assert_eq!(stage.dialled, [0, 1]);
    stage.welcome();
    assert!(stage.worker.is_online());
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.dialled, [0, 1], "the other front has not probed yet");
}

#[test]
fn each_front_is_told_once_that_the_worker_is_draining() {
    let mut stage = Stage::new(2);
    stage.tell(WorkerInput::Drain);
    assert!(stage.said.is_empty() && stage.drained);
    stage.welcome();
    assert_eq!(stage.said, [ToFront::Draining {}]);
    stage.tell(WorkerInput::Drain);
    assert_eq!(stage.said.len(), 1);

    let mut stage = Stage::new(2);
    stage.welcome();
    stage.tell(WorkerInput::Drain);
    stage.tell(WorkerInput::Drain);
    assert_eq!(stage.said, [ToFront::Draining {}]);
    stage.redial();
    stage.welcome();
    assert_eq!(stage.said, [ToFront::Draining {}, ToFront::Draining {}]);
}

#[test]
fn a_hello_says_where_the_worker_is_and_is_fresh_after_days_and_a_stepped_clock() {
    let mut gate = Gate::new(key(), 1);
    let mut stage = Stage::new(1);
    // Its own clock loses a second each minute, and is set right each minute; then the wall clock is set back.
    for minute in 0..3 * 24 * 60 {
        stage.now = Instant::ZERO + Duration::from_secs(59 * minute);
        stage.tell(WorkerInput::Clock { unix_ms: START + 60_000 * minute });
    }
    let days = START + 60_000 * (3 * 24 * 60 - 1);
    stage.redial();
    let hello = stage.welcome();
    assert_eq!((hello.name.as_str(), hello.region.as_str()), ("w1", "eu-west"));
    assert_eq!(gate.admit(days, &hello.name, hello.timestamp_ms, &hello.mac), Ok(()));
    for back in [0, 20_000] {
        stage.tell(WorkerInput::Clock { unix_ms: days - back });
        stage.redial();
        let hello = stage.welcome();
        assert_eq!(gate.admit(days, &hello.name, hello.timestamp_ms, &hello.mac), Ok(()), "set back by {back} ms");
    }
}

#[test]
fn asks_are_answered_from_the_store() {
    let mut stage = Stage::new(1);
    let whole = chunk(1, 70_000);
    stage.ask(7, Ask::Blocks { chunk: whole.id(), first: 3, count: 2 });
    assert!(matches!(stage.effects[..], [Effect::FetchChunk { chunk, .. }] if chunk == whole.id()));
    assert_eq!(stage.told, []);
    stage.done(Outcome::Chunk(Some(whole.clone())));
    assert_eq!(stage.told, [(7, Ok(Told::Blocks(whole.data().slice(3 * 16_384..))))]);
    assert_eq!((stage.worker.bytes_told(), stage.worker.bytes_served()), (70_000 - 3 * 16_384, 0));

    stage = Stage::new(1);
    let (ko, name) = (Bytes::from_static(b"ko"), InfoHash(sha256(b"ko")));
    stage.ask(1, Ask::Torrent(name));
    stage.ask(2, Ask::Has(whole.id()));
    stage.done(Outcome::Torrent(Some(ko.clone())));
    stage.done(Outcome::Exists(true));
    stage.ask(3, Ask::Torrent(name));
    stage.ask(4, Ask::Has(whole.id()));
    let answers = [Told::Torrent(Some(ko)), Told::Has(true)].map(Ok);
    let expected: Vec<_> = (1..).zip(answers.iter().chain(&answers).cloned()).collect();
    assert_eq!(stage.told, expected);
    assert_eq!(stage.effects.len(), 0, "the store remembers both");
    assert_eq!(stage.worker.store().stats().backing_requests, 2);
}

#[test]
fn what_is_read_waits_for_its_turn_under_the_limit_and_nothing_else_waits_for_that() {
    let whole = chunk(1, 1 << 20);
    let mut stage = Stage::limited(1, &[], 100_000);
    assert_eq!(stage.worker.ask_blocks(), 1);
    stage.ask(0, Ask::Blocks { chunk: whole.id(), first: 0, count: 2 });
    assert_eq!(stage.told.remove(0), (0, Err(AskError::TooMuch)));
    for id in 0..64 {
        stage.ask(id, Ask::Blocks { chunk: whole.id(), first: id as u16, count: 1 });
    }
    stage.done(Outcome::Chunk(Some(whole.clone())));
    assert_eq!(stage.told.len(), 4, "a burst goes at once");
    let blocks =
        |id: u64| (id, Ok(Told::Blocks(whole.data().slice(id as usize * 16_384..(id as usize + 1) * 16_384))));
    for id in 64..70 {
        stage.ask(id, Ask::Leaves(whole.id()));
    }
    assert_eq!(stage.told[4..], [(68, BUSY), (69, BUSY)], "the others wait");
    stage.ask(100, Ask::Has(whole.id()));
    stage.ask(101, Ask::BlocksForWorker { chunk: whole.id(), first: 0, count: 16 });
    let for_worker = Told::Blocks(whole.data().slice(..16 * 16_384));
    assert_eq!(stage.told[6..], [(100, Ok(Told::Has(true))), (101, Ok(for_worker))], "these do not");
    stage.told.truncate(4);
    stage.tell(WorkerInput::Drain);
    stage.pass(Duration::from_secs(5));
    let told = stage.told.len() as u64;
    assert!((29..=31).contains(&(told - 4)), "{told} blocks");
    assert_eq!(stage.told, (0..told).map(blocks).collect::<Vec<_>>());
    assert!(!stage.drained);
    stage.pass(Duration::from_secs(6));
    assert_eq!(stage.told.len(), 68);
    assert_eq!(stage.told[64..], [64, 65, 66, 67].map(|id| (id, Ok(Told::Leaves(leaves(whole.data()))))));
    assert!(stage.drained && stage.worker.open_asks() == 0);
}

#[test]
fn what_cannot_be_answered_is_refused_with_the_reason() {
    let mut stage = Stage::new(1);
    let whole = chunk(1, 70_000);
    stage.ask(1, Ask::Blocks { chunk: whole.id(), first: 0, count: MAX_ASK_BLOCKS + 1 });
    for (id, first, count) in [(2, 4, 2), (3, 5, 1), (4, 0, 0), (5, u16::MAX, 2)] {
        stage.ask(id, Ask::Blocks { chunk: whole.id(), first, count });
    }
    let missing = Err(AskError::Store(StoreError::NotFound));
    assert_eq!(stage.told.remove(0), (1, Err(AskError::TooMuch)));
    assert_eq!(stage.told, [2, 3, 4, 5].map(|id| (id, missing.clone())));
    assert_eq!(stage.effects.len(), 0);

    stage.told.clear();
    stage.ask(1, Ask::Blocks { chunk: whole.id(), first: 0, count: 1 });
    stage.done(Outcome::Chunk(None));
    stage.ask(2, Ask::Blocks { chunk: whole.id(), first: 0, count: 1 });
    stage.done(Outcome::Corrupt(DiskError("rotten".into())));
    let failed = Err(AskError::Store(StoreError::Failed("rotten".into())));
    assert_eq!(stage.told, [(1, missing), (2, failed)]);
    let stats = stage.worker.store().stats();
    assert_eq!((stats.backing_requests, stats.backing_errors), (2, 1));
}

#[test]
fn a_worker_that_drains_finishes_open_asks_and_takes_no_others() {
    let mut stage = Stage::new(1);
    stage.ask(1, Ask::Has(chunk(1, 1).id()));
    stage.tell(WorkerInput::Drain);
    stage.ask(2, Ask::Has(chunk(2, 1).id()));
    stage.ask(3, Ask::ClearCache);
    assert_eq!(stage.told, [2, 3].map(|id| (id, Err(AskError::Leaving))));
    assert!(!stage.drained);
    stage.done(Outcome::Exists(false));
    assert_eq!(stage.told.last(), Some(&(1, Ok(Told::Has(false)))));
    assert!(stage.drained);
}

#[test]
fn a_cache_is_cleared_of_what_nobody_reads() {
    let chunks = [1, 2, 3].map(|n| chunk(n, 100).id());
    let mut stage = Stage::holding(1, &chunks);
    stage.ask(1, Ask::Blocks { chunk: chunks[1], first: 0, count: 1 });
    stage.ask(2, Ask::ClearCache);
    assert_eq!(stage.told, [(2, Ok(Told::Cleared { chunks: 2 }))]);
    let removed: BTreeSet<ChunkId> = stage
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::CacheRemove { chunk, .. } => Some(*chunk),
            _ => None,
        })
        .collect();
    assert_eq!(removed, BTreeSet::from([chunks[0], chunks[2]]));
    assert_eq!(stage.worker.store().cached().collect::<Vec<_>>(), [chunks[1]]);
    while !stage.effects.is_empty() {
        let is_read = matches!(stage.effects[0], Effect::CacheRead { .. });
        stage.done(if is_read { Outcome::Failed(DiskError("gone".into())) } else { Outcome::Done });
        stage.effects.retain(|effect| !matches!(effect, Effect::FetchChunk { .. }));
    }
    assert_eq!(stage.worker.store().stats().cache.bytes, 0);
}

proptest! {
    /// However asks and answers mix: each gets one answer, and no more are open than the limit.
    #[test]
    fn every_ask_is_answered_once_and_few_are_open(steps in vec(any::<Option<u8>>(), 1..300)) {
        let mut stage = Stage::new(1);
        let limit = 64;
        let mut asked = 0;
        for step in steps {
            match step {
                Some(n) => {
                    let open = stage.worker.open_asks();
                    stage.ask(asked, Ask::Has(ChunkId::new(sha256(&[n]), 1, 0).expect("legal")));
                    prop_assert_eq!(open == limit, stage.told.last() == Some(&(asked, BUSY)));
                    asked += 1;
                }
                None if stage.effects.is_empty() => {}
                None => stage.done(Outcome::Exists(false)),
            }
            prop_assert!(stage.worker.open_asks() <= limit);
        }
        while !stage.effects.is_empty() {
            stage.done(Outcome::Exists(false));
        }
        prop_assert_eq!(stage.worker.open_asks(), 0);
        let answered: BTreeSet<u64> = stage.told.iter().map(|(id, _)| *id).collect();
        prop_assert_eq!(answered.len() as u64, asked);
        prop_assert_eq!(stage.told.len() as u64, asked);
    }
}

#[test]
fn a_worker_asks_those_that_its_front_told_it_of_and_nobody_for_another_worker() {
    let mut stage = Stage::new(1);
    stage.welcome();
    let come = vec![Neighbour { name: "w2".into(), capacity: 100, http: "http://w2".into() }];
    stage.front(&FromFront::Workers(WorkersNews { anew: true, come, gone: Vec::new() }));
    let ids: Vec<ChunkId> = (0..70).map(|n| chunk(n, 100).id()).collect();
    stage.ask(0, Ask::Blocks { chunk: ids[0], first: 0, count: 1 });
    assert_eq!((&stage.asked[..], stage.effects.len()), (&[(ids[0], "w2".to_owned())][..], 0));
    // Other workers have a limit of their own, and are asked of nobody.
    for (n, chunk) in ids.iter().enumerate().skip(1) {
        stage.ask(n as u64, Ask::BlocksForWorker { chunk: *chunk, first: 0, count: 1 });
    }
    assert_eq!((stage.asked.len(), stage.worker.open_asks()), (1, 65));
    assert_eq!(stage.told, (65..70).map(|n| (n, BUSY)).collect::<Vec<_>>());
    stage.pass(Duration::from_millis(350));
    let not_found = Err(AskError::Store(StoreError::NotFound));
    assert_eq!(stage.told[5..], (1..65).map(|n| (n, not_found.clone())).collect::<Vec<_>>());
    assert_eq!(stage.worker.open_asks(), 1);
    // The ring is kept when the front is gone.
    stage.redial();
    stage.ask(80, Ask::Blocks { chunk: chunk(80, 100).id(), first: 0, count: 1 });
    assert_eq!(stage.asked.len(), 2);
    stage.front(&FromFront::Workers(WorkersNews { anew: false, come: Vec::new(), gone: vec!["w2".into()] }));
    let too_many = Ask::BlocksForWorker { chunk: ids[0], first: 0, count: MAX_ASK_BLOCKS + 1 };
    stage.ask(90, too_many);
    assert_eq!(stage.told.last(), Some(&(90, Err(AskError::TooMuch))));
}
