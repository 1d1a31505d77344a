//! In all history, over all crashes, nobody leads a term that another has led.

use std::collections::BTreeMap;

use kollator_core::cluster::FrontId;

use super::{Happening, Oracle, View};

/// Remembers who led which term.
#[derive(Debug, Default)]
pub struct OneLeaderATerm {
    leaders: BTreeMap<u64, FrontId>,
}

impl Oracle for OneLeaderATerm {
    fn name(&self) -> &'static str {
        "one leader a term"
    }

    fn watch(&mut self, happening: Happening, view: &View<'_>) -> Result<(), String> {
        if happening.is_message() {
            return Ok(());
        }
        for node in view.nodes.iter().filter(|node| node.leads()) {
            let term = node.election.as_ref().map_or(0, |election| election.standing().term);
            let leader = *self.leaders.entry(term).or_insert(node.id);
            if leader != node.id {
                return Err(format!("{leader} led term {term}, and now {} does", node.id));
            }
        }
        Ok(())
    }
}
