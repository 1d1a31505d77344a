//! A peer's disk: blocks in memory, and the resume state that notes which are there. A crash loses what was
//! not written yet; a write in flight may leave data that the resume state does not know, never the reverse.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use kollator_core::id::InfoHash;
use kollator_core::merkle::{BLOCK_LEN, HashedBlocks, VerifiedBlocks, leaves, sha256};
use kollator_core::node::io::{Claim, DiskCommand, DiskError, DiskEvent, Place};
use kollator_core::node::peer::PeerInput;

use super::net::between;
use super::{Event, FaultKind, Input, Share, World};

/// What a disk holds of a share.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// The blocks whose data is there.
    blocks: BTreeMap<Place, Bytes>,
    /// The blocks the resume state knows.
    noted: BTreeSet<Place>,
}

/// A disk: content by index of the share.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(BTreeMap<usize, Content>);

impl Content {
    fn full(share: &Share) -> Self {
        let blocks = share.blocks().filter_map(|place| Some((place, share.block(place)?)));
        Self { blocks: blocks.collect(), noted: share.blocks().collect() }
    }

    /// Runs of blocks that are noted.
    fn claims(&self) -> Vec<Claim> {
        let mut claims: Vec<Claim> = Vec::new();
        for (place, data) in self.blocks.iter().filter(|(place, _)| self.noted.contains(place)) {
            let leaf = sha256(data);
            match claims.last_mut() {
                Some(claim) if after(claim.place, claim.leaves.len()) == *place => claim.leaves.push(leaf),
                _ => claims.push(Claim { place: *place, leaves: vec![leaf] }),
            }
        }
        claims
    }

    fn read(&self, place: Place, length: u32) -> Result<Bytes, DiskError> {
        let missing = || DiskError("nothing was written there".into());
        let mut data = BytesMut::new();
        for block in 0..length.div_ceil(BLOCK_LEN) {
            data.extend_from_slice(self.blocks.get(&after(place, block as usize)).ok_or_else(missing)?);
        }
        data.truncate(length as usize);
        Ok(data.freeze())
    }
}

/// Where the block begins that comes `blocks` after another.
fn after(place: Place, blocks: usize) -> Place {
    Place { file: place.file, offset: place.offset + blocks as u64 * u64::from(BLOCK_LEN) }
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
        let mut there: Vec<&mut Bytes> = content.blocks.values_mut().collect();
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
            DiskCommand::Read { ticket, info_hash, place, length } => {
                DiskEvent::Read { ticket, data: self.disk_read(node, info_hash, place, length) }
            }
            DiskCommand::ReadLeaves { ticket, info_hash, place, length } => {
                let data = self.disk_read(node, info_hash, place, length);
                DiskEvent::Leaves { ticket, leaves: data.map(|data| leaves(&data)) }
            }
            DiskCommand::Hash { ticket, data } => {
                DiskEvent::Hashed { ticket, blocks: HashedBlocks::compute(data) }
            }
            DiskCommand::Write { ticket, info_hash, places, blocks } => {
                let result = if self.strikes(FaultKind::DiskFull) {
                    Err(DiskError("no space left on device".into()))
                } else {
                    self.disk_write(node, info_hash, &places, &blocks, true);
                    Ok(())
                };
                DiskEvent::Written { ticket, result }
            }
            DiskCommand::Finish { info_hash } => DiskEvent::Finished { info_hash, result: Ok(()) },
        };
        self.hear(node, Input::Peer(PeerInput::Disk(event)));
    }

    fn disk_prepare(&mut self, node: usize, info_hash: InfoHash) -> Result<Vec<Claim>, DiskError> {
        let Some((index, _)) = self.truth.share(info_hash) else {
            return Err(DiskError("no such share in this world".into()));
        };
        let content = self.nodes[node].disk.0.entry(index).or_default();
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
        place: Place,
        length: u32,
    ) -> Result<Bytes, DiskError> {
        if self.strikes(FaultKind::DiskReadError) {
            return Err(DiskError("input/output error".into()));
        }
        let index = self.truth.share(info_hash).map(|(index, _)| index);
        let content = index.and_then(|index| self.nodes[node].disk.0.get(&index));
        content.ok_or_else(|| DiskError("no such file".into()))?.read(place, length)
    }

    fn disk_write(
        &mut self,
        node: usize,
        info_hash: InfoHash,
        places: &[Place],
        blocks: &VerifiedBlocks,
        note: bool,
    ) {
        let Some((index, _)) = self.truth.share(info_hash) else { return };
        let Some(content) = self.nodes[node].disk.0.get_mut(&index) else { return };
        for chunk in places {
            for (at, block) in (usize::from(blocks.first())..).zip(blocks.data().chunks(BLOCK_LEN as usize)) {
                let place = after(*chunk, at);
                content.blocks.insert(place, blocks.data().slice_ref(block));
                if note {
                    content.noted.insert(place);
                }
            }
        }
    }

    /// A command whose process is gone: a write may have left its data, but not its note.
    fn disk_torn(&mut self, node: usize, command: DiskCommand) {
        if let DiskCommand::Write { info_hash, places, blocks, .. } = command
            && self.faults.has(FaultKind::DiskTorn)
        {
            self.disk_write(node, info_hash, &places, &blocks, false);
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
