//! A download on disk: `OUTPUT.part` while it comes, with a resume state beside it, then `OUTPUT`.
//!
//! Never replaces what it was not told to replace, and never writes outside `OUTPUT.part`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use kollator_core::id::Digest;
use kollator_core::merkle::{BLOCK_LEN, VerifiedBlocks, root};
use kollator_core::metainfo::Metainfo;
use kollator_core::node::io::{Claim, DiskError, Place};
use kollator_core::seal::ShareKey;

use super::form::Form;
use super::handles::Handles;
use super::parallel::{self, Buffer};
use super::path::{For, below, failed, open, sync_folder_of};
use super::state::{Refused, State};

/// Most bytes hashed as one part.
const MAX_RUN: u32 = 4 << 20;

/// Where a download goes.
#[derive(Clone, Debug, Default)]
pub struct OutputOptions {
    /// The file or folder to make; one with the share's own name in the current folder if absent. A path that
    /// ends in `/`, or for a share of one file any folder that exists, gets it inside.
    pub path: Option<PathBuf>,
    /// Whether to replace what is there, and to begin again what another download left there.
    pub overwrite: bool,
    /// Whether a finished download waits until it would survive a power cut, not only the end of the process.
    pub sync: bool,
    /// What opens the share, if it is encrypted: what is written is plain files.
    pub key: Option<ShareKey>,
    /// Threads to hash on what an earlier run left.
    pub threads: usize,
}

impl OutputOptions {
    /// The final path of the share.
    #[must_use]
    pub(super) fn path_for(&self, form: &Form) -> PathBuf {
        let Some(path) = &self.path else { return PathBuf::from(form.name()) };
        let inside = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if inside || (form.is_single_file() && path.is_dir()) { path.join(form.name()) } else { path.clone() }
    }
}

/// A download that was prepared.
#[derive(Debug)]
pub(super) struct Output {
    form: Form,
    path: PathBuf,
    overwrite: bool,
    sync: bool,
    /// `None` once the output has its final name.
    state: Mutex<Option<State>>,
    handles: Handles,
}

impl Output {
    /// Makes room for the share, or finds what an earlier run left of it.
    pub(super) fn prepare(
        metainfo: Arc<Metainfo>,
        options: &OutputOptions,
    ) -> Result<(Self, Vec<Claim>), DiskError> {
        let form = Form::new(metainfo, options.key.as_ref())?;
        let path = options.path_for(&form);
        if path.file_name().is_none() {
            return Err(DiskError(format!("{} names no file or folder to make", path.display())));
        }
        let mut output = Self {
            form,
            path,
            overwrite: options.overwrite,
            sync: options.sync,
            state: Mutex::new(None),
            handles: Handles::default(),
        };
        if let Some(claims) = output.finished_before(options)? {
            return Ok((output, claims));
        }
        let state = output.make_room()?;
        // Those open so far are of what is to be replaced.
        output.handles = Handles::default();
        output.state = Mutex::new(Some(state));
        let claims = output.claims(options.threads)?;
        Ok((output, claims))
    }

