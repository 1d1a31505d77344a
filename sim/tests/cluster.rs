//! Clusters of fronts by the thousand: every seed must please every judge, every kind of fault must happen, every
//! judge must notice the bugs planted for it, and a seed must be one run, whoever runs it.
//!
//! `SIM_SEEDS=n` runs n seeds, `SIM_SEED=n` runs that one and tells all that happens.

#![allow(clippy::print_stdout, reason = "the tables are for people")]

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kollator_sim::cluster::{self, Fired, Plant, Report};

/// Set for the child process that repeats some seeds.
const CHILD: &str = "KOLLATOR_SIM_CHILD";
/// Seeds whose hashes are compared.
const REPEATED: u64 = 24;
/// Each planted bug is noticed within so many seeds.
const PATIENCE: u64 = 200;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, got {text:?}")))
}

/// Runs seeds on every core, in no order.
fn run_all(seeds: u64) -> Vec<Report> {
    let next = AtomicU64::new(0);
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let report = cluster::run(seed, None, None);
                    reports.lock().expect("no thread panics with it").push(report);
                }
            });
        }
    });
    let mut reports = reports.into_inner().expect("no thread panics with it");
    reports.sort_by_key(|report| report.seed);
    reports
}

fn describe(report: &Report) -> Option<String> {
    let Report { seed, failure: Some(failure), .. } = report else { return None };
    let replay = format!("SIM_SEED={seed} cargo test -p kollator-sim --test cluster clusters -- --nocapture");
    Some(format!("seed {seed}: {}: {}\n  replay: {replay}", failure.oracle, failure.what))
}

#[test]
fn clusters_please_every_judge() {
    if let Some(seed) = number("SIM_SEED") {
        let report = cluster::run(seed, None, Some(Box::new(|line| println!("{line}"))));
        assert!(report.failure.is_none(), "{}", describe(&report).unwrap_or_default());
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(2000);
    let reports = run_all(seeds);
    let mut fired = Fired::default();
    reports.iter().for_each(|report| fired.add(&report.fired));
    let events: u64 = reports.iter().map(|report| report.events).sum();
    println!("{fired}\n{seeds} seeds, {events} events");
    let failures: Vec<String> = reports.iter().filter_map(describe).collect();
    assert!(failures.is_empty(), "{} of {seeds} seeds failed\n{}", failures.len(), failures.join("\n"));
    assert!(seeds < 1000 || fired.missing().is_empty(), "never happened: {:?}", fired.missing());
}

#[test]
fn every_judge_notices_the_bugs_planted_for_it() {
    for plant in Plant::ALL {
        let caught = (0..PATIENCE).find_map(|seed| {
            let failure = cluster::run(seed, Some(*plant), None).failure?;
            (failure.oracle == plant.oracle()).then_some((seed, failure.what))
        });
        let (seed, what) = caught.unwrap_or_else(|| panic!("{plant:?} escaped {PATIENCE} seeds"));
        println!("{plant:?}: noticed by {} after {} seeds: {what}", plant.oracle(), seed + 1);
    }
}

fn hashes() -> Vec<String> {
    (0..REPEATED).map(|seed| format!("{seed}={:016x}", cluster::run(seed, None, None).hash)).collect()
}

#[test]
fn a_seed_is_one_run() {
    let first = hashes();
    if std::env::var_os(CHILD).is_some() {
        println!("hashes {}", first.join(" "));
        return;
    }
    assert_eq!(first, hashes(), "the same process ran a seed differently");
    let unlike: BTreeSet<&str> = first.iter().filter_map(|hash| hash.split('=').nth(1)).collect();
    assert_eq!(unlike.len() as u64, REPEATED, "different seeds are different runs");
    let program = std::env::current_exe().expect("a test has a program");
    let args = ["a_seed_is_one_run", "--exact", "--nocapture"];
    let child = Command::new(program).args(args).env(CHILD, "1").output().expect("the program runs again");
    let said = String::from_utf8_lossy(&child.stdout);
    let expected = format!("hashes {}", first.join(" "));
    assert!(said.contains(&expected), "another process ran a seed differently: {said}");
}
