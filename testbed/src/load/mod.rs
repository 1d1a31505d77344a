//! Load on fronts: thousands of WebSocket sessions that idle, exchange offers and answers at a fixed rate, or as fast
//! as the fronts relay them. Checks every delivery; never leaves loopback, never touches a front but to read its
//! memory and CPU time. How fast fronts tell each other what changed is in [`propagation`]; how often a worker's cache
//! has what it is asked for, in [`hits`].

mod exchange;
pub mod hits;
pub mod homes;
mod limits;
mod process;
pub mod propagation;
pub mod readers;
mod report;
mod session;
mod socket;
pub mod zipf;

use std::convert::Infallible;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use kollator_core::wire::signal::{Role, ToFront};
use kollator_runtime::node::random_id;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::exchange::Exchanges;
use self::process::Process;
pub use self::report::{Flood, Latency, Memory, Report, Steady};
use self::session::{Opened, Pace, Session, open, source_address};
use self::socket::Reader;

/// Sessions that are being opened at once.
const OPENING: usize = 64;
/// How often a session says something, as the protocol wants it.
const PING_EVERY: Duration = Duration::from_secs(15);
/// After traffic, before memory is read.
const SETTLE: Duration = Duration::from_secs(3);
/// Open files beside the sessions' sockets.
const OTHER_FILES: u64 = 64;

/// What to do, in this order: open the sessions, hold them, exchange steadily, flood. A phase of no length is left
/// out.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The fronts; sessions are spread over them evenly.
    pub fronts: Vec<SocketAddrV4>,
    /// Process ids of the fronts, in the same order; without them memory and CPU time stay unknown.
    pub pids: Vec<u32>,
    /// Sessions in all, at least two.
    pub sessions: usize,
    /// Sessions that share one source address, the first of which is 127.0.0.2.
    pub per_address: usize,
    /// How long to hold the sessions idle.
    pub hold: Duration,
    /// How long to exchange steadily.
    pub steady: Duration,
    /// Offers a second in that time.
    pub exchanges_a_second: u32,
    /// How long to flood.
    pub flood: Duration,
    /// Exchanges under way at any moment of the flood.
    pub in_flight: usize,
    /// Bytes in a session description.
    pub sdp_bytes: usize,
}

/// Carries out a plan.
///
/// # Errors
/// Too few open files are allowed, a front refuses a session or ends it, or a message reaches the wrong session.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    ensure!(plan.sessions >= 2, "an exchange takes two sessions");
    ensure!(
        plan.pids.is_empty() || plan.pids.len() == plan.fronts.len(),
        "{} fronts need {} process ids, not {}",
        plan.fronts.len(),
        plan.fronts.len(),
        plan.pids.len()
    );
    ensure!(plan.fronts.iter().all(|front| front.ip().is_loopback()), "fronts must be on loopback");
    limits::raise_open_files(plan.sessions as u64 + OTHER_FILES)?;
    let fronts: Vec<Process> = plan.pids.iter().copied().map(Process).collect();
    let empty = process::resident_bytes(&fronts)?;

    let begun = Instant::now();
    let (sessions, readers) = open_all(plan).await?;
    let opening = begun.elapsed();
    let exchanges = Arc::new(Exchanges::new(sessions, plan.sdp_bytes));
    let mut tasks = JoinSet::new();
    for (index, reader) in readers.into_iter().enumerate() {
        let exchanges = Arc::clone(&exchanges);
        tasks.spawn(async move { exchanges.serve(index, reader).await });
    }
    let pinging = Arc::clone(&exchanges);
    tasks.spawn(async move { ping(&pinging).await });

    // None of the tasks ends unless something went wrong.
    let phases = phases(plan, &exchanges, &fronts, &empty, opening);
    tokio::select! {
        report = phases => report,
        Some(ended) = tasks.join_next() => match ended.context("a session's task failed")? {
            Ok(never) => match never {},
            Err(error) => Err(error),
        },
    }
}

async fn phases(
    plan: &Plan,
    exchanges: &Exchanges,
    fronts: &[Process],
    empty: &[u64],
    opening: Duration,
) -> anyhow::Result<Report> {
    let mut report = Report {
        sessions: plan.sessions,
        fronts: plan.fronts.len(),
        sdp_bytes: plan.sdp_bytes,
        opening,
        ..Report::default()
    };
    let mut memory: Vec<Memory> = empty.iter().map(|empty| Memory::new(*empty)).collect();
    let shares = exchanges.sessions_by_front(plan.fronts.len());

    sleep(plan.hold).await;
    for (memory, (bytes, sessions)) in
        memory.iter_mut().zip(process::resident_bytes(fronts)?.into_iter().zip(&shares))
    {
        memory.idle(bytes, *sessions);
    }
    if !plan.steady.is_zero() {
        let cpu = process::cpu_seconds(fronts)?;
        let result = exchanges.steadily(plan.exchanges_a_second, plan.steady).await?;
        let cpu = process::cpu_seconds(fronts)?.map(|after| after - cpu.unwrap_or_default());
        report.steady = Some(Steady::new(plan.exchanges_a_second, plan.steady, result, cpu));
    }
    if !plan.flood.is_zero() {
        let cpu = process::cpu_seconds(fronts)?;
        let result = exchanges.flood(plan.in_flight, plan.flood).await?;
        let cpu = process::cpu_seconds(fronts)?.map(|after| after - cpu.unwrap_or_default());
        report.flood = Some(Flood::new(plan.in_flight, plan.flood, result, cpu));
    }
    if report.steady.is_some() || report.flood.is_some() {
        sleep(SETTLE).await;
        let now = process::resident_bytes(fronts)?;
        for (memory, (bytes, sessions)) in memory.iter_mut().zip(now.into_iter().zip(&shares)) {
            memory.after_traffic(bytes, *sessions);
        }
    }
    report.memory = memory;
    Ok(report)
}

async fn open_all(plan: &Plan) -> anyhow::Result<(Vec<Session>, Vec<Reader>)> {
    stream::iter(0..plan.sessions)
        .map(|index| async move {
            let front = index % plan.fronts.len();
            let source = source_address(index / plan.per_address)?;
            let Opened { session, reader, .. } =
                open(&plan.fronts, front, source, random_id(), Role::Peer {}).await?;
            Ok((session, reader))
        })
        .buffered(OPENING)
        .try_collect()
        .await
}

/// Keeps every session from being taken for a silent one.
async fn ping(exchanges: &Exchanges) -> anyhow::Result<Infallible> {
    let (count, text) = (exchanges.len(), ToFront::Ping {}.to_text());
    loop {
        let mut pace = Pace::new(count as f64 / PING_EVERY.as_secs_f64(), PING_EVERY);
        while let Some(turn) = pace.turn().await {
            exchanges.session(turn % count).send(&text).await?;
        }
    }
}

/// The address of a front on this machine, from its URL.
///
/// # Errors
/// Says what the URL must look like.
pub fn front_url(url: &str) -> Result<SocketAddrV4, String> {
    let address = url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let address = address.and_then(|address| address.parse::<SocketAddrV4>().ok());
    let expected = "must be http://127.0.0.1:PORT, or another IPv4 loopback address";
    address.filter(|address| address.ip().is_loopback()).ok_or_else(|| expected.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_loaded() {
        assert_eq!(front_url("http://127.0.0.1:8080/").map(|front| front.port()), Ok(8080));
        for url in
            ["http://192.0.2.1:8080", "https://127.0.0.1:8080", "http://127.0.0.1", "127.0.0.1:8080", "http://a:1"]
        {
            assert!(front_url(url).is_err(), "{url}");
        }
    }
}
