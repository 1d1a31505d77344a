//! The loop that runs any machine: one task, one mailbox, one clock.
//!
//! It decides nothing. The clock is tokio's, which a simulator pauses; carrying out an output is the
//! [`Host`]'s business and must not block, because nothing else happens meanwhile.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use kollator_core::machine::{Instant, Machine};
use tokio::sync::{mpsc, oneshot};
use tokio::time;

use crate::event::{EventSink, Lease, Stopped};

/// Inputs that may wait in a mailbox before whoever sends more has to wait.
pub const MAILBOX: usize = 1024;
/// Inputs handled between two looks at the clock's wake-ups.
const BATCH: usize = 128;

/// Carries out what a machine wants done.
pub trait Host<M: Machine> {
    /// Begins to carry out `output`, in order, and returns at once: what takes time is spawned, and reports
    /// through a [`Handle`]. `Break` ends the loop: nothing that follows is carried out.
    fn execute(&mut self, output: M::Output) -> ControlFlow<()>;
}

type Query<M> = Box<dyn FnOnce(&mut M) + Send>;

enum Message<M: Machine> {
    Input(M::Input, Option<Lease>),
    Query(Query<M>),
}

/// The way to reach a running machine. Cloneable.
pub struct Handle<M: Machine>(mpsc::Sender<Message<M>>);

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Machine> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl<M> Handle<M>
where
    M: Machine + 'static,
    M::Input: Send + 'static,
{
    /// Tells the machine what happened, waiting while its mailbox is full.
    ///
    /// # Errors
    /// Its loop has ended; the input is lost.
    pub async fn send(&self, input: M::Input) -> Result<(), Stopped> {
        self.0.send(Message::Input(input, None)).await.map_err(|_| Stopped)
    }

    /// Asks the machine for something it knows. The closure runs between two inputs and must be quick.
    ///
    /// # Errors
    /// Its loop has ended.
    pub async fn query<R, F>(&self, ask: F) -> Result<R, Stopped>
    where
        R: Send + 'static,
        F: FnOnce(&mut M) -> R + Send + 'static,
    {
        let (tx, rx) = oneshot::channel();
        let query: Query<M> = Box::new(move |machine| {
            // Whoever asked may have gone away meanwhile.
            let _ = tx.send(ask(machine));
        });
        self.0.send(Message::Query(query)).await.map_err(|_| Stopped)?;
        rx.await.map_err(|_| Stopped)
    }

    /// A sink whose events reach the machine as the input that `wrap` makes of them.
    pub fn sink<E: Send + 'static>(&self, wrap: fn(E) -> M::Input) -> EventSink<E> {
        let mailbox = self.0.clone();
        EventSink::new(move |event, lease| {
            let mailbox = mailbox.clone();
            let message = Message::Input(wrap(event), lease);
            Box::pin(async move { mailbox.send(message).await.map_err(|_| Stopped) })
        })
    }
}

/// Where a machine's inputs wait.
pub struct Mailbox<M: Machine>(mpsc::Receiver<Message<M>>);

impl<M: Machine> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

/// A mailbox with room for [`MAILBOX`] inputs, and the handle that fills it. The host that [`run`] is given
/// usually needs the handle, so it comes first.
#[must_use]
pub fn mailbox<M: Machine>() -> (Handle<M>, Mailbox<M>) {
    let (tx, rx) = mpsc::channel(MAILBOX);
    (Handle(tx), Mailbox(rx))
}

/// Runs `machine` until its host says `Break` or every [`Handle`] is gone, and gives both back.
///
/// `wake` makes the machine's wake-up input; one is handled first, so that a machine can begin without
/// anything having happened. The machine's time begins now.
pub async fn run<M, H>(machine: M, mailbox: Mailbox<M>, wake: fn() -> M::Input, host: H) -> (M, H)
where
    M: Machine,
    H: Host<M>,
{
    let mut driver = Driver { start: time::Instant::now(), machine, host };
    // Break and end of input both mean that the loop is over.
    let _ = driver.run(mailbox, wake).await;
    (driver.machine, driver.host)
}

struct Driver<M, H> {
    start: time::Instant,
    machine: M,
    host: H,
}

