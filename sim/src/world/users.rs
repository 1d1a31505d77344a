//! The people at the peers: what they ask for, that they ask again when it failed, and when they are content.

use std::sync::Arc;
use std::time::Duration;

use kollator_core::machine::Instant;
use kollator_core::node::io::Place;
use kollator_core::node::peer::{Command, PeerEvent, PeerInput};

use super::plan::{Kind, TaskPlan, Want};
use super::{Event, Input, World};

/// A wish and how it stands.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) plan: TaskPlan,
    pub(super) done: bool,
}

impl World {
    /// A peer's process started: its user asks for everything whose time has come, and later for the rest.
    pub(super) fn users_return(&mut self, peer: usize) {
        for task in 0..self.users.len() {
            if self.users[task].plan.peer == peer {
                let at = (Instant::ZERO + self.users[task].plan.at).max(self.now);
                let life = self.nodes[peer].life;
                self.heap.push(at, Event::User { task, life });
            }
        }
    }

    /// A user asks.
    pub(super) fn user_asks(&mut self, task: usize, life: u32) {
        let TaskPlan { peer, share, want, .. } = self.users[task].plan;
        if self.nodes[peer].life != life {
            return;
        }
        let metainfo = Arc::clone(&self.truth.shares[share].metainfo);
        let info_hash = metainfo.info_hash();
        let command = match want {
            Want::Share { upload } => {
                self.users[task].done |= !upload;
                Command::Share { metainfo, upload: upload && !self.users[task].done }
            }
            // What was fetched in an earlier life is offered in this one, if it is still there.
            Want::Download { .. } if self.users[task].done => {
                if !self.nodes[peer].disk.shares().contains(&share) {
                    return;
                }
                Command::Share { metainfo, upload: false }
            }
            Want::Download { order, has_metainfo } => {
                Command::Download { info_hash, metainfo: has_metainfo.then_some(metainfo), order }
            }
        };
        let fetches = matches!(command, Command::Download { .. });
        self.hear(peer, Input::Peer(PeerInput::Command(command)));
        if fetches && self.users[task].plan.is_watched && self.nodes[peer].life == life {
            self.user_seeks(task, life);
        }
        if fetches && self.truth.nodes[peer].knows_workers && self.nodes[peer].life == life {
            let workers =
                self.truth.of(Kind::Worker).into_iter().map(|worker| self.truth.worker_url(worker)).collect();
            self.hear(peer, Input::Peer(PeerInput::Command(Command::AddWorkers { info_hash, workers })));
        }
    }

    /// Who watches a download goes to a place in it, or to one that is not there, or closes it; and soon to another.
    pub(super) fn user_seeks(&mut self, task: usize, life: u32) {
        let TaskPlan { peer, share, .. } = self.users[task].plan;
        if self.nodes[peer].life != life || self.users[task].done {
            return;
        }
        let share = &self.truth.shares[share];
        let file = self.rng.below(share.files.len() as u64 + 1) as u32;
        let length = share.files.get(file as usize).map_or(0, |file| file.len() as u64);
        let place = Place { file, offset: self.rng.below(length + 2) };
        let place = (!self.rng.one_in(6)).then_some(place);
        let info_hash = share.info_hash();
        self.hear(peer, Input::Peer(PeerInput::Command(Command::Seek { info_hash, place })));
        let soon = Duration::from_millis(self.rng.below(1_500));
        self.after(soon, Event::Seek { task, life });
    }

    /// A user hears from the peer.
    pub(super) fn user_hears(&mut self, peer: usize, event: &PeerEvent) {
        let (info_hash, failed) = match event {
            PeerEvent::Completed { info_hash, .. } | PeerEvent::Safe { info_hash, .. } => (*info_hash, false),
            PeerEvent::Failed { info_hash, .. } => (*info_hash, true),
            _ => return,
        };
        let life = self.nodes[peer].life;
        for task in 0..self.users.len() {
            let TaskPlan { peer: whose, share, .. } = self.users[task].plan;
            if whose != peer || self.truth.shares[share].info_hash() != info_hash {
                continue;
            }
            if failed && !self.users[task].done {
                let later = Duration::from_millis(300 + self.rng.below(2_000));
                self.after(later, Event::User { task, life });
            } else if !failed {
                self.users[task].done = true;
            }
        }
    }

    /// Whether everybody has what can be had.
    pub(super) fn everybody_content(&self) -> bool {
        self.discontent().next().is_none()
    }

    /// Whether workers keep a share now, or somebody honest who brings it to them is there.
    pub(super) fn is_to_be_kept(&self, share: usize) -> bool {
        self.is_backed(share)
            || self.users.iter().any(|task| {
                let TaskPlan { peer, share: what, want, .. } = task.plan;
                let able = !self.truth.broken[peer] && !self.truth.nodes[peer].liar;
                what == share && able && want == Want::Share { upload: true }
            })
    }

    /// The wishes that must come true and have not.
    pub(super) fn discontent(&self) -> impl Iterator<Item = &Task> {
        // Uploads end at whichever worker the front assigns: none may lie.
        let workers = self.truth.of(Kind::Worker);
        let reliable = workers.into_iter().all(|node| self.truth.broken[node] || !self.truth.nodes[node].liar);
        self.users.iter().filter(move |task| {
            let upload = matches!(task.plan.want, Want::Share { .. });
            // Whoever lied is shunned for it.
            let shunned = self.truth.broken[task.plan.peer] || self.truth.nodes[task.plan.peer].liar;
            // One in pieces that nobody has is found only where workers keep what it was made of.
            let original = self.truth.shares[task.plan.share].recut_of;
            let findable = original.is_none_or(|share| reliable && self.kept[share]);
            // Over HTTP there are workers only.
            let on_http = !upload && self.truth.nodes[task.plan.peer].is_on_http_only();
            let findable = findable && (!on_http || reliable && self.kept[original.unwrap_or(task.plan.share)]);
            !task.done && !shunned && (reliable || !upload) && findable
        })
    }
}
