//! Frames to bytes and back. Every rule that a frame's bytes must keep is here, once; a frame that decodes
//! keeps them all, and encoding it again gives the same bytes. Never copies a payload while decoding.

use core::net::{Ipv4Addr, SocketAddrV4};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::frame::{
    Frame, Hello, MAX_DHT_PEERS, MAX_FRAME_BLOCKS, MAX_HAVE_PIECES, MAX_METAINFO, MAX_STORE_CHUNKS, METAINFO_PART,
    Reason,
};
use crate::dht::DhtName;
use crate::id::{ChunkId, Digest, InfoHash};
use crate::merkle::{BLOCK_LEN, MAX_CHUNK_LEN};

/// Most bytes in a frame: a CHUNK_RESPONSE with [`MAX_FRAME_BLOCKS`] blocks.
pub const MAX_MESSAGE: usize = HEADER + 6 + MAX_FRAME_BLOCKS as usize * BLOCK_LEN as usize;

/// Type and flags.
const HEADER: usize = 2;
/// Root, length, height.
const CHUNK_ID: usize = 32 + 4 + 1;
/// IPv4 address and port, as BEP 5 has them.
const PEER: usize = 4 + 2;
/// Most leaves of a chunk.
const MAX_LEAVES: usize = (MAX_CHUNK_LEN / BLOCK_LEN) as usize;

