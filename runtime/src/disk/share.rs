//! Makes the metainfo of a file or folder by hashing it on all cores. Writes nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kollator_core::id::Digest;
use kollator_core::merkle::root;
use kollator_core::metainfo::{DEFAULT_PIECE_LENGTH, Metainfo, MetainfoBuilder, piece_height};
use kollator_core::seal::{SealedFile, ShareKey, layout};

use super::form::{FileForm, Form};
use super::parallel::{self, Buffer};
use super::scan::{Found, Scan, ShareError, Stamp, scan};
use super::source::Source;

/// How to make a share.
#[derive(Clone, Debug)]
pub struct ShareOptions {
    /// Bytes in a piece, a power of two from 16 KiB to 16 MiB.
    pub piece_length: u32,
    /// Name of the share; that of the file or folder if absent.
    pub name: Option<String>,
    /// Base URLs of fronts that know the share.
    pub fronts: Vec<String>,
    /// What to encrypt the share with, if it is to be; the files stay as they are.
    pub key: Option<ShareKey>,
    /// Threads to hash on.
    pub threads: usize,
}

impl Default for ShareOptions {
    fn default() -> Self {
        Self {
            piece_length: DEFAULT_PIECE_LENGTH,
            name: None,
            fronts: Vec::new(),
            key: None,
            threads: std::thread::available_parallelism().map_or(1, Into::into),
        }
    }
}

/// A hashed file or folder.
#[derive(Debug)]
pub struct HashedShare {
    /// What it holds.
    pub metainfo: Arc<Metainfo>,
    /// What to call it where it can be opened: that of the metainfo, unless that is sealed.
    pub name: String,
    /// Symbolic links and special files in the folder, which are not part of the share.
    pub skipped: Vec<PathBuf>,
    /// Where its content is, for [`super::Disk::offer`].
    pub source: Source,
}

/// Hashes the file or folder at `path`. `progress` hears, from any thread, how many bytes of how many are done.
///
/// # Errors
/// What of it cannot be read or shared, and why; also if a file changed meanwhile.
pub fn hash_share(
    path: &Path,
    options: &ShareOptions,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<HashedShare, ShareError> {
    let name = match &options.name {
        Some(name) => name.clone(),
        None => own_name(path)?,
    };
    // Checks name and piece length before anything is read.
    let mut builder = MetainfoBuilder::new(&name, options.piece_length)?;
    let Scan { files: found, skipped } = scan(path, &name)?;
    let files = match &options.key {
        Some(key) => {
            builder = MetainfoBuilder::sealed(options.piece_length)?;
            seal(key, &name, found)?
        }
        None => found.into_iter().map(|found| Shared { found, sealed: None }).collect(),
    };
    let mut roots = hash_pieces(&files, options, progress)?.into_iter();
    for file in &files {
        let pieces = file.length().div_ceil(u64::from(options.piece_length));
        builder.file(file.path(), file.length(), roots.by_ref().take(pieces as usize).collect())?;
    }
    builder.fronts(&options.fronts)?.created_by(concat!("kollator ", env!("CARGO_PKG_VERSION")));
    let metainfo = Arc::new(builder.build()?);
    let form = Form::new(Arc::clone(&metainfo), options.key.as_ref()).expect("it was made with this key");
    let found = files.into_iter().map(|file| file.found).collect();
    Ok(HashedShare { metainfo, name, skipped, source: Source::new(form, found) })
}

/// A file to share and, in a sealed share, what it is there.
struct Shared {
    found: Found,
    sealed: Option<SealedFile>,
}

impl Shared {
    /// Its path in the metainfo.
    fn path(&self) -> &[String] {
        self.sealed.as_ref().map_or(&self.found.components, |sealed| &sealed.sealed_path)
    }

    /// Its length in the metainfo.
    fn length(&self) -> u64 {
        self.sealed.as_ref().map_or(self.found.stamp.length, SealedFile::sealed_length)
    }
}

/// Gives every file its place in a sealed share.
fn seal(key: &ShareKey, name: &str, found: Vec<Found>) -> Result<Vec<Shared>, ShareError> {
    let told: Vec<_> = found.iter().map(|found| (found.components.clone(), found.stamp.length)).collect();
    let (share, order) = layout(key, name, &told)?;
    let mut found: Vec<Option<Found>> = found.into_iter().map(Some).collect();
    let in_order = order.into_iter().map(|index| found[index].take().expect("each file is there once"));
    Ok(in_order.zip(share.files).map(|(found, sealed)| Shared { found, sealed: Some(sealed) }).collect())
}

fn own_name(path: &Path) -> Result<String, ShareError> {
    let real = fs::canonicalize(path).map_err(ShareError::io(path))?;
    // A link is shared under the name it was given, `.` and `..` under the name of the folder.
    let name = path.file_name().or_else(|| real.file_name());
    let name = name.ok_or_else(|| ShareError::Nameless { path: path.to_owned() })?;
    name.to_str().map(str::to_owned).ok_or_else(|| ShareError::NotUtf8 { path: path.to_owned() })
}

/// A thread's buffer and the file it read last.
#[derive(Default)]
struct Reader {
    buffer: Buffer,
    open: Option<(usize, File)>,
}

impl Reader {
    /// Opens `file`, unless it is the one that is open; refuses one that is no longer what was found.
    fn open(&mut self, index: usize, file: &Found) -> Result<(&mut Buffer, &File), ShareError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != index) {
            let opened = File::open(&file.path).map_err(ShareError::io(&file.path))?;
            self.open = Some((index, opened));
        }
        let (_, opened) = self.open.as_ref().expect("it is open");
        Ok((&mut self.buffer, opened))
    }
}

/// Roots of all pieces of all files, in order.
fn hash_pieces(
    files: &[Shared],
    options: &ShareOptions,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Vec<Digest>, ShareError> {
    let piece_length = u64::from(options.piece_length);
    let total = files.iter().map(Shared::length).sum();
    let done = AtomicU64::new(0);
    let pieces: Vec<(usize, u64)> = files
        .iter()
        .enumerate()
        .flat_map(|(index, file)| {
            (0..file.length().div_ceil(piece_length)).map(move |n| (index, n * piece_length))
        })
        .collect();
    progress(0, total);
    let roots = parallel::run(pieces.len(), options.threads, |reader: &mut Reader, number| {
        let (index, offset) = pieces[number];
        let (found, length_in_share) = (&files[index].found, files[index].length());
        let form = FileForm::new(files[index].sealed.as_ref());
        let (buffer, file) = reader.open(index, found)?;
        let length = (length_in_share - offset).min(piece_length) as u32;
        let told = |bytes| progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes, total);
        let leaves = buffer.hash(form, file, offset, length, told).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => ShareError::Changed { path: found.path.clone() },
            _ => ShareError::Io { path: found.path.clone(), error },
        })?;
        Ok::<_, ShareError>(root(&leaves, piece_height(length_in_share, options.piece_length), Digest::default()))
    })?;
    for Shared { found, .. } in files {
        let now = fs::metadata(&found.path).map_err(ShareError::io(&found.path))?;
        if Stamp::of(&now) != found.stamp {
            return Err(ShareError::Changed { path: found.path.clone() });
        }
    }
    Ok(roots)
}
