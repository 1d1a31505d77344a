//! A peer and its sessions, told what happens one input at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest, PeerId};
use kollator_core::machine::{Instant, Machine};
use kollator_core::merkle::{self, HashedBlocks};
use kollator_core::metainfo::{Metainfo, MetainfoBuilder, piece_root};
use kollator_core::node::io::{Claim, DiskCommand, DiskEvent, LinkCommand, LinkEvent, Place};
use kollator_core::node::peer::{
    Command, Order, Peer, PeerConfig, PeerEvent, PeerInput, PeerOutput, SourceKind, SourceName, WebCommand,
};
use kollator_core::rtc::{ConnId, RtcCommand, RtcEvent};
use kollator_core::wire::frame::{Frame, Hello, RequestId, VERSION};
use kollator_core::wire::signal::{Bootstrap, FromFront, Signal, ToFront, WorkerInfo};

const PIECE: u32 = 64 * 1024;
const OTHER: PeerId = PeerId(Digest([7; 32]));

fn content() -> Bytes {
    (0..3 * PIECE).map(|i| (i / 7 % 251) as u8).collect()
}

fn metainfo() -> Arc<Metainfo> {
    let content = content();
    let length = content.len() as u64;
    let roots = content.chunks(PIECE as usize).map(|piece| piece_root(piece, length, PIECE)).collect();
    let mut builder = MetainfoBuilder::new("share", PIECE).unwrap();
    Arc::new(builder.file(&["share"], length, roots).unwrap().build().unwrap())
}

/// A peer with a sound disk and a stack that takes every frame at once.
struct Stage {
    now: Instant,
    peer: Peer,
    conn: Option<ConnId>,
    sent: Vec<Frame>,
    /// How many offers it made, of which each was described at once.
    offers: usize,
    events: Vec<PeerEvent>,
    web: Vec<WebCommand>,
    /// What the disk finds when it prepares a download.
    found: Vec<Claim>,
}

impl Stage {
    /// A peer that is online, without a worker, and has one session, which the other side began.
    fn new() -> Self {
        let peer = Peer::new(PeerConfig::new(PeerId(Digest([1; 32])), 5, 1));
        let mut stage = Self {
            now: Instant::ZERO,
            peer,
            conn: None,
            sent: Vec::new(),
            offers: 0,
            events: Vec::new(),
            web: Vec::new(),
            found: Vec::new(),
        };
        stage.tell(PeerInput::Wake);
        stage.tell(PeerInput::Link(LinkEvent::Up));
        stage.front(&FromFront::Welcome(Bootstrap {
            worker: None,
            ice_servers: Vec::new(),
            fronts: Vec::new(),
            heartbeat_seconds: 30,
        }));
        stage.meet(OTHER);
        assert!(stage.is_up());
        stage
    }

    /// One more session, which the other side began; what is said from now on is said on it.
    fn meet(&mut self, from: PeerId) {
        self.front(&FromFront::Signal { from, session: 1, body: Signal::Offer { sdp: "theirs".into() } });
        let conn = self.conn.expect("the offer is accepted");
        self.tell(PeerInput::Rtc(RtcEvent::Open { conn }));
        self.frame(&Frame::Hello(Hello { version: VERSION, frame_blocks: 4 }));
    }

    fn is_up(&self) -> bool {
        self.peer.connections() == 1
    }

    fn front(&mut self, message: &FromFront) {
        self.tell(PeerInput::Link(LinkEvent::Message { text: message.to_text().into() }));
    }

    fn frame(&mut self, frame: &Frame) {
        let conn = self.conn.expect("there is a session");
        self.tell(PeerInput::Rtc(RtcEvent::Message { conn, data: frame.encode().freeze() }));
    }

