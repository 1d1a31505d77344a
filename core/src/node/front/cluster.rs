//! This front among the others: elects with them, shares rows with them, takes up epochs, and publishes them
//! while it leads. Decides nothing about clients; the front does.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::assign::Usable;
use super::{ClusterConfig, ClusterStatus, PeerFrontStatus, Role};
use crate::cluster::FrontId;
use crate::cluster::election::{self, Election, ElectionConfig, ElectionOutput, Standing};
use crate::cluster::epoch::{Epoch, EpochMember, EpochNumber, MAX_MEMBERS};
use crate::cluster::saved::{Record, Recovered, Saved};
use crate::cluster::table::{Change, Table, TableConfig, TableLimits};
use crate::id::{Digest, InfoHash, PeerId};
use crate::machine::{Instant, Outbox, earliest};
use crate::node::io::Ticket;
use crate::wire::signal::{Signal, WorkerInfo};
use crate::wire::sync::{AuthorDigest, MAX_ROWS_BYTES, Row, RowKey, RowValue, SyncMessage, WorkerRow};

/// Members of one swarm at other fronts that are looked at for one sample.
const MAX_LOOKED_AT: usize = 64;
/// Most bytes of rows in answer to one digest; the next digest asks for the rest.
const MAX_ANSWER: usize = 1 << 20;

/// What the cluster wants done, or tells the front.
#[derive(Debug)]
pub(super) enum ClusterOutput {
    Send {
        front: FrontId,
        data: Bytes,
    },
    Persist {
        ticket: Ticket,
        record: Record,
    },
    Save(Vec<Saved>),
    /// Which workers clients can be given may have changed.
    Workers,
    /// A signal for a client of this front.
    Signal {
        front: FrontId,
        from: PeerId,
        to: PeerId,
        session: u32,
        body: Signal,
    },
    Standing {
        role: Role,
        term: u64,
        leader: Option<String>,
    },
    Epoch {
        number: EpochNumber,
        workers: usize,
    },
    /// Another front came within hearing, or fell silent.
    Front {
        name: String,
        live: bool,
    },
    /// Another front broke a rule.
    Fault {
        name: String,
        offence: String,
    },
}

/// Another front.
#[derive(Debug, Default)]
struct Peer {
    /// Whether we may send to it.
    up: bool,
    heard: Option<Instant>,
    live: bool,
    /// Up to which of our changes it said to know.
    knows: u64,
}

/// What is being made durable.
#[derive(Debug)]
enum Durable {
    Ballot(election::Ballot),
    Incarnation(u64),
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Cluster {
    config: ClusterConfig,
    election: Election,
    table: Table<RowKey, RowValue>,
    epoch: Epoch,
    peers: BTreeMap<FrontId, Peer>,
    /// Our incarnation is on disk: we may tell of our rows.
    is_introduced: bool,
    /// The workers may be others than those of the epoch.
    is_unpublished: bool,
    next_sync: Instant,
    durable: BTreeMap<Ticket, Durable>,
    next_ticket: u64,
    /// Messages of other fronts that broke a rule.
    faults: u64,
    out: Outbox<ClusterOutput>,
}

impl Cluster {
    /// # Panics
    /// If the configuration names no front, or not this one.
    pub(super) fn new(config: &ClusterConfig, seed: u64, unix_ms: u64, recovered: Recovered) -> Self {
        let fronts = config.names.len() as u8;
        assert!(config.me.0 < fronts, "a front is one of those named");
        // Later than any earlier life, also where what it kept is gone.
        let incarnation = unix_ms.max(recovered.incarnation + 1);
        let election = ElectionConfig::new(config.me, fronts, seed);
        let limits = TableLimits {
            rows: config.max_rows,
            tombstones: config.max_rows,
            bytes: config.max_rows_bytes,
            part_bytes: MAX_ROWS_BYTES,
        };
        let mut table = Table::new(TableConfig { me: config.me, fronts, incarnation, limits });
        for (author, _, row) in recovered.rows {
            // What has no room now is told again by its author.
            if let Some(value) = row.value.filter(|_| author != config.me && author.0 < fronts) {
                let _ = table.recover(author, row.key, value);
            }
        }
        let others = (0..fronts).map(FrontId).filter(|front| *front != config.me);
        let mut cluster = Self {
            election: Election::new(election, recovered.ballot),
            table,
            epoch: recovered.epoch,
            peers: others.map(|front| (front, Peer::default())).collect(),
            is_introduced: false,
            is_unpublished: false,
            next_sync: Instant::ZERO,
            durable: BTreeMap::new(),
            next_ticket: 0,
            faults: 0,
            out: Outbox::default(),
            config: config.clone(),
        };
        cluster.persist(Durable::Incarnation(incarnation), Record::Incarnation(incarnation));
        cluster
    }

