//! The front's decisions: who is welcome, who serves whom, what goes where, who has to leave. Never sends to a
//! client after closing it, never delivers for one that is not welcomed.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::assign::Assignment;
use super::budget::{Meter, network};
use super::cluster::{Cluster, ClusterOutput};
use super::neighbours::Neighbours;
use super::workers::{Enrolment, RosterOutput, WorkerRoster};
use super::{ClientId, FrontConfig, FrontEvent, FrontInput, FrontOutput, FrontStatus, WorkerStatus};
use crate::auth::Gate;
use crate::cluster::FrontId;
use crate::cluster::epoch::EpochNumber;
use crate::cluster::saved::Recovered;
use crate::id::{Digest, InfoHash, PeerId};
use crate::machine::{Instant, Machine, Outbox, Rng, earliest};
use crate::swarm::Swarms;
use crate::switchboard::{Route, Switchboard};
use crate::wire::passing::Passing;
use crate::wire::signal::{
    Bootstrap, ErrorCode, FromFront, MAX_SAMPLE, Role, Signal, ToFront, WorkerHello, WorkerInfo,
};
use crate::wire::signal_codec::SignalError;
use crate::wire::sync::{RowKey, RowValue, WorkerRow};

/// A front.
#[derive(Debug)]
pub struct Front {
    config: FrontConfig,
    gate: Gate,
    /// The newest reading of the wall clock: when, and Unix milliseconds.
    clock: (Instant, u64),
    /// When something happened last.
    now: Instant,
    clients: BTreeMap<ClientId, Client>,
    per_ip: BTreeMap<IpAddr, usize>,
    /// For each client, a time before which it need not be looked at.
    checks: BTreeSet<(Instant, ClientId)>,
    board: Switchboard,
    swarms: Swarms,
    cluster: Cluster,
    assignment: Assignment,
    /// How many peers here each worker is assigned to.
    assigned: BTreeMap<String, usize>,
    /// The workers that are connected here, and on which connection.
    workers: BTreeMap<String, ClientId>,
    roster: WorkerRoster,
    neighbours: Neighbours,
    rng: Rng,
    closing: bool,
    relayed: u64,
    forwarded: u64,
    unreachable: u64,
    faults: u64,
    workers_refused: u64,
    turned_away: u64,
    outbox: Outbox<FrontOutput>,
}

#[derive(Debug)]
struct Client {
    ip: IpAddr,
    heard: Instant,
    /// Its entry in `checks`.
    check_at: Instant,
    messages: Meter,
    faults: Meter,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Connected, `hello` outstanding.
    New,
    /// Welcomed.
    Peer { id: PeerId, worker: Option<Arc<WorkerInfo>> },
    /// Welcomed, its proof admitted.
    Worker { id: PeerId, name: String },
}

impl Machine for Front {
    type Input = FrontInput;
    type Output = FrontOutput;

    fn handle(&mut self, now: Instant, input: FrontInput) {
        self.now = now;
        for (info_hash, peer) in self.swarms.expire(now) {
            self.cluster.remove(&RowKey::Member { info_hash, peer });
        }
        self.close_silent(now);
        match input {
            FrontInput::Wake => {}
            FrontInput::Connected { client, ip } => self.connected(now, client, ip.to_canonical()),
            FrontInput::Message { client, text } => self.message(now, client, &text),
            FrontInput::Disconnected { client } => self.forget(now, client, "its connection closed"),
            FrontInput::Clock { unix_ms } => self.clock = (now, unix_ms),
            FrontInput::PeerUp { front } => self.cluster.peer_up(front),
            FrontInput::PeerDown { front } => self.cluster.peer_down(front),
            FrontInput::PeerMessage { front, data } => self.cluster.message(now, front, data),
            FrontInput::Persisted { ticket } => self.cluster.persisted(now, ticket),
            FrontInput::Shutdown => self.shut_down(now),
        }
        self.watch_workers(now);
        self.cluster.wake(now);
        self.settle(now);
        for (client, text) in self.neighbours.step(now, &self.assignment, &self.workers) {
            self.outbox.push(FrontOutput::Send { client, text });
        }
    }

    fn poll(&mut self) -> Option<FrontOutput> {
        self.outbox.pop()
    }

