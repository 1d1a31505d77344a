//! Taking back what was asked: of sources that are gone, stalled or no longer needed.

use super::{Download, DownloadOutput, STALL};
use crate::machine::Instant;
use crate::rtc::ConnId;
use crate::transfer::chunk::Block;
use crate::transfer::source::{Request, Source};
use crate::wire::frame::{Frame, RequestId};

impl Download {
    pub(super) fn release(&mut self, conn: ConnId, source: &mut Source, tell: bool) {
        self.in_flight -= source.in_flight;
        let (requests, leaves) = source.give_up();
        for asked in requests.values() {
            if let Some(open) = self.chunks.get_mut(&asked.slot).and_then(|chunk| chunk.open.as_mut()) {
                open.unask(conn, asked.next, asked.end);
            }
        }
        for slot in leaves.values() {
            if let Some(open) = self.chunks.get_mut(slot).and_then(|chunk| chunk.open.as_mut())
                && open.leaves_asked.is_some_and(|(asked, _)| asked == conn)
            {
                open.leaves_asked = None;
            }
        }
        if tell {
            for request in requests.into_keys() {
                self.out.push(DownloadOutput::Send { conn, frame: Frame::Cancel { request } });
            }
        }
    }

    /// Cancels requests to `conn` of which no block is needed any more.
    pub(super) fn cancel_useless(&mut self, conn: ConnId, slot: u32) {
        let Some(source) = self.sources.get(&conn) else { return };
        let open = self.chunks.get(&slot).and_then(|chunk| chunk.open.as_ref());
        let needed = |asked: &Request| {
            open.is_some_and(|open| {
                open.blocks[usize::from(asked.next)..usize::from(asked.end)]
                    .iter()
                    .any(|b| matches!(b, Block::Asked(by) if by.contains(&conn)))
            })
        };
        let useless: Vec<RequestId> = source
            .requests
            .iter()
            .filter(|(_, asked)| asked.slot == slot && !needed(asked))
            .map(|(request, _)| *request)
            .collect();
        for request in useless {
            self.cancel(conn, request);
        }
    }

    /// Takes a request for blocks back. Its blocks are not put among the missing here.
    pub(super) fn cancel(&mut self, conn: ConnId, request: RequestId) -> Option<Request> {
        let source = self.sources.get_mut(&conn)?;
        let asked = source.requests.remove(&request)?;
        let owed = u64::from(asked.owed);
        source.in_flight -= owed;
        source.late += owed;
        source.late_answers += 1;
        self.in_flight -= owed;
        self.out.push(DownloadOutput::Send { conn, frame: Frame::Cancel { request } });
        Some(asked)
    }

    /// Gives the blocks of sources that stopped giving to others, where there are others.
    pub(super) fn give_up_stalled(&mut self, now: Instant) {
        let late = |s: &Source| !s.owes_nothing() && now >= s.last_progress + STALL;
        let stalled: Vec<ConnId> = self.sources.iter().filter(|(_, s)| late(s)).map(|(c, _)| *c).collect();
        for conn in stalled {
            let others = self.sources.iter().any(|(other, s)| *other != conn && !s.stalled && !late(s));
            let Some(mut source) = self.sources.remove(&conn) else { continue };
            source.last_progress = now;
            if others {
                source.failures += 1;
                source.stalled = true;
                self.release(conn, &mut source, true);
            }
            self.sources.insert(conn, source);
        }
    }

    /// Asks someone else for leaves that do not come.
    pub(super) fn give_up_leaves(&mut self, now: Instant) {
        let late = |slot: &&u32| {
            let open = self.chunks.get(*slot).and_then(|chunk| chunk.open.as_ref());
            open.is_some_and(|open| {
                open.leaves.is_none() && open.leaves_asked.is_some_and(|(_, at)| now >= at + STALL)
            })
        };
        let late: Vec<u32> = self.open.iter().filter(late).copied().collect();
        for slot in late {
            if let Some(source) = self.ask_other_for_leaves(slot) {
                source.failures += 1;
                source.stalled = true;
            }
        }
    }

    /// Takes back the request for a chunk's leaves, so that another may be asked. Gives who was asked.
    pub(super) fn ask_other_for_leaves(&mut self, slot: u32) -> Option<&mut Source> {
        let open = self.chunks.get_mut(&slot).and_then(|chunk| chunk.open.as_mut())?;
        let (conn, _) = open.leaves_asked.take()?;
        let source = self.sources.get_mut(&conn)?;
        let before = source.leaf_requests.len();
        source.leaf_requests.retain(|_, asked| *asked != slot);
        source.late_answers += (before - source.leaf_requests.len()) as u32;
        Some(source)
    }
}
