//! A whole network on an event heap: the real node machines, with everything around them made up. All that
//! happens follows from a seed; nothing here may read a clock, roll other dice or depend on an address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest, InfoHash, PeerId};
use kollator_core::machine::{Instant, Rng};
use kollator_core::node::front::{FrontInput, FrontOutput};
use kollator_core::node::io::{DiskCommand, LinkCommand, LinkEvent};
use kollator_core::node::peer::{PeerInput, PeerOutput};
use kollator_core::node::worker::{AskId, WorkerInput, WorkerOutput};
use kollator_core::rtc::RtcEvent;
use kollator_core::store::Effect;
use kollator_core::wire::frame::Frame;
use kollator_core::wire::signal::{Role, ToFront};

use crate::fault::FaultSet;
use crate::heap::EventHeap;
use crate::oracle::{self, Fact, Oracle, WorldEvent};
use crate::report::Report;
use crate::simulation::{Journal, Log, Run, Simulation, live_through, short};

mod backing;
mod chaos;
mod disk;
mod faults;
mod homes;
mod liar;
mod link;
mod machines;
mod net;
mod plan;
mod plant;
mod rogue;
mod rtc;
mod share;
mod trace;
mod users;
mod web;

pub use faults::FaultKind;
pub use plan::{Kind, NodePlan};
pub use plant::Plant;
pub use share::Share;

use backing::{Backing, Cache};
use disk::Disk;
use link::Link;
use machines::Process;
use net::Net;
use plan::{Plan, Settings};
use rtc::{End, Half, Pair};
use users::Task;

/// The front's place among the nodes.
pub(crate) const FRONT: usize = 0;
/// The wall clock when a world begins, in Unix seconds.
const EPOCH: u64 = 1_800_000_000;
/// How long a world goes on after everybody is content: nothing may happen then that should not.
const AFTERGLOW: Duration = Duration::from_secs(3);
/// More events than any sound run has.
const MAX_EVENTS: u64 = 3_000_000;

/// What really is, which no machine knows.
#[derive(Debug)]
pub struct Truth {
    /// The nodes. The first is the front.
    pub nodes: Vec<NodePlan>,
    /// The shares.
    pub shares: Vec<Share>,
    /// Which nodes stay broken when the others heal.
    pub broken: Vec<bool>,
    /// Wishes that must have come true by the end and have not: node, index of the share, in words.
    pub unfulfilled: Vec<(usize, usize, &'static str)>,
}

impl Truth {
    /// The nodes of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].kind == kind).collect()
    }

    /// The share of that name, and its index.
    #[must_use]
    pub fn share(&self, info_hash: InfoHash) -> Option<(usize, &Share)> {
        self.shares.iter().enumerate().find(|(_, share)| share.info_hash() == info_hash)
    }

    /// The bytes of `count` blocks of a chunk from `first` on; `None` if no share has such blocks.
    #[must_use]
    pub fn range_of(&self, chunk: ChunkId, first: u16, count: u16) -> Option<Bytes> {
        self.shares.iter().find_map(|share| share.range(chunk, first, count))
    }

    /// A node's address, a network of its own.
    #[must_use]
    pub fn address(&self, node: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 20, node as u8, 7))
    }
}

/// Whole networks: a front, workers and peers.
#[derive(Clone, Copy, Debug)]
pub struct Worlds;

impl Simulation for Worlds {
    const NAME: &'static str = "worlds";
    type Fault = FaultKind;
    type Plant = Plant;

    fn run(seed: u64, plant: Option<Plant>, log: Option<Log>) -> Report<FaultKind> {
        live_through(seed, World::new(seed, plant, log))
    }
}

/// One thing planned.
#[derive(Debug)]
enum Event {
    Start {
        node: usize,
        life: u32,
    },
    Resume {
        node: usize,
        life: u32,
    },
    Wake {
        node: usize,
        life: u32,
        at: Instant,
    },
    Hear {
        node: usize,
        life: u32,
        input: Input,
    },
    Link(link::Step),
    Rtc(rtc::Step),
    Disk {
        node: usize,
        life: u32,
        command: DiskCommand,
    },
    Store {
        node: usize,
        life: u32,
        effect: Effect,
    },
    Web(web::Step),
    Home(homes::Step),
    /// A process ends in the middle of a write.
    Tear {
        node: usize,
        life: u32,
    },
    User {
        task: usize,
        life: u32,
    },
    /// The user of a download goes to another place in it.
    Seek {
        task: usize,
        life: u32,
    },
    Chaos,
    Shut {
        from: usize,
        to: usize,
    },
    Reopen {
        from: usize,
        to: usize,
    },
    Heal,
}

