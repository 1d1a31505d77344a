//! The cache: what was written durably is found again and right, nothing else stays, and the bound holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use kollator_core::id::ChunkId;
use kollator_core::merkle::VerifiedChunk;
use kollator_core::node::io::DiskError;
use kollator_core::store::{Key, cached_len};

use super::journal::{Change, Event, Flaw, Journal};
use super::power::{Allowed, cut_everywhere};
use super::world::{World, bytes, files};
use super::{FAILURES, FLAWS, chunk};
use crate::blocking::Blocking;
use crate::storage::{Backing as _, CacheDir, DirBacking, PutMode, cache_file};

/// Where the cache is, in a folder that is there before it.
const CACHE: &str = "cache";

fn chunks() -> [VerifiedChunk; 3] {
    [chunk(0, 300), chunk(1, 20_000), chunk(2, 5000)]
}

/// Room for two of them.
fn cache_bytes() -> u64 {
    let [_, large, small] = chunks();
    cached_len(large.id()) + cached_len(small.id())
}

fn name(chunk: ChunkId) -> PathBuf {
    Path::new(&format!("{:02x}", chunk.root().0[0])).join(cache_file::name(chunk))
}

fn content(chunk: &VerifiedChunk) -> Vec<u8> {
    [&chunk.data()[..], &cache_file::trailer(chunk)].concat()
}

/// A backing store that has all chunks.
fn backing(root: &Path) -> Arc<DirBacking> {
    let backing = DirBacking::open(root, Blocking::Inline).unwrap();
    for chunk in chunks() {
        let put = backing.put(Key::Chunk(chunk.id()), chunk.data().clone(), PutMode::Create);
        put.now_or_never().unwrap().unwrap();
    }
    Arc::new(backing)
}

/// Opens the cache in `base` as after a start, on a file system that takes no time to sync.
fn open(base: &Path) -> Result<(CacheDir, Vec<(ChunkId, Duration)>), DiskError> {
    CacheDir::open_on(Arc::new(Journal::new(base, None)), base.join(CACHE))
}

/// What a cache did from the beginning, with its changes.
fn events(flaw: Option<Flaw>) -> Vec<Event> {
    let base = tempfile::tempdir().unwrap();
    let journal = Journal::new(base.path(), flaw);
    let (cache, _) = CacheDir::open_on(Arc::new(journal.clone()), base.path().join(CACHE)).unwrap();
    let write = |chunk: &VerifiedChunk| {
        let path = Path::new(CACHE).join(name(chunk.id()));
        journal.note(Event::Begun(path.clone(), Some(content(chunk))));
        cache.write(chunk).unwrap();
        journal.note(Event::Done(path, Some(content(chunk))));
    };
    let remove = |chunk: &VerifiedChunk| {
        // Nobody promises that what was removed stays away.
        journal.note(Event::Begun(Path::new(CACHE).join(name(chunk.id())), None));
        cache.remove(chunk.id()).unwrap();
    };
    let [first, second, third] = chunks();
    write(&first);
    write(&second);
    remove(&first);
    write(&third);
    write(&first);
    remove(&second);
    journal.events()
}

/// Starts a worker's cache after each power cut. What is wrong first, or how many disks there were.
fn cut_power_everywhere(events: &[Event]) -> Result<usize, String> {
    let store = tempfile::tempdir().unwrap();
    let backing = backing(store.path());
    // The 256 folders are much alike.
    let skips = |number, change: &Change| matches!(change, Change::Folder(_)) && number % 100 != 1;
    cut_everywhere(events, skips, |base, allowed| judge(base, allowed, &backing))
}

fn judge(base: &Path, allowed: &Allowed, backing: &Arc<DirBacking>) -> Result<(), String> {
    let (cache, found) = open(base).map_err(|error| error.to_string())?;
    let there = files(base);
    let names: BTreeSet<PathBuf> = found.iter().map(|(chunk, _)| Path::new(CACHE).join(name(*chunk))).collect();
    if !there.keys().eq(&names) {
        return Err(format!("{names:?} was found, there is {:?}", there.keys()));
    }
    for path in there.keys().chain(allowed.keys()) {
        let content = there.get(path).cloned();
        let is_right = allowed.get(path).is_some_and(|contents| contents.contains(&content));
        if !is_right {
            return Err(format!("{} is {:?}", path.display(), content.map(|content| content.len())));
        }
    }
    live(cache, found, backing, &base.join(CACHE));
    Ok(())
}

