//! A peer's disk: blocks in memory, and the resume state that notes which are there. A crash loses what was
//! not written yet; a write in flight may leave data that the resume state does not know, never the reverse.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use kollator_core::id::InfoHash;
use kollator_core::merkle::{BLOCK_LEN, HashedBlocks, leaves, sha256};
use kollator_core::node::io::{Claim, DiskCommand, DiskError, DiskEvent};
use kollator_core::node::peer::PeerInput;

use super::net::between;
use super::{Event, FaultKind, Input, Share, World};

/// What a disk holds of a share.
#[derive(Clone, Debug)]
pub(super) struct Content {
    /// Of each piece, the blocks whose data is there.
    blocks: Vec<Vec<Option<Bytes>>>,
    /// Of each piece, the blocks the resume state knows.
    noted: Vec<Vec<bool>>,
}

/// A disk: content by index of the share.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(BTreeMap<usize, Content>);

impl Content {
    fn empty(share: &Share) -> Self {
        Self {
            blocks: share.blocks().map(|(_, blocks)| vec![None; blocks.into()]).collect(),
            noted: share.blocks().map(|(_, blocks)| vec![false; blocks.into()]).collect(),
        }
    }

    fn full(share: &Share) -> Self {
        let piece = |(piece, blocks)| (0..blocks).map(|block| share.block(piece, block)).collect();
        Self {
            blocks: share.blocks().map(piece).collect(),
            noted: share.blocks().map(|(_, blocks)| vec![true; blocks.into()]).collect(),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let claim = |(piece, (noted, blocks)): (u32, (&Vec<bool>, &Vec<Option<Bytes>>))| {
            let leaf =
                |(noted, data): (&bool, &Option<Bytes>)| data.as_ref().filter(|_| *noted).map(|data| sha256(data));
            noted.contains(&true).then(|| Claim { piece, leaves: noted.iter().zip(blocks).map(leaf).collect() })
        };
        (0..).zip(self.noted.iter().zip(&self.blocks)).filter_map(claim).collect()
    }

    fn read(&self, piece: u32, first: u16, count: u16) -> Result<Bytes, DiskError> {
        let missing = || DiskError("nothing was written there".into());
        let blocks = self.blocks.get(piece as usize).ok_or_else(missing)?;
        let range = usize::from(first)..usize::from(first) + usize::from(count);
        let mut data = BytesMut::new();
        for block in blocks.get(range).ok_or_else(missing)? {
            data.extend_from_slice(block.as_ref().ok_or_else(missing)?);
        }
        Ok(data.freeze())
    }
}

impl Disk {
    /// Puts all of a share there.
    pub(super) fn fill(&mut self, index: usize, share: &Share) {
        self.0.insert(index, Content::full(share));
    }

    /// The shares of which it holds something.
    pub(super) fn shares(&self) -> Vec<usize> {
        self.0.keys().copied().collect()
    }

    /// Flips a byte of one block that is there; false if there is none.
    pub(super) fn rot(&mut self, index: usize, dice: u64) -> bool {
        let Some(content) = self.0.get_mut(&index) else { return false };
        let mut there: Vec<&mut Bytes> = content.blocks.iter_mut().flatten().flatten().collect();
        if there.is_empty() {
            return false;
        }
        let at = dice as usize % there.len();
        let mut rotten = BytesMut::from(&there[at][..]);
        rotten[0] ^= 0x40;
        *there[at] = rotten.freeze();
        true
    }
}

impl World {
    /// A peer asks something of its disk.
    pub(super) fn disk_command(&mut self, node: usize, command: DiskCommand) {
        let mut takes = between(&mut self.rng, &self.settings.disk_latency);
        if self.strikes(FaultKind::DiskSlow) {
            takes = takes * 20 + takes;
        }
        let life = self.nodes[node].life;
        if matches!(command, DiskCommand::Write { .. }) && self.strikes(FaultKind::DiskTorn) {
            self.after(takes / 2, Event::Tear { node, life });
        }
        self.after(takes, Event::Disk { node, life, command });
    }

