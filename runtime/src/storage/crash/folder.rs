//! A folder as backing store: what was acknowledged is there and right, whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use kollator_core::id::InfoHash;
use kollator_core::merkle::{VerifiedChunk, sha256};
use kollator_core::node::io::DiskError;
use kollator_core::store::Key;

use super::journal::{Event, Flaw, Journal};
use super::power::{Allowed, cut_everywhere};
use super::world::files;
use super::{FAILURES, FLAWS, chunk};
use crate::blocking::Blocking;
use crate::storage::{Backing as _, DirBacking, Found, PutMode};

/// Where the store is, in a folder that is there before it.
const STORE: &str = "store";

/// What is put, in this order.
fn objects() -> Vec<(Key, Bytes, PutMode)> {
    let [large, small] = [chunk(0, 20_000), chunk(1, 300)];
    let ko = Key::Torrent(InfoHash(sha256(b"a share")));
    let create = |chunk: &VerifiedChunk| (Key::Chunk(chunk.id()), chunk.data().clone(), PutMode::Create);
    vec![
        create(&large),
        create(&small),
        create(&large),
        (ko, Bytes::from_static(b"a .ko"), PutMode::Replace),
        (ko, Bytes::from_static(b"the same with a web seed"), PutMode::Replace),
    ]
}

fn put(backing: &DirBacking, (key, body, mode): &(Key, Bytes, PutMode)) -> Result<(), DiskError> {
    backing.put(*key, body.clone(), *mode).now_or_never().expect("done at once")
}

/// What there is; `Err` if it is of a length that it cannot have.
fn get(backing: &DirBacking, key: Key) -> Result<Option<Vec<u8>>, String> {
    match backing.get(key).now_or_never().expect("done at once").unwrap() {
        Found::Nothing => Ok(None),
        Found::Body(body) => Ok(Some(body.to_vec())),
        Found::WrongLength(length) => Err(format!("{key} has {length} bytes")),
    }
}

fn events(flaw: Option<Flaw>) -> Vec<Event> {
    let base = tempfile::tempdir().unwrap();
    let journal = Journal::new(base.path(), flaw);
    let root = base.path().join(STORE);
    let backing = DirBacking::open_on(Arc::new(journal.clone()), root, Blocking::Inline).unwrap();
    for object in objects() {
        let (path, content) = (PathBuf::from(object.0.to_string()), Some(object.1.to_vec()));
        journal.note(Event::Begun(path.clone(), content.clone()));
        put(&backing, &object).unwrap();
        journal.note(Event::Done(path, content));
    }
    journal.events()
}

/// Opens the store after each power cut. What is wrong first, or how many disks there were.
fn cut_power_everywhere(events: &[Event]) -> Result<usize, String> {
    cut_everywhere(events, |_, _| false, judge)
}

fn judge(base: &Path, allowed: &Allowed) -> Result<(), String> {
    let root = base.join(STORE);
    // Takes no time to sync.
    let journal = Arc::new(Journal::new(base, None));
    let backing =
        DirBacking::open_on(journal, root.clone(), Blocking::Inline).map_err(|error| error.to_string())?;
    for (key, ..) in objects() {
        let content = get(&backing, key)?;
        let contents = allowed.get(Path::new(&key.to_string()));
        if !contents.map_or(content.is_none(), |contents| contents.contains(&content)) {
            return Err(format!("{key} is {:?}", content.map(|content| content.len())));
        }
    }
    put_all(&backing, &root);
    Ok(())
}

/// Whatever was there, everything can be put, and there is nothing else.
fn put_all(backing: &DirBacking, root: &Path) {
    for object in objects() {
        put(backing, &object).unwrap();
        assert_eq!(get(backing, object.0), Ok(Some(object.1.to_vec())));
    }
    let names: BTreeSet<PathBuf> = objects().iter().map(|(key, ..)| PathBuf::from(key.to_string())).collect();
    let there: BTreeSet<PathBuf> = files(root).into_keys().filter(|path| !path.starts_with("tmp")).collect();
    assert_eq!(there, names);
}

#[test]
fn a_power_cut_at_any_change_loses_nothing_acknowledged() {
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
fn a_change_that_fails_is_reported_and_changes_nothing_for_the_worse() {
    for failure in FAILURES {
        for at in 0.. {
            let base = tempfile::tempdir().unwrap();
            let root = base.path().join(STORE);
            let journal = Journal::failing(base.path(), at, failure);
            let open = || DirBacking::open_on(Arc::new(journal.clone()), root.clone(), Blocking::Inline);
            let mut reported = 0;
            let backing = open().unwrap_or_else(|error| {
                assert!(error.0.contains("could not use the storage folder"), "{error}");
                reported += 1;
                journal.mend();
                open().unwrap()
            });
            let mut there = BTreeMap::new();
            for object in objects() {
                let before = there.get(&object.0).cloned();
                let content = Some(object.1.to_vec());
                match put(&backing, &object) {
                    Ok(()) => assert_eq!(get(&backing, object.0), Ok(content.clone())),
                    Err(error) => {
                        assert!(error.0.contains("could not write"), "{error}");
                        reported += 1;
                        let found = get(&backing, object.0).unwrap();
                        assert!(found == before || found == content, "{failure:?} at {at}");
                    }
                }
                if let Ok(Some(found)) = get(&backing, object.0) {
                    there.insert(object.0, found);
                }
            }
            let failed = journal.mend() || reported > 0;
            assert_eq!(failed, reported > 0, "{failure:?} at {at} was not reported");
            put_all(&backing, &root);
            if !failure.lasts {
                let left: Vec<_> = files(&root).into_keys().filter(|path| path.starts_with("tmp")).collect();
                assert!(left.is_empty(), "{failure:?} at {at}: {left:?}");
            }
            if !failed {
                assert!(at > 20, "only {at} changes");
                break;
            }
        }
    }
}
