//! Bugs on purpose: each alters what sound fronts say or hear, to prove that some judge would notice.

use bytes::Bytes;
use kollator_core::cluster::epoch::{Epoch, EpochNumber};
use kollator_core::id::PeerId;
use kollator_core::node::front::FrontOutput;
use kollator_core::wire::sync::{ElectionMessage, SyncMessage};

use crate::kinds::kinds;
use crate::plant;

kinds! {
    /// A bug that can be planted.
    pub enum Plant: plant::Plant, judges -> &'static [&'static str] {
        /// A front grants every vote that it refuses.
        SecondVote = &["ballots"],
        /// A front's ballots are not written before its votes leave.
        EarlyVote = &["ballots"],
        /// A front takes an older epoch for a new one.
        EpochDownwards = &["epochs"],
        /// A front never hears that a row was removed.
        Resurrected = &["presence"],
        /// A front hands a signal from another front to a wrong client.
        WrongSession = &["delivery"],
        /// A front drops the signals for clients of other fronts.
        LostSignal = &["signaling"],
    }
}

/// A planted bug at work.
pub(super) struct Planter {
    plant: Plant,
    /// An epoch that was seen.
    seen: Option<Epoch>,
    /// Somebody to whom signals went.
    someone: Option<PeerId>,
}

impl Planter {
    pub(super) const fn new(plant: Plant) -> Self {
        Self { plant, seen: None, someone: None }
    }

    /// What a front says where its machine said `output`.
    pub(super) fn says(&mut self, output: FrontOutput, said: &mut Vec<FrontOutput>) {
        let FrontOutput::PeerSend { front, data } = &output else {
            said.push(output);
            return;
        };
        match (self.plant, SyncMessage::decode(data.clone())) {
            (
                Plant::SecondVote,
                Ok(SyncMessage::Election(ElectionMessage::VoteReply { term, granted: false })),
            ) => {
                let message = SyncMessage::Election(ElectionMessage::VoteReply { term, granted: true });
                said.push(FrontOutput::PeerSend { front: *front, data: message.encode().freeze() });
            }
            (Plant::EarlyVote, Ok(SyncMessage::Election(ElectionMessage::PreVote { term }))) => {
                let message = SyncMessage::Election(ElectionMessage::Vote { term });
                said.push(FrontOutput::PeerSend { front: *front, data: message.encode().freeze() });
            }
            (Plant::LostSignal, Ok(SyncMessage::Signal { .. })) => {}
            _ => said.push(output),
        }
    }

    /// What arrives at a front where `data` was sent to it.
    pub(super) fn carries(&mut self, data: Bytes) -> Bytes {
        match (self.plant, SyncMessage::decode(data.clone())) {
            (Plant::EpochDownwards, Ok(SyncMessage::Epoch(mut epoch))) => {
                let old = self.seen.get_or_insert_with(|| epoch.clone());
                if old.members == epoch.members {
                    return data;
                }
                // A machine that took it for new could as well have been told a newer number.
                let EpochNumber { term, n } = epoch.number;
                epoch = Epoch { number: EpochNumber { term, n: n + 1 }, members: old.members.clone() };
                SyncMessage::Epoch(epoch).encode().freeze()
            }
            (Plant::Resurrected, Ok(SyncMessage::Rows(mut part))) => {
                part.rows.retain(|row| row.value.is_some());
                SyncMessage::Rows(part).encode().freeze()
            }
            (Plant::WrongSession, Ok(SyncMessage::Signal { from, to, session, body })) => {
                let to = self.someone.replace(to).unwrap_or(to);
                SyncMessage::Signal { from, to, session, body }.encode().freeze()
            }
            _ => data,
        }
    }
}
