//! What home workers save: the stores of some workers read one trace, each request at one of them, with a driver that
//! does everything at once. Counts reads of the backing store; measures no time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::machine::{Instant, Rng};
use kollator_core::merkle::{VerifiedChunk, leaves, root};
use kollator_core::node::io::Ticket;
use kollator_core::store::{
    Answer, Config, Effect, EffectDone, HomeAnswer, Outcome, Output, Part, Store, cached_len,
};
use kollator_core::wire::signal::{Neighbour, WorkersNews};

use super::zipf::Zipf;

/// Bytes of a chunk here. Everything else is in proportion, so it makes no difference.
const LENGTH: u32 = 1024;

/// What is to be read, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Workers.
    pub workers: usize,
    /// Chunks that the cache of each holds.
    pub cached: usize,
    /// Chunks that the memory of each holds.
    pub in_memory: usize,
    /// Chunks that there are.
    pub chunks: usize,
    /// Requests of all clients together.
    pub requests: usize,
    /// Exponent of Zipf's law.
    pub exponent: f64,
    /// Time between two requests.
    pub every: Duration,
    /// Decides the trace, and which worker each request goes to.
    pub seed: u64,
    /// How often a chunk must come from its home before it is cached elsewhere; `None`: homes are not asked at all.
    pub keep_after: Option<u32>,
}

/// What it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Requests that the worker which got them answered by itself, out of cache or memory.
    pub local: u64,
    /// Chunks that came from another worker.
    pub from_homes: u64,
    /// Chunks read from the backing store, by all workers together.
    pub from_backing: u64,
    /// Chunks that are in some cache at the end, each counted once.
    pub distinct: usize,
}

struct Worker {
    store: Store,
    disk: BTreeMap<ChunkId, VerifiedChunk>,
}

/// A question of one worker to another: who asked, under which ticket, for which chunk.
type Asked = (usize, Ticket, ChunkId);

struct World {
    chunks: BTreeMap<ChunkId, VerifiedChunk>,
    workers: Vec<Worker>,
    now: Instant,
    next: u64,
    /// What workers are asked on behalf of others.
    asked: BTreeMap<Ticket, Asked>,
    outcomes: Outcomes,
}

/// Reads a trace.
///
/// # Panics
/// If there are no workers or no chunks, or a request has no answer.
#[must_use]
pub fn read_trace(trial: Trial) -> Outcomes {
    let chunks: Vec<VerifiedChunk> = (0..trial.chunks).map(chunk).collect();
    let size = cached_len(chunks[0].id());
    let workers = (0..trial.workers).map(|n| {
        let mut store = Store::new(Config {
            name: format!("w{n}"),
            cache_bytes: size * trial.cached as u64,
            scrub_rate: 0,
            max_memory: u64::from(LENGTH) * trial.in_memory as u64,
            max_asks: if trial.keep_after.is_some() { Config::default().max_asks } else { 0 },
            keep_after: trial.keep_after.unwrap_or(1),
            ..Config::default()
        });
        let all = (0..trial.workers).map(|n| Neighbour {
            name: format!("w{n}"),
            capacity: 100,
            http: format!("http://w{n}"),
        });
        store.tell_of_workers(WorkersNews { anew: true, come: all.collect(), gone: Vec::new() });
        Worker { store, disk: BTreeMap::new() }
    });
    let mut world = World {
        workers: workers.collect(),
        chunks: chunks.iter().map(|chunk| (chunk.id(), chunk.clone())).collect(),
        now: Instant::ZERO,
        next: 0,
        asked: BTreeMap::new(),
        outcomes: Outcomes::default(),
    };
    let mut rng = Rng::new(trial.seed.wrapping_add(1));
    for n in Zipf::new(trial.chunks, trial.exponent).trace(trial.requests, trial.seed) {
        let worker = rng.below(trial.workers as u64) as usize;
        world.now = world.now + trial.every;
        world.read(worker, chunks[n].id());
    }
    let cached = world.workers.iter().flat_map(|worker| worker.store.cached());
    let distinct: std::collections::BTreeSet<ChunkId> = cached.collect();
    Outcomes { distinct: distinct.len(), ..world.outcomes }
}

