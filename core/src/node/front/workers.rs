//! The workers connected to this front: what each said of itself, whether it answers, whether it is about to leave.
//! Says whom to probe and who died or came back; never sends, and never decides who serves whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cluster::health::{Change, Flaps, Health, HealthConfig, State};
use crate::machine::{Instant, Outbox};
use crate::wire::signal::WorkerInfo;

/// What is to be done about a worker, or known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterOutput {
    /// Send it a probe.
    Probe {
        /// Its name.
        name: Arc<str>,
    },
    /// It fell silent; it still counts.
    Suspect {
        /// Its name.
        name: Arc<str>,
    },
    /// It spoke again before it was dead.
    Cleared {
        /// Its name.
        name: Arc<str>,
    },
    /// It does not answer: nobody should be assigned to it any more.
    Dead {
        /// Its name.
        name: Arc<str>,
    },
    /// It answers again, and steadily: it counts again.
    Back {
        /// Its name.
        name: Arc<str>,
    },
}

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// As clients see it.
    pub info: Arc<WorkerInfo>,
    /// Its share of the ring.
    pub capacity: u16,
    /// Where it stands; empty if it does not say.
    pub region: String,
    /// Unix milliseconds of its hello, by its own clock.
    pub since_ms: u64,
}

/// A connected worker.
#[derive(Debug)]
pub struct Enrolled {
    /// What it says of itself.
    pub told: Enrolment,
    draining: bool,
    load: u8,
    health: Health,
    /// Its entry in `due`: when to look at it, at the latest.
    due_at: Instant,
}

impl Enrolled {
    /// Whether it answers.
    #[must_use]
    pub const fn state(&self) -> State {
        self.health.state()
    }

    /// Whether it is about to leave.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.draining
    }

    /// How much of what it can do is being done, in percent, as it said.
    #[must_use]
    pub const fn load(&self) -> u8 {
        self.load
    }

    /// Whether clients may be assigned to it.
    #[must_use]
    pub const fn is_serving(&self) -> bool {
        self.health.state().counts() && !self.draining
    }
}

/// A worker too many. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this front has as many workers as it takes")]
pub struct RosterFull;

/// The machine. See the module's documentation.
#[derive(Debug)]
pub struct WorkerRoster {
    config: HealthConfig,
    max_workers: usize,
    workers: BTreeMap<Arc<str>, Enrolled>,
    /// For each worker, a time before which it need not be looked at. Hearing one costs nothing here.
    due: BTreeSet<(Instant, Arc<str>)>,
    /// How often workers that are gone died, as far as it is not forgotten; at most `max_workers`.
    gone: BTreeMap<Arc<str>, Flaps>,
    out: Outbox<RosterOutput>,
}

impl WorkerRoster {
    /// A roster for up to `max_workers` workers.
    ///
    /// # Panics
    /// If the settings are out of range.
    #[must_use]
    pub fn new(config: HealthConfig, max_workers: usize) -> Self {
        let config = config.checked().unwrap_or_else(|bad| panic!("{bad}"));
        Self {
            config,
            max_workers,
            workers: BTreeMap::new(),
            due: BTreeSet::new(),
            gone: BTreeMap::new(),
            out: Outbox::default(),
        }
    }

    /// The next thing to do or to know.
    pub fn poll(&mut self) -> Option<RosterOutput> {
        self.out.pop()
    }

    /// Whether a worker of that name would be taken.
    #[must_use]
    pub fn has_room_for(&self, name: &str) -> bool {
        self.workers.len() < self.max_workers || self.workers.contains_key(name)
    }