    fn tell(&mut self, input: PeerInput) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            self.peer.handle(self.now, inputs.remove(0));
            while let Some(output) = self.peer.poll() {
                inputs.extend(self.obey(output));
            }
        }
    }

    fn obey(&mut self, output: PeerOutput) -> Option<PeerInput> {
        match output {
            PeerOutput::Link(LinkCommand::Send { text }) => {
                let message = ToFront::parse(text.as_bytes()).expect("a peer keeps the protocol");
                let pong = || LinkEvent::Message { text: FromFront::Pong {}.to_text().into() };
                (message == ToFront::Ping {}).then(|| PeerInput::Link(pong()))
            }
            PeerOutput::Link(LinkCommand::Connect { .. }) => None,
            PeerOutput::Rtc(RtcCommand::Accept { conn, .. }) => {
                self.conn = Some(conn);
                Some(PeerInput::Rtc(RtcEvent::Described { conn, sdp: "ours".into() }))
            }
            PeerOutput::Rtc(RtcCommand::Offer { conn }) => {
                self.offers += 1;
                Some(PeerInput::Rtc(RtcEvent::Described { conn, sdp: "ours".into() }))
            }
            PeerOutput::Rtc(RtcCommand::Send { conn, frame }) => {
                let bytes = frame.encoded_len() as u32;
                self.sent.push(frame);
                Some(PeerInput::Rtc(RtcEvent::Sent { conn, bytes }))
            }
            PeerOutput::Rtc(_) => None,
            PeerOutput::Web(command) => {
                self.web.push(command);
                None
            }
            PeerOutput::Disk(DiskCommand::Prepare { metainfo }) => {
                let info_hash = metainfo.info_hash();
                Some(PeerInput::Disk(DiskEvent::Prepared { info_hash, found: Ok(self.found.clone()) }))
            }
            PeerOutput::Disk(DiskCommand::Hash { ticket, data }) => {
                let blocks = HashedBlocks::compute(data);
                Some(PeerInput::Disk(DiskEvent::Hashed { ticket, blocks }))
            }
            PeerOutput::Disk(DiskCommand::Write { ticket, .. }) => {
                Some(PeerInput::Disk(DiskEvent::Written { ticket, result: Ok(()) }))
            }
            PeerOutput::Disk(DiskCommand::Read { ticket, place, length, .. }) => {
                let from = place.offset as usize;
                let data = Ok(content().slice(from..from + length as usize));
                Some(PeerInput::Disk(DiskEvent::Read { ticket, data }))
            }
            PeerOutput::Disk(_) => None,
            PeerOutput::Event(event) => {
                self.events.push(event);
                None
            }
        }
    }

    /// Begins the download; the other side has all of it. Returns the requests for blocks.
    fn download(&mut self, metainfo: &Arc<Metainfo>) -> Vec<RequestId> {
        self.sent.clear();
        let info_hash = metainfo.info_hash();
        let order = Order::Sequential;
        self.tell(PeerInput::Command(Command::Download { info_hash, metainfo: Some(metainfo.clone()), order }));
        let list = self.sent.iter().find_map(|frame| match frame {
            Frame::ChunkList { request, .. } => Some(*request),
            _ => None,
        });
        let request = list.expect("the other side is asked what it has");
        self.frame(&Frame::Have { request, info_hash, first: 0, bitmap: Bytes::from_static(&[0xE0]) });
        let asked = |frame: &Frame| match frame {
            Frame::ChunkRequest { request, .. } => Some(*request),
            _ => None,
        };
        self.sent.iter().filter_map(asked).collect()
    }
}

#[test]
fn what_a_stopped_download_asked_for_is_not_held_against_the_source() {
    let (metainfo, mut stage) = (metainfo(), Stage::new());
    let old = stage.download(&metainfo);
    stage.sent.clear();
    stage.tell(PeerInput::Command(Command::Stop { info_hash: metainfo.info_hash() }));
    let cancels: Vec<Frame> = old.iter().map(|request| Frame::Cancel { request: *request }).collect();
    assert_eq!(stage.sent, cancels, "everything is cancelled and nothing more is asked for");
    let new = stage.download(&metainfo);
    assert!(!old.is_empty() && new.iter().all(|request| !old.contains(request)), "{old:?} {new:?}");
    for request in old {
        stage.frame(&Frame::ChunkResponse { request, first: 0, data: content().slice(..PIECE as usize) });
    }
    assert!(stage.is_up(), "{:?}", stage.events);
}

#[test]
fn a_session_that_was_there_before_its_worker_was_assigned_takes_the_upload() {
    let (metainfo, mut stage) = (metainfo(), Stage::new());
    stage.tell(PeerInput::Command(Command::Share { metainfo, upload: true }));
    assert!(!stage.sent.iter().any(|frame| matches!(frame, Frame::ChunkStore { .. })));
    let (name, http) = ("worker-1".into(), "http://192.0.2.1:8081".into());
    stage.front(&FromFront::Assign { worker: Some(WorkerInfo { name, peer: OTHER, http }) });
    assert!(stage.sent.iter().any(|frame| matches!(frame, Frame::ChunkStore { .. })), "{:?}", stage.sent);
}

