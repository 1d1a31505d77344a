//! The cache on disk: one file a chunk, in 256 folders by the first byte of its root.
//!
//! Every method blocks. Which chunks are kept is not decided here.

use std::fs::{self, File, TryLockError};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use kollator_core::id::{ChunkId, Digest};
use kollator_core::merkle::VerifiedChunk;
use kollator_core::node::io::DiskError;
use kollator_core::store::{Outcome, Part, PartData};
use lru::LruCache;

use super::cache_file::Unreadable;
use super::file_system::{FileSystem, Os};
use super::{atomic, cache_file};

/// Files kept open for reading.
const MAX_OPEN: NonZeroUsize = NonZeroUsize::new(128).expect("not zero");
/// Marks the folder as a cache, and keeps a second process out of it.
pub(super) const LOCK_NAME: &str = "kollator-cache.lock";

/// A folder of cached chunks, held by this process alone.
#[derive(Debug)]
pub struct CacheDir {
    root: PathBuf,
    file_system: Arc<dyn FileSystem>,
    open: Mutex<LruCache<ChunkId, Arc<Opened>>>,
    _lock: File,
}

/// A chunk's file.
#[derive(Debug)]
struct Opened {
    file: File,
    /// Its leaf hashes, once they have been read.
    leaves: OnceLock<Vec<Digest>>,
}

impl Opened {
    fn leaves(&self, chunk: ChunkId) -> Result<&[Digest], Unreadable> {
        if let Some(leaves) = self.leaves.get() {
            return Ok(leaves);
        }
        let leaves = cache_file::read_leaves(&self.file, chunk)?;
        Ok(self.leaves.get_or_init(|| leaves))
    }

    fn read(&self, chunk: ChunkId, part: Part) -> Result<PartData, Unreadable> {
        let leaves = self.leaves(chunk)?;
        match part {
            Part::Leaves => Ok(PartData::Leaves(leaves.to_vec())),
            Part::Blocks { first, count } => {
                let blocks = cache_file::read_blocks(&self.file, chunk, leaves, first, count)?;
                Ok(PartData::Blocks(blocks.into()))
            }
        }
    }
}

impl CacheDir {
    /// Opens the cache in `root`, creating it if it is missing, removes what a crash left half done, and says which
    /// chunks are there and how long ago each was last used. Does not read the chunks' data.
    ///
    /// # Errors
    /// If the folder cannot be used, another process uses it, or it holds something else than a cache.
    pub fn open(root: impl Into<PathBuf>) -> Result<(Self, Vec<(ChunkId, Duration)>), DiskError> {
        Self::open_on(Arc::new(Os), root.into())
    }

    /// The same on any file system.
    pub(super) fn open_on(
        file_system: Arc<dyn FileSystem>,
        root: PathBuf,
    ) -> Result<(Self, Vec<(ChunkId, Duration)>), DiskError> {
        let lock = lock(&*file_system, &root)?;
        let now = SystemTime::now();
        let mut found = Vec::new();
        for folder in 0..=u8::MAX {
            let folder = root.join(format!("{folder:02x}"));
            atomic::create_folder(&*file_system, &folder)
                .and_then(|()| recover(&*file_system, &folder, now, &mut found))
                .map_err(|error| explain("open the cache folder", &folder, &error))?;
        }
        // Else a crash could take a whole folder of durable files.
        let synced = file_system.sync_folder(&root);
        synced.map_err(|error| explain("open the cache folder", &root, &error))?;
        let open = Mutex::new(LruCache::new(MAX_OPEN));
        Ok((Self { root, file_system, open, _lock: lock }, found))
    }

    /// Reads a part of a cached chunk, and proves that it is as it was written. Unless it says
    /// [`Outcome::Read`], the chunk is to be removed.
    #[must_use]
    pub fn read(&self, chunk: ChunkId, part: Part) -> Outcome {
        let path = self.path(chunk);
        let file = match self.file(chunk) {
            Ok(file) => file,
            Err(error) => return Outcome::Failed(explain("open", &path, &error)),
        };
        match file.read(chunk, part) {
            Ok(data) => Outcome::Read(data),
            Err(why) => unreadable("read", &path, &why),
        }
    }

    /// Reads a cached chunk whole, afresh from the disk, and proves every byte of it. Unless it says
    /// [`Outcome::Done`], the chunk is to be removed.
    #[must_use]
    pub fn verify(&self, chunk: ChunkId) -> Outcome {
        let path = self.path(chunk);
        let verified = File::open(&path).map_err(Unreadable::from);
        match verified.and_then(|file| cache_file::verify(&file, chunk)) {
            Ok(()) => Outcome::Done,
            Err(why) => unreadable("verify", &path, &why),
        }
    }