    /// What is at the final path already, if it is this very share.
    fn finished_before(&self, options: &OutputOptions) -> Result<Option<Vec<Claim>>, DiskError> {
        let kind = match fs::symlink_metadata(&self.path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&self.path, &error)),
        };
        let fits = if self.form.is_single_file() { kind.is_file() } else { kind.is_dir() };
        if !fits {
            let wanted = if self.form.is_single_file() { "a file" } else { "a folder" };
            return Err(DiskError(format!("{} exists and is not {wanted}", self.path.display())));
        }
        if self.has_right_lengths() {
            let claims = self.hash_final(options.threads)?;
            if claims.is_some() {
                return Ok(claims);
            }
        }
        if options.overwrite {
            return Ok(None);
        }
        let what = if self.form.is_single_file() { "is another file" } else { "holds something else" };
        Err(DiskError(format!("{} exists and {what}; choose another path or overwrite it", self.path.display())))
    }

    fn has_right_lengths(&self) -> bool {
        self.indices().all(|index| {
            let opened = open(&self.path, self.form.components(index), For::Reading);
            opened.is_ok_and(|opened| {
                opened.metadata().is_ok_and(|metadata| metadata.len() == self.form.length(index))
            })
        })
    }

    /// Claims for every piece at the final path, or `None` if one of them is something else.
    fn hash_final(&self, threads: usize) -> Result<Option<Vec<Claim>>, DiskError> {
        let pieces = self.metainfo().pieces();
        /// A piece is not what it should be, or could not be read.
        enum Stop {
            Different,
            Failed(DiskError),
        }
        let hashed = parallel::run(pieces.len(), threads, |buffer: &mut Buffer, number| {
            let piece = &pieces[number];
            let place = Place { file: piece.file, offset: piece.offset };
            let leaves = self.hash(buffer, place, piece.chunk.length()).map_err(Stop::Failed)?;
            if root(&leaves, piece.chunk.height(), Digest::default()) != piece.chunk.root() {
                return Err(Stop::Different);
            }
            Ok(Claim { place, leaves })
        });
        match hashed {
            Ok(claims) => Ok(Some(claims)),
            Err(Stop::Different) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Creates the files at their full length, sparse, and the resume state, as far as they are not there.
    fn make_room(&self) -> Result<State, DiskError> {
        let (part, state_path) = (self.part_path(), self.state_path());
        let found = match State::open(&state_path, self.metainfo()) {
            Ok(found) => found,
            Err(Refused::Unusable(_)) if self.overwrite => None,
            Err(Refused::Unusable(error)) => {
                return Err(DiskError(format!("{error}; remove it, choose another path or overwrite it")));
            }
            Err(Refused::Failed(error)) => return Err(error),
        };
        let state = match found {
            Some(state) => state,
            None => {
                // Without a state, nothing says that it is ours.
                if fs::symlink_metadata(&part).is_ok() {
                    if !self.overwrite {
                        let part = part.display();
                        return Err(DiskError(format!(
                            "{part} exists, but not the state of a download; remove it, choose another path or overwrite it"
                        )));
                    }
                    remove(&part)?;
                }
                State::create(&state_path, self.metainfo())?
            }
        };
        for index in self.indices() {
            let (components, wanted) = (self.form.components(index), self.form.length(index));
            let opened = open(&part, components, For::Creating)?;
            let path = below(&part, components);
            let length = opened.metadata().map_err(|error| failed(&path, &error))?.len();
            if length != wanted {
                opened.set_len(wanted).map_err(|error| failed(&path, &error))?;
            }
        }
        Ok(state)
    }

    /// What the resume state says is written, hashed as it is now.
    fn claims(&self, threads: usize) -> Result<Vec<Claim>, DiskError> {
        let runs = self.runs();
        parallel::run(runs.len(), threads, |buffer: &mut Buffer, number| {
            let (place, length) = runs[number];
            Ok(Claim { place, leaves: self.hash(buffer, place, length)? })
        })
    }

    /// Where the resume state says that something is written, and how many bytes, in parts for several cores.
    fn runs(&self) -> Vec<(Place, u32)> {
        let state = self.state();
        let state = state.as_ref().expect("it was just made");
        let mut runs: Vec<(Place, u32)> = Vec::new();
        for (file, about) in (0..).zip(self.metainfo().files()) {
            for block in (0..about.length.div_ceil(u64::from(BLOCK_LEN))).filter(|block| state.has(file, *block)) {
                let offset = block * u64::from(BLOCK_LEN);
                let length = (about.length - offset).min(u64::from(BLOCK_LEN)) as u32;
                match runs.last_mut() {
                    Some((place, run))
                        if place.file == file && place.offset + u64::from(*run) == offset && *run < MAX_RUN =>
                    {
                        *run += length;
                    }
                    _ => runs.push((Place { file, offset }, length)),
                }
            }
        }
        runs
    }

    fn hash(&self, buffer: &mut Buffer, place: Place, length: u32) -> Result<Vec<Digest>, DiskError> {
        let file = self.file(place.file)?;
        let hashed = buffer.hash(self.form.file(place.file), &file, place.offset, length, |_| {});
        hashed.map_err(|error| failed(&self.file_path(place.file), &error))
    }

    /// Writes blocks at every place where their chunk belongs, then notes them as written.
    pub(super) fn write(&self, places: &[Place], blocks: &VerifiedBlocks) -> Result<(), DiskError> {
        let skipped = u64::from(blocks.first()) * u64::from(BLOCK_LEN);
        let place = |chunk: &Place| Place { file: chunk.file, offset: chunk.offset + skipped };
        for Place { file, offset } in places.iter().map(place) {
            let length = self.metainfo().files()[file as usize].length;
            assert!(offset + blocks.data().len() as u64 <= length, "the blocks belong inside the file");
            let written = self.form.file(file).write(&*self.file(file)?, offset, blocks.data());
            written.map_err(|error| failed(&self.file_path(file), &error))?;
        }
        let mut state = self.state();
        let Some(state) = state.as_mut() else {
            return Err(DiskError(format!("{} is finished already", self.path.display())));
        };
        places.iter().map(place).try_for_each(|place| state.set(place, blocks.count()))
    }

    /// The final path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the download its final name; with `sync`, only after it is safe from a power cut. Once it has its
    /// name, does nothing.
    pub(super) fn finish(&self) -> Result<(), DiskError> {
        let mut state = self.state();
        if state.is_none() {
            return Ok(());
        }
        let part = self.part_path();
        if self.sync {
            for index in self.indices() {
                let file = open(&part, self.form.components(index), For::Writing)?;
                file.sync_all().map_err(|error| failed(&below(&part, self.form.components(index)), &error))?;
            }
        }
        self.put_in_place(&part)?;
        if self.sync {
            sync_folder_of(&self.path)?;
        }
        state.take().expect("it was there").remove()
    }

    fn put_in_place(&self, part: &Path) -> Result<(), DiskError> {
        if fs::symlink_metadata(&self.path).is_ok() {
            if !self.overwrite {
                return Err(DiskError(format!("{} was created meanwhile", self.path.display())));
            }
            if !self.form.is_single_file() {
                // A folder cannot be renamed over one that is not empty.
                let replaced = self.path.with_added_extension("replaced");
                fs::rename(&self.path, &replaced).map_err(|error| failed(&replaced, &error))?;
                fs::rename(part, &self.path).map_err(|error| failed(&self.path, &error))?;
                return remove(&replaced);
            }
        }
        fs::rename(part, &self.path).map_err(|error| failed(&self.path, &error))
    }

    /// The open file with this index.
    pub(super) fn file(&self, index: u32) -> Result<Arc<File>, DiskError> {
        self.handles.get(index, || match &*self.state() {
            Some(_) => open(&self.part_path(), self.form.components(index), For::Writing),
            None => open(&self.path, self.form.components(index), For::Reading),
        })
    }

    /// Where the file with this index is now.
    pub(super) fn file_path(&self, index: u32) -> PathBuf {
        let part = self.state().is_some();
        below(&if part { self.part_path() } else { self.path.clone() }, self.form.components(index))
    }

    /// The share, and what its files are here.
    pub(super) const fn form(&self) -> &Form {
        &self.form
    }

    fn metainfo(&self) -> &Metainfo {
        self.form.metainfo()
    }

    /// Of all files.
    fn indices(&self) -> std::ops::Range<u32> {
        0..self.metainfo().files().len() as u32
    }

    fn part_path(&self) -> PathBuf {
        self.path.with_added_extension("part")
    }

    fn state_path(&self) -> PathBuf {
        self.path.with_added_extension("part.state")
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().expect("nothing panics while it holds the state")
    }
}

fn remove(path: &Path) -> Result<(), DiskError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
    removed.map_err(|error| failed(path, &error))
}
