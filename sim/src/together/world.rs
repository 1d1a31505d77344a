//! The world of some stores: their drivers, their callers, their disks, the network, S3, and what befalls them.

use std::collections::BTreeSet;
use std::time::Duration;

use kollator_core::id::ChunkId;
use kollator_core::machine::{Instant, Rng};
use kollator_core::node::io::{DiskError, Ticket};
use kollator_core::ring::{Key as Place, Ring};
use kollator_core::store::{
    Answer, Effect, EffectDone, HOME_REPLICAS, Home, HomeAnswer, Key, Outcome, Output, Part, PartData, ReaderId,
    Store,
};
use kollator_core::wire::signal::{Neighbour, WorkersNews};

use super::oracle::{self, Happening, Oracle, View, Worker};
use super::plan::{Fault, Plan, Plant, name_of};
use crate::heap::EventHeap;
use crate::report::{Failure, Report};
use crate::simulation::{Journal, Log, Run, Simulation, live_through, short};
use crate::store::{POOL, chunk_of};

/// Most events in a run: more means that something goes round in circles.
const MAX_EVENTS: u64 = 100_000;
/// Longest time that a step of a disk, S3 or the network takes, in nanoseconds.
const STEP: u64 = 1_000_000;
/// How long who asks a home waits.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a request to an S3 that is down takes to fail.
const S3_DEADLINE: Duration = Duration::from_secs(3);
/// After so long, nobody is left alone any more, and nothing stays in memory.
const FORGIVEN: Duration = Duration::from_secs(2 * 3600);
/// Within so long, who needs no S3 is answered when there is none.
const WITHOUT_S3: Duration = Duration::from_secs(1);

/// Of every worker.
const CAPACITY: u16 = 100;

/// The stores of some workers.
#[derive(Clone, Copy, Debug)]
pub struct Together;

impl Simulation for Together {
    const NAME: &'static str = "together";
    type Fault = Fault;
    type Plant = Plant;

    fn run(seed: u64, plant: Option<Plant>, log: Option<Log>) -> Report<Fault> {
        live_through(seed, World::new(seed, plant, oracle::all(), log))
    }
}

impl Together {
    /// Runs what `seed` decides with one judge alone, so that it is not the others who notice the bug.
    #[must_use]
    pub fn run_with_judge(judge: &str, seed: u64, plant: Plant) -> Report<Fault> {
        let oracles = oracle::all().into_iter().filter(|oracle| oracle.name() == judge).collect();
        live_through(seed, World::new(seed, Some(plant), oracles, None))
    }
}

/// What one worker asks another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    asker: usize,
    /// The asker's.
    ticket: Ticket,
    life: u64,
    chunk: ChunkId,
    home: usize,
}

enum Event {
    /// Somebody asks something.
    Ask,
    Crash(usize),
    Start(usize),
    Heal(usize, usize),
    S3Back,
    /// A driver begins with an effect.
    Begin(usize, u64, Effect),
    /// S3 does what it was asked.
    Apply(usize, u64, Effect),
    /// A driver says how it went.
    Reply(usize, u64, EffectDone),
    /// A question comes to a home.
    Arrive(Asked),
    /// Its answer comes back, or patience ends.
    Answered(Asked, HomeAnswer),
}

struct World {
    plan: Plan,
    plant: Option<Plant>,
    rng: Rng,
    now: Instant,
    heap: EventHeap<Event>,
    workers: Vec<Worker>,
    /// All of them.
    ring: Ring,
    s3: BTreeSet<ChunkId>,
    s3_down: bool,
    cut: BTreeSet<(usize, usize)>,
    next_ticket: u64,
    healed: bool,
    oracles: Vec<Box<dyn Oracle>>,
    journal: Journal<Fault>,
}

impl Run for World {
    type Fault = Fault;

    fn live(&mut self) {
        self.journal.failure = self.run().err();
    }

    fn end(self) -> (Instant, Journal<Fault>) {
        (self.now, self.journal)
    }
}

