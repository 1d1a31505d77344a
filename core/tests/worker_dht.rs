//! A worker on a DHT that fails, dawdles and talks nonsense: what is stored is announced, every request of a session has
//! its answer, little is open at once, and draining ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use bytes::Bytes;
use kollator_core::auth::SharedKey;
use kollator_core::dht::{DhtName, Item};
use kollator_core::id::{ChunkId, Digest, InfoHash, PeerId};
use kollator_core::machine::{Instant, Machine, Rng};
use kollator_core::merkle::{HashedBlocks, VerifiedChunk, sha256};
use kollator_core::metainfo::{Metainfo, MetainfoBuilder, piece_root};
use kollator_core::node::io::{DiskError, LinkCommand, LinkEvent};
use kollator_core::node::worker::{
    Announcement, Ask, AskError, AskId, DhtCommand, DhtConfig, DhtEvent, Told, Worker, WorkerConfig, WorkerInput,
    WorkerOutput,
};
use kollator_core::rtc::{ConnId, RtcCommand, RtcEvent};
use kollator_core::store::{Effect, EffectDone, Outcome};
use kollator_core::wire::frame::{Frame, Hello, MAX_DHT_PEERS, Reason};
use kollator_core::wire::signal::{Bootstrap, FromFront, Signal};
use proptest::collection::vec;
use proptest::prelude::*;

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn share(n: u8) -> InfoHash {
    InfoHash(sha256(&[n]))
}

fn chunk(n: u8) -> ChunkId {
    ChunkId::new(sha256(&[n, n]), 100, 0).expect("100 bytes under one leaf")
}

const fn peer(n: u8) -> PeerId {
    PeerId(Digest([n; 32]))
}

/// A front says something.
fn said(message: &FromFront) -> WorkerInput {
    WorkerInput::Link(LinkEvent::Message { text: message.to_text().into() })
}

fn welcome() -> WorkerInput {
    let (ice_servers, fronts) = (Vec::new(), Vec::new());
    said(&FromFront::Welcome(Bootstrap { worker: None, ice_servers, fronts, heartbeat_seconds: 30 }))
}

/// How a DHT behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Works,
    Fails,
    /// Finds far too many, most of whom nobody could dial.
    Raves,
    /// Says nothing until it has another mood.
    Sleeps,
}

/// A worker, its store, and a DHT whose every answer it bears.
struct Stage {
    now: Instant,
    worker: Worker,
    config: DhtConfig,
    rng: Rng,
    mood: Mood,
    stored: BTreeMap<InfoHash, Bytes>,
    /// The backing store answers.
    storage: bool,
    open: Vec<(Instant, DhtCommand)>,
    heard: BTreeMap<DhtName, Instant>,
    conns: BTreeMap<u8, ConnId>,
    offering: u8,
    /// Requests without an answer.
    asked: BTreeMap<(ConnId, u32), DhtName>,
    next_request: u32,
    answers: Vec<Frame>,
    /// Whatever else sessions were sent.
    frames: Vec<(ConnId, Frame)>,
    told: BTreeMap<u64, Result<Told, AskError>>,
    drained: bool,
}

impl Stage {
    fn new(cached: &[ChunkId], stored: &[InfoHash]) -> Self {
        let key = SharedKey::new(b"a key for testing").expect("long enough");
        let mut config = WorkerConfig::new(peer(255), "w1".into(), "http://w1:8081".into(), key, 0, 5);
        // Reads that nobody asked for are not what is tested here.
        config.store.scrub_rate = 0;
        config.store.max_age = seconds(1_000_000);
        let dht = DhtConfig { max_look_ups: 3, max_queued: 4, max_of_session: 4, ..DhtConfig::new(7) };
        config.dht = Some(dht.clone());
        let mut worker = Worker::new(config);
        worker.recovered(cached.iter().map(|chunk| (*chunk, Duration::ZERO)));
        let mut stage = Self {
            now: Instant::ZERO,
            worker,
            config: dht,
            rng: Rng::new(3),
            mood: Mood::Works,
            stored: stored.iter().map(|share| (*share, Bytes::from_static(b"ko"))).collect(),
            storage: true,
            open: Vec::new(),
            heard: BTreeMap::new(),
            conns: BTreeMap::new(),
            offering: 0,
            asked: BTreeMap::new(),
            next_request: 0,
            answers: Vec::new(),
            frames: Vec::new(),
            told: BTreeMap::new(),
            drained: false,
        };
        stage.tell(WorkerInput::Wake);
        stage
    }

