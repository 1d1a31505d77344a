//! What a lying node's data channels do to what its machine says: the machine is honest, the wire is not.

use bytes::{Bytes, BytesMut};
use kollator_core::id::Digest;
use kollator_core::wire::frame::Frame;

use super::rtc::Parcel;
use super::{FaultKind, World};

/// What leaves the node instead of `honest`, the encoding of `frame`.
pub(super) fn falsify(world: &mut World, node: usize, frame: &Frame, honest: Parcel) -> Vec<Parcel> {
    match frame {
        Frame::ChunkResponse { request, first, data } => {
            let last = world.nodes[node].last_sent.replace(data.clone());
            if world.lies(FaultKind::LieStall) {
                return Vec::new();
            }
            let other = last.filter(|last| last.len() == data.len() && last != data);
            if let Some(data) = other.filter(|_| world.lies(FaultKind::LieOther)) {
                return vec![lie(
                    FaultKind::LieOther,
                    &Frame::ChunkResponse { request: *request, first: *first, data },
                )];
            }
            if world.lies(FaultKind::LieData) {
                let data = flip(world, data);
                return vec![lie(
                    FaultKind::LieData,
                    &Frame::ChunkResponse { request: *request, first: *first, data },
                )];
            }
            if world.lies(FaultKind::LieJunk) {
                return vec![junk(), honest];
            }
        }
        Frame::Hashes { request, leaves } if world.lies(FaultKind::LieHashes) => {
            let mut leaves = leaves.clone();
            let at = world.rng.below(leaves.len() as u64) as usize;
            leaves[at] = Digest([leaves[at].0[0] ^ 1; 32]);
            return vec![lie(FaultKind::LieHashes, &Frame::Hashes { request: *request, leaves })];
        }
        Frame::Metainfo { request, total, offset, data } if world.lies(FaultKind::LieMetainfo) => {
            let data = flip(world, data);
            let frame = Frame::Metainfo { request: *request, total: *total, offset: *offset, data };
            return vec![lie(FaultKind::LieMetainfo, &frame)];
        }
        _ => {}
    }
    vec![honest]
}

fn lie(kind: FaultKind, frame: &Frame) -> Parcel {
    Parcel { data: frame.encode().freeze(), lie: Some(kind) }
}

fn junk() -> Parcel {
    Parcel { data: Bytes::from_static(&[0xFF, 0xFF, 1, 2, 3]), lie: Some(FaultKind::LieJunk) }
}

fn flip(world: &mut World, data: &Bytes) -> Bytes {
    let mut data = BytesMut::from(&data[..]);
    let at = world.rng.below(data.len().max(1) as u64) as usize;
    if let Some(byte) = data.get_mut(at) {
        *byte ^= 1 << world.rng.below(8);
    }
    data.freeze()
}