#[test]
fn an_upload_goes_on_to_the_worker_that_is_assigned_while_the_one_before_seems_alive() {
    let is_offered = |stage: &Stage| stage.sent.iter().any(|frame| matches!(frame, Frame::ChunkStore { .. }));
    let assigned = |peer| {
        let (name, http) = ("worker".into(), "http://192.0.2.1:8081".into());
        FromFront::Assign { worker: Some(WorkerInfo { name, peer, http }) }
    };
    // Below our own name: where both dial, its offer stands.
    let third = PeerId(Digest([0; 32]));
    for is_there_before in [true, false] {
        let (metainfo, mut stage) = (metainfo(), Stage::new());
        stage.tell(PeerInput::Command(Command::Share { metainfo, upload: true }));
        stage.front(&assigned(OTHER));
        assert!(is_offered(&stage));
        stage.sent.clear();
        if is_there_before {
            stage.meet(third);
            assert!(!is_offered(&stage));
        }
        stage.front(&assigned(third));
        if !is_there_before {
            assert!(!is_offered(&stage));
            stage.meet(third);
        }
        assert!(is_offered(&stage), "{:?}", stage.sent);
    }
}

#[test]
fn a_transport_that_takes_everything_is_no_sign_of_life() {
    let mut stage = Stage::new();
    let end = stage.now + Duration::from_secs(30);
    while stage.is_up() {
        stage.now = stage.peer.next_wake().expect("it watches its session");
        assert!(stage.now < end, "the silence went unnoticed");
        stage.tell(PeerInput::Wake);
    }
    assert!(stage.sent.iter().any(|frame| matches!(frame, Frame::HealthCheck { .. })), "it asked first");
}

#[test]
fn a_chunk_in_two_places_is_on_disk_only_if_it_is_in_both() {
    let piece = content().slice(..PIECE as usize);
    let root = piece_root(&piece, 2 * u64::from(PIECE), PIECE);
    let mut builder = MetainfoBuilder::new("twice", PIECE).unwrap();
    builder.file(&["twice"], 2 * u64::from(PIECE), vec![root, root]).unwrap();
    let metainfo = Arc::new(builder.build().unwrap());
    let right = merkle::leaves(&piece);
    let mut rotten = right.clone();
    rotten[2] = Digest([0; 32]);
    for (second, whole) in [(right.clone(), true), (rotten, false), (Vec::new(), false)] {
        let mut stage = Stage::new();
        let place = |offset| Place { file: 0, offset };
        stage.found = vec![
            Claim { place: place(0), leaves: right.clone() },
            Claim { place: place(PIECE.into()), leaves: second },
        ];
        let info_hash = metainfo.info_hash();
        let (order, target) = (Order::Sequential, Some(metainfo.clone()));
        stage.tell(PeerInput::Command(Command::Download { info_hash, metainfo: target, order }));
        let from_disk = stage.peer.progress(info_hash).unwrap().totals.from_disk;
        assert_eq!(from_disk == metainfo.total_length(), whole, "{from_disk}");
    }
}

#[test]
fn a_source_that_never_sends_the_ko_loses_its_turn() {
    let mut stage = Stage::new();
    stage.meet(PeerId(Digest([8; 32])));
    let info_hash = metainfo().info_hash();
    stage.tell(PeerInput::Command(Command::Download { info_hash, metainfo: None, order: Order::RarestFirst }));
    let asked =
        |stage: &Stage| stage.sent.iter().filter(|frame| matches!(frame, Frame::MetainfoRequest { .. })).count();
    assert_eq!(asked(&stage), 1, "one at a time");
    while asked(&stage) == 1 {
        stage.now = stage.peer.next_wake().expect("it watches the one it asked");
        assert!(stage.now < Instant::ZERO + Duration::from_secs(4), "it waits for ever");
        stage.tell(PeerInput::Wake);
    }
}

