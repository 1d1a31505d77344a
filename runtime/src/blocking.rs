//! Where work that blocks (disk, hashing) runs: on a few threads of its own, or at once for a simulator.
//!
//! Never blocks the caller in production, and never lets more of it run at a time than it was made for.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// An executor of work that blocks. Clones share the same limit.
#[derive(Clone, Debug)]
pub enum Blocking {
    /// On tokio's blocking threads, as many at a time as the semaphore has permits; first come, first served.
    Threads(Arc<Semaphore>),
    /// At once, on the task that asks: the order of everything is decided by that task alone.
    Inline,
}

impl Blocking {
    /// Runs at most `limit` pieces of work at a time.
    ///
    /// # Panics
    /// If `limit` is zero.
    #[must_use]
    pub fn threads(limit: usize) -> Self {
        assert!(limit > 0, "work needs a thread to run on");
        Self::Threads(Arc::new(Semaphore::new(limit)))
    }

    /// Runs `work` and returns what it returned. Work that has begun is finished even if the future is dropped.
    ///
    /// # Panics
    /// If `work` does.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let Self::Threads(limit) = self else { return work() };
        let permit = Arc::clone(limit).acquire_owned().await.expect("the semaphore is never closed");
        let running = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        match running.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down: nobody is left to hear the answer.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_more_than_the_limit_runs_at_a_time() {
        let blocking = Blocking::threads(2);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (blocking, running, most) = (blocking.clone(), Arc::clone(&running), Arc::clone(&most));
                tokio::spawn(async move {
                    let work = move || {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        n
                    };
                    blocking.run(work).await
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), n);
        }
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
    }

    #[tokio::test]
    async fn inline_work_is_done_before_the_future_is_first_pending() {
        let mut done = std::pin::pin!(Blocking::Inline.run(|| 7));
        assert_eq!(futures_util::FutureExt::now_or_never(done.as_mut()), Some(7));
    }

    #[tokio::test]
    async fn a_panic_reaches_who_asked() {
        let task = tokio::spawn(async { Blocking::threads(1).run(|| panic!("as planned")).await });
        assert!(task.await.unwrap_err().is_panic());
    }
}