    fn next_wake(&self) -> Option<Instant> {
        let checks = self.checks.first().map(|(at, _)| *at);
        let news = self.neighbours.next_wake();
        earliest([checks, self.swarms.next_expiry(), self.roster.next_wake(), self.cluster.next_wake(), news])
    }
}

impl Front {
    /// A front without clients, which never ran before.
    ///
    /// # Panics
    /// If a duration or limit of the configuration is zero, or the front is not one of those it names.
    #[must_use]
    pub fn new(config: FrontConfig) -> Self {
        Self::recovered(config, Recovered::default())
    }

    /// A front without clients, and what its last run left.
    ///
    /// # Panics
    /// As [`Front::new`].
    #[must_use]
    pub fn recovered(config: FrontConfig, recovered: Recovered) -> Self {
        let waits = [config.idle_timeout, config.hello_timeout, config.swarms.expiry];
        assert!(waits.iter().all(|wait| !wait.is_zero()), "a wait of zero would never end");
        let limits = [config.messages.burst, config.faults.burst, config.heartbeat_seconds];
        assert!(limits.iter().all(|limit| *limit > 0), "a limit of zero lets nothing through");
        let mut rng = Rng::new(config.seed);
        Self {
            gate: Gate::new(config.key.clone(), config.max_workers),
            clock: (Instant::ZERO, config.unix_ms),
            now: Instant::ZERO,
            clients: BTreeMap::new(),
            per_ip: BTreeMap::new(),
            checks: BTreeSet::new(),
            board: Switchboard::default(),
            swarms: Swarms::new(config.swarms, rng.next_u64()),
            cluster: Cluster::new(&config.cluster, rng.next_u64(), config.unix_ms, recovered),
            assignment: Assignment::new(config.replicas, config.cluster.region.clone()),
            assigned: BTreeMap::new(),
            workers: BTreeMap::new(),
            roster: WorkerRoster::new(config.health, config.max_workers),
            neighbours: Neighbours::default(),
            rng,
            closing: false,
            relayed: 0,
            forwarded: 0,
            unreachable: 0,
            faults: 0,
            workers_refused: 0,
            turned_away: 0,
            outbox: Outbox::default(),
            config,
        }
    }

    /// What a newcomer from `ip` needs to begin: the answer to `POST /bootstrap`.
    #[must_use]
    pub fn bootstrap(&self, ip: IpAddr) -> Bootstrap {
        self.bootstrap_with(self.assignment.for_newcomer(ip).cloned())
    }

    /// How the front stands, or stood when something happened last.
    #[must_use]
    pub fn status(&self) -> FrontStatus {
        let workers = self.cluster.workers(|_| true);
        let worker = |(name, (front, row)): (&&str, &(FrontId, &WorkerRow))| WorkerStatus {
            name: (*name).to_owned(),
            capacity: row.capacity,
            http: row.http.clone(),
            peer: row.peer,
            region: row.region.clone(),
            front: self.cluster.name(*front),
            alive: row.alive,
            draining: row.draining,
            load: row.load,
            assigned: self.assigned.get(*name).copied().unwrap_or_default(),
        };
        FrontStatus {
            clients: self.clients.len(),
            peers: self.board.len() - self.workers.len(),
            workers: workers.iter().map(worker).collect(),
            swarms: self.swarms.len(),
            memberships: self.swarms.memberships(),
            relayed: self.relayed,
            forwarded: self.forwarded,
            unreachable: self.unreachable,
            faults: self.faults,
            workers_refused: self.workers_refused,
            turned_away: self.turned_away,
            cluster: self.cluster.status(self.now, self.assignment.len()),
        }
    }

    /// What this front knows of the clients of `front`.
    ///
    /// # Panics
    /// If there is no such front.
    pub fn rows_of(&self, front: FrontId) -> impl Iterator<Item = (&RowKey, &RowValue)> {
        self.cluster.rows_of(front)
    }

    /// Whether nothing is left of any client.
    #[cfg(test)]
    pub(super) fn is_at_baseline(&self) -> bool {
        self.clients.is_empty()
            && self.per_ip.is_empty()
            && self.checks.is_empty()
            && self.board.is_empty()
            && self.swarms.is_empty()
            && self.workers.is_empty()
            && self.assigned.is_empty()
            && self.assignment.len() == 0
    }

