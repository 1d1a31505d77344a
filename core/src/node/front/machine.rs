//! The front's decisions: who is welcome, who serves whom, what goes where, who has to leave. Never sends to a
//! client after closing it, never delivers for one that is not welcomed.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::budget::{Meter, network};
use super::{ClientId, FrontConfig, FrontEvent, FrontInput, FrontOutput, FrontStatus, WorkerStatus};
use crate::auth::Gate;
use crate::id::PeerId;
use crate::machine::{Instant, Machine, Outbox, earliest};
use crate::ring::{Key, Ring};
use crate::swarm::Swarms;
use crate::switchboard::{Route, Switchboard};
use crate::wire::signal::{Bootstrap, ErrorCode, FromFront, Role, ToFront, WorkerHello, WorkerInfo};
use crate::wire::signal_codec::SignalError;

/// A front.
#[derive(Debug)]
pub struct Front {
    config: FrontConfig,
    gate: Gate,
    /// The newest reading of the wall clock: when, and Unix milliseconds.
    clock: (Instant, u64),
    clients: BTreeMap<ClientId, Client>,
    per_ip: BTreeMap<IpAddr, usize>,
    /// For each client, a time before which it need not be looked at.
    checks: BTreeSet<(Instant, ClientId)>,
    board: Switchboard,
    swarms: Swarms,
    ring: Ring,
    workers: BTreeMap<String, Worker>,
    closing: bool,
    relayed: u64,
    unreachable: u64,
    faults: u64,
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

#[derive(Debug)]
struct Worker {
    client: ClientId,
    capacity: u16,
    info: Arc<WorkerInfo>,
    assigned: usize,
}

impl Machine for Front {
    type Input = FrontInput;
    type Output = FrontOutput;

    fn handle(&mut self, now: Instant, input: FrontInput) {
        self.swarms.expire(now);
        self.close_silent(now);
        match input {
            FrontInput::Wake => {}
            FrontInput::Connected { client, ip } => self.connected(now, client, ip.to_canonical()),
            FrontInput::Message { client, text } => self.message(now, client, &text),
            FrontInput::Disconnected { client } => self.forget(client, "its connection closed"),
            FrontInput::Clock { unix_ms } => self.clock = (now, unix_ms),
            FrontInput::Shutdown => self.shut_down(),
        }
    }

    fn poll(&mut self) -> Option<FrontOutput> {
        self.outbox.pop()
    }

    fn next_wake(&self) -> Option<Instant> {
        earliest([self.checks.first().map(|(at, _)| *at), self.swarms.next_expiry()])
    }
}

impl Front {
    /// A front without clients.
    ///
    /// # Panics
    /// If a duration or limit of the configuration is zero.
    #[must_use]
    pub fn new(config: FrontConfig) -> Self {
        let waits = [config.idle_timeout, config.hello_timeout, config.swarms.expiry];
        assert!(waits.iter().all(|wait| !wait.is_zero()), "a wait of zero would never end");
        let limits = [config.messages.burst, config.faults.burst, config.heartbeat_seconds];
        assert!(limits.iter().all(|limit| *limit > 0), "a limit of zero lets nothing through");
        Self {
            gate: Gate::new(config.key.clone(), config.max_workers),
            clock: (Instant::ZERO, config.unix_ms),
            clients: BTreeMap::new(),
            per_ip: BTreeMap::new(),
            checks: BTreeSet::new(),
            board: Switchboard::default(),
            swarms: Swarms::new(config.swarms, config.seed),
            ring: Ring::new(config.replicas),
            workers: BTreeMap::new(),
            closing: false,
            relayed: 0,
            unreachable: 0,
            faults: 0,
            outbox: Outbox::default(),
            config,
        }
    }

    /// What a newcomer from `ip` needs to begin: the answer to `POST /bootstrap`.
    #[must_use]
    pub fn bootstrap(&self, ip: IpAddr) -> Bootstrap {
        self.bootstrap_with(self.worker_for(ip))
    }