    /// The session of `n`, begun if there is none.
    fn session(&mut self, n: u8) -> ConnId {
        if let Some(conn) = self.conns.get(&n) {
            return *conn;
        }
        // A front that says nothing for long is left for a while.
        while !self.worker.is_online() {
            self.pass(Duration::from_millis(100));
        }
        self.offering = n;
        let body = Signal::Offer { sdp: "theirs".into() };
        self.tell(said(&FromFront::Signal { from: peer(n), session: 1, body }));
        let conn = self.conns[&n];
        self.tell(WorkerInput::Rtc(RtcEvent::Described { conn, sdp: "ours".into() }));
        self.tell(WorkerInput::Rtc(RtcEvent::Open { conn }));
        self.say(conn, &Frame::Hello(Hello { version: 1, frame_blocks: 4 }));
        conn
    }

    fn leave(&mut self, n: u8) {
        if let Some(conn) = self.conns.remove(&n) {
            self.asked.retain(|(of, _), _| *of != conn);
            self.tell(WorkerInput::Rtc(RtcEvent::Closed { conn, reason: "gone".into() }));
        }
    }

    fn say(&mut self, conn: ConnId, frame: &Frame) {
        self.tell(WorkerInput::Rtc(RtcEvent::Message { conn, data: frame.encode().freeze() }));
    }

    /// A session asks for something of the DHT.
    fn request(&mut self, n: u8, name: DhtName, frame: impl FnOnce(u32) -> Frame) {
        let conn = self.session(n);
        self.next_request += 1;
        self.asked.insert((conn, self.next_request), name);
        self.say(conn, &frame(self.next_request));
        let open = self.asked.keys().filter(|(of, _)| *of == conn).count();
        assert!(open <= self.config.max_of_session, "{open} requests of one session are open");
    }

    fn announce(&mut self, n: u8, share: InfoHash) {
        self.request(n, share.into(), |request| Frame::DhtAnnounce { request, info_hash: share });
    }

    fn look_up(&mut self, n: u8, name: DhtName) {
        self.request(n, name, |request| Frame::DhtLookUp { request, name });
    }

    fn ask(&mut self, id: u64, item: Item) {
        self.tell(WorkerInput::Ask { id: AskId(id), ask: Ask::Announce(item) });
    }

