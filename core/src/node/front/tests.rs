//! The front against an oracle that knows only what went in and what came out.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Budget, ClientId, Front, FrontConfig, FrontEvent, FrontInput, FrontOutput, WorkerStatus};
use crate::auth::SharedKey;
use crate::id::{Digest, InfoHash, PeerId};
use crate::machine::{Instant, Machine};
use crate::ring::{Key, Ring};
use crate::swarm::SwarmLimits;
use crate::wire::signal::{ErrorCode, FULL, FromFront, Role, Signal, ToFront, VERSION, WorkerHello, WorkerInfo};

const UNIX_MS: u64 = 1_767_225_600_000;

fn key() -> SharedKey {
    SharedKey::new(b"a key for testing").expect("long enough")
}

fn config() -> FrontConfig {
    FrontConfig {
        replicas: 10,
        max_clients: 6,
        max_clients_per_ip: 3,
        max_workers: 2,
        swarms: SwarmLimits { swarms: 2, members: 3, per_client: 2, expiry: Duration::from_secs(90) },
        ..FrontConfig::new(key(), UNIX_MS, 1)
    }
}

fn peer(n: u8) -> PeerId {
    PeerId(Digest([n; 32]))
}

fn share(n: u8) -> InfoHash {
    InfoHash(Digest([n; 32]))
}

/// Networks apart from each other, two hosts in each.
fn ip(n: u8) -> IpAddr {
    [192, 0, n / 2, n % 2].into()
}

fn peer_hello(n: u8) -> String {
    ToFront::Hello { version: VERSION, id: peer(n), role: Role::Peer {} }.to_text()
}

fn worker_hello(id: u8, name: &str, timestamp_ms: u64, key: &SharedKey) -> String {
    let hello = WorkerHello {
        name: name.to_owned(),
        capacity: 100,
        http: format!("http://{name}:8081"),
        region: String::new(),
        timestamp_ms,
        mac: key.token(name, timestamp_ms),
    };
    ToFront::Hello { version: VERSION, id: peer(id), role: Role::Worker(hello) }.to_text()
}

fn bye(to: u8, n: u32) -> String {
    ToFront::Signal { to: peer(to), session: n, body: Signal::bye("") }.to_text()
}

/// What an observer outside the front knows of one open WebSocket.
#[derive(Clone, Debug)]
struct Seen {
    ip: IpAddr,
    hello: Option<(PeerId, Option<String>)>,
    welcomed: bool,
    worker: Option<WorkerInfo>,
}

/// A front, its clients as seen from outside, and the rules that hold after every step.
struct World {
    front: Front,
    now: Instant,
    open: BTreeMap<ClientId, Seen>,
    next: u64,
    /// Workers do not answer probes any more.
    deaf: bool,
    /// Some worker said that it has much to do, or no room: clients may be elsewhere than at their home.
    loaded: bool,
    /// Everything the front said, for comparison of runs.
    trace: Vec<String>,
}

/// What came out of one step.
#[derive(Default)]
struct Heard {
    messages: Vec<(ClientId, FromFront)>,
    closed: Vec<(ClientId, String)>,
    events: Vec<FrontEvent>,
}

impl Heard {
    fn to(&self, client: ClientId) -> Vec<&FromFront> {
        self.messages.iter().filter(|(to, _)| *to == client).map(|(_, message)| message).collect()
    }

    fn error_to(&self, client: ClientId) -> Option<ErrorCode> {
        self.to(client).into_iter().find_map(|message| match message {
            FromFront::Error { code, .. } => Some(*code),
            _ => None,
        })
    }

    fn is_closed(&self, client: ClientId) -> bool {
        self.closed.iter().any(|(closed, _)| *closed == client)
    }
}

impl World {
    fn new(config: FrontConfig) -> Self {
        let front = Front::new(config);
        Self {
            front,
            now: Instant::ZERO,
            open: BTreeMap::new(),
            next: 0,
            deaf: false,
            loaded: false,
            trace: Vec::new(),
        }
    }

