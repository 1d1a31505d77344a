//! Questions that a host asks beside the machine's work: pure functions of core, and how things stand. A call changes
//! nothing and makes no output but its answer.

use bytes::Bytes;
use kollator_core::id::InfoHash;
use kollator_core::link::{LinkKey, ShareRef};
use kollator_core::merkle::{self, BLOCK_LEN};
use kollator_core::metainfo::{MAX_PIECE_LENGTH, MIN_PIECE_LENGTH, Metainfo, MetainfoBuilder, piece_height};
use kollator_core::node::peer::Peer;
use kollator_core::seal::SEALED_NAME;
use serde::{Deserialize, Serialize};

use crate::inputs::digests;
use crate::outputs::{Info, ProgressInfo, SessionInfo, SourceInfo, write};
use crate::sealing;

/// What `call` takes before the payload. The crate's documentation says what each is.
#[derive(Deserialize)]
#[serde(tag = "t", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Call {
    ParseLink {
        text: String,
    },
    ShareLink {
        info_hash: InfoHash,
        name: Option<String>,
        fronts: Vec<String>,
        key: Option<String>,
        to: Option<String>,
    },
    MetainfoInfo {},
    BuildMetainfo {
        name: String,
        #[serde(default)]
        sealed: bool,
        piece_length: u32,
        fronts: Vec<String>,
        files: Vec<NewFile>,
    },
    PieceRoot {
        length: u32,
        piece_length: u32,
        file_length: u64,
    },
    Leaves {},
    SealLayout {
        key: String,
        name: String,
        files: Vec<NewFile>,
    },
    OpenMetainfo {
        key: String,
    },
    SealBlocks {
        key: String,
        length: u64,
        first: u64,
    },
    OpenBlocks {
        key: String,
        length: u64,
        first: u64,
    },
    PublicKey {},
    WrapKey {
        key: String,
        to: String,
    },
    UnwrapKey {
        wrapped: String,
    },
    Progress {
        info_hash: InfoHash,
    },
    Sources {
        info_hash: InfoHash,
    },
    Connected {},
    Counters {},
}

/// A file of a share that is being made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewFile {
    pub(crate) path: Vec<String>,
    pub(crate) length: u64,
}

/// Why a call has no answer.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    /// One of those that the page's types know.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// What a call answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Answer<T> {
    Ok(T),
    Error(Refusal),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkInfo {
    info_hash: InfoHash,
    name: Option<String>,
    fronts: Vec<String>,
    key: Option<String>,
    /// The key, wrapped to a person.
    to: Option<String>,
}

impl LinkInfo {
    fn of(link: ShareRef) -> Self {
        let (key, to) = match link.key {
            None => (None, None),
            Some(LinkKey::Open(key)) => (Some(key.to_text()), None),
            Some(LinkKey::Wrapped(key)) => (None, Some(key.to_string())),
        };
        Self { info_hash: link.info_hash, name: link.name, fronts: link.fronts, key, to }
    }
}

#[derive(Serialize)]
struct NewLink {
    link: String,
}

/// A key in its text form.
#[derive(Serialize)]
struct Key {
    key: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    info_hash: InfoHash,
}

