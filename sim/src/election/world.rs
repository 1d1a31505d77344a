//! The world of one cluster of fronts: their drivers, what lies between them, and what befalls them.

use std::collections::BTreeMap;
use std::time::Duration;

use kollator_core::cluster::FrontId;
use kollator_core::cluster::election::{Ballot, Election, ElectionConfig, ElectionOutput, Role};
use kollator_core::cluster::saved::RecoveredBallot;
use kollator_core::machine::{Instant, Rng};
use kollator_core::wire::sync::ElectionMessage;

use super::node::Node;
use super::oracle::{self, Happening, Oracle, View};
use super::plan::{Fault, Plan, Plant};
use crate::heap::EventHeap;
use crate::report::{Failure, Report};
use crate::simulation::{Journal, Log, Run, Simulation, live_through};

/// Most events in a run: more means that something goes round in circles.
const MAX_EVENTS: u64 = 1_000_000;
/// Longest time of what takes long for once, in nanoseconds.
const LONG: u64 = 2_000_000_000;
/// A link that is cut until then stays cut.
const FOR_EVER: Instant = Instant::from_nanos(u64::MAX);

/// Fronts that elect a leader, and nothing else of them.
#[derive(Clone, Copy, Debug)]
pub struct Elections;

impl Simulation for Elections {
    const NAME: &'static str = "elections";
    type Fault = Fault;
    type Plant = Plant;

    fn run(seed: u64, plant: Option<Plant>, log: Option<Log>) -> Report<Fault> {
        live_through(seed, World::new(seed, plant, oracle::all(), log))
    }
}

impl Elections {
    /// Runs what `seed` decides with one judge alone, so that it is not the others who notice the bug.
    #[must_use]
    pub fn run_with_judge(judge: &str, seed: u64, plant: Plant) -> Report<Fault> {
        let oracles = oracle::all().into_iter().filter(|oracle| oracle.name() == judge).collect();
        live_through(seed, World::new(seed, Some(plant), oracles, None))
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// Something may befall somebody.
    Chaos,
    Deliver {
        from: FrontId,
        to: FrontId,
        message: ElectionMessage,
    },
    /// A disk takes the ballot of that life.
    Land(FrontId, u64, Ballot),
    /// The driver of that life says so.
    Answer(FrontId, u64, Ballot),
    /// The process of that life dies.
    Crash(FrontId, u64),
    /// The process of that life begins.
    Start(FrontId, u64),
    /// A link goes down, and so many times more.
    Flap {
        from: FrontId,
        to: FrontId,
        times: u64,
    },
    /// A front that is not to be healed loses touch, now and then for ever.
    Drift(FrontId),
}

struct World {
    plan: Plan,
    config: ElectionConfig,
    plant: Option<Plant>,
    rng: Rng,
    now: Instant,
    heap: EventHeap<Event>,
    nodes: Vec<Node>,
    /// Until when the way from one front to another is cut.
    cut_until: BTreeMap<(FrontId, FrontId), Instant>,
    healed: Vec<FrontId>,
    oracles: Vec<Box<dyn Oracle>>,
    journal: Journal<Fault>,
}

impl Run for World {
    type Fault = Fault;

    fn live(&mut self) {
        self.journal.failure = self.run().err();
    }

