//! A download asks each block of one source at a time, until nothing else is left to ask for, and never has
//! more bytes in flight than it was allowed.

use std::collections::{BTreeMap, BTreeSet};

use kollator_core::id::{ChunkId, Digest};
use kollator_core::merkle::{BLOCK_LEN, sha256};
use kollator_core::node::io::{DiskCommand, DiskEvent, Place};
use kollator_core::node::peer::{PeerEvent, PeerInput, PeerOutput, WebAsk, WebCommand, WebEvent, WebId};
use kollator_core::rtc::{ConnId, RtcCommand, RtcEvent};
use kollator_core::wire::frame::{Frame, RequestId};

use super::{Fact, Oracle, WorldEvent, claimed_blocks};
use crate::world::Truth;

type Block = (ChunkId, u16);

/// What a download lacks.
#[derive(Default)]
struct Wanted {
    /// Blocks that were not on disk when it began.
    missing: BTreeSet<Block>,
    /// Those of them that nobody is asked for yet.
    unasked: BTreeSet<Block>,
}

#[derive(Default)]
struct Node {
    /// Blocks that are asked for, by connection and request.
    open: BTreeMap<(ConnId, RequestId), BTreeSet<Block>>,
    /// Running downloads, by share.
    downloads: BTreeMap<usize, Wanted>,
    /// Blocks that came.
    came: BTreeSet<Block>,
    /// Bytes that came over HTTP, of requests whose blocks are not all there.
    bodies: BTreeMap<WebId, usize>,
    /// It asked over HTTP: what it has decided to ask, and is not seen here before it is sent, may be the last.
    is_on_http: bool,
}

#[derive(Default)]
pub(super) struct Requests(BTreeMap<usize, Node>);

