//! Cached chunks are verified one at a time, at the set rate, and restored when they are wrong.

use std::time::Duration;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::machine::Instant;
use kollator_core::merkle::{VerifiedChunk, height_for, leaves, root};
use kollator_core::node::io::DiskError;
use kollator_core::store::{Config, Effect, EffectDone, Outcome, Output, SCRUB_LEAST, Store, cached_len};

/// Bytes verified a second.
const RATE: u64 = 10_000;
const LENGTHS: [u32; 3] = [1, 20_000, 100_000];

#[test]
fn a_round_takes_what_the_rate_says_and_sees_every_chunk_once() {
    let (mut store, mut now) = (cached(RATE), Instant::ZERO);
    let mut took = Vec::new();
    for round in 0..3 {
        let mut seen: Vec<ChunkId> = Vec::new();
        for _ in LENGTHS {
            let [Effect::CacheVerify { ticket, chunk }] = effects(&mut store)[..] else { panic!("round {round}") };
            assert_eq!(store.next_wake().filter(|at| *at < now + Duration::from_secs(60)), None, "two at once");
            seen.push(chunk);
            store.done(now, EffectDone { ticket, outcome: Outcome::Done });
            let next = store.next_wake().expect("there is always one to verify");
            took.push((chunk, next.since(now)));
            now = next;
            store.wake(now);
        }
        seen.sort();
        let mut all = LENGTHS.map(|length| chunk(length).id());
        all.sort();
        assert_eq!(seen, all);
    }
    for (chunk, took) in took {
        let bytes = cached_len(chunk).max(SCRUB_LEAST);
        assert_eq!(took, Duration::from_nanos(bytes * 1_000_000_000 / RATE));
    }
    assert_eq!(store.stats().cache_verified, 9);
    assert_eq!(store.stats().cache.hits, 0, "nobody read them");
}

#[test]
fn a_wrong_one_is_removed_and_fetched_again_at_once() {
    let mut store = cached(RATE);
    let wrong = Outcome::Corrupt(DiskError("rotten".into()));
    let [Effect::CacheVerify { ticket, chunk: victim }] = effects(&mut store)[..] else { panic!("not verified") };
    store.done(Instant::ZERO, EffectDone { ticket, outcome: wrong });
    assert!(store.cached().all(|chunk| chunk != victim));
    let next = effects(&mut store);
    let [Effect::CacheRemove { ticket: removal, .. }, Effect::FetchChunk { ticket, chunk: fetched }] = next[..]
    else {
        panic!("{next:?}")
    };
    assert_eq!(fetched, victim);
    let data = LENGTHS.map(chunk).into_iter().find(|chunk| chunk.id() == victim);
    store.done(Instant::ZERO, EffectDone { ticket, outcome: Outcome::Chunk(data) });
    assert!(effects(&mut store).is_empty(), "it is still being removed");
    store.done(Instant::ZERO, EffectDone { ticket: removal, outcome: Outcome::Done });
    let next = effects(&mut store);
    let [Effect::CacheWrite { ticket, .. }] = next[..] else { panic!("{next:?}") };
    store.done(Instant::ZERO, EffectDone { ticket, outcome: Outcome::Done });
    assert!(store.cached().any(|chunk| chunk == victim));
    let stats = store.stats();
    assert_eq!((stats.cache_corrupt, stats.faults, stats.memory), (1, 1, 0));
}

#[test]
fn a_rate_of_zero_verifies_nothing() {
    let mut store = cached(0);
    assert!(effects(&mut store).is_empty());
}

/// A store whose cache holds one chunk of each length.
fn cached(scrub_rate: u64) -> Store {
    let mut store = Store::new(Config { scrub_rate, ..Config::default() });
    store.recovered(Instant::ZERO, LENGTHS.map(|length| (chunk(length).id(), Duration::ZERO)));
    store
}

fn effects(store: &mut Store) -> Vec<Effect> {
    let mut effects = Vec::new();
    while let Some(output) = store.poll() {
        if let Output::Effect(effect) = output {
            effects.push(effect);
        }
    }
    effects
}

fn chunk(length: u32) -> VerifiedChunk {
    let data = Bytes::from(vec![7; length as usize]);
    let hashes = leaves(&data);
    let height = height_for(hashes.len() as u64);
    let id = ChunkId::new(root(&hashes, height, Digest::default()), length, height).expect("a legal chunk");
    VerifiedChunk::verify(id, data).expect("hashed just now")
}
