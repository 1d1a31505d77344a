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
use super::file_system::{FileSystem, Os};
use crate::blocking::Blocking;

/// Where objects are while they are written.
const TEMPORARY: &str = "tmp";
/// A temporary file that nobody wrote to for so long belongs to a process that is gone.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// Objects in a folder: `chunks/<root>.<length>`, `torrents/<info hash>.ko`.
#[derive(Debug)]
pub struct DirBacking {
    root: Arc<Path>,
    file_system: Arc<dyn FileSystem>,
    blocking: Blocking,
    next_temporary: AtomicU64,
}

impl DirBacking {
    /// Opens the folder, creating it if it is missing, and removes temporary files that a crash left. Blocks.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn open(root: impl Into<PathBuf>, blocking: Blocking) -> Result<Self, DiskError> {
        Self::open_on(Arc::new(Os), root.into(), blocking)
    }

    /// The same on any file system.
    pub(super) fn open_on(
        file_system: Arc<dyn FileSystem>,
        root: PathBuf,
        blocking: Blocking,
    ) -> Result<Self, DiskError> {
        prepare(&*file_system, &root).map_err(|error| explain("use the storage folder", &root, &error))?;
        Ok(Self { file_system, ..Self::of_existing(root, blocking) })
    }

    /// A folder that is there, as requests will show.
    #[must_use]
    pub fn of_existing(root: impl Into<PathBuf>, blocking: Blocking) -> Self {
        let root: PathBuf = root.into();
        Self { root: root.into(), file_system: Arc::new(Os), blocking, next_temporary: AtomicU64::new(0) }
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
        let file_system = Arc::clone(&self.file_system);
        let write = move || match mode {
            // Whoever wrote it may not have made its name durable yet.
            PutMode::Create if is_equal(&path, &body)? => atomic::sync_parent(&*file_system, &path),
            PutMode::Create | PutMode::Replace => atomic::write(&*file_system, &temporary, &path, &[&body]),
        };
        let write = {
            let path = self.path(key);
            move || write().map_err(|error| explain("write", &path, &error))
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

fn prepare(file_system: &dyn FileSystem, root: &Path) -> io::Result<()> {
    atomic::create_folders(file_system, root)?;
    for folder in ["chunks", "torrents", TEMPORARY] {
        atomic::create_folder(file_system, &root.join(folder))?;
    }
    let now = SystemTime::now();
    for entry in fs::read_dir(root.join(TEMPORARY))? {
        let entry = entry?;
        let written = entry.metadata()?.modified()?;
        if now.duration_since(written).is_ok_and(|age| age > ABANDONED_AFTER) {
            tracing::info!(path = %entry.path().display(), "removing what a crash left half written");
            file_system.remove(&entry.path())?;
        }
    }
    file_system.sync_folder(root)
}

/// Whether these are the file's bytes; false if there is no file.
fn is_equal(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    Ok(length(path)? == Some(bytes.len() as u64) && fs::read(path)? == bytes)
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
