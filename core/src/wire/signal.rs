//! Messages between a client (worker or peer) and its front: JSON text over a WebSocket, tagged by `type`,
//! unknown fields refused. Limits on size and shape are checked while parsing.

use serde::{Deserialize, Serialize};

use crate::id::{Digest, InfoHash, PeerId};

/// Version of this protocol, told in [`ToFront::Hello`].
pub const VERSION: u16 = 1;
/// Most bytes in one message.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Most bytes in a session description.
pub const MAX_SDP: usize = 32 * 1024;
/// Most bytes in an ICE candidate.
pub const MAX_CANDIDATE: usize = 1024;
/// Most bytes in words meant for a log or a user, such as the reason of a `bye`; no control characters.
pub const MAX_WORDS: usize = 256;
/// Most bytes in the name of a worker.
pub const MAX_NAME: usize = 64;
/// Most bytes in the name of a region.
pub const MAX_REGION: usize = 32;
/// Largest capacity of a worker.
pub const MAX_CAPACITY: u16 = 1000;
/// The load of a worker that turns newcomers away; the highest there is.
pub const FULL: u8 = 100;
/// Most bytes in a URL.
pub const MAX_URL: usize = 256;
/// Most peers in one `peers`.
pub const MAX_SAMPLE: usize = 32;
/// Most fronts, and most ICE servers, in a [`Bootstrap`].
pub const MAX_SERVERS: usize = 32;
/// Most workers, those that come and those that go together, in one [`WorkersNews`].
pub const MAX_NEWS: usize = 128;

/// From a client to its front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToFront {
    /// First message: who I am.
    Hello {
        /// [`VERSION`].
        version: u16,
        /// My name.
        id: PeerId,
        /// What I am to the network, proven where it must be.
        role: Role,
    },
    /// I have, or want, this share: count me in its swarm. Answered by `peers`. To be repeated every
    /// `heartbeat_seconds` of the welcome.
    Announce {
        /// The share.
        info_hash: InfoHash,
        /// Whether I have all of it.
        complete: bool,
    },
    /// I am no longer in this swarm.
    Leave {
        /// The share.
        info_hash: InfoHash,
    },
    /// Hand this to another client.
    Signal {
        /// Whom it is for.
        to: PeerId,
        /// Number of the connection, chosen by the side that offers.
        session: u32,
        /// What to hand over.
        body: Signal,
    },
    /// Are you there?
    Ping {},
    /// Answer to `probe`.
    Alive {},
    /// From a worker: I am about to leave, assign me to nobody any more.
    Draining {},
    /// From a worker: so much of what I can do is being done.
    Load {
        /// 0 to [`FULL`], which says that I turn newcomers away.
        percent: u8,
    },
}

/// From a front to its client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromFront {
    /// Answer to `hello`.
    Welcome(Bootstrap),
    /// Your worker is another one from now on; absent if there is none.
    Assign {
        /// The worker.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<WorkerInfo>,
    },
    /// A sample of the swarm.
    Peers {
        /// The share.
        info_hash: InfoHash,
        /// Others in its swarm, at most [`MAX_SAMPLE`].
        peers: Vec<PeerId>,
    },
    /// From another client.
    Signal {
        /// Who sent it.
        from: PeerId,
        /// Number of the connection.
        session: u32,
        /// What it says.
        body: Signal,
    },
    /// Your message had a fault; it changed nothing.
    Error {
        /// What kind of fault.
        code: ErrorCode,
        /// In words.
        message: String,
    },
    /// Yes.
    Pong {},
    /// To a worker: answer with `alive`, at once. A front that has sent one goes on sending them, so that a worker
    /// notices when its front falls silent.
    Probe {},
    /// To a worker: which workers there are, or how that changed.
    Workers(WorkersNews),
}

/// How two clients come to a data channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Signal {
    /// I want a connection.
    Offer {
        /// The session description.
        sdp: String,
    },
    /// Here is my side of it.
    Answer {
        /// The session description.
        sdp: String,
    },
    /// One more way to reach me.
    Candidate {
        /// The candidate line, as `RTCIceCandidateInit.candidate` has it.
        candidate: String,
    },
    /// No, or no more.
    Bye {
        /// Why, in words.
        reason: String,
    },
    /// From the front: the client you wrote to is not here. Refused from a client.
    Unreachable {},
    /// No, for I have no room. A front that hands this on from the worker it gave a client gives that client another
    /// right after it, if it knows of one with room.
    Full {},
}

/// What a client is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Role {
    /// Someone who shares or fetches.
    Peer {},
    /// An always-on worker.
    Worker(WorkerHello),
}

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerHello {
    /// Its name (`WORKER_ID`), 1 to [`MAX_NAME`] of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// Its share of the ring, 1 to [`MAX_CAPACITY`]; 100 is usual.
    pub capacity: u16,
    /// Where it serves HTTP, such as `http://192.0.2.1:8081`.
    pub http: String,
    /// Where it stands, such as `eu-west`: at most [`MAX_REGION`] of `A-Z a-z 0-9 . _ -`; empty if it does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Unix milliseconds at which `mac` was made; later in every hello of this name.
    pub timestamp_ms: u64,
    /// HMAC-SHA256 over `name:timestamp_ms` with the shared key, in hexadecimal.
    pub mac: Digest,
}

/// What a newcomer needs to begin (also the body of `POST /bootstrap`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// The worker assigned to the newcomer's network; absent while no worker is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerInfo>,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// URLs of all fronts.
    pub fronts: Vec<String>,
    /// How often to announce, 1 to 3600; after three times that without one, membership expires.
    pub heartbeat_seconds: u32,
}

/// A worker as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerInfo {
    /// Its name in the ring.
    pub name: String,
    /// Whom to signal.
    pub peer: PeerId,
    /// Where it serves HTTP.
    pub http: String,
}

/// What a front tells its workers of each other. However many there are, each message is short: what does not fit
/// follows in the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkersNews {
    /// Whatever was told before is void, by whichever front.
    pub anew: bool,
    /// New ones, or what holds of them from now on.
    pub come: Vec<Neighbour>,
    /// Names of those that serve nobody any more.
    pub gone: Vec<String>,
}

/// A worker as other workers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// Its name in the ring.
    pub name: String,
    /// Its share of the ring.
    pub capacity: u16,
    /// Where it serves HTTP.
    pub http: String,
}

/// As `RTCIceServer` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    /// Such as `stun:stun.example.org:3478`; 1 to 8 of them.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// Kinds of fault a front reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// Not a message of this protocol.
    Malformed,
    /// `hello` must come first, and once.
    NotWelcomed,
    /// The other side speaks another version.
    Version,
    /// The worker's proof is wrong, stale or replayed, or no worker may connect from where it is.
    Unauthorized,
    /// Someone with that name is connected.
    NameTaken,
    /// Too much at once.
    Limit,
}
