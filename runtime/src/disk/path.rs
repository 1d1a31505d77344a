//! Opens and creates files below a folder without ever following a symbolic link out of it.
//!
//! The names come from a checked metainfo and are single path components; what is guarded against here is what
//! already lies in the folder.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use kollator_core::node::io::DiskError;

/// What to open a file for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// Reading a file that exists.
    Reading,
    /// Reading and writing a file that exists.
    Writing,
    /// Reading and writing; the file and the folders above it are created where they are missing.
    Creating,
}

/// An I/O error with the path it is about.
pub(super) fn failed(path: &Path, error: &io::Error) -> DiskError {
    DiskError(format!("{}: {error}", path.display()))
}

/// The path of `components` below `root`; `root` itself if there are none.
pub(super) fn below(root: &Path, components: &[String]) -> PathBuf {
    components.iter().fold(root.to_path_buf(), |path, component| path.join(component))
}

/// Opens the regular file `components` below `root`, or `root` itself if there are none. Neither the file nor
/// a folder from `root` on may be a symbolic link.
pub(super) fn open(root: &Path, components: &[String], purpose: For) -> Result<File, DiskError> {
    let folders = components.split_last().map_or(&[][..], |(_, folders)| folders);
    if !components.is_empty() {
        for depth in 0..=folders.len() {
            enter(&below(root, &folders[..depth]), purpose)?;
        }
    }
    let path = below(root, components);
    let file = OpenOptions::new()
        .read(true)
        .write(purpose != For::Reading)
        .create(purpose == For::Creating)
        .truncate(false)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(&path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => DiskError(format!("{} is a symbolic link", path.display())),
            _ => failed(&path, &error),
        })?;
    let kind = file.metadata().map_err(|error| failed(&path, &error))?.file_type();
    if kind.is_file() { Ok(file) } else { Err(DiskError(format!("{} is not a regular file", path.display()))) }
}

fn enter(folder: &Path, purpose: For) -> Result<(), DiskError> {
    if purpose == For::Creating {
        match fs::create_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(folder, &error)),
        }
    }
    let kind = fs::symlink_metadata(folder).map_err(|error| failed(folder, &error))?.file_type();
    if kind.is_dir() { Ok(()) } else { Err(DiskError(format!("{} is not a folder", folder.display()))) }
}

/// Makes what was created, renamed or removed in the folder of `path` survive a power cut.
pub(super) fn sync_folder_of(path: &Path) -> Result<(), DiskError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(folder, &error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(components: &[&str]) -> Vec<String> {
        components.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn folders_are_created_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("share");
        open(&root, &names(&["a", "b", "c"]), For::Creating).unwrap();
        assert!(root.join("a/b/c").is_file());
        open(&root, &names(&["a", "b", "c"]), For::Reading).unwrap();
        assert!(open(&root, &names(&["a", "x", "c"]), For::Writing).is_err(), "nothing is created for writing");
    }

    #[test]
    fn symbolic_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("share"), dir.path().join("outside"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "precious").unwrap();
        symlink(&outside, root.join("folder")).unwrap();
        symlink(outside.join("file"), root.join("file")).unwrap();
        symlink(outside.join("new"), root.join("dangling")).unwrap();
        for purpose in [For::Reading, For::Writing, For::Creating] {
            assert!(open(&root, &names(&["folder", "file"]), purpose).unwrap_err().0.contains("not a folder"));
            assert!(open(&root, &names(&["file"]), purpose).unwrap_err().0.contains("symbolic link"));
            assert!(open(&root, &names(&["dangling"]), purpose).unwrap_err().0.contains("symbolic link"));
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open(dir.path(), &[], For::Reading).unwrap_err().0.contains("not a regular file"));
    }
}