/// Type bytes. An answer that belongs to one request type has that type's number plus 0x80.
mod kind {
    pub(super) const CHUNK_REQUEST: u8 = 0x01;
    pub(super) const CHUNK_RESPONSE: u8 = 0x02;
    pub(super) const CHUNK_STORE: u8 = 0x03;
    pub(super) const CHUNK_LIST: u8 = 0x04;
    pub(super) const DHT_ANNOUNCE: u8 = 0x05;
    pub(super) const HEALTH_CHECK: u8 = 0x06;
    pub(super) const HAVE: u8 = 0x07;
    pub(super) const CANCEL: u8 = 0x08;
    pub(super) const REJECT: u8 = 0x09;
    pub(super) const HASH_REQUEST: u8 = 0x0a;
    pub(super) const HASHES: u8 = 0x0b;
    pub(super) const METAINFO_REQUEST: u8 = 0x0c;
    pub(super) const METAINFO: u8 = 0x0d;
    pub(super) const METAINFO_STORE: u8 = 0x0e;
    pub(super) const DHT_LOOK_UP: u8 = 0x0f;
    pub(super) const HELLO: u8 = 0x10;
    pub(super) const CHUNK_STORED: u8 = 0x83;
    pub(super) const DHT_ANNOUNCED: u8 = 0x85;
    pub(super) const HEALTH: u8 = 0x86;
    pub(super) const METAINFO_STORED: u8 = 0x8e;
    pub(super) const DHT_PEERS: u8 = 0x8f;
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than any frame.
    #[error("a message of {len} bytes is longer than any frame ({MAX_MESSAGE})")]
    TooLong {
        /// Bytes in the message.
        len: usize,
    },
    /// Shorter than a header.
    #[error("a message of {len} bytes has no frame header")]
    NoHeader {
        /// Bytes in the message.
        len: usize,
    },
    /// No frame of this protocol version has this type.
    #[error("unknown frame type {kind:#04x}")]
    UnknownType {
        /// The type byte.
        kind: u8,
    },
    /// No flag is defined for any frame of this protocol version.
    #[error("frame type {kind:#04x} has unknown flags {flags:#010b}")]
    UnknownFlags {
        /// The type byte.
        kind: u8,
        /// The flags byte.
        flags: u8,
    },
    /// The payload ends before its fields do.
    #[error("frame type {kind:#04x} ends inside its {field}")]
    Truncated {
        /// The type byte.
        kind: u8,
        /// The field that is cut.
        field: &'static str,
    },
    /// Bytes follow the last field.
    #[error("frame type {kind:#04x} has {len} bytes too many")]
    Trailing {
        /// The type byte.
        kind: u8,
        /// How many.
        len: usize,
    },
    /// A field holds what it must not.
    #[error("frame type {kind:#04x}: {field} must be {expected}")]
    Field {
        /// The type byte.
        kind: u8,
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

impl Frame {
    /// The frame's bytes, in one allocation of exactly their length.
    ///
    /// # Panics
    /// If a field is outside the range its documentation gives: such a frame must not be made.
    #[must_use]
    pub fn encode(&self) -> BytesMut {
        if let Err((field, expected)) = self.check() {
            panic!("frame type {:#04x} made here: {field} must be {expected}", self.kind());
        }
        let len = self.encoded_len();
        let mut out = BytesMut::with_capacity(len);
        out.put_u8(self.kind());
        out.put_u8(0);
        self.put_payload(&mut out);
        assert_eq!(out.len(), len, "encoded_len of frame type {:#04x}", self.kind());
        out
    }

    /// Bytes in the encoded frame.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        HEADER
            + match self {
                Self::Hello(_) => 3,
                Self::HealthCheck { .. } | Self::Health { .. } => 8,
                Self::ChunkRequest { .. } => 4 + CHUNK_ID + 4,
                Self::ChunkResponse { data, .. } => 6 + data.len(),
                Self::Cancel { .. } | Self::MetainfoStored { .. } | Self::DhtAnnounced { .. } => 4,
                Self::Reject { .. } => 5,
                Self::HashRequest { .. } | Self::ChunkStored { .. } => 4 + CHUNK_ID,
                Self::Hashes { leaves, .. } => 4 + leaves.len() * 32,
                Self::ChunkStore { chunks, .. } => 4 + chunks.len() * CHUNK_ID,
                Self::ChunkList { .. } | Self::MetainfoStore { .. } | Self::DhtAnnounce { .. } => 36,
                Self::Have { bitmap, .. } => 40 + bitmap.len(),
                Self::MetainfoRequest { .. } => 40,
                Self::Metainfo { data, .. } => 12 + data.len(),
                Self::DhtLookUp { .. } => 24,
                Self::DhtPeers { peers, .. } => 4 + peers.len() * PEER,
            }
    }

    /// The frame in `data`, one whole message of a data channel. Payloads are slices of it.
    ///
    /// # Errors
    /// Names the type byte and the first rule that the message breaks.
    pub fn decode(data: Bytes) -> Result<Self, FrameError> {
        let len = data.len();
        if len > MAX_MESSAGE {
            return Err(FrameError::TooLong { len });
        }
        let (Some(&kind), Some(&flags)) = (data.first(), data.get(1)) else {
            return Err(FrameError::NoHeader { len });
        };
        let mut reader = Reader { kind, rest: data.slice(HEADER..) };
        let frame = Self::read_payload(&mut reader)?;
        if flags != 0 {
            return Err(FrameError::UnknownFlags { kind, flags });
        }
        if !reader.rest.is_empty() {
            return Err(FrameError::Trailing { kind, len: reader.rest.len() });
        }
        frame.check().map_err(|(field, expected)| FrameError::Field { kind, field, expected })?;
        Ok(frame)
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => kind::HELLO,
            Self::HealthCheck { .. } => kind::HEALTH_CHECK,
            Self::Health { .. } => kind::HEALTH,
            Self::ChunkRequest { .. } => kind::CHUNK_REQUEST,
            Self::ChunkResponse { .. } => kind::CHUNK_RESPONSE,
            Self::Cancel { .. } => kind::CANCEL,
            Self::Reject { .. } => kind::REJECT,
            Self::HashRequest { .. } => kind::HASH_REQUEST,
            Self::Hashes { .. } => kind::HASHES,
            Self::ChunkStore { .. } => kind::CHUNK_STORE,
            Self::ChunkStored { .. } => kind::CHUNK_STORED,
            Self::ChunkList { .. } => kind::CHUNK_LIST,
            Self::Have { .. } => kind::HAVE,
            Self::MetainfoRequest { .. } => kind::METAINFO_REQUEST,
            Self::Metainfo { .. } => kind::METAINFO,
            Self::MetainfoStore { .. } => kind::METAINFO_STORE,
            Self::MetainfoStored { .. } => kind::METAINFO_STORED,
            Self::DhtAnnounce { .. } => kind::DHT_ANNOUNCE,
            Self::DhtAnnounced { .. } => kind::DHT_ANNOUNCED,
            Self::DhtLookUp { .. } => kind::DHT_LOOK_UP,
            Self::DhtPeers { .. } => kind::DHT_PEERS,
        }
    }

