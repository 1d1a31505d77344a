//! Checks a whole store, cache and backing store, byte by byte, and says what is wrong and what shares lack. Changes
//! nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use kollator_core::id::{ChunkId, Digest, InfoHash};
use kollator_core::merkle::{self, BLOCK_LEN, MAX_HEIGHT};
use kollator_core::metainfo::Metainfo;
use kollator_core::node::io::DiskError;
use kollator_core::store::Key;

use super::backing::{Backing, Found};
use super::file_system::Os;
use super::{cache_dir, cache_file};
use crate::blocking::Blocking;

/// Objects of the backing store that are checked at a time.
const AT_ONCE: usize = 8;

/// How many objects were looked at, how many are wrong, and what shares lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Chunks and `.ko`s that are as their names say.
    pub right: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// All others, and what has no business there.
    pub wrong: u64,
    /// Chunks that shares have and the store has not, or not right; counted for each `.ko`.
    pub missing: u64,
}

/// Something that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding<'a> {
    /// An object is not what its name says, or its name says nothing.
    Wrong {
        /// Its name.
        name: &'a str,
        /// In words.
        why: &'a str,
    },
    /// The store has a share's `.ko`, and not one of the share's chunks, or not as it should be.
    Missing {
        /// Name of the `.ko`.
        ko: &'a str,
        /// Name of the chunk.
        chunk: &'a str,
    },
}

impl Verified {
    fn count(&mut self, name: &str, result: Result<u64, String>, wrong: &mut impl FnMut(&str, &str)) {
        match result {
            Ok(bytes) => {
                self.right += 1;
                self.bytes += bytes;
            }
            Err(why) => {
                self.wrong += 1;
                wrong(name, &why);
            }
        }
    }
}

/// Checks the cache in `root`, and tells `wrong` the name of each file that is wrong, and why. Files that a crash left
/// half written are no concern: they are removed when a worker starts. Blocks.
///
/// # Errors
/// If the folder cannot be read, is no cache, or a worker uses it.
pub fn verify_cache(root: &Path, mut wrong: impl FnMut(&str, &str)) -> Result<Verified, DiskError> {
    let mut verified = Verified::default();
    if !root.exists() {
        return Ok(verified);
    }
    let _lock = cache_dir::lock(&Os, root)?;
    let mut folders = entries(root)?;
    folders.retain(|name| name != cache_dir::LOCK_NAME);
    for folder in folders {
        let path = root.join(&folder);
        if !path.is_dir() {
            verified.count(&folder, Err("it is no folder of the cache".into()), &mut wrong);
            continue;
        }
        for file in entries(&path)? {
            let name = format!("{folder}/{file}");
            let unfinished = file.strip_suffix(".tmp").and_then(cache_file::parse_name).is_some();
            if !unfinished {
                verified.count(&name, cached(&path.join(&file), &folder, &file), &mut wrong);
            }
        }
    }
    Ok(verified)
}

