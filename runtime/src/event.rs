//! How the driver's helpers report what happened: bounded, awaited, and revocable.
//!
//! A sink never drops an event for want of room: whoever sends waits, which is the back-pressure. It drops
//! events only where the machine gave up their source, so that nothing comes from a connection it has closed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

/// Whoever these events were for has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the machine has stopped")]
pub struct Stopped;

/// The right of one source of events to be heard.
///
/// Revoked by the side that executes the machine's outputs, which is the side that hands it its inputs:
/// after [`Lease::revoke`] the machine hears nothing more from that source, not even what was queued.
#[derive(Clone, Debug, Default)]
pub struct Lease(Arc<AtomicBool>);

impl Lease {
    /// Drops every event sent under this lease that was not handled yet.
    pub fn revoke(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

type Deliver<E> = dyn Fn(E, Option<Lease>) -> BoxFuture<'static, Result<(), Stopped>> + Send + Sync;

/// Where events go. Cloneable; sending waits while the receiver is behind.
pub struct EventSink<E> {
    deliver: Arc<Deliver<E>>,
    lease: Option<Lease>,
}

impl<E> Clone for EventSink<E> {
    fn clone(&self) -> Self {
        Self { deliver: self.deliver.clone(), lease: self.lease.clone() }
    }
}

impl<E> fmt::Debug for EventSink<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSink").field("lease", &self.lease).finish_non_exhaustive()
    }
}

impl<E: Send + 'static> EventSink<E> {
    /// A sink that hands each event, with the lease it was sent under, to `deliver`, and waits for it.
    pub fn new<F>(deliver: F) -> Self
    where
        F: Fn(E, Option<Lease>) -> BoxFuture<'static, Result<(), Stopped>> + Send + Sync + 'static,
    {
        Self { deliver: Arc::new(deliver), lease: None }
    }

    /// A sink and the stream that its events come out of; at most `capacity` wait between them.
    #[must_use]
    pub fn channel(capacity: usize) -> (Self, EventStream<E>) {
        let (tx, rx) = mpsc::channel(capacity);
        let sink = Self::new(move |event, lease| {
            let tx = tx.clone();
            Box::pin(async move { tx.send((event, lease)).await.map_err(|_| Stopped) })
        });
        (sink, EventStream(rx))
    }

    /// The same sink for one source, and the lease by which that source can be silenced.
    #[must_use]
    pub fn leased(&self) -> (Self, Lease) {
        let lease = Lease::default();
        (Self { deliver: self.deliver.clone(), lease: Some(lease.clone()) }, lease)
    }

    /// Hands over an event, waiting for room.
    ///
    /// # Errors
    /// The receiver has stopped; the event is lost.
    pub async fn send(&self, event: E) -> Result<(), Stopped> {
        if self.lease.as_ref().is_some_and(Lease::is_revoked) {
            return Ok(());
        }
        (self.deliver)(event, self.lease.clone()).await
    }
}

/// The other end of [`EventSink::channel`].
#[derive(Debug)]
pub struct EventStream<E>(mpsc::Receiver<(E, Option<Lease>)>);

impl<E> EventStream<E> {
    /// The next event whose source was not silenced; `None` once every sink is gone.
    pub async fn recv(&mut self) -> Option<E> {
        loop {
            let (event, lease) = self.0.recv().await?;
            if !lease.is_some_and(|lease| lease.is_revoked()) {
                return Some(event);
            }
        }
    }
}
