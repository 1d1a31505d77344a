//! What the machine wants done and what it tells, as headers and payloads. Types only; docs are the crate's.

use bytes::Bytes;
use kollator_core::id::InfoHash;
use kollator_core::merkle::BLOCK_LEN;
use kollator_core::metainfo::Metainfo;
use kollator_core::node::io::{DiskCommand, LinkCommand, Place};
use kollator_core::node::peer::{
    PeerEvent, PeerOutput, Progress, SessionStatus, SourceKind, SourceStatus, Totals, WebCommand,
};
use kollator_core::rtc::RtcCommand;
use kollator_core::wire::signal::IceServer;
use serde::Serialize;

/// Most room that is kept from one output to the next: a `.ko` may be much longer than all else.
const MAX_KEPT: usize = 1 << 20;

/// A header; the crate's documentation says what each is.
#[derive(Debug, Serialize)]
#[serde(tag = "t", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Header<'a> {
    LinkConnect { front: usize },
    LinkSend {},
    RtcIceServers { servers: &'a [IceServer] },
    RtcOffer { conn: u64 },
    RtcAccept { conn: u64, sdp: &'a str },
    RtcSetAnswer { conn: u64, sdp: &'a str },
    RtcCandidate { conn: u64, candidate: &'a str },
    RtcSend { conn: u64 },
    RtcClose { conn: u64, flush: bool },
    DiskPrepare(Info<'a>),
    DiskRead(Extent),
    DiskReadLeaves(Extent),
    DiskHash { ticket: u64 },
    DiskWrite { ticket: u64, info_hash: InfoHash, places: Vec<At> },
    DiskFinish { info_hash: InfoHash },
    WebRequest { id: u64, url: String, head: bool, range: Option<(u32, u32)> },
    WebCancel { id: u64 },
    Event { event: Event<'a> },
}

/// Part of a file that is to be read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Extent {
    ticket: u64,
    info_hash: InfoHash,
    file: u32,
    offset: u64,
    length: u32,
}

/// Where bytes belong.
#[derive(Debug, Serialize)]
pub(crate) struct At {
    file: u32,
    offset: u64,
}

/// What a `.ko` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Info<'a> {
    info_hash: InfoHash,
    name: &'a str,
    piece_length: u32,
    /// Whether the share is one file rather than a folder.
    single: bool,
    total_length: u64,
    files: Vec<FileInfo<'a>>,
}

/// A file of a share.
#[derive(Debug, Serialize)]
pub(crate) struct FileInfo<'a> {
    /// Components below the share's folder; the share's name for a single file.
    path: &'a [String],
    length: u64,
}

impl<'a> Info<'a> {
    pub(crate) fn of(metainfo: &'a Metainfo) -> Self {
        let file = |file: &'a kollator_core::metainfo::File| FileInfo { path: &file.path, length: file.length };
        Self {
            info_hash: metainfo.info_hash(),
            name: metainfo.name(),
            piece_length: metainfo.piece_length(),
            single: metainfo.is_single_file(),
            total_length: metainfo.total_length(),
            files: metainfo.files().iter().map(file).collect(),
        }
    }
}

/// What is told to the user.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Event<'a> {
    Online {
        worker: Option<&'a str>,
    },
    Offline {
        reason: &'a str,
    },
    Metainfo(Info<'a>),
    FrontComplained {
        message: &'a str,
    },
    Gained {
        info_hash: InfoHash,
        places: Vec<At>,
        length: u32,
        source: Option<String>,
        source_kind: Option<&'static str>,
    },
    SourceUp {
        source: String,
        source_kind: &'static str,
    },
    SourceDown {
        source: String,
        reason: &'a str,
    },
    Met {
        info_hash: InfoHash,
        source: String,
        error: Option<&'a str>,
    },
    Blamed {
        source: String,
        offence: &'a str,
    },
    Stored {
        info_hash: InfoHash,
        bytes: u64,
    },
    Safe {
        info_hash: InfoHash,
        http: Option<&'a str>,
    },
    Completed {
        info_hash: InfoHash,
        totals: TotalsInfo,
    },
    Failed {
        info_hash: InfoHash,
        reason: &'a str,
    },
}

/// Where a share's bytes came from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TotalsInfo {
    bytes_total: u64,
    from: From,
}

#[derive(Debug, Serialize)]
struct From {
    disk: u64,
    worker: u64,
    peer: u64,
    http: u64,
}

impl TotalsInfo {
    fn of(totals: &Totals) -> Self {
        let from = |kind| totals.from.get(&kind).copied().unwrap_or_default();
        let from = From {
            disk: totals.from_disk,
            worker: from(SourceKind::Worker),
            peer: from(SourceKind::Peer),
            http: from(SourceKind::Http),
        };
        Self { bytes_total: totals.bytes_total, from }
    }
}

/// How a download stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProgressInfo {
    #[serde(flatten)]
    totals: TotalsInfo,
    bytes_done: u64,
    sources: usize,
}

