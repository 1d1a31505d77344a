//! The term on a disk never goes back and its vote never changes, unless the disk loses it.

use std::collections::BTreeMap;

use kollator_core::cluster::FrontId;
use kollator_core::cluster::election::Ballot;

use super::{Happening, Oracle, View};

/// Remembers the newest ballot of every disk.
#[derive(Debug, Default)]
pub struct BallotsRise {
    newest: BTreeMap<FrontId, Ballot>,
}

impl Oracle for BallotsRise {
    fn name(&self) -> &'static str {
        "ballots rise"
    }

    fn watch(&mut self, happening: Happening, view: &View<'_>) -> Result<(), String> {
        if happening.is_message() {
            return Ok(());
        }
        for node in view.nodes {
            let Some(ballot) = node.ballot() else {
                self.newest.remove(&node.id);
                continue;
            };
            let former = self.newest.insert(node.id, ballot).unwrap_or_default();
            let kept = former.voted_for.is_none() || former.voted_for == ballot.voted_for;
            if ballot.term < former.term || (ballot.term == former.term && !kept) {
                return Err(format!("the disk of {} had {former:?} and has {ballot:?}", node.id));
            }
        }
        Ok(())
    }
}
