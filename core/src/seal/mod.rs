//! Sealed shares: end-to-end encryption under one key a share, which travels in the link and never to a server.
//!
//! A sealed share is an ordinary share of ciphertext: whoever carries it verifies, stores and serves it as any
//! other. [`layout`] says how plain files become one, [`open`] gives back what one holds to who has the key, and
//! [`ContentKey`] turns blocks into leaves and back. All of it is a function of the key, the names and the bytes:
//! the same files under the same key are the same share, so it can be sealed anew whenever it is read. Keys come
//! from the caller, as nothing here has entropy; they are never printed but by who asks for their text.

mod content;
mod error;
mod key;
mod names;
mod person;

use std::collections::BTreeSet;

pub use content::{ContentKey, PLAIN_BLOCK_LEN, TAG_LEN, plain_length, sealed_length};
pub use error::SealError;
pub use key::{BadKey, ShareKey};
pub use names::MAX_SEALED_PATH;
pub use person::{Identity, PublicKey, WrappedKey};

use names::NamesKey;

use crate::metainfo::{MAX_FILES, MAX_PATH_DEPTH, Metainfo, name};

/// What every sealed share is called in its metainfo, and no other share may be.
pub const SEALED_NAME: &str = "kollator-sealed-1";

/// What a sealed share holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedShare {
    /// Name of the file or folder: one path component, safe to create.
    pub name: String,
    /// Whether it is one file rather than a folder.
    pub single_file: bool,
    /// The files, in the order that the metainfo has them.
    pub files: Vec<SealedFile>,
}

/// A file of a sealed share, as it is inside and outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFile {
    /// Its path below the share's name; for a single file, the name alone.
    pub path: Vec<String>,
    /// Bytes before sealing.
    pub length: u64,
    /// Its path in the metainfo.
    pub sealed_path: Vec<String>,
    /// Seals and opens its content.
    pub key: ContentKey,
}

impl SealedFile {
    /// Bytes in the metainfo.
    #[must_use]
    pub const fn sealed_length(&self) -> u64 {
        sealed_length(self.length)
    }
}

/// Whether the metainfo says that it is of a sealed share.
#[must_use]
pub fn is_sealed(metainfo: &Metainfo) -> bool {
    metainfo.name() == SEALED_NAME
}

/// How files become a sealed share: their paths below the share's name (one file alone under just that name is a
/// share of a single file) and their lengths. With it comes, for each file of the sealed share, which of `files`
/// it is, as a sealed share has an order of its own.
///
/// # Errors
/// If a name is unsafe, or a path too long to be sealed, there twice, or a file and a folder at once.
pub fn layout(
    key: &ShareKey,
    name: &str,
    files: &[(Vec<String>, u64)],
) -> Result<(OpenedShare, Vec<usize>), SealError> {
    if files.len() > MAX_FILES {
        return Err(SealError::TooMany);
    }
    let single_file = matches!(files, [(path, _)] if path[..] == [name]);
    let mut in_order = Vec::with_capacity(files.len());
    for (index, (path, _)) in files.iter().enumerate() {
        if path.is_empty() {
            return Err(SealError::unsafe_name("", "it is empty"));
        }
        let below = if single_file { &[] } else { &path[..] };
        check_path(name, below)?;
        let full: Vec<&str> = [name].into_iter().chain(below.iter().map(String::as_str)).collect();
        in_order.push((full.join("/"), index));
    }
    in_order.sort_unstable();
    let mut paths = Paths::default();
    let names = NamesKey::new(key);
    let mut sealed = Vec::with_capacity(files.len());
    for (number, (full, index)) in in_order.iter().enumerate() {
        paths.add(full)?;
        let name = names.seal(number as u32, full)?;
        let (path, length) = &files[*index];
        sealed.push(SealedFile {
            path: path.clone(),
            length: *length,
            sealed_path: name.path(number as u32),
            key: key.content_key(&name.nonce()),
        });
    }
    let share = OpenedShare { name: name.to_owned(), single_file, files: sealed };
    Ok((share, in_order.into_iter().map(|(_, index)| index).collect()))
}