/// What a machine is told.
#[derive(Debug)]
enum Input {
    Front(FrontInput),
    Worker(WorkerInput),
    Peer(PeerInput),
}

impl Input {
    const fn wake(kind: Kind) -> Self {
        match kind {
            Kind::Front => Self::Front(FrontInput::Wake),
            Kind::Worker => Self::Worker(WorkerInput::Wake),
            Kind::Peer => Self::Peer(PeerInput::Wake),
        }
    }
}

/// What a machine wants.
#[derive(Debug)]
enum Output {
    Front(FrontOutput),
    Worker(WorkerOutput),
    Peer(PeerOutput),
}

/// A process and what outlives it.
struct Node {
    machine: Option<Process>,
    /// How often the process ended: what was planned for an earlier life does not happen.
    life: u32,
    /// When this life began: a machine's own time counts from there.
    born: Instant,
    /// Its name on the network in this life.
    id: PeerId,
    /// For when a wake-up is planned.
    armed: Option<Instant>,
    paused_until: Instant,
    /// What arrived while it was paused.
    backlog: Vec<(Input, Option<rtc::Parcel>, usize)>,
    /// It is told of what arrived while it was paused, and not at the end of that yet.
    late: bool,
    /// Its WebSocket, at the client's end.
    link: Option<u64>,
    disk: Disk,
    /// Its disk may return wrong bytes.
    spoilt: bool,
    cache: Cache,
    /// The newest blocks it sent, for a liar to send again.
    last_sent: Option<Bytes>,
}

impl Node {
    const fn up(&self) -> bool {
        self.machine.is_some()
    }

    /// Ends the process; false if there was none.
    fn stop(&mut self) -> bool {
        let ran = self.machine.take().is_some();
        self.life += 1;
        self.armed = None;
        self.paused_until = Instant::ZERO;
        self.backlog.clear();
        self.late = false;
        ran
    }
}

struct World {
    now: Instant,
    heap: EventHeap<Event>,
    rng: Rng,
    settings: Settings,
    faults: FaultSet<FaultKind>,
    truth: Truth,
    nodes: Vec<Node>,
    net: Net,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    halves: BTreeMap<End, Half>,
    pairs: BTreeMap<u64, Pair>,
    next_pair: u64,
    /// Requests over HTTP.
    exchanges: BTreeMap<u64, web::Exchange>,
    next_exchange: u64,
    next_rogue: u64,
    overheard: rogue::Overheard,
    backing: Backing,
    /// What workers ask each other.
    questions: BTreeMap<AskId, homes::Question>,
    /// Above every number of an exchange over HTTP: a worker's answers to either are told apart by it.
    next_question: u64,
    users: Vec<Task>,
    oracles: Vec<Box<dyn Oracle>>,
    plant: Option<Plant>,
    healed: bool,
    /// Which shares workers keep, or will, now that the faults are over.
    kept: Vec<bool>,
    journal: Journal<FaultKind>,
}

impl Run for World {
    type Fault = FaultKind;

    /// Until everybody is content, patience ends or a judge objects.
    fn live(&mut self) {
        let mut end = self.settings.heal_at + self.settings.patience;
        let mut content = false;
        while self.journal.failure.is_none()
            && let Some((at, event)) = self.heap.pop()
        {
            if at > end {
                break;
            }
            self.now = at;
            self.journal.events += 1;
            self.step(event);
            if self.healed && !content && self.everybody_content() {
                content = true;
                end = self.now + AFTERGLOW;
            }
            if self.journal.events > MAX_EVENTS {
                self.journal.fail("events", format!("{MAX_EVENTS} events and no end"));
            }
        }
        if self.journal.failure.is_none() {
            self.judge();
        }
    }

    fn end(self) -> (Instant, Journal<FaultKind>) {
        (self.now, self.journal)
    }
}