    fn put_payload(&self, out: &mut BytesMut) {
        match self {
            Self::Hello(hello) => {
                out.put_u16(hello.version);
                out.put_u8(hello.frame_blocks);
            }
            Self::HealthCheck { nonce } | Self::Health { nonce } => out.put_u64(*nonce),
            Self::ChunkRequest { request, chunk, first, count } => {
                out.put_u32(*request);
                put_chunk(out, chunk);
                out.put_u16(*first);
                out.put_u16(*count);
            }
            Self::ChunkResponse { request, first, data } => {
                out.put_u32(*request);
                out.put_u16(*first);
                out.put_slice(data);
            }
            Self::Cancel { request } | Self::MetainfoStored { request } | Self::DhtAnnounced { request } => {
                out.put_u32(*request);
            }
            Self::Reject { request, reason } => {
                out.put_u32(*request);
                out.put_u8(reason.code());
            }
            Self::HashRequest { request, chunk } | Self::ChunkStored { request, chunk } => {
                out.put_u32(*request);
                put_chunk(out, chunk);
            }
            Self::Hashes { request, leaves } => {
                out.put_u32(*request);
                for leaf in leaves {
                    out.put_slice(&leaf.0);
                }
            }
            Self::ChunkStore { request, chunks } => {
                out.put_u32(*request);
                for chunk in chunks {
                    put_chunk(out, chunk);
                }
            }
            Self::ChunkList { request, info_hash }
            | Self::MetainfoStore { request, info_hash }
            | Self::DhtAnnounce { request, info_hash } => {
                out.put_u32(*request);
                out.put_slice(&info_hash.0.0);
            }
            Self::Have { request, info_hash, first, bitmap } => {
                out.put_u32(*request);
                out.put_slice(&info_hash.0.0);
                out.put_u32(*first);
                out.put_slice(bitmap);
            }
            Self::MetainfoRequest { request, info_hash, offset } => {
                out.put_u32(*request);
                out.put_slice(&info_hash.0.0);
                out.put_u32(*offset);
            }
            Self::Metainfo { request, total, offset, data } => {
                out.put_u32(*request);
                out.put_u32(*total);
                out.put_u32(*offset);
                out.put_slice(data);
            }
            Self::DhtLookUp { request, name } => {
                out.put_u32(*request);
                out.put_slice(&name.0);
            }
            Self::DhtPeers { request, peers } => {
                out.put_u32(*request);
                for peer in peers {
                    out.put_slice(&peer.ip().octets());
                    out.put_u16(peer.port());
                }
            }
        }
    }

    fn read_payload(r: &mut Reader) -> Result<Self, FrameError> {
        Ok(match r.kind {
            kind::HELLO => Self::Hello(Hello { version: r.u16("version")?, frame_blocks: r.u8("frame_blocks")? }),
            kind::HEALTH_CHECK => Self::HealthCheck { nonce: r.u64("nonce")? },
            kind::HEALTH => Self::Health { nonce: r.u64("nonce")? },
            kind::CHUNK_REQUEST => Self::ChunkRequest {
                request: r.request()?,
                chunk: r.chunk()?,
                first: r.u16("first")?,
                count: r.u16("count")?,
            },
            kind::CHUNK_RESPONSE => {
                Self::ChunkResponse { request: r.request()?, first: r.u16("first")?, data: r.rest() }
            }
            kind::CANCEL => Self::Cancel { request: r.request()? },
            kind::REJECT => Self::Reject { request: r.request()?, reason: r.reason()? },
            kind::HASH_REQUEST => Self::HashRequest { request: r.request()?, chunk: r.chunk()? },
            kind::HASHES => Self::Hashes {
                request: r.request()?,
                leaves: r.list(MAX_LEAVES, "leaves", |r| r.digest("leaves"))?,
            },
            kind::CHUNK_STORE => Self::ChunkStore {
                request: r.request()?,
                chunks: r.list(MAX_STORE_CHUNKS, "chunks", Reader::chunk)?,
            },
            kind::CHUNK_STORED => Self::ChunkStored { request: r.request()?, chunk: r.chunk()? },
            kind::CHUNK_LIST => Self::ChunkList { request: r.request()?, info_hash: r.info_hash()? },
            kind::HAVE => Self::Have {
                request: r.request()?,
                info_hash: r.info_hash()?,
                first: r.u32("first")?,
                bitmap: r.rest(),
            },
            kind::METAINFO_REQUEST => Self::MetainfoRequest {
                request: r.request()?,
                info_hash: r.info_hash()?,
                offset: r.u32("offset")?,
            },
            kind::METAINFO => Self::Metainfo {
                request: r.request()?,
                total: r.u32("total")?,
                offset: r.u32("offset")?,
                data: r.rest(),
            },
            kind::METAINFO_STORE => Self::MetainfoStore { request: r.request()?, info_hash: r.info_hash()? },
            kind::METAINFO_STORED => Self::MetainfoStored { request: r.request()? },
            kind::DHT_ANNOUNCE => Self::DhtAnnounce { request: r.request()?, info_hash: r.info_hash()? },
            kind::DHT_ANNOUNCED => Self::DhtAnnounced { request: r.request()? },
            kind::DHT_LOOK_UP => Self::DhtLookUp { request: r.request()?, name: r.dht_name()? },
            kind::DHT_PEERS => {
                Self::DhtPeers { request: r.request()?, peers: r.up_to(MAX_DHT_PEERS, Reader::peer)? }
            }
            kind => return Err(FrameError::UnknownType { kind }),
        })
    }

