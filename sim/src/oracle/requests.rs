//! A download asks each block of one source at a time, until nothing else is left to ask for, and never has
//! more bytes in flight than it was allowed.

use std::collections::{BTreeMap, BTreeSet};

use kollator_core::id::ChunkId;
use kollator_core::merkle::sha256;
use kollator_core::node::io::{DiskCommand, DiskEvent};
use kollator_core::node::peer::{PeerEvent, PeerInput, PeerOutput};
use kollator_core::rtc::{ConnId, RtcCommand, RtcEvent};
use kollator_core::wire::frame::{Frame, RequestId};

use super::{Fact, Oracle, WorldEvent};
use crate::world::Truth;

type Block = (ChunkId, u16);

#[derive(Default)]
struct Node {
    /// Blocks that are asked for, by connection and request.
    open: BTreeMap<(ConnId, RequestId), BTreeSet<Block>>,
    /// Blocks of running downloads, by share, that nobody was asked for yet.
    unasked: BTreeMap<usize, BTreeSet<Block>>,
    /// Blocks that came.
    came: BTreeSet<Block>,
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
                    node.unasked.insert(index, blocks);
                }
            }
            Fact::PeerHeard(PeerInput::Disk(DiskEvent::Prepared { info_hash, found: Ok(claims) })) => {
                let Some((index, share)) = truth.share(*info_hash) else { return Ok(()) };
                let Some(unasked) = node.unasked.get_mut(&index) else { return Ok(()) };
                for claim in claims {
                    let chunk = share.metainfo.pieces()[claim.piece as usize].chunk;
                    for (block, leaf) in (0..).zip(&claim.leaves) {
                        if leaf.is_some() && *leaf == share.block(claim.piece, block).map(|data| sha256(&data)) {
                            unasked.remove(&(chunk, block));
                        }
                    }
                }
            }
            Fact::PeerSaid(PeerOutput::Event(
                PeerEvent::Completed { info_hash, .. } | PeerEvent::Failed { info_hash, .. },
            )) => {
                if let Some((index, _)) = truth.share(*info_hash) {
                    node.unasked.remove(&index);
                }
            }
            Fact::PeerHeard(PeerInput::Rtc(RtcEvent::Closed { conn, .. }))
            | Fact::PeerSaid(PeerOutput::Rtc(RtcCommand::Close { conn, .. })) => {
                let lost: Vec<_> = node.open.keys().filter(|(on, _)| on == conn).copied().collect();
                lost.into_iter().for_each(|request| node.give_up(request, truth));
            }
            Fact::PeerSaid(PeerOutput::Rtc(RtcCommand::Send { conn, frame })) => match frame {
                Frame::ChunkRequest { request, chunk, first, count } => {
                    node.ask((*conn, *request), *chunk, *first..first + count, truth)?;
                    let limit = truth.nodes[event.node].max_buffered * truth.shares.len() as u64;
                    let in_flight = node.in_flight();
                    if in_flight > limit {
                        return Err(format!("{in_flight} bytes in flight, allowed are {limit}"));
                    }
                }
                Frame::Cancel { request } => node.give_up((*conn, *request), truth),
                _ => {}
            },
            Fact::FrameHeard { conn, frame: Some(frame), .. } => match frame {
                Frame::ChunkResponse { request, first, data } => {
                    let count = data.len().div_ceil(16 * 1024) as u16;
                    if let Some(open) = node.open.get_mut(&(*conn, *request)) {
                        let came = |(_, block): &Block| (*first..first.saturating_add(count)).contains(block);
                        node.came.extend(open.extract_if(.., came));
                    }
                }
                Frame::Reject { request, .. } => node.give_up((*conn, *request), truth),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}

impl Node {
    fn ask(
        &mut self,
        request: (ConnId, RequestId),
        chunk: ChunkId,
        blocks: std::ops::Range<u16>,
        truth: &Truth,
    ) -> Result<(), String> {
        let mut shares = (0..).zip(&truth.shares).filter(|(_, share)| share.has(chunk)).map(|(index, _)| index);
        let Some(share) = shares.next() else { return Err(format!("asked for a foreign chunk {chunk:?}")) };
        // Two downloads that want one chunk each ask for it.
        let alone = shares.next().is_none();
        let end_game = self.unasked.get(&share).is_none_or(BTreeSet::is_empty);
        for block in blocks.clone() {
            let wanted = (chunk, block);
            if alone && !end_game && self.open.values().any(|open| open.contains(&wanted)) {
                return Err(format!("asked for block {block} of {chunk:?} a second time, before the end game"));
            }
        }
        for (_, unasked) in self.unasked.iter_mut() {
            blocks.clone().for_each(|block| _ = unasked.remove(&(chunk, block)));
        }
        self.open.insert(request, blocks.map(|block| (chunk, block)).collect());
        Ok(())
    }

    /// What a request still waited for may be asked of others.
    fn give_up(&mut self, request: (ConnId, RequestId), truth: &Truth) {
        let Some(lost) = self.open.remove(&request) else { return };
        for block in lost {
            if self.came.contains(&block) || self.open.values().any(|open| open.contains(&block)) {
                continue;
            }
            for (share, unasked) in &mut self.unasked {
                if truth.shares[*share].has(block.0) {
                    unasked.insert(block);
                }
            }
        }
    }

    fn in_flight(&self) -> u64 {
        let len = |(chunk, block): &Block| u64::from(chunk.range_len(*block, 1).unwrap_or_default());
        self.open.values().flatten().map(len).sum()
    }
}
