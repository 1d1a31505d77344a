//! Deciding what to ask of whom: which chunk next, which blocks of it, how much at once.

use super::{Download, DownloadOutput, END_GAME_BLOCKS};
use crate::id::ChunkId;
use crate::machine::Instant;
use crate::merkle::BLOCK_LEN;
use crate::rtc::ConnId;
use crate::transfer::Order;
use crate::transfer::chunk::{Chunk, Open};
use crate::transfer::source::{Request, Source};
use crate::wire::frame::Frame;

impl Download {
    /// Asks every source for as much as it, and the budget, can take.
    pub(super) fn fill(&mut self, now: Instant) {
        for source in self.sources.values_mut() {
            source.paused_until = source.paused_until.filter(|until| now < *until);
            source.busy_until = source.busy_until.filter(|until| now < *until);
        }
        self.pacing.begin();
        if self.chunks.is_empty() {
            return;
        }
        self.ask_for_leaves(now);
        let after = self.turn.map_or(ConnId(0), |ConnId(turn)| ConnId(turn + 1));
        let order: Vec<ConnId> =
            self.sources.range(after..).chain(self.sources.range(..after)).map(|(conn, _)| *conn).collect();
        let mut asked = true;
        while asked {
            asked = false;
            for conn in &order {
                if self.ask_one(now, *conn) {
                    self.turn = Some(*conn);
                    asked = true;
                }
            }
        }
    }

    /// Asks one range of one source; false if there is nothing to ask or no room.
    fn ask_one(&mut self, now: Instant, conn: ConnId) -> bool {
        if let Some(asked) = self.ask_urgent(now, conn) {
            return asked;
        }
        let Some(source) = self.sources.get(&conn) else { return false };
        let (most, idle) = (self.room(source), source.in_flight == 0);
        if most == 0 || !source.may_be_asked(now) {
            return false;
        }
        let most = self.pacing.most(most);
        if most == 0 {
            return false;
        }
        if let Some((slot, first, count)) = self.next_range(now, conn, most) {
            self.ask(now, conn, slot, first, count);
            return true;
        }
        if idle && let Some((slot, first, count)) = self.end_game_range(conn, most.min(END_GAME_BLOCKS)) {
            self.ask(now, conn, slot, first, count);
            return true;
        }
        false
    }

    /// How many blocks a source may be asked for now.
    pub(super) fn room(&self, source: &Source) -> u16 {
        let max = self.config.max_pipeline;
        let pipeline = if self.is_watched { source.short_pipeline(max) } else { source.pipeline(max) };
        let room = pipeline.saturating_sub(source.in_flight);
        let budget = self.config.max_buffered.saturating_sub(self.buffered());
        let longest = if self.is_watched { source.short_request() } else { u16::MAX };
        let longest = u64::from(longest.min(self.config.request_blocks));
        let most = (room.min(budget) / u64::from(BLOCK_LEN)).min(longest);
        // A pipeline is topped up by an eighth at a time, not block by block: every request wakes both sides' stacks.
        let blocks = pipeline / u64::from(BLOCK_LEN);
        let least = (blocks / 8).max(8).min(longest).min(blocks / 2);
        if source.in_flight == 0 || most >= least { most as u16 } else { 0 }
    }

    /// The next blocks nobody was asked for, from an open chunk or a new one.
    fn next_range(&mut self, now: Instant, conn: ConnId, most: u16) -> Option<(u32, u16, u16)> {
        let source = &self.sources[&conn];
        for slot in &self.open {
            let chunk = &self.chunks[slot];
            // What is on disk may make a request needless: the leaves will tell.
            if !source.has(*slot) || chunk.claims.is_some() {
                continue;
            }
            if let Some((first, count)) = chunk.open.as_ref().and_then(|open| open.missing_run(most)) {
                return Some((*slot, first, count));
            }
        }
        loop {
            let slot = self.next_chunk(conn)?;
            self.open(slot);
            self.ask_leaves(now, slot, conn);
            let chunk = &self.chunks[&slot];
            if chunk.claims.is_none() {
                let (first, count) = chunk.open.as_ref().and_then(|open| open.missing_run(most))?;
                return Some((slot, first, count));
            }
        }
    }

