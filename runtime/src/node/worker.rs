//! A running worker: core's machine with its link to a front, its WebRTC connections, its cache and its
//! backing store.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kollator_core::id::ChunkId;
use kollator_core::merkle::HashedBlocks;
use kollator_core::node::io::Ticket;
use kollator_core::node::worker::{
    DhtConfig, DhtEvent, Worker, WorkerConfig, WorkerEvent, WorkerInput, WorkerOutput,
};
use kollator_core::rtc::RtcEvent;
use kollator_core::store::{EffectDone, HomeAnswer};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tracing::{info, warn};

use super::asker::{Answers, Asker};
use super::homes::Homes;
use super::lanes;
use super::tasks::Tasks;
use crate::blocking::Blocking;
use crate::dht::{Dht, DhtDriver};
use crate::driver::{self, Handle, Host};
use crate::event::{EventSink, Stopped};
use crate::http::front::system_clock;
use crate::http::proof::Prover;
use crate::link::{FrontUrl, Link};
use crate::net::Net;
use crate::rtc::Transport;
use crate::storage::StoreDriver;

/// Longest wait, once drained, for connections to send what is queued and close.
const GRACE: Duration = Duration::from_secs(3);
/// How often the machine is told the wall clock.
const CLOCK_EVERY: Duration = Duration::from_secs(60);
/// How often the machine is told how much memory the process takes.
const MEMORY_EVERY: Duration = Duration::from_secs(1);

/// What a worker is made of.
#[derive(Debug)]
pub struct WorkerOptions {
    /// The machine's settings; its number of fronts is that of `fronts`, and `dht` says whether it uses the DHT.
    pub config: WorkerConfig,
    /// Where its fronts are, at least one.
    pub fronts: Vec<FrontUrl>,
    /// Its cache and its backing store.
    pub store: StoreDriver,
    /// What the cache held when it was opened, and for how long nobody used each chunk.
    pub recovered: Vec<(ChunkId, Duration)>,
    /// Where hashing runs.
    pub blocking: Blocking,
    /// Tells how many bytes of memory the process takes, for the machine's limit on them; `None` where nobody can know.
    pub memory: fn() -> Option<u64>,
    /// The DHT, if it is used.
    pub dht: Option<WorkerDht>,
}

/// What a worker needs to use the DHT.
pub struct WorkerDht {
    /// The way into it.
    pub dht: Arc<dyn Dht>,
    /// TCP port of the worker's HTTP as others reach it: what is announced.
    pub port: u16,
}

impl fmt::Debug for WorkerDht {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerDht").field("port", &self.port).finish_non_exhaustive()
    }
}

/// A running worker. Dropped, it stops at once without a word to anyone; see [`WorkerNode::drain`].
pub struct WorkerNode {
    handle: Handle<Worker>,
    asker: Asker,
    task: JoinHandle<()>,
}

impl fmt::Debug for WorkerNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerNode").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Drop for WorkerNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl WorkerNode {
    /// Starts a worker on `net`. `transport` makes its WebRTC transport around the sink of its events.
    ///
    /// # Errors
    /// What `transport` says.
    pub fn start<N: Net, T: Transport + 'static, E>(
        options: WorkerOptions,
        net: N,
        transport: impl FnOnce(EventSink<RtcEvent>) -> Result<T, E>,
    ) -> Result<Self, E> {
        let WorkerOptions { mut config, fronts, store, recovered, blocking, memory, dht } = options;
        config.fronts = fronts.len();
        config.dht = dht.as_ref().map(|_| DhtConfig::new(config.seed));
        let (handle, mailbox) = driver::mailbox();
        let transport = transport(handle.sink(WorkerInput::Rtc))?;
        let (tasks, panics) = Tasks::new();
        tasks.spawn(tell_time(handle.clone()));
        tasks.spawn(tell_memory(handle.clone(), memory));
        let hash = |(ticket, data): (Ticket, Bytes)| (ticket, HashedBlocks::compute(data));
        let hashed = |(ticket, blocks)| WorkerInput::Hashed { ticket, blocks };
        let answers = Answers::default();
        let asker = Asker::new(handle.clone(), &answers, &config);
        let prover = Prover::new(config.name.clone(), config.key.clone(), system_clock);
        let host = WorkerHost {
            homes: Homes::new(net.clone(), prover, blocking.clone()),
            home_answered: handle.sink(|(ticket, answer)| WorkerInput::HomeAnswered { ticket, answer }),
            link: Link::new(net, fronts, handle.sink(WorkerInput::Link)),
            transport,
            hash: lanes::start(&tasks, &blocking, hash, &handle.sink(hashed)),
            stored: handle.sink(WorkerInput::Store),
            dht: dht.map(|WorkerDht { dht, port }| DhtDriver::new(dht, port, store.clone())),
            asked_dht: handle.sink(WorkerInput::Dht),
            store,
            answers,
            tasks,
        };
        let mut worker = Worker::new(config);
        worker.recovered(recovered);
        let task = tokio::spawn(panics.watch(async move {
            let (_, host) = driver::run(worker, mailbox, || WorkerInput::Wake, host).await;
            // Late is no worse than never: the process is about to exit.
            let _ = timeout(GRACE, host.transport.idle()).await;
        }));
        Ok(Self { handle, asker, task })
    }

    /// The machine, to look at.
    #[must_use]
    pub const fn handle(&self) -> &Handle<Worker> {
        &self.handle
    }

    /// The way to ask it for what it stores.
    #[must_use]
    pub const fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Takes no new work, finishes what is open, for at most `limit`, and stops.
    ///
    /// # Errors
    /// It broke down.
    pub async fn drain(mut self, limit: Duration) -> Result<(), Stopped> {
        self.handle.send(WorkerInput::Drain).await?;
        match timeout(limit, &mut self.task).await {
            Ok(ended) => ended.map_err(|_| Stopped),
            Err(_) => {
                warn!("not everything could be finished within {limit:?}");
                Ok(())
            }
        }
    }

    /// Resolves when the worker has broken down.
    pub async fn broken_down(&mut self) {
        // How it ended was said by the panic itself.
        let _ = (&mut self.task).await;
    }
}

