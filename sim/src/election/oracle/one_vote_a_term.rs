//! No front votes for two in a term, over all crashes.

use std::collections::BTreeMap;

use kollator_core::cluster::FrontId;
use kollator_core::wire::sync::ElectionMessage;

use super::{Happening, Oracle, View};

/// Remembers every vote that was sent.
#[derive(Debug, Default)]
pub struct OneVoteATerm {
    votes: BTreeMap<(FrontId, u64), FrontId>,
}

impl Oracle for OneVoteATerm {
    fn name(&self) -> &'static str {
        "one vote a term"
    }

    fn watch(&mut self, happening: Happening, _: &View<'_>) -> Result<(), String> {
        let (voter, term, candidate) = match happening {
            Happening::Sent { from, to, message: ElectionMessage::VoteReply { term, granted: true } } => {
                (from, term, to)
            }
            Happening::Sent { from, message: ElectionMessage::Vote { term }, .. } => (from, term, from),
            // A vote for oneself counts only in the life that asks for others' votes as well.
            Happening::Lost(front) => {
                self.votes.retain(|&(voter, _), candidate| voter != front || *candidate != front);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let first = *self.votes.entry((voter, term)).or_insert(candidate);
        if first != candidate {
            return Err(format!("{voter} voted for {first} and for {candidate} in term {term}"));
        }
        Ok(())
    }
}
