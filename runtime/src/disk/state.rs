//! The resume state beside a partial download: which blocks are written.
//!
//! `magic (8) version (4, big-endian) info hash (32)`, then a bitmap: each file begins at a byte of its own, one
//! bit for each 16 KiB block, least significant first, however the file is cut into pieces. A bit is set only after
//! its block was written. The bits are hints, as a power cut may lose data that they speak of: who reads them
//! hashes the blocks again.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use kollator_core::id::InfoHash;
use kollator_core::merkle::BLOCK_LEN;
use kollator_core::metainfo::Metainfo;
use kollator_core::node::io::{DiskError, Place};

use super::path::failed;

const MAGIC: &[u8; 8] = b"KOLLPART";
const VERSION: u32 = 2;
const HEADER: usize = 8 + 4 + 32;

/// Why a resume state cannot be taken up.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is no state of this download: someone who does not need it may remove it.
    Unusable(DiskError),
    /// It could not be opened, or another process has it open.
    Failed(DiskError),
}

impl From<DiskError> for Refused {
    fn from(error: DiskError) -> Self {
        Self::Failed(error)
    }
}

/// An open resume state, locked against other processes.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    file: File,
    /// First byte of each file in `bits`.
    starts: Vec<usize>,
    bits: Vec<u8>,
}

impl State {
    /// Creates an empty state, in place of whatever is there.
    pub(super) fn create(path: &Path, metainfo: &Metainfo) -> Result<Self, DiskError> {
        let (starts, size) = layout(metainfo);
        let mut bytes = header(metainfo.info_hash());
        bytes.resize(HEADER + size, 0);
        // Complete under another name first: a state is never seen half-written.
        let new = path.with_added_extension("new");
        let file = open_locked(&new, true)?;
        let written = file.set_len(0).and_then(|()| file.write_all_at(&bytes, 0));
        written.and_then(|()| fs::rename(&new, path)).map_err(|error| failed(&new, &error))?;
        Ok(Self { path: path.to_owned(), file, starts, bits: bytes.split_off(HEADER) })
    }

    /// Opens the state an earlier run left; `None` if there is none.
    pub(super) fn open(path: &Path, metainfo: &Metainfo) -> Result<Option<Self>, Refused> {
        match fs::symlink_metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(path, &error).into()),
        }
        let file = open_locked(path, false)?;
        let (starts, size) = layout(metainfo);
        let length = file.metadata().map_err(|error| failed(path, &error))?.len();
        let refused = |why: String| Refused::Unusable(DiskError(format!("{} {why}", path.display())));
        let mut found = [0; HEADER];
        if length < HEADER as u64 || file.read_exact_at(&mut found, 0).is_err() || &found[..8] != MAGIC {
            return Err(refused("is not the resume state of a download".to_owned()));
        }
        let version = u32::from_be_bytes(found[8..12].try_into().expect("four bytes"));
        if version != VERSION {
            return Err(refused(format!("has version {version}; this program reads version {VERSION}")));
        }
        if found[..] != header(metainfo.info_hash())[..] {
            let other = hexadecimal(&found[12..]);
            return Err(refused(format!("belongs to the download of another share, {other}")));
        }
        if length != (HEADER + size) as u64 {
            return Err(refused(format!("has {length} bytes instead of {}: it is damaged", HEADER + size)));
        }
        let mut bits = vec![0; size];
        file.read_exact_at(&mut bits, HEADER as u64).map_err(|error| failed(path, &error))?;
        Ok(Some(Self { path: path.to_owned(), file, starts, bits }))
    }

    /// Whether this block is noted as written.
    pub(super) fn has(&self, file: u32, block: u64) -> bool {
        let (byte, bit) = self.position(file, block);
        self.bits[byte] & bit != 0
    }

    /// Notes that these blocks are written.
    pub(super) fn set(&mut self, place: Place, count: u16) -> Result<(), DiskError> {
        let first = place.offset / u64::from(BLOCK_LEN);
        let last = first + u64::from(count) - 1;
        for block in first..=last {
            let (byte, bit) = self.position(place.file, block);
            self.bits[byte] |= bit;
        }
        let touched = self.position(place.file, first).0..=self.position(place.file, last).0;
        let at = (HEADER + touched.start()) as u64;
        self.file.write_all_at(&self.bits[touched], at).map_err(|error| failed(&self.path, &error))
    }

    /// Removes the state: there is nothing to resume any more.
    pub(super) fn remove(self) -> Result<(), DiskError> {
        fs::remove_file(&self.path).map_err(|error| failed(&self.path, &error))
    }

    fn position(&self, file: u32, block: u64) -> (usize, u8) {
        (self.starts[file as usize] + (block / 8) as usize, 1 << (block % 8))
    }
}

fn header(info_hash: InfoHash) -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_be_bytes(), &info_hash.0.0].concat()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn layout(metainfo: &Metainfo) -> (Vec<usize>, usize) {
    let mut size = 0;
    let starts = metainfo.files().iter().map(|file| {
        let start = size;
        size += file.length.div_ceil(8 * u64::from(BLOCK_LEN)) as usize;
        start
    });
    (starts.collect(), size)
}

fn open_locked(path: &Path, create: bool) -> Result<File, DiskError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|error| failed(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(DiskError(format!("{} is in use: the same download runs already", path.display())))
        }
        Err(TryLockError::Error(error)) => Err(failed(path, &error)),
    }
}