impl World {
    fn new(seed: u64, plant: Option<Plant>, log: Option<Log>) -> Self {
        let mut rng = Rng::new(seed);
        let Plan { nodes: plans, shares, tasks, settings, faults } = Plan::draw(&mut rng);
        let count = plans.len();
        let id = PeerId(Digest::default());
        let nodes = (0..count).map(|_| Node {
            machine: None,
            life: 0,
            born: Instant::ZERO,
            id,
            armed: None,
            paused_until: Instant::ZERO,
            backlog: Vec::new(),
            late: false,
            link: None,
            disk: Disk::default(),
            spoilt: false,
            cache: Cache::default(),
            last_sent: None,
        });
        let mut world = Self {
            now: Instant::ZERO,
            heap: EventHeap::new(),
            settings,
            faults,
            nodes: nodes.collect(),
            net: Net::new(count),
            truth: Truth { nodes: plans, shares, broken: vec![false; count], unfulfilled: Vec::new() },
            links: BTreeMap::new(),
            next_link: 1,
            halves: BTreeMap::new(),
            pairs: BTreeMap::new(),
            next_pair: 1,
            exchanges: BTreeMap::new(),
            next_exchange: 1,
            next_rogue: 0,
            overheard: None,
            backing: Backing::default(),
            questions: BTreeMap::new(),
            next_question: 1 << 63,
            users: tasks.into_iter().map(|plan| Task { plan, done: false }).collect(),
            oracles: oracle::all(),
            plant,
            healed: false,
            kept: Vec::new(),
            journal: Journal::new(log),
            rng,
        };
        world.furnish();
        world
    }