    fn step(&mut self, input: FrontInput) -> Heard {
        if let FrontInput::Connected { client, ip } = &input {
            let seen = Seen { ip: *ip, hello: None, welcomed: false, worker: None };
            assert!(self.open.insert(*client, seen).is_none());
        }
        if let FrontInput::Disconnected { client } = &input {
            self.open.remove(client);
        }
        let mut heard = Heard::default();
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.front.handle(self.now, input);
            self.hear(&mut heard, &mut inputs);
        }
        self.check();
        heard
    }

    /// Takes in what the front says. Its disk is quick, and its workers are alive.
    fn hear(&mut self, heard: &mut Heard, inputs: &mut Vec<FrontInput>) {
        while let Some(output) = self.front.poll() {
            self.trace.push(format!("{:?} {output:?}", self.now));
            match output {
                FrontOutput::Send { client, text } => {
                    let message = FromFront::parse(text.as_bytes()).expect("the front keeps its own protocol");
                    let seen = self.open.get_mut(&client).expect("nothing is sent after close");
                    if message == (FromFront::Probe {}) {
                        let text = ToFront::Alive {}.to_text().into();
                        inputs.extend((!self.deaf).then_some(FrontInput::Message { client, text }));
                        continue;
                    }
                    match &message {
                        FromFront::Welcome(bootstrap) => {
                            assert!(!seen.welcomed, "welcomed once");
                            seen.welcomed = true;
                            seen.worker = bootstrap.worker.clone();
                        }
                        FromFront::Assign { worker } => {
                            assert_ne!(seen.worker, *worker, "assign tells news");
                            seen.worker = worker.clone();
                        }
                        _ => {}
                    }
                    heard.messages.push((client, message));
                }
                FrontOutput::Close { client, reason } => {
                    self.open.remove(&client).expect("closed once");
                    heard.closed.push((client, reason));
                }
                FrontOutput::Persist { ticket, .. } => inputs.push(FrontInput::Persisted { ticket }),
                FrontOutput::Save(_)
                | FrontOutput::Event(FrontEvent::Standing { .. } | FrontEvent::Epoch { .. }) => {}
                FrontOutput::PeerSend { .. } => panic!("there is no other front"),
                FrontOutput::Event(event) => heard.events.push(event),
            }
        }
    }

    /// What holds after every step.
    fn check(&self) {
        assert!(self.front.next_wake().is_none_or(|wake| wake > self.now), "a wake-up lies ahead");
        let status = self.front.status();
        assert_eq!(status.clients, self.open.len());
        let welcomed = || self.open.values().filter(|seen| seen.welcomed);
        let worker_of = |seen: &Seen| seen.hello.clone().and_then(|(id, name)| Some((name?, id)));
        let workers: BTreeMap<String, PeerId> = welcomed().filter_map(worker_of).collect();
        let names: Vec<_> = status.workers.iter().map(|worker| (worker.name.clone(), worker.peer)).collect();
        assert_eq!(names, workers.clone().into_iter().collect::<Vec<_>>());
        assert_eq!(status.peers, welcomed().count() - workers.len());
        let mut ids: Vec<_> = welcomed().map(|seen| seen.hello.as_ref().map(|hello| hello.0)).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), welcomed().count(), "a name belongs to one client");

        let mut ring = Ring::new(10);
        let is_any_alive = status.workers.iter().any(|worker| worker.alive && !worker.draining);
        let usable = |worker: &&WorkerStatus| !worker.draining && (worker.alive || !is_any_alive);
        status.workers.iter().filter(usable).for_each(|worker| ring.insert(&worker.name, 100));
        let mut assigned: BTreeMap<&str, usize> = BTreeMap::new();
        for seen in welcomed().filter(|seen| worker_of(seen).is_none()) {
            let owner = ring.owner(Key::of_client(seen.ip));
            let name = seen.worker.as_ref().map(|worker| worker.name.as_str());
            if self.loaded {
                let is_usable = |name| ring.members().any(|(member, _)| member == name);
                assert!(name.is_some() == owner.is_some() && name.is_none_or(is_usable), "{name:?}");
            } else {
                assert_eq!(name, owner);
            }
            assert_eq!(seen.worker.as_ref().map(|worker| worker.peer), name.map(|name| workers[name]));
            if let Some(worker) = &seen.worker {
                *assigned.entry(&worker.name).or_default() += 1;
            }
        }
        for worker in &status.workers {
            assert_eq!(worker.assigned, assigned.get(worker.name.as_str()).copied().unwrap_or(0));
        }

        let config = config();
        assert!(status.clients <= config.max_clients);
        assert!(status.workers.len() <= config.max_workers);
        assert!(status.swarms <= config.swarms.swarms);
        assert!(status.memberships <= config.swarms.swarms * config.swarms.members);
    }

    fn connect(&mut self, ip: IpAddr) -> ClientId {
        let client = ClientId(self.next);
        self.next += 1;
        self.step(FrontInput::Connected { client, ip });
        client
    }

    fn say(&mut self, client: ClientId, text: impl Into<String>) -> Heard {
        let text = text.into();
        if let Ok(ToFront::Hello { id, role, .. }) = ToFront::parse(text.as_bytes())
            && let Some(seen) = self.open.get_mut(&client)
            && !seen.welcomed
        {
            let name = match role {
                Role::Peer {} => None,
                Role::Worker(hello) => Some(hello.name),
            };
            seen.hello = Some((id, name));
        }
        self.step(FrontInput::Message { client, text: text.into() })
    }

    fn peer(&mut self, n: u8, ip: IpAddr) -> ClientId {
        let client = self.connect(ip);
        self.say(client, peer_hello(n));
        client
    }

    fn worker(&mut self, id: u8, name: &str) -> ClientId {
        let client = self.connect(ip(id));
        let timestamp_ms = self.unix_ms();
        self.say(client, worker_hello(id, name, timestamp_ms, &key()));
        client
    }

    fn unix_ms(&self) -> u64 {
        UNIX_MS + self.now.as_nanos() / 1_000_000
    }

    /// Lets time pass as a driver does: waking the front when it asks for it.
    fn pass(&mut self, time: Duration) -> Heard {
        let until = self.now + time;
        let mut all = Heard::default();
        while let Some(wake) = self.front.next_wake().filter(|wake| *wake <= until) {
            self.now = wake;
            let heard = self.step(FrontInput::Wake);
            all.messages.extend(heard.messages);
            all.closed.extend(heard.closed);
            all.events.extend(heard.events);
        }
        self.now = until;
        all
    }

    /// Whether the worker of that name takes newcomers, as far as it said.
    fn has_room(&self, name: Option<&str>) -> bool {
        let status = self.front.status();
        status.workers.iter().any(|worker| Some(worker.name.as_str()) == name && worker.load < FULL)
    }

    /// Whether a worker that can be given to clients, other than the one named, takes newcomers.
    fn any_has_room(&self, but: Option<&str>) -> bool {
        let status = self.front.status();
        let is_any_alive = status.workers.iter().any(|worker| worker.alive && !worker.draining);
        let usable = |worker: &&WorkerStatus| !worker.draining && (worker.alive || !is_any_alive);
        status.workers.iter().filter(usable).any(|worker| worker.load < FULL && Some(worker.name.as_str()) != but)
    }

    fn is_open(&self, client: ClientId) -> bool {
        self.open.contains_key(&client)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Connect { ip: u8 },
    PeerHello { client: u8, id: u8 },
    WorkerHello { client: u8, id: u8, name: u8, good_key: bool, age_ms: u64 },
    Announce { client: u8, share: u8, complete: bool },
    Leave { client: u8, share: u8 },
    Signal { client: u8, to: u8 },
    Junk { client: u8, text: String },
    Ping { client: u8 },
    Load { client: u8, percent: u8 },
    Full { client: u8, to: u8 },
    Disconnect { client: u8 },
    Pass { ms: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let client = 0..8u8;
    prop_oneof![
        5 => (0..6u8).prop_map(|ip| Op::Connect { ip }),
        6 => (client.clone(), 0..5u8).prop_map(|(client, id)| Op::PeerHello { client, id }),
        4 => (client.clone(), 0..5u8, 0..3u8, prop::bool::weighted(0.9), 0..3u64).prop_map(
            |(client, id, name, good_key, age_ms)| Op::WorkerHello { client, id, name, good_key, age_ms }
        ),
        3 => (client.clone(), 0..4u8, any::<bool>())
            .prop_map(|(client, share, complete)| Op::Announce { client, share, complete }),
        1 => (client.clone(), 0..4u8).prop_map(|(client, share)| Op::Leave { client, share }),
        9 => (client.clone(), 0..6u8).prop_map(|(client, to)| Op::Signal { client, to }),
        1 => (client.clone(), "\\PC{0,20}").prop_map(|(client, text)| Op::Junk { client, text }),
        2 => client.clone().prop_map(|client| Op::Ping { client }),
        2 => (client.clone(), prop_oneof![Just(FULL), 0..=FULL])
            .prop_map(|(client, percent)| Op::Load { client, percent }),
        2 => (client.clone(), 0..6u8).prop_map(|(client, to)| Op::Full { client, to }),
        2 => client.prop_map(|client| Op::Disconnect { client }),
        3 => prop_oneof![0..50u64, 0..30_000u64].prop_map(|ms| Op::Pass { ms }),
    ]
}

/// Runs operations; `client` numbers count back from the newest connection, so some are gone.
fn run(ops: &[Op]) -> World {
    let mut world = World::new(config());
    let mut sent = 0;
    // Newest signal delivered for each pair.
    let mut newest: BTreeMap<(PeerId, ClientId), u32> = BTreeMap::new();
    for op in ops {
        let pick = |world: &World, n: u8| ClientId(world.next.saturating_sub(1 + u64::from(n)));
        match op.clone() {
            Op::Connect { ip: n } => {
                world.connect(ip(n));
            }
            Op::PeerHello { client, id } => {
                let client = pick(&world, client);
                let heard = world.say(client, peer_hello(id));
                if let [FromFront::Welcome(bootstrap)] = heard.to(client)[..] {
                    let given = bootstrap.worker.as_ref().map(|worker| worker.name.as_str());
                    assert!(world.has_room(given) || !world.any_has_room(None), "{given:?} has no room");
                }
            }
            Op::WorkerHello { client, id, name, good_key, age_ms } => {
                let other = SharedKey::new(b"some other network's").expect("long enough");
                let key = if good_key { key() } else { other };
                let text = worker_hello(id, &format!("w{name}"), world.unix_ms() - age_ms, &key);
                let heard = world.say(pick(&world, client), text);
                let welcomed = heard.messages.iter().any(|(_, m)| matches!(m, FromFront::Welcome(_)));
                assert!(good_key || !welcomed, "a forged proof is never welcome");
            }
            Op::Announce { client, share: n, complete } => {
                let client = pick(&world, client);
                let own = world.open.get(&client).and_then(|seen| seen.hello.as_ref().map(|hello| hello.0));
                let text = ToFront::Announce { info_hash: share(n), complete }.to_text();
                for message in world.say(client, text).to(client) {
                    if let FromFront::Peers { peers, .. } = message {
                        let known = |id: &PeerId| {
                            world.open.values().any(|seen| seen.welcomed && seen.hello.as_ref().unwrap().0 == *id)
                        };
                        assert!(peers.iter().all(known), "only connected clients are in a swarm");
                        assert!(!peers.iter().any(|id| Some(*id) == own), "nobody is sent to itself");
                    }
                }
            }
            Op::Leave { client, share: n } => {
                world.say(pick(&world, client), ToFront::Leave { info_hash: share(n) }.to_text());
            }
            Op::Signal { client, to } => {
                sent += 1;
                let client = pick(&world, client);
                let sender = world.open.get(&client).cloned();
                let named = |seen: &Seen| seen.welcomed && seen.hello.as_ref().unwrap().0 == peer(to);
                let target = world.open.iter().find(|(_, seen)| named(seen)).map(|(client, _)| *client);
                let heard = world.say(client, bye(to, sent));
                let (Some(sender), [(receiver, message)]) = (&sender, &heard.messages[..]) else {
                    assert!(sender.is_none() && heard.messages.is_empty(), "each signal is answered once");
                    continue;
                };
                let from = sender.hello.as_ref().map(|hello| hello.0);
                match message {
                    FromFront::Error { code, .. } => {
                        assert_eq!(*receiver, client);
                        assert_eq!(*code, ErrorCode::NotWelcomed);
                        assert!(!sender.welcomed);
                    }
                    FromFront::Signal { from: named, session, body: Signal::Unreachable {} } => {
                        assert!(sender.welcomed && target.is_none());
                        assert_eq!((*receiver, *named, *session), (client, peer(to), sent));
                    }
                    FromFront::Signal { from: named, session, .. } => {
                        assert!(sender.welcomed);
                        assert_eq!((Some(*receiver), Some(*named), *session), (target, from, sent));
                        let last = newest.insert((*named, *receiver), sent);
                        assert!(last < Some(sent), "in the order they were sent");
                    }
                    other => panic!("a signal was answered by {other:?}"),
                }
            }
            Op::Junk { client, text } => {
                let client = pick(&world, client);
                let heard = world.say(client, text);
                // A worker that is cut off for it leaves peers that need another.
                assert!(heard.messages.iter().all(|(to, message)| match message {
                    FromFront::Error { code, .. } => {
                        *to == client && matches!(code, ErrorCode::Malformed | ErrorCode::Limit)
                    }
                    FromFront::Assign { .. } => *to != client,
                    _ => false,
                }));
            }
            Op::Load { client, percent } => {
                let client = pick(&world, client);
                world.loaded = true;
                world.say(client, ToFront::Load { percent }.to_text());
            }
            Op::Full { client, to } => {
                let client = pick(&world, client);
                let sender = world.open.get(&client).filter(|seen| seen.welcomed).cloned();
                let named = |seen: &Seen| seen.welcomed && seen.hello.as_ref().unwrap().0 == peer(to);
                let target = world.open.iter().find(|(_, seen)| named(seen)).map(|(id, seen)| (*id, seen.clone()));
                world.loaded = true;
                let text = ToFront::Signal { to: peer(to), session: 1, body: Signal::Full {} }.to_text();
                let heard = world.say(client, text);
                let (Some(sender), Some((target, before))) = (sender, target) else { continue };
                let worker =
                    before.worker.as_ref().filter(|worker| worker.peer == sender.hello.as_ref().unwrap().0);
                let told = heard.to(target).into_iter().find_map(|message| match message {
                    FromFront::Assign { worker } => Some(worker.as_ref().map(|worker| worker.name.clone())),
                    _ => None,
                });
                let expected = worker.is_some_and(|worker| world.any_has_room(Some(&worker.name)));
                assert_eq!(told.is_some(), expected, "who finds no room is given another, and nobody else is");
                if let Some(told) = told {
                    assert!(world.has_room(told.as_deref()) && told.as_ref() != worker.map(|worker| &worker.name));
                }
            }
            Op::Ping { client } => {
                world.say(pick(&world, client), ToFront::Ping {}.to_text());
            }
            Op::Disconnect { client } => {
                let client = pick(&world, client);
                world.step(FrontInput::Disconnected { client });
            }
            Op::Pass { ms } => {
                world.pass(Duration::from_millis(ms));
            }
        }
    }
    world
}

proptest! {
    #[test]
    fn every_rule_holds_whatever_clients_do(ops in vec(op(), 0..150)) {
        let mut world = run(&ops);
        prop_assert_eq!(&world.trace, &run(&ops).trace, "the same inputs give the same outputs");
        world.deaf = true;
        world.pass(Duration::from_secs(60));
        prop_assert!(world.open.is_empty(), "who is silent is closed");
        let status = world.front.status();
        prop_assert_eq!((status.clients, status.peers, status.swarms, status.memberships), (0, 0, 0, 0));
        prop_assert!(status.workers.is_empty());
        prop_assert_eq!(world.front.next_wake(), None);
        prop_assert!(world.front.is_at_baseline());
    }
}

#[test]
fn a_newcomer_is_welcomed_with_its_worker() {
    let mut world = World::new(config());
    world.worker(10, "w1");
    let client = world.connect(ip(0));
    let heard = world.say(client, peer_hello(0));
    let [FromFront::Welcome(welcome)] = &heard.to(client)[..] else { panic!("welcome") };
    let worker = welcome.worker.as_ref().expect("a worker is up");
    assert_eq!((worker.name.as_str(), worker.peer, worker.http.as_str()), ("w1", peer(10), "http://w1:8081"));
    assert_eq!(welcome.heartbeat_seconds, 30);
    assert_eq!(world.front.bootstrap(ip(0)), *welcome);
}

#[test]
fn a_workers_loss_moves_its_clients_and_only_them() {
    let mut world = World::new(config());
    let workers = [world.worker(10, "w1"), world.worker(11, "w2")];
    let clients: Vec<_> = (0..4).map(|n| world.peer(n, ip(2 * n))).collect();
    let served = |world: &World, name: &str| -> Vec<ClientId> {
        let is = |c: &&ClientId| world.open[c].worker.as_ref().is_some_and(|worker| worker.name == name);
        clients.iter().filter(is).copied().collect()
    };
    let (first, second) = (served(&world, "w1"), served(&world, "w2"));
    assert!(!first.is_empty() && !second.is_empty(), "the test's networks fall to both workers");
    let heard = world.step(FrontInput::Disconnected { client: workers[0] });
    let told: Vec<_> = heard.messages.iter().map(|(client, _)| *client).collect();
    assert_eq!(told, first);
    assert_eq!(served(&world, "w2"), clients);
    let heard = world.step(FrontInput::Disconnected { client: workers[1] });
    assert_eq!(heard.messages.len(), 4);
    assert!(heard.messages.iter().all(|(_, m)| *m == FromFront::Assign { worker: None }));
}

#[test]
fn a_worker_that_does_not_answer_is_better_than_none() {
    let mut world = World::new(config());
    let client = world.peer(0, ip(0));
    world.worker(10, "w1");
    world.deaf = true;
    world.pass(Duration::from_secs(5));
    assert!(!world.front.status().workers[0].alive);
    assert_eq!(world.open[&client].worker.as_ref().map(|worker| worker.name.as_str()), Some("w1"));
    world.deaf = false;
    world.worker(11, "w2");
    assert_eq!(world.open[&client].worker.as_ref().map(|worker| worker.name.as_str()), Some("w2"));
}

#[test]
fn a_worker_that_comes_back_replaces_its_older_connection() {
    let mut world = World::new(config());
    let old = world.worker(10, "w1");
    let client = world.peer(0, ip(0));
    world.pass(Duration::from_millis(1));
    // The same process again: its clients need not know.
    let new = world.connect(ip(10));
    let heard = world.say(new, worker_hello(10, "w1", world.unix_ms(), &key()));
    assert!(heard.is_closed(old) && heard.to(client).is_empty() && world.is_open(new));
    assert!(matches!(&heard.events[..], [FrontEvent::WorkerUp { .. }]));
    // A new process of that name: they need to know whom to signal.
    world.pass(Duration::from_millis(1));
    let newest = world.connect(ip(10));
    let heard = world.say(newest, worker_hello(12, "w1", world.unix_ms(), &key()));
    assert!(heard.is_closed(new));
    assert!(matches!(heard.to(client)[..], [FromFront::Assign { worker: Some(w) }] if w.peer == peer(12)));
    // The connection that was closed says nothing any more.
    assert!(world.say(new, ToFront::Ping {}.to_text()).messages.is_empty());
}

#[test]
fn a_proof_that_is_forged_stale_or_replayed_is_refused_and_audited() {
    let mut world = World::new(config());
    let other = SharedKey::new(b"some other network's").expect("long enough");
    world.worker(10, "w1");
    for (text, words) in [
        (worker_hello(11, "w2", UNIX_MS, &other), "does not match"),
        (worker_hello(11, "w2", UNIX_MS - 60_001, &key()), "60001 ms off"),
        (worker_hello(11, "w1", UNIX_MS, &key()), "not newer"),
    ] {
        let client = world.connect(ip(0));
        let heard = world.say(client, text);
        assert_eq!(heard.error_to(client), Some(ErrorCode::Unauthorized));
        assert!(heard.is_closed(client));
        let [FrontEvent::Audit { ip: from, offence }] = &heard.events[..] else { panic!("audited") };
        assert_eq!(*from, ip(0));
        assert!(offence.contains(words), "{offence}");
    }
    let status = world.front.status();
    assert_eq!((status.workers.len(), status.workers_refused), (1, 3));
}

#[test]
fn a_worker_outside_the_allow_list_is_refused_before_its_proof_is_used() {
    let worker_networks = "192.0.5.0/24".parse().expect("a list");
    let mut world = World::new(FrontConfig { worker_networks, ..config() });
    let outside = world.connect(ip(0));
    let hello = worker_hello(11, "w1", UNIX_MS, &key());
    let heard = world.say(outside, hello.as_str());
    assert_eq!(heard.error_to(outside), Some(ErrorCode::Unauthorized));
    assert!(heard.is_closed(outside));
    let [FrontEvent::Audit { ip: from, offence }] = &heard.events[..] else { panic!("audited") };
    assert_eq!(*from, ip(0));
    assert!(offence.contains("w1 from an address that is not on the allow-list"), "{offence}");
    let inside = world.connect(ip(10));
    world.say(inside, hello);
    assert!(world.is_open(inside));
    let status = world.front.status();
    assert_eq!((status.workers.len(), status.workers_refused), (1, 1));
    world.peer(1, ip(0));
}

#[test]
fn only_workers_drain() {
    let mut world = World::new(config());
    let client = world.peer(1, ip(0));
    let heard = world.say(client, ToFront::Draining {}.to_text());
    assert_eq!(heard.error_to(client), Some(ErrorCode::Malformed));
    assert_eq!(world.front.status().faults, 1);
}

#[test]
fn the_wall_clock_is_followed() {
    let mut world = World::new(config());
    world.step(FrontInput::Clock { unix_ms: UNIX_MS + 3_600_000 });
    world.worker(10, "late");
    assert!(world.front.status().workers.is_empty());
    let client = world.connect(ip(0));
    world.say(client, worker_hello(10, "set", UNIX_MS + 3_600_000, &key()));
    assert_eq!(world.front.status().workers.len(), 1);
}

#[test]
fn a_name_is_kept_by_who_speaks_and_lost_by_who_is_silent() {
    let mut world = World::new(config());
    let old = world.peer(0, ip(0));
    world.pass(Duration::from_secs(19));
    let early = world.connect(ip(0));
    let heard = world.say(early, peer_hello(0));
    assert_eq!(heard.error_to(early), Some(ErrorCode::NameTaken));
    assert!(heard.is_closed(early) && world.is_open(old));
    world.pass(Duration::from_secs(1));
    let late = world.connect(ip(0));
    assert!(world.say(late, peer_hello(0)).is_closed(old));
    assert!(world.is_open(late));
}

#[test]
fn another_version_is_told_so() {
    let mut world = World::new(config());
    let client = world.connect(ip(0));
    let heard = world.say(client, r#"{"type":"hello","version":9,"more":true}"#);
    assert_eq!(heard.error_to(client), Some(ErrorCode::Version));
    assert!(heard.is_closed(client));
}

#[test]
fn silence_closes_and_any_message_counts() {
    let mut world = World::new(config());
    let mute = world.connect(ip(0));
    let silent = world.peer(1, ip(1));
    let speaking = world.peer(2, ip(2));
    assert!(world.pass(Duration::from_secs(10)).is_closed(mute));
    for _ in 0..4 {
        world.pass(Duration::from_secs(15));
        world.say(speaking, ToFront::Ping {}.to_text());
    }
    assert!(!world.is_open(silent) && world.is_open(speaking));
    assert!(world.pass(Duration::from_secs(44)).closed.is_empty());
    assert!(world.pass(Duration::from_secs(1)).is_closed(speaking));
}

#[test]
fn a_flood_is_cut_and_audited() {
    let mut world = World::new(config());
    let client = world.peer(0, ip(0));
    for _ in 0..199 {
        assert_eq!(world.say(client, ToFront::Ping {}.to_text()).to(client), [&FromFront::Pong {}]);
    }
    for _ in 0..8 {
        let heard = world.say(client, ToFront::Ping {}.to_text());
        assert_eq!(heard.error_to(client), Some(ErrorCode::Limit));
        assert!(!heard.is_closed(client));
    }
    let heard = world.say(client, ToFront::Ping {}.to_text());
    assert!(heard.is_closed(client));
    assert!(matches!(&heard.events[..], [FrontEvent::Audit { .. }]));
}

#[test]
fn faults_are_borne_for_a_while_and_forgiven_in_time() {
    let mut world = World::new(config());
    let client = world.peer(0, ip(0));
    for _ in 0..30 {
        assert!(!world.say(client, "junk").is_closed(client));
        world.pass(Duration::from_secs(30));
        world.say(client, ToFront::Ping {}.to_text());
        world.pass(Duration::from_secs(30));
    }
    for _ in 0..8 {
        assert!(!world.say(client, "junk").is_closed(client));
    }
    assert!(world.say(client, "junk").is_closed(client));
}

#[test]
fn connections_are_bounded_in_all_and_by_network() {
    let mut world = World::new(config());
    let host = |n: u8| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n)]);
    let clients: Vec<_> = (0..3).map(|n| world.connect(host(n))).collect();
    let fourth = world.connect(host(9));
    assert!(!world.is_open(fourth));
    world.step(FrontInput::Disconnected { client: clients[0] });
    let fourth = world.connect(host(9));
    assert!(world.is_open(fourth));
    let mapped = "::ffff:192.0.2.1".parse().expect("an address");
    let plain = IpAddr::from([192, 0, 2, 1]);
    for ip in [mapped, plain, mapped] {
        let client = world.connect(ip);
        assert!(world.is_open(client));
    }
    let seventh = world.connect(ip(0));
    assert!(!world.is_open(seventh));
}