impl World {
    fn read(&mut self, worker: usize, chunk: ChunkId) {
        for worker in &mut self.workers {
            if worker.store.next_wake().is_some_and(|at| at <= self.now) {
                worker.store.wake(self.now);
            }
        }
        let before = (self.outcomes.from_homes, self.outcomes.from_backing);
        let ticket = self.ticket();
        let mut answered = false;
        self.workers[worker].store.read(self.now, ticket, chunk, whole(chunk));
        let mut stirred: VecDeque<usize> = (0..self.workers.len()).collect();
        while let Some(worker) = stirred.pop_front() {
            while let Some(output) = self.workers[worker].store.poll() {
                match output {
                    Output::Effect(effect) => {
                        let done = self.execute(worker, effect);
                        self.workers[worker].store.done(self.now, done);
                    }
                    Output::AskHome { ticket, chunk, home } => {
                        let number: usize = home.name[1..].parse().expect("w and a number");
                        let theirs = self.ticket();
                        self.asked.insert(theirs, (worker, ticket, chunk));
                        self.workers[number].store.read_for_worker(self.now, theirs, chunk, whole(chunk));
                        stirred.push_back(number);
                    }
                    Output::Answer(Answer::Data { ticket, result }) => match self.asked.remove(&ticket) {
                        None => answered = result.is_ok(),
                        Some((asker, ticket, chunk)) => {
                            let answer = match result {
                                Ok(_) => HomeAnswer::Chunk(self.chunks[&chunk].clone()),
                                Err(_) => HomeAnswer::NotThere,
                            };
                            self.outcomes.from_homes += u64::from(matches!(answer, HomeAnswer::Chunk(_)));
                            self.workers[asker].store.home_answered(self.now, ticket, answer);
                            stirred.push_back(asker);
                        }
                    },
                    other => panic!("nobody wanted {other:?}"),
                }
            }
        }
        assert!(answered, "a request has no answer");
        self.outcomes.local += u64::from(before == (self.outcomes.from_homes, self.outcomes.from_backing));
    }

    fn execute(&mut self, worker: usize, effect: Effect) -> EffectDone {
        let disk = &mut self.workers[worker].disk;
        let (ticket, outcome) = match effect {
            Effect::CacheRead { ticket, chunk, part } => {
                (ticket, Outcome::Read(part.of(&disk[&chunk]).expect("there is such a part")))
            }
            Effect::CacheWrite { ticket, chunk } => {
                disk.insert(chunk.id(), chunk);
                (ticket, Outcome::Done)
            }
            Effect::CacheRemove { ticket, chunk } => {
                disk.remove(&chunk);
                (ticket, Outcome::Done)
            }
            Effect::FetchChunk { ticket, chunk } => {
                self.outcomes.from_backing += 1;
                (ticket, Outcome::Chunk(Some(self.chunks[&chunk].clone())))
            }
            other => panic!("nobody wanted {other:?}"),
        };
        EffectDone { ticket, outcome }
    }

    const fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }
}

fn whole(chunk: ChunkId) -> Part {
    Part::Blocks { first: 0, count: chunk.blocks() }
}

fn chunk(n: usize) -> VerifiedChunk {
    let mut data = vec![0; LENGTH as usize];
    data[..8].copy_from_slice(&(n as u64).to_be_bytes());
    let data = Bytes::from(data);
    let id = ChunkId::new(root(&leaves(&data), 0, Digest::default()), LENGTH, 0).expect("a legal chunk");
    VerifiedChunk::verify(id, data).expect("hashed just now")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIAL: Trial = Trial {
        workers: 3,
        cached: 75,
        in_memory: 10,
        chunks: 225,
        requests: 10_000,
        exponent: 0.9,
        every: Duration::from_millis(100),
        seed: 1,
        keep_after: Some(2),
    };

    /// Each worker for itself reads what it lacks from the backing store; together they read less than half of that.
    #[test]
    fn homes_save_most_reads_of_the_backing_store() {
        let apart = read_trace(Trial { keep_after: None, ..TRIAL });
        let together = read_trace(TRIAL);
        assert_eq!((apart.local + apart.from_backing, apart.from_homes), (10_000, 0));
        assert!(2 * together.from_backing < apart.from_backing, "{together:?} {apart:?}");
        assert!(together.distinct > apart.distinct, "{together:?} {apart:?}");
        // A copy of everything that was ever asked for leaves less room for different chunks.
        let copies = read_trace(Trial { keep_after: Some(1), ..TRIAL });
        assert!(together.from_backing < copies.from_backing, "{together:?} {copies:?}");
    }

    #[test]
    fn one_worker_is_its_own_home() {
        let alone = Trial { workers: 1, ..TRIAL };
        assert_eq!(read_trace(alone), read_trace(Trial { keep_after: None, ..alone }));
    }
}
