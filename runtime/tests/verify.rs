//! A whole store is checked: whatever is wrong in it is named, and nothing else.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::merkle::{VerifiedChunk, height_for, leaves, root, sha256};
use kollator_core::metainfo::{MetainfoBuilder, piece_root};
use kollator_core::store::Key;
use kollator_runtime::blocking::Blocking;
use kollator_runtime::storage::{Backing, CacheDir, DirBacking, Finding, PutMode, verify_backing, verify_cache};

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
    let report = |finding: Finding<'_>| match finding {
        Finding::Wrong { name, .. } => names.push(name.to_owned()),
        Finding::Missing { .. } => panic!("{finding:?}"),
    };
    let verified = verify_backing(&backing, &Blocking::Inline, report).await.unwrap();
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
async fn the_chunks_that_a_share_lacks_are_named() {
    const PIECE: u32 = 16_384;
    let folder = tempfile::tempdir().unwrap();
    let backing = DirBacking::open(folder.path(), Blocking::Inline).unwrap();
    // Two shares with two chunks of their own and one in common.
    let data: Vec<u8> = (0..5 * PIECE).map(|i| (i / PIECE * 7 + i % 251) as u8).collect();
    let data: Vec<&[u8]> = data.chunks(PIECE as usize).collect();
    let shares = [[0, 1, 2], [2, 3, 4]].map(|pieces| {
        let mut builder = MetainfoBuilder::new("share", PIECE).unwrap();
        let roots = pieces.map(|piece| piece_root(data[piece], u64::from(3 * PIECE), PIECE));
        builder.file(&["a"], u64::from(3 * PIECE), roots.into()).unwrap();
        builder.build().unwrap()
    });
    for (share, pieces) in shares.iter().zip([[0, 1, 2], [2, 3, 4]]) {
        let ko = Key::Torrent(share.info_hash());
        backing.put(ko, share.raw().clone(), PutMode::Replace).await.unwrap();
        for (piece, number) in share.pieces().iter().zip(pieces) {
            let body = Bytes::copy_from_slice(data[number]);
            backing.put(Key::Chunk(piece.chunk), body, PutMode::Create).await.unwrap();
        }
    }
    assert_eq!(wrong_in_store(folder.path()).await, (7, vec![]));
    let key = |share: usize, piece: usize| Key::Chunk(shares[share].pieces()[piece].chunk).to_string();
    let ko = |share: usize| Key::Torrent(shares[share].info_hash()).to_string();
    fs::remove_file(folder.path().join(key(0, 0))).unwrap();
    // The one in common is there, and not right.
    flip(&folder.path().join(key(0, 2)));
    let (mut wrong, mut missing) = (Vec::new(), Vec::new());
    let report = |finding: Finding<'_>| match finding {
        Finding::Wrong { name, .. } => wrong.push(name.to_owned()),
        Finding::Missing { ko, chunk } => missing.push((ko.to_owned(), chunk.to_owned())),
    };
    let verified = verify_backing(&backing, &Blocking::Inline, report).await.unwrap();
    assert_eq!((verified.right, verified.wrong, verified.missing), (5, 1, 3));
    assert_eq!(wrong, [key(0, 2)]);
    let mut expected = vec![(ko(0), key(0, 0)), (ko(0), key(0, 2)), (ko(1), key(0, 2))];
    expected.sort();
    missing.sort();
    assert_eq!(missing, expected);
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_right() {
    let folder = tempfile::tempdir().unwrap();
    let backing = DirBacking::of_existing(folder.path().join("none"), Blocking::Inline);
    let error = verify_backing(&backing, &Blocking::Inline, |_| {}).await.unwrap_err();
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
