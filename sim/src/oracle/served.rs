//! What a worker hands out is the truth when its machine speaks it, leaf hashes and blocks.

use std::collections::BTreeMap;

use kollator_core::id::ChunkId;
use kollator_core::merkle::leaves;
use kollator_core::node::worker::WorkerOutput;
use kollator_core::rtc::{ConnId, RtcCommand};
use kollator_core::wire::frame::{Frame, RequestId};

use super::{Fact, Oracle, WorldEvent};
use crate::world::{Kind, Truth};

#[derive(Default)]
pub(super) struct Served {
    asked: BTreeMap<(usize, ConnId, RequestId), ChunkId>,
}

impl Oracle for Served {
    fn name(&self) -> &'static str {
        "served"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, truth: &Truth) -> Result<(), String> {
        let node = event.node;
        match &event.fact {
            Fact::Crashed => self.asked.retain(|(whose, ..), _| *whose != node),
            Fact::FrameHeard {
                conn,
                frame: Some(Frame::ChunkRequest { request, chunk, .. } | Frame::HashRequest { request, chunk }),
                ..
            } if truth.nodes[node].kind == Kind::Worker => _ = self.asked.insert((node, *conn, *request), *chunk),
            Fact::WorkerSaid(WorkerOutput::Rtc(RtcCommand::Send { conn, frame })) => match frame {
                Frame::ChunkResponse { request, first, data } => {
                    let chunk = self.asked.get(&(node, *conn, *request)).ok_or("answered what nobody asked")?;
                    let count = data.len().div_ceil(16 * 1024) as u16;
                    let right = truth.range_of(*chunk, *first, count);
                    if right.as_ref() != Some(data) {
                        return Err(format!("served wrong bytes of {chunk:?} from block {first}"));
                    }
                }
                Frame::Hashes { request, leaves: said } => {
                    let chunk = self.asked.get(&(node, *conn, *request)).ok_or("answered what nobody asked")?;
                    let right = truth.range_of(*chunk, 0, chunk.blocks()).map(|data| leaves(&data));
                    if right.as_ref() != Some(said) {
                        return Err(format!("served wrong leaf hashes of {chunk:?}"));
                    }
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}
