//! What a front keeps: durable records once they are written, the rest as it comes.

use std::collections::BTreeMap;

use kollator_core::cluster::FrontId;
use kollator_core::cluster::epoch::Epoch;
use kollator_core::cluster::saved::{Record, Recovered, RecoveredBallot, Saved};
use kollator_core::node::front::FrontInput;
use kollator_core::node::io::Ticket;
use kollator_core::wire::sync::{Row, RowKey};

use super::{Event, FaultKind, World};

/// A front's disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    ballot: RecoveredBallot,
    incarnation: u64,
    epoch: Epoch,
    rows: BTreeMap<(FrontId, RowKey), (u64, Row)>,
}

impl Disk {
    pub(super) fn recover(&self, me: FrontId) -> Recovered {
        let others = self.rows.iter().filter(|((author, _), _)| *author != me);
        Recovered {
            ballot: self.ballot,
            incarnation: self.incarnation,
            epoch: self.epoch.clone(),
            rows: others.map(|((author, _), (incarnation, row))| (*author, *incarnation, row.clone())).collect(),
        }
    }

    /// Nothing of it can be read any more.
    pub(super) fn lose(&mut self) {
        *self = Self { ballot: RecoveredBallot::Lost, ..Self::default() };
    }

    fn write(&mut self, record: Record) {
        match record {
            Record::Ballot { term, voted_for } => self.ballot = RecoveredBallot::Kept { term, voted_for },
            Record::Incarnation(incarnation) => self.incarnation = incarnation,
        }
    }

    fn keep(&mut self, saved: Saved) {
        match saved {
            Saved::Epoch(epoch) => self.epoch = epoch,
            Saved::Row { author, incarnation, row } => {
                let older = |(kept, _): &(FrontId, RowKey), at: &(u64, Row)| *kept == author && at.0 < incarnation;
                self.rows.retain(|key, at| !older(key, at));
                self.rows.insert((author, row.key.clone()), (incarnation, row));
            }
            Saved::Forget { author } => self.rows.retain(|(kept, _), _| *kept != author),
        }
    }
}

impl World {
    pub(super) fn persist(&mut self, front: usize, ticket: Ticket, record: Record) {
        let range = self.plan.disk.clone();
        let mut takes = self.between(&range);
        if self.strikes(FaultKind::SlowDisk) {
            takes *= 20;
        }
        let life = self.fronts[front].life;
        self.fronts[front].writing.insert(ticket, record);
        if self.strikes(FaultKind::TornWrite) {
            self.after(takes / 2, Event::Tear { front, life });
        }
        self.after(takes, Event::Durable { front, life, ticket, record });
    }

    pub(super) fn durable(&mut self, front: usize, life: u32, ticket: Ticket, record: Record) {
        let node = &mut self.fronts[front];
        if node.life != life || node.writing.remove(&ticket).is_none() {
            return;
        }
        node.disk.write(record);
        if matches!(record, Record::Ballot { .. }) {
            node.lost = false;
        }
        self.observe(front, &super::Fact::Durable(record));
        self.front_hears(front, life, FrontInput::Persisted { ticket });
    }

    pub(super) fn save(&mut self, front: usize, saved: Vec<Saved>) {
        if self.strikes(FaultKind::SaveLost) {
            return;
        }
        saved.into_iter().for_each(|saved| self.fronts[front].disk.keep(saved));
    }

    /// The process ends in the middle of its writes: with bad luck some of them are there all the same.
    pub(super) fn tear(&mut self, front: usize) {
        for (_, record) in std::mem::take(&mut self.fronts[front].writing) {
            if self.plan.faults.has(FaultKind::TornWrite) && self.rng.one_in(2) {
                self.fronts[front].disk.write(record);
                self.observe(front, &super::Fact::Durable(record));
            }
        }
    }
}