    /// The field that breaks its rule, and the rule.
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let rule = |holds: bool, field, expected| if holds { Ok(()) } else { Err((field, expected)) };
        match self {
            Self::Hello(hello) => {
                rule((1..=MAX_FRAME_BLOCKS).contains(&hello.frame_blocks), "frame_blocks", "1 to 8")
            }
            Self::ChunkRequest { chunk, first, count, .. } => {
                rule(chunk.range_len(*first, *count).is_some(), "first and count", "a range inside the chunk")
            }
            Self::ChunkResponse { first, data, .. } => {
                let blocks = data.len().div_ceil(BLOCK_LEN as usize);
                rule(
                    (1..=usize::from(MAX_FRAME_BLOCKS)).contains(&blocks),
                    "data",
                    "1 byte to 8 blocks of 16 KiB",
                )?;
                rule(usize::from(*first) + blocks <= MAX_LEAVES, "first", "such that the blocks end by 1024")
            }
            Self::Hashes { leaves, .. } => {
                rule((1..=MAX_LEAVES).contains(&leaves.len()), "leaves", "1 to 1024 digests")
            }
            Self::ChunkStore { chunks, .. } => {
                rule((1..=MAX_STORE_CHUNKS).contains(&chunks.len()), "chunks", "1 to 64 chunk ids")
            }
            Self::ChunkList { request, .. } => rule(*request != 0, "request", "other than 0"),
            Self::Have { first, bitmap, .. } => {
                let most = (MAX_HAVE_PIECES / 8) as usize;
                rule((1..=most).contains(&bitmap.len()), "bitmap", "1 to 32768 bytes")?;
                rule(first % 8 == 0, "first", "a multiple of 8")?;
                let end = u64::from(*first) + 8 * bitmap.len() as u64;
                rule(end <= 1 << 32, "first", "such that the bitmap ends by piece 2^32")
            }
            Self::MetainfoRequest { offset, .. } => rule(*offset < MAX_METAINFO, "offset", "below 32 MiB"),
            Self::Metainfo { total, offset, data, .. } => {
                rule((1..=MAX_METAINFO).contains(total), "total", "1 byte to 32 MiB")?;
                rule((1..=METAINFO_PART as usize).contains(&data.len()), "data", "1 byte to 32 KiB")?;
                let end = u64::from(*offset) + data.len() as u64;
                rule(end <= u64::from(*total), "offset", "such that the data ends by total")
            }
            Self::DhtPeers { peers, .. } => {
                rule(peers.len() <= MAX_DHT_PEERS, "peers", "at most 100 addresses")?;
                rule(peers.iter().all(|peer| peer.port() != 0), "peers", "addresses with a port")
            }
            Self::HealthCheck { .. }
            | Self::Health { .. }
            | Self::Cancel { .. }
            | Self::Reject { .. }
            | Self::HashRequest { .. }
            | Self::ChunkStored { .. }
            | Self::MetainfoStore { .. }
            | Self::MetainfoStored { .. }
            | Self::DhtAnnounce { .. }
            | Self::DhtAnnounced { .. }
            | Self::DhtLookUp { .. } => Ok(()),
        }
    }
}

impl Reason {
    const ALL: [Self; 7] = [
        Self::NotFound,
        Self::Busy,
        Self::StorageFailed,
        Self::Unsupported,
        Self::Incomplete,
        Self::Invalid,
        Self::Leaving,
    ];

    /// Its byte on the wire: 1 to 7, in the order of declaration.
    const fn code(self) -> u8 {
        self as u8 + 1
    }
}

fn put_chunk(out: &mut BytesMut, chunk: &ChunkId) {
    out.put_slice(&chunk.root().0);
    out.put_u32(chunk.length());
    out.put_u8(chunk.height());
}

/// Takes fields off the front of a payload; says which field was cut.
struct Reader {
    kind: u8,
    rest: Bytes,
}