#[test]
fn a_full_swarm_still_answers_but_does_not_count_more_in() {
    let mut world = World::new(config());
    let clients: Vec<_> = (0..4).map(|n| world.peer(n, ip(n))).collect();
    let announce = ToFront::Announce { info_hash: share(1), complete: true }.to_text();
    for client in &clients[..3] {
        world.say(*client, announce.as_str());
    }
    let heard = world.say(clients[3], announce.as_str());
    let [FromFront::Error { code: ErrorCode::Limit, .. }, FromFront::Peers { peers, .. }] =
        &heard.to(clients[3])[..]
    else {
        panic!("limit, then peers")
    };
    assert_eq!(peers.len(), 3);
    world.step(FrontInput::Disconnected { client: clients[0] });
    assert_eq!(world.front.status().memberships, 2);
}

#[test]
fn shutdown_closes_everyone_and_turns_newcomers_away() {
    let mut world = World::new(config());
    world.worker(10, "w1");
    world.peer(0, ip(0));
    world.connect(ip(1));
    let heard = world.step(FrontInput::Shutdown);
    assert_eq!(heard.closed.len(), 3);
    assert!(heard.messages.is_empty(), "nobody is told of another worker any more");
    let late = world.connect(ip(2));
    assert!(!world.is_open(late));
    assert!(world.front.is_at_baseline());
}

#[test]
fn a_budget_is_earned_back() {
    let messages = Budget { burst: 2, interval: Duration::from_millis(100) };
    let mut world = World::new(FrontConfig { messages, ..config() });
    let client = world.peer(0, ip(0));
    let mut ping = |wait| {
        world.pass(Duration::from_millis(wait));
        world.say(client, ToFront::Ping {}.to_text()).error_to(client)
    };
    assert_eq!(ping(0), None);
    assert_eq!(ping(0), Some(ErrorCode::Limit));
    assert_eq!(ping(99), Some(ErrorCode::Limit));
    assert_eq!(ping(1), None);
    assert_eq!(ping(200), None);
    assert_eq!(ping(0), None);
    assert_eq!(ping(0), Some(ErrorCode::Limit));
}
