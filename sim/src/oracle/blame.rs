//! Whoever lied is blamed, and nobody else. A node whose disk rots may look like a liar; everybody else who is
//! blamed must be one. Junk must be noticed at once, a lie that was taken for an answer while its sender is
//! still there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kollator_core::id::{ChunkId, PeerId};
use kollator_core::machine::Instant;
use kollator_core::node::peer::{PeerEvent, PeerInput, PeerOutput, SourceName};
use kollator_core::node::worker::{WorkerEvent, WorkerInput, WorkerOutput};
use kollator_core::rtc::{ConnId, RtcCommand, RtcEvent};
use kollator_core::wire::frame::{Frame, RequestId};

use super::{Fact, Oracle, WorldEvent};
use crate::world::{FaultKind, Truth};

/// A lie may have to wait for the leaf hashes that give it away, but not for ever.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Blame {
    names: BTreeMap<PeerId, usize>,
    spoilt: BTreeSet<usize>,
    /// What each node asked on which connection and still waits for.
    asked: BTreeMap<(usize, ConnId, RequestId), Option<ChunkId>>,
    /// Blocks that came to each node: a second copy may be thrown away unseen.
    came: BTreeSet<(usize, ChunkId, u16)>,
    /// Lies that were taken for answers.
    lies: BTreeMap<(usize, ConnId, RequestId), Instant>,
    /// Connections that each node closed: what it had waiting from them when it was paused is nothing to it.
    left: BTreeSet<(usize, ConnId)>,
    /// The node that has just heard what is no frame: there is nothing to wait for.
    heard_junk: Option<usize>,
}

impl Oracle for Blame {
    fn name(&self) -> &'static str {
        "blame"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, truth: &Truth) -> Result<(), String> {
        let node = event.node;
        match &event.fact {
            Fact::Started { id } => _ = self.names.insert(*id, node),
            Fact::Crashed => {
                self.asked.retain(|(whose, ..), _| *whose != node);
                self.lies.retain(|(whose, ..), _| *whose != node);
                self.came.retain(|(whose, ..)| *whose != node);
                self.left.retain(|(whose, _)| *whose != node);
            }
            Fact::DiskSpoilt => _ = self.spoilt.insert(node),
            Fact::FrameHeard { conn, frame, lie, .. } => self.heard(event.at, node, *conn, *frame, *lie, truth),
            Fact::PeerHeard(PeerInput::Rtc(RtcEvent::Closed { conn, .. }))
            | Fact::WorkerHeard(WorkerInput::Rtc(RtcEvent::Closed { conn, .. })) => self.closed(node, *conn),
            Fact::PeerSaid(PeerOutput::Rtc(command)) | Fact::WorkerSaid(WorkerOutput::Rtc(command)) => {
                self.said(node, command);
            }
            Fact::PeerSaid(PeerOutput::Event(PeerEvent::Blamed { source: SourceName::Node(peer), offence }))
            | Fact::WorkerSaid(WorkerOutput::Event(WorkerEvent::Blamed { peer, offence })) => {
                let known = self.names.get(peer);
                let fair = known.is_some_and(|liar| truth.nodes[*liar].liar || self.spoilt.contains(liar));
                self.heard_junk = None;
                if !fair {
                    return Err(format!("blamed {known:?}, which is honest: it {offence}"));
                }
            }
            // What the download waited for is not needed any more.
            Fact::PeerSaid(PeerOutput::Event(PeerEvent::Completed { .. } | PeerEvent::Failed { .. })) => {
                self.lies.retain(|(whose, ..), _| *whose != node);
                self.came.retain(|(whose, ..)| *whose != node);
            }
            Fact::Rested { .. } => {
                if self.heard_junk.take_if(|whose| *whose == node).is_some() {
                    return Err("heard junk and blamed nobody".into());
                }
                let late = |at: &Instant| event.at.since(*at) > NOTICED_WITHIN;
                if let Some(((_, conn, request), _)) =
                    self.lies.iter().find(|((whose, ..), at)| *whose == node && late(at))
                {
                    return Err(format!("never noticed the lie in the answer to request {request} on {conn:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Blame {
    fn said(&mut self, node: usize, command: &RtcCommand) {
        match command {
            RtcCommand::Close { conn, .. } => {
                self.left.insert((node, *conn));
                self.closed(node, *conn);
            }
            RtcCommand::Send { conn, frame } => match frame {
                Frame::ChunkRequest { request, chunk, .. } | Frame::HashRequest { request, chunk } => {
                    self.asked.insert((node, *conn, *request), Some(*chunk));
                }
                Frame::MetainfoRequest { request, .. } => {
                    self.asked.insert((node, *conn, *request), None);
                }
                Frame::Cancel { request } => {
                    self.asked.remove(&(node, *conn, *request));
                    self.lies.remove(&(node, *conn, *request));
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn closed(&mut self, node: usize, conn: ConnId) {
        self.asked.retain(|(whose, on, _), _| (*whose, *on) != (node, conn));
        self.lies.retain(|(whose, on, _), _| (*whose, *on) != (node, conn));
    }

    fn heard(
        &mut self,
        at: Instant,
        node: usize,
        conn: ConnId,
        frame: Option<&Frame>,
        lie: Option<FaultKind>,
        truth: &Truth,
    ) {
        let (request, noticeable) = match frame {
            Some(Frame::ChunkResponse { request, first, data }) => {
                let Some(Some(chunk)) = self.asked.get(&(node, conn, *request)).copied() else { return };
                let count = data.len().div_ceil(16 * 1024) as u16;
                let mut new = true;
                for block in *first..first.saturating_add(count) {
                    new &= self.came.insert((node, chunk, block));
                }
                (*request, new && truth.range_of(chunk, *first, count).as_ref() != Some(data))
            }
            Some(Frame::Hashes { request, .. } | Frame::Metainfo { request, .. }) => {
                (*request, self.asked.remove(&(node, conn, *request)).is_some())
            }
            None if self.left.contains(&(node, conn)) => return,
            None => {
                self.heard_junk = Some(node);
                return;
            }
            _ => return,
        };
        if lie.is_some() && noticeable {
            self.lies.insert((node, conn, request), at);
        }
    }
}
