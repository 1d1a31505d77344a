//! Prints how many reads of S3 home workers save on a trace: see docs/performance.md.

#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::time::Duration;

use clap::Parser;
use kollator_testbed::load::homes::{Outcomes, Trial, read_trace};

/// Counts reads of the backing store by workers that ask each other, and by workers that do not.
#[derive(Debug, Parser)]
#[command(name = "kollator-homes", version)]
struct Settings {
    /// Workers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    workers: u32,

    /// Chunks that the cache of each worker holds
    #[arg(long, default_value_t = 75, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    cached: u32,

    /// Chunks that there are, for each that a cache holds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    times: u32,

    /// Requests
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    requests: u32,

    /// Exponent of Zipf's law
    #[arg(long, default_value_t = 0.9)]
    exponent: f64,

    /// Milliseconds between two requests
    #[arg(long, default_value_t = 100)]
    every_ms: u64,

    /// How many traces
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
}

fn main() {
    let settings = Settings::parse();
    let ways = [
        ("each for itself", None),
        ("home first, always cached", Some(1)),
        ("home first, cached at 2nd", Some(2)),
        ("home first, cached at 3rd", Some(3)),
        ("home first, never cached", Some(u32::MAX)),
    ];
    println!("{:<26}  {:>20}  {:>20}  {:>20}  {:>8}", "way", "S3 reads", "from homes", "local", "distinct");
    for (way, keep_after) in ways {
        let run = |seed| {
            read_trace(Trial {
                workers: settings.workers as usize,
                cached: settings.cached as usize,
                in_memory: 10,
                chunks: (settings.cached * settings.times) as usize,
                requests: settings.requests as usize,
                exponent: settings.exponent,
                every: Duration::from_millis(settings.every_ms),
                seed,
                keep_after,
            })
        };
        let ran: Vec<Outcomes> = (1..=settings.seeds).map(run).collect();
        let [backing, homes, local] =
            [|o: &Outcomes| o.from_backing, |o: &Outcomes| o.from_homes, |o: &Outcomes| o.local]
                .map(|of| spread(ran.iter().map(of).collect()));
        let distinct = ran.iter().map(|outcomes| outcomes.distinct).min().unwrap_or_default();
        println!("{way:<26}  {backing:>20}  {homes:>20}  {local:>20}  {distinct:>8}");
    }
}

/// Median, least and most.
fn spread(mut values: Vec<u64>) -> String {
    values.sort_unstable();
    format!("{} ({}..{})", values[values.len() / 2], values[0], values[values.len() - 1])
}
