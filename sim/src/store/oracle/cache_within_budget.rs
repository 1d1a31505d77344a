//! The cache never takes more of the disk than it may, files being written and removed included.

use super::{Happening, Oracle, View};

/// Compares what is on the disk with the limit.
#[derive(Debug)]
pub struct CacheWithinBudget;

impl Oracle for CacheWithinBudget {
    fn name(&self) -> &'static str {
        "cache within budget"
    }

    fn watch(&mut self, _: Happening<'_>, view: &View<'_>) -> Result<(), String> {
        let (bytes, limit) = (view.disk.bytes(), view.config.cache_bytes);
        if bytes > limit {
            return Err(format!("{bytes} bytes are cached where {limit} may be"));
        }
        Ok(())
    }
}
