//! Helper tasks of a node. One that panics takes the node with it: a machine that waits for an answer which
//! never comes would look alive and be dead.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

type Panic = Box<dyn Any + Send>;

/// Starts helper tasks. Cloneable.
#[derive(Clone, Debug)]
pub(super) struct Tasks(mpsc::UnboundedSender<Panic>);

/// Hears of panics in helper tasks.
#[derive(Debug)]
pub(super) struct Panics(mpsc::UnboundedReceiver<Panic>);

impl Tasks {
    pub(super) fn new() -> (Self, Panics) {
        let (tx, rx) = mpsc::unbounded_channel();
        (Self(tx), Panics(rx))
    }

    /// The task can be ended by what this returns.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let panics = self.0.clone();
        let spawned = tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                // An error says that the node is gone already.
                let _ = panics.send(panic);
            }
        });
        spawned.abort_handle()
    }
}

impl Panics {
    /// Runs `node`, and panics as soon as one of its helpers does.
    pub(super) async fn watch<T>(mut self, node: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            Some(panic) = self.0.recv() => std::panic::resume_unwind(panic),
            result = node => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_helper_s_panic_ends_the_node() {
        let node = tokio::spawn(async {
            let (tasks, panics) = Tasks::new();
            tasks.spawn(async { panic!("as planned") });
            panics.watch(std::future::pending::<()>()).await;
        });
        assert!(node.await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn helpers_that_end_leave_the_node_alone() {
        let (tasks, panics) = Tasks::new();
        tasks.spawn(async {});
        let node = async {
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(panics.watch(node).await, 7);
    }
}