    fn connected(&mut self, now: Instant, client: ClientId, ip: IpAddr) {
        assert!(!self.clients.contains_key(&client), "{client:?} is connected");
        let refusal = if self.closing {
            Some("this front is shutting down")
        } else if self.clients.len() >= self.config.max_clients {
            Some("this front is full")
        } else if self.per_ip.get(&network(ip)).is_some_and(|n| *n >= self.config.max_clients_per_ip) {
            self.audit(ip, "too many connections".to_owned());
            Some("too many connections from your address")
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.outbox.push(FrontOutput::Close { client, reason: reason.to_owned() });
            return;
        }
        *self.per_ip.entry(network(ip)).or_default() += 1;
        let check_at = now + self.config.hello_timeout;
        self.checks.insert((check_at, client));
        let (messages, faults) = (Meter::default(), Meter::default());
        let state = Client { ip, heard: now, check_at, messages, faults, stage: Stage::New };
        self.clients.insert(client, state);
    }

    fn message(&mut self, now: Instant, client: ClientId, text: &[u8]) {
        let Some(state) = self.clients.get_mut(&client) else { return };
        state.heard = now;
        if !state.messages.take(now, self.config.messages) {
            self.fault(now, client, ErrorCode::Limit, "too many messages at once");
            return;
        }
        let id = match &state.stage {
            Stage::New => None,
            Stage::Peer { id, .. } => Some(*id),
            Stage::Worker { id, name } => {
                self.roster.heard(now, name);
                Some(*id)
            }
        };
        if let Some(id) = id
            && self.pass_on(id, text)
        {
            return;
        }
        match (ToFront::parse(text), id) {
            (Err(e @ SignalError::Version { .. }), None) => {
                self.refuse(now, client, ErrorCode::Version, &e.to_string());
            }
            (Err(e), _) => self.fault(now, client, ErrorCode::Malformed, &e.to_string()),
            (Ok(ToFront::Hello { id, role, .. }), None) => match role {
                Role::Peer {} => self.peer_hello(now, client, id),
                Role::Worker(hello) => self.worker_hello(now, client, id, hello),
            },
            (Ok(ToFront::Hello { .. }), Some(_)) => {
                self.fault(now, client, ErrorCode::NotWelcomed, "hello comes once");
            }
            (Ok(_), None) => self.fault(now, client, ErrorCode::NotWelcomed, "hello must come first"),
            (Ok(ToFront::Announce { info_hash, complete }), Some(id)) => {
                self.announce(now, client, info_hash, id, complete);
            }
            (Ok(ToFront::Leave { info_hash }), Some(id)) => {
                if self.swarms.leave(info_hash, id) {
                    self.cluster.remove(&RowKey::Member { info_hash, peer: id });
                }
            }
            (Ok(ToFront::Signal { to, session, body }), Some(id)) => self.signal(client, id, to, session, body),
            (Ok(ToFront::Ping {}), Some(_)) => self.send(client, &FromFront::Pong {}),
            // That it was heard is all there is to it.
            (Ok(ToFront::Alive {}), Some(_)) => {}
            (Ok(ToFront::Draining {}), Some(_)) => self.drain(now, client),
            (Ok(ToFront::Load { percent }), Some(_)) => self.loaded(now, client, percent),
        }
    }

    fn announce(&mut self, now: Instant, client: ClientId, info_hash: InfoHash, id: PeerId, complete: bool) {
        let before = self.swarms.membership(info_hash, id);
        match self.swarms.announce(now, info_hash, id, complete) {
            Ok(()) if before != Some(complete) => {
                let key = RowKey::Member { info_hash, peer: id };
                self.cluster.put(key, RowValue::Member { complete });
            }
            Ok(()) => {}
            // Not its fault: it is not counted in, but may know who is there.
            Err(full) => self.send_error(client, ErrorCode::Limit, &full.to_string()),
        }
        let peers = self.sample(info_hash, id);
        self.send(client, &FromFront::Peers { info_hash, peers });
    }

