//! Writes what a front wants kept, in the order in which it says so, beside everything else it does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kollator_core::cluster::FrontId;
use kollator_core::cluster::epoch::Epoch;
use kollator_core::cluster::saved::{Record, Saved};
use kollator_core::wire::sync::{Row, RowKey};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::error;

use super::State;
use crate::event::EventSink;

/// How long changes are gathered before they are written together.
const GATHER: Duration = Duration::from_millis(100);
/// Pause after the disk refused.
const RETRY: Duration = Duration::from_secs(1);

/// A task that writes to a [`State`]. Dropping it drops what was not written yet.
#[derive(Debug)]
pub struct Keeper<T> {
    shared: Arc<Shared<T>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    /// There is something that cannot wait.
    urgent: Notify,
    /// There is something that can.
    changed: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    records: VecDeque<(T, Record)>,
    changes: Changes,
    finished: bool,
}

impl<T> Drop for Keeper<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T: Send + 'static> Keeper<T> {
    /// Starts to write to `state`; the ticket of each record goes to `sink` once the record is durable.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(state: State, sink: EventSink<T>) -> Self {
        let waiting = Waiting { records: VecDeque::new(), changes: Changes::default(), finished: false };
        let shared =
            Arc::new(Shared { waiting: Mutex::new(waiting), urgent: Notify::new(), changed: Notify::new() });
        let task = tokio::spawn(run(shared.clone(), state, sink));
        Self { shared, task }
    }

    /// Writes `record` after all earlier ones, and tells `ticket` then. While the disk refuses, it is tried again
    /// and the log says so.
    pub fn persist(&self, ticket: T, record: Record) {
        self.shared.lock().records.push_back((ticket, record));
        self.shared.urgent.notify_one();
    }

    /// Writes `saved` within a fraction of a second, with what else comes until then.
    pub fn save(&self, saved: Vec<Saved>) {
        self.shared.lock().changes.add(saved);
        self.shared.changed.notify_one();
    }

    /// Returns once everything is written, or cannot be.
    pub async fn finish(mut self) {
        self.shared.lock().finished = true;
        self.shared.urgent.notify_one();
        // It can only have panicked, which was told already.
        let _ = (&mut self.task).await;
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().expect("no holder of this lock can panic")
    }
}

async fn run<T: Send + 'static>(shared: Arc<Shared<T>>, state: State, sink: EventSink<T>) {
    let mut batch = Vec::new();
    loop {
        let (record, finished) = {
            let mut waiting = shared.lock();
            if batch.is_empty() {
                batch = waiting.changes.take();
            }
            (waiting.records.pop_front(), waiting.finished)
        };
        if let Some((ticket, record)) = record {
            while let Err(error) = state.persist(record).await {
                error!(%error, ?record, "cannot keep what must be kept; this front waits for it");
                if shared.lock().finished {
                    return;
                }
                sleep(RETRY).await;
            }
            if sink.send(ticket).await.is_err() {
                return;
            }
            continue;
        }
        let pause = if batch.is_empty() {
            if finished {
                return;
            }
            tokio::select! {
                () = shared.urgent.notified() => {}
                () = shared.changed.notified() => {}
            }
            continue;
        } else {
            match state.save(batch.clone()).await {
                Ok(()) => {
                    batch.clear();
                    GATHER
                }
                Err(error) => {
                    error!(%error, "cannot keep a copy of what all fronts know; it is tried again");
                    if finished {
                        return;
                    }
                    RETRY
                }
            }
        };
        tokio::select! {
            () = shared.urgent.notified() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Changes, of which only the last of each thing counts: as many as there are things.
#[derive(Debug, Default)]
struct Changes {
    epoch: Option<Epoch>,
    forgotten: BTreeSet<FrontId>,
    rows: BTreeMap<(FrontId, RowKey), (u64, Row)>,
}

impl Changes {
    fn add(&mut self, saved: Vec<Saved>) {
        for saved in saved {
            match saved {
                Saved::Epoch(epoch) => self.epoch = Some(epoch),
                Saved::Forget { author } => {
                    self.rows.retain(|(of, _), _| *of != author);
                    self.forgotten.insert(author);
                }
                Saved::Row { author, incarnation, row } => {
                    self.rows.insert((author, row.key.clone()), (incarnation, row));
                }
            }
        }
    }

    /// All of them, in an order that means the same.
    fn take(&mut self) -> Vec<Saved> {
        let Self { epoch, forgotten, rows } = std::mem::take(self);
        let forgotten = forgotten.into_iter().map(|author| Saved::Forget { author });
        let rows =
            rows.into_iter().map(|((author, _), (incarnation, row))| Saved::Row { author, incarnation, row });
        epoch.map(Saved::Epoch).into_iter().chain(forgotten).chain(rows).collect()
    }
}
