//! Frames on a data channel: `[type: u8][flags: u8][payload]`, integers big-endian.
//!
//! Either side may send any frame at any time after its own HELLO. A request names itself with a number that
//! its sender chose; whatever answers it carries the number.

use core::net::SocketAddrV4;

use bytes::Bytes;

use crate::dht::DhtName;
use crate::id::{ChunkId, Digest, InfoHash};

/// Version of this protocol, told in [`Hello`].
pub const VERSION: u16 = 1;
/// Most blocks a side may offer to take in one CHUNK_RESPONSE: 128 KiB. Every browser takes messages of that size.
pub const MAX_FRAME_BLOCKS: u8 = 8;
/// Most bytes of metainfo in one METAINFO frame.
pub const METAINFO_PART: u32 = 32 * 1024;
/// Most bytes of a whole `.ko` (a share of 1 TiB in 4 MiB chunks takes 8 MiB).
pub const MAX_METAINFO: u32 = 32 * 1024 * 1024;
/// Most pieces in one HAVE frame.
pub const MAX_HAVE_PIECES: u32 = 32 * 1024 * 8;
/// Most chunks in one CHUNK_STORE frame.
pub const MAX_STORE_CHUNKS: usize = 64;
/// Most addresses in one DHT_PEERS frame.
pub const MAX_DHT_PEERS: usize = 100;

/// Number of a request, chosen by its sender; unique among its open requests on that session.
pub type RequestId = u32;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// First frame of each side.
    Hello(Hello),
    /// Are you there?
    HealthCheck {
        /// Returned in the answer.
        nonce: u64,
    },
    /// Yes.
    Health {
        /// The nonce of the HEALTH_CHECK.
        nonce: u64,
    },
    /// Send me these blocks of a chunk. Answered by CHUNK_RESPONSEs in order, or REJECT.
    ChunkRequest {
        /// Number of this request.
        request: RequestId,
        /// The chunk.
        chunk: ChunkId,
        /// First block.
        first: u16,
        /// How many blocks, at least one; the range lies inside the chunk.
        count: u16,
    },
    /// Blocks that were asked for, as many as the other side takes at once.
    ChunkResponse {
        /// The request they answer.
        request: RequestId,
        /// Index of the first of them in the chunk.
        first: u16,
        /// Their bytes, not empty: whole blocks but for the chunk's last.
        data: Bytes,
    },
    /// I no longer need what I asked for; what is on its way may still come.
    Cancel {
        /// The request.
        request: RequestId,
    },
    /// I can't do what you asked.
    Reject {
        /// The request.
        request: RequestId,
        /// Why.
        reason: Reason,
    },
    /// Send me the leaf hashes of a chunk. Answered by HASHES or REJECT.
    HashRequest {
        /// Number of this request.
        request: RequestId,
        /// The chunk.
        chunk: ChunkId,
    },
    /// All leaf hashes of a chunk, to be checked against its root.
    Hashes {
        /// The request they answer.
        request: RequestId,
        /// 1 to 1024 of them.
        leaves: Vec<Digest>,
    },
    /// Keep these chunks: I have them, ask me for what you lack. Each is answered by CHUNK_STORED once it is
    /// safe, or the whole by REJECT.
    ChunkStore {
        /// Number of this request.
        request: RequestId,
        /// 1 to [`MAX_STORE_CHUNKS`] chunks.
        chunks: Vec<ChunkId>,
    },
    /// This chunk is stored for good.
    ChunkStored {
        /// The request.
        request: RequestId,
        /// The chunk.
        chunk: ChunkId,
    },
    /// Which pieces of this share do you have? Answered by HAVE frames that cover every piece, or REJECT.
    /// From then on the answerer tells of new pieces by HAVE with request 0.
    ChunkList {
        /// Number of this request, not 0.
        request: RequestId,
        /// The share.
        info_hash: InfoHash,
    },
    /// Pieces I have.
    Have {
        /// The CHUNK_LIST this answers, 0 if it is news.
        request: RequestId,
        /// The share.
        info_hash: InfoHash,
        /// Piece that the first bit stands for, a multiple of 8.
        first: u32,
        /// Bit for each piece, most significant first, 1 to [`MAX_HAVE_PIECES`] / 8 bytes; set: I have it.
        bitmap: Bytes,
    },
    /// Send me the `.ko` of this share from `offset` on. Answered by one METAINFO or REJECT.
    MetainfoRequest {
        /// Number of this request.
        request: RequestId,
        /// The share.
        info_hash: InfoHash,
        /// First byte.
        offset: u32,
    },
    /// Part of a `.ko`.
    Metainfo {
        /// The request.
        request: RequestId,
        /// Bytes in the whole `.ko`, at most [`MAX_METAINFO`].
        total: u32,
        /// First byte in this part.
        offset: u32,
        /// 1 to [`METAINFO_PART`] bytes, not past `total`.
        data: Bytes,
    },
    /// Keep the `.ko` of this share: ask me for it. Its chunks must be stored already. Answered by
    /// METAINFO_STORED once the link needs me no more, or REJECT.
    MetainfoStore {
        /// Number of this request.
        request: RequestId,
        /// The share.
        info_hash: InfoHash,
    },
    /// The share is whole and stored for good.
    MetainfoStored {
        /// The request.
        request: RequestId,
    },
    /// Announce this share, which you store, on the DHT (BEP 5). Answered by DHT_ANNOUNCED or REJECT.
    DhtAnnounce {
        /// Number of this request.
        request: RequestId,
        /// What to announce.
        info_hash: InfoHash,
    },
    /// The DHT has heard of it, and will hear of it again.
    DhtAnnounced {
        /// The request.
        request: RequestId,
    },
    /// Who is announced on the DHT under this name? Answered by one DHT_PEERS or REJECT.
    DhtLookUp {
        /// Number of this request.
        request: RequestId,
        /// The name.
        name: DhtName,
    },
    /// Those the DHT told of. Nobody vouches for them.
    DhtPeers {
        /// The request.
        request: RequestId,
        /// At most [`MAX_DHT_PEERS`], none with port 0.
        peers: Vec<SocketAddrV4>,
    },
}

/// What a side says of itself first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`VERSION`] of the sender.
    pub version: u16,
    /// Most blocks it takes in one CHUNK_RESPONSE, 1 to [`MAX_FRAME_BLOCKS`].
    pub frame_blocks: u8,
}

/// Why a request is turned down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// I don't have it.
    NotFound,
    /// Too much is open already; ask again later.
    Busy,
    /// My storage failed or is full.
    StorageFailed,
    /// I don't do this.
    Unsupported,
    /// A chunk of the share is not stored.
    Incomplete,
    /// What you sent for it is not what it should be.
    Invalid,
    /// I am about to leave; go elsewhere.
    Leaving,
}
