//! Which worker serves which network: the ring of the workers that can be given to clients, as this front sees
//! it, and how much each of them has to do. Knows no client and no other front.
//!
//! The ring names a worker for every network, its home. A newcomer whose home has far more to do than most, or has no
//! room, is given the next worker on the ring that has not (consistent hashing with bounded loads, Mirrokni et al.
//! 2018). Whoever has a worker keeps it, whatever its load: moving clients would only add to the load.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ring::{Key, Ring};
use crate::wire::signal::{FULL, Neighbour, WorkerInfo};

/// Workers that are looked at for one with less to do; then the one of all that has least to do is taken.
const LOOKED_AT: usize = 16;
/// A worker whose load is above the mean by a quarter, and by so many points more, is spared newcomers. The points are
/// there so that a network with little to do follows its ring.
const SLACK: u32 = 20;

/// A worker that clients can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Usable {
    pub(super) capacity: u16,
    pub(super) region: String,
    pub(super) info: Arc<WorkerInfo>,
    /// In percent; at [`FULL`] it turns newcomers away.
    pub(super) load: u8,
}

impl Usable {
    /// Whether this is the same worker at the same place, however much it has to do.
    fn is_placed_as(&self, other: &Self) -> bool {
        (self.capacity, &self.region, &self.info) == (other.capacity, &other.region, &other.info)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Assignment {
    ring: Ring,
    /// The region whose workers come first; empty: all are alike.
    region: String,
    /// Those of the region; none if there is no region.
    near: Ring,
    workers: BTreeMap<String, Usable>,
    /// The load above which a worker is spared newcomers.
    bound: u32,
    /// Name of the worker that has least to do.
    idlest: Option<String>,
}

impl Assignment {
    pub(super) fn new(replicas: u32, region: String) -> Self {
        let (ring, near) = (Ring::new(replicas), Ring::new(replicas));
        Self { ring, region, near, workers: BTreeMap::new(), bound: 0, idlest: None }
    }

    /// Takes these workers, and no others; whether clients that have a worker may need another.
    pub(super) fn update(&mut self, workers: BTreeMap<String, Usable>) -> bool {
        let same = |((old_name, old), (new_name, new)): ((&String, &Usable), (&String, &Usable))| {
            old_name == new_name && old.is_placed_as(new)
        };
        let moved = workers.len() != self.workers.len() || !self.workers.iter().zip(&workers).all(same);
        if moved {
            self.ring.replace(workers.iter().map(|(name, worker)| (name.as_str(), worker.capacity)));
            let is_near =
                |(_, worker): &(&String, &Usable)| !self.region.is_empty() && worker.region == self.region;
            let near = workers.iter().filter(is_near);
            self.near.replace(near.map(|(name, worker)| (name.as_str(), worker.capacity)));
        }
        self.workers = workers;
        let sum: u32 = self.workers.values().map(|worker| u32::from(worker.load)).sum();
        self.bound = SLACK + sum * 5 / 4 / (self.workers.len() as u32).max(1);
        self.idlest = self.workers.iter().min_by_key(|(_, worker)| worker.load).map(|(name, _)| name.clone());
        moved
    }

    /// The worker that serves a newcomer from `ip`.
    pub(super) fn for_newcomer(&self, ip: IpAddr) -> Option<&Arc<WorkerInfo>> {
        let home = self.home(ip)?;
        let name = if self.is_light(home) { home } else { self.open_one(ip, |_| true).unwrap_or(home) };
        Some(&self.workers[name].info)
    }

    /// The worker that serves a client from `ip` which has `current`: that one, as long as it can be given to clients,
    /// unless it is not its home and its home would take it as a newcomer.
    pub(super) fn for_client(&self, ip: IpAddr, current: Option<&WorkerInfo>) -> Option<&Arc<WorkerInfo>> {
        let newcomer = self.for_newcomer(ip)?;
        let current = current.and_then(|current| {
            let worker = self.workers.get(&current.name)?;
            (*worker.info == *current).then_some(&worker.info)
        });
        let is_home = |info: &Arc<WorkerInfo>| self.home(ip) == Some(info.name.as_str());
        match current {
            Some(current) if is_home(current) || !is_home(newcomer) => Some(current),
            _ => Some(newcomer),
        }
    }

    /// A worker with room for a client from `ip`, other than the one named.
    pub(super) fn another(&self, ip: IpAddr, than: &str) -> Option<&Arc<WorkerInfo>> {
        let name = self.open_one(ip, |name| name != than)?;
        Some(&self.workers[name].info)
    }

    /// The workers that clients can be given, as workers see each other, by name.
    pub(super) fn neighbours(&self) -> impl Iterator<Item = Neighbour> {
        self.workers.values().map(|worker| Neighbour {
            name: worker.info.name.clone(),
            capacity: worker.capacity,
            http: worker.info.http.clone(),
        })
    }

    /// Workers that clients can be given.
    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    /// The first on the ring in this front's region, or the first of all if none is.
    fn home(&self, ip: IpAddr) -> Option<&str> {
        let key = Key::of_client(ip);
        self.near.owner(key).or_else(|| self.ring.owner(key))
    }

    /// A worker with room: near ones before others, then those with not much to do, then by the ring.
    fn open_one<'a>(&'a self, ip: IpAddr, fits: impl Fn(&str) -> bool) -> Option<&'a str> {
        let key = Key::of_client(ip);
        let fit = |name: &&str| fits(name) && self.is_open(name);
        let light = |name: &&str| fit(name) && self.is_light(name);
        let first = |ring: &'a Ring| {
            let looked_at = || ring.owners(key).take(LOOKED_AT);
            looked_at().find(light).or_else(|| looked_at().find(fit))
        };
        first(&self.near).or_else(|| first(&self.ring)).or_else(|| self.idlest.as_deref().filter(fit))
    }

    fn is_open(&self, name: &str) -> bool {
        self.workers[name].load < FULL
    }

    fn is_light(&self, name: &str) -> bool {
        self.is_open(name) && u32::from(self.workers[name].load) <= self.bound
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;
    use crate::id::{Digest, PeerId};

    /// Capacity, whether it is near, load.
    type Members = BTreeMap<String, (u16, bool, u8)>;

    fn members() -> impl Strategy<Value = Members> {
        let load = prop_oneof![Just(0), Just(FULL), 0..=FULL];
        btree_map("[a-d]{1,2}", (1..=300u16, any::<bool>(), load), 0..8)
    }

    fn workers(members: &Members) -> BTreeMap<String, Usable> {
        let worker = |(name, (capacity, near, load)): (&String, &(u16, bool, u8))| {
            let peer = PeerId(Digest([name.len() as u8; 32]));
            let info = Arc::new(WorkerInfo { name: name.clone(), peer, http: format!("http://{name}") });
            let region = if *near { "here".to_owned() } else { "there".to_owned() };
            (name.clone(), Usable { capacity: *capacity, region, info, load: *load })
        };
        members.iter().map(worker).collect()
    }

    /// The names in the order in which a front of `region` prefers them, on a fresh ring.
    fn preferred(members: &Members, region: &str, ip: IpAddr) -> Vec<String> {
        let mut ring = Ring::new(20);
        members.iter().for_each(|(name, (capacity, ..))| ring.insert(name, *capacity));
        let all: Vec<String> = ring.owners(Key::of_client(ip)).map(str::to_owned).collect();
        let (near, far): (Vec<String>, Vec<String>) =
            all.into_iter().partition(|name| region.is_empty() || members[name].1);
        near.into_iter().chain(far).collect()
    }

    fn limit(members: &Members) -> f64 {
        let sum: f64 = members.values().map(|(.., load)| f64::from(*load)).sum();
        sum / members.len().max(1) as f64 * 1.25 + 20.0
    }

    proptest! {
        /// Whatever was there before, what is there now decides.
        #[test]
        fn a_newcomer_gets_the_first_that_has_not_too_much_to_do(
            before in members(), after in members(), ip: [u8; 4],
        ) {
            let ip = IpAddr::from(ip);
            for region in ["", "here"] {
                let mut assignment = Assignment::new(20, region.to_owned());
                assignment.update(workers(&before));
                let placed = |members: &Members| -> Vec<_> {
                    members.iter().map(|(name, (capacity, near, _))| (name.clone(), *capacity, *near)).collect()
                };
                prop_assert_eq!(assignment.update(workers(&after)), placed(&before) != placed(&after));
                let names = preferred(&after, region, ip);
                let got = assignment.for_newcomer(ip).map(|info| info.name.clone());
                let is_light = |name: &String| after[name].2 < FULL && f64::from(after[name].2) <= limit(&after);
                let is_near = |name: &String| region.is_empty() || after[name].1;
                // Near and light, near with room, any light, any with room; the home if none has room.
                let right = names
                    .iter()
                    .find(|name| is_near(name) && is_light(name))
                    .or_else(|| names.iter().find(|name| !region.is_empty() && is_near(name) && after[*name].2 < FULL))
                    .or_else(|| names.iter().find(|name| is_light(name)))
                    .or_else(|| names.iter().find(|name| after[*name].2 < FULL))
                    .or(names.first());
                prop_assert_eq!(got.as_ref(), right);
                if let Some(home) = names.first() {
                    let another = assignment.another(ip, home).map(|info| info.name.clone());
                    let any_other = names.iter().any(|name| name != home && after[name].2 < FULL);
                    prop_assert_eq!(another.is_some(), any_other);
                    if let Some(another) = another {
                        prop_assert!(another != *home && after[&another].2 < FULL);
                    }
                }
            }
        }

        #[test]
        fn who_has_a_worker_keeps_it_until_it_goes_or_its_home_has_room(
            members in members(), current: prop::sample::Index, ip: [u8; 4],
        ) {
            prop_assume!(!members.is_empty());
            let ip = IpAddr::from(ip);
            let mut assignment = Assignment::new(20, String::new());
            let workers = workers(&members);
            assignment.update(workers.clone());
            let (name, worker) = workers.iter().nth(current.index(workers.len())).expect("one of them");
            let home = &preferred(&members, "", ip)[0];
            let newcomer = assignment.for_newcomer(ip).map(|info| info.name.clone());
            let kept = assignment.for_client(ip, Some(&worker.info)).map(|info| info.name.clone());
            let goes_home = newcomer.as_ref() == Some(home);
            prop_assert_eq!(kept.as_ref(), Some(if name != home && goes_home { home } else { name }));
            let gone = WorkerInfo { http: "http://elsewhere".into(), ..(*worker.info).clone() };
            for current in [None, Some(&gone)] {
                prop_assert_eq!(assignment.for_client(ip, current).map(|info| info.name.clone()), newcomer.clone());
            }
        }
    }

    /// Beyond the few that are looked at, the one with least to do is found.
    #[test]
    fn the_idlest_of_many_is_found() {
        let mut members: Members = (0..200).map(|n| (format!("w{n}"), (100, true, FULL))).collect();
        members.insert("w77".into(), (100, true, 99));
        let mut assignment = Assignment::new(20, String::new());
        assignment.update(workers(&members));
        for n in 0..50 {
            let got = assignment.for_newcomer(IpAddr::from([10, 0, n, 1])).map(|info| info.name.clone());
            assert_eq!(got.as_deref(), Some("w77"));
        }
    }
}
