//! Every change that the store makes to a file system goes through here: one method each, so that a test can record
//! them, refuse any of them, or lose what no one asked to be kept.
//!
//! Reading needs no such care: it changes nothing, and what is read is verified.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Where the store keeps its files. Paths are those of the process.
pub(super) trait FileSystem: Debug + Send + Sync + 'static {
    /// Creates a folder in one that is there. One that exists is an error of that kind.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Creates an empty file, or empties the one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>>;

    /// Gives a file another name. What had that name is replaced; nobody ever sees neither.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes durable which names a folder has, and for what.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// A file being written from its beginning to its end.
pub(super) trait NewFile {
    /// Appends.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes durable what was written; not the file's name.
    fn sync(&mut self) -> io::Result<()>;
}

/// The operating system's.
#[derive(Debug)]
pub(super) struct Os;

impl FileSystem for Os {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        Ok(Box::new(File::create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        // The folder of a path of one part.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        File::open(path)?.sync_all()
    }
}

impl NewFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
