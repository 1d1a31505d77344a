//! What the workers of this front are told of all workers, so that they agree on the home of each chunk. Changes are
//! gathered, and passed on to a few workers at a time: a storm of them costs no more than a round of messages a second.
//! Decides nothing about clients, and tells peers nothing.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use super::ClientId;
use super::assign::Assignment;
use crate::machine::Instant;
use crate::wire::signal::{FromFront, MAX_NEWS, Neighbour, WorkersNews};

/// Least time between the beginnings of two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// Time between two steps of a round.
const STEP: Duration = Duration::from_millis(20);
/// Workers that are told in one step.
const AT_ONCE: usize = 32;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    /// What every worker knows, or is about to be told in this round.
    told: BTreeMap<String, Neighbour>,
    /// There may be something to tell that is not in this round.
    is_stale: bool,
    /// When the next step may be.
    next: Instant,
    round: Option<Round>,
}

/// Telling every worker what changed.
#[derive(Debug)]
struct Round {
    begun: Instant,
    texts: Vec<String>,
    /// The worker that was told last: the others follow by name.
    last: Option<String>,
}

impl Neighbours {
    /// The workers may be others than they were.
    pub(super) const fn changed(&mut self) {
        self.is_stale = true;
    }

    /// What a worker is told that was welcomed just now.
    pub(super) fn all(&self) -> Vec<String> {
        pages(true, self.told.values().cloned().collect(), Vec::new())
    }

    /// What to send to whom, if it is time. `workers` are those connected to this front.
    pub(super) fn step(
        &mut self,
        now: Instant,
        assignment: &Assignment,
        workers: &BTreeMap<String, ClientId>,
    ) -> Vec<(ClientId, String)> {
        if self.next_wake().is_none_or(|at| at > now) {
            return Vec::new();
        }
        let mut round = self.round.take().unwrap_or_else(|| self.begin(now, assignment));
        let from = round.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let batch: Vec<_> = workers.range((from, Bound::Unbounded)).take(AT_ONCE).collect();
        let said =
            batch.iter().flat_map(|(_, client)| round.texts.iter().map(|text| (**client, text.clone()))).collect();
        self.next = now + STEP;
        match batch.last() {
            Some((last, _)) if batch.len() == AT_ONCE => {
                round.last = Some((*last).clone());
                self.round = Some(round);
            }
            _ => self.next = self.next.max(round.begun + PAUSE),
        }
        said
    }

    /// When to call [`Self::step`].
    pub(super) fn next_wake(&self) -> Option<Instant> {
        (self.is_stale || self.round.is_some()).then_some(self.next)
    }

    fn begin(&mut self, begun: Instant, assignment: &Assignment) -> Round {
        self.is_stale = false;
        let now: BTreeMap<String, Neighbour> =
            assignment.neighbours().map(|worker| (worker.name.clone(), worker)).collect();
        let before = std::mem::replace(&mut self.told, now);
        let come =
            self.told.values().filter(|worker| before.get(&worker.name) != Some(*worker)).cloned().collect();
        let gone = before.into_keys().filter(|name| !self.told.contains_key(name)).collect();
        Round { begun, texts: pages(false, come, gone), last: None }
    }
}

