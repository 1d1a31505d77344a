//! Finds the files of a share: one file, or all below a folder, in the order a metainfo has them.
//!
//! The path that was named may be a symbolic link; below it, links and special files are passed over and told
//! of, so that a share never reaches outside its folder. Empty folders have no place in a metainfo.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kollator_core::metainfo::{MAX_FILES, MAX_PATH_DEPTH, MetainfoError};
use kollator_core::seal::SealError;

/// Why a path cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// Reading failed.
    #[error("{}: {error}", .path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// A name that a metainfo cannot hold.
    #[error("{path:?} has a name that is not UTF-8; rename it to share it")]
    NotUtf8 {
        /// Whose name it is.
        path: PathBuf,
    },
    /// The path names neither a file nor a folder.
    #[error("{} is neither a file nor a folder", .path.display())]
    Special {
        /// What it names.
        path: PathBuf,
    },
    /// The path ends in no name, as `/` does.
    #[error("{} has no name of its own; give the share one", .path.display())]
    Nameless {
        /// The path.
        path: PathBuf,
    },
    /// There is no file in the folder.
    #[error("{} holds no file to share", .path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// There is more than a share may hold.
    #[error("{} holds more than {limit} {what}", .path.display())]
    TooMuch {
        /// The folder.
        path: PathBuf,
        /// The limit.
        limit: usize,
        /// What there is too much of.
        what: &'static str,
    },
    /// A file changed while it was hashed.
    #[error("{} changed while it was read; share it when nothing writes to it", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A name or size that a metainfo does not allow.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
    /// A name that cannot be encrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl ShareError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { path: path.to_owned(), error }
    }
}

/// What tells that a file is still what it was: its length and when it was last written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self { length: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// A file to share.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its path in the share.
    pub(super) components: Vec<String>,
    /// Where it is.
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
}

/// What is below a path.
#[derive(Debug)]
pub(super) struct Scan {
    /// In the order of their components.
    pub(super) files: Vec<Found>,
    /// Symbolic links and special files.
    pub(super) skipped: Vec<PathBuf>,
}

/// Finds what to share at `root`; a single file gets `name` for its path.
pub(super) fn scan(root: &Path, name: &str) -> Result<Scan, ShareError> {
    let metadata = fs::metadata(root).map_err(ShareError::io(root))?;
    if metadata.is_file() {
        let found =
            Found { components: vec![name.to_owned()], path: root.to_owned(), stamp: Stamp::of(&metadata) };
        return Ok(Scan { files: vec![found], skipped: Vec::new() });
    }
    if !metadata.is_dir() {
        return Err(ShareError::Special { path: root.to_owned() });
    }
    let too_much = |limit, what| ShareError::TooMuch { path: root.to_owned(), limit, what };
    let mut scan = Scan { files: Vec::new(), skipped: Vec::new() };
    let mut folders = vec![(root.to_owned(), Vec::new())];
    while let Some((folder, above)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(ShareError::io(&folder))? {
            let entry = entry.map_err(ShareError::io(&folder))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(ShareError::io(&path))?;
            if !kind.is_dir() && !kind.is_file() {
                scan.skipped.push(path);
                continue;
            }
            let Ok(name) = entry.file_name().into_string() else { return Err(ShareError::NotUtf8 { path }) };
            let components: Vec<String> = above.iter().cloned().chain([name]).collect();
            if components.len() > MAX_PATH_DEPTH {
                return Err(too_much(MAX_PATH_DEPTH, "levels of folders"));
            }
            if kind.is_dir() {
                folders.push((path, components));
                continue;
            }
            if scan.files.len() == MAX_FILES {
                return Err(too_much(MAX_FILES, "files"));
            }
            let stamp = Stamp::of(&entry.metadata().map_err(ShareError::io(&path))?);
            scan.files.push(Found { components, path, stamp });
        }
    }
    if scan.files.is_empty() {
        return Err(ShareError::Empty { path: root.to_owned() });
    }
    scan.files.sort_unstable_by(|a, b| a.components.cmp(&b.components));
    scan.skipped.sort_unstable();
    Ok(scan)
}