#[test]
fn a_chunk_that_two_shares_have_is_served_until_both_are_stopped() {
    let (one, mut stage) = (metainfo(), Stage::new());
    let content = content();
    let length = content.len() as u64;
    let roots = content.chunks(PIECE as usize).map(|piece| piece_root(piece, length, PIECE)).collect();
    let mut builder = MetainfoBuilder::new("the same under another name", PIECE).unwrap();
    let builder = builder.file(&["the same under another name"], length, roots).unwrap();
    let other = Arc::new(builder.build().unwrap());
    let chunk = one.pieces()[0].chunk;
    assert_eq!(chunk, other.pieces()[0].chunk);
    for metainfo in [&one, &other] {
        stage.tell(PeerInput::Command(Command::Share { metainfo: metainfo.clone(), upload: false }));
    }
    let asked_in_vain = |stage: &mut Stage, request| {
        stage.sent.clear();
        stage.frame(&Frame::ChunkRequest { request, chunk, first: 0, count: 1 });
        stage.sent.iter().any(|frame| matches!(frame, Frame::Reject { .. }))
    };
    stage.tell(PeerInput::Command(Command::Stop { info_hash: other.info_hash() }));
    assert!(!asked_in_vain(&mut stage, 1));
    stage.tell(PeerInput::Command(Command::Stop { info_hash: one.info_hash() }));
    assert!(asked_in_vain(&mut stage, 2));
}

#[test]
fn an_offer_that_nobody_answers_is_made_again() {
    let mut stage = Stage::new();
    let (name, http) = ("worker-1".into(), "http://192.0.2.1:8081".into());
    let peer = PeerId(Digest([9; 32]));
    stage.front(&FromFront::Assign { worker: Some(WorkerInfo { name, peer, http }) });
    let metainfo = metainfo();
    stage.tell(PeerInput::Command(Command::Share { metainfo, upload: true }));
    let end = stage.now + Duration::from_secs(10);
    while stage.offers < 2 {
        stage.now = stage.peer.next_wake().expect("it waits for the answer");
        assert!(stage.now < end, "{} offers in 10 s", stage.offers);
        stage.tell(PeerInput::Wake);
    }
}

/// Whom a download asks over HTTP within so many seconds, and when first. Its only session has all of the share and
/// gives nothing.
fn asked_over_http(is_worker: bool, seconds: u64) -> Option<(Duration, String)> {
    let (metainfo, mut stage) = (metainfo(), Stage::new());
    let (name, http) = ("worker-1".into(), "http://192.0.2.1:8081".into());
    let peer = if is_worker { OTHER } else { PeerId(Digest([9; 32])) };
    stage.front(&FromFront::Assign { worker: Some(WorkerInfo { name, peer, http }) });
    let begun = stage.now;
    stage.download(&metainfo);
    while stage.web.is_empty() {
        stage.now = stage.peer.next_wake().expect("it watches its download");
        if stage.now.since(begun) > Duration::from_secs(seconds) {
            return None;
        }
        stage.tell(PeerInput::Wake);
    }
    match &stage.web[0] {
        WebCommand::Request { worker, .. } => Some((stage.now.since(begun), worker.to_string())),
        WebCommand::Cancel { .. } => panic!("nothing was requested"),
    }
}

#[test]
fn a_download_takes_to_http_where_data_channels_do_not_serve_it() {
    let (five, url) = (Duration::from_secs(5), "http://192.0.2.1:8081".to_owned());
    assert_eq!(asked_over_http(false, 8), Some((five, url.clone())), "no data channel to its worker");
    assert_eq!(asked_over_http(true, 8), Some((five, url)), "one that gives nothing");
    assert_eq!(asked_over_http(true, 4), None, "data channels come first");
}

/// A download whose user went to some places right after asking for it, and whose only source has everything.
fn downloading(stage: &mut Stage, places: &[Option<Place>]) -> Arc<Metainfo> {
    let (metainfo, order) = (metainfo(), Order::Sequential);
    let info_hash = metainfo.info_hash();
    stage.tell(PeerInput::Command(Command::Download { info_hash, metainfo: Some(Arc::clone(&metainfo)), order }));
    for place in places.iter().copied() {
        stage.tell(PeerInput::Command(Command::Seek { info_hash, place }));
    }
    let list = stage.sent.iter().find_map(|frame| match frame {
        Frame::ChunkList { request, .. } => Some(*request),
        _ => None,
    });
    let (request, bitmap) = (list.expect("the source is asked what it has"), Bytes::from_static(&[0b1110_0000]));
    stage.frame(&Frame::Have { request, info_hash, first: 0, bitmap });
    metainfo
}

/// The first blocks that a download asked for: the piece, and the block in it.
fn asked_first(stage: &Stage, metainfo: &Metainfo) -> (usize, u16) {
    let asked = stage.sent.iter().find_map(|frame| match frame {
        Frame::ChunkRequest { chunk, first, .. } => Some((*chunk, *first)),
        _ => None,
    });
    let (chunk, first) = asked.expect("something is asked for");
    (metainfo.pieces().iter().position(|piece| piece.chunk == chunk).expect("one of its pieces"), first)
}

