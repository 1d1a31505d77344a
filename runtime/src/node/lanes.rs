//! Lanes: a few tasks that take blocking work from one queue, several pieces at a time, so that what a switch
//! between threads costs is shared by them.
//!
//! The queue is not bounded here: a machine bounds what it has asked for.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::tasks::Tasks;
use crate::blocking::Blocking;
use crate::event::EventSink;

/// Most pieces of work that a lane takes at once.
const BATCH: usize = 16;

/// Starts lanes that do `work` on everything that is sent and report what came of it, each once, in no particular
/// order. They end when the sender is gone. Inline work has one lane: its order is that of the queue.
pub(super) fn start<C, E>(
    tasks: &Tasks,
    blocking: &Blocking,
    work: impl Fn(C) -> E + Clone + Send + 'static,
    sink: &EventSink<E>,
) -> mpsc::UnboundedSender<C>
where
    C: Send + 'static,
    E: Send + 'static,
{
    let lanes = match blocking {
        Blocking::Threads(limit) => limit.available_permits().max(1),
        Blocking::Inline => 1,
    };
    let (tx, rx) = mpsc::unbounded_channel();
    let queue = Arc::new(Mutex::new(rx));
    for _ in 0..lanes {
        let (queue, blocking, work, sink) = (Arc::clone(&queue), blocking.clone(), work.clone(), sink.clone());
        tasks.spawn(async move {
            loop {
                let mut batch = Vec::with_capacity(BATCH);
                if queue.lock().await.recv_many(&mut batch, BATCH).await == 0 {
                    return;
                }
                let work = work.clone();
                let done = blocking.run(move || batch.into_iter().map(work).collect::<Vec<_>>()).await;
                for event in done {
                    if sink.send(event).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
    tx
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everything_is_done_once() {
        for blocking in [Blocking::threads(3), Blocking::Inline] {
            let (sink, mut done) = EventSink::channel(4);
            let (tasks, _panics) = Tasks::new();
            let queue = start(&tasks, &blocking, |n: u32| n * 2, &sink);
            drop(sink);
            for n in 0..100 {
                queue.send(n).unwrap();
            }
            drop(queue);
            let mut results = Vec::new();
            while let Some(result) = done.recv().await {
                results.push(result);
            }
            if matches!(blocking, Blocking::Threads(_)) {
                results.sort_unstable();
            }
            assert_eq!(results, (0..100).map(|n| n * 2).collect::<Vec<_>>());
        }
    }
}
