//! Messages waiting to be written to one client. Bounded: a client that does not read is cut, nobody waits for
//! it. Nothing follows a close.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

/// Most messages that wait.
pub(super) const MAX_MESSAGES: usize = 256;
/// Most bytes that wait.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// The queue between the machine's task and a socket's task.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<String>,
    bytes: usize,
    /// Why to close once the messages are written.
    close: Option<String>,
    /// Whether the client was too slow.
    cut: bool,
}

/// What to write next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Text(String),
    /// The last one.
    Close(String),
}

impl Outbox {
    /// Appends a message. If too much waits already, drops everything that waits and closes instead.
    pub(super) fn push(&self, text: String) {
        let mut state = self.lock();
        if state.close.is_some() {
            return;
        }
        state.bytes += text.len();
        state.messages.push_back(text);
        if state.messages.len() > MAX_MESSAGES || state.bytes > MAX_BYTES {
            let close = Some("too slow: too much waits to be read".to_owned());
            *state = Waiting { close, cut: true, ..Waiting::default() };
        }
        self.changed.notify_one();
    }

    /// Closes after what waits; the first reason stands.
    pub(super) fn close(&self, reason: String) {
        self.lock().close.get_or_insert(reason);
        self.changed.notify_one();
    }

    /// Waits for something to write and takes it. Cancel safe. For one task only.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.changed.notified().await;
        }
    }

    /// Waits until the client is cut for being too slow. For the task that calls [`Self::next`], between two
    /// calls of it.
    pub(super) async fn cut(&self) {
        while !self.lock().cut {
            self.changed.notified().await;
        }
    }

    fn take(&self) -> Option<Next> {
        let mut state = self.lock();
        match state.messages.pop_front() {
            Some(text) => {
                state.bytes -= text.len();
                if state.messages.is_empty() {
                    // An idle client keeps no buffer.
                    state.messages = VecDeque::new();
                }
                Some(Next::Text(text))
            }
            None => state.close.clone().map(Next::Close),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().expect("no holder of this lock can panic")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn drain(outbox: &Outbox) -> Vec<Next> {
        let mut all = Vec::new();
        while let Some(next) = outbox.take() {
            let last = matches!(next, Next::Close(_));
            all.push(next);
            if last {
                break;
            }
        }
        all
    }

    #[test]
    fn order_is_kept_and_nothing_follows_a_close() {
        let outbox = Outbox::default();
        outbox.push("a".into());
        outbox.push("b".into());
        outbox.close("first".into());
        outbox.close("second".into());
        outbox.push("late".into());
        let expected = [Next::Text("a".into()), Next::Text("b".into()), Next::Close("first".into())];
        assert_eq!(drain(&outbox), expected);
    }

    #[test]
    fn too_many_messages_or_bytes_cut_the_client() {
        for (size, fits) in [(1, MAX_MESSAGES), (MAX_BYTES / 16, 16)] {
            let outbox = Outbox::default();
            (0..fits).for_each(|_| outbox.push("x".repeat(size)));
            assert!(outbox.lock().close.is_none());
            assert!(outbox.cut().now_or_never().is_none());
            outbox.push("x".into());
            assert!(outbox.cut().now_or_never().is_some(), "a write that hangs is given up");
            assert!(matches!(&drain(&outbox)[..], [Next::Close(_)]));
        }
    }

    #[test]
    fn room_comes_back_with_reading() {
        let outbox = Outbox::default();
        for _ in 0..10 * MAX_MESSAGES {
            outbox.push("x".repeat(MAX_BYTES / 2));
            assert!(matches!(outbox.take(), Some(Next::Text(_))));
        }
        assert_eq!(outbox.take(), None);
        assert_eq!(outbox.lock().bytes, 0);
    }
}
