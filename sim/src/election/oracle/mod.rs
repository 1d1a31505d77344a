//! What must hold of an election: one file a property.

mod ballots_rise;
mod lease_is_earned;
mod leases_are_disjoint;
mod one_leader_a_term;
mod one_leader_in_the_end;
mod one_vote_a_term;
mod vote_is_on_disk;

use kollator_core::cluster::FrontId;
use kollator_core::cluster::election::ElectionConfig;
use kollator_core::machine::Instant;
use kollator_core::wire::sync::ElectionMessage;

pub use ballots_rise::BallotsRise;
pub use lease_is_earned::LeaseIsEarned;
pub use leases_are_disjoint::LeasesAreDisjoint;
pub use one_leader_a_term::OneLeaderATerm;
pub use one_leader_in_the_end::OneLeaderInTheEnd;
pub use one_vote_a_term::OneVoteATerm;
pub use vote_is_on_disk::VoteIsOnDisk;

pub use super::node::Node;

/// What happened last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A front sent a message, which may never arrive.
    Sent {
        /// Who.
        from: FrontId,
        /// To whom.
        to: FrontId,
        /// What.
        message: ElectionMessage,
    },
    /// A message arrives; the machine has not yet seen it.
    Arrives {
        /// Whose.
        from: FrontId,
        /// At whom.
        to: FrontId,
        /// What.
        message: ElectionMessage,
    },
    /// A front's process began anew.
    Started(FrontId),
    /// A front's disk lost its ballot.
    Lost(FrontId),
    /// Something else.
    Other,
}

impl Happening {
    /// Whether it is part of an event that is not over: fronts are looked at when it is.
    pub(super) const fn is_message(self) -> bool {
        matches!(self, Self::Sent { .. } | Self::Arrives { .. })
    }
}

/// Everything as it is.
#[derive(Debug)]
pub struct View<'a> {
    /// True time.
    pub now: Instant,
    /// Every front, by its id.
    pub nodes: &'a [Node],
    /// The settings of all.
    pub config: &'a ElectionConfig,
    /// Since faults have been over: the fronts that work and reach each other, a majority.
    pub healed: &'a [FrontId],
}

impl View<'_> {
    /// The front of that id.
    #[must_use]
    pub fn node(&self, id: FrontId) -> &Node {
        &self.nodes[usize::from(id.0)]
    }
}

/// Watches one property.
pub trait Oracle {
    /// Its name, for reports.
    fn name(&self) -> &'static str;

    /// Called after every event and for every message.
    ///
    /// # Errors
    /// How the property is broken.
    fn watch(&mut self, happening: Happening, view: &View<'_>) -> Result<(), String>;

    /// Called when faults have been over for long enough to agree.
    ///
    /// # Errors
    /// How the property is broken.
    fn settled(&mut self, view: &View<'_>) -> Result<(), String> {
        let _ = view;
        Ok(())
    }
}

/// One of each.
#[must_use]
pub fn all() -> Vec<Box<dyn Oracle>> {
    vec![
        Box::new(OneLeaderATerm::default()),
        Box::new(OneVoteATerm::default()),
        Box::new(VoteIsOnDisk::default()),
        Box::new(BallotsRise::default()),
        Box::new(LeasesAreDisjoint),
        Box::new(LeaseIsEarned::default()),
        Box::new(OneLeaderInTheEnd::default()),
    ]
}
