//! When nothing is under way, the chunks that the store believes cached are those that have a file.

use std::collections::BTreeSet;

use super::{Oracle, View};

/// Compares the index with the folder.
#[derive(Debug)]
pub struct CacheIndexEqualsDisk;

impl Oracle for CacheIndexEqualsDisk {
    fn name(&self) -> &'static str {
        "cache index equals disk"
    }

    fn healed(&mut self, view: &View<'_>) -> Result<(), String> {
        let index: BTreeSet<_> = view.store.cached().collect();
        let disk: BTreeSet<_> = view.disk.names().collect();
        if index != disk {
            return Err(format!("the index has {index:?}, the disk has {disk:?}"));
        }
        Ok(())
    }
}