/// What the sealed share of this metainfo holds, every name and length checked.
///
/// # Errors
/// [`SealError::NotSealed`], [`SealError::WrongKey`], or the first thing that no honest sealer makes.
pub fn open(metainfo: &Metainfo, key: &ShareKey) -> Result<OpenedShare, SealError> {
    if !is_sealed(metainfo) {
        return Err(SealError::NotSealed);
    }
    if metainfo.is_single_file() {
        return Err(SealError::NoFolder);
    }
    let names = NamesKey::new(key);
    let mut paths = Paths::default();
    let mut share: Option<(String, bool)> = None;
    let mut files = Vec::with_capacity(metainfo.files().len());
    for (number, file) in (0u32..).zip(metainfo.files()) {
        let at = |problem: &'static str| SealError::Malformed { file: number, problem };
        let sealed = names::Sealed::read(number, &file.path).map_err(at)?;
        let full = match names.open(number, &sealed) {
            Ok(full) => full,
            // A key that opens one name is the right one: what fails then is the share.
            Err(names::Unopened::Forged) if number == 0 => return Err(SealError::WrongKey),
            Err(names::Unopened::Forged) => {
                return Err(at("its name does not open with the key that opens others"));
            }
            Err(names::Unopened::Malformed(problem)) => return Err(at(problem)),
        };
        paths.add(&full)?;
        let mut components = full.split('/').map(str::to_owned);
        let name = components.next().expect("a split text has a first part");
        let below: Vec<String> = components.collect();
        check_path(&name, &below)?;
        let single_file = below.is_empty();
        let (first, _) = share.get_or_insert_with(|| (name.clone(), single_file));
        if *first != name {
            return Err(at("it is not in the folder of the others"));
        }
        let length = plain_length(file.length).ok_or_else(|| at("no file has its length when sealed"))?;
        files.push(SealedFile {
            path: if single_file { vec![name] } else { below },
            length,
            sealed_path: file.path.clone(),
            key: key.content_key(&sealed.nonce()),
        });
    }
    let (name, single_file) = share.expect("a metainfo has a file");
    Ok(OpenedShare { name, single_file, files })
}

/// What a share holds if it is sealed, `None` if it is not, each only with or without a key as it must be.
///
/// # Errors
/// As [`open`] says, and [`SealError::NoKey`] for a sealed share without one.
pub fn open_with(metainfo: &Metainfo, key: Option<&ShareKey>) -> Result<Option<OpenedShare>, SealError> {
    match key {
        Some(key) => open(metainfo, key).map(Some),
        None if is_sealed(metainfo) => Err(SealError::NoKey),
        None => Ok(None),
    }
}

/// Refuses what could not be created safely below a folder.
fn check_path(name: &str, below: &[String]) -> Result<(), SealError> {
    let components = [name].into_iter().chain(below.iter().map(String::as_str));
    for component in components {
        name::fault(component).map_or(Ok(()), |why| Err(SealError::unsafe_name(component, why)))?;
    }
    if below.len() > MAX_PATH_DEPTH {
        return Err(SealError::TooDeep { path: name::shortened(&below.join("/")) });
    }
    Ok(())
}

/// The full paths so far: each comes after all before it, and none goes through a file.
#[derive(Default)]
struct Paths(BTreeSet<String>);

impl Paths {
    fn add(&mut self, path: &str) -> Result<(), SealError> {
        let is_next = self.0.last().is_none_or(|last| last.as_str() < path);
        let is_inside_a_file = path.match_indices('/').any(|(end, _)| self.0.contains(&path[..end]));
        if !is_next || is_inside_a_file {
            return Err(SealError::Clash { path: name::shortened(path) });
        }
        self.0.insert(path.to_owned());
        Ok(())
    }
}
