//! `kollator-hits`: how often a worker's cache has what it is asked for, beside other policies. Settings and printing
//! only.

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use kollator_testbed::load::hits::{Plan, run};

/// Replays requests to a worker's store, whose cache holds a third of all objects, and says how many of them the cache
/// answered: beside plain LRU, SIEVE, S3-FIFO and the best that who knows the future can do.
///
/// Cold misses are counted: the first request for an object is a miss for everyone. The same seeds give the same
/// numbers everywhere.
#[derive(Parser)]
#[command(version)]
struct Settings {
    /// Requests of each trace, scans not counted
    #[arg(long, default_value_t = 10_000, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    requests: usize,
    /// Traces of each kind, with the seeds from 1 on
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Print JSON in place of a table
    #[arg(long)]
    json: bool,
    /// Exit with 1 if the cache has 70% or less of a Zipf trace, or less than plain LRU
    #[arg(long)]
    strict: bool,
}

fn main() -> ExitCode {
    let Settings { requests, seeds, json, strict } = Settings::parse();
    let report = run(&Plan { requests, seeds });
    let text = if json { format!("{}\n", report.to_json()) } else { report.to_table() };
    // Whoever reads the other end of a pipe may have gone.
    let _ = stdout().write_all(text.as_bytes());
    if strict && !report.is_kept() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Settings::command().debug_assert();
    }
}