    /// Fills the disks of those who own something, and plans the beginning.
    fn furnish(&mut self) {
        for node in 0..self.nodes.len() {
            for share in 0..self.truth.shares.len() {
                if self.owns(node, share) {
                    let truth = &self.truth.shares[share];
                    self.nodes[node].disk.fill(share, truth);
                }
            }
            let wait = if node == FRONT { 0 } else { self.rng.below(200) };
            self.after(Duration::from_millis(wait), Event::Start { node, life: 0 });
        }
        let fastest = self.truth.nodes.iter().map(|node| node.bandwidth).max();
        if self.truth.nodes.iter().any(|node| Some(node.bandwidth) < fastest) {
            self.journal.fault(self.now, FaultKind::SlowNode);
        }
        self.after(self.settings.calm, Event::Chaos);
        self.heap.push(self.settings.heal_at, Event::Heal);
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Start { node, life } => self.start(node, life),
            Event::Resume { node, life } => self.resume(node, life),
            Event::Wake { node, life, at } => {
                if self.nodes[node].life == life && self.nodes[node].armed == Some(at) {
                    self.nodes[node].armed = None;
                    self.hear(node, Input::wake(self.truth.nodes[node].kind));
                }
            }
            Event::Hear { node, life, input } => {
                if self.nodes[node].life == life {
                    self.hear(node, input);
                }
            }
            Event::Link(step) => self.link_step(step),
            Event::Rtc(step) => self.rtc_step(step),
            Event::Disk { node, life, command } => self.disk_step(node, life, command),
            Event::Store { node, life, effect } => self.store_step(node, life, effect),
            Event::Web(step) => self.web_step(step),
            Event::Home(step) => self.home_step(step),
            Event::Tear { node, life } => {
                if self.nodes[node].life == life {
                    self.crash_for_a_while(node, false);
                }
            }
            Event::User { task, life } => self.user_asks(task, life),
            Event::Seek { task, life } => self.user_seeks(task, life),
            Event::Chaos => self.chaos(),
            Event::Shut { from, to } => self.flap(from, to),
            Event::Reopen { from, to } => self.reopen(from, to),
            Event::Heal => self.heal(),
        }
    }

    fn start(&mut self, node: usize, life: u32) {
        if self.nodes[node].up() || self.nodes[node].life != life || self.truth.broken[node] && self.healed {
            return;
        }
        self.nodes[node].id = self.random_id();
        self.nodes[node].born = self.now;
        let machine = self.build(node);
        self.nodes[node].machine = Some(machine);
        let id = self.nodes[node].id;
        self.observe(node, &Fact::Started { id });
        self.hear(node, Input::wake(self.truth.nodes[node].kind));
        self.users_return(node);
    }

    fn resume(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life {
            return;
        }
        self.nodes[node].paused_until = Instant::ZERO;
        let mut backlog = std::mem::take(&mut self.nodes[node].backlog);
        while !backlog.is_empty() {
            let (input, parcel, from) = backlog.remove(0);
            self.nodes[node].late = !backlog.is_empty();
            if let Some(parcel) = parcel {
                self.observe_frame(node, from, &input, &parcel);
            }
            self.hear(node, input);
        }
    }

    /// Tells a machine something, does all it then wants, and plans its wake-up.
    fn hear(&mut self, node: usize, input: Input) {
        if self.nodes[node].paused_until > self.now {
            self.nodes[node].backlog.push((input, None, 0));
            return;
        }
        let Some(mut machine) = self.nodes[node].machine.take() else { return };
        self.journal.trace.step(self.now, node);
        self.note(|| format!("node {node} hears {}", short(&input)));
        match &input {
            Input::Front(input) => {
                self.journal.trace.front(input);
                self.observe(node, &Fact::FrontHeard(input));
            }
            Input::Worker(input) => {
                self.journal.trace.worker(input);
                self.observe(node, &Fact::WorkerHeard(input));
            }
            Input::Peer(input) => {
                self.journal.trace.peer(input);
                self.observe(node, &Fact::PeerHeard(input));
            }
        }
        let born = self.nodes[node].born;
        machine.handle(Instant::from_nanos(self.now.since(born).as_nanos() as u64), input);
        let outputs: Vec<Output> = std::iter::from_fn(|| machine.poll()).collect();
        let next_wake = machine.next_wake().map(|own| born + own.since(Instant::ZERO));
        // Between the backlog of a pause, the machine cannot know yet what its stack knows.
        let sessions = machine.sessions().filter(|_| !self.nodes[node].late);
        self.nodes[node].machine = Some(machine);
        for output in outputs {
            self.note(|| format!("node {node} says {}", short(&output)));
            self.obey(node, output);
        }
        let channels = self.channels(node);
        self.observe(node, &Fact::Rested { next_wake, sessions, channels });
        if let Some(at) = next_wake
            && self.nodes[node].armed != Some(at)
        {
            self.nodes[node].armed = Some(at);
            let life = self.nodes[node].life;
            self.heap.push(at, Event::Wake { node, life, at });
        }
        if next_wake.is_none() {
            self.nodes[node].armed = None;
        }
    }

    fn obey(&mut self, node: usize, output: Output) {
        match output {
            Output::Front(output) => {
                self.observe(node, &Fact::FrontSaid(&output));
                match output {
                    FrontOutput::Send { client, text } => self.front_send(client, text),
                    FrontOutput::Close { client, reason } => self.front_close(client, reason),
                    FrontOutput::Event(event) => self.journal.trace.text(&event),
                    // One front alone: its disk is as slow as any, and there is nobody to send to.
                    FrontOutput::Persist { ticket, .. } => {
                        let wait = self.settings.disk_latency.end;
                        self.hear_later(wait, node, Input::Front(FrontInput::Persisted { ticket }));
                    }
                    FrontOutput::PeerSend { .. } | FrontOutput::Save(_) => {}
                }
            }
            Output::Worker(output) => {
                self.observe(node, &Fact::WorkerSaid(&output));
                match output {
                    WorkerOutput::Link(command) => {
                        self.overhear(&command);
                        self.link_command(node, command);
                    }
                    WorkerOutput::Rtc(command) => self.rtc_command(node, command),
                    WorkerOutput::Store(effect) => self.store_command(node, effect),
                    WorkerOutput::Hash { ticket, data } => self.hash_command(node, ticket, data),
                    WorkerOutput::Event(event) => self.journal.trace.text(&event),
                    WorkerOutput::AskHome { ticket, chunk, home } => self.ask_home(node, ticket, chunk, &home),
                    WorkerOutput::Told { id, result } if self.questions.contains_key(&id) => self.told(id, result),
                    WorkerOutput::Told { id, result } => self.web_told(node, id, result),
                    WorkerOutput::Dht(_) => unreachable!("there is no DHT in this world"),
                    WorkerOutput::Drained => {}
                }
            }
            Output::Peer(output) => {
                self.observe(node, &Fact::PeerSaid(&output));
                match output {
                    PeerOutput::Link(command) => self.link_command(node, command),
                    PeerOutput::Rtc(command) => self.rtc_command(node, command),
                    PeerOutput::Disk(command) => self.disk_command(node, command),
                    PeerOutput::Web(command) => self.web_command(node, command),
                    PeerOutput::Event(event) => {
                        self.journal.trace.text(&event);
                        self.user_hears(node, &event);
                    }
                }
            }
        }
    }

    /// Strangers remember a worker's proof when they see one.
    fn overhear(&mut self, command: &LinkCommand) {
        if let LinkCommand::Send { text } = command
            && self.overheard.is_none()
            && let Ok(hello @ ToFront::Hello { role: Role::Worker(_), .. }) = ToFront::parse(text.as_bytes())
        {
            self.overheard = Some(hello);
        }
    }

    fn hear_front(&mut self, input: FrontInput) {
        self.hear(FRONT, Input::Front(input));
    }

    fn hear_link(&mut self, node: usize, event: LinkEvent) {
        let input = match self.truth.nodes[node].kind {
            Kind::Worker => Input::Worker(WorkerInput::Link(event)),
            _ => Input::Peer(PeerInput::Link(event)),
        };
        self.hear(node, input);
    }

    fn rtc_input(&self, node: usize, event: RtcEvent) -> Input {
        match self.truth.nodes[node].kind {
            Kind::Worker => Input::Worker(WorkerInput::Rtc(event)),
            _ => Input::Peer(PeerInput::Rtc(event)),
        }
    }

    fn hear_rtc(&mut self, end: End, event: RtcEvent) {
        if self.nodes[end.node].life == end.life {
            let input = self.rtc_input(end.node, event);
            self.hear(end.node, input);
        }
    }

    fn hear_frame(&mut self, from: End, to: End, parcel: rtc::Parcel) {
        if self.nodes[to.node].life != to.life {
            return;
        }
        let input = self.rtc_input(to.node, RtcEvent::Message { conn: to.conn, data: parcel.data.clone() });
        if self.nodes[to.node].paused_until > self.now {
            self.nodes[to.node].backlog.push((input, Some(parcel), from.node));
        } else {
            self.observe_frame(to.node, from.node, &input, &parcel);
            self.hear(to.node, input);
        }
    }

    fn observe_frame(&mut self, node: usize, from: usize, input: &Input, parcel: &rtc::Parcel) {
        let (Input::Worker(WorkerInput::Rtc(RtcEvent::Message { conn, .. }))
        | Input::Peer(PeerInput::Rtc(RtcEvent::Message { conn, .. }))) = input
        else {
            return;
        };
        let frame = Frame::decode(parcel.data.clone()).ok();
        self.observe(node, &Fact::FrameHeard { conn: *conn, from, frame: frame.as_ref(), lie: parcel.lie });
    }

    fn hear_later(&mut self, wait: Duration, node: usize, input: Input) {
        let life = self.nodes[node].life;
        self.after(wait, Event::Hear { node, life, input });
    }

    fn observe(&mut self, node: usize, fact: &Fact<'_>) {
        if self.journal.failure.is_some() {
            return;
        }
        let event = WorldEvent { at: self.now, node, fact: fact.clone() };
        for oracle in &mut self.oracles {
            if let Err(what) = oracle.observe(&event, &self.truth) {
                let at = self.now.since(Instant::ZERO);
                let what = format!("{what} (node {node}, at {at:?})");
                self.journal.fail(oracle.name(), what);
                return;
            }
        }
    }

    /// The judges' last word.
    fn judge(&mut self) {
        self.truth.unfulfilled =
            self.discontent().map(|task| (task.plan.peer, task.plan.share, task.plan.want.text())).collect();
        for oracle in &mut self.oracles {
            if let Err(what) = oracle.at_end(&self.truth) {
                self.journal.fail(oracle.name(), what);
                return;
            }
        }
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.heap.push(self.now + wait, event);
    }

    fn latency(&mut self) -> Duration {
        net::between(&mut self.rng, &self.settings.latency)
    }

    fn dice(&mut self, sides: usize) -> usize {
        self.rng.below(sides as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.dice(from.len())])
    }

    /// The wall clock, in Unix milliseconds.
    fn unix_ms(&self) -> u64 {
        EPOCH * 1000 + self.now.since(Instant::ZERO).as_millis() as u64
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        self.journal.note(self.now, line);
    }
}
