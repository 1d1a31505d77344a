//! `kollator-load`: loads fronts on this machine with WebSocket sessions and says how they bear it. Settings and
//! printing only.

use std::io::Write as _;
use std::net::SocketAddrV4;
use std::time::Duration;

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use kollator_testbed::load::{Plan, front_url, run};

/// Opens WebSocket sessions to fronts on this machine, holds them idle, lets random pairs exchange offers and answers
/// at a fixed rate, then as fast as the fronts relay them; says what memory and CPU time that took, and how long offers
/// were under way.
///
/// The fronts must allow as many connections (MAX_CONNECTIONS, MAX_CONNECTIONS_PER_IP), and both they and this program
/// must be allowed as many open files; this program raises its own limit. A client may send 50 messages a second: with
/// few sessions, a flood is refused.
#[derive(Parser)]
#[command(version)]
struct Settings {
    /// Fronts, such as <http://127.0.0.1:8080>: sessions are spread over all of them
    #[arg(required = true, value_name = "URL", value_parser = front_url)]
    fronts: Vec<SocketAddrV4>,
    /// Process id of a front, to see its memory and CPU time; for each front, in the same order
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<u32>,
    /// Sessions in all
    #[arg(long, default_value_t = 10_000, value_parser = RangedU64ValueParser::<usize>::new().range(2..=1_000_000))]
    sessions: usize,
    /// Sessions from one source address; the addresses are 127.0.0.2, 127.0.0.3 and so on
    #[arg(long, default_value_t = 5000, value_parser = RangedU64ValueParser::<usize>::new().range(1..=28_000))]
    per_address: usize,
    /// How long the sessions idle first
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    hold: u64,
    /// How long they exchange at a fixed rate; 0 leaves it out
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    steady: u64,
    /// Offers a second in that time; each is answered
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    exchanges: u32,
    /// How long the flood lasts; 0 leaves it out
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    flood: u64,
    /// Exchanges under way at any moment of the flood
    #[arg(long, value_name = "COUNT", default_value_t = 64,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    in_flight: usize,
    /// Bytes in a session description
    #[arg(long, value_name = "BYTES", default_value_t = 1200,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=32_768))]
    sdp_bytes: usize,
    /// Print JSON in place of a table
    #[arg(long)]
    json: bool,
}

// One thread: the other cores are the fronts'.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let plan = Plan {
        fronts: settings.fronts,
        pids: settings.pids,
        sessions: settings.sessions,
        per_address: settings.per_address,
        hold: Duration::from_secs(settings.hold),
        steady: Duration::from_secs(settings.steady),
        exchanges_a_second: settings.exchanges,
        flood: Duration::from_secs(settings.flood),
        in_flight: settings.in_flight,
        sdp_bytes: settings.sdp_bytes,
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
