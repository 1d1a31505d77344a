//! One change of the table, and those who watch for it at every other front. The time is from when the change was sent
//! to its own front until what shows it had been read from the last of the others; asking included.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use kollator_core::id::{InfoHash, PeerId};
use kollator_core::wire::signal::{ToFront, WorkerInfo};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::crowd::{Crowd, Task, Worker, announce};
use crate::load::session::Session;

/// From an answer that does not show a change to the next question.
const ASK_AGAIN: Duration = Duration::from_millis(1);
/// What is not shown by then is not shown.
const GIVE_UP: Duration = Duration::from_secs(10);

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A peer joined a swarm: others in the swarm are told of it when they ask.
    Joined,
    /// It left: they are not told of it any more.
    Left,
    /// A worker is about to leave: its clients are given another.
    Drained,
    /// A worker is there (again): its clients are given it. This takes an epoch of the leader's.
    Arrived,
}

/// What came of a change.
pub(super) struct Outcome {
    pub(super) kind: Kind,
    /// `None` if it took longer than anybody waits.
    pub(super) shown_after: Option<Duration>,
}

/// One client at each front, all in the same network and in the same swarm.
pub(super) struct Group {
    swarm: InfoHash,
    announce: String,
    watchers: Vec<Watcher>,
    /// The member that has joined.
    joined: Option<usize>,
    /// Who serves the network, if no other group does the same.
    worker: Option<Worker>,
}

impl Group {
    /// `watchers` are in order of their fronts.
    pub(super) fn new(swarm: InfoHash, watchers: Vec<Watcher>) -> Self {
        Self { swarm, announce: announce(swarm), watchers, joined: None, worker: None }
    }

    /// Name of the worker that serves the network, which all fronts must agree on.
    pub(super) fn served_by(&self) -> anyhow::Result<String> {
        let names: Vec<Option<String>> = self.watchers.iter().map(Watcher::worker_name).collect();
        ensure!(names.iter().all(|name| *name == names[0]), "the fronts assign {names:?} to one network");
        names[0].clone().context("no worker is assigned to a network")
    }

    pub(super) fn set_worker(&mut self, worker: Worker) {
        self.worker = Some(worker);
    }

    pub(super) const fn has_worker(&self) -> bool {
        self.worker.is_some()
    }

    /// The watchers, and what each says to stay in the swarm.
    pub(super) fn sessions(&self) -> impl Iterator<Item = (Arc<Session>, String)> {
        self.watchers.iter().map(|watcher| (watcher.session.clone(), self.announce.clone()))
    }

    /// A peer joins the swarm, or the one that did leaves.
    pub(super) async fn change_member(&mut self, crowd: &Crowd, mover: usize) -> anyhow::Result<Outcome> {
        let (kind, mover, text) = match self.joined.take() {
            Some(joined) => (Kind::Left, joined, ToFront::Leave { info_hash: self.swarm }.to_text()),
            None => {
                self.joined = Some(mover);
                (Kind::Joined, mover, self.announce.clone())
            }
        };
        let member = &crowd.members[mover];
        let begun = Instant::now();
        member.session.send(&text).await?;
        let is_right = |peers: &[PeerId]| peers.contains(&member.id) == (kind == Kind::Joined);
        let seen = self.elsewhere(member.session.front).map(|watcher| watcher.ask_until(&self.announce, is_right));
        Ok(Outcome { kind, shown_after: shown(begun, try_join_all(seen)).await? })
    }

    /// The worker drains and leaves, or comes back.
    pub(super) async fn change_worker(&mut self, crowd: &Crowd) -> anyhow::Result<Outcome> {
        let mut worker = self.worker.take().context("a group without a worker has none that changes")?;
        let (kind, shown_after) = match worker.connection.take() {
            Some(connection) => {
                let begun = Instant::now();
                connection.session.send(&ToFront::Draining {}.to_text()).await?;
                let is_right = |given: Option<&WorkerInfo>| given.is_some_and(|given| given.name != worker.name);
                let seen = self.elsewhere(worker.front).map(|watcher| watcher.wait_until(is_right));
                (Kind::Drained, shown(begun, try_join_all(seen)).await?)
            }
            None => {
                let begun = crowd.connect(&mut worker).await?;
                let id = worker.connection.as_ref().map(|connection| connection.id);
                let is_right = |given: Option<&WorkerInfo>| given.map(|given| given.peer) == id;
                let seen = self.elsewhere(worker.front).map(|watcher| watcher.wait_until(is_right));
                (Kind::Arrived, shown(begun, try_join_all(seen)).await?)
            }
        };
        self.worker = Some(worker);
        Ok(Outcome { kind, shown_after })
    }

    /// Makes everything as it was before the first change.
    pub(super) async fn restore(&mut self, crowd: &Crowd) -> anyhow::Result<()> {
        if let Some(joined) = self.joined {
            self.change_member(crowd, joined).await?;
        }
        if self.worker.as_ref().is_some_and(|worker| worker.connection.is_none()) {
            self.change_worker(crowd).await?;
        }
        Ok(())
    }

    /// The watchers at all fronts but one.
    fn elsewhere(&self, front: usize) -> impl Iterator<Item = &Watcher> {
        self.watchers.iter().filter(move |watcher| watcher.session.front != front)
    }
}

/// How long after `begun` the last of them saw it.
async fn shown(
    begun: Instant,
    seen: impl Future<Output = anyhow::Result<Vec<Instant>>>,
) -> anyhow::Result<Option<Duration>> {
    match timeout(GIVE_UP, seen).await {
        Ok(seen) => Ok(seen?.into_iter().max().map(|last| last.saturating_duration_since(begun))),
        Err(_) => Ok(None),
    }
}

/// A client that sees what its front shows, and when.
pub(super) struct Watcher {
    session: Arc<Session>,
    others: watch::Receiver<(Instant, Vec<PeerId>)>,
    worker: watch::Receiver<(Instant, Option<WorkerInfo>)>,
    _hears: Task,
}

impl Watcher {
    /// `others` and `worker` are what the front said last, and when that was read.
    pub(super) const fn new(
        session: Arc<Session>,
        others: watch::Receiver<(Instant, Vec<PeerId>)>,
        worker: watch::Receiver<(Instant, Option<WorkerInfo>)>,
        hears: Task,
    ) -> Self {
        Self { session, others, worker, _hears: hears }
    }

    fn worker_name(&self) -> Option<String> {
        self.worker.borrow().1.as_ref().map(|worker| worker.name.clone())
    }

    /// Asks who else is in the swarm until that is right; when the answer came.
    async fn ask_until(&self, announce: &str, is_right: impl Fn(&[PeerId]) -> bool) -> anyhow::Result<Instant> {
        let mut others = self.others.clone();
        loop {
            others.mark_unchanged();
            self.session.send(announce).await?;
            others.changed().await.context("a watcher's session is over")?;
            let (at, right) = {
                let said = others.borrow();
                (said.0, is_right(&said.1))
            };
            if right {
                return Ok(at);
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// Waits until the worker that the front gives is right; when that was told.
    async fn wait_until(&self, is_right: impl Fn(Option<&WorkerInfo>) -> bool) -> anyhow::Result<Instant> {
        let mut worker = self.worker.clone();
        let said = worker.wait_for(|(_, given)| is_right(given.as_ref())).await;
        Ok(said.context("a watcher's session is over")?.0)
    }
}