    /// How the front stands.
    #[must_use]
    pub fn status(&self) -> FrontStatus {
        let worker = |(name, worker): (&String, &Worker)| WorkerStatus {
            name: name.clone(),
            capacity: worker.capacity,
            http: worker.info.http.clone(),
            peer: worker.info.peer,
            assigned: worker.assigned,
        };
        FrontStatus {
            clients: self.clients.len(),
            peers: self.board.len() - self.workers.len(),
            workers: self.workers.iter().map(worker).collect(),
            swarms: self.swarms.len(),
            memberships: self.swarms.memberships(),
            relayed: self.relayed,
            unreachable: self.unreachable,
            faults: self.faults,
        }
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
            && self.ring.members().next().is_none()
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
        let id = match state.stage {
            Stage::New => None,
            Stage::Peer { id, .. } | Stage::Worker { id, .. } => Some(id),
        };
        match (ToFront::parse(text), id) {
            (Err(e @ SignalError::Version { .. }), None) => {
                self.refuse(client, ErrorCode::Version, &e.to_string());
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
                if let Err(full) = self.swarms.announce(now, info_hash, id, complete) {
                    // Not its fault: it is not counted in, but may know who is there.
                    self.send_error(client, ErrorCode::Limit, &full.to_string());
                }
                let peers = self.swarms.sample(info_hash, id);
                self.send(client, &FromFront::Peers { info_hash, peers });
            }
            (Ok(ToFront::Leave { info_hash }), Some(id)) => {
                self.swarms.leave(info_hash, id);
            }
            (Ok(ToFront::Signal { to, session, body }), Some(_)) => {
                match self.board.route(client, to, session, body).expect("a welcomed client is plugged in") {
                    Route::Deliver { client, message } => {
                        self.relayed += 1;
                        self.send(client, &message);
                    }
                    Route::Return { message } => {
                        self.unreachable += 1;
                        self.send(client, &message);
                    }
                }
            }
            (Ok(ToFront::Ping {}), Some(_)) => self.send(client, &FromFront::Pong {}),
            (Ok(ToFront::Alive {} | ToFront::Draining {}), Some(_)) => {}
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
        let worker = self.worker_for(ip);
        self.set_worker(client, worker.clone());
        self.welcome(client, worker);
    }

    fn worker_hello(&mut self, now: Instant, client: ClientId, id: PeerId, hello: WorkerHello) {
        let WorkerHello { name, capacity, http, timestamp_ms, mac, .. } = hello;
        let ip = self.clients[&client].ip;
        if !self.config.worker_networks.allows(ip) {
            self.audit(ip, format!("claimed to be worker {name} from an address that is not on the allow-list"));
            self.refuse(client, ErrorCode::Unauthorized, "no worker may connect from your address");
            return;
        }
        let unix_ms = self.clock.1.saturating_add(now.since(self.clock.0).as_millis() as u64);
        if let Err(refusal) = self.gate.admit(unix_ms, &name, timestamp_ms, &mac) {
            self.audit(ip, format!("claimed to be worker {name}: {refusal}"));
            self.refuse(client, ErrorCode::Unauthorized, &refusal.to_string());
            return;
        }
        let older = self.workers.get(&name).map(|worker| worker.client);
        if older.is_none() && self.workers.len() >= self.config.max_workers {
            self.refuse(client, ErrorCode::Limit, "this front has as many workers as it takes");
            return;
        }
        if !self.free_name(now, client, id, older) {
            return;
        }
        if let Some(older) = older {
            let reason = "the worker came back on a new connection";
            self.outbox.push(FrontOutput::Close { client: older, reason: reason.to_owned() });
            self.remove(older, reason);
        }
        self.board.plug(client, id);
        self.clients.get_mut(&client).expect("it said hello").stage = Stage::Worker { id, name: name.clone() };
        self.ring.insert(&name, capacity);
        let info = Arc::new(WorkerInfo { name: name.clone(), peer: id, http });
        self.workers.insert(name.clone(), Worker { client, capacity, info, assigned: 0 });
        self.outbox.push(FrontOutput::Event(FrontEvent::WorkerUp { name }));
        self.welcome(client, None);
        self.reassign();
    }

    /// Sees that nobody else holds the name `id`: true if it is free now, or held by `own`, an older connection
    /// of the same worker that is about to go. Turns the newcomer away otherwise.
    fn free_name(&mut self, now: Instant, newcomer: ClientId, id: PeerId, own: Option<ClientId>) -> bool {
        let Some(holder) = self.board.client(id) else { return true };
        if own == Some(holder) {
            return true;
        }
        if now.since(self.clients[&holder].heard) >= self.config.takeover_after {
            self.close(holder, "its name came back on a new connection");
            return true;
        }
        self.refuse(newcomer, ErrorCode::NameTaken, "someone of that name is connected");
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

    /// The worker that serves the network of `ip`.
    fn worker_for(&self, ip: IpAddr) -> Option<Arc<WorkerInfo>> {
        let name = self.ring.owner(Key::of_client(ip))?;
        Some(self.workers[name].info.clone())
    }

    /// Notes which worker serves a welcomed peer.
    fn set_worker(&mut self, client: ClientId, new: Option<Arc<WorkerInfo>>) {
        let Some(Client { stage: Stage::Peer { worker, .. }, .. }) = self.clients.get_mut(&client) else { return };
        let old = std::mem::replace(worker, new.clone());
        if let Some(worker) = old.and_then(|info| self.workers.get_mut(&info.name)) {
            worker.assigned -= 1;
        }
        if let Some(worker) = new.and_then(|info| self.workers.get_mut(&info.name)) {
            worker.assigned += 1;
        }
    }

    /// After a change of the ring: tells every peer whose worker changed, and counts anew.
    fn reassign(&mut self) {
        self.workers.values_mut().for_each(|worker| worker.assigned = 0);
        for (client, state) in &mut self.clients {
            let Stage::Peer { worker, .. } = &mut state.stage else { continue };
            let owner = self.ring.owner(Key::of_client(state.ip));
            let entry = owner.map(|name| self.workers.get_mut(name).expect("a ring member is a worker"));
            let new = entry.map(|entry| {
                entry.assigned += 1;
                entry.info.clone()
            });
            if *worker != new {
                let message = FromFront::Assign { worker: new.as_deref().cloned() };
                self.outbox.push(FrontOutput::Send { client: *client, text: message.to_text() });
            }
            *worker = new;
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
            self.close(client, "too many faults");
        }
    }

    /// Turns a newcomer away.
    fn refuse(&mut self, client: ClientId, code: ErrorCode, words: &str) {
        self.faults += 1;
        self.send_error(client, code, words);
        self.close(client, words);
    }

    fn close(&mut self, client: ClientId, reason: &str) {
        self.outbox.push(FrontOutput::Close { client, reason: reason.to_owned() });
        self.forget(client, reason);
    }

    /// A client is gone; if it was a worker, its share of the ring moves.
    fn forget(&mut self, client: ClientId, reason: &str) {
        if self.remove(client, reason) {
            self.reassign();
        }
    }

    /// Removes every trace of a client; whether it was a worker, so that the ring changed.
    fn remove(&mut self, client: ClientId, reason: &str) -> bool {
        self.set_worker(client, None);
        let Some(Client { ip, check_at, stage, .. }) = self.clients.remove(&client) else { return false };
        let count = self.per_ip.get_mut(&network(ip)).expect("every client is counted");
        *count -= 1;
        if *count == 0 {
            self.per_ip.remove(&network(ip));
        }
        self.checks.remove(&(check_at, client));
        self.board.unplug(client);
        match stage {
            Stage::New => false,
            Stage::Peer { id, .. } => {
                self.swarms.leave_all(id);
                false
            }
            Stage::Worker { id, name } => {
                self.swarms.leave_all(id);
                self.ring.remove(&name);
                self.workers.remove(&name);
                let event = FrontEvent::WorkerDown { name, reason: reason.to_owned() };
                self.outbox.push(FrontOutput::Event(event));
                true
            }
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
                self.close(client, "no hello in time");
            } else if silent_at <= now {
                self.close(client, "silent for too long");
            } else {
                state.check_at = silent_at;
                self.checks.pop_first();
                self.checks.insert((silent_at, client));
            }
        }
    }

    fn shut_down(&mut self) {
        self.closing = true;
        let clients: Vec<ClientId> = self.clients.keys().copied().collect();
        let reason = "this front is shutting down";
        for client in &clients {
            self.outbox.push(FrontOutput::Close { client: *client, reason: reason.to_owned() });
        }
        for client in clients {
            self.remove(client, reason);
        }
    }
}
