//! A bounded cache of open files, so that a share of many files costs few descriptors. Opens nothing itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Mutex};

use kollator_core::node::io::DiskError;

/// Most files of one share that are held open.
const LIMIT: usize = 64;

/// Open files of one share by their index in its metainfo; the least recently used is closed first.
#[derive(Debug, Default)]
pub(super) struct Handles(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    files: BTreeMap<u32, (u64, Arc<File>)>,
    uses: u64,
}

impl Handles {
    /// The open file with this index, opened with `open` if it is not.
    pub(super) fn get(
        &self,
        index: u32,
        open: impl FnOnce() -> Result<File, DiskError>,
    ) -> Result<Arc<File>, DiskError> {
        let mut cache = self.0.lock().expect("nothing panics while it holds the files");
        cache.uses += 1;
        let now = cache.uses;
        if let Some((used, file)) = cache.files.get_mut(&index) {
            *used = now;
            return Ok(Arc::clone(file));
        }
        if cache.files.len() == LIMIT {
            let oldest = cache.files.iter().min_by_key(|(_, (used, _))| *used).map(|(index, _)| *index);
            cache.files.remove(&oldest.expect("the cache is full"));
        }
        let file = Arc::new(open()?);
        cache.files.insert(index, (now, Arc::clone(&file)));
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_file_is_closed_and_opened_again() {
        let file = tempfile::tempfile().unwrap();
        let handles = Handles::default();
        let opened = Mutex::new(Vec::new());
        let get = |index| {
            handles.get(index, || {
                opened.lock().unwrap().push(index);
                file.try_clone().map_err(|e| DiskError(e.to_string()))
            })
        };
        let limit = LIMIT as u32;
        for index in (0..limit).chain([0, limit, 0, 1]) {
            get(index).unwrap();
        }
        assert_eq!(*opened.lock().unwrap(), (0..limit).chain([limit, 1]).collect::<Vec<_>>());
        assert_eq!(handles.0.lock().unwrap().files.len(), LIMIT);
    }
}
