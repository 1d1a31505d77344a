//! What a peer writes is what the share really holds, at its place, and each block once a run: not again what
//! the disk said is there, and not again what was written, unless the disk failed to.

use std::collections::{BTreeMap, BTreeSet};

use kollator_core::id::{Digest, InfoHash};
use kollator_core::merkle::sha256;
use kollator_core::node::io::{Claim, DiskCommand, DiskEvent, Place};
use kollator_core::node::peer::{PeerInput, PeerOutput};

use super::runs::Runs;
use super::{Fact, Oracle, WorldEvent, blocks_at, claimed_blocks};
use crate::world::Truth;

/// Of each run: what is written, or being written.
#[derive(Default)]
pub(super) struct Written(Runs<BTreeSet<Place>>);

impl Oracle for Written {
    fn name(&self) -> &'static str {
        "written"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, truth: &Truth) -> Result<(), String> {
        let node = event.node;
        match event.fact {
            Fact::Crashed => self.0.crash(node),
            Fact::PeerSaid(PeerOutput::Disk(DiskCommand::Prepare { metainfo })) => {
                self.0.begin(node, metainfo.info_hash());
            }
            Fact::PeerHeard(PeerInput::Disk(DiskEvent::Prepared { info_hash, found: Ok(claims) })) => {
                self.claimed(node, *info_hash, claims, truth);
            }
            Fact::PeerHeard(PeerInput::Disk(DiskEvent::Written { ticket, result })) => {
                if let Some((run, blocks)) = self.0.written(node, *ticket)
                    && result.is_err()
                {
                    blocks.iter().for_each(|block| _ = run.remove(block));
                }
            }
            Fact::PeerSaid(PeerOutput::Disk(DiskCommand::Write { ticket, info_hash, places, blocks })) => {
                let (_, share) = truth.share(*info_hash).ok_or("a write to a share that does not exist")?;
                let run = self.0.get_or_begin(node, *info_hash);
                let mut written = Vec::new();
                for (place, data) in places.iter().flat_map(|chunk| blocks_at(*chunk, blocks)) {
                    if share.block(place) != Some(data) {
                        return Err(format!("wrote wrong bytes at {place:?}"));
                    }
                    if !run.insert(place) {
                        return Err(format!("wrote the block at {place:?} twice"));
                    }
                    written.push(place);
                }
                self.0.write(node, *ticket, *info_hash, written);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Written {
    /// Notes what the disk has already. A block that occurs more than once counts only where every occurrence is
    /// right: it is not known here which of them are places of one chunk.
    fn claimed(&mut self, node: usize, info_hash: InfoHash, claims: &[Claim], truth: &Truth) {
        let Some((_, share)) = truth.share(info_hash) else { return };
        let claimed: BTreeMap<Place, Digest> = claimed_blocks(claims).collect();
        let real: BTreeMap<Place, Digest> =
            share.blocks().filter_map(|place| Some((place, sha256(&share.block(place)?)))).collect();
        let wrong: BTreeSet<Digest> =
            real.iter().filter(|(place, leaf)| claimed.get(place) != Some(leaf)).map(|(_, leaf)| *leaf).collect();
        let run = self.0.get_or_begin(node, info_hash);
        run.extend(real.iter().filter(|(_, leaf)| !wrong.contains(leaf)).map(|(place, _)| *place));
    }
}
