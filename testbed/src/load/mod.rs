//! Load on fronts: thousands of WebSocket sessions that idle, exchange offers and answers at a fixed rate, or as fast
//! as the fronts relay them. Checks every delivery; never leaves loopback, never touches a front but to read its
//! memory and CPU time.

mod exchange;
mod limits;
mod process;
mod report;
mod socket;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use kollator_core::id::PeerId;
use kollator_core::wire::signal::{FromFront, Role, ToFront, VERSION};
use kollator_runtime::node::random_id;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::exchange::Exchanges;
use self::process::Process;
pub use self::report::{Flood, Latency, Memory, Report, Steady};
use self::socket::{Reader, Writer};

/// Sessions that are being opened at once.
const OPENING: usize = 64;
/// Longest wait for one session to be open and welcomed.
const WELCOME_WITHIN: Duration = Duration::from_secs(20);
/// How often a session says something, as the protocol wants it.
const PING_EVERY: Duration = Duration::from_secs(15);
/// What is due is looked for this often.
const TICK: Duration = Duration::from_millis(1);
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

/// One end of an exchange.
struct Session {
    /// Its peer id as text.
    name: String,
    /// Which front it is connected to.
    front: usize,
    writer: tokio::sync::Mutex<Writer>,
}

impl Session {
    async fn send(&self, text: &str) -> anyhow::Result<()> {
        let sent = self.writer.lock().await.send(text).await;
        sent.context("a front does not take what is sent to it")
    }
}

async fn open_all(plan: &Plan) -> anyhow::Result<(Vec<Session>, Vec<Reader>)> {
    stream::iter(0..plan.sessions)
        .map(|index| async move {
            let front = index % plan.fronts.len();
            let source = source_address(index / plan.per_address)?;
            let opening = timeout(WELCOME_WITHIN, open(plan.fronts[front], source));
            let (id, reader, writer) = opening
                .await
                .unwrap_or_else(|_| bail!("no welcome within {} s", WELCOME_WITHIN.as_secs()))
                .with_context(|| format!("session {index} from {source} to {}", plan.fronts[front]))?;
            Ok((Session { name: id.to_string(), front, writer: writer.into() }, reader))
        })
        .buffered(OPENING)
        .try_collect()
        .await
}

/// 127.0.0.2 and those that follow it.
fn source_address(index: usize) -> anyhow::Result<Ipv4Addr> {
    let bits =
        u32::try_from(index).ok().and_then(|index| Ipv4Addr::new(127, 0, 0, 2).to_bits().checked_add(index));
    let address = bits.map(Ipv4Addr::from_bits).filter(Ipv4Addr::is_loopback);
    address.context("there are not so many loopback addresses; put more sessions on each")
}

async fn open(front: SocketAddrV4, source: Ipv4Addr) -> anyhow::Result<(PeerId, Reader, Writer)> {
    let (mut reader, mut writer) = socket::connect(front, source).await?;
    let id = random_id();
    writer.send(&ToFront::Hello { version: VERSION, id, role: Role::Peer {} }.to_text()).await?;
    match FromFront::parse(&reader.next().await?)? {
        FromFront::Welcome(_) => Ok((id, reader, writer)),
        other => bail!("expected a welcome, not {other:?}"),
    }
}

/// Keeps every session from being taken for a silent one, a few at each tick.
async fn ping(exchanges: &Exchanges) -> anyhow::Result<std::convert::Infallible> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let begun = Instant::now();
    let mut sent: u64 = 0;
    let text = ToFront::Ping {}.to_text();
    loop {
        ticks.tick().await;
        let due = (begun.elapsed().as_secs_f64() / PING_EVERY.as_secs_f64() * exchanges.len() as f64) as u64;
        while sent < due {
            let index = (sent % exchanges.len() as u64) as usize;
            exchanges.session(index).send(&text).await?;
            sent += 1;
        }
    }
}
