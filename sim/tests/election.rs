//! The election in thousands of hostile worlds. `SIM_SEEDS=n` says how many, `SIM_SEED=n` replays one.

use kollator_sim::election::oracle::{self, Oracle};
use kollator_sim::election::{Fault, Fired, Plant, run};

const SEEDS: u64 = 4_000;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

#[test]
#[expect(clippy::print_stdout, reason = "the numbers are what this test is read for")]
fn no_seed_breaks_the_election() {
    let seeds = match setting("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let complete = seeds.end - seeds.start >= 1_000;
    let (mut fired, mut events, mut elections, mut hours) = (Fired::default(), 0, 0, 0.0);
    for seed in seeds.clone() {
        match std::panic::catch_unwind(|| run(seed, None, oracle::all(), false)) {
            Ok(Ok(report)) => {
                fired.add(&report.fired);
                events += report.events;
                elections += report.elections;
                hours += report.lasted.as_secs_f64() / 3600.0;
            }
            Ok(Err(violation)) => panic!("{violation}\nreplay: {}", replay(seed)),
            Err(_) => panic!("a machine panicked\nreplay: {}", replay(seed)),
        }
    }
    println!("{} seeds, {hours:.1} simulated hours, {events} events, {elections} elections", seeds.count());
    for fault in Fault::ALL {
        println!("{:>10} {fault:?}", fired.of(fault));
        assert!(!complete || fired.of(fault) > 0, "{fault:?} never happened");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..50 {
        assert_eq!(run(seed, None, oracle::all(), true), run(seed, None, oracle::all(), true), "{}", replay(seed));
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the numbers are what this test is read for")]
fn every_oracle_sees_its_bug() {
    type Judge = fn() -> Box<dyn Oracle>;
    let bugs: [(Plant, Judge); 12] = [
        (Plant::VotesTwice, || Box::new(oracle::OneVoteATerm::default())),
        (Plant::VotesTwice, || Box::new(oracle::OneLeaderATerm::default())),
        (Plant::VotesTwice, || Box::new(oracle::VoteIsOnDisk::default())),
        (Plant::PersistedTooEarly, || Box::new(oracle::VoteIsOnDisk::default())),
        (Plant::PersistedTooEarly, || Box::new(oracle::OneVoteATerm::default())),
        (Plant::DiskGoesBack, || Box::new(oracle::BallotsRise::default())),
        (Plant::DiskGoesBack, || Box::new(oracle::OneLeaderATerm::default())),
        (Plant::LossForgotten, || Box::new(oracle::OneVoteATerm::default())),
        (Plant::LeaseIgnoresDrift, || Box::new(oracle::LeasesAreDisjoint)),
        (Plant::LeaseWithoutEnd, || Box::new(oracle::LeasesAreDisjoint)),
        (Plant::LeaseWithoutEnd, || Box::new(oracle::LeaseIsEarned::default())),
        (Plant::NeverStepsDown, || Box::new(oracle::OneLeaderInTheEnd::default())),
    ];
    for (plant, oracle) in bugs {
        let name = oracle().name();
        let seen =
            (0..20_000).find_map(|seed| Some((seed + 1, run(seed, Some(plant), vec![oracle()], false).err()?)));
        let (seeds, seen) = seen.unwrap_or_else(|| panic!("{name} does not see {plant:?}"));
        assert_eq!(seen.oracle, name, "{plant:?}: {seen}");
        println!("{plant:?}: {name} saw it after {seeds} seeds");
    }
}

fn replay(seed: u64) -> String {
    format!("SIM_SEED={seed} cargo test -p kollator-sim --test election")
}
