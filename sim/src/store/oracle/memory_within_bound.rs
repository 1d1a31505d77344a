//! The store never holds more bytes of chunks in memory than it may.

use super::{Happening, Oracle, View};

/// Compares what the store counts with the limit.
#[derive(Debug)]
pub struct MemoryWithinBound;

impl Oracle for MemoryWithinBound {
    fn name(&self) -> &'static str {
        "memory within bound"
    }

    fn watch(&mut self, _: Happening<'_>, view: &View<'_>) -> Result<(), String> {
        let (bytes, limit) = (view.store.memory_in_use(), view.config.max_memory);
        if bytes > limit {
            return Err(format!("{bytes} bytes are in memory where {limit} may be"));
        }
        Ok(())
    }

    fn healed(&mut self, view: &View<'_>) -> Result<(), String> {
        match view.store.memory_in_use() {
            0 => Ok(()),
            bytes => Err(format!("{bytes} bytes are in memory and nothing is under way")),
        }
    }
}