    pub(super) fn poll(&mut self) -> Option<ClusterOutput> {
        self.out.pop()
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        let silent = self.peers.values().filter(|peer| peer.live).map(|peer| self.silent_at(peer));
        let sync = (!self.peers.is_empty()).then_some(self.next_sync);
        earliest([self.election.next_wake(), sync].into_iter().chain(silent))
    }

    pub(super) fn wake(&mut self, now: Instant) {
        self.election.wake(now);
        let silent: Vec<FrontId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.live && self.silent_at(peer).is_some_and(|at| at <= now))
            .map(|(front, _)| *front)
            .collect();
        for front in silent {
            self.set_live(front, false);
        }
        if now >= self.next_sync && !self.peers.is_empty() {
            self.next_sync = now + self.config.sync_interval;
            self.is_unpublished = true;
            for front in self.reachable() {
                self.send_digest(front);
            }
        }
    }

    /// The last step of every change: elects, publishes, tells news. To be called before [`Self::poll`].
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(output) = self.election.poll() {
            match output {
                ElectionOutput::Persist(ballot) => {
                    let election::Ballot { term, voted_for } = ballot;
                    self.persist(Durable::Ballot(ballot), Record::Ballot { term, voted_for });
                }
                ElectionOutput::Send { to, message } => self.send(to, &SyncMessage::Election(message)),
                ElectionOutput::Changed(standing) => {
                    let (role, term) = (role_of(standing), standing.term);
                    let leader = standing.leader.map(|front| self.name(front));
                    self.is_unpublished = true;
                    self.out.push(ClusterOutput::Standing { role, term, leader });
                }
            }
        }
        self.publish(now);
        self.tell_news();
    }

    pub(super) fn persisted(&mut self, now: Instant, ticket: Ticket) {
        match self.durable.remove(&ticket) {
            Some(Durable::Ballot(ballot)) => self.election.persisted(now, ballot),
            Some(Durable::Incarnation(incarnation)) => {
                if incarnation > self.table.incarnation() {
                    self.table.reincarnate(incarnation);
                }
                self.is_introduced = true;
                self.next_sync = now;
            }
            None => {}
        }
    }

    pub(super) fn peer_up(&mut self, front: FrontId) {
        if let Some(peer) = self.peers.get_mut(&front) {
            peer.up = true;
            self.send_digest(front);
        }
    }

    pub(super) fn peer_down(&mut self, front: FrontId) {
        if let Some(peer) = self.peers.get_mut(&front) {
            peer.up = false;
            self.table.disconnected(front);
        }
    }

    pub(super) fn message(&mut self, now: Instant, front: FrontId, data: Bytes) {
        let Some(peer) = self.peers.get_mut(&front) else { return };
        peer.heard = Some(now);
        if !peer.live {
            self.set_live(front, true);
        }
        match SyncMessage::decode(data) {
            Ok(SyncMessage::Election(message)) => self.election.message(now, front, message),
            Ok(SyncMessage::Digest { authors, epoch }) => self.digest(front, authors, epoch),
            Ok(SyncMessage::Rows(part)) => match self.table.apply(part) {
                Ok(changes) => self.applied(&changes),
                Err(offence) => self.fault(front, offence.to_string()),
            },
            Ok(SyncMessage::Epoch(epoch)) => self.adopt(epoch),
            Ok(SyncMessage::Signal { from, to, session, body }) => {
                self.out.push(ClusterOutput::Signal { front, from, to, session, body });
            }
            Err(error) => self.fault(front, error.to_string()),
        }
    }

    /// Says something of a client or worker of this front; without room for it, the others do not hear of it.
    pub(super) fn put(&mut self, key: RowKey, value: RowValue) {
        let is_worker = matches!(key, RowKey::Worker(_));
        if matches!(self.table.put(key, value), Ok(Some(_))) && is_worker {
            self.workers_changed();
        }
    }

    /// Says it no more.
    pub(super) fn remove(&mut self, key: &RowKey) {
        if self.table.remove(key).is_some() && matches!(key, RowKey::Worker(_)) {
            self.workers_changed();
        }
    }

    /// Sends a signal to another front that has its target; whether one that can be reached has.
    pub(super) fn forward(&mut self, from: PeerId, to: PeerId, session: u32, body: &Signal) -> bool {
        let Some(front) = self.locate(to) else { return false };
        self.send(front, &SyncMessage::Signal { from, to, session, body: body.clone() });
        true
    }

    /// Tells a front that nobody of that name is here.
    pub(super) fn return_signal(&mut self, front: FrontId, from: PeerId, to: PeerId, session: u32) {
        self.send(front, &SyncMessage::Signal { from: to, to: from, session, body: Signal::Unreachable {} });
    }

    /// Members of a swarm at other fronts, from a random name on, and whether each has all of the share.
    pub(super) fn members(&self, info_hash: InfoHash, start: PeerId) -> Vec<(PeerId, bool)> {
        let key = |peer| RowKey::Member { info_hash, peer };
        let (least, most) = (PeerId(Digest([0; 32])), PeerId(Digest([0xff; 32])));
        let rows = self.table.range(key(start)..=key(most)).chain(self.table.range(key(least)..key(start)));
        let member = |(author, key, value): (FrontId, &RowKey, &RowValue)| match (key, value) {
            (RowKey::Member { peer, .. }, RowValue::Member { complete }) if self.is_live(author) => {
                Some((*peer, *complete))
            }
            _ => None,
        };
        rows.take(MAX_LOOKED_AT).filter_map(member).collect()
    }

    /// The workers that clients can be given: those of the epoch that are alive as far as is known here. Where
    /// that leaves none, any that is alive. Where none is, any that was when it was last heard of, and any that is
    /// connected: it may answer again, or have to prove itself for a while yet. So nobody waits for an election, or
    /// has no worker while there may be one.
    pub(super) fn usable(&self) -> BTreeMap<String, Usable> {
        let live = self.workers(|front| self.is_live(front));
        let fit = |worker: &&WorkerRow| worker.alive && !worker.draining;
        let usable = |name: &str, worker: &WorkerRow| {
            let info = WorkerInfo { name: name.to_owned(), peer: worker.peer, http: worker.http.clone() };
            let (capacity, region) = (worker.capacity, worker.region.clone());
            (name.to_owned(), Usable { capacity, region, info: Arc::new(info), load: worker.load })
        };
        let chosen = |member: &EpochMember| {
            let (_, worker) = live.get(member.name.as_str())?;
            let (name, worker) = usable(&member.name, Some(*worker).filter(fit)?);
            Some((name, Usable { capacity: member.capacity, region: member.region.clone(), ..worker }))
        };
        let ruled: BTreeMap<String, Usable> = self.epoch.members.iter().filter_map(chosen).collect();
        if !ruled.is_empty() {
            return ruled;
        }
        let alive = live.iter().filter(|(_, (_, worker))| fit(worker));
        let alive: BTreeMap<String, Usable> = alive.map(|(name, (_, worker))| usable(name, worker)).collect();
        if !alive.is_empty() {
            return alive;
        }
        let all = self.workers(|_| true);
        let hope =
            |(front, worker): &(FrontId, &WorkerRow)| !worker.draining && (worker.alive || self.is_live(*front));
        all.iter().filter(|(_, row)| hope(row)).map(|(name, (_, worker))| usable(name, worker)).collect()
    }

    /// All workers that those fronts speak of, by name. Of several that speak of one, the one to which it said
    /// hello last is right.
    pub(super) fn workers(&self, of: impl Fn(FrontId) -> bool) -> BTreeMap<&str, (FrontId, &WorkerRow)> {
        let mut workers: BTreeMap<&str, (FrontId, &WorkerRow)> = BTreeMap::new();
        let first = RowKey::Worker(String::new());
        for (author, key, value) in self.table.range(first..) {
            let (RowKey::Worker(name), RowValue::Worker(worker)) = (key, value) else { break };
            let newer = |known: &(FrontId, &WorkerRow)| known.1.since_ms < worker.since_ms;
            if of(author) && workers.get(name.as_str()).is_none_or(newer) {
                workers.insert(name, (author, worker));
            }
        }
        workers
    }

    pub(super) fn rows_of(&self, front: FrontId) -> impl Iterator<Item = (&RowKey, &RowValue)> {
        self.table.by(front)
    }

    pub(super) fn name(&self, front: FrontId) -> String {
        self.config.names[usize::from(front.0)].clone()
    }

    pub(super) fn status(&self, now: Instant, usable_workers: usize) -> ClusterStatus {
        let standing = self.election.standing();
        let peer = |(front, peer): (&FrontId, &Peer)| PeerFrontStatus {
            name: self.name(*front),
            connected: peer.up,
            heard_ms_ago: peer.heard.map(|heard| now.since(heard).as_millis() as u64),
            behind: self.table.known(self.config.me).1.saturating_sub(peer.knows),
        };
        ClusterStatus {
            name: self.name(self.config.me),
            role: role_of(standing),
            term: standing.term,
            leader: standing.leader.map(|front| self.name(front)),
            quorum: self.election.has_quorum(now),
            epoch: (self.epoch.number.term, self.epoch.number.n),
            usable_workers,
            rows: self.table.iter().count(),
            faults: self.faults,
            peers: self.peers.iter().map(peer).collect(),
        }
    }

    /// The front to which a client that is not here is connected, as far as is known: the one it came to last.
    fn locate(&self, peer: PeerId) -> Option<FrontId> {
        let client = |(front, value): (FrontId, &RowValue)| match value {
            RowValue::Client { since_ms } if self.peers.get(&front)?.up && self.is_live(front) => {
                Some((*since_ms, front))
            }
            _ => None,
        };
        self.table.of(&RowKey::Client(peer)).filter_map(client).max().map(|(_, front)| front)
    }

    fn digest(&mut self, front: FrontId, authors: Vec<AuthorDigest>, epoch: EpochNumber) {
        let (me, incarnation) = (self.config.me, self.table.incarnation());
        let own = authors.iter().find(|digest| digest.author == me && digest.incarnation == incarnation);
        let knows = own.map_or(0, |digest| digest.number);
        if let Some(peer) = self.peers.get_mut(&front) {
            peer.knows = knows;
        }
        match self.table.hear(front, authors) {
            // What we kept of our later life is gone.
            Ok(Some(later)) if self.is_introduced => {
                self.is_introduced = false;
                let incarnation = later + 1;
                self.persist(Durable::Incarnation(incarnation), Record::Incarnation(incarnation));
            }
            Ok(_) => {}
            Err(offence) => self.fault(front, offence.to_string()),
        }
        if self.is_introduced {
            for part in self.table.answer(front, MAX_ANSWER) {
                self.send(front, &SyncMessage::Rows(part));
            }
        }
        if epoch < self.epoch.number {
            let epoch = self.epoch.clone();
            self.send(front, &SyncMessage::Epoch(epoch));
        }
    }

    /// Rows of other fronts changed.
    fn applied(&mut self, changes: &[Change<RowKey, RowValue>]) {
        if changes.is_empty() {
            return;
        }
        if changes.iter().any(|change| matches!(change.key, RowKey::Worker(_))) {
            self.workers_changed();
        }
        let saved = changes.iter().map(|change| Saved::Row {
            author: change.author,
            incarnation: self.table.known(change.author).0,
            row: Row { key: change.key.clone(), number: change.number, value: change.new.clone() },
        });
        self.out.push(ClusterOutput::Save(saved.collect()));
    }

    fn adopt(&mut self, epoch: Epoch) {
        if self.epoch.adopt(epoch) {
            self.epoch_changed();
        }
    }

    fn epoch_changed(&mut self) {
        let (number, workers) = (self.epoch.number, self.epoch.members.len());
        self.out.push(ClusterOutput::Save(vec![Saved::Epoch(self.epoch.clone())]));
        self.out.push(ClusterOutput::Epoch { number, workers });
        self.workers_changed();
    }

    /// Publishes a new epoch, if the workers are others than the ring's and we may.
    fn publish(&mut self, now: Instant) {
        if !self.is_unpublished || !self.election.has_lease(now) {
            return;
        }
        self.is_unpublished = false;
        let workers = self.workers(|front| self.is_live(front));
        let fit = workers.iter().filter(|(_, (_, worker))| worker.alive && !worker.draining);
        let member = |(name, (_, worker)): (&&str, &(FrontId, &WorkerRow))| EpochMember {
            name: (*name).to_owned(),
            capacity: worker.capacity,
            region: worker.region.clone(),
        };
        let members: Vec<EpochMember> = fit.map(member).take(MAX_MEMBERS).collect();
        let term = self.election.standing().term;
        if members == self.epoch.members || self.epoch.number.term > term {
            return;
        }
        let n = if self.epoch.number.term == term { self.epoch.number.n + 1 } else { 1 };
        self.epoch = Epoch { number: EpochNumber { term, n }, members };
        for front in self.reachable() {
            let epoch = self.epoch.clone();
            self.send(front, &SyncMessage::Epoch(epoch));
        }
        self.epoch_changed();
    }

    /// Tells the others what changed here since they were told last.
    fn tell_news(&mut self) {
        if !self.is_introduced {
            return;
        }
        for front in self.reachable() {
            for part in self.table.news(front, MAX_ANSWER) {
                self.send(front, &SyncMessage::Rows(part));
            }
        }
    }

    fn workers_changed(&mut self) {
        self.is_unpublished = true;
        self.out.push(ClusterOutput::Workers);
    }

    fn send_digest(&mut self, front: FrontId) {
        if self.is_introduced {
            let (authors, epoch) = (self.table.digest(), self.epoch.number);
            self.send(front, &SyncMessage::Digest { authors, epoch });
        }
    }

    fn send(&mut self, front: FrontId, message: &SyncMessage) {
        if self.peers.get(&front).is_some_and(|peer| peer.up) {
            self.out.push(ClusterOutput::Send { front, data: message.encode().freeze() });
        }
    }

    fn persist(&mut self, durable: Durable, record: Record) {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.durable.insert(ticket, durable);
        self.out.push(ClusterOutput::Persist { ticket, record });
    }

    fn fault(&mut self, front: FrontId, offence: String) {
        self.faults += 1;
        let name = self.name(front);
        self.out.push(ClusterOutput::Fault { name, offence });
    }

    fn reachable(&self) -> Vec<FrontId> {
        self.peers.iter().filter(|(_, peer)| peer.up).map(|(front, _)| *front).collect()
    }

    fn is_live(&self, front: FrontId) -> bool {
        front == self.config.me || self.peers.get(&front).is_some_and(|peer| peer.live)
    }

    fn silent_at(&self, peer: &Peer) -> Option<Instant> {
        peer.heard.map(|heard| heard + self.config.front_timeout)
    }

    fn set_live(&mut self, front: FrontId, live: bool) {
        let name = self.name(front);
        self.peers.get_mut(&front).expect("it is another front").live = live;
        self.out.push(ClusterOutput::Front { name, live });
        self.workers_changed();
    }
}

const fn role_of(standing: Standing) -> Role {
    match standing.role {
        election::Role::Leader => Role::Leader,
        election::Role::Follower => Role::Follower,
        election::Role::Candidate => Role::Candidate,
    }
}
