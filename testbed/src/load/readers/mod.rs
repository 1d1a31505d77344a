//! Load on a worker: data channels that are held open, ask for blocks now and then, or read as fast as they can. Checks
//! that everything asked for comes; never leaves this machine, never touches the worker but to read its memory and CPU
//! time.

mod machine;
mod reader;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use kollator_core::id::ChunkId;
use kollator_core::machine::Rng;
use kollator_core::metainfo::Metainfo;
use kollator_runtime::link::FrontUrl;
use kollator_runtime::node::random_seed;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant as TokioInstant, sleep, sleep_until};

use self::reader::{Answered, Running};
use super::limits;
use super::process::{self, Process};
use super::report::Latency;

/// Sessions that are being opened at once.
const OPENING: usize = 16;
/// Open files beside those of the readers.
const OTHER_FILES: u64 = 128;
/// Open files of one reader: its WebSocket, and a UDP socket for each address of this machine.
const FILES_A_READER: u64 = 8;
/// Blocks in one request of a flood: half a MiB.
const FLOOD_BLOCKS: u16 = 32;
/// How often the worker's memory is looked at under load.
const LOOK: Duration = Duration::from_millis(250);

/// What to do, in this order: open the sessions, hold them, ask at a pace, flood. A phase of no length is left out.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The front that names the worker.
    pub front: FrontUrl,
    /// The worker's process id.
    pub pid: u32,
    /// The share whose chunks are read; the worker has it.
    pub ko: Vec<u8>,
    /// Data channels.
    pub readers: usize,
    /// How long to hold them idle.
    pub hold: Duration,
    /// How long to ask at a pace.
    pub paced: Duration,
    /// Requests a second of all readers together in that time.
    pub asks_a_second: u32,
    /// Blocks in each of them.
    pub blocks: u16,
    /// How long to flood.
    pub flood: Duration,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Data channels.
    pub readers: usize,
    /// From the first connection to the last session.
    pub opening: Duration,
    /// Tries to connect that failed and were made again.
    pub redials: u32,
    /// The worker's resident bytes before the first reader.
    pub empty_bytes: u64,
    /// The same once all were held.
    pub held_bytes: u64,
    /// Most that it had under load; what it had when held, without load.
    pub peak_bytes: u64,
    /// From a request to its first frame, in the paced phase.
    pub first_frame: Option<Latency>,
    /// Bytes a second that came in it.
    pub paced_rate: Option<f64>,
    /// Bytes a second that came under the flood.
    pub flood_rate: Option<f64>,
    /// Share of one core that the worker used under the flood.
    pub flood_cores: Option<f64>,
}

/// Carries out a plan.
///
/// # Errors
/// A session cannot be made or ends, a request is turned down, or blocks do not come.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let metainfo = Metainfo::parse(plan.ko.clone().into()).context("--ko")?;
    let chunks: Arc<[ChunkId]> = metainfo.pieces().iter().map(|piece| piece.chunk).collect();
    ensure!(!chunks.is_empty(), "there is nothing in this share to read");
    limits::raise_open_files(plan.readers as u64 * FILES_A_READER + OTHER_FILES)?;
    let worker = [Process(plan.pid)];
    let resident = || process::resident_bytes(&worker).map(|all| all[0]);

    let empty_bytes = resident()?;
    let begun = Instant::now();
    let connected: Vec<(Running, u32)> = stream::iter(0..plan.readers)
        .map(|_| Running::connect(&plan.front))
        .buffer_unordered(OPENING)
        .try_collect()
        .await?;
    let (mut readers, failed): (Vec<Running>, Vec<u32>) = connected.into_iter().unzip();
    let redials = failed.into_iter().sum();
    let opening = begun.elapsed();
    sleep(plan.hold).await;
    let held_bytes = resident()?;

    let (mut first_frame, mut paced_rate) = (None, None);
    let mut peak_bytes = held_bytes;
    if !plan.paced.is_zero() {
        let asked = pace(plan, &chunks, std::mem::take(&mut readers));
        let (back, answers) = watched(asked, &mut peak_bytes, resident).await?;
        readers = back;
        let bytes: u64 = answers.iter().map(|answered| answered.bytes).sum();
        paced_rate = Some(bytes as f64 / plan.paced.as_secs_f64());
        first_frame = Latency::of(answers.into_iter().map(|answered| answered.first_frame).collect());
    }
    let (mut flood_rate, mut flood_cores) = (None, None);
    if !plan.flood.is_zero() {
        let cpu = process::cpu_seconds(&worker)?.unwrap_or_default();
        let flooded = flood(plan, &chunks, std::mem::take(&mut readers));
        let (back, bytes) = watched(flooded, &mut peak_bytes, resident).await?;
        readers = back;
        let cpu = process::cpu_seconds(&worker)?.unwrap_or_default() - cpu;
        flood_rate = Some(bytes as f64 / plan.flood.as_secs_f64());
        flood_cores = Some(cpu / plan.flood.as_secs_f64());
    }
    drop(readers);
    let readers = plan.readers;
    Ok(Report {
        readers,
        opening,
        redials,
        empty_bytes,
        held_bytes,
        peak_bytes,
        first_frame,
        paced_rate,
        flood_rate,
        flood_cores,
    })
}