impl World {
    fn new(seed: u64, plant: Option<Plant>, oracles: Vec<Box<dyn Oracle>>, log: Option<Log>) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng, POOL.len());
        let workers: Vec<Worker> = plan.configs.iter().map(|config| Worker::new(config.clone())).collect();
        let mut ring = Ring::new(HOME_REPLICAS);
        workers.iter().for_each(|worker| ring.insert(&worker.config.name, CAPACITY));
        Self {
            ring,
            plan,
            plant,
            rng,
            now: Instant::ZERO,
            heap: EventHeap::new(),
            workers,
            s3: BTreeSet::new(),
            s3_down: false,
            cut: BTreeSet::new(),
            next_ticket: 0,
            healed: false,
            oracles,
            journal: Journal::new(log),
        }
    }

    fn run(&mut self) -> Result<(), Failure> {
        for worker in 0..self.workers.len() {
            self.start(worker)?;
        }
        self.schedule(1, Event::Ask);
        while let Some(at) = self.heap.next() {
            self.advance(at)?;
        }
        self.plan.heal();
        self.cut.clear();
        self.s3_down = false;
        self.advance(self.now + FORGIVEN)?;
        if self.plant != Some(Plant::KeepsOldRing) {
            (0..self.workers.len()).for_each(|worker| self.tell_ring(worker, &[]));
        }
        self.healed = true;
        self.read_everything()?;
        self.go_on_without_s3()
    }

    /// Everything that was stored is read at every worker, one after the other; then the oracles look at a world at
    /// rest.
    fn read_everything(&mut self) -> Result<(), Failure> {
        for chunk in POOL.iter().take(self.plan.chunks) {
            for worker in 0..self.workers.len() {
                self.ask(worker, chunk.id(), false)?;
                self.rest()?;
            }
        }
        self.advance(self.now + FORGIVEN)?;
        let mut oracles = std::mem::take(&mut self.oracles);
        for oracle in &mut oracles {
            oracle.healed(&self.view()).map_err(|what| self.failure(oracle.name(), what))?;
        }
        self.oracles = oracles;
        Ok(())
    }

    /// S3 is gone: what a home has in its cache can be read everywhere.
    fn go_on_without_s3(&mut self) -> Result<(), Failure> {
        self.s3_down = true;
        for chunk in POOL.iter().take(self.plan.chunks).map(|chunk| chunk.id()) {
            let holders: Vec<usize> = (0..self.workers.len()).filter(|n| self.workers[*n].caches(chunk)).collect();
            for worker in 0..self.workers.len() {
                let before = self.workers[worker].answered;
                self.ask(worker, chunk, false)?;
                self.advance(self.now + WITHOUT_S3)?;
                let home = self.home_of(chunk);
                let helps = home != worker && self.may_ask(worker, chunk) && holders.contains(&home);
                let expected = helps || holders.contains(&worker);
                let (good, bad) = self.workers[worker].answered;
                let found = (good > before.0, bad > before.1);
                self.judge(Happening::WithoutS3 { worker, chunk, holders: &holders, expected, found })?;
                // Whoever waits for S3 hears that it is not there.
                self.advance(self.now + 2 * S3_DEADLINE)?;
            }
        }
        Ok(())
    }

    /// The home of a chunk, by the definition of the ring.
    fn home_of(&self, chunk: ChunkId) -> usize {
        let place = Place(u64::from_be_bytes(chunk.root().0[..8].try_into().expect("eight of 32 bytes")));
        let owner = self.ring.owner(place).expect("there are workers");
        (0..self.workers.len()).find(|n| name_of(*n) == owner).expect("one of them")
    }

    /// Whether limits allow a worker to ask another for a chunk, with nothing else going on.
    fn may_ask(&self, worker: usize, chunk: ChunkId) -> bool {
        let config = &self.workers[worker].config;
        config.max_asks > 0 && u64::from(chunk.length()) <= config.max_memory / 4
    }

    /// Lets time pass until nothing is under way.
    fn rest(&mut self) -> Result<(), Failure> {
        while let Some(at) = self.heap.next() {
            self.advance(at)?;
        }
        Ok(())
    }

    /// Has everything happen that is due until `end`.
    fn advance(&mut self, end: Instant) -> Result<(), Failure> {
        loop {
            self.journal.events += 1;
            let event = self.heap.next().filter(|at| *at <= end);
            let wakes = self.workers.iter().enumerate().filter_map(|(n, worker)| Some((worker.next_wake()?, n)));
            let wake = wakes.min().filter(|(at, _)| *at <= end);
            if self.journal.events > MAX_EVENTS || wake.is_some_and(|(at, _)| at < self.now) {
                return Err(self.failure("the machines come to rest", "they go round in circles".into()));
            }
            match (event, wake) {
                (Some(at), None) => self.happen(at)?,
                (Some(at), Some((wake, _))) if at <= wake => self.happen(at)?,
                (_, Some((wake, worker))) => {
                    self.now = wake;
                    self.workers[worker].with(|store| store.wake(wake));
                    self.drain(worker)?;
                }
                (None, None) => break,
            }
        }
        self.now = self.now.max(end);
        Ok(())
    }

    fn happen(&mut self, at: Instant) -> Result<(), Failure> {
        let (_, event) = self.heap.pop().expect("the caller saw it");
        self.now = at;
        match event {
            Event::Ask => self.live_on()?,
            Event::Crash(worker) => self.crash(worker),
            Event::Start(worker) => self.start(worker)?,
            Event::Heal(one, other) => {
                self.cut.remove(&(one, other));
            }
            Event::S3Back => self.s3_down = false,
            Event::Begin(worker, life, effect) if self.lives(worker, life) => self.begin(worker, life, effect),
            Event::Apply(worker, life, effect) => self.apply(worker, life, effect),
            Event::Reply(worker, life, done) if self.lives(worker, life) => {
                self.workers[worker].with(|store| store.done(at, done));
                self.drain(worker)?;
            }
            Event::Begin(..) | Event::Reply(..) => {}
            Event::Arrive(asked) => self.arrive(asked)?,
            Event::Answered(asked, answer) => self.answered(asked, answer)?,
        }
        self.judge(Happening::Other)
    }

    /// Somebody asks something, and something may befall the workers.
    fn live_on(&mut self) -> Result<(), Failure> {
        let count = self.workers.len() as u64;
        let (worker, other) = (self.rng.below(count) as usize, self.rng.below(count) as usize);
        if self.plan.strikes(Fault::Crash, &mut self.rng) {
            self.schedule(self.plan.pace, Event::Crash(worker));
        }
        if self.plan.strikes(Fault::StaleRing, &mut self.rng) {
            self.journal.fault(self.now, Fault::StaleRing);
            self.tell_ring(worker, &[other]);
        }
        if worker != other && self.plan.strikes(Fault::Partition, &mut self.rng) {
            self.journal.fault(self.now, Fault::Partition);
            self.cut.insert((worker, other));
            self.schedule(100 * STEP + 20 * self.plan.pace, Event::Heal(worker, other));
        }
        if !self.s3_down && self.plan.strikes(Fault::S3Down, &mut self.rng) {
            self.journal.fault(self.now, Fault::S3Down);
            self.s3_down = true;
            self.schedule(100 * STEP + 20 * self.plan.pace, Event::S3Back);
        }
        let chunk = POOL[self.rng.below(self.plan.chunks as u64) as usize].id();
        let puts = self.rng.one_in(3);
        self.ask(worker, chunk, puts)?;
        if self.rng.one_in(3) {
            let (now, reader) = (self.now, ReaderId(self.rng.below(3)));
            let next: Vec<ChunkId> = (0..self.rng.below(5))
                .map(|_| POOL[self.rng.below(self.plan.chunks as u64) as usize].id())
                .collect();
            self.workers[worker].with(|store| store.read_ahead(now, reader, &next));
            self.drain(worker)?;
        }
        self.plan.questions -= 1;
        if self.plan.questions > 0 {
            self.schedule(self.plan.pace, Event::Ask);
        }
        Ok(())
    }

    fn crash(&mut self, worker: usize) {
        if self.workers[worker].store.take().is_none() {
            return;
        }
        self.journal.fault(self.now, Fault::Crash);
        self.workers[worker].die();
        if self.plan.strikes(Fault::Wipe, &mut self.rng) {
            self.journal.fault(self.now, Fault::Wipe);
            self.workers[worker].disk.clear();
        }
        self.schedule(20 * self.plan.pace, Event::Start(worker));
    }

    fn start(&mut self, worker: usize) -> Result<(), Failure> {
        let mut config = self.plan.configs[worker].clone();
        if self.plant == Some(Plant::TooMuch) {
            (config.max_memory, config.max_asks) = (2 * config.max_memory, 2 * config.max_asks);
        }
        let mut store = Store::new(config);
        store.recovered(self.now, self.workers[worker].disk.iter().map(|chunk| (*chunk, Duration::ZERO)));
        self.workers[worker].store = Some(store);
        self.tell_ring(worker, &[]);
        self.drain(worker)
    }

    /// Tells a worker of all workers but some.
    fn tell_ring(&mut self, worker: usize, but: &[usize]) {
        let all = (0..self.workers.len()).filter(|n| !but.contains(n));
        let come = all.map(|n| Neighbour { name: name_of(n), capacity: CAPACITY, http: format!("http://{n}") });
        let news = WorkersNews { anew: true, come: come.collect(), gone: Vec::new() };
        self.workers[worker].with(|store| store.tell_of_workers(news));
    }

    fn ask(&mut self, worker: usize, chunk: ChunkId, puts: bool) -> Result<(), Failure> {
        if self.workers[worker].store.is_none() {
            return Ok(());
        }
        let (now, ticket) = (self.now, self.ticket());
        self.workers[worker].open.insert(ticket, (chunk, None));
        self.workers[worker].with(|store| match puts {
            true => store.put(now, ticket, chunk_of(chunk)),
            false => store.read(now, ticket, chunk, whole(chunk)),
        });
        self.drain(worker)
    }

    fn drain(&mut self, worker: usize) -> Result<(), Failure> {
        while let Some(output) = self.workers[worker].store.as_mut().and_then(Store::poll) {
            self.journal.trace.step(self.now, worker);
            self.journal.trace.text(&short(&output));
            self.journal.note(self.now, || format!("worker {worker} says {}", short(&output)));
            let life = self.workers[worker].life;
            match output {
                Output::Effect(effect) => self.schedule(STEP, Event::Begin(worker, life, effect)),
                Output::Fault(_) => {}
                Output::AskHome { ticket, chunk, home } => self.ask_home(worker, ticket, chunk, &home)?,
                Output::Answer(answer) => self.answer(worker, answer)?,
            }
        }
        Ok(())
    }

    fn answer(&mut self, worker: usize, answer: Answer) -> Result<(), Failure> {
        let (Answer::Data { ticket, .. } | Answer::Stored { ticket, .. }) = answer else {
            panic!("nobody asked for {answer:?}")
        };
        let Some((chunk, asked)) = self.workers[worker].open.remove(&ticket) else {
            let what = format!("{ticket:?} was answered twice");
            return Err(self.failure("every question is answered once", what));
        };
        self.judge(Happening::Said { worker, chunk, answer: &answer })?;
        let Some(asked) = asked else {
            let (good, bad) = &mut self.workers[worker].answered;
            match answer {
                Answer::Data { result: Ok(_), .. } => *good += 1,
                _ => *bad += 1,
            }
            return Ok(());
        };
        let Answer::Data { result, .. } = answer else { unreachable!("workers put nothing into each other") };
        let sent = match result {
            Ok(PartData::Blocks(_)) if self.plan.strikes(Fault::HomeBreaksOff, &mut self.rng) => {
                self.journal.fault(self.now, Fault::HomeBreaksOff);
                failed("the connection broke")
            }
            Ok(PartData::Blocks(_)) if self.plan.strikes(Fault::HomeLies, &mut self.rng) => {
                self.journal.fault(self.now, Fault::HomeLies);
                HomeAnswer::Lie(DiskError("other bytes".into()))
            }
            Ok(PartData::Blocks(data)) if data == *chunk_of(chunk).data() => HomeAnswer::Chunk(chunk_of(chunk)),
            Ok(_) => HomeAnswer::Lie(DiskError("other bytes".into())),
            Err(_) => HomeAnswer::NotThere,
        };
        self.answer_later(asked, sent);
        Ok(())
    }

    /// A question sets out, and patience begins.
    fn ask_home(&mut self, worker: usize, ticket: Ticket, chunk: ChunkId, home: &Home) -> Result<(), Failure> {
        let number = (0..self.workers.len()).find(|n| name_of(*n) == home.name).expect("one of them");
        let asked = Asked { asker: worker, ticket, life: self.workers[worker].life, chunk, home: number };
        self.workers[worker].asking.insert(ticket, chunk);
        self.judge(Happening::Asks { worker, chunk, home: number })?;
        if self.plant != Some(Plant::WaitsForEver) {
            self.heap.push(self.now + PATIENCE, Event::Answered(asked, failed("no answer in time")));
        }
        if self.plan.strikes(Fault::HomeBusy, &mut self.rng) {
            self.journal.fault(self.now, Fault::HomeBusy);
            self.answer_later(asked, HomeAnswer::Busy);
            return Ok(());
        }
        let slow = self.plan.strikes(Fault::HomeSlow, &mut self.rng);
        if slow {
            self.journal.fault(self.now, Fault::HomeSlow);
        }
        self.schedule(if slow { 1000 * STEP } else { STEP }, Event::Arrive(asked));
        Ok(())
    }

    fn arrive(&mut self, asked: Asked) -> Result<(), Failure> {
        let Asked { asker, chunk, home, .. } = asked;
        if self.is_cut(asker, home) {
            return Ok(());
        }
        if self.workers[home].store.is_none() {
            self.journal.fault(self.now, Fault::HomeDown);
            self.answer_later(asked, failed("connection refused"));
            return Ok(());
        }
        let (now, ticket) = (self.now, self.ticket());
        self.workers[home].open.insert(ticket, (chunk, Some(asked)));
        let plant = self.plant;
        self.workers[home].with(|store| match plant {
            Some(Plant::AsksForOthers) => store.read(now, ticket, chunk, whole(chunk)),
            _ => store.read_for_worker(now, ticket, chunk, whole(chunk)),
        });
        self.drain(home)
    }

    fn answer_later(&mut self, asked: Asked, answer: HomeAnswer) {
        self.schedule(STEP, Event::Answered(asked, answer));
    }

    fn answered(&mut self, asked: Asked, mut answer: HomeAnswer) -> Result<(), Failure> {
        let Asked { asker, ticket, life, chunk, home } = asked;
        let is_open = self.lives(asker, life) && self.workers[asker].asking.contains_key(&ticket);
        if !is_open || self.is_cut(asker, home) && !matches!(answer, HomeAnswer::Failed(_)) {
            return Ok(());
        }
        self.workers[asker].asking.remove(&ticket);
        self.judge(Happening::Answered { worker: asker, chunk, home, answer: &answer })?;
        if self.plant == Some(Plant::OverlooksLies) && matches!(answer, HomeAnswer::Lie(_)) {
            answer = HomeAnswer::NotThere;
        }
        let now = self.now;
        self.workers[asker].with(|store| store.home_answered(now, ticket, answer));
        self.drain(asker)
    }

    fn begin(&mut self, worker: usize, life: u64, effect: Effect) {
        let disk = &mut self.workers[worker].disk;
        let done = match effect {
            Effect::CacheRead { ticket, chunk, part } => {
                let found =
                    disk.contains(&chunk).then(|| part.of(&chunk_of(chunk)).expect("there is such a part"));
                let rots = self.plant == Some(Plant::ServesRot) && self.rng.one_in(4);
                let outcome = match found {
                    Some(PartData::Blocks(data)) if rots => {
                        Outcome::Read(PartData::Blocks(data.iter().map(|byte| !byte).collect()))
                    }
                    Some(data) => Outcome::Read(data),
                    None => Outcome::Failed(DiskError("no such file".into())),
                };
                (ticket, outcome)
            }
            Effect::CacheWrite { ticket, chunk } => {
                disk.insert(chunk.id());
                (ticket, Outcome::Done)
            }
            Effect::CacheRemove { ticket, chunk } => {
                disk.remove(&chunk);
                (ticket, Outcome::Done)
            }
            Effect::PutChunk { ticket, .. } if self.plant == Some(Plant::StoredTooEarly) => {
                self.schedule(10 * STEP, Event::Apply(worker, life, effect));
                (ticket, Outcome::Done)
            }
            effect => {
                let slow = self.plan.strikes(Fault::S3Slow, &mut self.rng);
                if slow {
                    self.journal.fault(self.now, Fault::S3Slow);
                }
                let most = if slow { 100 * STEP } else { STEP };
                return self.schedule(most, Event::Apply(worker, life, effect));
            }
        };
        self.reply(worker, life, done.0, done.1);
    }

    /// S3 does, or does not, what a worker asked that may be dead by now.
    fn apply(&mut self, worker: usize, life: u64, effect: Effect) {
        let ticket = match &effect {
            Effect::FetchChunk { ticket, .. }
            | Effect::PutChunk { ticket, .. }
            | Effect::Exists { ticket, .. } => *ticket,
            other => unreachable!("nobody asks S3 for {other:?}"),
        };
        let early = self.plant == Some(Plant::StoredTooEarly) && matches!(effect, Effect::PutChunk { .. });
        if self.s3_down {
            let done = EffectDone { ticket, outcome: Outcome::Failed(DiskError("S3 is down".into())) };
            if !early {
                self.heap.push(self.now + S3_DEADLINE, Event::Reply(worker, life, done));
            }
            return;
        }
        let mut outcome = match effect {
            _ if self.plan.strikes(Fault::S3Error, &mut self.rng) => {
                self.journal.fault(self.now, Fault::S3Error);
                Outcome::Failed(DiskError("S3 error".into()))
            }
            Effect::FetchChunk { chunk, .. } => Outcome::Chunk(self.s3.contains(&chunk).then(|| chunk_of(chunk))),
            Effect::PutChunk { chunk, .. } => {
                self.s3.insert(chunk.id());
                Outcome::Done
            }
            Effect::Exists { key: Key::Chunk(chunk), .. } => Outcome::Exists(self.s3.contains(&chunk)),
            other => unreachable!("nobody asks S3 for {other:?}"),
        };
        if matches!(outcome, Outcome::Done) && self.plan.strikes(Fault::AppliedButFailed, &mut self.rng) {
            self.journal.fault(self.now, Fault::AppliedButFailed);
            outcome = Outcome::Failed(DiskError("reset".into()));
        }
        if !early {
            self.reply(worker, life, ticket, outcome);
        }
    }

    fn reply(&mut self, worker: usize, life: u64, ticket: Ticket, outcome: Outcome) {
        self.schedule(STEP, Event::Reply(worker, life, EffectDone { ticket, outcome }));
    }

    fn lives(&self, worker: usize, life: u64) -> bool {
        self.workers[worker].store.is_some() && self.workers[worker].life == life
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one, other)) || self.cut.contains(&(other, one))
    }

    const fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Has `event` happen within `most` nanoseconds.
    fn schedule(&mut self, most: u64, event: Event) {
        let at = self.now + Duration::from_nanos(1 + self.rng.below(most.max(1)));
        self.heap.push(at, event);
    }

    fn judge(&mut self, happening: Happening<'_>) -> Result<(), Failure> {
        let mut oracles = std::mem::take(&mut self.oracles);
        let view = self.view();
        let verdict = oracles.iter_mut().try_for_each(|oracle| {
            oracle.watch(happening, &view).map_err(|what| self.failure(oracle.name(), what))
        });
        self.oracles = oracles;
        verdict
    }

    fn view(&self) -> View<'_> {
        View { now: self.now, workers: &self.workers, s3: &self.s3, s3_down: self.s3_down, healed: self.healed }
    }

    fn failure(&self, oracle: &'static str, what: String) -> Failure {
        Failure { oracle, what: format!("{what} (at {:?})", self.now) }
    }
}

fn whole(chunk: ChunkId) -> Part {
    Part::Blocks { first: 0, count: chunk.blocks() }
}

fn failed(why: &str) -> HomeAnswer {
    HomeAnswer::Failed(DiskError(why.into()))
}
