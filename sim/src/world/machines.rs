//! The real machines, as a world starts them, and the process that runs one: the machine and, if the world has
//! one, its planted bug.

use std::collections::VecDeque;
use std::time::Duration;

use kollator_core::auth::SharedKey;
use kollator_core::machine::{Instant, Machine};
use kollator_core::node::front::{Front, FrontConfig};
use kollator_core::node::peer::{Peer, PeerConfig};
use kollator_core::node::worker::{Worker, WorkerConfig};

use super::plant::{Plant, Planter};
use super::{Input, Kind, Output, World};

/// The key that the front and the workers share.
const KEY: &[u8] = b"a key for worlds that are not real";

/// A running process.
pub(super) struct Process {
    machine: NodeMachine,
    planter: Option<Planter>,
    said: VecDeque<Output>,
    now: Instant,
}

enum NodeMachine {
    Front(Box<Front>),
    Worker(Box<Worker>),
    Peer(Box<Peer>),
}

impl Process {
    pub(super) fn handle(&mut self, now: Instant, input: Input) {
        self.now = now;
        if let Some(planter) = &self.planter {
            planter.hears(&input, &mut self.said);
        }
        match (&mut self.machine, input) {
            (NodeMachine::Front(front), Input::Front(input)) => front.handle(now, input),
            (NodeMachine::Worker(worker), Input::Worker(input)) => worker.handle(now, input),
            (NodeMachine::Peer(peer), Input::Peer(input)) => peer.handle(now, input),
            (_, input) => panic!("{input:?} is not for this machine"),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.said.pop_front() {
                return Some(output);
            }
            let output = match &mut self.machine {
                NodeMachine::Front(front) => front.poll().map(Output::Front),
                NodeMachine::Worker(worker) => worker.poll().map(Output::Worker),
                NodeMachine::Peer(peer) => peer.poll().map(Output::Peer),
            }?;
            match &mut self.planter {
                Some(planter) => planter.says(output, &mut self.said),
                None => return Some(output),
            }
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        let next = match &self.machine {
            NodeMachine::Front(front) => front.next_wake(),
            NodeMachine::Worker(worker) => worker.next_wake(),
            NodeMachine::Peer(peer) => peer.next_wake(),
        };
        match &self.planter {
            Some(planter) => planter.wakes(self.now, next),
            None => next,
        }
    }

    /// Most blocks that it takes in one ask that does not come over a data channel, if it takes any.
    pub(super) fn ask_blocks(&self) -> Option<u16> {
        match &self.machine {
            NodeMachine::Worker(worker) => Some(worker.ask_blocks()),
            NodeMachine::Front(_) | NodeMachine::Peer(_) => None,
        }
    }

    /// How many connections the machine believes to have, where it says so.
    pub(super) fn sessions(&self) -> Option<usize> {
        match &self.machine {
            NodeMachine::Front(_) => None,
            NodeMachine::Worker(worker) => Some(worker.channels()),
            NodeMachine::Peer(peer) => Some(peer.channels()),
        }
    }
}

impl World {
    /// A fresh process for a node.
    pub(super) fn build(&mut self, node: usize) -> Process {
        let seed = self.rng.next_u64();
        let plan = &self.truth.nodes[node];
        let key = SharedKey::new(KEY).expect("the key is long enough");
        let machine = match plan.kind {
            Kind::Front => {
                let config = FrontConfig::new(key, self.unix_ms(), seed);
                NodeMachine::Front(Box::new(Front::new(config)))
            }
            Kind::Worker => {
                let (id, name) = (self.nodes[node].id, format!("worker-{node}"));
                let http = self.truth.worker_url(node).to_string();
                let mut config = WorkerConfig::new(id, name, http, key, self.unix_ms(), seed);
                config.capacity = plan.capacity;
                config.max_sessions = plan.max_sessions;
                config.store.cache_bytes = plan.cache_bytes;
                config.upload.limit = plan.upload_limit;
                let mut worker = Worker::new(config);
                let ages = self.nodes[node].cache.keys().map(|chunk| (*chunk, Duration::ZERO));
                worker.recovered(ages);
                NodeMachine::Worker(Box::new(worker))
            }
            Kind::Peer => {
                let mut config = PeerConfig::new(self.nodes[node].id, seed, plan.fronts);
                config.http = plan.http;
                config.max_buffered = plan.max_buffered;
                (config.upload.limit, config.download_limit) = (plan.upload_limit, plan.download_limit);
                if self.plant == Some(Plant::Limitless) {
                    (config.upload.limit, config.download_limit) = (0, 0);
                }
                if self.plant == Some(Plant::Greedy) {
                    config.max_buffered = u64::MAX / 2;
                }
                NodeMachine::Peer(Box::new(Peer::new(config)))
            }
        };
        Process { machine, planter: self.plant.map(Planter::new), said: VecDeque::new(), now: Instant::ZERO }
    }
}
