//! What it costs to say which worker serves a newcomer, with a thousand workers on the ring.

use core::net::{IpAddr, Ipv4Addr};
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kollator_core::machine::Rng;
use kollator_core::ring::{DEFAULT_REPLICAS, Key, Ring};

const WORKERS: u32 = 1000;
/// A power of two, so that choosing one costs nothing.
const CLIENTS: usize = 1 << 16;

fn ring() -> Ring {
    let mut ring = Ring::new(DEFAULT_REPLICAS);
    (0..WORKERS).for_each(|n| ring.insert(&format!("worker-{n}"), 100));
    ring
}

/// Addresses of different networks, so that the processor's caches know none of the answers.
fn clients() -> Vec<IpAddr> {
    let mut rng = Rng::new(1);
    (0..CLIENTS).map(|_| Ipv4Addr::from_bits(rng.next_u64() as u32).into()).collect()
}

fn bench(c: &mut Criterion) {
    let (ring, clients) = (ring(), clients());
    let keys: Vec<Key> = clients.iter().map(|ip| Key::of_client(*ip)).collect();
    let mut group = c.benchmark_group("assignment, 1000 workers");
    let mut at = 0;
    let mut next = move || {
        at = (at + 1) % CLIENTS;
        at
    };
    group.bench_function("address to worker", |b| {
        b.iter(|| black_box(ring.owner(Key::of_client(clients[next()]))).is_some());
    });
    group.bench_function("key to worker", |b| b.iter(|| black_box(ring.owner(keys[next()])).is_some()));
    group.bench_function("key to worker and two to stand in", |b| {
        b.iter(|| ring.owners(keys[next()]).take(3).map(black_box).count());
    });
    group.finish();

    let mut group = c.benchmark_group("membership, 1000 workers");
    group.sample_size(10);
    let mut changing = ring.clone();
    group.bench_function("a worker leaves and comes back", |b| {
        b.iter(|| {
            changing.remove("worker-7");
            changing.insert("worker-7", 100);
        });
    });
    let names: Vec<String> = (0..WORKERS).map(|n| format!("worker-{n}")).collect();
    group.bench_function("all of them come at once", |b| {
        b.iter(|| {
            let mut ring = Ring::new(DEFAULT_REPLICAS);
            ring.replace(names.iter().map(|name| (name.as_str(), 100)));
            ring
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
