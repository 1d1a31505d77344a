//! A vote, a request for votes and a word to a leader are sent only when the disk has what they rely on.

use std::collections::BTreeSet;

use kollator_core::cluster::FrontId;
use kollator_core::cluster::election::Ballot;
use kollator_core::wire::sync::ElectionMessage;

use super::{Happening, Oracle, View};

/// Remembers which heartbeats arrived where.
#[derive(Debug, Default)]
pub struct VoteIsOnDisk {
    heard: BTreeSet<(FrontId, FrontId, u64, u64)>,
}

impl Oracle for VoteIsOnDisk {
    fn name(&self) -> &'static str {
        "vote is on disk"
    }

    fn watch(&mut self, happening: Happening, view: &View<'_>) -> Result<(), String> {
        let (from, needed) = match happening {
            Happening::Arrives { from, to, message: ElectionMessage::Heartbeat { term, round } } if term > 0 => {
                self.heard.insert((to, from, term, round));
                return Ok(());
            }
            Happening::Sent { from, to, message: ElectionMessage::HeartbeatReply { term, round } }
                if self.heard.contains(&(from, to, term, round)) =>
            {
                return match view.node(from).ballot() {
                    Some(ballot) if ballot.term >= term => Ok(()),
                    disk => Err(format!("{from} acknowledged term {term}, and its disk has {disk:?}")),
                };
            }
            Happening::Sent { from, to, message: ElectionMessage::VoteReply { term, granted: true } } => {
                (from, Ballot { term, voted_for: Some(to) })
            }
            Happening::Sent { from, message: ElectionMessage::Vote { term }, .. } => {
                (from, Ballot { term, voted_for: Some(from) })
            }
            _ => return Ok(()),
        };
        match view.node(from).ballot() {
            Some(ballot) if ballot == needed => Ok(()),
            disk => Err(format!("{from} relied on {needed:?}, and its disk has {disk:?}")),
        }
    }
}
