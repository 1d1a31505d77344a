//! A peer tells of every block that it gains: once, when it is on disk and not before, at each of its places; and what it
//! tells adds up to the totals of the download.

use std::collections::BTreeSet;

use kollator_core::id::Digest;
use kollator_core::merkle::{BLOCK_LEN, sha256};
use kollator_core::node::io::{DiskCommand, DiskEvent, Place};
use kollator_core::node::peer::{PeerEvent, PeerInput, PeerOutput, SourceKind, SourceName, Totals};

use super::runs::Runs;
use super::{Fact, Oracle, WorldEvent, blocks_at, claimed_blocks};
use crate::world::{Share, Truth};

#[derive(Default)]
struct Run {
    on_disk: BTreeSet<Place>,
    gained: BTreeSet<Place>,
    totals: Totals,
}

#[derive(Default)]
pub(super) struct Gained(Runs<Run>);

impl Oracle for Gained {
    fn name(&self) -> &'static str {
        "gained"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, truth: &Truth) -> Result<(), String> {
        let node = event.node;
        match event.fact {
            Fact::Crashed => self.0.crash(node),
            Fact::PeerSaid(PeerOutput::Disk(DiskCommand::Prepare { metainfo })) => {
                self.0.begin(node, metainfo.info_hash());
            }
            Fact::PeerSaid(PeerOutput::Disk(DiskCommand::Write { ticket, info_hash, places, blocks })) => {
                let places = places.iter().flat_map(|chunk| blocks_at(*chunk, blocks)).map(|(place, _)| place);
                self.0.write(node, *ticket, *info_hash, places.collect());
            }
            Fact::PeerHeard(PeerInput::Disk(DiskEvent::Prepared { info_hash, found: Ok(claims) })) => {
                let Some((_, share)) = truth.share(*info_hash) else { return Ok(()) };
                let run = self.0.get_or_begin(node, *info_hash);
                let right = |(place, leaf): &(Place, Digest)| {
                    share.block(*place).is_some_and(|data| sha256(&data) == *leaf)
                };
                run.on_disk.extend(claimed_blocks(claims).filter(right).map(|(place, _)| place));
            }
            Fact::PeerHeard(PeerInput::Disk(DiskEvent::Written { ticket, result: Ok(()) })) => {
                if let Some((run, blocks)) = self.0.written(node, *ticket) {
                    run.on_disk.extend(blocks);
                }
            }
            Fact::PeerSaid(PeerOutput::Event(event)) => match event {
                PeerEvent::Gained { info_hash, places, length, from } => {
                    let (_, share) = truth.share(*info_hash).ok_or("gained of a share that does not exist")?;
                    let run = self.0.get_or_begin(node, *info_hash);
                    run.gain(share, places, *length, from.as_ref())?;
                }
                PeerEvent::Failed { info_hash, .. } => _ = self.0.end(node, *info_hash),
                PeerEvent::Completed { info_hash, totals } => {
                    let run = self.0.end(node, *info_hash).unwrap_or_default();
                    if (&run.totals.from, run.totals.from_disk) != (&totals.from, totals.from_disk) {
                        return Err(format!("told of {:?}, and then of {totals:?} in all", run.totals));
                    }
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}

impl Run {
    fn gain(
        &mut self,
        share: &Share,
        places: &[Place],
        length: u32,
        from: Option<&(SourceName, SourceKind)>,
    ) -> Result<(), String> {
        for place in places {
            let offsets = (place.offset..place.offset + u64::from(length)).step_by(BLOCK_LEN as usize);
            let blocks: Vec<Place> = offsets.map(|offset| Place { offset, ..*place }).collect();
            let real: usize = blocks.iter().filter_map(|block| share.block(*block)).map(|data| data.len()).sum();
            if real != length as usize {
                return Err(format!("gained {length} bytes at {place:?}, where there are {real}"));
            }
            for block in blocks {
                if !self.on_disk.contains(&block) {
                    return Err(format!("gained the block at {block:?}, which is not on disk"));
                }
                if !self.gained.insert(block) {
                    return Err(format!("gained the block at {block:?} twice"));
                }
            }
            *match from {
                Some((_, kind)) => self.totals.from.entry(*kind).or_default(),
                None => &mut self.totals.from_disk,
            } += u64::from(length);
        }
        Ok(())
    }
}
