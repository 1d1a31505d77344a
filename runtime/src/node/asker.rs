//! Asking a running worker for what its store holds, from outside its machine. Every ask gets its answer, or hears that
//! the worker has stopped; no more are open at once than the machine takes, the others wait for their turn.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use kollator_core::node::worker::{Ask, AskError, AskId, AskKind, Told, Worker, WorkerConfig, WorkerInput};
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
    /// Those of asks for bytes.
    read_turns: Arc<Semaphore>,
    /// Those of other workers.
    worker_turns: Arc<Semaphore>,
    most_blocks: u16,
    is_limited: bool,
    next: AtomicU64,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").field("worker", &self.0.worker).finish_non_exhaustive()
    }
}

impl Asker {
    /// Asks the machine behind `worker`, which has this configuration, at most so many things at once as that allows.
    pub(super) fn new(worker: Handle<Worker>, answers: &Answers, config: &WorkerConfig) -> Self {
        let turns = |most| Arc::new(Semaphore::new(most));
        Self(Arc::new(Inner {
            worker,
            waiting: Arc::downgrade(&answers.0),
            turns: turns(config.max_asks),
            read_turns: turns(config.max_asks),
            worker_turns: turns(config.max_worker_asks),
            most_blocks: config.ask_blocks(),
            is_limited: config.upload.limit > 0,
            next: AtomicU64::new(0),
        }))
    }

    /// Most blocks that one [`Ask::Blocks`] may ask for.
    #[must_use]
    pub fn most_blocks(&self) -> u16 {
        self.0.most_blocks
    }

    /// Whether bytes may have to wait for their turn under a limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.0.is_limited
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
        let turns = match ask.kind() {
            AskKind::ForWorker => &self.0.worker_turns,
            AskKind::Read => &self.0.read_turns,
            AskKind::Other => &self.0.turns,
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