    /// Others in the swarm, of this front and of the others.
    fn sample(&mut self, info_hash: InfoHash, asker: PeerId) -> Vec<PeerId> {
        let mut here = self.swarms.sample(info_hash, asker);
        let mut start = [0; 32];
        start[..8].copy_from_slice(&self.rng.next_u64().to_be_bytes());
        let there = self.cluster.members(info_hash, PeerId(Digest(start)));
        let (mut seeders, mut others): (Vec<_>, Vec<_>) = there
            .into_iter()
            .filter(|(peer, _)| *peer != asker && !here.contains(peer))
            .partition(|(_, complete)| *complete);
        // As many from elsewhere as fit beside half a sample from here; of those, as many complete ones as not.
        let room = MAX_SAMPLE - here.len().min(MAX_SAMPLE / 2);
        seeders.truncate(room - others.len().min(room / 2));
        others.truncate(room - seeders.len());
        here.truncate(MAX_SAMPLE - seeders.len() - others.len());
        here.extend(seeders.into_iter().chain(others).map(|(peer, _)| peer));
        here
    }

    /// Hands an offer or answer to another client of this front as it is, if `text` is one; whether it did.
    fn pass_on(&mut self, from: PeerId, text: &[u8]) -> bool {
        let Some(passing) = Passing::read(text) else { return false };
        let Some(client) = self.board.client(passing.to) else { return false };
        self.relayed += 1;
        self.outbox.push(FrontOutput::Send { client, text: passing.to_text(from) });
        true
    }

    /// Hands a client's signal to the one it is for, here or at another front.
    fn signal(&mut self, client: ClientId, from: PeerId, to: PeerId, session: u32, body: Signal) {
        if self.board.client(to).is_none() && self.cluster.forward(from, to, session, &body) {
            self.forwarded += 1;
            return;
        }
        match self.board.route(client, to, session, body.clone()).expect("a welcomed client is plugged in") {
            Route::Deliver { client, message } => {
                self.relayed += 1;
                self.send(client, &message);
                self.delivered(client, from, &body);
            }
            Route::Return { message } => {
                self.unreachable += 1;
                self.send(client, &message);
            }
        }
    }

    /// A signal came from another front.
    fn deliver(&mut self, front: FrontId, from: PeerId, to: PeerId, session: u32, body: Signal) {
        match self.board.client(to) {
            Some(client) => {
                self.relayed += 1;
                self.send(client, &FromFront::Signal { from, session, body: body.clone() });
                self.delivered(client, from, &body);
            }
            // What comes back is not sent back again.
            None if body != Signal::Unreachable {} => {
                self.unreachable += 1;
                self.cluster.return_signal(front, from, to, session);
            }
            None => {}
        }
    }

    fn peer_hello(&mut self, now: Instant, client: ClientId, id: PeerId) {
        if !self.free_name(now, client, id, None) {
            return;
        }
        self.board.plug(client, id);
        let state = self.clients.get_mut(&client).expect("it said hello");
        let ip = state.ip;
        state.stage = Stage::Peer { id, worker: None };
        self.cluster.put(RowKey::Client(id), RowValue::Client { since_ms: self.unix_ms(now) });
        let worker = self.assignment.for_newcomer(ip).cloned();
        self.set_worker(client, worker.clone());
        self.welcome(client, worker);
    }

