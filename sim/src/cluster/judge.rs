//! What must be true once the faults are over and everybody had time to agree.

use std::collections::{BTreeMap, BTreeSet};

use kollator_core::cluster::FrontId;
use kollator_core::node::front::{FrontStatus, Role};
use kollator_core::ring::{Key, Ring};
use kollator_core::wire::sync::RowKey;

use super::World;

/// How many pairs of clients test the signaling at the end.
const PAIRS: u64 = 24;

impl World {
    pub(super) fn is_leader(&self, front: usize) -> bool {
        let status = self.status(front);
        status.is_some_and(|status| status.cluster.role == Role::Leader)
    }

    fn status(&self, front: usize) -> Option<FrontStatus> {
        let machine = self.fronts[front].machine.as_ref()?;
        Some(machine.status())
    }

    /// The end of the settling: everything but the last test of the signaling.
    pub(super) fn judge(&mut self) {
        if let Err(what) = self.one_leader().and_then(|()| self.one_epoch()) {
            return self.journal.fail("agreement", what);
        }
        if let Err(what) = self.true_presence() {
            return self.journal.fail("presence", what);
        }
        if let Err(what) = self.right_workers() {
            return self.journal.fail("assignment", what);
        }
        for _ in 0..PAIRS {
            let healthy = self.settled_clients();
            let (Some(from), Some(to)) = (self.any(&healthy), self.any(&healthy)) else { break };
            self.client_signals(from, to, true);
        }
    }

    pub(super) fn judge_last_test(&mut self) {
        if let Some((number, (from, to))) = self.awaited.first_key_value() {
            let what = format!("signal {number} from client {from} to client {to} did not arrive");
            self.journal.fail("signaling", what);
        }
    }

    fn any(&mut self, of: &[usize]) -> Option<usize> {
        (!of.is_empty()).then(|| of[self.rng.below(of.len() as u64) as usize])
    }

    fn healthy(&self) -> Vec<usize> {
        (0..self.fronts.len()).filter(|front| !self.broken.contains(front)).collect()
    }

    /// The front of a client, if it is connected.
    fn front_of(&self, client: usize) -> Option<usize> {
        let node = &self.clients[client];
        let up = node.client.as_ref().is_some_and(super::Client::is_up);
        node.conn.filter(|_| up).map(|conn| self.conns[&conn].front)
    }

    /// Clients that are connected to healthy fronts.
    fn settled_clients(&self) -> Vec<usize> {
        let at_healthy =
            |client: &usize| self.front_of(*client).is_some_and(|front| !self.broken.contains(&front));
        (0..self.clients.len()).filter(at_healthy).collect()
    }

    fn one_leader(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for front in self.healthy() {
            let Some(status) = self.status(front) else { return Err(format!("front {front} is not there")) };
            let cluster = status.cluster;
            if !cluster.quorum {
                return Err(format!("front {front} sees no quorum"));
            }
            seen.insert((cluster.term, cluster.leader));
        }
        if seen.len() != 1 {
            return Err(format!("the healthy fronts follow {seen:?}"));
        }
        let leaders = self.healthy().into_iter().filter(|front| self.is_leader(*front)).count();
        if leaders != 1 {
            return Err(format!("{leaders} healthy fronts lead"));
        }
        Ok(())
    }

    fn one_epoch(&self) -> Result<(), String> {
        let epochs: BTreeSet<(u64, u64)> =
            self.healthy().into_iter().filter_map(|front| Some(self.status(front)?.cluster.epoch)).collect();
        if epochs.len() == 1 { Ok(()) } else { Err(format!("the healthy fronts go by epochs {epochs:?}")) }
    }

    /// What each healthy front knows of the clients of each healthy front is the truth.
    fn true_presence(&self) -> Result<(), String> {
        let mut truth: BTreeMap<usize, BTreeSet<RowKey>> =
            self.healthy().into_iter().map(|front| (front, BTreeSet::new())).collect();
        for client in self.settled_clients() {
            let front = self.front_of(client).expect("it is connected");
            let rows = truth.get_mut(&front).expect("its front is healthy");
            let made = self.clients[client].client.as_ref().expect("it is connected");
            rows.insert(RowKey::Client(made.id));
            rows.extend(
                made.shares.iter().map(|info_hash| RowKey::Member { info_hash: *info_hash, peer: made.id }),
            );
            rows.extend(self.plan.clients[client].worker.iter().map(|worker| RowKey::Worker(worker.name.clone())));
        }
        for viewer in self.healthy() {
            let machine = self.fronts[viewer].machine.as_ref().expect("healthy fronts run");
            for (author, rows) in &truth {
                let known: BTreeSet<RowKey> =
                    machine.rows_of(FrontId(*author as u8)).map(|(key, _)| key.clone()).collect();
                if known != *rows {
                    let wrong: Vec<&RowKey> = known.symmetric_difference(rows).take(3).collect();
                    return Err(format!(
                        "front {viewer} knows {} rows of front {author}, true are {}; such as {wrong:?}",
                        known.len(),
                        rows.len()
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every client at a healthy front has the worker that the ring's definition names; or any that serves, where some
    /// worker said that it has much to do.
    fn right_workers(&self) -> Result<(), String> {
        // One that died again and again is not trusted yet.
        let serves = |client: &usize| {
            let name = self.plan.clients[*client].worker.as_ref().map(|worker| &worker.name);
            let status = self.front_of(*client).and_then(|front| self.status(front));
            status.is_some_and(|status| status.workers.iter().any(|row| Some(&row.name) == name && row.alive))
        };
        let serving: Vec<usize> = self.settled_clients().into_iter().filter(serves).collect();
        let workers: Vec<_> =
            serving.into_iter().filter_map(|client| self.plan.clients[client].worker.clone()).collect();
        if workers.is_empty() {
            return Ok(());
        }
        let mut ring = Ring::new(kollator_core::ring::DEFAULT_REPLICAS);
        workers.iter().for_each(|worker| ring.insert(&worker.name, worker.capacity));
        for client in self.settled_clients() {
            if self.plan.clients[client].worker.is_some() {
                continue;
            }
            let owner = ring.owner(Key::of_client(self.plan.clients[client].ip));
            let told = self.clients[client].client.as_ref().and_then(|client| client.worker.as_deref());
            let is_elsewhere = self.plan.loads && workers.iter().any(|worker| Some(worker.name.as_str()) == told);
            if told != owner && !is_elsewhere {
                let front = self.front_of(client);
                return Err(format!("client {client} at front {front:?} has worker {told:?}, right is {owner:?}"));
            }
        }
        Ok(())
    }
}
