//! Who has a limit keeps to it: over any time, no more is sent, over data channels and over HTTP together, nor asked for
//! over data channels, than the limit allows, and one burst. What workers ask of each other is not limited.

use std::collections::{BTreeMap, BTreeSet};

use kollator_core::machine::Instant;
use kollator_core::merkle::BLOCK_LEN;
use kollator_core::node::peer::PeerOutput;
use kollator_core::node::worker::{Ask, AskId, Told, WorkerInput, WorkerOutput};
use kollator_core::rtc::RtcCommand;
use kollator_core::transfer::Rate;
use kollator_core::wire::frame::Frame;

use super::{Fact, Oracle, WorldEvent};
use crate::world::Truth;

/// A bucket with a hole: what went and has not run out yet.
#[derive(Default)]
struct Bucket {
    level: f64,
    at: Instant,
}

#[derive(Default)]
pub(super) struct Limits {
    sent: BTreeMap<usize, Bucket>,
    asked: BTreeMap<usize, Bucket>,
    /// What a worker was asked by another.
    by_workers: BTreeSet<(usize, AskId)>,
}

impl Oracle for Limits {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, truth: &Truth) -> Result<(), String> {
        let node = event.node;
        let frame = match event.fact {
            Fact::Crashed => {
                self.sent.remove(&node);
                self.asked.remove(&node);
                self.by_workers.retain(|(of, _)| *of != node);
                return Ok(());
            }
            Fact::PeerSaid(PeerOutput::Rtc(RtcCommand::Send { frame, .. }))
            | Fact::WorkerSaid(WorkerOutput::Rtc(RtcCommand::Send { frame, .. })) => frame,
            Fact::WorkerHeard(WorkerInput::Ask { id, ask: Ask::BlocksForWorker { .. } }) => {
                self.by_workers.insert((node, *id));
                return Ok(());
            }
            Fact::WorkerSaid(WorkerOutput::Told { id, result }) => {
                if self.by_workers.remove(&(node, *id)) {
                    return Ok(());
                }
                let bytes = match result {
                    Ok(Told::Blocks(data)) => data.len() as u64,
                    Ok(Told::Leaves(leaves)) => leaves.len() as u64 * 32,
                    _ => return Ok(()),
                };
                let limit = truth.nodes[node].upload_limit;
                return self.sent.entry(node).or_default().pour(event.at, bytes, limit, 0);
            }
            _ => return Ok(()),
        };
        if let Frame::ChunkRequest { chunk, first, count, .. } = frame {
            let limit = truth.nodes[node].download_limit;
            // What a download was granted it may ask for later.
            let late = truth.shares.len() as u64 * 8 * u64::from(BLOCK_LEN);
            let bytes = chunk.range_len(*first, *count).unwrap_or_default();
            return self.asked.entry(node).or_default().pour(event.at, bytes.into(), limit, late);
        }
        if matches!(frame, Frame::ChunkResponse { .. } | Frame::Hashes { .. }) {
            let limit = truth.nodes[node].upload_limit;
            return self.sent.entry(node).or_default().pour(event.at, frame.encoded_len() as u64, limit, 0);
        }
        Ok(())
    }
}

impl Bucket {
    /// So many bytes went, under a limit that leaves room for `more` than its burst.
    fn pour(&mut self, now: Instant, bytes: u64, limit: u64, more: u64) -> Result<(), String> {
        if limit == 0 {
            return Ok(());
        }
        let most = Rate::new(limit).burst() + more;
        self.level = f64::max(self.level - now.since(self.at).as_secs_f64() * limit as f64, 0.0) + bytes as f64;
        self.at = now;
        if self.level > most as f64 + 1.0 {
            return Err(format!("{} bytes above {limit} a second, {most} may be", self.level));
        }
        Ok(())
    }
}