impl ProgressInfo {
    pub(crate) fn of(progress: &Progress) -> Self {
        let (bytes_done, sources) = (progress.bytes_done, progress.sources);
        Self { totals: TotalsInfo::of(&progress.totals), bytes_done, sources }
    }
}

/// How a connected source of a download stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceInfo {
    source: String,
    source_kind: &'static str,
    bytes: u64,
    rate: u64,
    in_flight: u64,
    failures: u32,
    stalled: bool,
    paused: bool,
}

impl SourceInfo {
    pub(crate) fn of(status: &SourceStatus) -> Self {
        let SourceStatus { source, kind, stats } = status;
        Self {
            source: source.to_string(),
            source_kind: kind_name(*kind),
            bytes: stats.bytes,
            rate: stats.rate,
            in_flight: stats.in_flight,
            failures: stats.failures,
            stalled: stats.stalled,
            paused: stats.paused,
        }
    }
}

/// How a node stands with which there is a session.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionInfo {
    source: String,
    source_kind: &'static str,
    bytes_sent: u64,
}

impl SessionInfo {
    pub(crate) fn of(status: &SessionStatus) -> Self {
        let SessionStatus { peer, kind, bytes_sent } = status;
        Self { source: peer.to_string(), source_kind: kind_name(*kind), bytes_sent: *bytes_sent }
    }
}

/// What the types of a page call a kind of source.
const fn kind_name(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Worker => "worker",
        SourceKind::Peer => "peer",
        SourceKind::Http => "http",
    }
}

/// Writes one output over whatever `out` holds: the header's length, the header, the payload.
pub(crate) fn write(out: &mut Vec<u8>, header: &impl Serialize, payload: &[u8]) {
    out.clear();
    out.shrink_to(MAX_KEPT);
    out.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *out, header)
        .expect("a Vec takes all that is written to it, and every key is text");
    let length = out.len() as u32 - 4;
    out[..4].copy_from_slice(&length.to_le_bytes());
    out.extend_from_slice(payload);
}

/// Writes an output of the machine.
pub(crate) fn write_output(out: &mut Vec<u8>, output: PeerOutput) {
    match output {
        PeerOutput::Link(command) => match command {
            LinkCommand::Connect { front } => write(out, &Header::LinkConnect { front }, &[]),
            LinkCommand::Send { text } => write(out, &Header::LinkSend {}, text.as_bytes()),
        },
        PeerOutput::Rtc(command) => write_rtc(out, command),
        PeerOutput::Disk(command) => write_disk(out, command),
        PeerOutput::Web(WebCommand::Request { id, worker, ask }) => {
            let url = format!("{worker}{}", ask.path());
            let range = ask.range().map(|range| range.into_inner());
            write(out, &Header::WebRequest { id: id.0, url, head: ask.is_head(), range }, &[]);
        }
        PeerOutput::Web(WebCommand::Cancel { id }) => write(out, &Header::WebCancel { id: id.0 }, &[]),
        PeerOutput::Event(event) => write_event(out, &event),
    }
}

