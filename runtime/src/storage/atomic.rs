//! Writing a file, and making a folder, so that it is whole or not there, whatever crashes.

use std::io;
use std::path::Path;

use super::file_system::FileSystem;

/// Writes `parts` to `target`: first under the name `temporary`, which must be in the same file system, then,
/// when the bytes are on the disk, under their final name. Replaces what was there. Durable when it returns.
///
/// # Errors
/// If the disk refuses; then `temporary` is removed if possible, and `target` is as it was, unless only making its new
/// name durable failed.
pub(super) fn write(
    file_system: &dyn FileSystem,
    temporary: &Path,
    target: &Path,
    parts: &[&[u8]],
) -> io::Result<()> {
    let written = write_whole(file_system, temporary, parts).and_then(|()| file_system.rename(temporary, target));
    if let Err(error) = written {
        // Whoever opens the directory next removes what could not be removed now.
        let _ = file_system.remove(temporary);
        return Err(error);
    }
    sync_parent(file_system, target)
}

/// Makes what was created, renamed or removed beside `path` durable.
pub(super) fn sync_parent(file_system: &dyn FileSystem, path: &Path) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::other(format!("{} has no folder", path.display())))?;
    file_system.sync_folder(parent)
}

/// Creates a folder, and those above it that are missing, each durable before the next.
pub(super) fn create_folders(file_system: &dyn FileSystem, path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_folders(file_system, parent)?;
    }
    create_folder(file_system, path)?;
    sync_parent(file_system, path)
}

/// Creates a folder in one that is there, if it is missing. Not durable yet.
pub(super) fn create_folder(file_system: &dyn FileSystem, path: &Path) -> io::Result<()> {
    match file_system.create_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

fn write_whole(file_system: &dyn FileSystem, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = file_system.create(path)?;
    for part in parts {
        file.write(part)?;
    }
    file.sync()
}
