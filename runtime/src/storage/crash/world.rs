//! A store machine on a real driver, which does everything at once; and what its folder holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use kollator_core::id::ChunkId;
use kollator_core::machine::Instant;
use kollator_core::merkle::VerifiedChunk;
use kollator_core::node::io::Ticket;
use kollator_core::store::{Answer, Config, EffectDone, Output, Part, Store};

use crate::blocking::Blocking;
use crate::storage::cache_dir::LOCK_NAME;
use crate::storage::{Backing, CacheDir, StoreDriver};

pub(super) struct World {
    pub(super) store: Store,
    driver: StoreDriver,
    now: Instant,
    answers: Vec<Answer>,
    /// What went wrong, as the log has it.
    pub(super) faults: Vec<String>,
}

impl World {
    /// A store with a cache of `cache_bytes` on which these chunks were found.
    pub(super) fn start(
        cache: CacheDir,
        found: Vec<(ChunkId, Duration)>,
        backing: Arc<dyn Backing>,
        cache_bytes: u64,
    ) -> Self {
        let store = Store::new(Config { cache_bytes, scrub_rate: 0, ..Config::default() });
        let driver = StoreDriver::new(cache, backing, Blocking::Inline);
        let mut world = Self { store, driver, now: Instant::ZERO, answers: Vec::new(), faults: Vec::new() };
        world.store.recovered(world.now, found);
        world.work();
        world
    }

    /// Lets a minute pass: what failed is tried again.
    pub(super) fn wait(&mut self) {
        self.now = self.now + Duration::from_secs(60);
        self.store.wake(self.now);
        self.work();
    }

    /// Whether the store keeps a chunk.
    pub(super) fn put(&mut self, chunk: &VerifiedChunk) -> Result<(), String> {
        self.store.put(self.now, Ticket(0), chunk.clone());
        self.work();
        match self.answers.drain(..).next() {
            Some(Answer::Stored { result, .. }) => result.map_err(|error| error.to_string()),
            other => panic!("{other:?}"),
        }
    }

    /// Reads all of a chunk; every part must be right.
    pub(super) fn read(&mut self, chunk: &VerifiedChunk) {
        let blocks = (0..chunk.id().blocks()).map(|first| Part::Blocks { first, count: 1 });
        for part in std::iter::once(Part::Leaves).chain(blocks) {
            self.store.read(self.now, Ticket(0), chunk.id(), part);
            self.work();
            match self.answers.drain(..).next() {
                Some(Answer::Data { result: Ok(data), .. }) => assert_eq!(Some(data), part.of(chunk)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn work(&mut self) {
        while let Some(output) = self.store.poll() {
            match output {
                Output::Effect(effect) => {
                    let done: EffectDone = self.driver.execute(effect).now_or_never().expect("done at once");
                    self.store.done(self.now, done);
                }
                Output::AskHome { .. } => unreachable!("there is no other worker"),
                Output::Answer(answer) => self.answers.push(answer),
                Output::Fault(fault) => self.faults.push(fault.to_string()),
            }
        }
    }
}

/// The files below a folder, but for a cache's lock, with their contents.
pub(super) fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if !path.ends_with(LOCK_NAME) {
                files.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Bytes of these files.
pub(super) fn bytes(files: &BTreeMap<PathBuf, Vec<u8>>) -> u64 {
    files.values().map(|content| content.len() as u64).sum()
}
