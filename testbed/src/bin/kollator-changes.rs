//! `kollator-changes`: fills the table of several fronts, changes it, and says how long it took until every front
//! showed it. Settings and printing only.

use std::fs;
use std::io::{Write as _, stdout};
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use kollator_core::auth::SharedKey;
use kollator_testbed::load::front_url;
use kollator_testbed::load::propagation::{Plan, run};

/// Connects workers and peers to fronts on this machine until their table has as many rows as asked for, lets peers
/// join and leave swarms and workers drain and come back, and times until a client of every other front is told.
///
/// Then nothing changes any more: a line says so, and everyone stays for `--idle` seconds.
#[derive(Parser)]
#[command(version)]
struct Settings {
    /// Fronts that know each other, such as <http://127.0.0.1:8080>
    #[arg(required = true, num_args = 2.., value_name = "URL", value_parser = front_url)]
    fronts: Vec<SocketAddrV4>,
    /// File with the key that fronts and workers share
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Workers in all
    #[arg(long, default_value_t = 1000, value_parser = count())]
    workers: usize,
    /// Peers in all, without those that watch
    #[arg(long, default_value_t = 2000, value_parser = count())]
    peers: usize,
    /// Memberships of these peers in swarms, in all
    #[arg(long, default_value_t = 10_000, value_parser = count())]
    memberships: usize,
    /// Groups of clients that watch, one client at each front
    #[arg(long, default_value_t = 128, value_parser = count())]
    groups: usize,
    /// How long the table changes
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    length: u64,
    /// Peers joining or leaving a swarm each second
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    member_changes: u32,
    /// Workers draining or coming each second
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    worker_changes: u32,
    /// How long everyone stays after the last change
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    idle: u64,
    /// Print JSON, one object a line, in place of a table
    #[arg(long)]
    json: bool,
}

// One thread: the other cores are the fronts'.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let named = || format!("--key {}", settings.key.display());
    let key = SharedKey::new(&fs::read(&settings.key).with_context(named)?).with_context(named)?;
    let plan = Plan {
        fronts: settings.fronts,
        key,
        workers: settings.workers,
        peers: settings.peers,
        memberships: settings.memberships,
        groups: settings.groups,
        length: Duration::from_secs(settings.length),
        member_changes_a_second: settings.member_changes.into(),
        worker_changes_a_second: settings.worker_changes.into(),
        idle: Duration::from_secs(settings.idle),
    };
    let json = settings.json;
    let rests = || print(if json { "{\"phase\":\"idle\"}\n" } else { "nothing changes any more\n" });
    let report = run(&plan, rests).await?;
    print(&if json { format!("{}\n", report.to_json()) } else { report.to_table() });
    Ok(())
}

/// Whoever reads the other end of a pipe may have gone.
fn print(text: &str) {
    let _ = stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush());
}

fn count() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=60_000)
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
