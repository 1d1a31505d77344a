//! How often a worker's cache has what it is asked for: the real store, driven by a disk and a backing store that
//! answer at once, beside other policies on the same requests. Counting only: no clock, no files, no sockets.

mod replay;
mod report;
mod rivals;
mod workload;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::merkle::{VerifiedChunk, height_for, leaves, root};
use kollator_core::store::cached_len;

pub use self::report::{Report, Row, Share};
use self::rivals::Requests;
use self::workload::{WORKLOADS, Workload};

/// A cache holds one in so many bytes of the objects.
const STORE_TO_CACHE: u64 = 3;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Requests of each trace, scans not counted; at least one.
    pub requests: usize,
    /// Traces of each workload, with the seeds from 1 on; at least one.
    pub seeds: u64,
}

/// Carries out a plan.
///
/// # Panics
/// If the store answers a request wrongly, keeps more than it may, or the plan asks for nothing.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    assert!(plan.requests > 0 && plan.seeds > 0, "nothing to measure");
    Report { rows: WORKLOADS.iter().map(|workload| row(workload, plan)).collect() }
}

fn row(workload: &Workload, plan: &Plan) -> Row {
    let chunks: Vec<VerifiedChunk> =
        workload.lengths(plan.requests).into_iter().enumerate().map(|(n, length)| chunk(n, length)).collect();
    let lengths: Vec<u64> = chunks.iter().map(|chunk| cached_len(chunk.id())).collect();
    let cache_bytes = workload.cache_bytes(&lengths);
    let mut row = Row::new(workload.name, workload.is_zipf, chunks.len());
    for seed in 1..=plan.seeds {
        let trace = workload.trace(plan.requests, seed);
        let requests = Requests { trace: &trace, lengths: &lengths, cache_bytes };
        let share = |hits: usize| Share(hits as f64 / trace.len() as f64);
        row.store.push(share(replay::hits(&chunks, &trace, cache_bytes)));
        row.lru.push(share(requests.lru()));
        row.sieve.push(share(requests.sieve()));
        row.s3_fifo.push(share(requests.s3_fifo()));
        row.offline.push(share(requests.offline()));
        row.first.push(share(requests.first_ones()));
    }
    row
}

/// Object number `n`.
fn chunk(n: usize, length: u32) -> VerifiedChunk {
    let mut data = vec![0; length as usize];
    let name = (n as u64).to_be_bytes();
    let named = data.len().min(name.len());
    data[..named].copy_from_slice(&name[name.len() - named..]);
    let hashes = leaves(&data);
    let height = height_for(hashes.len() as u64);
    let id = ChunkId::new(root(&hashes, height, Digest::default()), length, height).expect("a legal chunk");
    VerifiedChunk::verify(id, Bytes::from(data)).expect("hashed just now")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_better_than_plain_lru_where_that_is_bad_and_close_to_it_where_it_is_good() {
        let report = run(&Plan { requests: 10_000, seeds: 1 });
        for row in &report.rows {
            let (store, lru) = (row.store[0].0, row.lru[0].0);
            let (first, offline) = (row.first[0].0, row.offline[0].0);
            assert!(store <= 1.0 - first, "{}: nobody has what was never asked for", row.name);
            assert!(lru <= offline, "{}: {lru} and at best {offline}", row.name);
            if row.is_zipf {
                assert!(store > 0.7 && store > lru, "{}: {store}, plain LRU {lru}", row.name);
            } else {
                assert!(store > lru - 0.02, "{}: {store}, plain LRU {lru}", row.name);
            }
        }
    }
}
