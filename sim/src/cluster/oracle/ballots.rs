//! A vote is on disk before it is sent, and nobody votes twice in a term. A front that lost its ballot may have forgotten
//! that it asked for votes itself, and vote for another in that term: whoever could have counted that vote is gone with
//! the life that cast it (E19 in `docs/election.md`).

use std::collections::BTreeMap;

use kollator_core::cluster::FrontId;
use kollator_core::cluster::saved::Record;
use kollator_core::machine::Instant;
use kollator_core::node::front::FrontOutput;
use kollator_core::wire::sync::{ElectionMessage, SyncMessage};

use super::{Fact, Oracle};

#[derive(Default)]
pub(super) struct Ballots {
    /// What is on each front's disk.
    kept: BTreeMap<usize, (u64, Option<FrontId>)>,
    /// Votes that left a front, by front and term.
    cast: BTreeMap<(usize, u64), FrontId>,
}

impl Oracle for Ballots {
    fn name(&self) -> &'static str {
        "ballots"
    }

    fn observe(&mut self, _: Instant, front: usize, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Durable(Record::Ballot { term, voted_for }) => {
                self.kept.insert(front, (*term, *voted_for));
            }
            Fact::DiskLost => {
                let own = FrontId(front as u8);
                self.cast.retain(|(voter, _), choice| *voter != front || *choice != own);
            }
            Fact::Said(FrontOutput::PeerSend { front: to, data }) => {
                let (term, choice) = match SyncMessage::decode(data.clone()) {
                    Ok(SyncMessage::Election(ElectionMessage::Vote { term })) => (term, FrontId(front as u8)),
                    Ok(SyncMessage::Election(ElectionMessage::VoteReply { term, granted: true })) => (term, *to),
                    _ => return Ok(()),
                };
                if self.kept.get(&front) != Some(&(term, Some(choice))) {
                    return Err(format!("sent a vote for {choice} in term {term} that is not on its disk"));
                }
                let first = *self.cast.entry((front, term)).or_insert(choice);
                if first != choice {
                    return Err(format!("voted for {first} and for {choice} in term {term}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
