//! What the replicated table costs a front: 3 fronts, 1,000 workers' rows and 10,000 clients of each. No network; the
//! messages are made but not encoded.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kollator_core::cluster::FrontId;
use kollator_core::cluster::table::{Table, TableConfig, TableLimits};
use kollator_core::id::{Digest, PeerId};
use kollator_core::wire::sync::{MAX_ROWS_BYTES, RowKey, RowValue, WorkerRow};

const WORKERS: u32 = 1000;
const CLIENTS: u32 = 10_000;

fn peer(n: u32) -> PeerId {
    let mut id = [0; 32];
    // Spread over the keys as random names are.
    id[..4].copy_from_slice(&n.wrapping_mul(0x9E37_79B9).to_be_bytes());
    PeerId(Digest(id))
}

fn worker(n: u32) -> (RowKey, RowValue) {
    let row = WorkerRow {
        peer: peer(n),
        http: format!("http://192.0.2.1:{}", n + 1),
        capacity: 100,
        region: "eu-1".into(),
        since_ms: 1,
        alive: true,
        draining: false,
        load: 0,
    };
    (RowKey::Worker(format!("worker-{n}")), RowValue::Worker(row))
}

/// Three fronts that know all of each other.
fn fronts() -> Vec<Table> {
    let limits = TableLimits { rows: 20_000, tombstones: 4096, bytes: 8 << 20, part_bytes: MAX_ROWS_BYTES };
    let config = |me| TableConfig { me: FrontId(me), fronts: 3, incarnation: 1, limits };
    let mut fronts: Vec<Table> = (0..3).map(|me| Table::new(config(me))).collect();
    for (table, own) in fronts.iter_mut().zip(0u32..) {
        for n in 0..CLIENTS {
            table.put(RowKey::Client(peer(own * CLIENTS + n)), RowValue::Client { since_ms: 1 }).expect("room");
        }
        for (key, value) in (0..WORKERS).map(|n| worker(own * WORKERS + n)) {
            table.put(key, value).expect("room");
        }
    }
    for _ in 0..3 {
        exchange(&mut fronts, usize::MAX);
    }
    assert!(fronts.iter().all(|table| table.iter().count() == 3 * (WORKERS + CLIENTS) as usize));
    fronts
}

/// Every front's digest to every other, and the answers.
fn exchange(fronts: &mut [Table], budget: usize) {
    for from in 0..fronts.len() {
        let digest = fronts[from].digest();
        for to in (0..fronts.len()).filter(|to| *to != from) {
            fronts[to].hear(FrontId(from as u8), digest.clone()).expect("sound");
            for part in fronts[to].answer(FrontId(from as u8), budget) {
                fronts[from].apply(part).expect("sound");
            }
        }
    }
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("table");
    let mut tables = fronts();
    group.bench_function("look up a client", |b| {
        let key = RowKey::Client(peer(CLIENTS + 7));
        b.iter(|| black_box(&tables[0]).of(black_box(&key)).count());
    });
    group.bench_function("a round of digests with no news, 3 fronts", |b| {
        b.iter(|| exchange(&mut tables, MAX_ROWS_BYTES));
    });
    let mut since_ms = 1;
    group.bench_function("a change, and its news at two other fronts", |b| {
        b.iter(|| {
            since_ms += 1;
            let key = RowKey::Client(peer(since_ms as u32 % CLIENTS));
            tables[0].put(key, RowValue::Client { since_ms }).expect("room");
            for to in 1..3 {
                for part in tables[0].news(FrontId(to), MAX_ROWS_BYTES) {
                    let changes = tables[usize::from(to)].apply(part).expect("sound");
                    assert_eq!(changes.len(), 1, "it joins what is known");
                }
            }
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