    fn tell(&mut self, input: WorkerInput) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.worker.handle(self.now, input);
            while let Some(output) = self.worker.poll() {
                match output {
                    WorkerOutput::Dht(command) => self.begin(command),
                    WorkerOutput::Link(LinkCommand::Connect { .. }) => {
                        inputs.push_back(WorkerInput::Link(LinkEvent::Up));
                        inputs.push_back(welcome());
                    }
                    WorkerOutput::Store(effect) => inputs.push_back(WorkerInput::Store(self.store(effect))),
                    WorkerOutput::Hash { ticket, data } => {
                        let blocks = HashedBlocks::compute(data);
                        inputs.push_back(WorkerInput::Hashed { ticket, blocks });
                    }
                    WorkerOutput::Rtc(RtcCommand::Accept { conn, .. }) => {
                        self.conns.insert(self.offering, conn);
                    }
                    WorkerOutput::Rtc(RtcCommand::Send { conn, frame }) => {
                        let bytes = frame.encoded_len() as u32;
                        inputs.push_back(WorkerInput::Rtc(RtcEvent::Sent { conn, bytes }));
                        if let Frame::HealthCheck { nonce } = frame {
                            let data = Frame::Health { nonce }.encode().freeze();
                            inputs.push_back(WorkerInput::Rtc(RtcEvent::Message { conn, data }));
                        } else {
                            self.hear(conn, frame);
                        }
                    }
                    WorkerOutput::Told { id, result } => {
                        assert!(self.told.insert(id.0, result).is_none(), "told twice");
                    }
                    WorkerOutput::Drained => self.drained = true,
                    _ => {}
                }
            }
        }
    }

    /// A session hears something: an answer, once for each request and true, or something else.
    fn hear(&mut self, conn: ConnId, frame: Frame) {
        let request = match &frame {
            Frame::DhtAnnounced { request } | Frame::DhtPeers { request, .. } | Frame::Reject { request, .. } => {
                *request
            }
            _ => return self.frames.push((conn, frame)),
        };
        let name = self.asked.remove(&(conn, request)).expect("an answer to an open request");
        match &frame {
            Frame::DhtAnnounced { .. } => assert!(self.heard.contains_key(&name), "nobody heard of {name}"),
            Frame::DhtPeers { peers, .. } => {
                let set: BTreeSet<_> = peers.iter().collect();
                assert!(peers.len() <= MAX_DHT_PEERS && set.len() == peers.len(), "{peers:?}");
                let is_real = |peer: &SocketAddrV4| peer.port() != 0 && !peer.ip().is_unspecified();
                assert!(peers.iter().all(is_real), "{peers:?}");
            }
            _ => {}
        }
        self.answers.push(frame);
    }

    fn store(&mut self, effect: Effect) -> EffectDone {
        let (ticket, outcome) = match effect {
            Effect::FetchTorrent { ticket, info_hash } => {
                (ticket, Outcome::Torrent(self.stored.get(&info_hash).cloned()))
            }
            Effect::PutTorrent { ticket, info_hash, ko } => {
                if self.storage {
                    self.stored.insert(info_hash, ko);
                }
                (ticket, Outcome::Done)
            }
            Effect::FetchChunk { ticket, .. } => (ticket, Outcome::Chunk(None)),
            Effect::Exists { ticket, .. } => (ticket, Outcome::Exists(false)),
            Effect::CacheWrite { ticket, .. }
            | Effect::CacheRemove { ticket, .. }
            | Effect::CacheVerify { ticket, .. }
            | Effect::PutChunk { ticket, .. } => (ticket, Outcome::Done),
            Effect::CacheRead { ticket, .. } => (ticket, Outcome::Failed(DiskError("gone".into()))),
        };
        let failed = || Outcome::Failed(DiskError("503 slow down".into()));
        EffectDone { ticket, outcome: if self.storage { outcome } else { failed() } }
    }

    /// The worker asks the DHT for something, which takes a while.
    fn begin(&mut self, command: DhtCommand) {
        assert!(!self.open.iter().any(|(_, open)| same(open, &command)), "{command:?} twice at once");
        let takes = Duration::from_millis(1 + self.rng.below(3_000));
        self.open.push((self.now + takes, command));
        let open = |is: fn(&DhtCommand) -> bool| self.open.iter().filter(|(_, command)| is(command)).count();
        let look_ups = open(|command| matches!(command, DhtCommand::LookUp(_)));
        assert!(look_ups <= self.config.max_look_ups, "{look_ups} look-ups at once");
        let announcements = open(|command| matches!(command, DhtCommand::Announce(_)));
        assert!(announcements <= self.config.announcing.most_open, "{announcements} announcements at once");
    }

    /// What the DHT, or whoever lists shares, says.
    fn event(&mut self, command: DhtCommand) -> DhtEvent {
        match command {
            DhtCommand::List { after, most } => {
                let shares = self.stored.keys().filter(|share| Some(**share) > after);
                DhtEvent::Listed(self.storage.then(|| shares.take(most).copied().collect()))
            }
            DhtCommand::Announce(name) => {
                let heard = self.mood != Mood::Fails;
                if heard {
                    self.heard.insert(name, self.now);
                }
                DhtEvent::Announced { name, heard }
            }
            DhtCommand::LookUp(name) => {
                let count = match self.mood {
                    Mood::Raves => 1_000,
                    _ => self.rng.below(4),
                };
                let mut one = || {
                    let bits = self.rng.next_u64();
                    let ip =
                        if bits.is_multiple_of(3) { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::from(bits as u32) };
                    SocketAddrV4::new(ip, (bits >> 40) as u16 % 300)
                };
                let peers = (0..count).map(|_| one()).collect();
                DhtEvent::Found { name, peers: (self.mood != Mood::Fails).then_some(peers) }
            }
        }
    }

    /// Lets everything happen that happens by itself in so much time.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let done = self.open.iter().map(|(at, _)| *at).min().filter(|_| self.mood != Mood::Sleeps);
            let next = [done, self.worker.next_wake()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next.max(self.now);
            if done.is_some_and(|at| at <= self.now) {
                let first = self.open.iter().position(|(at, _)| *at <= self.now).expect("one is done");
                let (_, command) = self.open.swap_remove(first);
                let event = self.event(command);
                self.tell(WorkerInput::Dht(event));
            } else {
                self.tell(WorkerInput::Wake);
            }
        }
        self.now = end;
    }
}

