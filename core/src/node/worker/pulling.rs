//! Taking chunks from sharers: what they offer is looked up, asked of them as far as memory allows, put together, stored,
//! and acknowledged to everyone who offered it. Nothing is acknowledged before the backing store has it.

use std::collections::BTreeSet;

use super::{Question, Worker, WorkerOutput, reason_of};
use crate::id::ChunkId;
use crate::machine::Instant;
use crate::merkle::{ChunkAssembly, VerifiedBlocks};
use crate::rtc::ConnId;
use crate::store::StoreError;
use crate::transfer::DownloadOutput;
use crate::wire::frame::{Frame, Reason, RequestId};

/// Most chunks that one session may have offered and not yet seen acknowledged.
const MAX_OFFERED: usize = 512;

/// A chunk that someone offered.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) stage: OfferStage,
    pub(super) waiters: BTreeSet<(ConnId, RequestId)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum OfferStage {
    /// The store is asked whether it has it.
    Checking,
    /// Waiting for room among the chunks being pulled.
    Queued,
    /// Being asked of its sharers, under this slot.
    Pulling(u32),
    /// On its way into the store.
    Putting,
}

impl Worker {
    pub(super) fn offer(&mut self, now: Instant, conn: ConnId, request: RequestId, chunks: &[ChunkId]) {
        let Some(count) = self.conns.get_mut(&conn) else { return };
        if *count + chunks.len() > MAX_OFFERED {
            return self.reject(conn, request, Reason::Busy);
        }
        for chunk in chunks {
            let is_new = !self.offered.contains_key(chunk);
            let offered = self
                .offered
                .entry(*chunk)
                .or_insert_with(|| Offered { stage: OfferStage::Checking, waiters: BTreeSet::new() });
            if offered.waiters.insert((conn, request)) {
                *self.conns.get_mut(&conn).expect("it was there above") += 1;
            }
            if let OfferStage::Pulling(slot) = offered.stage {
                self.pull.source_has(now, conn, [slot]);
            }
            if is_new {
                let ticket = self.question(Question::Offered(*chunk));
                self.store.contains(now, ticket, *chunk);
            }
        }
    }

    /// The store says whether it has an offered chunk.
    pub(super) fn checked(&mut self, chunk: ChunkId, result: Result<bool, StoreError>) {
        match result {
            Ok(true) => self.settle_offer(chunk, Ok(())),
            Err(error) => self.settle_offer(chunk, Err(error)),
            Ok(false) => {
                let offered = self.offered.get_mut(&chunk).expect("an offer outlives its look-up");
                if offered.waiters.is_empty() {
                    self.offered.remove(&chunk);
                } else {
                    offered.stage = OfferStage::Queued;
                    self.queue.push_back(chunk);
                }
            }
        }
    }

    /// Asks for queued chunks as far as memory allows; true if any.
    pub(super) fn pull_more(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while let Some(chunk) = self.queue.front().copied() {
            let length = u64::from(chunk.length());
            if self.pulling > 0 && self.pulling + length > self.config.max_pulling {
                break;
            }
            self.queue.pop_front();
            self.pulling += length;
            self.next_slot = self.next_slot.wrapping_add(1);
            let slot = self.next_slot;
            self.slots.insert(slot, chunk);
            self.pull.want(slot, chunk, None);
            let offered = self.offered.get_mut(&chunk).expect("a queued chunk is offered");
            offered.stage = OfferStage::Pulling(slot);
            for (conn, _) in &offered.waiters {
                self.pull.source_has(now, *conn, [slot]);
            }
            moved = true;
        }
        moved
    }

    pub(super) fn pull_output(&mut self, now: Instant, output: DownloadOutput) {
        match output {
            DownloadOutput::Send { conn, frame } => self.sessions.send(conn, frame),
            DownloadOutput::Hash { ticket, data } => self.out.push(WorkerOutput::Hash { ticket, data }),
            DownloadOutput::Write { ticket, slot, blocks } => {
                self.assemble(slot, &blocks);
                self.pull.written(now, ticket, Ok(()));
            }
            DownloadOutput::Gained { .. } => {}
            DownloadOutput::ChunkDone { slot } => self.pulled(now, slot),
            DownloadOutput::Blame { conn, offence } => self.blame(now, conn, offence.to_string()),
        }
    }

    fn assemble(&mut self, slot: u32, blocks: &VerifiedBlocks) {
        let assembly = self.assemblies.entry(slot).or_insert_with(|| ChunkAssembly::new(blocks.leaves().clone()));
        assembly.insert(blocks);
    }

    fn pulled(&mut self, now: Instant, slot: u32) {
        let Some(chunk) = self.slots.remove(&slot) else { return };
        let assembly = self.assemblies.remove(&slot).expect("a pulled chunk was assembled");
        let verified = assembly.finish().expect("a chunk is done once every block is written");
        self.offered.get_mut(&chunk).expect("a pulled chunk is offered").stage = OfferStage::Putting;
        let ticket = self.question(Question::Put(chunk));
        self.store.put(now, ticket, verified);
    }

    /// Tells everyone who offered a chunk how it went.
    pub(super) fn settle_offer(&mut self, chunk: ChunkId, result: Result<(), StoreError>) {
        let Some(offered) = self.offered.remove(&chunk) else { return };
        for (conn, request) in offered.waiters {
            if let Some(count) = self.conns.get_mut(&conn) {
                *count -= 1;
            }
            let frame = match &result {
                Ok(()) => Frame::ChunkStored { request, chunk },
                Err(error) => Frame::Reject { request, reason: reason_of(error) },
            };
            self.sessions.send(conn, frame);
        }
    }
}
