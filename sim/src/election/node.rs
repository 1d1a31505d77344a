//! One front of the world: its process, its clock and its disk.

use kollator_core::cluster::FrontId;
use kollator_core::cluster::election::{Ballot, Election, Role};
use kollator_core::cluster::saved::RecoveredBallot;
use kollator_core::machine::Instant;

/// A front.
#[derive(Clone, Debug)]
pub struct Node {
    /// Who it is.
    pub id: FrontId,
    /// The machine; absent while the process is dead.
    pub election: Option<Election>,
    /// What its disk has.
    pub disk: RecoveredBallot,
    /// The ballot before that.
    pub(super) former: RecoveredBallot,
    /// The ballot on its way to the disk.
    pub(super) writing: Option<Ballot>,
    /// Which life of the process this is.
    pub(super) life: u64,
    /// When this life began.
    pub(super) began: Instant,
    /// How far its clock is from true speed, in parts per million.
    pub(super) drift: i64,
    /// Until then the process stands still.
    pub(super) paused_until: Instant,
    /// The newest term of an epoch that it published.
    pub(super) published: u64,
    /// It takes its lease to last as long as its lead.
    pub(super) lease_without_end: bool,
}

impl Node {
    pub(super) const fn new(id: FrontId, drift: i64) -> Self {
        Self {
            id,
            election: None,
            disk: RecoveredBallot::Fresh,
            former: RecoveredBallot::Fresh,
            writing: None,
            life: 0,
            began: Instant::ZERO,
            drift,
            paused_until: Instant::ZERO,
            published: 0,
            lease_without_end: false,
        }
    }

    /// What its clock says at `now`.
    #[must_use]
    pub fn local(&self, now: Instant) -> Instant {
        let lived = now.as_nanos() - self.began.as_nanos();
        Instant::from_nanos(lived * self.speed() / 1_000_000)
    }

    /// When its machine is woken, if it wants to be.
    pub(super) fn wakes(&self) -> Option<Instant> {
        let local = self.election.as_ref()?.next_wake()?.as_nanos();
        let lived = (local * 1_000_000).div_ceil(self.speed());
        Some(Instant::from_nanos(self.began.as_nanos() + lived).max(self.paused_until))
    }

    /// Whether it says at `now` that it has a lease.
    #[must_use]
    pub fn claims_lease(&self, now: Instant) -> bool {
        self.election.as_ref().is_some_and(|election| {
            let endless = self.lease_without_end && election.lease_until().is_some();
            endless || election.has_lease(self.local(now))
        })
    }

    /// Whether it says that it leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.election.as_ref().is_some_and(|election| election.standing().role == Role::Leader)
    }

    /// The ballot on its disk; none if it is lost.
    #[must_use]
    pub const fn ballot(&self) -> Option<Ballot> {
        match self.disk {
            RecoveredBallot::Fresh => Some(Ballot { term: 0, voted_for: None }),
            RecoveredBallot::Kept { term, voted_for } => Some(Ballot { term, voted_for }),
            RecoveredBallot::Lost => None,
        }
    }

    /// The disk has taken `ballot`.
    pub(super) const fn store(&mut self, ballot: Ballot) {
        self.former = self.disk;
        self.disk = RecoveredBallot::Kept { term: ballot.term, voted_for: ballot.voted_for };
    }

    const fn speed(&self) -> u64 {
        (1_000_000 + self.drift) as u64
    }
}
