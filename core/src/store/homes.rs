//! Which worker is the home of a chunk, and which workers are left alone because they failed. Policy only: it asks
//! nobody, and never looks at a byte.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::epoch::MAX_MEMBERS;
use crate::id::ChunkId;
use crate::machine::Instant;
use crate::ring::{Key, Ring};
use crate::wire::signal::{Neighbour, WorkersNews};

/// Virtual nodes of a worker with capacity 100 on the ring of chunks. Fewer than on the ring of clients, since every
/// worker has this one in memory; all of them must have the same number.
pub const HOME_REPLICAS: u32 = 40;

/// For how long a home is left alone that failed once; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// For how long one that has too much to do.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// For how long one that sent other bytes than it was asked for.
const LIAR_PAUSE: Duration = Duration::from_secs(3600);

/// Another worker, as chunks are asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Its name in the ring.
    pub name: String,
    /// Where it serves HTTP.
    pub http: String,
}

/// The ring of chunks, and who on it is left alone.
#[derive(Debug)]
pub(super) struct Homes {
    me: String,
    ring: Ring,
    workers: BTreeMap<String, (u16, Arc<Home>)>,
    /// At most [`MAX_MEMBERS`].
    avoided: BTreeMap<String, Avoided>,
}

#[derive(Clone, Copy, Debug)]
struct Avoided {
    until: Instant,
    /// Failures in a row.
    failures: u32,
}

impl Homes {
    /// A ring without members. `me` is our own name on it.
    pub(super) fn new(me: String) -> Self {
        Self { me, ring: Ring::new(HOME_REPLICAS), workers: BTreeMap::new(), avoided: BTreeMap::new() }
    }

    /// A front told which workers there are. Beyond [`MAX_MEMBERS`] none is taken in.
    pub(super) fn tell(&mut self, news: WorkersNews) {
        let WorkersNews { anew, come, gone } = news;
        if anew {
            self.workers.clear();
        }
        for name in &gone {
            self.workers.remove(name);
        }
        for Neighbour { name, capacity, http } in come {
            if self.workers.len() < MAX_MEMBERS || self.workers.contains_key(&name) {
                self.workers.insert(name.clone(), (capacity, Arc::new(Home { name, http })));
            }
        }
        self.ring.replace(self.workers.iter().map(|(name, (capacity, _))| (name.as_str(), *capacity)));
    }

    /// Workers on the ring, we ourselves included.
    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Workers that are left alone now.
    pub(super) fn avoided(&self, now: Instant) -> usize {
        self.avoided.values().filter(|avoided| avoided.until > now).count()
    }

    /// The worker to ask for a chunk: its home, unless that is ourselves or is left alone.
    pub(super) fn to_ask(&self, now: Instant, chunk: ChunkId) -> Option<Arc<Home>> {
        let name = self.ring.owner(place_of(chunk))?;
        let is_avoided = self.avoided.get(name).is_some_and(|avoided| avoided.until > now);
        (name != self.me && !is_avoided).then(|| self.workers[name].1.clone())
    }

    /// It answered as it should. What others of our questions to it came to before stays as it is.
    pub(super) fn went_well(&mut self, now: Instant, name: &str) {
        if self.avoided.get(name).is_some_and(|avoided| avoided.until <= now) {
            self.avoided.remove(name);
        }
    }

    /// It has too much to do.
    pub(super) fn is_busy(&mut self, now: Instant, name: &str) {
        let failures = self.avoided.get(name).map_or(0, |avoided| avoided.failures);
        self.avoid(now, name, BUSY_PAUSE, failures);
    }

    /// It did not answer, or not as it should. Questions that were under way together count once.
    pub(super) fn failed(&mut self, now: Instant, name: &str) {
        let before = self.avoided.get(name).copied();
        if before.is_some_and(|avoided| avoided.until > now) {
            return;
        }
        let failures = before.map_or(0, |avoided| avoided.failures);
        let pause = (FIRST_PAUSE * (1 << failures.min(6))).min(LONGEST_PAUSE);
        self.avoid(now, name, pause, failures.saturating_add(1));
    }

    /// It sent something else than what it was asked for.
    pub(super) fn lied(&mut self, now: Instant, name: &str) {
        let failures = self.avoided.get(name).map_or(0, |avoided| avoided.failures);
        self.avoid(now, name, LIAR_PAUSE, failures.saturating_add(1));
    }

    fn avoid(&mut self, now: Instant, name: &str, pause: Duration, failures: u32) {
        let until = now + pause;
        if let Some(avoided) = self.avoided.get_mut(name) {
            *avoided = Avoided { until: avoided.until.max(until), failures };
            return;
        }
        if self.avoided.len() >= MAX_MEMBERS {
            let first = self.avoided.iter().min_by_key(|(_, avoided)| avoided.until).map(|(name, _)| name.clone());
            self.avoided.remove(&first.expect("it is full"));
        }
        self.avoided.insert(name.to_owned(), Avoided { until, failures });
    }
}