    /// The worker of that name, if it is connected.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Enrolled> {
        self.workers.get(name)
    }

    /// All connected workers, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Enrolled)> {
        self.workers.iter()
    }

    /// How many are connected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether none is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// A worker was welcomed, perhaps in place of an older connection of its own. Says how it stands from now on:
    /// alive, or returning if it died too often lately. No output says so too.
    ///
    /// # Errors
    /// There is no room. Nothing changed.
    pub fn joined(&mut self, now: Instant, told: Enrolment) -> Result<State, RosterFull> {
        if !self.has_room_for(&told.info.name) {
            return Err(RosterFull);
        }
        if let Some(worker) = self.workers.get_mut(&*told.info.name) {
            worker.health.heard(now);
            (worker.told, worker.draining, worker.load) = (told, false, 0);
            return Ok(worker.state());
        }
        let name: Arc<str> = told.info.name.as_str().into();
        let health = Health::new(self.config, now, self.gone.remove(&name).unwrap_or_default());
        let due_at = health.next_wake();
        self.due.insert((due_at, Arc::clone(&name)));
        let worker = Enrolled { told, draining: false, load: 0, health, due_at };
        let state = worker.state();
        self.workers.insert(name, worker);
        Ok(state)
    }

    /// A worker's connection is gone: what was known of it. Unless it was draining, that counts as a death.
    pub fn left(&mut self, now: Instant, name: &str) -> Option<Enrolment> {
        let (name, worker) = self.workers.remove_entry(name)?;
        self.due.remove(&(worker.due_at, Arc::clone(&name)));
        let flaps = if worker.draining { worker.health.left() } else { worker.health.lost(now) };
        if flaps.recent(now, &self.config) > 0 {
            self.remember(now, name, flaps);
        }
        Some(worker.told)
    }

    /// A worker said something, whatever it was.
    pub fn heard(&mut self, now: Instant, name: &str) {
        let Some((name, _)) = self.workers.get_key_value(name) else { return };
        let name = Arc::clone(name);
        let change = self.workers.get_mut(&name).and_then(|worker| worker.health.heard(now));
        self.tell(name, change);
    }

    /// A worker says that it is about to leave; whether that is news.
    pub fn draining(&mut self, name: &str) -> bool {
        self.workers.get_mut(name).is_some_and(|worker| !std::mem::replace(&mut worker.draining, true))
    }

    /// A worker says how much of what it can do is being done, in percent; whether that is news.
    pub fn loaded(&mut self, name: &str, percent: u8) -> bool {
        self.workers.get_mut(name).is_some_and(|worker| std::mem::replace(&mut worker.load, percent) != percent)
    }

    /// Time passed.
    pub fn wake(&mut self, now: Instant) {
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            let (_, name) = self.due.pop_first().expect("it was there above");
            let worker = self.workers.get_mut(&name).expect("only connected workers are looked at");
            let woken = worker.health.wake(now);
            worker.due_at = worker.health.next_wake();
            self.due.insert((worker.due_at, Arc::clone(&name)));
            self.tell(Arc::clone(&name), woken.change);
            if woken.probe {
                self.out.push(RosterOutput::Probe { name });
            }
        }
    }

    /// When to call [`WorkerRoster::wake`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    fn tell(&mut self, name: Arc<str>, change: Option<Change>) {
        self.out.push(match change {
            None => return,
            Some(Change::Suspect) => RosterOutput::Suspect { name },
            Some(Change::Cleared) => RosterOutput::Cleared { name },
            Some(Change::Dead) => RosterOutput::Dead { name },
            Some(Change::Back) => RosterOutput::Back { name },
        });
    }

    fn remember(&mut self, now: Instant, name: Arc<str>, flaps: Flaps) {
        if self.gone.len() >= self.max_workers {
            self.gone.retain(|_, flaps| flaps.recent(now, &self.config) > 0);
        }
        if self.gone.len() >= self.max_workers
            && let Some(oldest) =
                self.gone.iter().min_by_key(|(_, flaps)| flaps.last()).map(|(name, _)| Arc::clone(name))
        {
            self.gone.remove(&oldest);
        }
        self.gone.insert(name, flaps);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::id::{Digest, PeerId};

    const MAX: usize = 3;

    fn enrolment(n: u8, since_ms: u64) -> Enrolment {
        let name = format!("w{n}");
        let info = WorkerInfo { http: format!("http://{name}"), name, peer: PeerId(Digest([n; 32])) };
        Enrolment { info: Arc::new(info), capacity: 100, region: String::new(), since_ms }
    }

    fn name(n: u8) -> Arc<str> {
        format!("w{n}").into()
    }

    fn drain(roster: &mut WorkerRoster) -> Vec<RosterOutput> {
        std::iter::from_fn(|| roster.poll()).collect()
    }

    /// Wakes the roster whenever it wants to be, up to `until`.
    fn pass(roster: &mut WorkerRoster, until: Instant) -> Vec<(Instant, RosterOutput)> {
        let mut said = Vec::new();
        while let Some(now) = roster.next_wake().filter(|at| *at <= until) {
            roster.wake(now);
            said.extend(drain(roster).into_iter().map(|output| (now, output)));
            assert!(roster.next_wake() > Some(now), "a wake-up lies ahead");
        }
        said
    }

    #[derive(Clone, Debug)]
    enum Op {
        Join(u8),
        Leave(u8),
        Hear(u8),
        Drain(u8),
        Load(u8, u8),
        Pass(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            2 => (0..5u8).prop_map(Op::Join),
            1 => (0..5u8).prop_map(Op::Leave),
            4 => (0..5u8).prop_map(Op::Hear),
            1 => (0..5u8).prop_map(Op::Drain),
            1 => (0..5u8, 0..3u8).prop_map(|(n, percent)| Op::Load(n, percent)),
            6 => prop_oneof![0..700u64, 0..70_000u64].prop_map(Op::Pass),
        ]
    }

    proptest! {
        /// Against one health for each worker, looked at every time that it wants to be.
        #[test]
        fn a_roster_is_a_health_for_each_worker(ops in vec(op(), 1..120)) {
            let config = HealthConfig::default();
            let mut roster = WorkerRoster::new(config, MAX);
            let mut model: BTreeMap<u8, (Health, bool, u8)> = BTreeMap::new();
            let mut gone: BTreeMap<u8, Flaps> = BTreeMap::new();
            let mut now = Instant::ZERO;
            for (count, op) in ops.into_iter().enumerate() {
                let mut expected = Vec::new();
                let tell = |n, change| match change {
                    Change::Suspect => RosterOutput::Suspect { name: name(n) },
                    Change::Cleared => RosterOutput::Cleared { name: name(n) },
                    Change::Dead => RosterOutput::Dead { name: name(n) },
                    Change::Back => RosterOutput::Back { name: name(n) },
                };
                match op {
                    Op::Join(n) => {
                        let told = enrolment(n, count as u64);
                        let full = model.len() == MAX && !model.contains_key(&n);
                        prop_assert_eq!(roster.has_room_for(&name(n)), !full);
                        let joined = roster.joined(now, told.clone());
                        if full {
                            prop_assert_eq!(joined, Err(RosterFull));
                        } else {
                            let flaps = gone.remove(&n).unwrap_or_default();
                            let (health, draining, load) =
                                model.entry(n).or_insert_with(|| (Health::new(config, now, flaps), false, 0));
                            health.heard(now);
                            (*draining, *load) = (false, 0);
                            prop_assert_eq!(joined, Ok(health.state()));
                            prop_assert_eq!(&roster.get(&name(n)).expect("it joined").told, &told);
                        }
                    }
                    Op::Leave(n) => {
                        let told = roster.left(now, &name(n));
                        let was = model.remove(&n);
                        prop_assert_eq!(told.is_some(), was.is_some());
                        if let Some((health, draining, _)) = was {
                            let flaps = if draining { health.left() } else { health.lost(now) };
                            gone.retain(|_, flaps| flaps.recent(now, &config) > 0);
                            if flaps.recent(now, &config) > 0 {
                                if gone.len() == MAX {
                                    // Names sort as numbers do.
                                    let oldest = *gone.iter().min_by_key(|(_, flaps)| flaps.last()).unwrap().0;
                                    gone.remove(&oldest);
                                }
                                gone.insert(n, flaps);
                            }
                        }
                    }
                    Op::Hear(n) => {
                        roster.heard(now, &name(n));
                        let change = model.get_mut(&n).and_then(|(health, ..)| health.heard(now));
                        expected.extend(change.map(|change| tell(n, change)));
                    }
                    Op::Drain(n) => {
                        let news = model.get_mut(&n).is_some_and(|(_, draining, _)| !std::mem::replace(draining, true));
                        prop_assert_eq!(roster.draining(&name(n)), news);
                    }
                    Op::Load(n, percent) => {
                        let before = model.get_mut(&n).map(|(.., load)| std::mem::replace(load, percent));
                        prop_assert_eq!(roster.loaded(&name(n), percent), before.is_some_and(|load| load != percent));
                    }
                    Op::Pass(ms) => {
                        let until = now + Duration::from_millis(ms);
                        let mut said = pass(&mut roster, until);
                        let mut expected = Vec::new();
                        for (n, (health, ..)) in &mut model {
                            while health.next_wake() <= until {
                                let now = health.next_wake();
                                let woken = health.wake(now);
                                expected.extend(woken.change.map(|change| (now, tell(*n, change))));
                                expected.extend(woken.probe.then(|| (now, RosterOutput::Probe { name: name(*n) })));
                            }
                        }
                        let order = |(at, output): &(Instant, RosterOutput)| (*at, format!("{output:?}"));
                        said.sort_by_key(order);
                        expected.sort_by_key(order);
                        prop_assert_eq!(said, expected);
                        now = until;
                    }
                }
                prop_assert_eq!(drain(&mut roster), expected);
                let states: Vec<_> = roster.iter().map(|(_, w)| (w.state(), w.is_draining(), w.load())).collect();
                let model_states: Vec<_> = model.values().map(|(health, d, load)| (health.state(), *d, *load)).collect();
                prop_assert_eq!(states, model_states);
                for (_, worker) in roster.iter() {
                    prop_assert!(worker.due_at <= worker.health.next_wake(), "nobody is looked at too late");
                    prop_assert_eq!(worker.is_serving(), worker.state().counts() && !worker.is_draining());
                }
                prop_assert_eq!((roster.len(), roster.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(roster.due.len(), model.len());
                prop_assert!(roster.gone.len() <= MAX);
                let remembered = |flaps: &Flaps| (flaps.recent(now, &config), flaps.last());
                let known: Vec<_> = roster.gone.values().map(remembered).filter(|(deaths, _)| *deaths > 0).collect();
                let expected: Vec<_> = gone.values().map(remembered).filter(|(deaths, _)| *deaths > 0).collect();
                prop_assert_eq!(known, expected, "deaths are remembered beyond a connection");
            }
        }
    }

    #[test]
    fn a_silent_worker_is_dead_after_a_second_and_back_when_it_speaks() {
        let mut roster = WorkerRoster::new(HealthConfig::default(), MAX);
        assert_eq!(roster.joined(Instant::ZERO, enrolment(1, 1)), Ok(State::Alive));
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let said = pass(&mut roster, at(1_000));
        let news: Vec<_> = said.iter().filter(|(_, o)| !matches!(o, RosterOutput::Probe { .. })).collect();
        let (suspect, dead) = (RosterOutput::Suspect { name: name(1) }, RosterOutput::Dead { name: name(1) });
        assert_eq!(news, [&(at(500), suspect), &(at(1_000), dead)]);
        assert_eq!(said.len() - news.len(), 4, "a probe every quarter of a second");
        assert!(!roster.get("w1").expect("it is connected").is_serving());
        roster.heard(at(1_100), "w1");
        assert_eq!(drain(&mut roster), [RosterOutput::Back { name: name(1) }]);
        assert!(roster.get("w1").expect("it is connected").is_serving());
    }

    #[test]
    fn who_keeps_breaking_its_connection_has_to_prove_itself() {
        let mut roster = WorkerRoster::new(HealthConfig::default(), MAX);
        for (round, expected) in [State::Alive, State::Alive, State::Returning].into_iter().enumerate() {
            let now = Instant::ZERO + Duration::from_secs(round as u64);
            assert_eq!(roster.joined(now, enrolment(1, 1)), Ok(expected));
            roster.left(now, "w1");
        }
        let now = Instant::ZERO + Duration::from_secs(500);
        assert_eq!(roster.joined(now, enrolment(1, 1)), Ok(State::Alive), "in time it is forgiven");
    }
}
