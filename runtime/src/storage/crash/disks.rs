//! Every disk that a power cut may leave.
//!
//! Only what was synced is sure: the content of a file up to its last sync, the names in a folder up to that folder's
//! last sync. Of later changes of names any may be there and any may be missing, in any order; a rename inside a folder
//! is there as a whole or not at all, one between folders may have reached either of them alone. Of later content any
//! part may be missing, torn or zeros.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::journal::Change;

/// What there is under each path.
pub(super) type Disk = BTreeMap<PathBuf, Node>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Folder,
    File(Vec<u8>),
}

/// A folder in which disks are laid out, one after the other.
#[derive(Default)]
pub(super) struct Room(Option<TempDir>);

impl Room {
    /// Makes a disk; where it is. Most have the same many folders: they are made once.
    pub(super) fn lay_out(&mut self, disk: &Disk) -> &Path {
        let folders = disk.iter().filter(|(_, node)| **node == Node::Folder).map(|(path, _)| path.clone());
        let folders: BTreeSet<PathBuf> = folders.collect();
        let is_fit = |room: &TempDir| emptied(room.path()) == folders;
        let room = self.0.take().filter(is_fit).unwrap_or_else(|| {
            let room = tempfile::tempdir().unwrap();
            folders.iter().for_each(|path| fs::create_dir(room.path().join(path)).unwrap());
            room
        });
        for (path, node) in disk {
            if let Node::File(content) = node {
                fs::write(room.path().join(path), content).unwrap();
            }
        }
        self.0.insert(room).path()
    }
}

/// Removes all files below a folder; the folders there.
fn emptied(root: &Path) -> BTreeSet<PathBuf> {
    let (mut folders, mut left) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.insert(path.strip_prefix(root).unwrap().to_owned());
                left.push(path);
            } else {
                fs::remove_file(path).unwrap();
            }
        }
    }
    folders
}

/// Every disk that may be left after these changes to an empty one; each once.
pub(super) fn disks(changes: &[Change]) -> BTreeSet<Disk> {
    let mut made = Made::default();
    made.folders.insert(PathBuf::new(), Folder::default());
    changes.iter().for_each(|change| made.apply(change));
    made.disks()
}

type Names = BTreeMap<OsString, Entry>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Folder,
    File(usize),
}

/// Changes of names that are on the disk together or not at all.
type Renaming = Vec<(OsString, Option<Entry>)>;

#[derive(Debug, Default)]
struct Folder {
    sure: Names,
    unsure: Vec<Renaming>,
}