    /// Writes a chunk and its leaf hashes: whole or not at all, whatever crashes. Durable when it returns.
    ///
    /// # Errors
    /// If the disk refuses: whether the chunk is there is not known.
    pub fn write(&self, chunk: &VerifiedChunk) -> Result<(), DiskError> {
        let path = self.path(chunk.id());
        atomic::write(&*self.file_system, &temporary(&path), &path, &[chunk.data(), &cache_file::trailer(chunk)])
            .map_err(|error| explain("write", &path, &error))
    }

    /// Removes a chunk, if it is there, and what a write that failed left of it.
    ///
    /// # Errors
    /// If the disk refuses: it may still be there.
    pub fn remove(&self, chunk: ChunkId) -> Result<(), DiskError> {
        let path = self.path(chunk);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.pop(&chunk);
        for path in [temporary(&path), path] {
            match self.file_system.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(explain("remove", &path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, chunk: ChunkId) -> PathBuf {
        self.root.join(format!("{:02x}", chunk.root().0[0])).join(cache_file::name(chunk))
    }

    /// The open file of a chunk. Opened under the lock, so that no file outlives its removal here.
    fn file(&self, chunk: ChunkId) -> io::Result<Arc<Opened>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&chunk) {
            return Ok(Arc::clone(file));
        }
        let file = File::open(self.path(chunk))?;
        // Tells the next run when it was last used. Where that fails, it will look older than it is.
        let _ = file.set_modified(SystemTime::now());
        let opened = Arc::new(Opened { file, leaves: OnceLock::new() });
        open.put(chunk, Arc::clone(&opened));
        Ok(opened)
    }
}

/// The name of a chunk's file while it is written.
fn temporary(path: &Path) -> PathBuf {
    path.with_added_extension("tmp")
}

/// Takes the folder for this process. A folder that holds something else is refused: recovery removes files.
pub(super) fn lock(file_system: &dyn FileSystem, root: &Path) -> Result<File, DiskError> {
    atomic::create_folders(file_system, root).map_err(|error| explain("create the cache folder", root, &error))?;
    let path = root.join(LOCK_NAME);
    if !path.exists() {
        let mut entries = fs::read_dir(root).map_err(|error| explain("list the cache folder", root, &error))?;
        if entries.next().is_some() {
            return Err(explain("use the cache folder", root, &"it holds other files: name an empty folder"));
        }
        // Durable before anything else is: without it, what a crash leaves would be taken for other files.
        let marked = file_system.create(&path).and_then(|_| file_system.sync_folder(root));
        marked.map_err(|error| explain("create", &path, &error))?;
    }
    let file = File::options().write(true).open(&path);
    let file = file.map_err(|error| explain("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(explain("use the cache folder", root, &"another process uses it")),
        Err(TryLockError::Error(error)) => Err(explain("lock", &path, &error)),
    }
}

/// Adds the whole chunks of one folder to `found` and removes every other file.
fn recover(
    file_system: &dyn FileSystem,
    folder: &Path,
    now: SystemTime,
    found: &mut Vec<(ChunkId, Duration)>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            tracing::warn!(path = %path.display(), "a folder in the cache is none of its own: left alone");
            continue;
        }
        let chunk = entry.file_name().to_str().and_then(cache_file::parse_name);
        let chunk = chunk.filter(|chunk| folder.ends_with(format!("{:02x}", chunk.root().0[0])));
        match chunk.ok_or_else(|| "not the name of a chunk".to_owned()).and_then(|chunk| age(&path, chunk, now)) {
            Ok(known) => found.push(known),
            Err(why) => {
                tracing::warn!(path = %path.display(), why, "removing a file that is no whole chunk");
                file_system.remove(&path)?;
            }
        }
    }
    Ok(())
}

/// The chunk with the time since its file was last used, if the file is whole.
fn age(path: &Path, chunk: ChunkId, now: SystemTime) -> Result<(ChunkId, Duration), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    cache_file::read_leaves(&file, chunk).map_err(|error| error.to_string())?;
    let used = file.metadata().and_then(|metadata| metadata.modified()).map_err(|error| error.to_string())?;
    // A clock that was set back makes a file of the future: it counts as just used.
    Ok((chunk, now.duration_since(used).unwrap_or_default()))
}

fn unreadable(doing: &str, path: &Path, why: &Unreadable) -> Outcome {
    let error = explain(doing, path, why);
    match why {
        Unreadable::Rotten(_) => Outcome::Corrupt(error),
        Unreadable::Failed(_) => Outcome::Failed(error),
    }
}

fn explain(doing: &str, path: &Path, why: &dyn std::fmt::Display) -> DiskError {
    DiskError(format!("could not {doing} {}: {why}", path.display()))
}