/// Length of the chunk in a file of the cache, if it is right.
fn cached(path: &Path, folder: &str, name: &str) -> Result<u64, String> {
    let chunk = cache_file::parse_name(name).ok_or("its name is not that of a chunk")?;
    if name.get(..2) != Some(folder) {
        return Err("it is in the folder of other chunks".into());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    cache_file::verify(&file, chunk).map_err(|why| why.to_string())?;
    Ok(chunk.length().into())
}

/// The names in a folder, sorted.
fn entries(folder: &Path) -> Result<Vec<String>, DiskError> {
    let names = || -> io::Result<Vec<String>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let mut names = names().map_err(|error| DiskError(format!("could not list {}: {error}", folder.display())))?;
    names.sort();
    Ok(names)
}

/// Checks every chunk and `.ko` of the backing store, and whether it has every chunk of each `.ko`. Remembers every
/// chunk that is right, in about 60 bytes.
///
/// # Errors
/// If the backing store does not say what it has.
pub async fn verify_backing(
    backing: &dyn Backing,
    blocking: &Blocking,
    mut report: impl FnMut(Finding<'_>),
) -> Result<Verified, DiskError> {
    let mut verified = Verified::default();
    let mut right = BTreeSet::new();
    for prefix in ["chunks/", "torrents/"] {
        let mut after = String::new();
        loop {
            let names = backing.list(prefix, &after).await?;
            let Some(last) = names.iter().max() else { break };
            after.clone_from(last);
            let mut checks = stream::iter(names)
                .map(|name| async move { (stored(backing, blocking, &name).await, name) })
                .buffered(AT_ONCE);
            while let Some((result, name)) = checks.next().await {
                let mut wrong = |name: &str, why: &str| report(Finding::Wrong { name, why });
                match result {
                    Ok((length, Content::Chunk(chunk))) => {
                        verified.count(&name, Ok(length), &mut wrong);
                        right.insert(chunk);
                    }
                    Ok((length, Content::Share(chunks))) => {
                        verified.count(&name, Ok(length), &mut wrong);
                        for chunk in chunks.difference(&right) {
                            let key = Key::Chunk(*chunk).to_string();
                            // A worker may have stored it since.
                            let now = stored(backing, blocking, &key).await;
                            if !matches!(now, Ok((_, Content::Chunk(found))) if found == *chunk) {
                                verified.missing += 1;
                                report(Finding::Missing { ko: &name, chunk: &key });
                            }
                        }
                    }
                    Err(why) => verified.count(&name, Err(why), &mut wrong),
                }
            }
        }
    }
    Ok(verified)
}

/// What an object turned out to be.
enum Content {
    Chunk(ChunkId),
    /// The chunks of a share.
    Share(BTreeSet<ChunkId>),
}

/// Length of an object and what it is, if that is what its name says.
async fn stored(backing: &dyn Backing, blocking: &Blocking, name: &str) -> Result<(u64, Content), String> {
    let named = Named::parse(name).ok_or("its name is not that of a chunk or a .ko")?;
    match backing.get(named.key()).await.map_err(|error| error.0)? {
        Found::Nothing => Err("it was listed, and is not there".into()),
        Found::WrongLength(length) => Err(format!("it is {length} bytes long, which it cannot be")),
        Found::Body(body) => {
            let length = body.len() as u64;
            blocking.run(move || named.check(body)).await.map(|content| (length, content))
        }
    }
}

/// What the name of an object says.
enum Named {
    /// A chunk. Most names do not say how high its tree is: it is one of these.
    Chunk(Vec<ChunkId>),
    Torrent(InfoHash),
}

impl Named {
    fn parse(name: &str) -> Option<Self> {
        if let Some(hash) = name.strip_prefix("torrents/").and_then(|name| name.strip_suffix(".ko")) {
            let info_hash = hash.parse().ok()?;
            return (Key::Torrent(info_hash).to_string() == name).then_some(Self::Torrent(info_hash));
        }
        let mut fields = name.strip_prefix("chunks/")?.split('.');
        let (root, length): (Digest, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let lowest = merkle::height_for(u64::from(length.div_ceil(BLOCK_LEN)));
        let chunks: Vec<_> = (lowest..=MAX_HEIGHT)
            .filter_map(|height| ChunkId::new(root, length, height))
            .filter(|&chunk| Key::Chunk(chunk).to_string() == name)
            .collect();
        (!chunks.is_empty()).then_some(Self::Chunk(chunks))
    }

    fn key(&self) -> Key {
        match self {
            Self::Chunk(chunks) => Key::Chunk(chunks[0]),
            Self::Torrent(info_hash) => Key::Torrent(*info_hash),
        }
    }

    /// What it is, if these are its bytes.
    fn check(&self, body: Bytes) -> Result<Content, String> {
        match self {
            Self::Chunk(chunks) => {
                let leaves = merkle::leaves(&body);
                let is_right =
                    |chunk: &&ChunkId| merkle::root(&leaves, chunk.height(), Digest::default()) == chunk.root();
                let right = chunks.iter().find(is_right);
                right.map(|chunk| Content::Chunk(*chunk)).ok_or_else(|| "its bytes are not the chunk".into())
            }
            Self::Torrent(info_hash) => match Metainfo::parse(body) {
                Ok(share) if share.info_hash() == *info_hash => {
                    Ok(Content::Share(share.pieces().iter().map(|piece| piece.chunk).collect()))
                }
                Ok(share) => Err(format!("it is the share {}", share.info_hash())),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}
