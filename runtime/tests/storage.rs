//! The worker's disk: what a crash, a rotten file or a foreign one can do to the cache and the local store.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::merkle::{VerifiedChunk, height_for, leaves, root};
use kollator_core::node::io::Ticket;
use kollator_core::store::{Effect, Key, Outcome, Part, PartData, cached_len};
use kollator_runtime::blocking::Blocking;
use kollator_runtime::storage::{Backing, CacheDir, DirBacking, Found, PutMode, StoreDriver};

fn chunk(length: u32) -> VerifiedChunk {
    let data: Bytes = (0..length).map(|i| (i * 13 % 251) as u8).collect();
    let hashes = leaves(&data);
    let height = height_for(hashes.len() as u64);
    VerifiedChunk::verify(ChunkId::new(root(&hashes, height, Digest::default()), length, height).unwrap(), data)
        .unwrap()
}

fn file(root: &Path, chunk: ChunkId) -> PathBuf {
    let name = format!("{}.{}.{}", chunk.root(), chunk.length(), chunk.height());
    root.join(&name[..2]).join(name)
}

#[test]
fn a_cached_chunk_is_read_part_by_part_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let whole = chunk(50_000);
    let (cache, found) = CacheDir::open(folder.path()).unwrap();
    assert!(found.is_empty());
    cache.write(&whole).unwrap();
    for part in [Part::Leaves, Part::Blocks { first: 0, count: 4 }, Part::Blocks { first: 3, count: 1 }] {
        assert_eq!(read(&cache, whole.id(), part), part.of(&whole));
    }
    assert_eq!(fs::metadata(file(folder.path(), whole.id())).unwrap().len(), cached_len(whole.id()));
    let refused = CacheDir::open(folder.path()).unwrap_err();
    assert!(refused.0.contains("another process"), "{refused}");
    drop(cache);
    fs::File::options()
        .write(true)
        .open(file(folder.path(), whole.id()))
        .unwrap()
        .set_modified(SystemTime::now() - Duration::from_secs(1000))
        .unwrap();
    let (cache, found) = CacheDir::open(folder.path()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, whole.id());
    assert!(found[0].1 >= Duration::from_secs(1000));
    cache.remove(whole.id()).unwrap();
    cache.remove(whole.id()).unwrap();
    assert!(matches!(cache.read(whole.id(), Part::Leaves), Outcome::Failed(_)));
}

#[test]
fn a_flipped_bit_is_never_read() {
    let folder = tempfile::tempdir().unwrap();
    let whole = chunk(50_000);
    let path = file(folder.path(), whole.id());
    let (cache, _) = CacheDir::open(folder.path()).unwrap();
    for at in [0, 16_383, 16_384, 40_000, 49_999, 50_000, 50_100, cached_len(whole.id()) as usize - 1] {
        cache.write(&whole).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 0x20;
        fs::write(&path, &bytes).unwrap();
        for first in 0..4 {
            let part = Part::Blocks { first, count: 1 };
            // Only what follows the data concerns every block.
            let is_hit = at >= 50_000 || at / 16_384 == usize::from(first);
            match cache.read(whole.id(), part) {
                Outcome::Read(data) if !is_hit => assert_eq!(Some(data), part.of(&whole)),
                Outcome::Corrupt(_) if is_hit => {}
                other => panic!("byte {at}, block {first}: {other:?}"),
            }
        }
        assert!(matches!(cache.read(whole.id(), Part::Blocks { first: 0, count: 4 }), Outcome::Corrupt(_)));
        cache.remove(whole.id()).unwrap();
    }
}

fn read(cache: &CacheDir, chunk: ChunkId, part: Part) -> Option<PartData> {
    match cache.read(chunk, part) {
        Outcome::Read(data) => Some(data),
        _ => None,
    }
}

#[test]
fn whatever_is_not_a_whole_chunk_is_removed_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let whole = chunk(20_000);
    let path = file(folder.path(), whole.id());
    let (cache, _) = CacheDir::open(folder.path()).unwrap();
    cache.write(&whole).unwrap();
    drop(cache);
    let right = fs::read(&path).unwrap();
    let mut wrongs: Vec<Vec<u8>> =
        [0, 1, 19_999, 20_000, 20_064, right.len() - 1].map(|n| right[..n].to_vec()).into();
    wrongs.push([&right[..], b"x"].concat());
    for at in 20_000..right.len() {
        let mut wrong = right.clone();
        wrong[at] ^= 1;
        wrongs.push(wrong);
    }
    for wrong in wrongs.into_iter().step_by(5) {
        fs::write(&path, wrong).unwrap();
        fs::write(path.with_extension("1.tmp"), b"half").unwrap();
        fs::write(path.with_file_name("readme"), b"foreign").unwrap();
        let (_, found) = CacheDir::open(folder.path()).unwrap();
        assert_eq!(found, []);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }
}

