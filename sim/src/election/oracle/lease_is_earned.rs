//! A lease is claimed only by a leader, and only until its length after a round was sent that a majority is known
//! to have acknowledged: computed here from the messages alone.

use std::collections::BTreeMap;

use kollator_core::cluster::FrontId;
use kollator_core::machine::Instant;
use kollator_core::wire::sync::ElectionMessage;

use super::{Happening, Oracle, View};

/// Remembers when each round was sent, by its sender's clock, and the newest that each follower acknowledged.
#[derive(Debug, Default)]
pub struct LeaseIsEarned {
    sent: BTreeMap<(FrontId, u64, u64), Instant>,
    acknowledged: BTreeMap<(FrontId, u64), BTreeMap<FrontId, Instant>>,
}

impl Oracle for LeaseIsEarned {
    fn name(&self) -> &'static str {
        "lease is earned"
    }

    fn watch(&mut self, happening: Happening, view: &View<'_>) -> Result<(), String> {
        match happening {
            Happening::Sent { from, message: ElectionMessage::Heartbeat { term, round }, .. } => {
                self.sent.entry((from, term, round)).or_insert_with(|| view.node(from).local(view.now));
            }
            Happening::Arrives { from, to, message: ElectionMessage::HeartbeatReply { term, round } } => {
                if let Some(&sent) = self.sent.get(&(to, term, round)) {
                    let newest = self.acknowledged.entry((to, term)).or_default().entry(from).or_insert(sent);
                    *newest = sent.max(*newest);
                }
            }
            // A front never leads a term again in which it led before its start.
            Happening::Started(front) => {
                self.sent.retain(|&(sender, ..), _| sender != front);
                self.acknowledged.retain(|&(leader, _), _| leader != front);
            }
            _ => {}
        }
        if happening.is_message() {
            return Ok(());
        }
        for node in view.nodes.iter().filter(|node| node.claims_lease(view.now)) {
            let term = node.election.as_ref().map_or(0, |election| election.standing().term);
            if !node.leads() || (view.nodes.len() > 1 && node.local(view.now) >= self.end(node.id, term, view)) {
                return Err(format!("{} claims a lease that it does not have", node.id));
            }
        }
        Ok(())
    }
}

impl LeaseIsEarned {
    fn end(&self, leader: FrontId, term: u64, view: &View<'_>) -> Instant {
        let followers = self.acknowledged.get(&(leader, term));
        let mut newest: Vec<_> = followers.into_iter().flat_map(|all| all.values().copied()).collect();
        newest.sort_unstable();
        let others = view.nodes.len() / 2;
        match newest.len().checked_sub(others) {
            Some(last) => newest[last] + view.config.lease,
            None => Instant::ZERO,
        }
    }
}