/// News in as many messages as it takes.
fn pages(mut anew: bool, come: Vec<Neighbour>, gone: Vec<String>) -> Vec<String> {
    let (mut come, mut gone) = (come.into_iter(), gone.into_iter());
    let mut texts = Vec::new();
    while anew || come.len() + gone.len() > 0 {
        let come: Vec<Neighbour> = come.by_ref().take(MAX_NEWS).collect();
        let gone = gone.by_ref().take(MAX_NEWS - come.len()).collect();
        texts.push(FromFront::Workers(WorkersNews { anew, come, gone }).to_text());
        anew = false;
    }
    texts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::assign::Usable;
    use super::*;
    use crate::id::{Digest, PeerId};
    use crate::ring::DEFAULT_REPLICAS;
    use crate::wire::signal::WorkerInfo;

    #[derive(Clone, Debug)]
    enum Op {
        /// These numbers of workers can be given to clients, at this capacity.
        Usable(u16, u16, u16),
        Connect(u16),
        Disconnect(u16),
        Pass(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            2 => (0..400u16, 0..400u16, 1..3u16).prop_map(|(from, count, capacity)| Op::Usable(from, count, capacity)),
            3 => (0..200u16).prop_map(Op::Connect),
            1 => (0..200u16).prop_map(Op::Disconnect),
            3 => (0..1500u64).prop_map(Op::Pass),
        ]
    }

    fn name(n: u16) -> String {
        format!("w{n:03}")
    }

    fn usable(n: u16, capacity: u16) -> Usable {
        let info = WorkerInfo { name: name(n), peer: PeerId(Digest([0; 32])), http: format!("http://w{n}") };
        Usable { capacity, region: String::new(), info: Arc::new(info), load: 0 }
    }

    /// A front's workers, and what each of them knows by what it was told.
    struct World {
        neighbours: Neighbours,
        assignment: Assignment,
        workers: BTreeMap<String, ClientId>,
        known: BTreeMap<ClientId, BTreeMap<String, Neighbour>>,
        now: Instant,
        next: u64,
        /// When each worker was sent to last, the snapshot of its welcome aside.
        rounds: BTreeMap<ClientId, Instant>,
    }

    impl World {
        fn new() -> Self {
            Self {
                neighbours: Neighbours::default(),
                assignment: Assignment::new(DEFAULT_REPLICAS, String::new()),
                workers: BTreeMap::new(),
                known: BTreeMap::new(),
                now: Instant::ZERO,
                next: 0,
                rounds: BTreeMap::new(),
            }
        }

        fn hear(&mut self, client: ClientId, text: &str) {
            let Ok(FromFront::Workers(news)) = FromFront::parse(text.as_bytes()) else { panic!("{text}") };
            let known = self.known.get_mut(&client).expect("told is who is there");
            if news.anew {
                known.clear();
            }
            news.gone.iter().for_each(|name| {
                known.remove(name);
            });
            known.extend(news.come.into_iter().map(|worker| (worker.name.clone(), worker)));
        }

        fn step(&mut self) {
            let said = self.neighbours.step(self.now, &self.assignment, &self.workers);
            let told: BTreeSet<ClientId> = said.iter().map(|(client, _)| *client).collect();
            assert!(told.len() <= AT_ONCE, "{} are told at once", told.len());
            for client in told {
                let before = self.rounds.insert(client, self.now);
                assert!(before.is_none_or(|before| self.now.since(before) + 13 * STEP >= PAUSE), "told too often");
            }
            said.into_iter().for_each(|(client, text)| self.hear(client, &text));
            assert!(self.neighbours.next_wake().is_none_or(|at| at > self.now), "a wake-up lies ahead");
        }

        fn pass(&mut self, time: Duration) {
            let until = self.now + time;
            while let Some(at) = self.neighbours.next_wake().filter(|at| *at <= until) {
                self.now = at;
                self.step();
            }
            self.now = until;
        }

        fn work(&mut self, op: Op) {
            match op {
                Op::Usable(from, count, capacity) => {
                    let workers = (from..from + count).map(|n| (name(n), usable(n, capacity))).collect();
                    if self.assignment.update(workers) {
                        self.neighbours.changed();
                    }
                    self.step();
                }
                Op::Connect(n) => {
                    self.next += 1;
                    let client = ClientId(self.next);
                    self.known.insert(client, BTreeMap::new());
                    self.workers.insert(name(n), client);
                    self.neighbours.all().iter().for_each(|text| self.hear(client, text));
                }
                Op::Disconnect(n) => {
                    self.workers.remove(&name(n));
                }
                Op::Pass(ms) => self.pass(Duration::from_millis(ms)),
            }
        }
    }

    proptest! {
        /// Whatever came and went, two rounds later every worker knows exactly the workers that there are; and nobody
        /// is told more often than once a round, or all at once.
        #[test]
        fn every_worker_knows_the_others_in_the_end(ops in vec(op(), 1..120)) {
            let mut world = World::new();
            ops.into_iter().for_each(|op| world.work(op));
            world.pass(Duration::from_secs(4));
            let truth: BTreeMap<String, Neighbour> =
                world.assignment.neighbours().map(|worker| (worker.name.clone(), worker)).collect();
            for client in world.workers.values() {
                prop_assert_eq!(&world.known[client], &truth);
            }
        }
    }
}
