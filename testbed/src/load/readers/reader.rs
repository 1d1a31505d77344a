//! A running reader: its machine with a real WebSocket and a real data channel, and the times at which blocks came.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use kollator_core::id::ChunkId;
use kollator_runtime::driver::{self, Handle, Host};
use kollator_runtime::link::{FrontUrl, Link};
use kollator_runtime::net::TokioNet;
use kollator_runtime::node::{random_id, random_seed};
use kollator_runtime::rtc::{Binding, RtcConfig, Transport as _, WebRtc};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::machine::{Input, Output, Reader, Told};

/// Longest wait for a session with the worker.
const UP_WITHIN: Duration = Duration::from_secs(30);
/// Tries to connect that may fail before the last.
const MAX_FAILED: u32 = 4;
/// Longest wait for the next blocks of a request.
const BLOCKS_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of buffer asked of the kernel for each socket: a thousand sockets share this machine's memory.
const SOCKET_BUFFER: usize = 256 << 10;

/// One request, answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// From the request to its first frame of blocks.
    pub(super) first_frame: Duration,
    /// Bytes that came.
    pub(super) bytes: u64,
}

/// Ends with its connections when dropped.
pub(super) struct Running {
    handle: Handle<Reader>,
    told: mpsc::UnboundedReceiver<(Instant, Told)>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// Connects to a front, and to the worker that it names; how many tries failed before, as a peer would try again too.
    pub(super) async fn connect(front: &FrontUrl) -> anyhow::Result<(Self, u32)> {
        let mut failed = 0;
        loop {
            match Self::try_to_connect(front).await {
                Ok(reader) => return Ok((reader, failed)),
                Err(_) if failed < MAX_FAILED => failed += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_to_connect(front: &FrontUrl) -> anyhow::Result<Self> {
        let (handle, mailbox) = driver::mailbox();
        let (tx, told) = mpsc::unbounded_channel();
        let config =
            RtcConfig { binding: Binding::interfaces(), socket_buffer: SOCKET_BUFFER, ..RtcConfig::default() };
        let host = ReaderHost {
            link: Link::new(TokioNet, vec![front.clone()], handle.sink(Input::Link)),
            transport: WebRtc::new(config, handle.sink(Input::Rtc)).context("WebRTC")?,
            told: tx,
        };
        let machine = Reader::new(random_id(), random_seed());
        let task = tokio::spawn(async move {
            driver::run(machine, mailbox, || Input::Wake, host).await;
        });
        let mut reader = Self { handle, told, task };
        let up = timeout(UP_WITHIN, reader.hear()).await.context("no session with a worker in time")??;
        match up.1 {
            Told::Up => Ok(reader),
            other => bail!("no session with a worker: {other:?}"),
        }
    }

    /// Asks for blocks and waits for all of them.
    pub(super) async fn ask(&mut self, chunk: ChunkId, first: u16, count: u16) -> anyhow::Result<Answered> {
        let begun = Instant::now();
        self.handle.send(Input::Ask { chunk, first, count }).await.context("a reader broke down")?;
        let mut answered: Option<Answered> = None;
        loop {
            let heard = timeout(BLOCKS_WITHIN, self.hear()).await.context("no blocks came for a long time")?;
            let (at, told) = heard?;
            match told {
                Told::Blocks { bytes, last } => {
                    let so_far = answered.get_or_insert(Answered { first_frame: at - begun, bytes: 0 });
                    so_far.bytes += bytes;
                    if last {
                        return Ok(*so_far);
                    }
                }
                Told::Rejected(reason) => bail!("a request was turned down: {reason}"),
                Told::Down(reason) => bail!("a session ended: {reason}"),
                Told::Up => bail!("a session came up twice"),
            }
        }
    }

    async fn hear(&mut self) -> anyhow::Result<(Instant, Told)> {
        self.told.recv().await.context("a reader broke down")
    }
}

struct ReaderHost {
    link: Link<TokioNet>,
    transport: WebRtc,
    told: mpsc::UnboundedSender<(Instant, Told)>,
}

impl Host<Reader> for ReaderHost {
    fn execute(&mut self, output: Output) -> ControlFlow<()> {
        match output {
            Output::Link(command) => self.link.execute(command),
            Output::Rtc(command) => self.transport.execute(command),
            Output::Told(told) => {
                if self.told.send((Instant::now(), told)).is_err() {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }
}
