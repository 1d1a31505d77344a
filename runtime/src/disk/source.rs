//! The files of a share where their owner keeps them: read, never written.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use kollator_core::node::io::DiskError;

use super::form::Form;
use super::handles::Handles;
use super::path::failed;
use super::scan::{Found, Stamp};

/// Where the content of a hashed share is.
#[derive(Debug)]
pub struct Source {
    form: Form,
    files: Vec<(PathBuf, Stamp)>,
    handles: Handles,
}

impl Source {
    /// The files, in the order of the share's metainfo.
    pub(super) fn new(form: Form, files: Vec<Found>) -> Self {
        let files = files.into_iter().map(|found| (found.path, found.stamp)).collect();
        Self { form, files, handles: Handles::default() }
    }

    /// What the files are in the share.
    pub(super) const fn form(&self) -> &Form {
        &self.form
    }

    /// The open file with this index, if it still is as it was when it was hashed.
    pub(super) fn file(&self, index: u32) -> Result<Arc<File>, DiskError> {
        let (path, stamp) = &self.files[index as usize];
        let file = self.handles.get(index, || File::open(path).map_err(|error| failed(path, &error)))?;
        let now = file.metadata().map_err(|error| failed(path, &error))?;
        if Stamp::of(&now) != *stamp {
            return Err(DiskError(format!("{} changed since it was shared", path.display())));
        }
        Ok(file)
    }

    /// Where the file with this index is.
    pub(super) fn path(&self, index: u32) -> PathBuf {
        self.files[index as usize].0.clone()
    }
}
