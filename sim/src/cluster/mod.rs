//! Fronts by themselves on an event heap: the real front machines and the real uplinks of clients, with disks,
//! clocks, links and users made up. All that happens follows from a seed; nothing here may read a clock, roll
//! other dice or depend on an address.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use kollator_core::auth::SharedKey;
use kollator_core::cluster::FrontId;
use kollator_core::cluster::saved::{Record, Recovered};
use kollator_core::machine::{Instant, Machine, Rng};
use kollator_core::node::front::{ClientId, ClusterConfig, Front, FrontConfig, FrontInput, FrontOutput};
use kollator_core::node::io::{LinkEvent, Ticket};

use crate::heap::EventHeap;
use crate::report::Report;
use crate::simulation::{Journal, Log, Run, Simulation, live_through};

mod chaos;
mod client;
mod conn;
mod disk;
mod faults;
mod judge;
mod link;
pub mod oracle;
mod plan;
mod plant;

pub use faults::FaultKind;
pub use plant::Plant;

use client::{Client, Said};
use conn::Conn;
use disk::Disk;
use link::Link;
use oracle::{Fact, Oracle};
use plan::Plan;
use plant::Planter;

/// The wall clock when a world begins, in Unix milliseconds.
const EPOCH_MS: u64 = 1_800_000_000_000;
/// How long after the end of the faults everybody must agree.
const SETTLE: Duration = Duration::from_secs(20);
/// Clients rest for so long before that.
const REST: Duration = Duration::from_secs(6);
/// How long the signals of the last test may take.
const LAST_TEST: Duration = Duration::from_secs(3);
/// More events than any sound run has.
const MAX_EVENTS: u64 = 3_000_000;
const KEY: &[u8] = b"the key of a made-up network";

/// Fronts among themselves, with the uplinks of their clients.
#[derive(Clone, Copy, Debug)]
pub struct Clusters;

impl Simulation for Clusters {
    const NAME: &'static str = "clusters";
    type Fault = FaultKind;
    type Plant = Plant;

    fn run(seed: u64, plant: Option<Plant>, log: Option<Log>) -> Report<FaultKind> {
        live_through(seed, World::new(seed, plant, log))
    }
}

/// One thing planned.
#[derive(Debug)]
enum Event {
    FrontStart {
        front: usize,
        life: u32,
    },
    FrontWake {
        front: usize,
        life: u32,
        at: Instant,
    },
    FrontHear {
        front: usize,
        life: u32,
        input: FrontInput,
    },
    FrontResume {
        front: usize,
        life: u32,
    },
    Durable {
        front: usize,
        life: u32,
        ticket: Ticket,
        record: Record,
    },
    /// A front ends in the middle of a write.
    Tear {
        front: usize,
        life: u32,
    },
    Dial {
        from: usize,
        to: usize,
    },
    Deliver {
        from: usize,
        to: usize,
        generation: u32,
        number: u64,
        data: bytes::Bytes,
    },
    LinkDrop {
        from: usize,
        to: usize,
        generation: u32,
    },
    ClientStart {
        client: usize,
        life: u32,
    },
    ClientWake {
        client: usize,
        life: u32,
        at: Instant,
    },
    ClientActs {
        client: usize,
        life: u32,
    },
    Conn(conn::Numbered),
    Chaos,
    Heal,
    Rest,
    Test,
    End,
}

/// A front's process and what outlives it.
struct FrontNode {
    machine: Option<Front>,
    life: u32,
    born: Instant,
    armed: Option<Instant>,
    paused_until: Instant,
    /// What came while it stood still.
    backlog: VecDeque<FrontInput>,
    disk: Disk,
    /// Durable writes that were begun.
    writing: BTreeMap<Ticket, Record>,
    /// It lost its ballot and did not get another yet.
    lost: bool,
}

/// A client's process and what outlives it.
struct ClientNode {
    client: Option<Client>,
    life: u32,
    armed: Option<Instant>,
    paused_until: Instant,
    /// Its newest connection.
    conn: Option<u64>,
}