impl Reader {
    fn need(&self, len: usize, field: &'static str) -> Result<(), FrameError> {
        let enough = self.rest.len() >= len;
        enough.then_some(()).ok_or(FrameError::Truncated { kind: self.kind, field })
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, FrameError> {
        self.need(1, field)?;
        Ok(self.rest.get_u8())
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, FrameError> {
        self.need(2, field)?;
        Ok(self.rest.get_u16())
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, FrameError> {
        self.need(4, field)?;
        Ok(self.rest.get_u32())
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, FrameError> {
        self.need(8, field)?;
        Ok(self.rest.get_u64())
    }

    fn digest(&mut self, field: &'static str) -> Result<Digest, FrameError> {
        self.need(32, field)?;
        let mut digest = Digest::default();
        self.rest.copy_to_slice(&mut digest.0);
        Ok(digest)
    }

    fn request(&mut self) -> Result<u32, FrameError> {
        self.u32("request")
    }

    fn info_hash(&mut self) -> Result<InfoHash, FrameError> {
        self.digest("info_hash").map(InfoHash)
    }

    fn chunk(&mut self) -> Result<ChunkId, FrameError> {
        let (root, length, height) = (self.digest("chunk")?, self.u32("chunk")?, self.u8("chunk")?);
        ChunkId::new(root, length, height).ok_or(FrameError::Field {
            kind: self.kind,
            field: "chunk",
            expected: "1 byte to 16 MiB long under a tree of at most 10 levels with a leaf for each block",
        })
    }

    fn dht_name(&mut self) -> Result<DhtName, FrameError> {
        self.need(20, "name")?;
        let mut name = DhtName([0; 20]);
        self.rest.copy_to_slice(&mut name.0);
        Ok(name)
    }

    fn peer(&mut self) -> Result<SocketAddrV4, FrameError> {
        let ip = Ipv4Addr::from(self.u32("peers")?);
        Ok(SocketAddrV4::new(ip, self.u16("peers")?))
    }

    fn reason(&mut self) -> Result<Reason, FrameError> {
        let code = self.u8("reason")?;
        Reason::ALL.into_iter().find(|reason| reason.code() == code).ok_or(FrameError::Field {
            kind: self.kind,
            field: "reason",
            expected: "1 to 7",
        })
    }

    /// Items up to the end of the payload, at least one, at most `max`; whatever is left then is trailing.
    fn list<T>(
        &mut self,
        max: usize,
        field: &'static str,
        item: impl FnMut(&mut Self) -> Result<T, FrameError>,
    ) -> Result<Vec<T>, FrameError> {
        self.need(1, field)?;
        self.up_to(max, item)
    }

    /// The same, or none at all.
    fn up_to<T>(
        &mut self,
        max: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, FrameError>,
    ) -> Result<Vec<T>, FrameError> {
        let mut items = Vec::new();
        while !self.rest.is_empty() && items.len() < max {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn rest(&mut self) -> Bytes {
        self.rest.split_to(self.rest.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn digest() -> impl Strategy<Value = Digest> {
        any::<[u8; 32]>().prop_map(Digest)
    }

    fn info_hash() -> impl Strategy<Value = InfoHash> {
        digest().prop_map(InfoHash)
    }

    fn chunk() -> impl Strategy<Value = ChunkId> {
        (digest(), 1..=MAX_CHUNK_LEN, 0..=10u8).prop_map(|(root, length, height)| {
            let height = height.max(crate::merkle::height_for(u64::from(length.div_ceil(BLOCK_LEN))));
            ChunkId::new(root, length, height).expect("height_for leaves room")
        })
    }

    fn payload(max: usize) -> impl Strategy<Value = Bytes> {
        prop_oneof![Just(1), Just(max), 1..=max].prop_flat_map(|len| {
            any::<u8>().prop_map(move |seed| (0..len).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect())
        })
    }

    /// Every frame there can be, extremes included.
    fn frame() -> impl Strategy<Value = Frame> {
        let request = any::<u32>();
        prop_oneof![
            (any::<u16>(), 1..=MAX_FRAME_BLOCKS)
                .prop_map(|(version, frame_blocks)| Frame::Hello(Hello { version, frame_blocks })),
            any::<u64>().prop_map(|nonce| Frame::HealthCheck { nonce }),
            any::<u64>().prop_map(|nonce| Frame::Health { nonce }),
            (request, chunk(), any::<u16>(), any::<u16>()).prop_map(|(request, chunk, a, b)| {
                let first = a % chunk.blocks();
                let count = 1 + b % (chunk.blocks() - first);
                Frame::ChunkRequest { request, chunk, first, count }
            }),
            (request, 0..=1020u16, payload(65536)).prop_map(|(request, first, data)| Frame::ChunkResponse {
                request,
                first,
                data
            }),
            request.prop_map(|request| Frame::Cancel { request }),
            (request, 0..7usize).prop_map(|(request, i)| Frame::Reject { request, reason: Reason::ALL[i] }),
            (request, chunk()).prop_map(|(request, chunk)| Frame::HashRequest { request, chunk }),
            (request, digest(), 1..=1024usize)
                .prop_map(|(request, leaf, n)| Frame::Hashes { request, leaves: vec![leaf; n] }),
            (request, vec(chunk(), 1..=64)).prop_map(|(request, chunks)| Frame::ChunkStore { request, chunks }),
            (request, chunk()).prop_map(|(request, chunk)| Frame::ChunkStored { request, chunk }),
            (1..=u32::MAX, info_hash()).prop_map(|(request, info_hash)| Frame::ChunkList { request, info_hash }),
            (request, info_hash(), any::<u16>(), payload(32768)).prop_map(
                |(request, info_hash, first, bitmap)| {
                    Frame::Have { request, info_hash, first: u32::from(first) * 8, bitmap }
                }
            ),
            (request, info_hash(), 0..MAX_METAINFO).prop_map(|(request, info_hash, offset)| {
                Frame::MetainfoRequest { request, info_hash, offset }
            }),
            (request, payload(32768), any::<u32>(), any::<u32>()).prop_map(|(request, data, a, b)| {
                let len = data.len() as u32;
                let total = len + a % (MAX_METAINFO - len + 1);
                let offset = b % (total - len + 1);
                Frame::Metainfo { request, total, offset, data }
            }),
            (request, info_hash()).prop_map(|(request, info_hash)| Frame::MetainfoStore { request, info_hash }),
            request.prop_map(|request| Frame::MetainfoStored { request }),
            (request, info_hash()).prop_map(|(request, info_hash)| Frame::DhtAnnounce { request, info_hash }),
            request.prop_map(|request| Frame::DhtAnnounced { request }),
            (request, any::<[u8; 20]>())
                .prop_map(|(request, name)| Frame::DhtLookUp { request, name: DhtName(name) }),
            (request, vec((any::<u32>(), 1..=u16::MAX), 0..=MAX_DHT_PEERS)).prop_map(|(request, peers)| {
                let peers = peers.into_iter().map(|(ip, port)| SocketAddrV4::new(ip.into(), port)).collect();
                Frame::DhtPeers { request, peers }
            }),
        ]
    }

    /// Whether a frame's last field takes whatever follows, so that a cut can be a frame too.
    fn open_ended(frame: &Frame) -> bool {
        matches!(
            frame,
            Frame::ChunkResponse { .. }
                | Frame::Have { .. }
                | Frame::Metainfo { .. }
                | Frame::Hashes { .. }
                | Frame::ChunkStore { .. }
                | Frame::DhtPeers { .. }
        )
    }

    proptest! {
        #[test]
        fn a_frame_survives_the_wire(frame in frame()) {
            let bytes = frame.encode();
            prop_assert!(bytes.len() <= MAX_MESSAGE);
            prop_assert_eq!(bytes.len(), frame.encoded_len());
            prop_assert_eq!(bytes.capacity(), frame.encoded_len());
            prop_assert_eq!(Frame::decode(bytes.freeze()), Ok(frame));
        }

        #[test]
        fn a_cut_frame_is_refused(frame in frame(), cut in any::<prop::sample::Index>()) {
            let bytes = frame.encode().freeze();
            let cut = bytes.slice(..cut.index(bytes.len()));
            match Frame::decode(cut.clone()) {
                Ok(other) => {
                    prop_assert!(open_ended(&frame), "{frame:?} cut to {} bytes", cut.len());
                    prop_assert_eq!(other.encode().freeze(), cut);
                }
                Err(e) => prop_assert!(!e.to_string().is_empty()),
            }
        }

        #[test]
        fn a_byte_too_many_is_refused(frame in frame()) {
            if !open_ended(&frame) {
                let kind = frame.kind();
                let mut bytes = frame.encode();
                bytes.put_u8(0);
                prop_assert_eq!(Frame::decode(bytes.freeze()), Err(FrameError::Trailing { kind, len: 1 }));
            }
        }

        #[test]
        fn flags_are_refused(frame in frame(), flags in 1..=255u8) {
            let mut bytes = frame.encode();
            bytes[1] = flags;
            let kind = frame.kind();
            prop_assert_eq!(Frame::decode(bytes.freeze()), Err(FrameError::UnknownFlags { kind, flags }));
        }
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let bytes = Bytes::copy_from_slice(bytes);
            if let Ok(frame) = Frame::decode(bytes.clone()) {
                assert_eq!(frame.encode(), bytes);
            }
        });
    }

    #[test]
    fn random_payloads_under_every_type_byte_do_no_harm() {
        bolero::check!().with_type::<(u8, Vec<u8>)>().for_each(|(kind, payload)| {
            let bytes: Bytes = [&[*kind, 0], payload.as_slice()].concat().into();
            if let Ok(frame) = Frame::decode(bytes.clone()) {
                assert_eq!(frame.encode(), bytes);
            }
        });
    }

    #[test]
    fn payloads_are_slices_of_the_message() {
        let frame = Frame::ChunkResponse { request: 1, first: 0, data: Bytes::from(vec![7; 131_072]) };
        let message = frame.encode().freeze();
        let Ok(Frame::ChunkResponse { data, .. }) = Frame::decode(message.clone()) else { panic!("decodes") };
        assert_eq!(data.as_ptr(), message[8..].as_ptr());
        assert_eq!(message.len(), MAX_MESSAGE);
    }

    /// The layout as the protocol's documentation gives it: a change here is a change of the protocol.
    #[test]
    fn layouts_are_fixed() {
        let hex = |frame: Frame| data_encoding::HEXLOWER.encode(&frame.encode());
        let chunk = ChunkId::new(Digest([0xaa; 32]), 70_000, 3).expect("5 blocks under 8 leaves");
        let id = format!("{}0001117003", "aa".repeat(32));
        let info_hash = InfoHash(Digest([0xbb; 32]));
        let hash = "bb".repeat(32);
        assert_eq!(hex(Frame::Hello(Hello { version: 1, frame_blocks: 4 })), "1000000104");
        assert_eq!(hex(Frame::HealthCheck { nonce: 1 }), "06000000000000000001");
        assert_eq!(hex(Frame::Health { nonce: 1 }), "86000000000000000001");
        assert_eq!(
            hex(Frame::ChunkRequest { request: 1, chunk, first: 2, count: 3 }),
            format!("010000000001{id}00020003")
        );
        let data = Bytes::from_static(&[0xcc, 0xdd]);
        assert_eq!(hex(Frame::ChunkResponse { request: 1, first: 4, data: data.clone() }), "0200000000010004ccdd");
        assert_eq!(hex(Frame::ChunkStore { request: 1, chunks: vec![chunk] }), format!("030000000001{id}"));
        assert_eq!(hex(Frame::ChunkStored { request: 1, chunk }), format!("830000000001{id}"));
        assert_eq!(hex(Frame::ChunkList { request: 1, info_hash }), format!("040000000001{hash}"));
        assert_eq!(hex(Frame::DhtAnnounce { request: 1, info_hash }), format!("050000000001{hash}"));
        assert_eq!(
            hex(Frame::Have { request: 1, info_hash, first: 8, bitmap: data.clone() }),
            format!("070000000001{hash}00000008ccdd")
        );
        assert_eq!(hex(Frame::Cancel { request: 1 }), "080000000001");
        assert_eq!(hex(Frame::Reject { request: 1, reason: Reason::NotFound }), "09000000000101");
        assert_eq!(hex(Frame::Reject { request: 1, reason: Reason::Leaving }), "09000000000107");
        assert_eq!(hex(Frame::HashRequest { request: 1, chunk }), format!("0a0000000001{id}"));
        assert_eq!(
            hex(Frame::Hashes { request: 1, leaves: vec![Digest([0xbb; 32])] }),
            format!("0b0000000001{hash}")
        );
        assert_eq!(
            hex(Frame::MetainfoRequest { request: 1, info_hash, offset: 9 }),
            format!("0c0000000001{hash}00000009")
        );
        assert_eq!(
            hex(Frame::Metainfo { request: 1, total: 11, offset: 9, data }),
            "0d00000000010000000b00000009ccdd"
        );
        assert_eq!(hex(Frame::MetainfoStore { request: 1, info_hash }), format!("0e0000000001{hash}"));
        assert_eq!(hex(Frame::MetainfoStored { request: 1 }), "8e0000000001");
        assert_eq!(hex(Frame::DhtAnnounced { request: 1 }), "850000000001");
        let name = DhtName::from(info_hash);
        assert_eq!(hex(Frame::DhtLookUp { request: 1, name }), format!("0f0000000001{}", &hash[..40]));
        let peers = vec![SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 1), 8181)];
        assert_eq!(hex(Frame::DhtPeers { request: 1, peers }), "8f00000000017f0000011ff5");
        assert_eq!(hex(Frame::DhtPeers { request: 1, peers: Vec::new() }), "8f0000000001");
    }

    #[test]
    fn broken_rules_are_named() {
        let fault = |hex: &str| {
            let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("test vector");
            Frame::decode(bytes.into()).expect_err("not a frame").to_string()
        };
        let root = "aa".repeat(32);
        let hash = "bb".repeat(32);
        assert_eq!(fault(""), "a message of 0 bytes has no frame header");
        assert_eq!(fault("01"), "a message of 1 bytes has no frame header");
        assert_eq!(fault("ff00"), "unknown frame type 0xff");
        assert_eq!(fault("0601000000"), "frame type 0x06 ends inside its nonce");
        assert_eq!(fault("08010000000a"), "frame type 0x08 has unknown flags 0b00000001");
        assert_eq!(fault("080000000001ff"), "frame type 0x08 has 1 bytes too many");
        assert_eq!(fault("1000000100"), "frame type 0x10: frame_blocks must be 1 to 8");
        assert_eq!(fault("1000000109"), "frame type 0x10: frame_blocks must be 1 to 8");
        assert_eq!(fault("09000000000100"), "frame type 0x09: reason must be 1 to 7");
        assert_eq!(fault("09000000000108"), "frame type 0x09: reason must be 1 to 7");
        let outside = "frame type 0x01: first and count must be a range inside the chunk";
        assert_eq!(fault(&format!("010000000001{root}000111700300000000")), outside);
        assert_eq!(fault(&format!("010000000001{root}000111700300000006")), outside);
        assert_eq!(fault(&format!("010000000001{root}0001117003ffffffff")), outside);
        for (length, height) in [(0, 0), (16_385, 0), (MAX_CHUNK_LEN + 1, 10), (1, 11)] {
            let id = format!("{root}{length:08x}{height:02x}");
            assert!(fault(&format!("0a0000000001{id}")).starts_with("frame type 0x0a: chunk must be"), "{id}");
        }
        assert_eq!(fault("0200000000010000"), "frame type 0x02: data must be 1 byte to 8 blocks of 16 KiB");
        assert!(fault("0200000000010400cc").starts_with("frame type 0x02: first must be"));
        assert_eq!(fault("0b0000000001"), "frame type 0x0b ends inside its leaves");
        assert_eq!(fault("0b0000000001aa"), "frame type 0x0b ends inside its leaves");
        assert_eq!(fault("030000000001"), "frame type 0x03 ends inside its chunks");
        assert_eq!(fault(&format!("040000000000{hash}")), "frame type 0x04: request must be other than 0");
        assert!(fault(&format!("070000000001{hash}00000008")).starts_with("frame type 0x07: bitmap"));
        assert!(fault(&format!("070000000001{hash}0000000701")).starts_with("frame type 0x07: first"));
        assert!(fault(&format!("070000000001{hash}fffffff80101")).starts_with("frame type 0x07: first"));
        assert!(fault(&format!("0c0000000001{hash}02000000")).starts_with("frame type 0x0c: offset"));
        assert!(fault("0d00000000010000000a00000009ccdd").starts_with("frame type 0x0d: offset"));
        assert!(fault("0d0000000001000000000000000000").starts_with("frame type 0x0d: total"));
        assert_eq!(fault(&format!("0f0000000001{}", &hash[..38])), "frame type 0x0f ends inside its name");
        assert_eq!(fault("8f00000000017f0000011f"), "frame type 0x8f ends inside its peers");
        assert_eq!(fault("8f00000000017f0000010000"), "frame type 0x8f: peers must be addresses with a port");
        let peers = format!("8f0000000001{}", "7f0000011ff5".repeat(101));
        assert_eq!(fault(&peers), "frame type 0x8f has 6 bytes too many");
        let leaves = format!("0b0000000001{}", hash.repeat(1025));
        assert_eq!(fault(&leaves), "frame type 0x0b has 32 bytes too many");
        let long = Frame::decode(vec![2; MAX_MESSAGE + 1].into()).expect_err("too long");
        assert_eq!(long, FrameError::TooLong { len: MAX_MESSAGE + 1 });
    }

    #[test]
    #[should_panic(expected = "must be a range inside the chunk")]
    fn nonsense_is_not_encoded() {
        let chunk = ChunkId::new(Digest::default(), 1, 0).expect("one byte");
        let _ = Frame::ChunkRequest { request: 1, chunk, first: 0, count: 2 }.encode();
    }
}
