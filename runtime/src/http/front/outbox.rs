//! Messages waiting to be written to one client. Bounded: a client that does not read is cut, nobody waits for
//! it. Nothing follows a close.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Most messages that wait.
pub(super) const MAX_MESSAGES: usize = 256;
/// Most bytes that wait.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// The queue between the machine's task and a socket's task.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<Waiting>,
    reader: AtomicWaker,
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
        self.reader.wake();
    }

    /// Closes after what waits; the first reason stands.
    pub(super) fn close(&self, reason: String) {
        self.lock().close.get_or_insert(reason);
        self.reader.wake();
    }

    /// Something to write, taken. For one task only.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        self.poll(cx, Self::take)
    }

    /// Whether the client was cut for being too slow. For the task that calls [`Self::poll_next`].
    pub(super) fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, |this| this.lock().cut.then_some(()))
    }

    fn poll<T>(&self, cx: &mut Context<'_>, look: impl Fn(&Self) -> Option<T>) -> Poll<T> {
        if let Some(found) = look(self) {
            return Poll::Ready(found);
        }
        self.reader.register(cx.waker());
        // What came between the look and the registration woke nobody.
        look(self).map_or(Poll::Pending, Poll::Ready)
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
    use super::*;

    fn is_cut(outbox: &Outbox) -> bool {
        outbox.poll_cut(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

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
            assert!(!is_cut(&outbox));
            outbox.push("x".into());
            assert!(is_cut(&outbox), "a write that hangs is given up");
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
