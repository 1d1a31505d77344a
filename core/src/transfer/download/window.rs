//! The window: blocks that somebody is waiting for, asked before all others and in the order in which they are
//! needed. It decides order only: what is asked, counted and judged is the download's, as for every other block.

use std::time::Duration;

use super::Download;
use crate::machine::Instant;
use crate::merkle::BLOCK_LEN;
use crate::rtc::ConnId;
use crate::transfer::chunk::Block;
use crate::transfer::source::{Request, Source};
use crate::wire::frame::RequestId;

/// What was asked of a source before the window jumped is taken back where the source would take longer to give it; and
/// where another would give part of the window so much earlier, it is left to that.
const PATIENCE: Duration = Duration::from_millis(500);
/// How much of the window a source is to give in that time, if another could.
const STEP: u64 = 4 * BLOCK_LEN as u64;

/// Blocks of one chunk that somebody is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Urgent {
    /// The chunk, as [`Download::want`] named it.
    pub slot: u32,
    /// The first block.
    pub first: u16,
    /// The block after the last.
    pub end: u16,
}

impl Download {
    /// Sets what is asked before all else, in this order, in place of what was; nothing ends it. What is not wanted, or
    /// is outside its chunk, is ignored. Call [`Download::wake`] after it.
    pub fn seek(&mut self, now: Instant, window: Vec<Urgent>) {
        let inside = |urgent: &Urgent| {
            self.chunks
                .get(&urgent.slot)
                .is_some_and(|chunk| urgent.first < urgent.end && urgent.end <= chunk.id.blocks())
        };
        self.is_watched = !window.is_empty();
        self.window = window.into_iter().filter(inside).collect();
        if self.window.first().is_some_and(|head| self.is_far_off(now, *head)) {
            self.make_way(now);
        }
    }

    /// Whether nobody who will give it soon was asked for the first block.
    fn is_far_off(&self, now: Instant, Urgent { slot, first, .. }: Urgent) -> bool {
        let open = self.chunks.get(&slot).and_then(|chunk| chunk.open.as_ref());
        match open.map(|open| &open.blocks[usize::from(first)]) {
            None | Some(Block::Missing) => true,
            Some(Block::Asked(by)) => by.iter().all(|conn| self.has_better(now, *conn, slot)),
            Some(Block::Here | Block::Done) => false,
        }
    }

    /// Takes back what slow sources owe that is not in the window (it would come before anything asked now), or that
    /// others would give earlier.
    fn make_way(&mut self, now: Instant) {
        let slow = |source: &Source| source.time_to_give(now, 0) > PATIENCE;
        let far = |asked: &Request| {
            let misses = |urgent: &Urgent| {
                urgent.slot != asked.slot || urgent.end <= asked.next || asked.end <= urgent.first
            };
            self.window.iter().all(misses)
        };
        let mut far_off: Vec<(ConnId, RequestId)> = Vec::new();
        for (conn, source) in self.sources.iter().filter(|(_, source)| slow(source)) {
            let useless = |asked: &Request| far(asked) || self.has_better(now, *conn, asked.slot);
            let requests = source.requests.iter().filter(|(_, asked)| useless(asked));
            far_off.extend(requests.map(|(request, _)| (*conn, *request)));
        }
        let window = std::mem::take(&mut self.window);
        for slot in window.iter().map(|urgent| urgent.slot) {
            let asked = self.chunks[&slot].open.as_ref().and_then(|open| open.leaves_asked);
            if asked.is_some_and(|(conn, _)| self.has_better(now, conn, slot)) {
                self.ask_other_for_leaves(slot);
            }
        }
        self.window = window;
        for (conn, _) in &far_off {
            if let Some(source) = self.sources.get_mut(conn) {
                // It may have left its hands already.
                source.busy_until = Some(now + source.time_to_give(now, 0));
            }
        }
        for (conn, request) in far_off {
            if let Some(asked) = self.cancel(conn, request)
                && let Some(open) = self.chunks.get_mut(&asked.slot).and_then(|chunk| chunk.open.as_mut())
            {
                open.unask(conn, asked.next, asked.end);
            }
        }
    }

    /// Whether another source would give part of a chunk much earlier than this one, which may be gone.
    fn has_better(&self, now: Instant, conn: ConnId, slot: u32) -> bool {
        let Some(own) = self.sources.get(&conn) else { return true };
        let own = own.time_to_give(now, STEP);
        let able = |source: &Source| source.has(slot) && source.may_be_asked(now);
        let better = |source: &Source| able(source) && source.time_to_give(now, STEP) + PATIENCE < own;
        self.sources.values().any(better)
    }

    /// Asks a source for part of the window. `None` if that has nothing to ask of it; else whether it was asked: while
    /// there is something, it waits for room for that, and is asked for nothing else.
    pub(super) fn ask_urgent(&mut self, now: Instant, conn: ConnId) -> Option<bool> {
        if self.window.is_empty() {
            return None;
        }
        let source = self.sources.get(&conn)?;
        if !source.may_be_asked(now) {
            return Some(false);
        }
        let most = self.room(source);
        let most = self.pacing.most(most);
        for index in 0..self.window.len() {
            let Urgent { slot, first, end } = self.window[index];
            if !self.sources[&conn].has(slot) {
                continue;
            }
            if self.chunks[&slot].open.is_none() {
                if self.has_better(now, conn, slot) {
                    return Some(false);
                }
                // However much is open already: what is waited for cannot wait for that.
                self.open(slot);
                self.ask_leaves(now, slot, conn);
            }
            let chunk = &self.chunks[&slot];
            // What is on disk may make a request needless: the leaves will tell.
            if chunk.claims.is_some() {
                continue;
            }
            let missing = chunk.open.as_ref().and_then(|open| open.missing_run_in(first, end, most.max(1)));
            if let Some((first, count)) = missing {
                let may_ask = most > 0 && !self.has_better(now, conn, slot);
                if may_ask {
                    self.ask(now, conn, slot, first, count);
                }
                return Some(may_ask);
            }
        }
        None
    }
}
