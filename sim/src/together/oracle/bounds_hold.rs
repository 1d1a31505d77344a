//! No worker holds more bytes in memory or asks more of others at once than it may, and in the end none holds any.

use super::{Happening, Oracle, View};

/// Compares what is under way with the limits.
#[derive(Debug)]
pub struct BoundsHold;

impl Oracle for BoundsHold {
    fn name(&self) -> &'static str {
        "bounds hold"
    }

    fn watch(&mut self, _: Happening<'_>, view: &View<'_>) -> Result<(), String> {
        for (number, worker) in view.workers.iter().enumerate() {
            let Some(store) = &worker.store else { continue };
            let (bytes, asks) = (store.memory_in_use(), worker.asking.len());
            if bytes > worker.config.max_memory || asks > worker.config.max_asks {
                return Err(format!(
                    "worker {number} holds {bytes} bytes and asks {asks} things: {:?}",
                    worker.config
                ));
            }
        }
        Ok(())
    }

    fn healed(&mut self, view: &View<'_>) -> Result<(), String> {
        let held = |worker: &super::Worker| worker.store.as_ref().map_or(0, |store| store.memory_in_use());
        match view.workers.iter().map(held).sum() {
            0 => Ok(()),
            bytes => Err(format!("{bytes} bytes are in memory and nothing is under way")),
        }
    }
}