/// Uses a cache as a worker does: whatever is read is right, the bound holds, and the count of its bytes is right.
fn live(cache: CacheDir, found: Vec<(ChunkId, Duration)>, backing: &Arc<DirBacking>, root: &Path) {
    let backing = Arc::clone(backing);
    let mut world = World::start(cache, found, backing, cache_bytes());
    assert_counted(&world, root);
    chunks().iter().for_each(|chunk| world.read(chunk));
    assert_counted(&world, root);
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

/// The files are those that the store counts, and right.
fn assert_counted(world: &World, root: &Path) {
    let there = files(root);
    let cached: BTreeMap<PathBuf, Vec<u8>> = world
        .store
        .cached()
        .map(|id| (name(id), content(chunks().iter().find(|chunk| chunk.id() == id).expect("one of them"))))
        .collect();
    assert!(there == cached, "{:?} is cached, there is {:?}", cached.keys(), there.keys());
    assert_eq!(bytes(&there), world.store.stats().cache.bytes);
    assert!(bytes(&there) <= cache_bytes());
}

#[test]
fn a_power_cut_at_any_change_loses_nothing_durable_and_leaves_nothing_wrong() {
    let states = cut_power_everywhere(&events(None)).unwrap();
    assert!(states > 100, "only {states} disks");
}

#[test]
fn every_sync_and_its_place_is_needed() {
    for flaw in FLAWS {
        let found = cut_power_everywhere(&events(Some(flaw)));
        assert!(found.is_err(), "{flaw:?} was not noticed");
    }
}

#[test]
fn a_new_cache_that_cannot_be_made_is_reported_and_can_be_made_later() {
    let store = tempfile::tempdir().unwrap();
    let backing = backing(store.path());
    // A folder, its parent's sync, the lock, its sync, 256 folders and their sync.
    for (at, failure) in [0, 1, 2, 3, 4, 100, 259, 260].into_iter().zip(FAILURES.into_iter().cycle()) {
        let base = tempfile::tempdir().unwrap();
        let journal = Journal::failing(base.path(), at, failure);
        let refused = CacheDir::open_on(Arc::new(journal.clone()), base.path().join(CACHE)).unwrap_err();
        assert!(journal.mend() && refused.0.contains("could not"), "{at}: {refused}");
        let (cache, found) = open(base.path()).unwrap();
        live(cache, found, &backing, &base.path().join(CACHE));
    }
}

#[test]
fn a_change_that_fails_is_reported_and_takes_nothing_but_the_cached_copy() {
    let store = tempfile::tempdir().unwrap();
    let backing = backing(store.path());
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join(CACHE);
    for failure in FAILURES {
        for at in 0.. {
            // Empty, and all folders are there, so nothing changes before it is used but for one sync.
            let (cache, found) = open(base.path()).unwrap();
            found.iter().for_each(|(chunk, _)| cache.remove(*chunk).unwrap());
            drop(cache);
            let journal = Journal::failing(base.path(), at + 1, failure);
            let (cache, found) = CacheDir::open_on(Arc::new(journal.clone()), root.clone()).unwrap();
            assert!(found.is_empty());
            let mut world = World::start(cache, found, Arc::<DirBacking>::clone(&backing), cache_bytes());
            for chunk in &chunks() {
                assert_eq!(world.put(chunk), Ok(()), "the backing store works");
                assert!(bytes(&files(&root)) <= cache_bytes());
            }
            for chunk in &chunks() {
                world.read(chunk);
                assert!(bytes(&files(&root)) <= cache_bytes());
            }
            let failed = journal.mend();
            assert_eq!(failed, !world.faults.is_empty(), "{failure:?} at {at}: {:?}", world.faults);
            world.wait();
            world.wait();
            assert_counted(&world, &root);
            if !failed {
                assert!(at > 15, "{failure:?}: only {at} changes");
                break;
            }
        }
    }
}