/// Whether two commands may not be open at once.
fn same(one: &DhtCommand, other: &DhtCommand) -> bool {
    matches!((one, other), (DhtCommand::List { .. }, DhtCommand::List { .. })) || one == other
}

#[derive(Clone, Debug)]
enum Step {
    Mood(Mood),
    Storage(bool),
    Stored(u8),
    Announce(u8, u8),
    LookUp(u8, u8),
    Leave(u8),
    Ask(u8, bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let mood = prop_oneof![Just(Mood::Works), Just(Mood::Fails), Just(Mood::Raves), Just(Mood::Sleeps)];
    prop_oneof![
        2 => mood.prop_map(Step::Mood),
        1 => any::<bool>().prop_map(Step::Storage),
        1 => (0..8u8).prop_map(Step::Stored),
        4 => (0..4u8, 0..10u8).prop_map(|(session, n)| Step::Announce(session, n)),
        6 => (0..4u8, 0..12u8).prop_map(|(session, n)| Step::LookUp(session, n)),
        1 => (0..4u8).prop_map(Step::Leave),
        2 => (0..10u8, any::<bool>()).prop_map(|(n, is_share)| Step::Ask(n, is_share)),
        4 => prop_oneof![0..500u64, 0..60_000u64].prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the DHT does, every request has one answer and little is open; once it works, everything is announced
    /// and answered; and draining waits for nothing.
    #[test]
    fn a_dht_may_do_what_it_likes(steps in vec(step(), 0..80)) {
        let chunks = [1, 2, 3].map(chunk);
        let mut stage = Stage::new(&chunks, &[share(1), share(2)]);
        let mut asks = 0;
        for step in steps {
            match step {
                Step::Mood(mood) => stage.mood = mood,
                Step::Storage(works) => stage.storage = works,
                Step::Stored(n) => drop(stage.stored.insert(share(n), Bytes::from_static(b"ko"))),
                Step::Announce(session, n) => stage.announce(session, share(n)),
                Step::LookUp(session, n) => stage.look_up(session, share(n).into()),
                Step::Leave(session) => stage.leave(session),
                Step::Ask(n, is_share) => {
                    stage.ask(asks, if is_share { Item::Share(share(n)) } else { Item::Chunk(chunk(n)) });
                    asks += 1;
                }
                Step::Wait(ms) => stage.pass(Duration::from_millis(ms)),
            }
        }
        prop_assert_eq!(stage.told.len() as u64, asks, "each ask is answered at once");
        (stage.mood, stage.storage) = (Mood::Works, true);
        // A failed announcement is tried again within an interval.
        let patience = stage.config.announcing.interval + stage.config.announcing.jitter + seconds(60);
        stage.pass(patience);
        prop_assert_eq!(&stage.asked, &BTreeMap::new(), "all are answered");
        let since = stage.now;
        (0..4).for_each(|session| stage.leave(session));
        stage.pass(patience * 2);
        let shares = stage.stored.keys().map(|share| DhtName::from(*share));
        for name in shares.chain(chunks.map(DhtName::from)) {
            prop_assert!(stage.heard.get(&name).is_some_and(|heard| *heard > since), "{} was not announced", name);
        }

        stage.mood = Mood::Sleeps;
        for n in 0..3 {
            stage.look_up(1, share(100 + n).into());
        }
        stage.tell(WorkerInput::Drain);
        prop_assert!(stage.drained, "it waits for a DHT that sleeps");
        prop_assert_eq!(&stage.asked, &BTreeMap::new(), "all are told that it leaves");
        stage.mood = Mood::Works;
        stage.pass(patience);
        prop_assert_eq!(&stage.open, &Vec::new(), "something was begun by a worker that leaves");
    }
}

/// Keeps a share with a worker as a sharer does, and has it all stored.
fn keep(stage: &mut Stage, share: &Metainfo, chunks: &[VerifiedChunk]) {
    let conn = stage.session(1);
    let ids = chunks.iter().map(VerifiedChunk::id).collect();
    stage.say(conn, &Frame::ChunkStore { request: 1_000_001, chunks: ids });
    let mut stored = 0;
    while let Some((_, frame)) = (!stage.frames.is_empty()).then(|| stage.frames.remove(0)) {
        let of = |id: ChunkId| chunks.iter().find(|chunk| chunk.id() == id).expect("one that was offered");
        let answer = match frame {
            Frame::HashRequest { request, chunk } => {
                Frame::Hashes { request, leaves: of(chunk).leaves().hashes().to_vec() }
            }
            Frame::ChunkRequest { request, chunk, first, count } => {
                assert_eq!((first, count), (0, chunk.blocks()));
                Frame::ChunkResponse { request, first, data: of(chunk).data().clone() }
            }
            Frame::MetainfoRequest { request, offset, .. } => {
                let total = share.raw().len() as u32;
                Frame::Metainfo { request, total, offset, data: share.raw().slice(offset as usize..) }
            }
            Frame::ChunkStored { .. } => {
                stored += 1;
                if stored < chunks.len() {
                    continue;
                }
                Frame::MetainfoStore { request: 1_000_002, info_hash: share.info_hash() }
            }
            Frame::MetainfoStored { .. } => return,
            _ => continue,
        };
        stage.say(conn, &answer);
    }
    panic!("it was not kept");
}

#[test]
fn what_is_stored_is_announced_at_once() {
    let data: Bytes = (0..20_000u32).map(|i| (i % 251) as u8).collect();
    let mut builder = MetainfoBuilder::new("data", 16_384).expect("a name");
    let roots = data.chunks(16_384).map(|piece| piece_root(piece, 20_000, 16_384));
    builder.file(&["data"], 20_000, roots.collect()).expect("legal");
    let share = builder.build().expect("a share");
    let pieces = share.pieces().iter().zip([data.slice(..16_384), data.slice(16_384..)]);
    let chunks: Vec<_> =
        pieces.map(|(piece, data)| VerifiedChunk::verify(piece.chunk, data).expect("its bytes")).collect();
    let of_file = share.share_of_file(0).expect("it has two pieces").info_hash();

    let mut stage = Stage::new(&[], &[]);
    stage.pass(seconds(60));
    assert_eq!(stage.heard, BTreeMap::new(), "there is nothing");
    keep(&mut stage, &share, &chunks);
    stage.pass(seconds(5));
    let names: BTreeSet<DhtName> = stage.heard.keys().copied().collect();
    let mut expected = BTreeSet::from([share.info_hash().into(), of_file.into()]);
    expected.extend(chunks.iter().map(|chunk| DhtName::from(chunk.id())));
    assert_eq!(names, expected);
    let stats = stage.worker.dht_stats();
    assert_eq!((stats.announcements, stats.announcements_failed, stats.items), (4, 0, 4));

    // Whoever asks hears that it is so.
    stage.announce(2, share.info_hash());
    assert!(matches!(stage.answers[..], [Frame::DhtAnnounced { .. }]), "{:?}", stage.answers);
    stage.ask(1, Item::Chunk(chunks[0].id()));
    assert_eq!(stage.told[&1], Ok(Told::Announcement(Announcement::Announced)));
}

#[test]
fn a_session_hears_once_the_dht_has_heard() {
    let mut stage = Stage::new(&[], &[share(1)]);
    stage.mood = Mood::Sleeps;
    stage.pass(seconds(60));
    stage.announce(1, share(1));
    stage.announce(2, share(1));
    assert_eq!(stage.answers, []);
    stage.mood = Mood::Works;
    stage.pass(seconds(60));
    assert!(matches!(stage.answers[..], [Frame::DhtAnnounced { .. }, Frame::DhtAnnounced { .. }]));

    stage.answers.clear();
    stage.announce(1, share(2));
    let refused =
        |reason| move |frame: &Frame| matches!(frame, Frame::Reject { reason: said, .. } if *said == reason);
    assert!(stage.answers.iter().all(refused(Reason::NotFound)), "{:?}", stage.answers);
    stage.mood = Mood::Fails;
    stage.stored.insert(share(3), Bytes::from_static(b"ko"));
    stage.announce(1, share(3));
    stage.pass(seconds(10));
    // Nobody is left to wait for the next try, half an hour from now.
    stage.announce(1, share(3));
    assert_eq!(stage.answers.len(), 3);
    assert!(stage.answers[1..].iter().all(refused(Reason::Busy)), "{:?}", stage.answers);
    stage.storage = false;
    stage.announce(1, share(4));
    assert!(refused(Reason::StorageFailed)(&stage.answers[3]), "{:?}", stage.answers);
}

#[test]
fn look_ups_of_one_name_are_one_and_others_wait_or_are_refused() {
    let mut stage = Stage::new(&[], &[]);
    stage.mood = Mood::Sleeps;
    for session in 1..=4 {
        stage.look_up(session, share(0).into());
    }
    let open = |stage: &Stage| {
        let is_look_up = |(_, command): &&(Instant, DhtCommand)| matches!(command, DhtCommand::LookUp(_));
        stage.open.iter().filter(is_look_up).count()
    };
    assert_eq!(open(&stage), 1);
    for n in 1..=6 {
        stage.look_up(n % 4 + 1, share(n).into());
    }
    assert_eq!((open(&stage), stage.answers.len()), (3, 0));
    // Three are open and four wait: the eighth name is one too many.
    stage.look_up(5, share(7).into());
    assert_eq!(stage.answers.len(), 1);
    stage.look_up(5, share(3).into());
    assert_eq!(stage.answers.len(), 1, "for that one somebody waits already");
    // Who has gone makes room; what is open is looked up to its end.
    (1..=4).for_each(|session| stage.leave(session));
    for n in [0, 20, 21] {
        stage.look_up(6, share(n).into());
    }
    assert_eq!((open(&stage), stage.answers.len()), (3, 1));
    stage.mood = Mood::Raves;
    stage.pass(seconds(60));
    let peers = stage.answers[1..].iter().map(|answer| match answer {
        Frame::DhtPeers { peers, .. } => peers.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(peers.collect::<Vec<_>>(), [MAX_DHT_PEERS; 4]);
    let stats = stage.worker.dht_stats();
    // Those of 1 and 2 were open when nobody waited any more.
    assert_eq!((stats.queries, stats.queries_failed, stats.peers), (6, 0, 600));

    stage.mood = Mood::Fails;
    stage.look_up(6, share(0).into());
    stage.pass(seconds(60));
    assert!(matches!(stage.answers.last(), Some(Frame::Reject { reason: Reason::Busy, .. })));
    assert_eq!(stage.worker.dht_stats().queries_failed, 1);
}

#[test]
fn only_what_is_held_is_announced_for_an_operator() {
    let mut stage = Stage::new(&[chunk(1)], &[share(1)]);
    for (id, item) in [Item::Share(share(1)), Item::Share(share(2)), Item::Chunk(chunk(1)), Item::Chunk(chunk(2))]
        .into_iter()
        .enumerate()
    {
        stage.ask(id as u64, item);
    }
    let told: Vec<_> = stage.told.values().cloned().collect();
    let (queued, not_held) = (Announcement::Queued, Announcement::NotHeld);
    assert_eq!(told, [queued, not_held, queued, not_held].map(|outcome| Ok(Told::Announcement(outcome))));
    stage.tell(WorkerInput::Drain);
    stage.ask(9, Item::Share(share(1)));
    assert_eq!(stage.told[&9], Err(AskError::Leaving));
}

#[test]
fn a_worker_without_a_dht_says_so() {
    let key = SharedKey::new(b"a key for testing").expect("long enough");
    let config = WorkerConfig::new(peer(255), "w1".into(), "http://w1:8081".into(), key, 0, 5);
    let mut worker = Worker::new(config);
    worker.handle(Instant::ZERO, WorkerInput::Wake);
    worker.handle(Instant::ZERO, WorkerInput::Ask { id: AskId(1), ask: Ask::Announce(Item::Share(share(1))) });
    let told = std::iter::from_fn(|| worker.poll()).find_map(|output| match output {
        WorkerOutput::Told { result, .. } => Some(result),
        _ => None,
    });
    assert_eq!(told, Some(Err(AskError::NoDht)));
    assert!(!worker.has_dht());
}