    fn end(self) -> (Instant, Journal<Fault>) {
        (self.now, self.journal)
    }
}

impl World {
    fn new(seed: u64, plant: Option<Plant>, oracles: Vec<Box<dyn Oracle>>, log: Option<Log>) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng, plant);
        let nodes = (0..plan.fronts).map(|id| Node::new(FrontId(id), plan.draw_drift(&mut rng))).collect();
        Self {
            config: plan.config(FrontId(0), 0, 0),
            plan,
            plant,
            rng,
            now: Instant::ZERO,
            heap: EventHeap::new(),
            nodes,
            cut_until: BTreeMap::new(),
            healed: Vec::new(),
            oracles,
            journal: Journal::new(log),
        }
    }

    fn run(&mut self) -> Result<(), Failure> {
        for front in self.fronts() {
            let together = self.rng.one_in(2);
            self.schedule(if together { 1 } else { LONG }, Event::Start(front, 0));
        }
        self.schedule(self.plan.pace, Event::Chaos);
        self.advance(self.plan.chaos)?;
        self.heal();
        let patience = self.config.timeout.end;
        self.advance(Duration::from_nanos(2 * LONG) + patience * 8)?;
        let mut oracles = std::mem::take(&mut self.oracles);
        for oracle in &mut oracles {
            oracle.settled(&self.view()).map_err(|what| self.failure(oracle.name(), what))?;
        }
        self.oracles = oracles;
        self.advance(patience * 4)?;
        Ok(())
    }

    /// Has everything happen that is due within `time`.
    fn advance(&mut self, time: Duration) -> Result<(), Failure> {
        let end = self.now + time;
        loop {
            let event = self.heap.next();
            let wake = self.nodes.iter().filter_map(|node| Some((node.wakes()?, node.id))).min();
            let next = [event, wake.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(at) = next.filter(|&at| at <= end) else { break };
            self.journal.events += 1;
            if self.journal.events > MAX_EVENTS {
                return Err(self.failure("the machines come to rest", "they go round in circles".into()));
            }
            self.now = self.now.max(at);
            match wake {
                Some((at, front)) if event.is_none_or(|event| at <= event) => {
                    self.act(front, Election::wake)?;
                    let wakes = self.node(front).wakes().is_none_or(|wake| wake > self.now);
                    if !wakes {
                        let what = format!("{front} wants to be woken at once");
                        return Err(self.failure("the machines come to rest", what));
                    }
                }
                _ => {
                    let (_, event) = self.heap.pop().expect("its time was seen");
                    self.happen(event)?;
                }
            }
            self.judge(Happening::Other)?;
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Chaos => self.chaos(),
            Event::Deliver { from, to, message } => {
                if self.postponed(to, event) || self.node(to).election.is_none() {
                    return Ok(());
                }
                self.judge(Happening::Arrives { from, to, message })?;
                self.act(to, |election, now| election.message(now, from, message))
            }
            Event::Land(front, life, ballot) => {
                let node = self.node_mut(front);
                if node.life == life {
                    node.writing = None;
                    node.store(ballot);
                    self.schedule(self.plan.latency, Event::Answer(front, life, ballot));
                }
                Ok(())
            }
            Event::Answer(front, life, ballot) => {
                if self.node(front).life != life || self.postponed(front, event) {
                    return Ok(());
                }
                self.act(front, |election, now| election.persisted(now, ballot))
            }
            Event::Crash(front, life) if self.node(front).life == life && self.healed.is_empty() => {
                self.crash(front)
            }
            Event::Start(front, life) if self.node(front).life == life => self.start(front),
            Event::Flap { from, to, times } => {
                if !(self.healed.contains(&from) && self.healed.contains(&to)) {
                    self.cut(from, to, LONG / 4);
                    if times > 0 {
                        self.schedule(LONG / 2, Event::Flap { from, to, times: times - 1 });
                    }
                }
                Ok(())
            }
            Event::Drift(front) => {
                self.lose_touch(front);
                Ok(())
            }
            Event::Crash(..) | Event::Start(..) => Ok(()),
        }
    }

    /// Whether the process stands still; then `event` happens to it afterwards.
    fn postponed(&mut self, front: FrontId, event: Event) -> bool {
        let until = self.node(front).paused_until;
        let paused = until > self.now;
        if paused {
            self.heap.push(until, event);
        }
        paused
    }

    /// Does something with the machine of `front`, by its clock.
    fn act(&mut self, front: FrontId, what: impl FnOnce(&mut Election, Instant)) -> Result<(), Failure> {
        let (now, plant) = (self.now, self.plant);
        let node = self.node_mut(front);
        let local = node.local(now);
        let clings = plant == Some(Plant::NeverStepsDown) && node.leads();
        let Some(election) = &mut node.election else { return Ok(()) };
        let before = clings.then(|| election.clone());
        what(election, local);
        if let Some(before) = before
            && election.standing().role != Role::Leader
        {
            *election = before;
            node.paused_until = now + Duration::from_millis(10);
        }
        self.drain(front)
    }

    fn drain(&mut self, front: FrontId) -> Result<(), Failure> {
        while let Some(output) = self.node_mut(front).election.as_mut().and_then(Election::poll) {
            self.journal.trace.step(self.now, usize::from(front.0));
            self.journal.trace.text(&output);
            self.journal.note(self.now, || format!("{front} says {output:?}"));
            match output {
                ElectionOutput::Persist(ballot) => self.write(front, ballot),
                ElectionOutput::Send { to, message } => {
                    let message = self.planted(front, message);
                    self.judge(Happening::Sent { from: front, to, message })?;
                    self.transmit(front, to, message);
                }
                ElectionOutput::Changed(standing) if standing.role == Role::Leader => {
                    self.node_mut(front).published = standing.term;
                    self.journal.done("elections");
                }
                ElectionOutput::Changed(_) => {}
            }
        }
        Ok(())
    }

    fn planted(&self, front: FrontId, message: ElectionMessage) -> ElectionMessage {
        match message {
            ElectionMessage::VoteReply { term, granted: false }
                if self.plant == Some(Plant::VotesTwice)
                    && self.node(front).ballot().is_some_and(|ballot| ballot.term == term) =>
            {
                ElectionMessage::VoteReply { term, granted: true }
            }
            _ => message,
        }
    }

    fn write(&mut self, front: FrontId, ballot: Ballot) {
        let life = self.node(front).life;
        self.node_mut(front).writing = Some(ballot);
        let slow = !self.healed.contains(&front) && self.strikes(Fault::SlowDisk);
        let time = if slow { LONG } else { self.plan.disk };
        self.schedule(time, Event::Land(front, life, ballot));
        if self.healed.is_empty() && self.strikes(Fault::Crash) {
            self.schedule(2 * time, Event::Crash(front, life));
        }
        if self.plant == Some(Plant::PersistedTooEarly) {
            self.schedule(1, Event::Answer(front, life, ballot));
        }
    }

    fn transmit(&mut self, from: FrontId, to: FrontId, message: ElectionMessage) {
        if self.cut_until.get(&(from, to)).is_some_and(|&until| until > self.now) {
            return;
        }
        let event = Event::Deliver { from, to, message };
        let healed = self.healed.contains(&from) && self.healed.contains(&to);
        if !healed && self.strikes(Fault::Loss) {
            return;
        }
        let slow = !healed && self.strikes(Fault::Delay);
        self.schedule(if slow { LONG } else { self.plan.latency }, event);
        if !healed && self.strikes(Fault::Duplicate) {
            self.schedule(LONG, event);
        }
    }

    /// What may befall somebody does, and there will be another occasion.
    fn chaos(&mut self) -> Result<(), Failure> {
        if !self.healed.is_empty() {
            return Ok(());
        }
        self.schedule(self.plan.pace, Event::Chaos);
        let (one, other) = (self.target(), self.target());
        if self.strikes(Fault::Partition) {
            let sides = self.rng.next_u64();
            let time = 1 + self.rng.below(2 * LONG);
            for (from, to) in self.links().filter(|(a, b)| (sides >> a.0) & 1 != (sides >> b.0) & 1) {
                self.cut(from, to, time);
            }
        }
        if self.strikes(Fault::OneWay) {
            let time = 1 + self.rng.below(2 * LONG);
            self.cut(one, other, time);
        }
        if self.strikes(Fault::Flapping) {
            let times = self.rng.below(10);
            self.schedule(LONG, Event::Flap { from: one, to: other, times });
        }
        if self.strikes(Fault::Pause) {
            let time = Duration::from_nanos(self.rng.below(LONG));
            self.node_mut(one).paused_until = self.now + time;
        }
        if self.strikes(Fault::Crash) {
            self.crash(other)?;
        }
        if self.node(one).paused_until <= self.now && self.strikes(Fault::EarlyWake) {
            self.act(one, Election::wake)?;
        }
        Ok(())
    }

    /// The process dies, and another begins some time later.
    fn crash(&mut self, front: FrontId) -> Result<(), Failure> {
        let life = self.kill(front);
        self.schedule(LONG, Event::Start(front, life));
        let others_sound = self.nodes.iter().all(|node| node.disk != RecoveredBallot::Lost);
        if others_sound && self.strikes(Fault::LostBallot) {
            self.node_mut(front).disk = RecoveredBallot::Lost;
            self.judge(Happening::Lost(front))?;
        }
        Ok(())
    }

    /// The process dies; which life would be the next.
    fn kill(&mut self, front: FrontId) -> u64 {
        let written = self.rng.one_in(2);
        let goes_back = self.plant == Some(Plant::DiskGoesBack);
        let node = self.node_mut(front);
        node.election = None;
        node.life += 1;
        let (life, writing) = (node.life, node.writing.take());
        match writing {
            Some(ballot) if written => node.store(ballot),
            _ if goes_back => node.disk = node.former,
            _ => {}
        }
        if writing.is_some() {
            self.journal.fault(self.now, if written { Fault::CrashWritten } else { Fault::CrashUnwritten });
        }
        life
    }

    fn start(&mut self, front: FrontId) -> Result<(), Failure> {
        let seed = self.rng.next_u64();
        let (now, plant) = (self.now, self.plant);
        let node = self.node(front);
        // A cluster of one has nobody else to learn its term from; the others may know it or not.
        let floor = if self.nodes.len() == 1 || seed.is_multiple_of(2) { node.published } else { 0 };
        let recovered = match node.disk {
            RecoveredBallot::Lost if plant == Some(Plant::LossForgotten) => RecoveredBallot::Fresh,
            disk => disk,
        };
        let election = Election::new(self.plan.config(front, seed, floor), recovered);
        let node = self.node_mut(front);
        (node.began, node.paused_until) = (now, now);
        node.election = Some(election);
        node.lease_without_end = plant == Some(Plant::LeaseWithoutEnd);
        self.judge(Happening::Started(front))?;
        self.drain(front)
    }

    /// A majority works and reaches each other from now on; the rest is dead, cut off or a nuisance for ever. A
    /// front that lost its ballot needs all others.
    fn heal(&mut self) {
        let sound = self.nodes.iter().all(|node| node.disk != RecoveredBallot::Lost);
        let (now, majority) = (self.now, self.config.majority() as u64);
        let left = if sound { self.rng.below(self.nodes.len() as u64 - majority + 1) } else { 0 };
        let mut healed: Vec<_> = self.fronts().collect();
        for _ in 0..left {
            let front = healed.remove(self.rng.below(healed.len() as u64) as usize);
            match self.rng.below(3) {
                0 => {
                    self.kill(front);
                }
                _ => self.schedule(LONG, Event::Drift(front)),
            }
        }
        for &front in &healed {
            let node = self.node_mut(front);
            node.paused_until = node.paused_until.min(now);
        }
        self.cut_until.retain(|(from, to), _| !(healed.contains(from) && healed.contains(to)));
        self.healed = healed;
    }

    /// A front that is not healed: cut off for ever, in one direction or both, or for a while and again later.
    fn lose_touch(&mut self, front: FrontId) {
        let kind = self.rng.below(6);
        // Long enough that, had it led, somebody else does.
        let while_cut = self.config.timeout.end.as_nanos() as u64 * 4;
        let time = if kind < 3 { u64::MAX } else { while_cut };
        for other in self.fronts().filter(|&other| other != front) {
            if kind != 1 {
                self.cut(front, other, time);
            }
            if kind != 2 {
                self.cut(other, front, time);
            }
        }
        if kind >= 3 {
            self.journal.fault(self.now, Fault::Flapping);
            let at = self.now + Duration::from_nanos(while_cut + self.rng.below(LONG));
            self.heap.push(at, Event::Drift(front));
        }
    }

    fn cut(&mut self, from: FrontId, to: FrontId, nanos: u64) {
        let until = if nanos == u64::MAX { FOR_EVER } else { self.now + Duration::from_nanos(nanos) };
        let end = self.cut_until.entry((from, to)).or_insert(until);
        *end = until.max(*end);
    }

    fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = self.plan.strikes(fault, &mut self.rng);
        if strikes {
            self.journal.fault(self.now, fault);
        }
        strikes
    }

    fn fronts(&self) -> impl Iterator<Item = FrontId> + use<> {
        (0..self.plan.fronts).map(FrontId)
    }

    fn links(&self) -> impl Iterator<Item = (FrontId, FrontId)> + use<> {
        let fronts = self.plan.fronts;
        (0..fronts).flat_map(move |from| (0..fronts).map(move |to| (FrontId(from), FrontId(to))))
    }

    /// Whom a fault hits: whoever leads, half of the time.
    fn target(&mut self) -> FrontId {
        let somebody = FrontId(self.rng.below(u64::from(self.plan.fronts)) as u8);
        let leader = self.nodes.iter().find(|node| node.leads()).map(|node| node.id);
        leader.filter(|_| self.rng.one_in(2)).unwrap_or(somebody)
    }

    fn node(&self, front: FrontId) -> &Node {
        &self.nodes[usize::from(front.0)]
    }

    fn node_mut(&mut self, front: FrontId) -> &mut Node {
        &mut self.nodes[usize::from(front.0)]
    }

    /// Has `event` happen within `most` nanoseconds.
    fn schedule(&mut self, most: u64, event: Event) {
        let at = self.now + Duration::from_nanos(1 + self.rng.below(most.max(1)));
        self.heap.push(at, event);
    }

    fn judge(&mut self, happening: Happening) -> Result<(), Failure> {
        let mut oracles = std::mem::take(&mut self.oracles);
        let view = self.view();
        let verdict = oracles.iter_mut().try_for_each(|oracle| {
            oracle.watch(happening, &view).map_err(|what| self.failure(oracle.name(), what))
        });
        self.oracles = oracles;
        verdict
    }

    fn view(&self) -> View<'_> {
        View { now: self.now, nodes: &self.nodes, config: &self.config, healed: &self.healed }
    }

    fn failure(&self, oracle: &'static str, what: String) -> Failure {
        Failure { oracle, what: format!("{what} (at {:?})", self.now) }
    }
}