async fn tell_time(handle: Handle<Worker>) {
    let mut ticks = interval(CLOCK_EVERY);
    loop {
        ticks.tick().await;
        if handle.send(WorkerInput::Clock { unix_ms: system_clock() }).await.is_err() {
            return;
        }
    }
}

/// Ends where nobody can know it.
async fn tell_memory(handle: Handle<Worker>, memory: fn() -> Option<u64>) {
    let mut ticks = interval(MEMORY_EVERY);
    loop {
        ticks.tick().await;
        let Some(bytes) = memory() else { return };
        if handle.send(WorkerInput::Memory { bytes }).await.is_err() {
            return;
        }
    }
}

struct WorkerHost<N: Net, T> {
    link: Link<N>,
    transport: T,
    store: StoreDriver,
    stored: EventSink<EffectDone>,
    dht: Option<DhtDriver>,
    asked_dht: EventSink<DhtEvent>,
    homes: Homes<N>,
    home_answered: EventSink<(Ticket, HomeAnswer)>,
    hash: mpsc::UnboundedSender<(Ticket, Bytes)>,
    answers: Answers,
    tasks: Tasks,
}

impl<N: Net, T: Transport> Host<Worker> for WorkerHost<N, T> {
    fn execute(&mut self, output: WorkerOutput) -> ControlFlow<()> {
        match output {
            WorkerOutput::Link(command) => self.link.execute(command),
            WorkerOutput::Rtc(command) => self.transport.execute(command),
            WorkerOutput::Store(effect) => {
                let (effect, stored) = (self.store.execute(effect), self.stored.clone());
                self.tasks.spawn(async move {
                    // An error says that the worker has stopped.
                    let _ = stored.send(effect.await).await;
                });
            }
            WorkerOutput::Dht(command) => {
                let driver = self.dht.as_ref().expect("a worker without a DHT asks nothing of it");
                let (event, asked) = (driver.execute(command), self.asked_dht.clone());
                self.tasks.spawn(async move {
                    // An error says that the worker has stopped.
                    let _ = asked.send(event.await).await;
                });
            }
            WorkerOutput::AskHome { ticket, chunk, home } => {
                let (homes, answered) = (self.homes.clone(), self.home_answered.clone());
                self.tasks.spawn(async move {
                    // An error says that the worker has stopped.
                    let _ = answered.send((ticket, homes.ask(chunk, &home).await)).await;
                });
            }
            WorkerOutput::Hash { ticket, data } => {
                if self.hash.send((ticket, data)).is_err() {
                    return ControlFlow::Break(());
                }
            }
            WorkerOutput::Told { id, result } => self.answers.tell(id, result),
            WorkerOutput::Event(event) => log(event),
            WorkerOutput::Drained => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }
}

fn log(event: WorkerEvent) {
    match event {
        WorkerEvent::Online => info!("a front counts this worker in"),
        WorkerEvent::Offline { reason } => warn!(reason, "no front"),
        WorkerEvent::ShareStored { info_hash } => info!(%info_hash, "a share is stored"),
        WorkerEvent::Blamed { peer, offence } => warn!(%peer, offence, "cut off"),
        WorkerEvent::StoreFault { what } => warn!(what, "storage fault"),
    }
}