struct World {
    now: Instant,
    heap: EventHeap<Event>,
    rng: Rng,
    plan: Plan,
    fronts: Vec<FrontNode>,
    clients: Vec<ClientNode>,
    links: BTreeMap<(usize, usize), Link>,
    conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    /// Until when nothing gets from one node to another. Fronts come first among the nodes.
    shut: BTreeMap<(usize, usize), Instant>,
    /// Fronts that stay broken when the others heal.
    broken: BTreeSet<usize>,
    healed: bool,
    resting: bool,
    next_signal: u64,
    /// Signals of the last test that have not arrived.
    awaited: BTreeMap<u64, (usize, usize)>,
    oracles: Vec<Box<dyn Oracle>>,
    planter: Option<Planter>,
    journal: Journal<FaultKind>,
}

impl Run for World {
    type Fault = FaultKind;

    fn live(&mut self) {
        while self.journal.failure.is_none()
            && let Some((at, event)) = self.heap.pop()
        {
            self.now = at;
            self.journal.events += 1;
            if matches!(event, Event::End) {
                self.judge_last_test();
                break;
            }
            self.step(event);
            if self.journal.events > MAX_EVENTS {
                self.journal.fail("events", format!("{MAX_EVENTS} events and no end"));
            }
        }
    }

    fn end(self) -> (Instant, Journal<FaultKind>) {
        (self.now, self.journal)
    }
}

