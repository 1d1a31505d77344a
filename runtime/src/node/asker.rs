//! Asking a running worker for what its store holds, from outside its machine. Every ask gets its answer, or hears that
//! the worker has stopped; no more are open at once than the machine takes, the others wait for their turn.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use kollator_core::node::worker::{Ask, AskError, AskId, Told, Worker, WorkerInput};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::driver::Handle;

/// Whoever waits for an answer, and its turn, which is over once the machine has answered.
type Waiting = Mutex<HashMap<AskId, (oneshot::Sender<Result<Told, AskError>>, OwnedSemaphorePermit)>>;

/// The worker's end: those who wait hear of it when it is dropped.
#[derive(Default)]
pub(super) struct Answers(Arc<Waiting>);

impl Answers {
    /// Hands over an answer. Whoever asked may have gone away meanwhile.
    pub(super) fn tell(&self, id: AskId, result: Result<Told, AskError>) {
        if let Some((waiting, _turn)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            // An error says that nobody waits any more.
            let _ = waiting.send(result);
        }
    }
}

/// Asks a worker. Clones share its turns.
#[derive(Clone)]
pub struct Asker(Arc<Inner>);

struct Inner {
    worker: Handle<Worker>,
    waiting: Weak<Waiting>,
    turns: Arc<Semaphore>,
    /// Those of other workers.
    worker_turns: Arc<Semaphore>,
    next: AtomicU64,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").field("worker", &self.0.worker).finish_non_exhaustive()
    }
}

impl Asker {
    /// Asks the machine behind `worker`, at most so many things at once, and so many for other workers.
    pub(super) fn new(worker: Handle<Worker>, answers: &Answers, limits: (usize, usize)) -> Self {
        let (turns, worker_turns) = (Arc::new(Semaphore::new(limits.0)), Arc::new(Semaphore::new(limits.1)));
        let waiting = Arc::downgrade(&answers.0);
        Self(Arc::new(Inner { worker, waiting, turns, worker_turns, next: AtomicU64::new(0) }))
    }

    /// The machine, to look at.
    #[must_use]
    pub fn worker(&self) -> &Handle<Worker> {
        &self.0.worker
    }

    /// Asks, once it is this ask's turn.
    ///
    /// # Errors
    /// What the machine says; [`AskError::Leaving`] if it has stopped.
    ///
    /// # Panics
    /// Never: the turns are never closed.
    pub async fn ask(&self, ask: Ask) -> Result<Told, AskError> {
        let turns = match ask {
            Ask::BlocksForWorker { .. } => &self.0.worker_turns,
            _ => &self.0.turns,
        };
        let turn = Arc::clone(turns).acquire_owned().await.expect("never closed");
        let id = AskId(self.0.next.fetch_add(1, Ordering::Relaxed));
        let (tx, rx) = oneshot::channel();
        {
            let waiting = self.0.waiting.upgrade().ok_or(AskError::Leaving)?;
            waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (tx, turn));
        }
        self.0.worker.send(WorkerInput::Ask { id, ask }).await.map_err(|_| AskError::Leaving)?;
        rx.await.unwrap_or(Err(AskError::Leaving))
    }
}
