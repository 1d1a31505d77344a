//! A whole store is checked: whatever is wrong in it is named, and nothing else.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::merkle::{VerifiedChunk, height_for, leaves, root, sha256};
use kollator_core::store::Key;
use kollator_runtime::blocking::Blocking;
use kollator_runtime::storage::{Backing, CacheDir, DirBacking, PutMode, verify_backing, verify_cache};

/// A chunk whose tree is `padding` levels higher than it must be.
fn chunk(length: u32, padding: u8) -> VerifiedChunk {
    let data: Bytes = (0..length).map(|i| (i * 13 % 251) as u8).collect();
    let hashes = leaves(&data);
    let height = height_for(hashes.len() as u64) + padding;
    let id = ChunkId::new(root(&hashes, height, Digest::default()), length, height).unwrap();
    VerifiedChunk::verify(id, data).unwrap()
}

fn chunks() -> Vec<VerifiedChunk> {
    [(1, 0), (64, 0), (64, 3), (20_000, 0), (20_000, 1), (50_000, 8)]
        .map(|(length, pad)| chunk(length, pad))
        .into()
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

async fn wrong_in_store(root: &Path) -> (u64, Vec<String>) {
    let mut names = Vec::new();
    let backing = DirBacking::of_existing(root, Blocking::Inline);
    let verified =
        verify_backing(&backing, &Blocking::Inline, |name, _| names.push(name.to_owned())).await.unwrap();
    assert_eq!(verified.wrong, names.len() as u64);
    names.sort();
    (verified.right, names)
}

#[tokio::test]
async fn every_wrong_object_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let backing = DirBacking::open(folder.path(), Blocking::Inline).unwrap();
    for whole in chunks() {
        backing.put(Key::Chunk(whole.id()), whole.data().clone(), PutMode::Create).await.unwrap();
    }
    assert_eq!(wrong_in_store(folder.path()).await, (6, vec![]));
    let name = |number: usize| Key::Chunk(chunks()[number].id()).to_string();
    flip(&folder.path().join(name(0)));
    flip(&folder.path().join(name(5)));
    fs::write(folder.path().join(name(3)), b"short").unwrap();
    let torrent = format!("torrents/{}.ko", sha256(b"a share"));
    let foreign = ["chunks/readme".to_owned(), format!("chunks/{}.0", sha256(b"x")), torrent];
    for name in &foreign {
        fs::write(folder.path().join(name), b"foreign").unwrap();
    }
    let mut wrong = [name(0), name(5), name(3)].to_vec();
    wrong.extend(foreign);
    wrong.sort();
    assert_eq!(wrong_in_store(folder.path()).await, (3, wrong));
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_right() {
    let folder = tempfile::tempdir().unwrap();
    let backing = DirBacking::of_existing(folder.path().join("none"), Blocking::Inline);
    let error = verify_backing(&backing, &Blocking::Inline, |_, _| {}).await.unwrap_err();
    assert!(error.0.contains("none"), "{error}");
    assert!(!folder.path().join("none").exists());
}

#[test]
fn every_wrong_file_of_the_cache_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, _) = CacheDir::open(folder.path()).unwrap();
    for whole in chunks() {
        cache.write(&whole).unwrap();
    }
    assert!(verify_cache(folder.path(), |_, _| {}).unwrap_err().0.contains("another process uses it"));
    drop(cache);
    let check = || {
        let mut names = Vec::new();
        let verified = verify_cache(folder.path(), |name, _| names.push(name.to_owned())).unwrap();
        assert_eq!(verified.wrong, names.len() as u64);
        (verified.right, names)
    };
    assert_eq!(check(), (6, vec![]));
    let name = |number: usize| {
        let id = chunks()[number].id();
        format!("{:02x}/{}.{}.{}", id.root().0[0], id.root(), id.length(), id.height())
    };
    flip(&folder.path().join(name(3)));
    let longer = [&fs::read(folder.path().join(name(4))).unwrap()[..], b"x"].concat();
    fs::write(folder.path().join(name(4)), longer).unwrap();
    fs::write(folder.path().join(name(5)).with_extension("8.tmp"), b"half").unwrap();
    fs::write(folder.path().join("00/readme"), b"foreign").unwrap();
    let mut wrong = vec![name(3), name(4), "00/readme".to_owned()];
    wrong.sort();
    assert_eq!(check(), (4, wrong));
}