fn write_rtc(out: &mut Vec<u8>, command: RtcCommand) {
    match command {
        RtcCommand::UseIceServers { servers } => write(out, &Header::RtcIceServers { servers: &servers }, &[]),
        RtcCommand::Offer { conn } => write(out, &Header::RtcOffer { conn: conn.0 }, &[]),
        RtcCommand::Accept { conn, sdp } => write(out, &Header::RtcAccept { conn: conn.0, sdp: &sdp }, &[]),
        RtcCommand::SetAnswer { conn, sdp } => write(out, &Header::RtcSetAnswer { conn: conn.0, sdp: &sdp }, &[]),
        RtcCommand::AddCandidate { conn, candidate } => {
            write(out, &Header::RtcCandidate { conn: conn.0, candidate: &candidate }, &[]);
        }
        RtcCommand::Send { conn, frame } => write(out, &Header::RtcSend { conn: conn.0 }, &frame.encode()),
        RtcCommand::Close { conn, flush } => write(out, &Header::RtcClose { conn: conn.0, flush }, &[]),
    }
}

fn write_disk(out: &mut Vec<u8>, command: DiskCommand) {
    let extent = |ticket: u64, info_hash, Place { file, offset }, length| Extent {
        ticket,
        info_hash,
        file,
        offset,
        length,
    };
    match command {
        DiskCommand::Prepare { metainfo } => {
            write(out, &Header::DiskPrepare(Info::of(&metainfo)), metainfo.raw());
        }
        DiskCommand::Read { ticket, info_hash, place, length } => {
            write(out, &Header::DiskRead(extent(ticket.0, info_hash, place, length)), &[]);
        }
        DiskCommand::ReadLeaves { ticket, info_hash, place, length } => {
            write(out, &Header::DiskReadLeaves(extent(ticket.0, info_hash, place, length)), &[]);
        }
        DiskCommand::Hash { ticket, data } => write(out, &Header::DiskHash { ticket: ticket.0 }, &data),
        DiskCommand::Write { ticket, info_hash, places, blocks } => {
            // The machine says where the chunk belongs, a host is told where these blocks of it do.
            let first = u64::from(blocks.first()) * u64::from(BLOCK_LEN);
            let at = |place: &Place| At { file: place.file, offset: place.offset + first };
            let places = places.iter().map(at).collect();
            write(out, &Header::DiskWrite { ticket: ticket.0, info_hash, places }, blocks.data());
        }
        DiskCommand::Finish { info_hash } => write(out, &Header::DiskFinish { info_hash }, &[]),
    }
}

fn write_event(out: &mut Vec<u8>, event: &PeerEvent) {
    let mut payload = Bytes::new();
    let event = match event {
        PeerEvent::Online { worker } => Event::Online { worker: worker.as_deref() },
        PeerEvent::Offline { reason } => Event::Offline { reason },
        PeerEvent::Metainfo { metainfo } => {
            payload = metainfo.raw().clone();
            Event::Metainfo(Info::of(metainfo))
        }
        PeerEvent::FrontComplained { message } => Event::FrontComplained { message },
        PeerEvent::Gained { info_hash, places, length, from } => Event::Gained {
            info_hash: *info_hash,
            places: places.iter().map(|place| At { file: place.file, offset: place.offset }).collect(),
            length: *length,
            source: from.as_ref().map(|(source, _)| source.to_string()),
            source_kind: from.as_ref().map(|(_, kind)| kind_name(*kind)),
        },
        PeerEvent::SourceUp { source, kind } => {
            Event::SourceUp { source: source.to_string(), source_kind: kind_name(*kind) }
        }
        PeerEvent::SourceDown { source, reason } => Event::SourceDown { source: source.to_string(), reason },
        PeerEvent::Met { info_hash, peer, result } => Event::Met {
            info_hash: *info_hash,
            source: peer.to_string(),
            error: result.as_ref().err().map(String::as_str),
        },
        PeerEvent::Blamed { source, offence } => Event::Blamed { source: source.to_string(), offence },
        PeerEvent::Stored { info_hash, bytes } => Event::Stored { info_hash: *info_hash, bytes: *bytes },
        PeerEvent::Safe { info_hash, http } => Event::Safe { info_hash: *info_hash, http: http.as_deref() },
        PeerEvent::Completed { info_hash, totals } => {
            Event::Completed { info_hash: *info_hash, totals: TotalsInfo::of(totals) }
        }
        PeerEvent::Failed { info_hash, reason } => Event::Failed { info_hash: *info_hash, reason },
    };
    write(out, &Header::Event { event }, &payload);
}