    /// The chunk to open next for a source, if there is room for one more.
    fn next_chunk(&mut self, conn: ConnId) -> Option<u32> {
        let source = &self.sources[&conn];
        if let Some(slot) = self.claimed.iter().find(|slot| source.has(**slot)) {
            return Some(*slot).filter(|slot| self.has_room_for(self.chunks[slot].id));
        }
        let closed = self.chunks.iter().filter(|(slot, chunk)| chunk.open.is_none() && source.has(**slot));
        let swarm = self.sources.values().any(|source| !source.has_all);
        let slot = if self.config.order == Order::Sequential || !swarm {
            closed.map(|(slot, _)| *slot).next()?
        } else {
            // Equally rare chunks are taken from a random point on, so that peers differ.
            let (low, high) = (*self.chunks.keys().next()?, *self.chunks.keys().next_back()?);
            let pivot = low + (self.rng.below(u64::from(high - low) + 1)) as u32;
            closed.min_by_key(|(slot, chunk)| (chunk.holders, **slot < pivot, **slot)).map(|(slot, _)| *slot)?
        };
        Some(slot).filter(|slot| self.has_room_for(self.chunks[slot].id))
    }

    fn has_room_for(&self, id: ChunkId) -> bool {
        self.open.is_empty() || self.open_bytes + u64::from(id.length()) <= self.config.max_open
    }

    pub(super) fn open(&mut self, slot: u32) {
        let chunk = self.chunks.get_mut(&slot).expect("the caller knows the chunk");
        let mut open = Open::new(chunk.id);
        if open.leaves.is_some()
            && let Some(claims) = chunk.claims.take()
        {
            // A claim on a lone block was settled when it was wanted; a wrong one is worth nothing.
            assert!(open.believe(&claims).is_empty(), "a right claim on a lone block completes its chunk");
        }
        chunk.open = Some(open);
        self.claimed.remove(&slot);
        self.open.insert(slot);
        self.open_bytes += u64::from(chunk.id.length());
    }

    /// When nothing else is left to ask: blocks that a slower source still owes.
    fn end_game_range(&self, conn: ConnId, most: u16) -> Option<(u32, u16, u16)> {
        let source = &self.sources[&conn];
        if source.stalled || most == 0 {
            return None;
        }
        let all_asked = |chunk: &Chunk| chunk.open.as_ref().is_some_and(|open| open.missing == 0);
        if !self.chunks.values().all(all_asked) {
            return None;
        }
        self.open.iter().filter(|slot| source.has(**slot)).find_map(|slot| {
            let (first, count) = self.chunks[slot].open.as_ref()?.owed_run(conn, most)?;
            Some((*slot, first, count))
        })
    }

    pub(super) fn ask(&mut self, now: Instant, conn: ConnId, slot: u32, first: u16, count: u16) {
        let request = self.request();
        let chunk = self.chunks.get_mut(&slot).expect("the caller knows the chunk");
        let owed = chunk.id.range_len(first, count).expect("a run inside the chunk");
        chunk.open.as_mut().expect("the caller opened it").ask(conn, first, count);
        let source = self.sources.get_mut(&conn).expect("the caller knows the source");
        if source.owes_nothing() {
            source.last_progress = now;
        }
        self.pacing.spend(owed);
        let end = first + count;
        let asked = Request { slot, next: first, end, owed, asked_at: now };
        source.requests.insert(request, asked);
        source.in_flight += u64::from(owed);
        self.in_flight += u64::from(owed);
        let frame = Frame::ChunkRequest { request, chunk: chunk.id, first, count };
        self.out.push(DownloadOutput::Send { conn, frame });
    }

    /// Asks for the leaves of open chunks that nobody was asked for.
    fn ask_for_leaves(&mut self, now: Instant) {
        let unasked = |slot: &&u32| {
            let open = self.chunks[*slot].open.as_ref();
            open.is_some_and(|open| open.leaves.is_none() && open.leaves_asked.is_none())
        };
        let slots: Vec<u32> = self.open.iter().filter(unasked).copied().collect();
        for slot in slots {
            let able = |source: &Source| source.has(slot) && source.may_be_asked(now);
            let best = self.sources.iter().filter(|(_, source)| able(source));
            let best =
                best.min_by_key(|(_, source)| (source.stalled, source.failures, source.time_to_give(now, 0)));
            if let Some(conn) = best.map(|(conn, _)| *conn) {
                self.ask_leaves(now, slot, conn);
            }
        }
    }

    pub(super) fn ask_leaves(&mut self, now: Instant, slot: u32, conn: ConnId) {
        let request = self.request();
        let chunk = self.chunks.get_mut(&slot).expect("the caller knows the chunk");
        let open = chunk.open.as_mut().expect("the caller opened it");
        if open.leaves.is_some() {
            return;
        }
        open.leaves_asked = Some((conn, now));
        let source = self.sources.get_mut(&conn).expect("the caller knows the source");
        if source.owes_nothing() {
            source.last_progress = now;
        }
        source.leaf_requests.insert(request, slot);
        let frame = Frame::HashRequest { request, chunk: chunk.id };
        self.out.push(DownloadOutput::Send { conn, frame });
    }
}
