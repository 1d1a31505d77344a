//! Judging what came: blocks against proven leaves, leaves against the chunk's root.

use super::{Download, DownloadOutput, Pending, Stage};
use crate::machine::Instant;
use crate::merkle::{ChunkLeaves, HashedBlocks};
use crate::node::io::Ticket;
use crate::rtc::ConnId;
use crate::transfer::Offence;
use crate::transfer::chunk::{Chunk, Open};

impl Download {
    /// Compares hashed blocks with the proven leaves.
    pub(super) fn check(&mut self, now: Instant, ticket: Ticket, leaves: &ChunkLeaves, blocks: HashedBlocks) {
        let pending = self.pending.get_mut(&ticket).expect("the caller knows the ticket");
        match leaves.verify(pending.first, blocks) {
            Ok(blocks) => {
                pending.stage = Stage::Writing;
                self.out.push(DownloadOutput::Write { ticket, slot: pending.slot, blocks });
            }
            Err(_) => {
                let pending = self.pending.remove(&ticket).expect("it was there a line ago");
                self.held -= pending.bytes;
                self.lose(&pending);
                self.blame(now, pending.conn, Offence::WrongBlock);
            }
        }
    }

    /// Blocks that came are worth nothing: others may still owe them, else they are missing.
    pub(super) fn lose(&mut self, pending: &Pending) {
        let open = self.chunks.get_mut(&pending.slot).and_then(|chunk| chunk.open.as_mut());
        let open = open.expect("pending blocks belong to an open chunk");
        let (first, end) = (pending.first, pending.first + pending.count);
        open.lose(first, end);
        for (conn, source) in &self.sources {
            for asked in source.requests.values().filter(|asked| asked.slot == pending.slot) {
                let (from, to) = (asked.next.max(first), asked.end.min(end));
                if from < to {
                    open.ask(*conn, from, to - from);
                }
            }
        }
    }

    /// A chunk's leaves are proven: believes claims, checks what waited.
    pub(super) fn settle(&mut self, now: Instant, slot: u32, leaves: ChunkLeaves) {
        let chunk = self.chunks.get_mut(&slot).expect("the caller knows the chunk");
        let open = chunk.open.as_mut().expect("leaves are asked of open chunks only");
        open.leaves = Some(leaves.clone());
        for (first, count) in open.believe(&chunk.claims.take().unwrap_or_default()) {
            let bytes = chunk.id.range_len(first, count).expect("a run inside the chunk");
            self.out.push(DownloadOutput::Gained { slot, first, bytes, from: None });
        }
        let waiting: Vec<Ticket> = self
            .pending
            .iter()
            .filter(|(_, p)| p.slot == slot && matches!(p.stage, Stage::Waiting(_)))
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in waiting {
            let Some(pending) = self.pending.get_mut(&ticket) else { continue };
            if let Stage::Waiting(blocks) = std::mem::replace(&mut pending.stage, Stage::Hashing) {
                self.check(now, ticket, &leaves, blocks);
            }
        }
        self.complete(slot);
    }

    pub(super) fn blame(&mut self, now: Instant, conn: ConnId, offence: Offence) {
        if self.sources.contains_key(&conn) {
            self.out.push(DownloadOutput::Blame { conn, offence });
            self.source_down(now, conn);
        }
    }

    pub(super) fn complete(&mut self, slot: u32) {
        let complete = |chunk: &Chunk| chunk.open.as_ref().is_some_and(Open::is_complete);
        if self.chunks.get(&slot).is_some_and(complete) {
            self.forget(slot);
            for source in self.sources.values_mut().filter(|source| !source.has_all) {
                source.except.remove(&slot);
            }
            self.out.push(DownloadOutput::ChunkDone { slot });
        }
    }

    /// Drops a chunk, what is pending for it and what is asked for it.
    pub(super) fn forget(&mut self, slot: u32) {
        let Some(chunk) = self.chunks.remove(&slot) else { return };
        self.claimed.remove(&slot);
        self.window.retain(|urgent| urgent.slot != slot);
        if self.open.remove(&slot) {
            self.open_bytes -= u64::from(chunk.id.length());
        }
        let held = &mut self.held;
        self.pending.retain(|_, pending| {
            if pending.slot == slot {
                *held -= pending.bytes;
            }
            pending.slot != slot
        });
        for source in self.sources.values_mut() {
            let before = source.leaf_requests.len();
            source.leaf_requests.retain(|_, asked| *asked != slot);
            source.late_answers += (before - source.leaf_requests.len()) as u32;
        }
        let conns: Vec<ConnId> = self.sources.keys().copied().collect();
        for conn in conns {
            self.cancel_useless(conn, slot);
        }
    }
}