    fn worker_hello(&mut self, now: Instant, client: ClientId, id: PeerId, hello: WorkerHello) {
        let WorkerHello { name, capacity, http, region, timestamp_ms, mac } = hello;
        let ip = self.clients[&client].ip;
        if !self.config.worker_networks.allows(ip) {
            self.audit(ip, format!("claimed to be worker {name} from an address that is not on the allow-list"));
            self.workers_refused += 1;
            self.refuse(now, client, ErrorCode::Unauthorized, "no worker may connect from your address");
            return;
        }
        let unix_ms = self.unix_ms(now);
        if let Err(refusal) = self.gate.admit(unix_ms, &name, timestamp_ms, &mac) {
            self.audit(ip, format!("claimed to be worker {name}: {refusal}"));
            self.workers_refused += 1;
            self.refuse(now, client, ErrorCode::Unauthorized, &refusal.to_string());
            return;
        }
        let older = self.workers.get(&name).copied();
        if !self.roster.has_room_for(&name) {
            self.refuse(now, client, ErrorCode::Limit, "this front has as many workers as it takes");
            return;
        }
        if !self.free_name(now, client, id, older) {
            return;
        }
        self.workers.insert(name.clone(), client);
        if let Some(older) = older {
            let reason = "the worker came back on a new connection";
            self.outbox.push(FrontOutput::Close { client: older, reason: reason.to_owned() });
            self.forget(now, older, reason);
        }
        let info = Arc::new(WorkerInfo { name: name.clone(), peer: id, http });
        let told = Enrolment { info, capacity, region, since_ms: timestamp_ms };
        let state = self.roster.joined(now, told).expect("there was room above");
        self.board.plug(client, id);
        self.clients.get_mut(&client).expect("it said hello").stage = Stage::Worker { id, name: name.clone() };
        self.cluster.put(RowKey::Client(id), RowValue::Client { since_ms: unix_ms });
        self.tell_of_worker(&name);
        self.outbox.push(FrontOutput::Event(FrontEvent::WorkerUp { name: name.clone() }));
        if !state.counts() {
            self.outbox.push(FrontOutput::Event(FrontEvent::WorkerHealth { name, alive: false }));
        }
        self.welcome(client, None);
        for text in self.neighbours.all() {
            self.outbox.push(FrontOutput::Send { client, text });
        }
    }

    /// A worker takes no new clients.
    fn drain(&mut self, now: Instant, client: ClientId) {
        let Some(Client { stage: Stage::Worker { name, .. }, .. }) = self.clients.get(&client) else {
            self.fault(now, client, ErrorCode::Malformed, "only workers drain");
            return;
        };
        let name = name.clone();
        if self.roster.draining(&name) {
            self.tell_of_worker(&name);
            self.outbox.push(FrontOutput::Event(FrontEvent::WorkerDraining { name }));
        }
    }

    /// A worker says how much it has to do.
    fn loaded(&mut self, now: Instant, client: ClientId, percent: u8) {
        let Some(Client { stage: Stage::Worker { name, .. }, .. }) = self.clients.get(&client) else {
            self.fault(now, client, ErrorCode::Malformed, "only workers have a load");
            return;
        };
        let name = name.clone();
        if self.roster.loaded(&name, percent) {
            self.tell_of_worker(&name);
        }
    }

    /// A client was handed a signal: where its worker has no room for it, it is given another.
    fn delivered(&mut self, client: ClientId, from: PeerId, body: &Signal) {
        let (Signal::Full {}, Some(state)) = (body, self.clients.get(&client)) else { return };
        let Stage::Peer { worker: Some(worker), .. } = &state.stage else { return };
        if worker.peer != from {
            return;
        }
        if let Some(another) = self.assignment.another(state.ip, &worker.name).cloned() {
            self.turned_away += 1;
            self.send(client, &FromFront::Assign { worker: Some((*another).clone()) });
            self.set_worker(client, Some(another));
        }
    }

    /// Tells all fronts how a worker of this one stands.
    fn tell_of_worker(&mut self, name: &str) {
        let Some(worker) = self.roster.get(name) else { return };
        let Enrolment { info, capacity, region, since_ms } = worker.told.clone();
        let row = WorkerRow {
            peer: info.peer,
            http: info.http.clone(),
            capacity,
            region,
            since_ms,
            alive: worker.state().counts(),
            draining: worker.is_draining(),
            load: worker.load(),
        };
        self.cluster.put(RowKey::Worker(name.to_owned()), RowValue::Worker(row));
    }

    fn watch_workers(&mut self, now: Instant) {
        self.roster.wake(now);
        while let Some(output) = self.roster.poll() {
            let (name, alive) = match output {
                RosterOutput::Probe { name } => {
                    if let Some(client) = self.workers.get(&*name) {
                        self.send(*client, &FromFront::Probe {});
                    }
                    continue;
                }
                RosterOutput::Suspect { .. } | RosterOutput::Cleared { .. } => continue,
                RosterOutput::Dead { name } => (name, false),
                RosterOutput::Back { name } => (name, true),
            };
            self.tell_of_worker(&name);
            let name = name.as_ref().to_owned();
            self.outbox.push(FrontOutput::Event(FrontEvent::WorkerHealth { name, alive }));
        }
    }