#[derive(Debug, Serialize)]
struct Nothing {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counters {
    /// Sessions that are up.
    connections: usize,
    /// WebRTC connections in use, those being set up included.
    channels: usize,
    bytes_served: u64,
}

/// Answers a call into `out`, over whatever that holds.
pub(crate) fn answer(out: &mut Vec<u8>, peer: Option<&Peer>, header: &[u8], payload: Bytes) {
    let call = serde_json::from_slice(header);
    let answered = call.map_err(|error| broken(format!("the call's header: {error}")));
    if let Err(refusal) = answered.and_then(|call| carry_out(out, peer, call, payload)) {
        refuse(out, refusal);
    }
}

/// Answers a call whose input cannot even be cut into header and payload.
pub(crate) fn answer_unreadable(out: &mut Vec<u8>, message: String) {
    refuse(out, broken(message));
}

fn refuse(out: &mut Vec<u8>, refusal: Refusal) {
    write(out, &Answer::<Nothing>::Error(refusal), &[]);
}

pub(crate) fn broken(message: impl Into<String>) -> Refusal {
    Refusal { code: "broken", message: message.into() }
}

fn carry_out(out: &mut Vec<u8>, peer: Option<&Peer>, call: Call, payload: Bytes) -> Result<(), Refusal> {
    let takes_payload = !matches!(
        call,
        Call::ParseLink { .. }
            | Call::ShareLink { .. }
            | Call::SealLayout { .. }
            | Call::Progress { .. }
            | Call::Sources { .. }
            | Call::Connected {}
            | Call::Counters {}
    );
    if !takes_payload && !payload.is_empty() {
        return Err(broken(format!("this call takes no payload, got {} bytes", payload.len())));
    }
    let running = || peer.ok_or_else(|| broken("the machine was not started"));
    match call {
        Call::ParseLink { text } => {
            let parsed: Result<ShareRef, _> = text.parse();
            let link = parsed.map_err(|error| Refusal { code: "link", message: error.to_string() })?;
            write(out, &Answer::Ok(LinkInfo::of(link)), &[]);
        }
        Call::ShareLink { info_hash, name, fronts, key, to } => {
            let refused = |message: String| Refusal { code: "link", message };
            let front = fronts.first().cloned().ok_or_else(|| refused("a share link needs a front".into()))?;
            let key = match (key, to) {
                (None, None) => None,
                (Some(key), None) => Some(LinkKey::Open(sealing::share_key(&key)?)),
                (None, Some(to)) => Some(LinkKey::Wrapped(to.parse()?)),
                (Some(_), Some(_)) => {
                    return Err(refused("a share link has either a key or a wrapped key".into()));
                }
            };
            let link = ShareRef { name, fronts, key, ..ShareRef::new(info_hash) }.share_link(&front);
            write(out, &Answer::Ok(NewLink { link }), &[]);
        }
        Call::MetainfoInfo {} => {
            let metainfo = Metainfo::parse(payload).map_err(|error| broken(error.to_string()))?;
            write(out, &Answer::Ok(Info::of(&metainfo)), &[]);
        }
        Call::BuildMetainfo { name, sealed, piece_length, fronts, files } => {
            let builder = match sealed {
                false => MetainfoBuilder::new(&name, piece_length),
                true if name == SEALED_NAME => MetainfoBuilder::sealed(piece_length),
                true => return Err(broken(format!("a sealed share must be called {SEALED_NAME}, got {name:?}"))),
            };
            let builder = builder.map_err(|error| broken(error.to_string()))?;
            let metainfo = build(builder, piece_length, &fronts, &files, &payload).map_err(broken)?;
            write(out, &Answer::Ok(Made { info_hash: metainfo.info_hash() }), metainfo.raw());
        }
        Call::PieceRoot { length, piece_length, file_length } => {
            let root = piece_root(length, piece_length, file_length, &payload).map_err(broken)?;
            write(out, &Answer::Ok(Nothing {}), &root);
        }
        Call::Leaves {} => {
            let leaves: Vec<u8> = merkle::leaves(&payload).iter().flat_map(|leaf| leaf.0).collect();
            write(out, &Answer::Ok(Nothing {}), &leaves);
        }
        Call::SealLayout { key, name, files } => {
            let (share, keys) = sealing::layout(&key, &name, files)?;
            write(out, &Answer::Ok(share), &keys);
        }
        Call::OpenMetainfo { key } => {
            let (share, keys) = sealing::open(&key, payload)?;
            write(out, &Answer::Ok(share), &keys);
        }
        Call::SealBlocks { key, length, first } => {
            let sealed = sealing::seal_blocks(&key, length, first, &payload)?;
            write(out, &Answer::Ok(Nothing {}), &sealed);
        }
        Call::OpenBlocks { key, length, first } => {
            let plain = sealing::open_blocks(&key, length, first, &payload)?;
            write(out, &Answer::Ok(Nothing {}), &plain);
        }
        Call::PublicKey {} => write(out, &Answer::Ok(Key { key: sealing::public(&payload)? }), &[]),
        Call::WrapKey { key, to } => {
            write(out, &Answer::Ok(Key { key: sealing::wrap(&key, &to, &payload)? }), &[]);
        }
        Call::UnwrapKey { wrapped } => {
            write(out, &Answer::Ok(Key { key: sealing::unwrap(&wrapped, &payload)? }), &[]);
        }
        Call::Progress { info_hash } => {
            let progress = running()?.progress(info_hash);
            write(out, &Answer::Ok(progress.as_ref().map(ProgressInfo::of)), &[]);
        }
        Call::Sources { info_hash } => {
            let sources = running()?.sources(info_hash);
            write(out, &Answer::Ok(sources.iter().map(SourceInfo::of).collect::<Vec<_>>()), &[]);
        }
        Call::Connected {} => {
            let sessions = running()?.connected();
            write(out, &Answer::Ok(sessions.iter().map(SessionInfo::of).collect::<Vec<_>>()), &[]);
        }
        Call::Counters {} => {
            let peer = running()?;
            let (connections, channels) = (peer.connections(), peer.channels());
            write(out, &Answer::Ok(Counters { connections, channels, bytes_served: peer.bytes_served() }), &[]);
        }
    }
    Ok(())
}

/// The `.ko` of files whose piece roots are in `payload`, one after another.
fn build(
    mut builder: MetainfoBuilder,
    piece_length: u32,
    fronts: &[String],
    files: &[NewFile],
    payload: &[u8],
) -> Result<Metainfo, String> {
    let roots = digests(payload)?;
    let mut rest = roots.as_slice();
    for file in files {
        let pieces = usize::try_from(file.length.div_ceil(piece_length.into())).unwrap_or(usize::MAX);
        let (own, after) = rest.split_at_checked(pieces).ok_or_else(|| {
            format!("the payload holds {} piece roots, too few for file {:?}", roots.len(), file.path.join("/"))
        })?;
        rest = after;
        builder.file(&file.path, file.length, own.to_vec()).map_err(|error| error.to_string())?;
    }
    if !rest.is_empty() {
        return Err(format!("the payload holds {} piece roots more than the files have pieces", rest.len()));
    }
    builder.fronts(fronts).map_err(|error| error.to_string())?;
    builder.build().map_err(|error| error.to_string())
}

/// The root of a piece of `length` bytes whose leaves are in `payload`.
fn piece_root(length: u32, piece_length: u32, file_length: u64, payload: &[u8]) -> Result<[u8; 32], String> {
    if !piece_length.is_power_of_two() || !(MIN_PIECE_LENGTH..=MAX_PIECE_LENGTH).contains(&piece_length) {
        return Err(format!(
            "pieceLength must be a power of two from {MIN_PIECE_LENGTH} to {MAX_PIECE_LENGTH}, got {piece_length}"
        ));
    }
    if length == 0 || length > piece_length || u64::from(length) > file_length {
        return Err(format!("length must be from 1 to that of the piece and the file, got {length}"));
    }
    let leaves = digests(payload)?;
    let blocks = length.div_ceil(BLOCK_LEN) as usize;
    if leaves.len() != blocks {
        return Err(format!("a piece of {length} bytes has {blocks} leaves, got {}", leaves.len()));
    }
    let height = piece_height(file_length, piece_length);
    Ok(merkle::root(&leaves, height, Default::default()).0)
}
