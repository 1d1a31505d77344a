//! Runs simulations: one seed in full detail, or as many as fit into some minutes.

#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use kollator_sim::cluster::Clusters;
use kollator_sim::election::Elections;
use kollator_sim::plant::Plant as _;
use kollator_sim::report::{Report, Sum};
use kollator_sim::simulation::{Log, Simulation};
use kollator_sim::store::Stores;
use kollator_sim::together::Together;
use kollator_sim::world::Worlds;

const USAGE: &str = "\
usage: kollator-sim [SIMULATION] [--seeds N] [--minutes M] [--seed S [--log]] [--plant NAME]
  worlds        whole networks, with workers and peers (the default)
  clusters      fronts among themselves
  elections     the election of the fronts alone
  stores        the store of a worker alone
  together      the stores of some workers that ask each other
  --seeds N     run the seeds 0 to N-1 (default 1000)
  --minutes M   go on with further seeds until M minutes have passed
  --seed S      run this seed only
  --log         with --seed: tell everything that happens
  --plant NAME  plant a bug; the names are those of the simulation's Plant";

/// Runs a kind of simulation as the command line wants it.
type Runner = fn(&Settings) -> Result<ExitCode, String>;

#[derive(Default)]
struct Settings {
    runner: Option<Runner>,
    seeds: Option<u64>,
    minutes: Option<u64>,
    seed: Option<u64>,
    log: bool,
    plant: Option<String>,
}

fn main() -> ExitCode {
    let ran = settings(std::env::args().skip(1)).and_then(|settings| {
        let runner = settings.runner.unwrap_or(run::<Worlds>);
        runner(&settings)
    });
    ran.unwrap_or_else(|what| {
        println!("{what}\n{USAGE}");
        ExitCode::from(2)
    })
}

fn settings(mut args: impl Iterator<Item = String>) -> Result<Settings, String> {
    let mut settings = Settings::default();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{arg} needs a number, got {text:?}"));
        match arg.as_str() {
            Worlds::NAME => settings.runner = Some(run::<Worlds>),
            Clusters::NAME => settings.runner = Some(run::<Clusters>),
            Elections::NAME => settings.runner = Some(run::<Elections>),
            Stores::NAME => settings.runner = Some(run::<Stores>),
            Together::NAME => settings.runner = Some(run::<Together>),
            "--seeds" => settings.seeds = Some(number(value()?)?),
            "--minutes" => settings.minutes = Some(number(value()?)?),
            "--seed" => settings.seed = Some(number(value()?)?),
            "--log" => settings.log = true,
            "--plant" => settings.plant = Some(value()?),
            _ => return Err(format!("{arg} is not an option")),
        }
    }
    Ok(settings)
}

fn run<S: Simulation>(settings: &Settings) -> Result<ExitCode, String> {
    let named = |name: &String| S::Plant::ALL.iter().copied().find(|plant| format!("{plant:?}") == *name);
    let find = |name: &String| named(name).ok_or(format!("there is no plant called {name:?}"));
    let plant = settings.plant.as_ref().map(find).transpose()?;
    Ok(match settings.seed {
        Some(seed) => one::<S>(seed, plant, settings.log),
        None => many::<S>(plant, settings),
    })
}

fn one<S: Simulation>(seed: u64, plant: Option<S::Plant>, log: bool) -> ExitCode {
    let log = log.then(|| -> Log { Box::new(|line| println!("{line}")) });
    let report = S::run(seed, plant, log);
    tell::<S>(&report);
    println!("{}", report.fired);
    if report.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn many<S: Simulation>(plant: Option<S::Plant>, settings: &Settings) -> ExitCode {
    let began = Instant::now();
    let long = Duration::from_secs(60 * settings.minutes.unwrap_or_default());
    let seeds = settings.seeds.unwrap_or(if settings.minutes.is_some() { 0 } else { 1000 });
    let (mut sum, mut seed) = (Sum::default(), 0);
    while seed < seeds || began.elapsed() < long {
        let report = S::run(seed, plant, None);
        if report.failure.is_some() {
            tell::<S>(&report);
        }
        sum.add(&report);
        seed += 1;
    }
    println!("{sum}, in {:.1} s", began.elapsed().as_secs_f64());
    println!("{} failures", sum.failures);
    if sum.failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn tell<S: Simulation>(report: &Report<S::Fault>) {
    let Report { seed, hash, events, time, failure, .. } = report;
    println!("seed {seed}: hash {hash:016x}, {events} events in {time:?}");
    if let Some(failure) = failure {
        println!("  FAILED {failure}");
        println!("  replay: kollator-sim {} --seed {seed} --log", S::NAME);
    }
}
