//! At no moment of true time do two fronts say that they have a lease.

use super::{Happening, Oracle, View};

/// Asks every front after every event. A lease can begin only with an event, so an overlap is seen when it begins.
#[derive(Debug)]
pub struct LeasesAreDisjoint;

impl Oracle for LeasesAreDisjoint {
    fn name(&self) -> &'static str {
        "leases are disjoint"
    }

    fn watch(&mut self, happening: Happening, view: &View<'_>) -> Result<(), String> {
        if happening.is_message() {
            return Ok(());
        }
        let mut holders = view.nodes.iter().filter(|node| node.claims_lease(view.now));
        match (holders.next(), holders.next()) {
            (Some(one), Some(other)) => Err(format!("{} and {} have a lease", one.id, other.id)),
            _ => Ok(()),
        }
    }
}