impl Oracle for Requests {
    fn name(&self) -> &'static str {
        "requests"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, truth: &Truth) -> Result<(), String> {
        let node = self.0.entry(event.node).or_default();
        match &event.fact {
            Fact::Crashed => *node = Node::default(),
            Fact::PeerSaid(PeerOutput::Disk(DiskCommand::Prepare { metainfo })) => {
                if let Some((index, share)) = truth.share(metainfo.info_hash()) {
                    let chunks = share.metainfo.pieces().iter().map(|piece| piece.chunk);
                    let blocks = chunks.flat_map(|chunk| (0..chunk.blocks()).map(move |block| (chunk, block)));
                    let blocks: BTreeSet<Block> = blocks.collect();
                    node.came.retain(|block| !blocks.contains(block));
                    node.downloads.insert(index, Wanted { missing: blocks.clone(), unasked: blocks });
                }
            }
            Fact::PeerHeard(PeerInput::Disk(DiskEvent::Prepared { info_hash, found: Ok(claims) })) => {
                let Some((index, share)) = truth.share(*info_hash) else { return Ok(()) };
                let Some(wanted) = node.downloads.get_mut(&index) else { return Ok(()) };
                let right = |(place, leaf): &(Place, Digest)| {
                    share.block(*place).is_some_and(|data| sha256(&data) == *leaf)
                };
                let there: BTreeSet<Place> =
                    claimed_blocks(claims).filter(right).map(|(place, _)| place).collect();
                for piece in share.metainfo.pieces() {
                    for block in 0..piece.chunk.blocks() {
                        let offset = piece.offset + u64::from(block) * u64::from(BLOCK_LEN);
                        if there.contains(&Place { file: piece.file, offset }) {
                            wanted.missing.remove(&(piece.chunk, block));
                            wanted.unasked.remove(&(piece.chunk, block));
                        }
                    }
                }
            }
            Fact::PeerSaid(PeerOutput::Event(
                PeerEvent::Completed { info_hash, .. } | PeerEvent::Failed { info_hash, .. },
            )) => {
                if let Some((index, _)) = truth.share(*info_hash) {
                    node.downloads.remove(&index);
                }
            }
            Fact::PeerHeard(PeerInput::Rtc(RtcEvent::Closed { conn, .. }))
            | Fact::PeerSaid(PeerOutput::Rtc(RtcCommand::Close { conn, .. })) => {
                let lost: Vec<_> = node.open.keys().filter(|(on, _)| on == conn).copied().collect();
                lost.into_iter().for_each(|request| node.give_up(request));
            }
            Fact::PeerSaid(PeerOutput::Web(WebCommand::Request { id, ask, .. })) => {
                node.is_on_http = true;
                let WebAsk::Blocks { chunk, first, count } = ask else { return Ok(()) };
                node.ask(over_http(*id), *chunk, *first..first + count, truth)?;
                node.keeps_within(truth.nodes[event.node].max_buffered * truth.shares.len() as u64)?;
            }
            Fact::PeerSaid(PeerOutput::Web(WebCommand::Cancel { id }))
            | Fact::PeerHeard(PeerInput::Web(WebEvent::End { id } | WebEvent::Failed { id, .. })) => {
                node.give_up(over_http(*id));
            }
            Fact::PeerHeard(PeerInput::Web(WebEvent::Head { id, status, .. })) if *status >= 300 => {
                node.give_up(over_http(*id));
            }
            Fact::PeerHeard(PeerInput::Web(WebEvent::Data { id, data })) => {
                node.came_over_http(*id, data.len(), truth)
            }
            Fact::PeerSaid(PeerOutput::Rtc(RtcCommand::Send { conn, frame })) => match frame {
                Frame::ChunkRequest { request, chunk, first, count } => {
                    node.ask((*conn, *request), *chunk, *first..first + count, truth)?;
                    node.keeps_within(truth.nodes[event.node].max_buffered * truth.shares.len() as u64)?;
                }
                Frame::Cancel { request } => node.give_up((*conn, *request)),
                _ => {}
            },
            Fact::FrameHeard { conn, frame: Some(frame), .. } => match frame {
                Frame::ChunkResponse { request, first, data } => {
                    let count = data.len().div_ceil(16 * 1024) as u16;
                    if let Some(open) = node.open.get_mut(&(*conn, *request)) {
                        let came = |(_, block): &Block| (*first..first.saturating_add(count)).contains(block);
                        for block in open.extract_if(.., came) {
                            // Of two downloads that want it, either may have got it: neither is held to it.
                            node.downloads.values_mut().for_each(|wanted| _ = wanted.missing.remove(&block));
                            node.came.insert(block);
                        }
                    }
                }
                Frame::Reject { request, .. } => node.give_up((*conn, *request)),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}

/// How a request over HTTP stands among the others.
const fn over_http(id: WebId) -> (ConnId, RequestId) {
    (ConnId(u64::MAX), id.0 as RequestId)
}

impl Node {
    fn keeps_within(&self, limit: u64) -> Result<(), String> {
        let in_flight = self.in_flight();
        if in_flight > limit {
            return Err(format!("{in_flight} bytes in flight, allowed are {limit}"));
        }
        Ok(())
    }

    /// Bytes of a body came: the first blocks that were asked for are there.
    fn came_over_http(&mut self, id: WebId, bytes: usize, truth: &Truth) {
        let Some(open) = self.open.get_mut(&over_http(id)) else { return };
        let body = self.bodies.entry(id).or_default();
        *body += bytes;
        while let Some((chunk, block)) = open.first().copied()
            && let Some(data) = truth.range_of(chunk, block, 1)
            && *body >= data.len()
        {
            *body -= data.len();
            let block = (chunk, block);
            open.remove(&block);
            self.downloads.values_mut().for_each(|wanted| _ = wanted.missing.remove(&block));
            self.came.insert(block);
        }
    }

    fn ask(
        &mut self,
        request: (ConnId, RequestId),
        chunk: ChunkId,
        blocks: std::ops::Range<u16>,
        truth: &Truth,
    ) -> Result<(), String> {
        let mut shares = (0..).zip(&truth.shares).filter(|(_, share)| share.has(chunk)).map(|(index, _)| index);
        let Some(share) = shares.next() else { return Err(format!("asked for a foreign chunk {chunk:?}")) };
        // Of a download that cuts its share in another way, nothing is known here of what it has yet to ask.
        for (index, wanted) in &mut self.downloads {
            if truth.shares[*index].has(chunk) && !truth.shares[*index].lists(chunk) {
                *wanted = Wanted::default();
            }
        }
        // Two downloads that want one chunk each ask for it.
        let alone = shares.next().is_none();
        let end_game = self.downloads.get(&share).is_none_or(|wanted| wanted.unasked.is_empty());
        for block in blocks.clone() {
            let wanted = (chunk, block);
            if alone && !end_game && !self.is_on_http && self.open.values().any(|open| open.contains(&wanted)) {
                return Err(format!("asked for block {block} of {chunk:?} a second time, before the end game"));
            }
        }
        for wanted in self.downloads.values_mut() {
            blocks.clone().for_each(|block| _ = wanted.unasked.remove(&(chunk, block)));
        }
        self.open.insert(request, blocks.map(|block| (chunk, block)).collect());
        Ok(())
    }

    /// What a request still waited for may be asked of others.
    fn give_up(&mut self, request: (ConnId, RequestId)) {
        let Some(lost) = self.open.remove(&request) else { return };
        for block in lost {
            if self.came.contains(&block) || self.open.values().any(|open| open.contains(&block)) {
                continue;
            }
            for wanted in self.downloads.values_mut().filter(|wanted| wanted.missing.contains(&block)) {
                wanted.unasked.insert(block);
            }
        }
    }

    fn in_flight(&self) -> u64 {
        let len = |(chunk, block): &Block| u64::from(chunk.range_len(*block, 1).unwrap_or_default());
        self.open.values().flatten().map(len).sum()
    }
}
