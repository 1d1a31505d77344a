//! Which worker serves which network: the ring of the workers that can be given to clients, as this front sees
//! it. Knows no client and no other front.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ring::{Key, Ring};
use crate::wire::signal::WorkerInfo;

/// A worker that clients can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Usable {
    pub(super) capacity: u16,
    pub(super) region: String,
    pub(super) info: Arc<WorkerInfo>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Assignment {
    ring: Ring,
    /// The region whose workers come first; empty: all are alike.
    region: String,
    workers: BTreeMap<String, Usable>,
}

impl Assignment {
    pub(super) fn new(replicas: u32, region: String) -> Self {
        Self { ring: Ring::new(replicas), region, workers: BTreeMap::new() }
    }

    /// Takes these workers, and no others; whether that changed anything for clients.
    pub(super) fn update(&mut self, workers: BTreeMap<String, Usable>) -> bool {
        if workers == self.workers {
            return false;
        }
        self.ring.replace(workers.iter().map(|(name, worker)| (name.as_str(), worker.capacity)));
        self.workers = workers;
        true
    }

    /// The worker that serves the network of `ip`: the first on the ring in this front's region, or the first of
    /// all if none is.
    pub(super) fn worker_for(&self, ip: IpAddr) -> Option<&Arc<WorkerInfo>> {
        let key = Key::of_client(ip);
        let near = |name: &&str| self.workers[*name].region == self.region;
        let first = if self.region.is_empty() { None } else { self.ring.owners(key).find(near) };
        let name = first.or_else(|| self.ring.owner(key))?;
        Some(&self.workers[name].info)
    }

    /// Workers that clients can be given.
    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;
    use crate::id::{Digest, PeerId};

    fn usable(name: &str, capacity: u16, region: &str) -> Usable {
        let peer = PeerId(Digest([name.len() as u8; 32]));
        let info = WorkerInfo { name: name.to_owned(), peer, http: format!("http://{name}") };
        Usable { capacity, region: region.to_owned(), info: Arc::new(info) }
    }

    type Members = BTreeMap<String, (u16, bool)>;

    fn members() -> impl Strategy<Value = Members> {
        btree_map("[a-d]{1,2}", (1..=300u16, any::<bool>()), 0..8)
    }

    fn workers(members: &Members) -> BTreeMap<String, Usable> {
        let worker = |(name, (capacity, near)): (&String, &(u16, bool))| {
            (name.clone(), usable(name, *capacity, if *near { "here" } else { "there" }))
        };
        members.iter().map(worker).collect()
    }

    proptest! {
        /// Whatever was there before, what is there now decides; the region comes first, the ring second.
        #[test]
        fn the_nearest_on_a_fresh_ring_of_the_region_serves(before in members(), after in members(), ip: [u8; 4]) {
            let ip = IpAddr::from(ip);
            for region in ["", "here"] {
                let mut assignment = Assignment::new(20, region.to_owned());
                assignment.update(workers(&before));
                prop_assert_eq!(assignment.update(workers(&after)), before != after);
                let ring = |near_only: bool| {
                    let mut ring = Ring::new(20);
                    for (name, (capacity, _)) in after.iter().filter(|(_, (_, near))| *near || !near_only) {
                        ring.insert(name, *capacity);
                    }
                    ring.owner(Key::of_client(ip)).map(str::to_owned)
                };
                let near = if region.is_empty() { None } else { ring(true) };
                let got = assignment.worker_for(ip).map(|info| info.name.clone());
                prop_assert_eq!(got, near.or_else(|| ring(false)));
            }
        }
    }
}
