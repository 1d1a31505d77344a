//! Look-ups for clients: one for a name at a time, however many ask; few at once, the others in turn. Who has gone is
//! not looked up for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::dht::DhtName;
use crate::rtc::ConnId;
use crate::wire::frame::RequestId;

/// Whose request waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) conn: ConnId,
    pub(super) request: RequestId,
}

/// Who waits for which name.
#[derive(Debug)]
pub(super) struct LookUps {
    most_open: usize,
    most_queued: usize,
    waiting: BTreeMap<DhtName, Vec<Waiter>>,
    /// Names not begun, each of which someone waits for.
    queue: VecDeque<DhtName>,
    /// Names begun, whether or not someone still waits.
    open: BTreeSet<DhtName>,
}

impl LookUps {
    pub(super) fn new(most_open: usize, most_queued: usize) -> Self {
        let (waiting, queue, open) = (BTreeMap::new(), VecDeque::new(), BTreeSet::new());
        Self { most_open, most_queued, waiting, queue, open }
    }

    /// Someone wants a name looked up. False if too many names wait.
    pub(super) fn want(&mut self, name: DhtName, waiter: Waiter) -> bool {
        if !self.waiting.contains_key(&name) && !self.open.contains(&name) {
            if self.queue.len() >= self.most_queued {
                return false;
            }
            self.queue.push_back(name);
        }
        self.waiting.entry(name).or_default().push(waiter);
        true
    }

    /// The next name to look up now.
    pub(super) fn begin(&mut self) -> Option<DhtName> {
        if self.open.len() >= self.most_open {
            return None;
        }
        let name = self.queue.pop_front()?;
        self.open.insert(name);
        Some(name)
    }

    /// A look-up has ended: who waited for it.
    ///
    /// # Panics
    /// If none of this name is open.
    pub(super) fn end(&mut self, name: DhtName) -> Vec<Waiter> {
        assert!(self.open.remove(&name), "the look-up of {name} was never begun");
        self.waiting.remove(&name).unwrap_or_default()
    }

    /// Nobody of this session waits any more.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.waiting.retain(|_, waiters| {
            waiters.retain(|waiter| waiter.conn != conn);
            !waiters.is_empty()
        });
        self.queue.retain(|name| self.waiting.contains_key(name));
    }

    /// Nobody waits any more: who did.
    pub(super) fn clear(&mut self) -> Vec<Waiter> {
        self.queue.clear();
        std::mem::take(&mut self.waiting).into_values().flatten().collect()
    }
}
