//! Writing a file so that it is whole or not there, whatever crashes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes `parts` to `target`: first under the name `temporary`, which must be in the same file system, then,
/// when the bytes are on the disk, under their final name. Replaces what was there. Durable when it returns.
///
/// # Errors
/// If the disk refuses; then `target` is as it was, and `temporary` is removed if possible.
pub(super) fn write(temporary: &Path, target: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let written = write_whole(temporary, parts).and_then(|()| fs::rename(temporary, target));
    if let Err(error) = written {
        // Whoever opens the directory next removes what could not be removed now.
        let _ = fs::remove_file(temporary);
        return Err(error);
    }
    sync_parent(target)
}

/// Makes what was created, renamed or removed beside `path` durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::other(format!("{} has no folder", path.display())))?;
    File::open(parent)?.sync_all()
}

fn write_whole(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = File::create(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}
