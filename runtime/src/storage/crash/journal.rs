//! A file system that writes down every change, and refuses the one it is told to refuse.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::storage::file_system::{FileSystem, NewFile, Os};

/// A change. Paths are below the root; files go by numbers, as their names change.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Folder(PathBuf),
    Create { path: PathBuf, file: usize },
    Write { file: usize, bytes: Vec<u8> },
    Sync { file: usize },
    Rename { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
    SyncFolder(PathBuf),
}

/// What happened.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Changed(Change),
    /// From now on a path may have this content, or nothing, instead of what it had.
    Begun(PathBuf, Option<Vec<u8>>),
    /// From now on it must.
    Done(PathBuf, Option<Vec<u8>>),
}

/// How the code under test might forget what keeps things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    FilesAreNotSynced,
    FoldersAreNotSynced,
    FilesAreSyncedAfterTheirRename,
}

/// How a change fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) errno: i32,
    /// Half of it is done all the same: half of the bytes are written, the other half is lost, the name is changed.
    pub(super) harms: bool,
    /// All later ones fail too, until the disk is mended.
    pub(super) lasts: bool,
}

/// See above. Clones are the same file system.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    root: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    files: usize,
    flaw: Option<Flaw>,
    /// Synced, and held back by a flaw.
    late: Option<Change>,
    /// Changes that were tried.
    tried: usize,
    /// The number of the change that fails.
    failure: Option<(usize, Failure)>,
}

impl Journal {
    pub(super) fn new(root: &Path, flaw: Option<Flaw>) -> Self {
        let state = State { flaw, ..State::default() };
        Self { root: root.to_owned(), state: Arc::new(Mutex::new(state)) }
    }

    /// Refuses the change number `at`, from 0 on.
    pub(super) fn failing(root: &Path, at: usize, failure: Failure) -> Self {
        let journal = Self::new(root, None);
        journal.state().failure = Some((at, failure));
        journal
    }

    /// Nothing is refused any more. Whether anything was.
    pub(super) fn mend(&self) -> bool {
        let mut state = self.state();
        let failed = state.failure.is_some_and(|(at, _)| at < state.tried);
        state.failure = None;
        failed
    }

    pub(super) fn note(&self, event: Event) {
        self.state().events.push(event);
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).expect("nothing else is changed").to_owned()
    }

    /// What is to befall the next change.
    fn fate(&self) -> Option<Failure> {
        let mut state = self.state();
        let number = state.tried;
        state.tried += 1;
        let (at, failure) = state.failure?;
        (number == at || (number > at && failure.lasts)).then_some(failure)
    }

    /// Makes a change, or fails; `harm` is what is done of it by one that fails.
    fn change<T>(
        &self,
        change: Change,
        make: impl FnOnce() -> io::Result<T>,
        harm: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<T> {
        if let Some(failure) = self.fate() {
            if failure.harms {
                harm()?;
            }
            return Err(io::Error::from_raw_os_error(failure.errno));
        }
        let made = make()?;
        let mut state = self.state();
        let (flaw, late) = (state.flaw, state.late.take());
        let renames = matches!(change, Change::Rename { .. });
        match (flaw, &change) {
            (Some(Flaw::FilesAreNotSynced), Change::Sync { .. })
            | (Some(Flaw::FoldersAreNotSynced), Change::SyncFolder(_)) => {}
            (Some(Flaw::FilesAreSyncedAfterTheirRename), Change::Sync { .. }) => state.late = Some(change),
            _ => state.events.push(Event::Changed(change)),
        }
        if renames {
            state.events.extend(late.map(Event::Changed));
        }
        Ok(made)
    }
}

impl FileSystem for Journal {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(Change::Folder(self.below(path)), || Os.create_folder(path), || Ok(()))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let number = {
            let mut state = self.state();
            state.files += 1;
            state.files - 1
        };
        let change = Change::Create { path: self.below(path), file: number };
        let file = self.change(change, || File::create(path), || Ok(()))?;
        Ok(Box::new(Recorded { journal: self.clone(), file, number, length: 0 }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let change = Change::Rename { from: self.below(from), to: self.below(to) };
        self.change(change, || fs::rename(from, to), || fs::rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !path.exists() {
            return fs::remove_file(path);
        }
        self.change(Change::Remove(self.below(path)), || fs::remove_file(path), || fs::remove_file(path))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.change(Change::SyncFolder(self.below(path)), || Ok(()), || Ok(()))
    }
}

struct Recorded {
    journal: Journal,
    file: File,
    number: usize,
    length: u64,
}

impl NewFile for Recorded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let change = Change::Write { file: self.number, bytes: bytes.to_vec() };
        self.length += bytes.len() as u64;
        let file = &self.file;
        let write = |bytes: &[u8]| io::Write::write_all(&mut &*file, bytes);
        self.journal.change(change, || write(bytes), || write(&bytes[..bytes.len() / 2]))
    }

    fn sync(&mut self) -> io::Result<()> {
        // A kernel that could not write a page may forget it, and say so only this once.
        let (file, half) = (&self.file, self.length / 2);
        self.journal.change(Change::Sync { file: self.number }, || Ok(()), || file.set_len(half))
    }
}
