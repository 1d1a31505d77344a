//! What a peer writes is what the share really holds, at its place, and each block once a run: not again what
//! the disk said is there, and not again what was written, unless the disk failed to.

use std::collections::{BTreeMap, BTreeSet};

use kollator_core::id::InfoHash;
use kollator_core::merkle::sha256;
use kollator_core::node::io::{Claim, DiskCommand, DiskEvent, Ticket};
use kollator_core::node::peer::{PeerInput, PeerOutput};

use super::{Fact, Oracle, WorldEvent};
use crate::world::Truth;

type Block = (u32, u16);

#[derive(Default)]
pub(super) struct Written {
    /// By node and share: what is written, or being written, in this run.
    runs: BTreeMap<(usize, InfoHash), BTreeSet<Block>>,
    open: BTreeMap<(usize, Ticket), (InfoHash, Vec<Block>)>,
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
            Fact::PeerSaid(PeerOutput::Disk(DiskCommand::Write { ticket, info_hash, pieces, blocks })) => {
                let (_, share) = truth.share(*info_hash).ok_or("a write to a share that does not exist")?;
                let run = self.runs.entry((node, *info_hash)).or_default();
                let mut written = Vec::new();
                for piece in pieces.iter() {
                    let expected = share.range(*piece, blocks.first(), blocks.count());
                    if expected.as_ref() != Some(blocks.data()) {
                        return Err(format!("wrote wrong bytes to piece {piece} from block {}", blocks.first()));
                    }
                    for block in blocks.first()..blocks.first() + blocks.count() {
                        written.push((*piece, block));
                        if !run.insert((*piece, block)) {
                            return Err(format!("wrote block {block} of piece {piece} twice"));
                        }
                    }
                }
                self.open.insert((node, *ticket), (*info_hash, written));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Written {
    /// Notes what the disk has already, where it is right at every place of its chunk.
    fn claimed(&mut self, node: usize, info_hash: InfoHash, claims: &[Claim], truth: &Truth) {
        let Some((_, share)) = truth.share(info_hash) else { return };
        let right = |piece: u32, block: u16| {
            let claim = claims.iter().find(|claim| claim.piece == piece);
            let leaf = claim.and_then(|claim| claim.leaves.get(usize::from(block)).copied().flatten());
            leaf.is_some() && leaf == share.block(piece, block).map(|data| sha256(&data))
        };
        let pieces = share.metainfo.pieces();
        let run = self.runs.entry((node, info_hash)).or_default();
        for (piece, blocks) in share.blocks() {
            let alike = |other: &u32| pieces[*other as usize].chunk == pieces[piece as usize].chunk;
            let places: Vec<u32> = (0..pieces.len() as u32).filter(alike).collect();
            run.extend(
                (0..blocks).filter(|block| places.iter().all(|place| right(*place, *block))).map(|b| (piece, b)),
            );
        }
    }
}
