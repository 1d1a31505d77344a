//! The world of one store: its driver, its callers, its disk, its S3, and what befalls them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest, InfoHash};
use kollator_core::machine::{Instant, Rng};
use kollator_core::merkle::{VerifiedChunk, height_for, leaves, root, sha256};
use kollator_core::node::io::{DiskError, Ticket};
use kollator_core::store::{Answer, Effect, EffectDone, Key, Outcome, Output, Part, PartData, ReaderId, Store};

use super::disk::{Disk, File, Stage};
use super::oracle::{self, Happening, Oracle, Question, View};
use super::plan::{Fault, Plan, Plant};
use crate::heap::EventHeap;
use crate::report::{Failure, Report};
use crate::simulation::{Journal, Log, Run, Simulation, live_through, short};

/// Most events in a run: more means that something goes round in circles.
const MAX_EVENTS: u64 = 100_000;
/// Time after which a healed world has nothing left to try again.
const SETTLED: Duration = Duration::from_secs(3);
/// Longest time that a step of the disk or of S3 takes, in nanoseconds.
const STEP: u64 = 1_000_000;

/// Chunks of all runs: hashed once.
pub(crate) static POOL: LazyLock<Vec<VerifiedChunk>> = LazyLock::new(|| {
    const LENGTHS: [u32; 8] = [1, 5, 64, 100, 1_000, 16_384, 16_385, 20_000];
    let chunk = |n: u32| {
        let data: Bytes = (0..LENGTHS[n as usize % LENGTHS.len()]).map(|i| (i * 7 + n * 31) as u8).collect();
        let hashes = leaves(&data);
        let height = height_for(hashes.len() as u64);
        let id = ChunkId::new(root(&hashes, height, Digest::default()), data.len() as u32, height);
        VerifiedChunk::verify(id.expect("a legal chunk"), data).expect("hashed just now")
    };
    (0..24).map(chunk).collect()
});

/// The store of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Stores;

impl Simulation for Stores {
    const NAME: &'static str = "stores";
    type Fault = Fault;
    type Plant = Plant;

    fn run(seed: u64, plant: Option<Plant>, log: Option<Log>) -> Report<Fault> {
        live_through(seed, World::new(seed, plant, oracle::all(), log))
    }
}

impl Stores {
    /// Runs what `seed` decides with one judge alone, so that it is not the others who notice the bug.
    #[must_use]
    pub fn run_with_judge(judge: &str, seed: u64, plant: Plant) -> Report<Fault> {
        let oracles = oracle::all().into_iter().filter(|oracle| oracle.name() == judge).collect();
        live_through(seed, World::new(seed, Some(plant), oracles, None))
    }
}

enum Event {
    Ask,
    Crash,
    Wipe,
    Rot,
    /// The driver begins with an effect.
    Begin(Effect),
    /// A write to the cache goes one step further.
    Write(Ticket, ChunkId),
    /// S3 does what it was asked.
    Apply(Effect),
    /// The driver says how it went.
    Reply(EffectDone),
}