#[test]
fn a_folder_that_is_no_cache_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), b"years of work").unwrap();
    assert!(CacheDir::open(folder.path()).unwrap_err().0.contains("holds other files"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_folder_keeps_objects_and_forgets_what_a_crash_left() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, temporary) = (chunk(100), folder.path().join("tmp"));
    fs::create_dir_all(&temporary).unwrap();
    for (name, age) in [("old", 4000), ("new", 10)] {
        fs::write(temporary.join(name), b"half").unwrap();
        let file = fs::File::options().write(true).open(temporary.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    let backing = DirBacking::open(folder.path(), Blocking::threads(1)).unwrap();
    assert!(!temporary.join("old").exists(), "its process is gone");
    assert!(temporary.join("new").exists(), "another process may still write it");
    let key = Key::Chunk(whole.id());
    assert_eq!(backing.get(key).await.unwrap(), Found::Nothing);
    assert!(!backing.has(key).await.unwrap());
    backing.put(key, whole.data().clone(), PutMode::Create).await.unwrap();
    assert_eq!(backing.get(key).await.unwrap(), Found::Body(whole.data().clone()));
    let path = folder.path().join(key.to_string());
    fs::write(&path, &whole.data()[..50]).unwrap();
    assert!(!backing.has(key).await.unwrap(), "a torn object is not there");
    assert_eq!(backing.get(key).await.unwrap(), Found::WrongLength(50));
    backing.put(key, whole.data().clone(), PutMode::Create).await.unwrap();
    assert!(backing.has(key).await.unwrap(), "a torn object is replaced");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 1);
}

#[tokio::test]
async fn a_wrong_body_is_never_returned_and_the_next_put_heals_it() {
    let folder = tempfile::tempdir().unwrap();
    let whole = chunk(20_000);
    let (cache, _) = CacheDir::open(folder.path().join("cache")).unwrap();
    let backing = Arc::new(DirBacking::open(folder.path().join("store"), Blocking::Inline).unwrap());
    let path = folder.path().join("store").join(Key::Chunk(whole.id()).to_string());
    let driver = StoreDriver::new(cache, backing, Blocking::Inline);
    let (ticket, key) = (Ticket(7), Key::Chunk(whole.id()));
    let fetch = || driver.execute(Effect::FetchChunk { ticket, chunk: whole.id() });
    for length in [20_000, 0, 19_999, 20_001] {
        fs::write(&path, vec![0; length]).unwrap();
        assert!(matches!(fetch().await.outcome, Outcome::Corrupt(_)), "{length} bytes");
        assert!(matches!(driver.execute(Effect::Exists { ticket, key }).await.outcome, Outcome::Exists(false)));
        let put = driver.execute(Effect::PutChunk { ticket, chunk: whole.clone() }).await;
        assert!(matches!(put.outcome, Outcome::Done));
        match fetch().await.outcome {
            Outcome::Chunk(Some(fetched)) => assert_eq!(fetched.data(), whole.data()),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_chunk_asked_for_at_a_wrong_height_is_not_there_and_the_right_one_stays_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, _) = CacheDir::open(folder.path().join("cache")).unwrap();
    let backing = Arc::new(DirBacking::open(folder.path().join("store"), Blocking::Inline).unwrap());
    let driver = StoreDriver::new(cache, Arc::<DirBacking>::clone(&backing), Blocking::Inline);
    let ticket = Ticket(1);
    let fetch = |chunk| driver.execute(Effect::FetchChunk { ticket, chunk });
    for right in [chunk(20_000), chunk(100)] {
        let (id, key) = (right.id(), Key::Chunk(right.id()));
        backing.put(key, right.data().clone(), PutMode::Create).await.unwrap();
        let heights = (0..=10).filter(|height| *height != id.height());
        for wrong in heights.filter_map(|height| ChunkId::new(id.root(), id.length(), height)) {
            let outcome = fetch(wrong).await.outcome;
            assert!(matches!(outcome, Outcome::Chunk(None)), "{wrong:?}: {outcome:?}");
            let exists = driver.execute(Effect::Exists { ticket, key }).await.outcome;
            assert!(matches!(exists, Outcome::Exists(true)), "{wrong:?}");
        }
        assert!(matches!(fetch(id).await.outcome, Outcome::Chunk(Some(_))));
        // Bytes that are the chunk at no height are wrong, whoever asks.
        backing.put(key, vec![0; id.length() as usize].into(), PutMode::Replace).await.unwrap();
        let wrong = ChunkId::new(id.root(), id.length(), 10).unwrap();
        assert!(matches!(fetch(wrong).await.outcome, Outcome::Corrupt(_)));
        assert!(matches!(driver.execute(Effect::Exists { ticket, key }).await.outcome, Outcome::Exists(false)));
    }
}

#[tokio::test]
async fn a_rotten_object_is_replaced_by_who_uploads_the_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let backing = DirBacking::open(folder.path(), Blocking::Inline).unwrap();
    let whole = chunk(20_000);
    let key = Key::Chunk(whole.id());
    let path = folder.path().join(key.to_string());
    let put = || backing.put(key, whole.data().clone(), PutMode::Create);
    put().await.unwrap();
    let before = SystemTime::now() - Duration::from_secs(1000);
    fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    put().await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before, "the same bytes are not written twice");
    let mut rotten = fs::read(&path).unwrap();
    rotten[10_000] ^= 1;
    fs::write(&path, rotten).unwrap();
    put().await.unwrap();
    assert_eq!(backing.get(key).await.unwrap(), Found::Body(whole.data().clone()));
}