impl<M: Machine, H: Host<M>> Driver<M, H> {
    async fn run(&mut self, mut mailbox: Mailbox<M>, wake: fn() -> M::Input) -> ControlFlow<()> {
        self.handle(wake())?;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                count = mailbox.0.recv_many(&mut batch, BATCH) => if count == 0 {
                    return ControlFlow::Break(());
                },
                () = sleep_until(self.machine.next_wake().map(|at| self.to_tokio(at))) => {}
            }
            for message in batch.drain(..) {
                self.receive(message)?;
            }
            // A mailbox that is never empty must not starve the machine's timers.
            if self.machine.next_wake().is_some_and(|at| at <= self.now()) {
                self.handle(wake())?;
            }
        }
    }

    fn receive(&mut self, message: Message<M>) -> ControlFlow<()> {
        match message {
            Message::Input(_, Some(lease)) if lease.is_revoked() => ControlFlow::Continue(()),
            Message::Input(input, _) => self.handle(input),
            Message::Query(query) => {
                query(&mut self.machine);
                self.drain()
            }
        }
    }

    fn handle(&mut self, input: M::Input) -> ControlFlow<()> {
        self.machine.handle(self.now(), input);
        self.drain()
    }

    fn drain(&mut self) -> ControlFlow<()> {
        while let Some(output) = self.machine.poll() {
            self.host.execute(output)?;
        }
        ControlFlow::Continue(())
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    fn to_tokio(&self, at: Instant) -> time::Instant {
        // tokio's own far future; its timer wheel cannot hold more than about two years.
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.start + at.since(Instant::ZERO).min(self.start.elapsed() + FAR)
    }
}

async fn sleep_until(at: Option<time::Instant>) {
    match at {
        Some(at) => time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wants to be woken 10 ms after each input, and tells what it was told.
    #[derive(Default)]
    struct Echo {
        told: Vec<(u64, u32)>,
        outputs: Vec<u32>,
        wake: Option<Instant>,
    }

    const WAKE: u32 = 0;

    impl Machine for Echo {
        type Input = u32;
        type Output = u32;

        fn handle(&mut self, now: Instant, input: u32) {
            if input == WAKE && self.wake.is_some_and(|at| at > now) {
                return;
            }
            self.told.push((now.as_nanos() / 1_000_000, input));
            self.outputs.push(input);
            self.wake = (input != WAKE).then(|| now + Duration::from_millis(10));
        }

        fn poll(&mut self) -> Option<u32> {
            self.outputs.pop()
        }

        fn next_wake(&self) -> Option<Instant> {
            self.wake
        }
    }

    /// Ends the loop at a chosen output.
    struct Until(u32);

    impl Host<Echo> for Until {
        fn execute(&mut self, output: u32) -> ControlFlow<()> {
            if output == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tells_the_machine_inputs_and_wakes_in_its_own_time() {
        let (handle, mailbox) = mailbox::<Echo>();
        let script = async {
            time::sleep(Duration::from_millis(5)).await;
            handle.send(1).await?;
            time::sleep(Duration::from_millis(7)).await;
            handle.send(2).await?;
            time::sleep(Duration::from_millis(30)).await;
            assert_eq!(handle.query(|echo| echo.told.len()).await?, 4);
            handle.send(9).await
        };
        let ((echo, _), script) = tokio::join!(run(Echo::default(), mailbox, || WAKE, Until(9)), script);
        assert_eq!(script, Ok(()));
        assert_eq!(echo.told, [(0, WAKE), (5, 1), (12, 2), (22, WAKE), (42, 9)]);
        assert_eq!(handle.send(3).await, Err(Stopped));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_mailbox_does_not_starve_the_timers() {
        let (handle, mailbox) = mailbox::<Echo>();
        let flood = async {
            for _ in 0..10 * MAILBOX {
                handle.send(1).await?;
            }
            time::sleep(Duration::from_millis(10)).await;
            handle.send(9).await
        };
        let ((echo, _), flood) = tokio::join!(run(Echo::default(), mailbox, || WAKE, Until(9)), flood);
        assert_eq!(flood, Ok(()));
        assert_eq!(echo.told.len(), 10 * MAILBOX + 3);
        assert_eq!(echo.told[echo.told.len() - 2].1, WAKE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_revoked_lease_silences_what_is_queued() {
        let (handle, mailbox) = mailbox::<Echo>();
        let (sink, lease) = handle.sink(|event: u32| event).leased();
        assert_eq!(sink.send(1).await, Ok(()));
        lease.revoke();
        assert_eq!(sink.send(2).await, Ok(()));
        assert_eq!(handle.send(9).await, Ok(()));
        let (echo, _) = run(Echo::default(), mailbox, || WAKE, Until(9)).await;
        assert_eq!(echo.told, [(0, WAKE), (0, 9)]);
    }
}
