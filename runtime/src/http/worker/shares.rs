//! The shares whose files were asked for lately, parsed; and which file a path names. Never more bytes than its bound,
//! the share that was asked for last aside.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use kollator_core::id::InfoHash;
use kollator_core::metainfo::{File, Metainfo, Piece};
use kollator_core::node::worker::{Ask, AskError, Told};
use lru::LruCache;

use crate::blocking::Blocking;
use crate::node::asker::Asker;

/// Most bytes of parsed shares kept.
const MAX_BYTES: usize = 64 << 20;

/// Looks up shares.
#[derive(Debug)]
pub(super) struct Shares {
    asker: Asker,
    blocking: Blocking,
    parsed: Mutex<Parsed>,
}

#[derive(Debug)]
struct Parsed {
    bytes: usize,
    shares: LruCache<InfoHash, Arc<Metainfo>>,
}

impl Shares {
    pub(super) fn new(asker: Asker, blocking: Blocking) -> Self {
        let parsed = Mutex::new(Parsed { bytes: 0, shares: LruCache::unbounded() });
        Self { asker, blocking, parsed }
    }

    /// A share that is stored; `None` if it is not.
    pub(super) async fn get(&self, info_hash: InfoHash) -> Result<Option<Arc<Metainfo>>, AskError> {
        if let Some(share) = self.parsed().shares.get(&info_hash) {
            return Ok(Some(share.clone()));
        }
        let ko = match self.asker.ask(Ask::Torrent(info_hash)).await? {
            Told::Torrent(Some(ko)) => ko,
            Told::Torrent(None) => return Ok(None),
            other => unreachable!("a .ko was asked for, not {other:?}"),
        };
        let share = self.blocking.run(move || Metainfo::parse(ko)).await;
        let share = Arc::new(share.expect("what is stored was parsed when it was read"));
        self.parsed().insert(share.clone());
        Ok(Some(share))
    }

    fn parsed(&self) -> std::sync::MutexGuard<'_, Parsed> {
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parsed {
    fn insert(&mut self, share: Arc<Metainfo>) {
        self.bytes += weight(&share);
        if let Some(old) = self.shares.put(share.info_hash(), share) {
            self.bytes -= weight(&old);
        }
        while self.bytes > MAX_BYTES && self.shares.len() > 1 {
            let (_, oldest) = self.shares.pop_lru().expect("there are several");
            self.bytes -= weight(&oldest);
        }
    }
}

/// Bytes that a share takes in memory, about.
fn weight(share: &Metainfo) -> usize {
    let names: usize = share.files().iter().flat_map(|file| &file.path).map(|name| name.len() + 24).sum();
    share.raw().len() + size_of_val::<[Piece]>(share.pieces()) + size_of_val::<[File]>(share.files()) + names
}

/// A path that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path has a percent sign that two hexadecimal digits do not follow")]
pub(super) struct BadPath;

/// The file that a percent-encoded path names: the share's name, and in a folder the path of the file below it, as BEP
/// 19 has it. Paths are compared, never followed.
pub(super) fn file_at(share: &Metainfo, path: &str) -> Result<Option<usize>, BadPath> {
    let components = path.split('/').map(decode).collect::<Result<Vec<_>, _>>()?;
    let Some((name, below)) = components.split_first() else { return Ok(None) };
    if name.as_ref() != share.name().as_bytes() {
        return Ok(None);
    }
    if share.is_single_file() {
        return Ok(below.is_empty().then_some(0));
    }
    // Files are in the order of their paths, component by component.
    let found = share
        .files()
        .binary_search_by(|file| file.path.iter().map(String::as_bytes).cmp(below.iter().map(AsRef::as_ref)));
    Ok(found.ok())
}

/// Undoes percent-encoding (RFC 3986, 2.1).
fn decode(component: &str) -> Result<Cow<'_, [u8]>, BadPath> {
    let mut parts = component.split('%');
    let plain = parts.next().unwrap_or_default().as_bytes();
    if plain.len() == component.len() {
        return Ok(Cow::Borrowed(plain));
    }
    let mut bytes = plain.to_vec();
    for part in parts {
        let (digits, rest) = part.as_bytes().split_at_checked(2).ok_or(BadPath)?;
        let nibble = |digit: u8| (digit as char).to_digit(16).ok_or(BadPath);
        bytes.push((nibble(digits[0])? << 4 | nibble(digits[1])?) as u8);
        bytes.extend_from_slice(rest);
    }
    Ok(Cow::Owned(bytes))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use kollator_core::metainfo::MetainfoBuilder;
    use proptest::prelude::*;

    use super::*;

    fn share(name: &str, paths: &[&[&str]]) -> Metainfo {
        let mut builder = MetainfoBuilder::new(name, 16_384).unwrap();
        for path in paths {
            builder.file(path, 0, Vec::new()).unwrap();
        }
        builder.build().unwrap()
    }

    fn encode(component: &str, all: bool) -> String {
        component.bytes().fold(String::new(), |mut out, byte| {
            if !all && (byte.is_ascii_alphanumeric() || byte == b'.') {
                out.push(byte as char);
            } else {
                write!(out, "%{byte:02x}").unwrap();
            }
            out
        })
    }

    proptest! {
        /// Every file is found under its own path, however that is encoded, and under no other.
        #[test]
        fn every_file_is_found_under_its_path(
            paths in proptest::collection::btree_set(proptest::collection::vec("[a-c%/é .-]{1,3}", 1..4), 1..20), all: bool,
        ) {
            let mut builder = MetainfoBuilder::new("über %41", 16_384).unwrap();
            for path in &paths {
                // Some clash with others, or are no names.
                let _ = builder.file(path, 0, Vec::new());
            }
            let Ok(share) = builder.build() else { return Ok(()) };
            for (index, file) in share.files().iter().enumerate() {
                if share.is_single_file() {
                    continue;
                }
                let components = std::iter::once("über %41").chain(file.path.iter().map(String::as_str));
                let path: Vec<String> = components.map(|component| encode(component, all)).collect();
                prop_assert_eq!(file_at(&share, &path.join("/")), Ok(Some(index)));
                prop_assert_eq!(file_at(&share, &(path.join("/") + "/")), Ok(None));
                prop_assert_eq!(file_at(&share, &path[1..].join("/")), Ok(None));
            }
        }
    }

    #[test]
    fn what_names_no_file_is_not_found() {
        let folder = share("f", &[&["a", "b"], &["x"]]);
        assert_eq!(file_at(&folder, "f/a/b"), Ok(Some(0)));
        assert_eq!(file_at(&folder, "f/%61%2Fb"), Ok(None), "an encoded slash separates nothing");
        for path in
            ["", "/", "f", "f/", "f/a", "f/a/", "f/a/b/c", "f//x", "f/./x", "f/a/../x", "f/%2e%2e/f/x", "g/x", "x"]
        {
            assert_eq!(file_at(&folder, path), Ok(None), "{path}");
        }
        for path in ["f/%", "f/%6", "f/%zz", "f/x%+1"] {
            assert_eq!(file_at(&folder, path), Err(BadPath), "{path}");
        }
        let single = share("only", &[&["only"]]);
        assert!(single.is_single_file());
        assert_eq!(file_at(&single, "only"), Ok(Some(0)));
        for path in ["", "only/", "only/only", "other"] {
            assert_eq!(file_at(&single, path), Ok(None), "{path}");
        }
    }
}
