//! A download is complete exactly when every block is on disk and the disk made it durable.

use std::collections::BTreeSet;

use kollator_core::id::Digest;
use kollator_core::merkle::sha256;
use kollator_core::node::io::{DiskCommand, DiskEvent, Place};
use kollator_core::node::peer::{PeerEvent, PeerInput, PeerOutput, Totals};

use super::runs::Runs;
use super::{Fact, Oracle, WorldEvent, blocks_at, claimed_blocks};
use crate::world::{Share, Truth};

#[derive(Default)]
struct Run {
    on_disk: BTreeSet<Place>,
    /// The disk was told to make it durable.
    finishing: bool,
    /// It did: the next thing said must be that the download is complete.
    finished: bool,
}

#[derive(Default)]
pub(super) struct Completed(Runs<Run>);

impl Oracle for Completed {
    fn name(&self) -> &'static str {
        "completed"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, truth: &Truth) -> Result<(), String> {
        let node = event.node;
        match event.fact {
            Fact::Crashed => self.0.crash(node),
            Fact::PeerHeard(PeerInput::Disk(event)) => self.disk_said(node, event, truth),
            Fact::PeerSaid(PeerOutput::Disk(command)) => self.disk_told(node, command),
            Fact::PeerSaid(PeerOutput::Event(PeerEvent::Failed { info_hash, .. })) => {
                self.0.end(node, *info_hash);
            }
            Fact::PeerSaid(PeerOutput::Event(PeerEvent::Completed { info_hash, totals })) => {
                let (_, share) = truth.share(*info_hash).ok_or("completed a share that does not exist")?;
                let run = self.0.end(node, *info_hash).unwrap_or_default();
                check(&run, share, totals)?;
            }
            Fact::Rested { .. } if self.0.of(node).any(|run| run.finished) => {
                return Err("the disk finished a download and nobody was told".into());
            }
            _ => {}
        }
        Ok(())
    }
}

impl Completed {
    fn disk_told(&mut self, node: usize, command: &DiskCommand) {
        match command {
            DiskCommand::Prepare { metainfo } => self.0.begin(node, metainfo.info_hash()),
            DiskCommand::Write { ticket, info_hash, places, blocks } => {
                let places = places.iter().flat_map(|chunk| blocks_at(*chunk, blocks)).map(|(place, _)| place);
                self.0.write(node, *ticket, *info_hash, places.collect());
            }
            DiskCommand::Finish { info_hash } => {
                if let Some(run) = self.0.get(node, *info_hash) {
                    run.finishing = true;
                }
            }
            _ => {}
        }
    }

    fn disk_said(&mut self, node: usize, event: &DiskEvent, truth: &Truth) {
        match event {
            DiskEvent::Prepared { info_hash, found: Ok(claims) } => {
                let Some((_, share)) = truth.share(*info_hash) else { return };
                let run = self.0.get_or_begin(node, *info_hash);
                let right = |(place, leaf): &(Place, Digest)| {
                    share.block(*place).is_some_and(|data| sha256(&data) == *leaf)
                };
                run.on_disk.extend(claimed_blocks(claims).filter(right).map(|(place, _)| place));
            }
            DiskEvent::Written { ticket, result } => {
                if let Some((run, blocks)) = self.0.written(node, *ticket)
                    && result.is_ok()
                {
                    run.on_disk.extend(blocks);
                }
            }
            DiskEvent::Finished { info_hash, result: Ok(()) } => {
                if let Some(run) = self.0.get(node, *info_hash) {
                    run.finished = run.finishing;
                }
            }
            _ => {}
        }
    }
}

fn check(run: &Run, share: &Share, totals: &Totals) -> Result<(), String> {
    if let Some(place) = share.blocks().find(|place| !run.on_disk.contains(place)) {
        return Err(format!("completed without the block at {place:?} on disk"));
    }
    if !run.finished {
        return Err("completed before the disk made it durable".into());
    }
    let sum = totals.from_disk + totals.from.values().sum::<u64>();
    if totals.bytes_total != share.metainfo.total_length() || sum != totals.bytes_total {
        return Err(format!("the totals do not add up: {totals:?}"));
    }
    Ok(())
}
