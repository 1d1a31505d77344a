//! Messages waiting to be written to one front. Bounded by bytes: a front that does not read loses its connection,
//! and nobody waits for it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use kollator_core::wire::sync::MAX_MESSAGE;
use tokio::sync::Notify;

/// Most bytes that wait, each message counted as at least [`LEAST`].
pub(super) const MAX_BYTES: usize = 4 << 20;
/// What a message costs however short it is.
const LEAST: usize = 64;

/// The queue between whoever sends and the task that writes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to take. Not the same as below: a notification reaches only one who waits for it.
    filled: Notify,
    overflown: Notify,
}

#[derive(Debug, Default)]
enum State {
    /// There is no connection: messages are dropped.
    #[default]
    Closed,
    Open {
        messages: VecDeque<Bytes>,
        bytes: usize,
    },
    /// Too much waited.
    Overflown,
}

impl Queue {
    /// Takes messages from now on.
    pub(super) fn open(&self) {
        *self.lock() = State::Open { messages: VecDeque::new(), bytes: 0 };
    }

    /// Drops what waits, and everything that comes.
    pub(super) fn close(&self) {
        *self.lock() = State::Closed;
    }

    /// Appends a message, if there is a connection.
    ///
    /// # Panics
    /// If it is longer than any message.
    pub(super) fn push(&self, message: Bytes) {
        assert!(message.len() <= MAX_MESSAGE, "a message made here has {} bytes", message.len());
        let mut state = self.lock();
        if let State::Open { messages, bytes } = &mut *state {
            *bytes += message.len().max(LEAST);
            messages.push_back(message);
            if *bytes > MAX_BYTES {
                *state = State::Overflown;
                self.overflown.notify_one();
            }
            self.filled.notify_one();
        }
    }

    /// Waits for messages and takes all of them. Cancel safe. For one task only.
    pub(super) async fn take(&self) -> VecDeque<Bytes> {
        loop {
            if let State::Open { messages, bytes } = &mut *self.lock()
                && !messages.is_empty()
            {
                *bytes = 0;
                return std::mem::take(messages);
            }
            self.filled.notified().await;
        }
    }

    /// Waits until too much waits. Cancel safe. For one task only, which may be the one that takes.
    pub(super) async fn overflown(&self) {
        while !matches!(*self.lock(), State::Overflown) {
            self.overflown.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::{FutureExt, poll};

    use super::*;

    #[test]
    fn takes_messages_only_while_open_and_in_order() {
        let queue = Queue::default();
        queue.push("lost".into());
        assert_eq!(queue.take().now_or_never(), None);
        queue.open();
        queue.push("a".into());
        queue.push("b".into());
        assert_eq!(queue.take().now_or_never(), Some(["a".into(), "b".into()].into()));
        assert_eq!(queue.take().now_or_never(), None);
        queue.push("lost".into());
        queue.close();
        queue.open();
        assert_eq!(queue.take().now_or_never(), None);
    }

    #[test]
    fn too_much_overflows_however_it_is_cut() {
        for (size, fits) in [(0, MAX_BYTES / LEAST), (MAX_MESSAGE, MAX_BYTES / MAX_MESSAGE)] {
            let queue = Queue::default();
            queue.open();
            let message = Bytes::from(vec![0; size]);
            (0..fits).for_each(|_| queue.push(message.clone()));
            assert_eq!(queue.overflown().now_or_never(), None);
            queue.push(message.clone());
            assert_eq!(queue.overflown().now_or_never(), Some(()));
            assert_eq!(queue.take().now_or_never(), None, "what waited is dropped");
            queue.push(message);
            assert_eq!(queue.take().now_or_never(), None, "and what comes");
        }
    }

    #[tokio::test]
    async fn every_message_wakes_whoever_takes_while_another_waits_for_too_much() {
        let queue = Queue::default();
        queue.open();
        let mut overflown = pin!(queue.overflown());
        for _ in 0..10 {
            let mut taken = pin!(queue.take());
            // Both wait, as the one who writes does.
            assert!(poll!(&mut taken).is_pending() && poll!(&mut overflown).is_pending());
            queue.push("a".into());
            assert!(poll!(&mut overflown).is_pending());
            assert!(poll!(&mut taken).is_ready());
        }
    }

    #[test]
    fn room_comes_back_with_taking() {
        let queue = Queue::default();
        queue.open();
        for _ in 0..10 * MAX_BYTES / MAX_MESSAGE {
            queue.push(vec![0; MAX_MESSAGE].into());
            assert_eq!(queue.take().now_or_never().map(|all| all.len()), Some(1));
        }
        assert_eq!(queue.overflown().now_or_never(), None);
    }
}
