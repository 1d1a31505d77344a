//! What every simulation is tested for: every seed must please every judge, every kind of fault must happen, every
//! judge must notice the bugs planted for it, and a seed must be one run, whoever runs it.
//!
//! `SIM_SEEDS=n` runs n seeds, `SIM_SEED=n` runs that one and tells all that happens.

#![allow(clippy::print_stdout, reason = "the tables are for people")]

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kollator_sim::plant::Plant;
use kollator_sim::report::{Failure, Report, Sum};
use kollator_sim::simulation::Simulation;

/// Set for the child process that repeats some seeds.
const CHILD: &str = "KOLLATOR_SIM_CHILD";
/// From so many seeds on, every kind of fault must have happened.
const ENOUGH: u64 = 1_000;

/// Runs seeds and prints what came of them: as many as are given, unless the environment says otherwise.
pub(crate) fn every_seed_pleases_every_judge<S: Simulation>(seeds: u64) {
    if let Some(seed) = number("SIM_SEED") {
        let report = S::run(seed, None, Some(Box::new(|line| println!("{line}"))));
        assert!(report.failure.is_none(), "{}", describe(&report).unwrap_or_default());
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(seeds);
    let (sum, mut failed) = run_all::<S>(seeds);
    println!("{sum}");
    failed.sort_by_key(|report| report.seed);
    let failures: Vec<String> = failed.iter().filter_map(describe).collect();
    assert!(failures.is_empty(), "{} of {seeds} seeds failed\n{}", failures.len(), failures.join("\n"));
    assert!(seeds < ENOUGH || sum.fired.missing().is_empty(), "never happened: {:?}", sum.fired.missing());
}

/// Plants every bug for every judge that must notice it, within so many seeds. `run` runs one of them, and says what
/// went wrong by the word of that judge.
pub(crate) fn every_judge_notices<P: Plant>(patience: u64, run: impl Fn(&str, u64, P) -> Option<Failure>) {
    for plant in P::ALL {
        for judge in plant.judges() {
            let noticed = (0..patience).find_map(|seed| Some((seed, run(judge, seed, *plant)?)));
            let (seed, failure) =
                noticed.unwrap_or_else(|| panic!("{plant:?} escaped {judge} for {patience} seeds"));
            assert_eq!(failure.oracle, *judge, "{plant:?}: {failure}");
            println!("{plant:?}: noticed by {judge} after {} seeds: {}", seed + 1, failure.what);
        }
    }
}

/// Runs some seeds twice in this process and once in another. Must be called by a test of this name.
pub(crate) fn a_seed_is_one_run<S: Simulation>(seeds: u64) {
    let reports = || -> Vec<_> { (0..seeds).map(|seed| S::run(seed, None, None)).collect() };
    let first = reports();
    let hashes: Vec<String> = first.iter().map(|report| format!("{}={:016x}", report.seed, report.hash)).collect();
    let hashes = format!("hashes {}", hashes.join(" "));
    if std::env::var_os(CHILD).is_some() {
        println!("{hashes}");
        return;
    }
    assert_eq!(first, reports(), "the same process ran a seed differently");
    let unlike: BTreeSet<u64> = first.iter().map(|report| report.hash).collect();
    assert_eq!(unlike.len() as u64, seeds, "different seeds are different runs");
    let program = std::env::current_exe().expect("a test has a program");
    let args = ["a_seed_is_one_run", "--exact", "--nocapture"];
    let child = Command::new(program).args(args).env(CHILD, "1").output().expect("the program runs again");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains(&hashes), "another process ran a seed differently: {said}");
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, got {text:?}")))
}

/// Runs seeds on every core, in no order; returns what they came to and those that failed.
fn run_all<S: Simulation>(seeds: u64) -> (Sum<S::Fault>, Vec<Report<S::Fault>>) {
    let next = AtomicU64::new(0);
    let ran = Mutex::new((Sum::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let report = S::run(seed, None, None);
                    let (sum, failed) = &mut *ran.lock().expect("no thread panics with it");
                    sum.add(&report);
                    if report.failure.is_some() {
                        failed.push(report);
                    }
                }
            });
        }
    });
    ran.into_inner().expect("no thread panics with it")
}

fn describe<F>(report: &Report<F>) -> Option<String> {
    let Report { seed, failure: Some(failure), .. } = report else { return None };
    let test = env!("CARGO_CRATE_NAME");
    let replay = format!("SIM_SEED={seed} cargo test -p kollator-sim --test {test} please -- --nocapture");
    Some(format!("seed {seed}: {failure}\n  replay: {replay}"))
}
