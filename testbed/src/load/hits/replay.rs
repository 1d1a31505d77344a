//! Requests to the real store, each for a whole chunk, by a driver that does at once whatever it is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use kollator_core::id::ChunkId;
use kollator_core::machine::Instant;
use kollator_core::merkle::VerifiedChunk;
use kollator_core::node::io::Ticket;
use kollator_core::store::{Answer, Config, Effect, EffectDone, Outcome, Output, Part, Store};

/// Time between two requests.
const PAUSE: Duration = Duration::from_millis(100);

struct World<'a> {
    store: Store,
    now: Instant,
    chunks: BTreeMap<ChunkId, &'a VerifiedChunk>,
    fetches: usize,
}

/// How many of the requests were answered without asking the backing store. The first for a chunk never is.
pub(super) fn hits(chunks: &[VerifiedChunk], trace: &[usize], cache_bytes: u64) -> usize {
    let config = Config { cache_bytes, scrub_rate: 0, ..Config::default() };
    let mut world = World {
        store: Store::new(config),
        now: Instant::ZERO,
        chunks: chunks.iter().map(|chunk| (chunk.id(), chunk)).collect(),
        fetches: 0,
    };
    let hits = trace.iter().filter(|&&object| {
        let before = world.fetches;
        world.request(&chunks[object]);
        world.now = world.now + PAUSE;
        world.fetches == before
    });
    let hits = hits.count();
    let cache = world.store.stats().cache;
    assert!(cache.bytes <= cache_bytes, "{} bytes are cached where {cache_bytes} may be", cache.bytes);
    hits
}

impl World<'_> {
    /// Reads a chunk as a peer does: its leaf hashes, then block by block.
    fn request(&mut self, chunk: &VerifiedChunk) {
        self.read(chunk, Part::Leaves);
        for first in 0..chunk.id().blocks() {
            self.read(chunk, Part::Blocks { first, count: 1 });
        }
    }

    fn read(&mut self, chunk: &VerifiedChunk, part: Part) {
        self.store.read(self.now, Ticket(0), chunk.id(), part);
        let mut answer = None;
        while let Some(output) = self.store.poll() {
            match output {
                Output::Effect(effect) => self.execute(effect),
                Output::AskHome { .. } => unreachable!("there is no other worker"),
                Output::Answer(Answer::Data { result, .. }) => answer = Some(result),
                Output::Answer(other) => panic!("nobody asked for {other:?}"),
                Output::Fault(fault) => panic!("{fault}"),
            }
        }
        let right = part.of(chunk).expect("it has such a part");
        assert_eq!(answer, Some(Ok(right)), "{} {part:?}", chunk.id());
    }

    fn execute(&mut self, effect: Effect) {
        let (ticket, outcome) = match effect {
            Effect::CacheRead { ticket, chunk, part } => {
                (ticket, Outcome::Read(part.of(self.chunks[&chunk]).expect("the store checked that")))
            }
            Effect::CacheWrite { ticket, .. } | Effect::CacheRemove { ticket, .. } => (ticket, Outcome::Done),
            Effect::FetchChunk { ticket, chunk } => {
                self.fetches += 1;
                (ticket, Outcome::Chunk(Some(self.chunks[&chunk].clone())))
            }
            other => panic!("nobody asked for {other:?}"),
        };
        self.store.done(self.now, EffectDone { ticket, outcome });
    }
}
