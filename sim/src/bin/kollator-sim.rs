//! Runs worlds: one seed in full detail, or as many as fit into some minutes.

#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use kollator_sim::world::{self, Fired, Plant, Report};

const USAGE: &str = "\
usage: kollator-sim [--seeds N] [--minutes M] [--seed S [--log]] [--plant NAME]
  --seeds N     run the seeds 0 to N-1 (default 1000)
  --minutes M   go on with further seeds until M minutes have passed
  --seed S      run this seed only
  --log         with --seed: tell everything that happens
  --plant NAME  plant a bug; the names are those of the library's Plant";

#[derive(Default)]
struct Settings {
    seeds: Option<u64>,
    minutes: Option<u64>,
    seed: Option<u64>,
    log: bool,
    plant: Option<Plant>,
}

fn main() -> ExitCode {
    let settings = match settings(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(what) => {
            println!("{what}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match settings.seed {
        Some(seed) => one(seed, &settings),
        None => many(&settings),
    }
}

fn settings(mut args: impl Iterator<Item = String>) -> Result<Settings, String> {
    let mut settings = Settings::default();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{arg} needs a number, got {text:?}"));
        match arg.as_str() {
            "--seeds" => settings.seeds = Some(number(value()?)?),
            "--minutes" => settings.minutes = Some(number(value()?)?),
            "--seed" => settings.seed = Some(number(value()?)?),
            "--log" => settings.log = true,
            "--plant" => {
                let name = value()?;
                let plant = Plant::ALL.iter().find(|plant| format!("{plant:?}") == name);
                settings.plant = Some(*plant.ok_or(format!("there is no plant called {name:?}"))?);
            }
            _ => return Err(format!("{arg} is not an option")),
        }
    }
    Ok(settings)
}

fn one(seed: u64, settings: &Settings) -> ExitCode {
    let log: Option<world::Log> = settings.log.then(|| -> world::Log { Box::new(|line| println!("{line}")) });
    let report = world::run_logged(seed, settings.plant, log);
    tell(&report);
    println!("{}", report.fired);
    if report.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn many(settings: &Settings) -> ExitCode {
    let began = Instant::now();
    let long = Duration::from_secs(60 * settings.minutes.unwrap_or_default());
    let seeds = settings.seeds.unwrap_or(if settings.minutes.is_some() { 0 } else { 1000 });
    let (mut fired, mut events, mut failures, mut seed) = (Fired::default(), 0, 0u64, 0);
    while seed < seeds || began.elapsed() < long {
        let report = world::run(seed, settings.plant);
        if report.failure.is_some() {
            tell(&report);
            failures += 1;
        }
        fired.add(&report.fired);
        events += report.events;
        seed += 1;
    }
    let took = began.elapsed().as_secs_f64();
    println!("{fired}");
    println!("{seed} seeds, {events} events in {took:.1} s ({:.0} seeds a second)", seed as f64 / took);
    println!("{failures} failures");
    if failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn tell(report: &Report) {
    let Report { seed, hash, events, time, .. } = report;
    println!("seed {seed}: hash {hash:016x}, {events} events in {time:?}");
    if let Some(failure) = &report.failure {
        println!("  FAILED {}: {}", failure.oracle, failure.what);
        println!("  replay: kollator-sim --seed {seed} --log");
    }
}