/// Where a chunk falls on the ring: the first 8 bytes of its root, big-endian.
fn place_of(chunk: ChunkId) -> Key {
    Key(u64::from_be_bytes(chunk.root().0[..8].try_into().expect("eight of 32 bytes")))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::sha256;

    fn chunk(n: u64) -> ChunkId {
        ChunkId::new(sha256(&n.to_be_bytes()), 1, 0).expect("legal")
    }

    fn neighbour(n: u8, capacity: u16) -> Neighbour {
        Neighbour { name: format!("w{n}"), capacity, http: format!("http://w{n}-{capacity}") }
    }

    fn homes(me: u8, workers: impl IntoIterator<Item = u8>) -> Homes {
        let mut homes = Homes::new(format!("w{me}"));
        let come = workers.into_iter().map(|n| neighbour(n, 100)).collect();
        homes.tell(WorkersNews { anew: true, come, gone: Vec::new() });
        homes
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever was told before, who was told the same in the end names the same home; and only the home itself
        /// names none.
        #[test]
        fn workers_agree_on_the_home(
            news in vec((any::<bool>(), vec((0..6u8, 1..300u16), 0..4), vec(0..6u8, 0..3)), 0..8),
        ) {
            let mut told: BTreeMap<u8, u16> = BTreeMap::new();
            let mut ours = Homes::new("w0".into());
            for (anew, come, gone) in news {
                if anew {
                    told.clear();
                }
                gone.iter().for_each(|n| { told.remove(n); });
                told.extend(come.iter().copied());
                let come = come.into_iter().map(|(n, capacity)| neighbour(n, capacity)).collect();
                let gone = gone.into_iter().map(|n| format!("w{n}")).collect();
                ours.tell(WorkersNews { anew, come, gone });
            }
            let all: Vec<Neighbour> = told.iter().map(|(n, capacity)| neighbour(*n, *capacity)).collect();
            prop_assert_eq!(ours.len(), all.len());
            let everybody = (0..6).map(|me| {
                let mut theirs = Homes::new(format!("w{me}"));
                theirs.tell(WorkersNews { anew: true, come: all.clone(), gone: Vec::new() });
                theirs
            });
            let everybody: Vec<Homes> = everybody.collect();
            for n in 0..40 {
                let ask = |homes: &Homes| homes.to_ask(Instant::ZERO, chunk(n)).map(|home| home.http.clone());
                let named: Vec<_> = everybody.iter().map(ask).collect();
                prop_assert_eq!(ours.to_ask(Instant::ZERO, chunk(n)).map(|home| home.http.clone()), named[0].clone());
                let mut others: Vec<_> = named.iter().flatten().collect();
                others.dedup();
                prop_assert!(others.len() <= 1, "{:?}", named);
                if let Some(home) = others.first() {
                    let home: usize = home["http://w".len()..].split('-').next().unwrap().parse().unwrap();
                    prop_assert!(named.iter().enumerate().all(|(n, name)| name.is_none() == (n == home)));
                }
            }
        }

        /// However homes answer, no more are remembered than there may be on the ring.
        #[test]
        fn what_is_remembered_is_bounded(names in vec((0..3000u16, 0..3u8), 0..2500)) {
            let mut homes = homes(0, [0, 1]);
            for (n, how) in names {
                let name = format!("x{n}");
                match how {
                    0 => homes.failed(at(0), &name),
                    1 => homes.is_busy(at(0), &name),
                    _ => homes.lied(at(0), &name),
                }
            }
            prop_assert!(homes.avoided.len() <= MAX_MEMBERS);
        }
    }

    /// A chunk whose home is `w1`, as `w0` sees it.
    fn asked_of_w1(homes: &Homes) -> ChunkId {
        (0..).map(chunk).find(|chunk| homes.to_ask(Instant::ZERO, *chunk).is_some()).expect("half of all")
    }

    #[test]
    fn who_fails_is_left_alone_for_longer_and_longer() {
        let mut homes = homes(0, [0, 1]);
        let chunk = asked_of_w1(&homes);
        let mut now = at(0);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            // All that were under way together.
            (0..5).for_each(|_| homes.failed(now, "w1"));
            assert_eq!(homes.avoided(now), 1);
            assert!(homes.to_ask(now + Duration::from_millis(1000 * pause - 1), chunk).is_none());
            now = now + Duration::from_secs(pause);
            assert!(homes.to_ask(now, chunk).is_some());
        }
        homes.went_well(now, "w1");
        homes.failed(now, "w1");
        assert!(homes.to_ask(now + Duration::from_millis(999), chunk).is_none());
        assert!(homes.to_ask(now + Duration::from_secs(1), chunk).is_some(), "the past is forgiven");
    }

    #[test]
    fn a_liar_is_left_alone_for_an_hour_whatever_else_it_says_and_wherever_it_goes() {
        let mut homes = homes(0, [0, 1]);
        let chunk = asked_of_w1(&homes);
        homes.lied(at(0), "w1");
        homes.went_well(at(1), "w1");
        homes.is_busy(at(2), "w1");
        homes.failed(at(3), "w1");
        homes.tell(WorkersNews { anew: true, ..WorkersNews::default() });
        homes.tell(WorkersNews {
            anew: false,
            come: vec![neighbour(0, 100), neighbour(1, 100)],
            gone: Vec::new(),
        });
        assert!(homes.to_ask(at(3599), chunk).is_none());
        assert!(homes.to_ask(at(3600), chunk).is_some());
    }

    #[test]
    fn no_more_workers_are_taken_in_than_an_epoch_has() {
        let mut homes = Homes::new("w0".into());
        for page in 0..12 {
            let come =
                (0..100).map(|n| Neighbour { name: format!("x{page}-{n}"), capacity: 1, http: "http://x".into() });
            homes.tell(WorkersNews { anew: false, come: come.collect(), gone: Vec::new() });
        }
        assert_eq!(homes.len(), MAX_MEMBERS);
    }
}
