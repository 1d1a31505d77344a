//! Runs simulated worlds: one seed in full detail, or as many as fit into some minutes.

#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::fmt::Display;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kollator_sim::{cluster, world};

const USAGE: &str = "\
usage: kollator-sim [clusters] [--seeds N] [--minutes M] [--seed S [--log]] [--plant NAME]
  clusters      fronts among themselves; without it, whole worlds with workers and peers
  --seeds N     run the seeds 0 to N-1 (default 1000)
  --minutes M   go on with further seeds until M minutes have passed
  --seed S      run this seed only
  --log         with --seed: tell everything that happens
  --plant NAME  plant a bug; the names are those of the library's Plant";

type Log = Box<dyn FnMut(String)>;

/// A kind of simulation.
trait Kind {
    /// The faults that happened.
    type Fired: Default + Display;
    /// A bug that can be planted.
    type Plant: Copy;

    /// The bug of that name.
    fn plant(name: &str) -> Option<Self::Plant>;

    /// Runs one seed.
    fn run(seed: u64, plant: Option<Self::Plant>, log: Option<Log>) -> Ran<Self::Fired>;

    /// Adds the faults of one run to those of others.
    fn add(all: &mut Self::Fired, one: &Self::Fired);
}

/// How a run went.
struct Ran<F> {
    hash: u64,
    events: u64,
    time: Duration,
    fired: F,
    failure: Option<String>,
}

struct Worlds;

impl Kind for Worlds {
    type Fired = world::Fired;
    type Plant = world::Plant;

    fn plant(name: &str) -> Option<world::Plant> {
        world::Plant::ALL.iter().copied().find(|plant| format!("{plant:?}") == name)
    }

    fn run(seed: u64, plant: Option<world::Plant>, log: Option<Log>) -> Ran<world::Fired> {
        let world::Report { hash, events, time, fired, failure, .. } = world::run_logged(seed, plant, log);
        let failure = failure.map(|failure| format!("{}: {}", failure.oracle, failure.what));
        Ran { hash, events, time, fired, failure }
    }

    fn add(all: &mut world::Fired, one: &world::Fired) {
        all.add(one);
    }
}

struct Clusters;

impl Kind for Clusters {
    type Fired = cluster::Fired;
    type Plant = cluster::Plant;

    fn plant(name: &str) -> Option<cluster::Plant> {
        cluster::Plant::ALL.iter().copied().find(|plant| format!("{plant:?}") == name)
    }

    fn run(seed: u64, plant: Option<cluster::Plant>, log: Option<Log>) -> Ran<cluster::Fired> {
        let cluster::Report { hash, events, time, fired, failure, .. } = cluster::run(seed, plant, log);
        let failure = failure.map(|failure| format!("{}: {}", failure.oracle, failure.what));
        Ran { hash, events, time, fired, failure }
    }

    fn add(all: &mut cluster::Fired, one: &cluster::Fired) {
        all.add(one);
    }
}

#[derive(Default)]
struct Settings {
    clusters: bool,
    seeds: Option<u64>,
    minutes: Option<u64>,
    seed: Option<u64>,
    log: bool,
    plant: Option<String>,
}

fn main() -> ExitCode {
    let ran = settings(std::env::args().skip(1)).and_then(|settings| match settings.clusters {
        true => run::<Clusters>(&settings),
        false => run::<Worlds>(&settings),
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
            "clusters" => settings.clusters = true,
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

fn run<K: Kind>(settings: &Settings) -> Result<ExitCode, String> {
    let find = |name: &String| K::plant(name).ok_or(format!("there is no plant called {name:?}"));
    let plant = settings.plant.as_ref().map(find).transpose()?;
    Ok(match settings.seed {
        Some(seed) => one::<K>(seed, plant, settings),
        None => many::<K>(plant, settings),
    })
}

fn one<K: Kind>(seed: u64, plant: Option<K::Plant>, settings: &Settings) -> ExitCode {
    let log = settings.log.then(|| -> Log { Box::new(|line| println!("{line}")) });
    let ran = K::run(seed, plant, log);
    tell(seed, &ran, settings);
    println!("{}", ran.fired);
    if ran.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn many<K: Kind>(plant: Option<K::Plant>, settings: &Settings) -> ExitCode {
    let began = Instant::now();
    let long = Duration::from_secs(60 * settings.minutes.unwrap_or_default());
    let seeds = settings.seeds.unwrap_or(if settings.minutes.is_some() { 0 } else { 1000 });
    let (mut fired, mut events, mut failures, mut seed) = (K::Fired::default(), 0, 0u64, 0);
    let mut simulated = Duration::ZERO;
    while seed < seeds || began.elapsed() < long {
        let ran = K::run(seed, plant, None);
        if ran.failure.is_some() {
            tell(seed, &ran, settings);
            failures += 1;
        }
        K::add(&mut fired, &ran.fired);
        events += ran.events;
        simulated += ran.time;
        seed += 1;
    }
    let took = began.elapsed().as_secs_f64();
    let hours = simulated.as_secs_f64() / 3600.0;
    println!("{fired}");
    println!("{seed} seeds, {events} events, {hours:.1} simulated hours in {took:.1} s");
    println!("{failures} failures");
    if failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn tell<F>(seed: u64, ran: &Ran<F>, settings: &Settings) {
    println!("seed {seed}: hash {:016x}, {} events in {:?}", ran.hash, ran.events, ran.time);
    if let Some(failure) = &ran.failure {
        println!("  FAILED {failure}");
        let kind = if settings.clusters { "clusters " } else { "" };
        println!("  replay: kollator-sim {kind}--seed {seed} --log");
    }
}