#[derive(Debug, Default)]
struct Content {
    sure: Vec<u8>,
    unsure: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Made {
    folders: BTreeMap<PathBuf, Folder>,
    files: BTreeMap<usize, Content>,
}

fn applied(names: &Names, changes: impl IntoIterator<Item = Renaming>) -> Names {
    let mut names = names.clone();
    for (name, entry) in changes.into_iter().flatten() {
        match entry {
            Some(entry) => names.insert(name, entry),
            None => names.remove(&name),
        };
    }
    names
}

impl Folder {
    /// Each way in which its unsure changes may be there or missing; a few of them, where there are many.
    fn ways(&self) -> BTreeSet<Names> {
        let count = self.unsure.len();
        let chosen: Vec<Vec<bool>> = if count <= 5 {
            (0..1u32 << count).map(|set| (0..count).map(|at| (set >> at) & 1 == 1).collect()).collect()
        } else {
            let few: BTreeSet<usize> =
                if count <= 16 { (0..count).collect() } else { [0, count / 2, count - 1].into() };
            let plain = [vec![false; count], vec![true; count]];
            let but_one = few.into_iter().flat_map(|one| {
                [true, false].map(|others| (0..count).map(|at| (at == one) != others).collect::<Vec<_>>())
            });
            plain.into_iter().chain(but_one).collect()
        };
        let names = chosen.into_iter().map(|chosen| {
            let there = self.unsure.iter().zip(chosen).filter(|(_, there)| *there);
            applied(&self.sure, there.map(|(change, _)| change.clone()))
        });
        names.collect()
    }
}

impl Content {
    /// Each content that may be there.
    fn ways(&self) -> BTreeSet<Vec<u8>> {
        let sure = || self.sure.clone();
        let whole = [sure(), self.unsure.concat()].concat();
        let mut ways = BTreeSet::from([sure(), whole.clone()]);
        if self.unsure.is_empty() {
            return ways;
        }
        for cut in [whole.len().saturating_sub(1), usize::midpoint(self.sure.len(), whole.len())] {
            ways.insert(whole[..cut.max(self.sure.len())].to_vec());
        }
        // The length is there, and some of the bytes are not.
        let mut begin = self.sure.len();
        for part in &self.unsure {
            for (from, to) in [(0, part.len()), (0, part.len() / 2), (part.len() / 2, part.len())] {
                let mut holed = whole.clone();
                holed[begin + from..begin + to].fill(0);
                ways.insert(holed);
            }
            begin += part.len();
            ways.insert(whole[..begin].to_vec());
        }
        let mut zeros = sure();
        zeros.resize(whole.len(), 0);
        ways.insert(zeros);
        ways
    }
}

impl Made {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Folder(path) => {
                self.folders.insert(path.clone(), Folder::default());
                self.name(path, Some(Entry::Folder));
            }
            Change::Create { path, file } => {
                self.files.insert(*file, Content::default());
                self.name(path, Some(Entry::File(*file)));
            }
            Change::Write { file, bytes } => self.files.get_mut(file).unwrap().unsure.push(bytes.clone()),
            Change::Sync { file } => {
                let content = self.files.get_mut(file).unwrap();
                let unsure = std::mem::take(&mut content.unsure);
                content.sure.extend(unsure.concat());
            }
            Change::Rename { from, to } => {
                let folder = self.folder(from);
                let entry = applied(&folder.sure, folder.unsure.clone())[from.file_name().unwrap()];
                if from.parent() == to.parent() {
                    let name = |path: &Path| path.file_name().unwrap().to_owned();
                    let both = vec![(name(from), None), (name(to), Some(entry))];
                    self.folder(from).unsure.push(both);
                } else {
                    self.name(from, None);
                    self.name(to, Some(entry));
                }
            }
            Change::Remove(path) => self.name(path, None),
            Change::SyncFolder(path) => {
                let folder = self.folders.get_mut(path).unwrap();
                folder.sure = applied(&folder.sure, std::mem::take(&mut folder.unsure));
            }
        }
    }

    fn folder(&mut self, path: &Path) -> &mut Folder {
        self.folders.get_mut(path.parent().unwrap()).unwrap()
    }

    fn name(&mut self, path: &Path, entry: Option<Entry>) {
        let name = path.file_name().unwrap().to_owned();
        self.folder(path).unsure.push(vec![(name, entry)]);
    }

    fn disks(&self) -> BTreeSet<Disk> {
        // The names in all folders, each way with each way.
        let mut ways: Vec<BTreeMap<&Path, Names>> = vec![BTreeMap::new()];
        for (path, folder) in &self.folders {
            let names = folder.ways();
            ways = ways
                .iter()
                .flat_map(|way| {
                    names.iter().map(|names| {
                        let mut way = way.clone();
                        way.insert(path, names.clone());
                        way
                    })
                })
                .collect();
        }
        let mut disks = BTreeSet::new();
        for way in &ways {
            let mut tree = Vec::new();
            reach(way, Path::new(""), &mut tree);
            // The contents of all files, each in every way while the others are whole.
            let whole = |file: &usize| {
                let content = &self.files[file];
                [&content.sure[..], &content.unsure.concat()].concat()
            };
            let disk = |contents: &dyn Fn(usize) -> Vec<u8>| -> Disk {
                let node = |entry: &Entry| match entry {
                    Entry::Folder => Node::Folder,
                    Entry::File(file) => Node::File(contents(*file)),
                };
                tree.iter().map(|(path, entry)| (path.clone(), node(entry))).collect()
            };
            disks.insert(disk(&|file| whole(&file)));
            disks.insert(disk(&|file| self.files[&file].sure.clone()));
            for (_, entry) in &tree {
                let Entry::File(hit) = entry else { continue };
                for content in self.files[hit].ways() {
                    disks.insert(disk(&|file| if file == *hit { content.clone() } else { whole(&file) }));
                }
            }
        }
        disks
    }
}

/// All paths that lead somewhere from `folder` on.
fn reach(way: &BTreeMap<&Path, Names>, folder: &Path, tree: &mut Vec<(PathBuf, Entry)>) {
    for (name, entry) in &way[folder] {
        let path = folder.join(name);
        tree.push((path.clone(), *entry));
        if *entry == Entry::Folder {
            reach(way, &path, tree);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(disks: &BTreeSet<Disk>) -> BTreeSet<String> {
        let list = |disk: &Disk| disk.keys().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
        disks.iter().map(list).collect()
    }

    #[test]
    fn only_what_was_synced_is_sure() {
        let create = |path: &str, file| Change::Create { path: path.into(), file };
        let mut changes = vec![create("a", 0), Change::Write { file: 0, bytes: b"abcd".to_vec() }];
        assert_eq!(paths(&disks(&changes)), ["", "a"].map(str::to_owned).into());
        let contents: BTreeSet<Disk> = disks(&changes);
        for content in ["", "ab", "abc", "abcd", "\0\0cd", "ab\0\0", "\0\0\0\0"] {
            let disk = Disk::from([("a".into(), Node::File(content.into()))]);
            assert!(contents.contains(&disk), "{content:?}");
        }
        changes.extend([Change::Sync { file: 0 }, Change::SyncFolder("".into())]);
        let sure = Disk::from([("a".into(), Node::File(b"abcd".to_vec()))]);
        assert_eq!(disks(&changes), [sure].into());
        changes.push(Change::Rename { from: "a".into(), to: "b".into() });
        assert_eq!(paths(&disks(&changes)), ["a", "b"].map(str::to_owned).into());
        changes.extend([Change::SyncFolder("".into()), Change::Folder("c".into()), Change::SyncFolder("".into())]);
        changes.push(Change::Rename { from: "b".into(), to: "c/d".into() });
        let between = ["b c", "b c c/d", "c", "c c/d"];
        assert_eq!(paths(&disks(&changes)), between.map(str::to_owned).into());
        changes.push(Change::SyncFolder("c".into()));
        assert_eq!(paths(&disks(&changes)), ["b c c/d", "c c/d"].map(str::to_owned).into());
    }
}
