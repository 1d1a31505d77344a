//! What a front keeps over a restart, in embedded SQLite: its ballot and incarnation, durable before it says
//! anything that follows from them, and a copy of what all fronts know, which may be a little old.
//!
//! A file that is not exactly what this room wrote is never used: it is moved aside, and the front starts as one
//! that does not know how it voted.

mod database;
mod keeper;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use kollator_core::cluster::saved::{Record, Recovered, RecoveredBallot, Saved};
use tracing::error;

use self::database::{Database, Fault};
pub use self::keeper::Keeper;
use crate::blocking::Blocking;

/// What SQLite appends to a database's name for the files that belong to it.
const COMPANIONS: [&str; 3] = ["-wal", "-journal", "-shm"];

/// What a front keeps. Clones share one file.
#[derive(Clone, Debug)]
pub struct State {
    database: Arc<Mutex<Database>>,
    blocking: Blocking,
    was_lost: bool,
}

/// Why nothing can be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Written by a later version of this program.
    #[error("{} was written by a newer version (schema {found}, this version knows {known}): update, or give another file", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// Another process has it.
    #[error("{} is in use by another process: a front needs a file of its own", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// SQLite refuses.
    #[error("{}: {error}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: rusqlite::Error,
    },
}

impl State {
    /// Opens the file at `path`, or creates it, and reads what it holds. A file that is damaged or something else
    /// is moved aside and told in the log.
    ///
    /// # Errors
    /// If the file cannot be used, but nothing says that it is damaged. Then it is as it was.
    pub async fn open(path: &Path, blocking: Blocking) -> Result<(Self, Recovered), StateError> {
        let path = path.to_owned();
        let (database, recovered) = blocking.run(move || open(&path)).await?;
        let was_lost = recovered.ballot == RecoveredBallot::Lost;
        Ok((Self { database: Arc::new(Mutex::new(database)), blocking, was_lost }, recovered))
    }

    /// Whether what was kept had been damaged when this was opened, or earlier with no ballot kept since.
    #[must_use]
    pub const fn was_lost(&self) -> bool {
        self.was_lost
    }

    /// Keeps `record`; durable when it returns. Of two at a time, either may be the one that stays: see [`Keeper`].
    ///
    /// # Errors
    /// It may or may not be kept: it must not be relied on, and should be kept again.
    pub async fn persist(&self, record: Record) -> Result<(), StateError> {
        self.with(move |database| database.persist(record)).await
    }

    /// Keeps all of `saved`, in order and as one: a crash loses all of it or nothing, or it with what came before.
    ///
    /// # Panics
    /// If a row or epoch breaks a rule that it must keep to be told to another front.
    ///
    /// # Errors
    /// Nothing of it is kept.
    pub async fn save(&self, saved: Vec<Saved>) -> Result<(), StateError> {
        self.with(move |database| database.save(&saved)).await
    }

    async fn with<R, F>(&self, f: F) -> Result<R, StateError>
    where
        R: Send + 'static,
        F: FnOnce(&mut Database) -> Result<R, StateError> + Send + 'static,
    {
        let database = self.database.clone();
        let run = move || f(&mut database.lock().expect("whoever broke it has ended the process's use of it"));
        self.blocking.run(run).await
    }
}

fn open(path: &Path) -> Result<(Database, Recovered), StateError> {
    if !exists(path)? {
        let mut left = Vec::new();
        for name in COMPANIONS {
            left.extend(exists(&companion(path, name))?.then_some(name));
        }
        if left.is_empty() {
            return Ok((Database::create(path, RecoveredBallot::Fresh)?, Recovered::default()));
        }
        // So that an interrupted start does not make the next one look like the first.
        File::create_new(path).and_then(|_| sync_folder(path)).map_err(|error| io_error(path, error))?;
        return start_over(path, &format!("nothing but what belongs to it ({})", left.join(", ")));
    }
    match Database::open(path) {
        Ok(found) => Ok(found),
        Err(Fault::Refused(error)) => Err(error),
        Err(Fault::Damaged(what)) => start_over(path, &what),
    }
}

/// Moves what is there aside and begins anew, as one that has forgotten.
fn start_over(path: &Path, what: &str) -> Result<(Database, Recovered), StateError> {
    let aside = copy_aside(path).map_err(|error| io_error(path, error))?;
    error!(
        path = %path.display(),
        found = what,
        moved_to = %aside.display(),
        "the kept state of this front is damaged or not its own, and was moved aside; this front takes no part in \
         elections until it has heard from every other, and gets all else from them"
    );
    let ballot = RecoveredBallot::Lost;
    Ok((Database::create(path, ballot)?, Recovered { ballot, ..Recovered::default() }))
}

/// Copies the file to a name that was free and moves its companions there. The file itself stays until a new one
/// takes its place: if this is interrupted, the next start must not find nothing and think that it is the first.
fn copy_aside(path: &Path) -> io::Result<PathBuf> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut at = since.map_or(0, |since| since.as_secs());
    let aside = loop {
        let candidate = companion(path, &format!(".corrupt-{at}"));
        if !candidate.try_exists()? {
            break candidate;
        }
        at += 1;
    };
    fs::copy(path, &aside)?;
    File::open(&aside)?.sync_all()?;
    for name in COMPANIONS {
        let from = companion(path, name);
        if from.try_exists()? {
            fs::rename(from, companion(&aside, name))?;
        }
    }
    sync_folder(path)?;
    Ok(aside)
}

fn exists(path: &Path) -> Result<bool, StateError> {
    path.try_exists().map_err(|error| io_error(path, error))
}

/// `path` with `suffix` at the end of its name.
fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes what was created, renamed or removed beside `path` durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

fn io_error(path: &Path, error: io::Error) -> StateError {
    StateError::Io { path: path.to_owned(), error }
}
