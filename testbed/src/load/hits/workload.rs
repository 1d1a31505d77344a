//! What is asked for: objects and the order of requests for them.
//!
//! Sizes are a small fraction of those of real chunks, and so is the cache: what is hit does not depend on the scale.

use kollator_core::machine::Rng;

use super::STORE_TO_CACHE;
use crate::load::zipf::Zipf;

/// The exponent of all Zipf distributions here.
const EXPONENT: f64 = 0.9;
/// Two blocks, which stand for a chunk of 4 MiB.
const CHUNK: u32 = 32 * 1024;
/// Requests between two scans, or two changes of what is liked.
const SPELL: usize = 2000;
/// How often an object is asked for that is asked for only while it is new.
const VISITS: usize = 5;
/// Requests for other objects between two such visits, on average.
const BETWEEN_VISITS: u64 = 100;
/// Objects that are asked for only while they are new: as many as this fit in the cache.
const NEW_IN_CACHE: u64 = 75;

/// Objects and requests.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    /// Whether nothing but a Zipf distribution that stays the same decides what is asked for.
    pub(super) is_zipf: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// So many objects of one size.
    Equal(usize),
    /// So many of all sizes from 128 bytes to a chunk, each doubling as likely as the next: most are small.
    Mixed(usize),
    /// As `Equal`, and now and then someone reads everything there is, once, in order.
    Scanned(usize),
    /// As `Equal`, and now and then what is liked changes altogether.
    Shifting(usize),
    /// Objects come one after the other, and each is asked for a few times soon after.
    New,
}

pub(super) const WORKLOADS: [Workload; 8] = [
    Workload { name: "Zipf, 75 chunks", is_zipf: true, kind: Kind::Equal(75) },
    Workload { name: "Zipf, 225 chunks", is_zipf: true, kind: Kind::Equal(225) },
    Workload { name: "Zipf, 900 chunks", is_zipf: true, kind: Kind::Equal(900) },
    Workload { name: "Zipf, 2,250 chunks", is_zipf: true, kind: Kind::Equal(2250) },
    Workload { name: "Zipf, 2,000 of mixed sizes", is_zipf: true, kind: Kind::Mixed(2000) },
    Workload { name: "Zipf, 225, scanned", is_zipf: false, kind: Kind::Scanned(225) },
    Workload { name: "Zipf, 225, shifting", is_zipf: false, kind: Kind::Shifting(225) },
    Workload { name: "read while new", is_zipf: false, kind: Kind::New },
];

impl Workload {
    /// The length of each object.
    pub(super) fn lengths(&self, requests: usize) -> Vec<u32> {
        match self.kind {
            Kind::Equal(objects) | Kind::Scanned(objects) | Kind::Shifting(objects) => vec![CHUNK; objects],
            Kind::Mixed(objects) => {
                let mut rng = Rng::new(0);
                let length = |_| {
                    let scale = 1 << rng.below(8);
                    CHUNK / scale - rng.below(u64::from(CHUNK / scale / 2)) as u32
                };
                (0..objects).map(length).collect()
            }
            Kind::New => vec![CHUNK; requests.div_ceil(VISITS)],
        }
    }

    /// Bytes of the cache, given those that each object takes in it.
    pub(super) fn cache_bytes(&self, lengths: &[u64]) -> u64 {
        match self.kind {
            Kind::New => lengths[0] * NEW_IN_CACHE,
            _ => lengths.iter().sum::<u64>() / STORE_TO_CACHE,
        }
    }

    /// The objects that are asked for, in order.
    pub(super) fn trace(&self, requests: usize, seed: u64) -> Vec<usize> {
        match self.kind {
            Kind::Equal(objects) | Kind::Mixed(objects) => Zipf::new(objects, EXPONENT).trace(requests, seed),
            Kind::Scanned(objects) => {
                let trace = Zipf::new(objects, EXPONENT).trace(requests, seed);
                trace.chunks(SPELL).flat_map(|spell| spell.iter().copied().chain(0..objects)).collect()
            }
            Kind::Shifting(objects) => {
                let trace = Zipf::new(objects, EXPONENT).trace(requests, seed);
                let mut rng = Rng::new(!seed);
                let mut liked: Vec<usize> = (0..objects).collect();
                let spells = trace.chunks(SPELL).map(|spell| {
                    shuffle(&mut liked, &mut rng);
                    spell.iter().map(|rank| liked[*rank]).collect::<Vec<_>>()
                });
                spells.flatten().collect()
            }
            Kind::New => {
                let mut rng = Rng::new(seed);
                let mut visits: Vec<(u64, usize)> = Vec::new();
                for object in 0..requests.div_ceil(VISITS) {
                    let come = (object * VISITS) as u64;
                    visits.push((come, object));
                    // Up to twice the average, so that it is the average.
                    let later = (1..VISITS).map(|_| (come + 1 + rng.below(2 * BETWEEN_VISITS), object));
                    visits.extend(later);
                }
                visits.sort_unstable();
                visits.into_iter().take(requests).map(|(_, object)| object).collect()
            }
        }
    }
}

/// Fisher and Yates.
fn shuffle(items: &mut [usize], rng: &mut Rng) {
    for at in (1..items.len()).rev() {
        items.swap(at, rng.below(at as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_for_an_object_there_is() {
        for workload in &WORKLOADS {
            let objects = workload.lengths(3000).len();
            let trace = workload.trace(3000, 1);
            assert!(trace.len() >= 3000 && trace.iter().all(|object| *object < objects), "{}", workload.name);
            assert_eq!(trace, workload.trace(3000, 1));
            assert_ne!(trace, workload.trace(3000, 2));
        }
    }

    #[test]
    fn most_of_the_mixed_sizes_are_small() {
        let lengths = Workload { name: "", is_zipf: true, kind: Kind::Mixed(2000) }.lengths(0);
        assert!(lengths.iter().all(|length| (128..=CHUNK).contains(length)));
        assert!(lengths.iter().filter(|length| **length < CHUNK / 8).count() > 1000);
    }
}