    fn unix_ms(&self, now: Instant) -> u64 {
        self.clock.1.saturating_add(now.since(self.clock.0).as_millis() as u64)
    }

    /// Lets the cluster do what it wants, and gives clients other workers where that changed which there are.
    fn settle(&mut self, now: Instant) {
        let mut workers_changed = false;
        loop {
            self.cluster.settle(now);
            let mut moved = false;
            while let Some(output) = self.cluster.poll() {
                moved = true;
                match output {
                    ClusterOutput::Workers => workers_changed = true,
                    ClusterOutput::Signal { front, from, to, session, body } => {
                        self.deliver(front, from, to, session, body);
                    }
                    other => self.outbox.push(said(other)),
                }
            }
            if !moved {
                break;
            }
        }
        if workers_changed && self.assignment.update(self.cluster.usable()) {
            self.neighbours.changed();
            self.reassign();
        }
    }

    /// Sees that nobody else holds the name `id`: true if it is free now, or held by `own`, an older connection
    /// of the same worker that is about to go. Turns the newcomer away otherwise.
    fn free_name(&mut self, now: Instant, newcomer: ClientId, id: PeerId, own: Option<ClientId>) -> bool {
        let Some(holder) = self.board.client(id) else { return true };
        if own == Some(holder) {
            return true;
        }
        if now.since(self.clients[&holder].heard) >= self.config.takeover_after {
            self.close(now, holder, "its name came back on a new connection");
            return true;
        }
        self.refuse(now, newcomer, ErrorCode::NameTaken, "someone of that name is connected");
        false
    }

    fn welcome(&mut self, client: ClientId, worker: Option<Arc<WorkerInfo>>) {
        let bootstrap = self.bootstrap_with(worker);
        self.send(client, &FromFront::Welcome(bootstrap));
    }

    fn bootstrap_with(&self, worker: Option<Arc<WorkerInfo>>) -> Bootstrap {
        Bootstrap {
            worker: worker.map(Arc::unwrap_or_clone),
            ice_servers: self.config.ice_servers.clone(),
            fronts: self.config.fronts.clone(),
            heartbeat_seconds: self.config.heartbeat_seconds,
        }
    }

    /// Notes which worker serves a welcomed peer.
    fn set_worker(&mut self, client: ClientId, new: Option<Arc<WorkerInfo>>) {
        let Some(Client { stage: Stage::Peer { worker, .. }, .. }) = self.clients.get_mut(&client) else { return };
        let old = std::mem::replace(worker, new.clone());
        if let Some(old) = old {
            let count = self.assigned.get_mut(&old.name).expect("every assignment is counted");
            *count -= 1;
            if *count == 0 {
                self.assigned.remove(&old.name);
            }
        }
        if let Some(new) = new {
            *self.assigned.entry(new.name.clone()).or_default() += 1;
        }
    }

    /// The workers are others now: tells every peer whose worker changed.
    fn reassign(&mut self) {
        let changed = |(client, state): (&ClientId, &Client)| match &state.stage {
            Stage::Peer { worker, .. } => {
                let new = self.assignment.for_client(state.ip, worker.as_deref());
                (worker.as_ref() != new).then(|| (*client, new.cloned()))
            }
            _ => None,
        };
        let changed: Vec<(ClientId, Option<Arc<WorkerInfo>>)> = self.clients.iter().filter_map(changed).collect();
        for (client, worker) in changed {
            self.send(client, &FromFront::Assign { worker: worker.as_deref().cloned() });
            self.set_worker(client, worker);
        }
    }

    fn send(&mut self, client: ClientId, message: &FromFront) {
        self.outbox.push(FrontOutput::Send { client, text: message.to_text() });
    }

    fn send_error(&mut self, client: ClientId, code: ErrorCode, words: &str) {
        self.send(client, &FromFront::error(code, words));
    }

    fn audit(&mut self, ip: IpAddr, offence: String) {
        self.outbox.push(FrontOutput::Event(FrontEvent::Audit { ip, offence }));
    }

