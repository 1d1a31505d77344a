//! `kollator-readers`: loads a worker on this machine with data channels and says how it bears it. Settings and printing
//! only.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use kollator_runtime::link::FrontUrl;
use kollator_testbed::load::readers::{Plan, run};

/// Opens data channels to the worker that a front names, holds them, has them ask for blocks of a share at a pace, then as
/// fast as they can; says what memory and CPU time that took the worker, and how long first frames were under way.
///
/// The front must allow as many connections from this address (MAX_CONNECTIONS_PER_IP), the worker as many data channels.
#[derive(Parser)]
#[command(version)]
struct Settings {
    /// Front, such as <http://127.0.0.1:8080>
    #[arg(value_name = "URL", value_parser = FrontUrl::parse)]
    front: FrontUrl,
    /// Process id of the worker
    #[arg(long)]
    pid: u32,
    /// The share to read, which the worker has
    #[arg(long, value_name = "FILE")]
    ko: PathBuf,
    /// Data channels
    #[arg(long, default_value_t = 100, value_parser = RangedU64ValueParser::<usize>::new().range(1..=20_000))]
    readers: usize,
    /// How long they are held first
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    hold: u64,
    /// How long they ask at a pace; 0 leaves it out
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    paced: u64,
    /// Requests a second in that time, of all together
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    asks: u32,
    /// Blocks of 16 KiB in each request
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    blocks: u16,
    /// How long the flood lasts; 0 leaves it out
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    flood: u64,
    /// Print JSON in place of words
    #[arg(long)]
    json: bool,
}

// One thread: the other cores are the worker's.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let ko = std::fs::read(&settings.ko).with_context(|| format!("cannot read {}", settings.ko.display()))?;
    let plan = Plan {
        front: settings.front,
        pid: settings.pid,
        ko,
        readers: settings.readers,
        hold: Duration::from_secs(settings.hold),
        paced: Duration::from_secs(settings.paced),
        asks_a_second: settings.asks,
        blocks: settings.blocks,
        flood: Duration::from_secs(settings.flood),
    };
    let report = run(&plan).await?;
    let text = if settings.json { format!("{}\n", report.to_json()) } else { report.to_table() };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
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