/// Answers everything that was asked for truly, until nothing more is.
fn serve(stage: &mut Stage) {
    let answer = |frame: &Frame| {
        let data = |chunk: ChunkId| {
            let at = metainfo().pieces().iter().find(|piece| piece.chunk == chunk).expect("one of it").offset;
            content().slice(at as usize..at as usize + chunk.length() as usize)
        };
        match frame {
            Frame::HashRequest { request, chunk } => {
                vec![Frame::Hashes { request: *request, leaves: merkle::leaves(&data(*chunk)) }]
            }
            Frame::ChunkRequest { request, chunk, first, count } => (*first..*first + *count)
                .map(|block| {
                    let from = usize::from(block) * 16 * 1024;
                    let data = data(*chunk).slice(from..from + 16 * 1024);
                    Frame::ChunkResponse { request: *request, first: block, data }
                })
                .collect(),
            _ => Vec::new(),
        }
    };
    loop {
        let sent = std::mem::take(&mut stage.sent);
        let answers: Vec<Frame> = sent.iter().flat_map(answer).collect();
        if answers.is_empty() {
            break;
        }
        answers.iter().for_each(|frame| stage.frame(frame));
    }
}

#[test]
fn a_download_begins_where_its_user_is_and_tells_what_it_gains_from_whom() {
    let info_hash = metainfo().info_hash();
    let place = |file, offset| Some(Place { file, offset });
    let mut stage = Stage::new();
    // Of what nobody asked for, nobody can be anywhere.
    stage.tell(PeerInput::Command(Command::Seek { info_hash, place: place(0, 2 * u64::from(PIECE)) }));
    let metainfo = downloading(&mut stage, &[]);
    assert_eq!(asked_first(&stage, &metainfo), (0, 0), "from the beginning, where nobody said otherwise");
    let there = place(0, u64::from(2 * PIECE) + 40_000);
    for nowhere in [None, place(0, u64::MAX), place(0, 3 * u64::from(PIECE)), place(7, 0)] {
        let mut stage = Stage::new();
        downloading(&mut stage, &[there, nowhere]);
        assert_eq!(asked_first(&stage, &metainfo), (0, 0), "{nowhere:?} is no place to be");
    }

    let mut stage = Stage::new();
    downloading(&mut stage, &[place(0, 5), there]);
    assert_eq!(asked_first(&stage, &metainfo), (2, 2), "the block that the place is in");
    serve(&mut stage);
    let mut gained = 0;
    for event in &stage.events {
        if let PeerEvent::Gained { info_hash: name, places, length, from } = event {
            assert_eq!((name, places.len()), (&info_hash, 1));
            assert_eq!(from, &Some((SourceName::Node(OTHER), SourceKind::Peer)));
            gained += length;
        }
    }
    assert_eq!(gained, 3 * PIECE);
}

#[test]
fn a_limit_on_downloads_paces_what_is_asked_for_and_tells_how_sources_stand() {
    const LIMIT: u64 = 20_000;
    let mut stage = Stage::new();
    stage.tell(PeerInput::Command(Command::SetLimits { upload: 0, download: LIMIT }));
    let info_hash = downloading(&mut stage, &[]).info_hash();
    let mut seconds = 0;
    while stage.peer.progress(info_hash).is_some_and(|progress| progress.bytes_done < u64::from(3 * PIECE)) {
        serve(&mut stage);
        if let [source] = &stage.peer.sources(info_hash)[..] {
            assert_eq!((&source.source, source.kind), (&SourceName::Node(OTHER), SourceKind::Peer));
            assert_eq!(source.stats.bytes, stage.peer.progress(info_hash).unwrap().bytes_done);
        }
        for _ in 0..10 {
            stage.now = stage.now + Duration::from_millis(100);
            stage.tell(PeerInput::Wake);
            serve(&mut stage);
            if let Some(conn) = stage.conn {
                let health = Frame::HealthCheck { nonce: 1 };
                stage.tell(PeerInput::Rtc(RtcEvent::Message { conn, data: health.encode().freeze() }));
            }
        }
        seconds += 1;
        let done = stage.peer.progress(info_hash).unwrap().bytes_done;
        assert!(done <= seconds * LIMIT + 80_000, "{done} bytes after {seconds} seconds");
        assert!(seconds < 12, "{done} bytes after {seconds} seconds");
    }
    assert!(seconds >= 5);
}
