//! What a peer writes is what the share really holds, at its place, and each block once a run: not again what
//! the disk said is there, and not again what was written, unless the disk failed to.

use std::collections::{BTreeMap, BTreeSet};

use kollator_core::id::{Digest, InfoHash};
use kollator_core::merkle::sha256;
use kollator_core::node::io::{Claim, DiskCommand, DiskEvent, Place, Ticket};
use kollator_core::node::peer::{PeerInput, PeerOutput};

use super::{Fact, Oracle, WorldEvent, blocks_at, claimed_blocks};
use crate::world::Truth;

#[derive(Default)]
pub(super) struct Written {
    /// By node and share: what is written, or being written, in this run.
    runs: BTreeMap<(usize, InfoHash), BTreeSet<Place>>,
    open: BTreeMap<(usize, Ticket), (InfoHash, Vec<Place>)>,
}

impl Oracle for Written {
    fn name(&self) -> &'static str {
        "written"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, truth: &Truth) -> Result<(), String> {
        let node = event.node;
        match event.fact {
            Fact::Crashed => {
                self.runs.retain(|(whose, _), _| *whose != node);
                self.open.retain(|(whose, _), _| *whose != node);
            }
            Fact::PeerSaid(PeerOutput::Disk(DiskCommand::Prepare { metainfo })) => {
                self.runs.insert((node, metainfo.info_hash()), BTreeSet::new());
            }
            Fact::PeerHeard(PeerInput::Disk(DiskEvent::Prepared { info_hash, found: Ok(claims) })) => {
                self.claimed(node, *info_hash, claims, truth);
            }
            Fact::PeerHeard(PeerInput::Disk(DiskEvent::Written { ticket, result })) => {
                if let Some((info_hash, blocks)) = self.open.remove(&(node, *ticket))
                    && result.is_err()
                    && let Some(run) = self.runs.get_mut(&(node, info_hash))
                {
                    blocks.iter().for_each(|block| _ = run.remove(block));
                }
            }
            Fact::PeerSaid(PeerOutput::Disk(DiskCommand::Write { ticket, info_hash, places, blocks })) => {
                let (_, share) = truth.share(*info_hash).ok_or("a write to a share that does not exist")?;
                let run = self.runs.entry((node, *info_hash)).or_default();
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
                self.open.insert((node, *ticket), (*info_hash, written));
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
        let run = self.runs.entry((node, info_hash)).or_default();
        run.extend(real.iter().filter(|(_, leaf)| !wrong.contains(leaf)).map(|(place, _)| *place));
    }
}