struct World {
    plan: Plan,
    plant: Option<Plant>,
    rng: Rng,
    now: Instant,
    heap: EventHeap<(u64, Event)>,
    /// Which life of the process this is.
    life: u64,
    store: Store,
    disk: Disk,
    chunks: BTreeSet<ChunkId>,
    torrents: BTreeMap<InfoHash, Bytes>,
    open: BTreeMap<Ticket, Question>,
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
        let mut world = Self {
            store: Store::new(plan.config.clone()),
            plan,
            plant,
            rng,
            now: Instant::ZERO,
            heap: EventHeap::new(),
            life: 0,
            disk: Disk::default(),
            chunks: BTreeSet::new(),
            torrents: BTreeMap::new(),
            open: BTreeMap::new(),
            next_ticket: 0,
            healed: false,
            oracles,
            journal: Journal::new(log),
        };
        world.boot();
        world
    }

    fn run(&mut self) -> Result<(), Failure> {
        self.schedule(0, Event::Ask);
        while let Some(at) = self.heap.next() {
            self.advance(at)?;
        }
        self.plan.heal();
        self.settle()?;
        self.healed = true;
        self.read_everything()?;
        self.reboot();
        self.read_everything()?;
        match self.open.values().next() {
            Some(question) => Err(self.failure("every question is answered", format!("{question:?} was not"))),
            None => Ok(()),
        }
    }

    /// Reads every chunk, one after the other, and then has the oracles look at a world at rest.
    fn read_everything(&mut self) -> Result<(), Failure> {
        for chunk in POOL.iter().take(self.plan.chunks) {
            self.ask(Question::Read(chunk.id(), Part::Leaves))?;
            self.rest()?;
        }
        let mut oracles = std::mem::take(&mut self.oracles);
        for oracle in &mut oracles {
            oracle.healed(&self.view()).map_err(|what| self.failure(oracle.name(), what))?;
        }
        self.oracles = oracles;
        Ok(())
    }

    /// Lets time pass until nothing is under way or to be tried again.
    fn settle(&mut self) -> Result<(), Failure> {
        let end = self.now + SETTLED;
        self.advance(end)?;
        self.rest()
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
            let event = self.heap.next().filter(|&at| at <= end);
            let wake = self.store.next_wake().filter(|&at| at <= end);
            self.journal.events += 1;
            if self.journal.events > MAX_EVENTS || wake.is_some_and(|at| at < self.now) {
                return Err(self.failure("the machine comes to rest", "it goes round in circles".into()));
            }
            match (event, wake) {
                (Some(at), None) => self.happen(at)?,
                (Some(at), Some(wake)) if at <= wake => self.happen(at)?,
                (_, Some(wake)) => {
                    self.now = wake;
                    self.store.wake(wake);
                    self.drain()?;
                }
                (None, None) => break,
            }
        }
        self.now = self.now.max(end);
        Ok(())
    }

    fn happen(&mut self, at: Instant) -> Result<(), Failure> {
        let (_, (life, event)) = self.heap.pop().expect("the caller saw it");
        self.now = at;
        let lives = life == self.life;
        match event {
            Event::Ask => self.live()?,
            Event::Crash => {
                self.journal.fault(self.now, Fault::Crash);
                self.reboot();
            }
            Event::Wipe => {
                self.journal.fault(self.now, Fault::Wipe);
                self.disk.files.clear();
                self.disk.writes.clear();
            }
            Event::Rot => {
                let number = self.rng.below(self.disk.files.len().max(1) as u64) as usize;
                if let Some(file) = self.disk.files.values_mut().nth(number) {
                    file.right = false;
                }
            }
            Event::Begin(effect) if lives => self.begin(effect),
            Event::Write(ticket, chunk) if lives => self.write(ticket, chunk),
            Event::Apply(effect) => self.apply(effect, lives),
            Event::Reply(done) if lives => {
                self.store.done(at, done);
                self.drain()?;
            }
            Event::Begin(_) | Event::Write(..) | Event::Reply(_) => {}
        }
        self.judge(Happening::Other)
    }

    /// Somebody asks something, and something may befall the process.
    fn live(&mut self) -> Result<(), Failure> {
        for (fault, event) in [(Fault::Crash, Event::Crash), (Fault::Wipe, Event::Wipe), (Fault::Rot, Event::Rot)]
        {
            let spared = fault == Fault::Rot && self.plant == Some(Plant::RecoversTorn);
            if !spared && self.plan.strikes(fault, &mut self.rng) {
                self.schedule(self.plan.pace, event);
            }
        }
        let chunk = POOL[self.rng.below(self.plan.chunks as u64) as usize].id();
        let torrent = self.rng.below(6) as u8;
        let question = match self.rng.below(10) {
            0..=3 => {
                let first = self.rng.below(u64::from(chunk.blocks())) as u16;
                let count = 1 + self.rng.below(2) as u16;
                let part = if self.rng.one_in(3) { Part::Leaves } else { Part::Blocks { first, count } };
                Question::Read(chunk, part)
            }
            4..=6 => Question::Put(chunk),
            7 => Question::Contains(chunk),
            8 => Question::Torrent(torrent),
            _ => Question::PutTorrent(torrent),
        };
        self.ask(question)?;
        if self.rng.one_in(3) {
            let reader = ReaderId(self.rng.below(3));
            let next: Vec<ChunkId> = (0..self.rng.below(5))
                .map(|_| POOL[self.rng.below(self.plan.chunks as u64) as usize].id())
                .collect();
            self.store.read_ahead(self.now, reader, &next);
            self.drain()?;
        }
        self.plan.questions -= 1;
        if self.plan.questions > 0 {
            self.schedule(self.plan.pace, Event::Ask);
        }
        Ok(())
    }

    fn ask(&mut self, question: Question) -> Result<(), Failure> {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.open.insert(ticket, question);
        match question {
            Question::Read(chunk, part) => self.store.read(self.now, ticket, chunk, part),
            Question::Put(chunk) => self.store.put(self.now, ticket, chunk_of(chunk)),
            Question::Contains(chunk) => self.store.contains(self.now, ticket, chunk),
            Question::Torrent(number) => self.store.torrent(self.now, ticket, torrent_of(number).0),
            Question::PutTorrent(number) => {
                let (info_hash, ko) = torrent_of(number);
                self.store.put_torrent(self.now, ticket, info_hash, ko);
            }
        }
        self.drain()
    }

    fn drain(&mut self) -> Result<(), Failure> {
        while let Some(output) = self.store.poll() {
            self.journal.trace.word(self.now.as_nanos());
            self.journal.trace.said(&output);
            self.journal.note(self.now, || format!("the store says {}", short(&output)));
            match output {
                Output::Effect(effect) => self.schedule(STEP, Event::Begin(effect)),
                Output::AskHome { .. } => unreachable!("this worker is alone"),
                Output::Fault(_) => {}
                Output::Answer(answer) => {
                    let ticket = match &answer {
                        Answer::Data { ticket, .. }
                        | Answer::Stored { ticket, .. }
                        | Answer::Contains { ticket, .. }
                        | Answer::Torrent { ticket, .. } => *ticket,
                    };
                    let Some(question) = self.open.remove(&ticket) else {
                        let what = format!("{ticket:?} was answered twice");
                        return Err(self.failure("every question is answered once", what));
                    };
                    self.judge(Happening::Answered(question, &answer))?;
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, effect: Effect) {
        match effect {
            Effect::CacheRead { ticket, chunk, part } => {
                let outcome = self.read_file(chunk, part);
                self.reply(ticket, outcome);
            }
            Effect::CacheVerify { ticket, chunk } => {
                let outcome = self.verify_file(chunk);
                self.reply(ticket, outcome);
            }
            Effect::CacheWrite { ticket, chunk } => {
                self.disk.writes.insert(chunk.id(), Stage::Created);
                self.schedule(STEP, Event::Write(ticket, chunk.id()));
            }
            Effect::CacheRemove { ticket, chunk } => {
                let fails = self.plan.strikes(Fault::RemoveFailed, &mut self.rng);
                let stays = self.plant == Some(Plant::NeverRemoves) || (fails && self.rng.one_in(2));
                if !stays {
                    self.disk.files.remove(&chunk);
                }
                let outcome = match fails {
                    true => self.fail(Fault::RemoveFailed),
                    false => Outcome::Done,
                };
                self.reply(ticket, outcome);
            }
            Effect::PutChunk { ticket, .. } if self.plant == Some(Plant::StoredTooEarly) => {
                self.reply(ticket, Outcome::Done);
                self.schedule(10 * STEP, Event::Apply(effect));
            }
            _ => {
                let slow = self.plan.strikes(Fault::S3Slow, &mut self.rng);
                if slow {
                    self.journal.fault(self.now, Fault::S3Slow);
                }
                self.schedule(if slow { 100 * STEP } else { STEP }, Event::Apply(effect));
            }
        }
    }

    fn read_file(&mut self, chunk: ChunkId, part: Part) -> Outcome {
        let Some(file) = self.disk.files.get_mut(&chunk) else {
            return Outcome::Failed(DiskError("no such file".into()));
        };
        file.used = self.now;
        let data = part.of(&chunk_of(chunk)).expect("the store asks for parts that there are");
        if file.right {
            return Outcome::Read(data);
        }
        if matches!(self.plant, Some(Plant::ServesRot | Plant::RecoversTorn)) {
            return Outcome::Read(match data {
                PartData::Leaves(leaves) => PartData::Leaves(vec![Digest::default(); leaves.len()]),
                PartData::Blocks(blocks) => PartData::Blocks(blocks.iter().map(|byte| !byte).collect()),
            });
        }
        self.journal.fault(self.now, Fault::Rot);
        Outcome::Corrupt(DiskError("it is not as it was written".into()))
    }

    fn verify_file(&mut self, chunk: ChunkId) -> Outcome {
        match self.disk.files.get(&chunk) {
            None => Outcome::Failed(DiskError("no such file".into())),
            Some(file) if file.right || self.plant == Some(Plant::OverlooksRot) => Outcome::Done,
            Some(_) => {
                self.journal.fault(self.now, Fault::Rot);
                Outcome::Corrupt(DiskError("it is not as it was written".into()))
            }
        }
    }

    fn write(&mut self, ticket: Ticket, chunk: ChunkId) {
        let next = match self.disk.writes.get(&chunk) {
            // Somebody emptied the folder meanwhile.
            None => return self.reply(ticket, Outcome::Failed(DiskError("the file is gone".into()))),
            Some(Stage::Created) => Stage::Half,
            Some(Stage::Half) => Stage::Whole,
            Some(Stage::Whole) => Stage::Named,
            Some(Stage::Named) => {
                self.disk.writes.remove(&chunk);
                return self.reply(ticket, Outcome::Done);
            }
        };
        if self.plan.strikes(Fault::WriteFailed, &mut self.rng) {
            self.disk.writes.remove(&chunk);
            let outcome = self.fail(Fault::WriteFailed);
            return self.reply(ticket, outcome);
        }
        self.disk.writes.insert(chunk, next);
        if next == Stage::Named {
            self.disk.files.insert(chunk, File { right: true, used: self.now });
        }
        self.schedule(STEP, Event::Write(ticket, chunk));
    }

    /// S3 does, or does not, what a process asked that may be dead by now.
    fn apply(&mut self, effect: Effect, lives: bool) {
        if !lives {
            if !self.plan.strikes(Fault::AppliedAfterDeath, &mut self.rng) {
                return;
            }
            self.journal.fault(self.now, Fault::AppliedAfterDeath);
        } else if self.plan.strikes(Fault::S3Error, &mut self.rng) {
            let outcome = self.fail(Fault::S3Error);
            return self.reply(ticket_of(&effect), outcome);
        }
        let ticket = ticket_of(&effect);
        let mut outcome = match effect {
            Effect::FetchChunk { chunk, .. } => {
                Outcome::Chunk(self.chunks.contains(&chunk).then(|| chunk_of(chunk)))
            }
            Effect::FetchTorrent { info_hash, .. } => Outcome::Torrent(self.torrents.get(&info_hash).cloned()),
            Effect::PutChunk { chunk, .. } => {
                self.chunks.insert(chunk.id());
                Outcome::Done
            }
            Effect::PutTorrent { info_hash, ko, .. } => {
                self.torrents.insert(info_hash, ko);
                Outcome::Done
            }
            Effect::Exists { key, .. } => Outcome::Exists(match key {
                Key::Chunk(chunk) => self.chunks.contains(&chunk),
                Key::Torrent(info_hash) => self.torrents.contains_key(&info_hash),
            }),
            Effect::CacheRead { .. }
            | Effect::CacheWrite { .. }
            | Effect::CacheRemove { .. }
            | Effect::CacheVerify { .. } => {
                unreachable!("the cache is not in S3")
            }
        };
        let wrong = match outcome {
            Outcome::Done => Some(Fault::AppliedButFailed),
            Outcome::Chunk(Some(_)) | Outcome::Torrent(Some(_)) => Some(Fault::S3Lie),
            _ => None,
        };
        if let Some(fault) = wrong.filter(|&fault| self.plan.strikes(fault, &mut self.rng)) {
            outcome = self.fail(fault);
        }
        if lives {
            self.reply(ticket, outcome);
        }
    }

    /// The process dies and starts again.
    fn reboot(&mut self) {
        self.disk.crash(&mut self.rng, &mut self.journal.fired);
        self.life += 1;
        self.open.clear();
        self.boot();
    }

    fn boot(&mut self) {
        let mut config = self.plan.config.clone();
        if self.plant == Some(Plant::TooMuchMemory) {
            config.max_memory *= 2;
        }
        self.store = Store::new(config);
        self.store.recovered(self.now, self.disk.recover(self.now, self.plant));
        self.drain().expect("recovery answers nobody");
    }

    fn fail(&mut self, fault: Fault) -> Outcome {
        self.journal.fault(self.now, fault);
        Outcome::Failed(DiskError(format!("{fault:?}")))
    }

    fn reply(&mut self, ticket: Ticket, outcome: Outcome) {
        self.schedule(STEP, Event::Reply(EffectDone { ticket, outcome }));
    }

    /// Has `event` happen within `most` nanoseconds.
    fn schedule(&mut self, most: u64, event: Event) {
        let at = self.now + Duration::from_nanos(1 + self.rng.below(most.max(1)));
        self.heap.push(at, (self.life, event));
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
        View {
            now: self.now,
            life: self.life,
            store: &self.store,
            config: &self.plan.config,
            disk: &self.disk,
            s3: &self.chunks,
            healed: self.healed,
            truth: &POOL,
        }
    }

    fn failure(&self, oracle: &'static str, what: String) -> Failure {
        Failure { oracle, what: format!("{what} (at {:?})", self.now) }
    }
}

/// A chunk of the pool.
pub(crate) fn chunk_of(id: ChunkId) -> VerifiedChunk {
    POOL.iter().find(|chunk| chunk.id() == id).expect("there are no other chunks").clone()
}

fn torrent_of(number: u8) -> (InfoHash, Bytes) {
    (InfoHash(sha256(&[number])), Bytes::from(vec![number; 30 + 10 * usize::from(number)]))
}

const fn ticket_of(effect: &Effect) -> Ticket {
    match effect {
        Effect::CacheRead { ticket, .. }
        | Effect::CacheWrite { ticket, .. }
        | Effect::CacheRemove { ticket, .. }
        | Effect::CacheVerify { ticket, .. }
        | Effect::FetchChunk { ticket, .. }
        | Effect::FetchTorrent { ticket, .. }
        | Effect::PutChunk { ticket, .. }
        | Effect::PutTorrent { ticket, .. }
        | Effect::Exists { ticket, .. } => *ticket,
    }
}