impl World {
    fn new(seed: u64, plant: Option<Plant>, log: Option<Log>) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        let front = |_| FrontNode {
            machine: None,
            life: 0,
            born: Instant::ZERO,
            armed: None,
            paused_until: Instant::ZERO,
            backlog: VecDeque::new(),
            disk: Disk::default(),
            writing: BTreeMap::new(),
            lost: false,
        };
        let client =
            |_| ClientNode { client: None, life: 0, armed: None, paused_until: Instant::ZERO, conn: None };
        let fronts = plan.fronts.len();
        let pairs = (0..fronts).flat_map(|from| (0..fronts).map(move |to| (from, to)));
        let mut world = Self {
            now: Instant::ZERO,
            heap: EventHeap::new(),
            fronts: (0..fronts).map(front).collect(),
            clients: (0..plan.clients.len()).map(client).collect(),
            links: pairs.filter(|(from, to)| from != to).map(|pair| (pair, Link::default())).collect(),
            conns: BTreeMap::new(),
            next_conn: 1,
            shut: BTreeMap::new(),
            broken: BTreeSet::new(),
            healed: false,
            resting: false,
            next_signal: 0,
            awaited: BTreeMap::new(),
            oracles: oracle::all(),
            planter: plant.map(Planter::new),
            journal: Journal::new(log),
            rng,
            plan,
        };
        world.furnish();
        world
    }

    fn furnish(&mut self) {
        for front in 0..self.fronts.len() {
            let wait = Duration::from_millis(self.rng.below(300));
            self.after(wait, Event::FrontStart { front, life: 0 });
        }
        for client in 0..self.clients.len() {
            self.heap.push(self.plan.clients[client].begins, Event::ClientStart { client, life: 0 });
        }
        let pairs: Vec<(usize, usize)> = self.links.keys().copied().collect();
        for (from, to) in pairs {
            self.after(Duration::from_millis(50), Event::Dial { from, to });
        }
        for (kind, there) in [
            (FaultKind::Drift, self.plan.fronts.iter().any(|front| front.drift_ppm != 0)),
            (FaultKind::Skew, self.plan.fronts.iter().any(|front| front.skew_ms != 0)),
        ] {
            if there {
                self.journal.fault(self.now, kind);
            }
        }
        self.after(self.plan.calm, Event::Chaos);
        let heal_at = self.plan.heal_at;
        self.heap.push(heal_at, Event::Heal);
        self.heap.push(heal_at + (SETTLE - REST), Event::Rest);
        self.heap.push(heal_at + SETTLE, Event::Test);
        self.heap.push(heal_at + SETTLE + LAST_TEST, Event::End);
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::FrontStart { front, life } => self.front_start(front, life),
            Event::FrontWake { front, life, at } => {
                let node = &mut self.fronts[front];
                if node.life == life && node.armed == Some(at) {
                    node.armed = None;
                    self.front_hears(front, life, FrontInput::Wake);
                }
            }
            Event::FrontHear { front, life, input } => self.front_hears(front, life, input),
            Event::FrontResume { front, life } => self.front_resumes(front, life),
            Event::Durable { front, life, ticket, record } => self.durable(front, life, ticket, record),
            Event::Tear { front, life } => {
                if self.fronts[front].life == life {
                    self.front_ends(front, false, false);
                }
            }
            Event::Dial { from, to } => self.dial(from, to),
            Event::Deliver { from, to, generation, number, data } => {
                self.deliver(from, to, generation, number, data);
            }
            Event::LinkDrop { from, to, generation } => self.link_drop(from, to, generation),
            Event::ClientStart { client, life } => self.client_start(client, life),
            Event::ClientWake { client, life, at } => {
                let node = &mut self.clients[client];
                if node.life != life || node.armed != Some(at) {
                    return;
                }
                if node.paused_until > self.now {
                    node.armed = Some(node.paused_until);
                    let at = node.paused_until;
                    self.heap.push(at, Event::ClientWake { client, life, at });
                    return;
                }
                node.armed = None;
                let now = self.now;
                let said = node.client.as_mut().map(|client| client.wake(now)).unwrap_or_default();
                self.client_said(client, said);
            }
            Event::ClientActs { client, life } => self.client_acts(client, life),
            Event::Conn(step) => self.conn_step(step),
            Event::Chaos => self.chaos(),
            Event::Heal => self.heal(),
            Event::Rest => self.resting = true,
            Event::Test => self.judge(),
            Event::End => {}
        }
    }

    fn front_start(&mut self, front: usize, life: u32) {
        let node = &self.fronts[front];
        if node.machine.is_some() || node.life != life {
            return;
        }
        let key = SharedKey::new(KEY).expect("the key is long enough");
        let names: Vec<String> = (0..self.fronts.len()).map(|front| format!("front-{front}")).collect();
        let mut config = FrontConfig::new(key, self.wall_clock(front), self.rng.next_u64());
        config.cluster = ClusterConfig::among(names, &format!("front-{front}")).expect("it is among them");
        config.cluster.region.clone_from(&self.plan.fronts[front].region);
        let recovered: Recovered = self.fronts[front].disk.recover(FrontId(front as u8));
        let node = &mut self.fronts[front];
        node.born = self.now;
        node.machine = Some(Front::recovered(config, recovered));
        self.observe(front, &Fact::Started);
        self.front_hears(front, life, FrontInput::Wake);
    }

    /// Tells a front something, does all it then wants, and plans its wake-up.
    fn front_hears(&mut self, front: usize, life: u32, input: FrontInput) {
        if self.fronts[front].life != life {
            return;
        }
        let node = &mut self.fronts[front];
        if node.paused_until > self.now || !node.backlog.is_empty() {
            node.backlog.push_back(input);
            return;
        }
        self.front_handles(front, input);
    }

    /// A front that stood still goes on.
    fn front_resumes(&mut self, front: usize, life: u32) {
        let node = &mut self.fronts[front];
        if node.life != life || node.paused_until > self.now {
            return;
        }
        let backlog = std::mem::take(&mut node.backlog);
        backlog.into_iter().for_each(|input| self.front_handles(front, input));
    }

    fn front_handles(&mut self, front: usize, input: FrontInput) {
        let Some(mut machine) = self.fronts[front].machine.take() else { return };
        self.journal.trace.step(self.now, front);
        self.journal.trace.front(&input);
        self.note(|| format!("front {front} hears {input:?}"));
        self.observe(front, &Fact::Heard(&input));
        let local = self.local(front);
        machine.handle(local, input);
        let mut said = Vec::new();
        while let Some(output) = machine.poll() {
            match &mut self.planter {
                Some(planter) => planter.says(output, &mut said),
                None => said.push(output),
            }
        }
        let next = machine.next_wake();
        self.fronts[front].machine = Some(machine);
        for output in said {
            self.note(|| format!("front {front} says {output:?}"));
            self.observe(front, &Fact::Said(&output));
            self.front_says(front, output);
        }
        self.arm_front(front, next);
    }

    fn arm_front(&mut self, front: usize, next: Option<Instant>) {
        let Some(next) = next else { return };
        // The front's clock is not the world's.
        let rate = 1_000_000 + self.plan.fronts[front].drift_ppm;
        let wait = u128::from(next.since(Instant::ZERO).as_nanos() as u64) * 1_000_000 / rate as u128;
        let at = (self.fronts[front].born + Duration::from_nanos(wait as u64 + 1)).max(self.now);
        let node = &mut self.fronts[front];
        if node.armed.is_none_or(|armed| at < armed) {
            node.armed = Some(at);
            let life = node.life;
            self.heap.push(at, Event::FrontWake { front, life, at });
        }
    }

    fn front_says(&mut self, front: usize, output: FrontOutput) {
        match output {
            FrontOutput::Send { client, text } => self.send_to_client(client.0, conn::Parcel::Text(text)),
            FrontOutput::Close { client, reason } => self.send_to_client(client.0, conn::Parcel::Close(reason)),
            FrontOutput::PeerSend { front: to, data } => self.link_send(front, usize::from(to.0), data),
            FrontOutput::Persist { ticket, record } => self.persist(front, ticket, record),
            FrontOutput::Save(saved) => self.save(front, saved),
            FrontOutput::Event(_) => {}
        }
    }

    fn client_start(&mut self, client: usize, life: u32) {
        if self.clients[client].client.is_some() || self.clients[client].life != life {
            return;
        }
        let plan = self.plan.clients[client].clone();
        let key = SharedKey::new(KEY).expect("the key is long enough");
        let unix_ms = EPOCH_MS + self.now.as_nanos() / 1_000_000;
        let made = Client::new(plan, key, self.fronts.len(), self.now, unix_ms, &mut self.rng);
        self.observe(client, &Fact::ClientStarted { id: made.id });
        self.clients[client].client = Some(made);
        self.arm_client(client);
        let wait = Duration::from_millis(self.rng.below(1_000));
        self.after(wait, Event::ClientActs { client, life });
    }

    fn arm_client(&mut self, client: usize) {
        let node = &mut self.clients[client];
        let Some(at) = node.client.as_ref().and_then(Client::next_wake) else { return };
        let at = at.max(self.now);
        if node.armed.is_none_or(|armed| at < armed) {
            node.armed = Some(at);
            let life = node.life;
            self.heap.push(at, Event::ClientWake { client, life, at });
        }
    }

    fn client_said(&mut self, client: usize, said: Vec<Said>) {
        for said in said {
            match said {
                Said::Link(command) => self.client_link(client, command),
                Said::Got { from, body } => self.client_got(client, from, &body),
            }
        }
        self.arm_client(client);
    }

    fn client_hears(&mut self, client: usize, event: LinkEvent) {
        let now = self.now;
        let said = self.clients[client].client.as_mut().map(|client| client.hear(now, event)).unwrap_or_default();
        self.client_said(client, said);
    }

    /// A front's own time.
    fn local(&self, front: usize) -> Instant {
        let rate = (1_000_000 + self.plan.fronts[front].drift_ppm) as u128;
        let true_nanos = u128::from(self.now.since(self.fronts[front].born).as_nanos() as u64);
        Instant::from_nanos((true_nanos * rate / 1_000_000) as u64)
    }

    fn wall_clock(&self, front: usize) -> u64 {
        let now = EPOCH_MS + self.now.as_nanos() / 1_000_000;
        now.saturating_add_signed(self.plan.fronts[front].skew_ms)
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.heap.push(self.now + wait, event);
    }

    fn latency(&mut self) -> Duration {
        let range = self.plan.latency.clone();
        self.between(&range)
    }

    fn between(&mut self, range: &std::ops::Range<Duration>) -> Duration {
        let span = (range.end - range.start).as_nanos() as u64;
        range.start + Duration::from_nanos(self.rng.below(span.max(1)))
    }

    /// Until when nothing gets from one node to another, if nothing does.
    fn shut_until(&self, from: usize, to: usize) -> Option<Instant> {
        self.shut.get(&(from, to)).copied().filter(|until| *until > self.now)
    }

    fn observe(&mut self, node: usize, fact: &Fact<'_>) {
        if self.journal.failure.is_some() {
            return;
        }
        let now = self.now;
        let broken = self.oracles.iter_mut().find_map(|oracle| {
            let what = oracle.observe(now, node, fact).err()?;
            Some((oracle.name(), what))
        });
        if let Some((oracle, what)) = broken {
            let at = now.since(Instant::ZERO);
            self.journal.fail(oracle, format!("{what} (front or client {node}, at {at:?})"));
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        self.journal.note(self.now, line);
    }
}

/// The number under which a front knows a connection.
const fn client_id(conn: u64) -> ClientId {
    ClientId(conn)
}
