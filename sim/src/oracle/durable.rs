//! What a worker acknowledged is in the backing store, from the acknowledgement on and for ever: the backing
//! store of these worlds forgets nothing, so it is enough that it has it by then.

use std::collections::{BTreeMap, BTreeSet};

use kollator_core::id::InfoHash;
use kollator_core::metainfo::file_info_hash;
use kollator_core::node::peer::{PeerEvent, PeerOutput};
use kollator_core::node::worker::{WorkerEvent, WorkerOutput};
use kollator_core::rtc::{ConnId, RtcCommand};
use kollator_core::store::Key;
use kollator_core::wire::frame::{Frame, RequestId};

use super::{Fact, Oracle, WorldEvent};
use crate::world::{Kind, Truth};

#[derive(Default)]
pub(super) struct Durable {
    backed: BTreeSet<Key>,
    /// What each worker was asked to keep.
    asked: BTreeMap<(usize, ConnId, RequestId), InfoHash>,
}

impl Oracle for Durable {
    fn name(&self) -> &'static str {
        "durable"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, truth: &Truth) -> Result<(), String> {
        let node = event.node;
        match &event.fact {
            Fact::Backed(key) => _ = self.backed.insert(*key),
            Fact::Crashed => self.asked.retain(|(whose, ..), _| *whose != node),
            Fact::FrameHeard { conn, frame: Some(Frame::MetainfoStore { request, info_hash }), .. }
                if truth.nodes[node].kind == Kind::Worker =>
            {
                self.asked.insert((node, *conn, *request), *info_hash);
            }
            Fact::WorkerSaid(WorkerOutput::Rtc(RtcCommand::Send { conn, frame })) => match frame {
                Frame::ChunkStored { chunk, .. } if !self.backed.contains(&Key::Chunk(*chunk)) => {
                    return Err(format!("acknowledged chunk {chunk:?}, which is not stored"));
                }
                Frame::MetainfoStored { request } => {
                    let asked = self.asked.get(&(node, *conn, *request));
                    let info_hash = asked.ok_or("acknowledged a share that nobody brought")?;
                    self.check(*info_hash, truth)?;
                }
                _ => {}
            },
            Fact::WorkerSaid(WorkerOutput::Event(WorkerEvent::ShareStored { info_hash }))
            | Fact::PeerSaid(PeerOutput::Event(PeerEvent::Safe { info_hash, .. })) => {
                self.check(*info_hash, truth)?
            }
            _ => {}
        }
        Ok(())
    }
}

impl Durable {
    fn check(&self, info_hash: InfoHash, truth: &Truth) -> Result<(), String> {
        let (_, share) = truth.share(info_hash).ok_or("acknowledged a share that does not exist")?;
        let pieces = share.metainfo.pieces().iter().map(|piece| Key::Chunk(piece.chunk));
        // By these, whoever knows a file of the share by its root finds it.
        let cut = share.metainfo.files().iter().filter(|file| file.pieces.len() > 1);
        let length = share.metainfo.piece_length();
        let alone = cut.filter_map(|file| Some(file_info_hash(file.pieces_root?, file.length, length)));
        match pieces
            .chain(alone.map(Key::Torrent))
            .chain([Key::Torrent(info_hash)])
            .find(|key| !self.backed.contains(key))
        {
            Some(key) => Err(format!("acknowledged a share without its {key:?}")),
            None => Ok(()),
        }
    }
}
