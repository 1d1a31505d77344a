//! The worker's store in thousands of hostile worlds. `SIM_SEEDS=n` says how many, `SIM_SEED=n` replays one.

use kollator_sim::store::oracle::{self, Oracle};
use kollator_sim::store::{Fault, Fired, Plant, run};

const SEEDS: u64 = 30_000;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

#[test]
fn no_seed_breaks_the_store() {
    let seeds = match setting("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let complete = seeds.end - seeds.start >= 1_000;
    let mut fired = Fired::default();
    for seed in seeds {
        match std::panic::catch_unwind(|| run(seed, None, oracle::all(), false)) {
            Ok(Ok(report)) => fired.add(&report.fired),
            Ok(Err(violation)) => panic!("{violation}\nreplay: {}", replay(seed)),
            Err(_) => panic!("the machine panicked\nreplay: {}", replay(seed)),
        }
    }
    for fault in Fault::ALL {
        assert!(!complete || fired.of(fault) > 0, "{fault:?} never happened");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..200 {
        assert_eq!(run(seed, None, oracle::all(), true), run(seed, None, oracle::all(), true), "{}", replay(seed));
    }
}

#[test]
fn every_oracle_sees_its_bug() {
    type Judge = fn() -> Box<dyn Oracle>;
    let bugs: [(Plant, Judge); 7] = [
        (Plant::StoredTooEarly, || Box::new(oracle::AcknowledgedChunkIsReadable::default())),
        (Plant::NeverRemoves, || Box::new(oracle::CacheWithinBudget)),
        (Plant::NeverRemoves, || Box::new(oracle::CacheIndexEqualsDisk)),
        (Plant::ServesRot, || Box::new(oracle::NothingUnverifiedIsServed)),
        (Plant::RecoversTorn, || Box::new(oracle::NothingUnverifiedIsServed)),
        (Plant::OverlooksFile, || Box::new(oracle::CacheIndexEqualsDisk)),
        (Plant::TooMuchMemory, || Box::new(oracle::MemoryWithinBound)),
    ];
    for (plant, oracle) in bugs {
        let name = oracle().name();
        let seen = (0..2_000).find_map(|seed| run(seed, Some(plant), vec![oracle()], false).err());
        let seen = seen.unwrap_or_else(|| panic!("{name} does not see {plant:?}"));
        assert_eq!(seen.oracle, name, "{plant:?}: {seen}");
    }
}

fn replay(seed: u64) -> String {
    format!("SIM_SEED={seed} cargo test -p kollator-sim --test store")
}