    /// The disk gets to a command.
    pub(super) fn disk_step(&mut self, node: usize, life: u32, command: DiskCommand) {
        if !self.nodes[node].up() || self.nodes[node].life != life {
            self.disk_torn(node, command);
            return;
        }
        let event = match command {
            DiskCommand::Prepare { metainfo } => {
                let info_hash = metainfo.info_hash();
                let found = self.disk_prepare(node, info_hash);
                DiskEvent::Prepared { info_hash, found }
            }
            DiskCommand::Read { ticket, info_hash, piece, first, count } => {
                DiskEvent::Read { ticket, data: self.disk_read(node, info_hash, piece, first, count) }
            }
            DiskCommand::ReadLeaves { ticket, info_hash, piece } => {
                let blocks = self.truth.share(info_hash).and_then(|(_, share)| share.blocks().nth(piece as usize));
                let count = blocks.map_or(0, |(_, blocks)| blocks);
                let data = self.disk_read(node, info_hash, piece, 0, count);
                DiskEvent::Leaves { ticket, leaves: data.map(|data| leaves(&data)) }
            }
            DiskCommand::Hash { ticket, data } => {
                DiskEvent::Hashed { ticket, blocks: HashedBlocks::compute(data) }
            }
            DiskCommand::Write { ticket, info_hash, pieces, blocks } => {
                let result = if self.strikes(FaultKind::DiskFull) {
                    Err(DiskError("no space left on device".into()))
                } else {
                    self.disk_write(node, info_hash, &pieces, blocks.first(), blocks.data(), true);
                    Ok(())
                };
                DiskEvent::Written { ticket, result }
            }
            DiskCommand::Finish { info_hash } => DiskEvent::Finished { info_hash, result: Ok(()) },
        };
        self.hear(node, Input::Peer(PeerInput::Disk(event)));
    }

    fn disk_prepare(&mut self, node: usize, info_hash: InfoHash) -> Result<Vec<Claim>, DiskError> {
        let Some((index, share)) = self.truth.share(info_hash) else {
            return Err(DiskError("no such share in this world".into()));
        };
        let content = self.nodes[node].disk.0.entry(index).or_insert_with(|| Content::empty(share));
        let claims = content.claims();
        if self.strikes(FaultKind::DiskFull) {
            return Err(DiskError("no space left on device".into()));
        }
        Ok(claims)
    }

    fn disk_read(
        &mut self,
        node: usize,
        info_hash: InfoHash,
        piece: u32,
        first: u16,
        count: u16,
    ) -> Result<Bytes, DiskError> {
        if self.strikes(FaultKind::DiskReadError) {
            return Err(DiskError("input/output error".into()));
        }
        let index = self.truth.share(info_hash).map(|(index, _)| index);
        let content = index.and_then(|index| self.nodes[node].disk.0.get(&index));
        content.ok_or_else(|| DiskError("no such file".into()))?.read(piece, first, count)
    }

    fn disk_write(
        &mut self,
        node: usize,
        info_hash: InfoHash,
        pieces: &[u32],
        first: u16,
        data: &Bytes,
        note: bool,
    ) {
        let Some((index, _)) = self.truth.share(info_hash) else { return };
        let Some(content) = self.nodes[node].disk.0.get_mut(&index) else { return };
        for piece in pieces {
            for (at, block) in (usize::from(first)..).zip(data.chunks(BLOCK_LEN as usize)) {
                let Some(slot) = content.blocks.get_mut(*piece as usize).and_then(|blocks| blocks.get_mut(at))
                else {
                    continue;
                };
                *slot = Some(data.slice_ref(block));
                content.noted[*piece as usize][at] |= note;
            }
        }
    }

    /// A command whose process is gone: a write may have left its data, but not its note.
    fn disk_torn(&mut self, node: usize, command: DiskCommand) {
        if let DiskCommand::Write { info_hash, pieces, blocks, .. } = command
            && self.faults.has(FaultKind::DiskTorn)
        {
            self.disk_write(node, info_hash, &pieces, blocks.first(), blocks.data(), false);
        }
    }

    /// The disk of a peer loses what it has of a share that it does not own.
    pub(super) fn disk_wipe(&mut self, node: usize) {
        for share in self.nodes[node].disk.shares() {
            if !self.owns(node, share) {
                self.nodes[node].disk.0.remove(&share);
            }
        }
    }
}