    /// A message broke a rule: says so, and closes whoever keeps at it.
    fn fault(&mut self, now: Instant, client: ClientId, code: ErrorCode, words: &str) {
        self.faults += 1;
        self.send_error(client, code, words);
        let state = self.clients.get_mut(&client).expect("it sent a message");
        if !state.faults.take(now, self.config.faults) {
            let ip = state.ip;
            self.audit(ip, format!("too many faults, the last: {words}"));
            self.close(now, client, "too many faults");
        }
    }

    /// Turns a newcomer away.
    fn refuse(&mut self, now: Instant, client: ClientId, code: ErrorCode, words: &str) {
        self.faults += 1;
        self.send_error(client, code, words);
        self.close(now, client, words);
    }

    fn close(&mut self, now: Instant, client: ClientId, reason: &str) {
        self.outbox.push(FrontOutput::Close { client, reason: reason.to_owned() });
        self.forget(now, client, reason);
    }

    /// Removes every trace of a client.
    fn forget(&mut self, now: Instant, client: ClientId, reason: &str) {
        self.set_worker(client, None);
        let Some(Client { ip, check_at, stage, .. }) = self.clients.remove(&client) else { return };
        let count = self.per_ip.get_mut(&network(ip)).expect("every client is counted");
        *count -= 1;
        if *count == 0 {
            self.per_ip.remove(&network(ip));
        }
        self.checks.remove(&(check_at, client));
        self.board.unplug(client);
        let (Stage::Peer { id, .. } | Stage::Worker { id, .. }) = stage else { return };
        for info_hash in self.swarms.leave_all(id) {
            self.cluster.remove(&RowKey::Member { info_hash, peer: id });
        }
        self.cluster.remove(&RowKey::Client(id));
        if let Stage::Worker { name, .. } = stage
            && self.workers.get(&name) == Some(&client)
        {
            self.workers.remove(&name);
            self.roster.left(now, &name);
            self.cluster.remove(&RowKey::Worker(name.clone()));
            let event = FrontEvent::WorkerDown { name, reason: reason.to_owned() };
            self.outbox.push(FrontOutput::Event(event));
        }
    }

    /// Closes clients that have been silent for too long. A client heard since its last check is looked at
    /// again when it could have become silent, so that a message costs nothing here.
    fn close_silent(&mut self, now: Instant) {
        while let Some((at, client)) = self.checks.first().copied()
            && at <= now
        {
            let state = self.clients.get_mut(&client).expect("only clients are checked");
            let silent_at = state.heard + self.config.idle_timeout;
            if matches!(state.stage, Stage::New) {
                self.close(now, client, "no hello in time");
            } else if silent_at <= now {
                self.close(now, client, "silent for too long");
            } else {
                state.check_at = silent_at;
                self.checks.pop_first();
                self.checks.insert((silent_at, client));
            }
        }
    }

    fn shut_down(&mut self, now: Instant) {
        self.closing = true;
        let clients: Vec<ClientId> = self.clients.keys().copied().collect();
        let reason = "this front is shutting down";
        for client in &clients {
            self.outbox.push(FrontOutput::Close { client: *client, reason: reason.to_owned() });
        }
        for client in clients {
            self.forget(now, client, reason);
        }
    }
}

/// What the front says where its cluster says `output`.
fn said(output: ClusterOutput) -> FrontOutput {
    let event = match output {
        ClusterOutput::Send { front, data } => return FrontOutput::PeerSend { front, data },
        ClusterOutput::Persist { ticket, record } => return FrontOutput::Persist { ticket, record },
        ClusterOutput::Save(saved) => return FrontOutput::Save(saved),
        ClusterOutput::Standing { role, term, leader } => FrontEvent::Standing { role, term, leader },
        ClusterOutput::Epoch { number: EpochNumber { term, n }, workers } => {
            FrontEvent::Epoch { term, n, workers }
        }
        ClusterOutput::Front { name, live } => FrontEvent::Front { name, live },
        ClusterOutput::Fault { name, offence } => FrontEvent::FrontFault { name, offence },
        ClusterOutput::Workers | ClusterOutput::Signal { .. } => unreachable!("these are not for the outside"),
    };
    FrontOutput::Event(event)
}