/// Waits for a phase, and notes the most memory that the worker has meanwhile.
async fn watched<T>(
    phase: impl Future<Output = anyhow::Result<T>>,
    peak: &mut u64,
    resident: impl Fn() -> anyhow::Result<u64>,
) -> anyhow::Result<T> {
    let mut phase = Box::pin(phase);
    loop {
        tokio::select! {
            result = &mut phase => return result,
            () = sleep(LOOK) => *peak = (*peak).max(resident()?),
        }
    }
}

/// Each reader asks for blocks at random, at even intervals with a random beginning; one request at a time.
async fn pace(
    plan: &Plan,
    chunks: &Arc<[ChunkId]>,
    readers: Vec<Running>,
) -> anyhow::Result<(Vec<Running>, Vec<Answered>)> {
    let interval = Duration::from_secs(1).mul_f64(readers.len() as f64 / f64::from(plan.asks_a_second));
    let (length, blocks) = (plan.paced, plan.blocks);
    let tasks = each(readers, |mut reader, mut rng| {
        let chunks = Arc::clone(chunks);
        async move {
            let mut answers = Vec::new();
            let mut turn = interval.mul_f64(rng.below(1000) as f64 / 1000.0);
            let begun = TokioInstant::now();
            while turn < length {
                sleep_until(begun + turn).await;
                let chunk = chunks[rng.below(chunks.len() as u64) as usize];
                let count = blocks.min(chunk.blocks());
                let first = rng.below(u64::from(chunk.blocks() - count) + 1) as u16;
                answers.push(reader.ask(chunk, first, count).await?);
                // A turn that comes while the last request is open is left out, not made up for.
                turn = (turn + interval).max(begun.elapsed());
            }
            Ok((reader, answers))
        }
    });
    let (readers, answers): (Vec<_>, Vec<_>) = tasks.await?.into_iter().unzip();
    Ok((readers, answers.concat()))
}

/// Every reader asks again as soon as it is answered; the bytes that came.
async fn flood(
    plan: &Plan,
    chunks: &Arc<[ChunkId]>,
    readers: Vec<Running>,
) -> anyhow::Result<(Vec<Running>, u64)> {
    let length = plan.flood;
    let tasks = each(readers, |mut reader, mut rng| {
        let chunks = Arc::clone(chunks);
        async move {
            let (begun, mut bytes) = (Instant::now(), 0);
            while begun.elapsed() < length {
                let chunk = chunks[rng.below(chunks.len() as u64) as usize];
                let count = FLOOD_BLOCKS.min(chunk.blocks());
                let first = rng.below(u64::from(chunk.blocks() - count) + 1) as u16;
                let came = reader.ask(chunk, first, count).await?.bytes;
                // What comes after the end does not count.
                bytes += if begun.elapsed() <= length { came } else { 0 };
            }
            Ok((reader, bytes))
        }
    });
    let (readers, bytes): (Vec<_>, Vec<u64>) = tasks.await?.into_iter().unzip();
    Ok((readers, bytes.into_iter().sum()))
}

/// Has every reader do something at once; what came of it, or the first error.
async fn each<T, F>(readers: Vec<Running>, work: impl Fn(Running, Rng) -> F) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let mut rng = Rng::new(random_seed());
    let mut tasks = JoinSet::new();
    for reader in readers {
        tasks.spawn(work(reader, Rng::new(rng.next_u64())));
    }
    let mut done = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        done.push(ended.context("a reader's task failed")??);
    }
    Ok(done)
}

impl Report {
    /// Bytes that the worker's resident set grew by for each reader held.
    #[must_use]
    pub fn held_per_reader(&self) -> f64 {
        (self.held_bytes as f64 - self.empty_bytes as f64) / self.readers.max(1) as f64
    }

    /// The same at the worst moment under load.
    #[must_use]
    pub fn peak_per_reader(&self) -> f64 {
        (self.peak_bytes as f64 - self.empty_bytes as f64) / self.readers.max(1) as f64
    }

    /// For scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "readers": self.readers,
            "opening_seconds": self.opening.as_secs_f64(),
            "redials": self.redials,
            "empty_bytes": self.empty_bytes,
            "held_bytes_per_reader": self.held_per_reader(),
            "peak_bytes_per_reader": self.peak_per_reader(),
            "first_frame": self.first_frame.as_ref().map(Latency::to_json),
            "paced_bytes_a_second": self.paced_rate,
            "flood_bytes_a_second": self.flood_rate,
            "flood_cores": self.flood_cores,
        })
    }

    /// For people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut text = format!(
            "{} data channels, opened in {:.2} s, {} tries failing\nmemory of the worker: {:.1} MB before, {:.0} KB a channel held, {:.0} KB \
             at the peak\n",
            self.readers,
            self.opening.as_secs_f64(),
            self.redials,
            self.empty_bytes as f64 / 1e6,
            self.held_per_reader() / 1e3,
            self.peak_per_reader() / 1e3,
        );
        if let (Some(latency), Some(rate)) = (&self.first_frame, self.paced_rate) {
            let _ = writeln!(text, "at a pace: {:.1} MB/s, first frame: {}", rate / 1e6, latency.words());
        }
        if let (Some(rate), Some(cores)) = (self.flood_rate, self.flood_cores) {
            let _ = writeln!(text, "flood: {:.1} MB/s, the worker using {cores:.2} of a core", rate / 1e6);
        }
        text
    }
}
