//! A folder as backing store, where no S3 is configured: objects are files under their names.
//!
//! Several processes may share the folder. Nothing is ever removed but temporary files that a crash left.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use kollator_core::node::io::DiskError;
use kollator_core::store::Key;

use super::atomic;
use super::backing::{Backing, Found, PutMode, allows_length};
use crate::blocking::Blocking;

/// Where objects are while they are written.
const TEMPORARY: &str = "tmp";
/// A temporary file that nobody wrote to for so long belongs to a process that is gone.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// Objects in a folder: `chunks/<root>.<length>`, `torrents/<info hash>.ko`.
#[derive(Debug)]
pub struct DirBacking {
    root: Arc<Path>,
    blocking: Blocking,
    next_temporary: AtomicU64,
}

impl DirBacking {
    /// Opens the folder, creating it if it is missing, and removes temporary files that a crash left. Blocks.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn open(root: impl Into<PathBuf>, blocking: Blocking) -> Result<Self, DiskError> {
        let root = root.into();
        prepare(&root).map_err(|error| explain("use the storage folder", &root, &error))?;
        Ok(Self::of_existing(root, blocking))
    }

    /// A folder that is there, as requests will show.
    #[must_use]
    pub fn of_existing(root: impl Into<PathBuf>, blocking: Blocking) -> Self {
        let root: PathBuf = root.into();
        Self { root: root.into(), blocking, next_temporary: AtomicU64::new(0) }
    }

    fn path(&self, key: Key) -> PathBuf {
        self.root.join(key.to_string())
    }
}

#[async_trait::async_trait]
impl Backing for DirBacking {
    async fn get(&self, key: Key) -> Result<Found, DiskError> {
        let path = self.path(key);
        let read = move || {
            let Some(length) = length(&path).map_err(|error| explain("read", &path, &error))? else {
                return Ok(Found::Nothing);
            };
            if !allows_length(key, length) {
                return Ok(Found::WrongLength(length));
            }
            let bytes = fs::read(&path).map_err(|error| explain("read", &path, &error))?;
            Ok(Found::Body(bytes.into()))
        };
        self.blocking.run(read).await
    }

    async fn put(&self, key: Key, body: Bytes, mode: PutMode) -> Result<(), DiskError> {
        let path = self.path(key);
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join(TEMPORARY).join(format!("{}-{number}", std::process::id()));
        let write = move || {
            let there = length(&path).map_err(|error| explain("write", &path, &error))?;
            if mode == PutMode::Create && there == Some(body.len() as u64) {
                // Whoever wrote it may not have made its name durable yet.
                return atomic::sync_parent(&path).map_err(|error| explain("write", &path, &error));
            }
            atomic::write(&temporary, &path, &[&body]).map_err(|error| explain("write", &path, &error))
        };
        self.blocking.run(write).await
    }

    async fn has(&self, key: Key) -> Result<bool, DiskError> {
        let path = self.path(key);
        let look = move || match length(&path) {
            Ok(length) => Ok(length.is_some_and(|length| allows_length(key, length))),
            Err(error) => Err(explain("look up", &path, &error)),
        };
        self.blocking.run(look).await
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, DiskError> {
        let (path, prefix, after) = (self.root.join(prefix), prefix.to_owned(), after.to_owned());
        let list = move || -> io::Result<Vec<String>> {
            let name = |entry: fs::DirEntry| format!("{prefix}{}", entry.file_name().to_string_lossy());
            let names: io::Result<Vec<_>> = fs::read_dir(&path)?.map(|entry| entry.map(name)).collect();
            let mut names = names?;
            names.retain(|name| *name > after);
            names.sort();
            Ok(names)
        };
        self.blocking.run(list).await.map_err(|error| explain("list", &self.root, &error))
    }
}

fn prepare(root: &Path) -> io::Result<()> {
    for folder in ["chunks", "torrents", TEMPORARY] {
        fs::create_dir_all(root.join(folder))?;
    }
    let now = SystemTime::now();
    for entry in fs::read_dir(root.join(TEMPORARY))? {
        let entry = entry?;
        let written = entry.metadata()?.modified()?;
        if now.duration_since(written).is_ok_and(|age| age > ABANDONED_AFTER) {
            tracing::info!(path = %entry.path().display(), "removing what a crash left half written");
            fs::remove_file(entry.path())?;
        }
    }
    atomic::sync_parent(&root.join(TEMPORARY))
}

/// Length of the file; `None` if there is none.
fn length(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn explain(doing: &str, path: &Path, why: &io::Error) -> DiskError {
    DiskError(format!("could not {doing} {}: {why}", path.display()))
}
