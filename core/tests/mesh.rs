//! Peers among themselves, in simulated time: whom the user names is met, whoever the front names; what each was given is
//! accounted for; and the front is asked for more peers as often as is wanted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kollator_core::id::{Digest, InfoHash, PeerId};
use kollator_core::machine::{Instant, Machine};
use kollator_core::merkle::{self, HashedBlocks};
use kollator_core::metainfo::{Metainfo, MetainfoBuilder, piece_root};
use kollator_core::node::io::{DiskCommand, DiskEvent, LinkCommand, LinkEvent};
use kollator_core::node::peer::{Command, Order, Peer, PeerConfig, PeerEvent, PeerInput, PeerOutput};
use kollator_core::rtc::{ConnId, RtcCommand, RtcEvent};
use kollator_core::wire::frame::Frame;
use kollator_core::wire::signal::{Bootstrap, FromFront, Signal, ToFront};
use proptest::prelude::*;

const PIECE: u32 = 64 * 1024;

fn content(pieces: u32) -> Bytes {
    (0..pieces * PIECE - 5).map(|i| (i / 7 % 251) as u8 ^ (i / PIECE) as u8).collect()
}

fn share(pieces: u32) -> Arc<Metainfo> {
    let content = content(pieces);
    let length = content.len() as u64;
    let roots = content.chunks(PIECE as usize).map(|piece| piece_root(piece, length, PIECE)).collect();
    let mut builder = MetainfoBuilder::new("share", PIECE).unwrap();
    Arc::new(builder.file(&["share"], length, roots).unwrap().build().unwrap())
}

fn id(number: usize) -> PeerId {
    PeerId(Digest([number as u8 + 1; 32]))
}

/// Peers with sound disks that all have one content, a front that names whom it is told to name, and connections over
/// which everything comes at once.
struct Hall {
    now: Instant,
    peers: Vec<Peer>,
    /// Those that cannot be reached through the front.
    hidden: BTreeSet<usize>,
    /// Whom the front names to whoever announces a share.
    named: Vec<PeerId>,
    content: Bytes,
    to_do: VecDeque<(usize, PeerInput)>,
    /// The two ends of each connection.
    pairs: BTreeMap<(usize, ConnId), (usize, ConnId)>,
    events: Vec<(usize, PeerEvent)>,
    announced: Vec<(Instant, usize, InfoHash)>,
    /// Who offered a connection to whom.
    offers: Vec<(usize, PeerId)>,
    /// Bytes of blocks that left a peer over a connection.
    sent: BTreeMap<(usize, ConnId), u64>,
}

impl Hall {
    fn new(count: usize, pieces: u32, heartbeat_seconds: u32, change: impl Fn(&mut PeerConfig)) -> Self {
        let peer = |number| {
            let mut config = PeerConfig::new(id(number), number as u64, 1);
            change(&mut config);
            Peer::new(config)
        };
        let mut hall = Self {
            now: Instant::ZERO,
            peers: (0..count).map(peer).collect(),
            hidden: BTreeSet::new(),
            named: Vec::new(),
            content: content(pieces),
            to_do: VecDeque::new(),
            pairs: BTreeMap::new(),
            events: Vec::new(),
            announced: Vec::new(),
            offers: Vec::new(),
            sent: BTreeMap::new(),
        };
        for peer in 0..count {
            hall.tell(peer, PeerInput::Wake);
            hall.tell(peer, PeerInput::Link(LinkEvent::Up));
            let (ice_servers, fronts) = (Vec::new(), Vec::new());
            let bootstrap = Bootstrap { worker: None, ice_servers, fronts, heartbeat_seconds };
            hall.front_says(peer, &FromFront::Welcome(bootstrap));
            hall.run();
        }
        hall
    }

    fn command(&mut self, peer: usize, command: Command) {
        self.tell(peer, PeerInput::Command(command));
        self.run();
    }

    fn seed(&mut self, peer: usize, metainfo: &Arc<Metainfo>) {
        self.command(peer, Command::Share { metainfo: metainfo.clone(), upload: false });
    }

    fn download(&mut self, peer: usize, metainfo: &Arc<Metainfo>) {
        let (info_hash, order) = (metainfo.info_hash(), Order::RarestFirst);
        self.command(peer, Command::Download { info_hash, metainfo: None, order });
    }

    /// The same with the `.ko` at hand.
    fn download_known(&mut self, peer: usize, metainfo: &Arc<Metainfo>) {
        let (info_hash, order) = (metainfo.info_hash(), Order::RarestFirst);
        self.command(peer, Command::Download { info_hash, metainfo: Some(metainfo.clone()), order });
    }

    /// The peer is to meet another; what it says to that.
    fn meet(&mut self, peer: usize, info_hash: InfoHash, other: PeerId) -> Vec<Result<(), String>> {
        self.events.clear();
        self.command(peer, Command::Meet { info_hash, peer: other });
        self.met(peer, other)
    }

    /// What a peer said of one that it was to meet.
    fn met(&self, peer: usize, other: PeerId) -> Vec<Result<(), String>> {
        let of = |(who, event): &(usize, PeerEvent)| match event {
            PeerEvent::Met { peer: met, result, .. } if (*who, *met) == (peer, other) => Some(result.clone()),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }

    fn has(&self, peer: usize, info_hash: InfoHash) -> bool {
        self.peers[peer]
            .progress(info_hash)
            .is_some_and(|progress| progress.bytes_done == self.content.len() as u64)
    }

    fn tell(&mut self, peer: usize, input: PeerInput) {
        self.to_do.push_back((peer, input));
    }

    fn front_says(&mut self, peer: usize, message: &FromFront) {
        self.tell(peer, PeerInput::Link(LinkEvent::Message { text: message.to_text().into() }));
    }

    fn run(&mut self) {
        while let Some((peer, input)) = self.to_do.pop_front() {
            self.peers[peer].handle(self.now, input);
            while let Some(output) = self.peers[peer].poll() {
                self.obey(peer, output);
            }
        }
    }

    /// Time passes.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = (0..self.peers.len()).filter_map(|peer| Some((self.peers[peer].next_wake()?, peer))).min();
            let Some((at, peer)) = next.filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            self.tell(peer, PeerInput::Wake);
            self.run();
        }
        self.now = end;
    }

    /// The connections of a peer break.
    fn cut(&mut self, peer: usize) {
        let ends: Vec<_> = self.pairs.keys().copied().filter(|(of, _)| *of == peer).collect();
        for end in ends {
            for (peer, conn) in self.pairs.remove(&end).into_iter().chain([end]) {
                self.pairs.remove(&(peer, conn));
                self.tell(peer, PeerInput::Rtc(RtcEvent::Closed { conn, reason: "cut".into() }));
            }
        }
        self.run();
    }

    fn obey(&mut self, peer: usize, output: PeerOutput) {
        match output {
            PeerOutput::Link(LinkCommand::Connect { .. }) => {}
            PeerOutput::Link(LinkCommand::Send { text }) => {
                self.front_hears(peer, ToFront::parse(text.as_bytes()).expect("a peer keeps the protocol"));
            }
            PeerOutput::Rtc(command) => self.rtc(peer, command),
            PeerOutput::Disk(command) => self.disk(peer, command),
            PeerOutput::Web(command) => panic!("no worker is known that {command:?} could be for"),
            PeerOutput::Event(event) => self.events.push((peer, event)),
        }
    }

    fn front_hears(&mut self, from: usize, message: ToFront) {
        match message {
            ToFront::Ping {} => self.front_says(from, &FromFront::Pong {}),
            ToFront::Announce { info_hash, .. } => {
                self.announced.push((self.now, from, info_hash));
                let peers = self.named.clone();
                self.front_says(from, &FromFront::Peers { info_hash, peers });
            }
            ToFront::Signal { to, session, body } => {
                if matches!(body, Signal::Offer { .. }) {
                    self.offers.push((from, to));
                }
                let there = (0..self.peers.len()).find(|peer| id(*peer) == to && !self.hidden.contains(peer));
                match there {
                    Some(peer) => self.front_says(peer, &FromFront::Signal { from: id(from), session, body }),
                    None => {
                        let body = Signal::Unreachable {};
                        self.front_says(from, &FromFront::Signal { from: to, session, body });
                    }
                }
            }
            _ => {}
        }
    }

    fn rtc(&mut self, peer: usize, command: RtcCommand) {
        match command {
            // A description says whose it is.
            RtcCommand::Offer { conn } => {
                let sdp = format!("{peer} {}", conn.0);
                self.tell(peer, PeerInput::Rtc(RtcEvent::Described { conn, sdp }));
            }
            RtcCommand::Accept { conn, sdp } => {
                let (other, theirs) = sdp.split_once(' ').expect("ours");
                let other = (other.parse().expect("a peer"), ConnId(theirs.parse().expect("a connection")));
                self.pairs.insert((peer, conn), other);
                self.pairs.insert(other, (peer, conn));
                self.tell(peer, PeerInput::Rtc(RtcEvent::Described { conn, sdp: "answer".into() }));
            }
            RtcCommand::SetAnswer { conn, .. } => {
                for (peer, conn) in [(peer, conn), self.pairs[&(peer, conn)]] {
                    self.tell(peer, PeerInput::Rtc(RtcEvent::Open { conn }));
                }
            }
            RtcCommand::Send { conn, frame } => {
                let bytes = frame.encoded_len() as u32;
                if let Frame::ChunkResponse { data, .. } = &frame {
                    *self.sent.entry((peer, conn)).or_default() += data.len() as u64;
                }
                if let Some((other, theirs)) = self.pairs.get(&(peer, conn)).copied() {
                    let data = frame.encode().freeze();
                    self.tell(other, PeerInput::Rtc(RtcEvent::Message { conn: theirs, data }));
                }
                self.tell(peer, PeerInput::Rtc(RtcEvent::Sent { conn, bytes }));
            }
            RtcCommand::Close { conn, .. } => {
                if let Some((other, theirs)) = self.pairs.remove(&(peer, conn)) {
                    self.pairs.remove(&(other, theirs));
                    let reason = "closed".into();
                    self.tell(other, PeerInput::Rtc(RtcEvent::Closed { conn: theirs, reason }));
                }
            }
            RtcCommand::UseIceServers { .. } | RtcCommand::AddCandidate { .. } => {}
        }
    }

    fn disk(&mut self, peer: usize, command: DiskCommand) {
        let at = |from: u64, length: u32| self.content.slice(from as usize..from as usize + length as usize);
        let event = match command {
            DiskCommand::Prepare { metainfo } => {
                DiskEvent::Prepared { info_hash: metainfo.info_hash(), found: Ok(Vec::new()) }
            }
            DiskCommand::Read { ticket, place, length, .. } => {
                DiskEvent::Read { ticket, data: Ok(at(place.offset, length)) }
            }
            DiskCommand::ReadLeaves { ticket, place, length, .. } => {
                DiskEvent::Leaves { ticket, leaves: Ok(merkle::leaves(&at(place.offset, length))) }
            }
            DiskCommand::Hash { ticket, data } => {
                DiskEvent::Hashed { ticket, blocks: HashedBlocks::compute(data) }
            }
            DiskCommand::Write { ticket, .. } => DiskEvent::Written { ticket, result: Ok(()) },
            DiskCommand::Finish { info_hash } => DiskEvent::Finished { info_hash, result: Ok(()) },
        };
        self.tell(peer, PeerInput::Disk(event));
    }

    /// What each peer says it sent is what left it over those connections that are up.
    fn check_accounts(&self) {
        for (number, peer) in self.peers.iter().enumerate() {
            for status in peer.connected() {
                let is_with = |end: &(usize, ConnId)| {
                    end.0 == number && self.pairs.get(end).is_some_and(|(other, _)| id(*other) == status.peer)
                };
                let sent = self.sent.iter().filter(|(end, _)| is_with(end)).map(|(_, bytes)| bytes).sum::<u64>();
                assert_eq!(status.bytes_sent, sent, "peer {number} to {}", status.peer);
            }
            assert_eq!(peer.connected().len(), peer.connections());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// The front names nobody: whoever is named by the user is a source or a taker, from either side.
    #[test]
    fn whom_the_user_names_is_met_and_what_each_is_given_is_counted(
        pieces in 1..12u32,
        meetings in proptest::collection::vec((0..5usize, 0..5usize), 1..12),
        cuts in proptest::collection::vec(0..5usize, 0..3),
    ) {
        let metainfo = share(pieces);
        let info_hash = metainfo.info_hash();
        let mut hall = Hall::new(5, pieces, 30, |config| config.patience = Duration::from_secs(1 << 20));
        hall.seed(0, &metainfo);
        for peer in 1..5 {
            hall.download(peer, &metainfo);
        }
        prop_assert!((1..5).all(|peer| !hall.has(peer, info_hash)), "nobody knows of anybody");
        // Who can be reached from the one that has the share, over those that met.
        let mut knows: Vec<BTreeSet<usize>> = (0..5).map(|peer| BTreeSet::from([peer])).collect();
        for (step, (one, other)) in meetings.into_iter().enumerate() {
            let met = hall.meet(one, info_hash, id(other));
            prop_assert_eq!(met.len(), 1, "it is told of once");
            prop_assert_eq!(met[0].is_ok(), one != other);
            let both: BTreeSet<usize> = &knows[one] | &knows[other];
            both.iter().for_each(|peer| knows[*peer] = both.clone());
            hall.check_accounts();
            if let Some(peer) = cuts.get(step) {
                hall.cut(*peer);
                hall.check_accounts();
            }
            // What is lost is dialled again, and who knew nothing of the share is asked again.
            hall.pass(Duration::from_secs(12));
            hall.check_accounts();
        }
        for peer in 1..5 {
            prop_assert_eq!(hall.has(peer, info_hash), knows[0].contains(&peer), "peer {}", peer);
        }
    }
}

#[test]
fn what_cannot_be_met_is_said_once_with_the_reason() {
    let metainfo = share(2);
    let info_hash = metainfo.info_hash();
    let mut hall = Hall::new(3, 2, 30, |config| config.max_sessions = 1);
    let no_share = hall.meet(0, info_hash, id(1));
    assert_eq!(no_share, [Err("there is no such share here".into())]);
    hall.download(0, &metainfo);
    assert_eq!(hall.meet(0, info_hash, id(0)), [Err("it is this peer itself".into())]);
    assert_eq!(hall.meet(0, info_hash, id(9)), [Err("the front cannot reach it".into())]);
    hall.hidden.insert(1);
    assert_eq!(hall.meet(0, info_hash, id(1)), [Err("the front cannot reach it".into())]);
    assert_eq!(hall.offers, [(0, id(9)), (0, id(1))]);
    hall.pass(Duration::from_secs(20));
    assert_eq!(hall.offers.len(), 2, "who cannot be reached is not tried again");
    hall.hidden.clear();
    assert_eq!(hall.meet(0, info_hash, id(1)), [Ok(())]);
    assert_eq!(hall.meet(0, info_hash, id(1)), [Ok(())], "it is there already");
    assert_eq!(hall.meet(0, info_hash, id(2)), [Err("there is no room for another connection".into())]);
    // It says something that is no frame.
    let conn = hall.pairs.keys().find(|(peer, _)| *peer == 0).expect("they met").1;
    hall.tell(0, PeerInput::Rtc(RtcEvent::Message { conn, data: Bytes::from_static(b"x") }));
    hall.run();
    assert_eq!(hall.meet(0, info_hash, id(1)), [Err("it lied or broke the protocol before".into())]);

    let mut alone = Hall::new(1, 2, 30, |config| config.fronts = 0);
    alone.download(0, &metainfo);
    assert_eq!(alone.meet(0, info_hash, id(1)), [Err("there is no front to reach it through".into())]);
}

#[test]
fn who_is_to_be_met_while_the_front_is_gone_is_met_later_or_not_if_the_share_is_stopped() {
    let metainfo = share(2);
    let info_hash = metainfo.info_hash();
    let mut hall = Hall::new(3, 2, 30, |_| {});
    hall.seed(1, &metainfo);
    hall.seed(2, &metainfo);
    hall.download(0, &metainfo);
    hall.tell(0, PeerInput::Link(LinkEvent::Down { reason: "gone".into() }));
    hall.run();
    assert_eq!(hall.meet(0, info_hash, id(1)), []);
    hall.pass(Duration::from_secs(1));
    hall.tell(0, PeerInput::Link(LinkEvent::Up));
    let (ice_servers, fronts) = (Vec::new(), Vec::new());
    let bootstrap = Bootstrap { worker: None, ice_servers, fronts, heartbeat_seconds: 30 };
    hall.front_says(0, &FromFront::Welcome(bootstrap));
    hall.run();
    assert_eq!(hall.met(0, id(1)), [Ok(())]);
    assert!(hall.has(0, info_hash));
    hall.tell(0, PeerInput::Link(LinkEvent::Down { reason: "gone".into() }));
    hall.run();
    assert_eq!(hall.meet(0, info_hash, id(2)), []);
    hall.command(0, Command::Stop { info_hash });
    assert_eq!(hall.met(0, id(2)), [Err("the share was stopped before".into())]);
}

#[test]
fn no_more_are_remembered_than_there_may_be_and_the_swarm_takes_no_place_from_them() {
    let metainfo = share(2);
    let info_hash = metainfo.info_hash();
    let mut hall = Hall::new(3, 2, 30, |config| config.max_swarm_dials = 1);
    hall.named = vec![id(0), id(1)];
    hall.seed(2, &metainfo);
    hall.download(0, &metainfo);
    assert_eq!((hall.peers[0].connections(), hall.has(0, info_hash)), (1, false));
    assert_eq!(hall.meet(0, info_hash, id(2)), [Ok(())]);
    assert!(hall.has(0, info_hash));

    let mut hall = Hall::new(1, 2, 30, |_| {});
    hall.download(0, &metainfo);
    hall.tell(0, PeerInput::Link(LinkEvent::Down { reason: "gone".into() }));
    hall.run();
    for other in 1..=64 {
        assert_eq!(hall.meet(0, info_hash, id(other)), []);
    }
    assert_eq!(hall.meet(0, info_hash, id(64)), []);
    assert_eq!(hall.meet(0, info_hash, id(65)), [Err("too many peers were named for this share".into())]);
}

/// How often a peer announces each second while it has a source that has nothing, and a share that is complete.
fn announcements(
    heartbeat_seconds: u32,
    change: impl Fn(&mut PeerConfig),
    command: Option<Command>,
) -> [usize; 2] {
    let (wanted, whole) = (share(3), share(2));
    let mut hall = Hall::new(2, 2, heartbeat_seconds, |config| {
        config.patience = Duration::from_secs(1 << 20);
        change(config);
    });
    hall.seed(0, &whole);
    hall.download_known(0, &wanted);
    hall.download_known(1, &wanted);
    assert_eq!(hall.meet(0, wanted.info_hash(), id(1)), [Ok(())]);
    hall.pass(Duration::from_secs(100));
    command.into_iter().for_each(|command| hall.command(0, command));
    hall.announced.clear();
    hall.pass(Duration::from_secs(600));
    [wanted, whole].map(|share| {
        let of =
            |(_, peer, info_hash): &&(Instant, usize, InfoHash)| (*peer, *info_hash) == (0, share.info_hash());
        hall.announced.iter().filter(of).count()
    })
}

#[test]
fn the_front_is_asked_for_more_peers_as_often_as_is_wanted() {
    let every = |seconds| move |config: &mut PeerConfig| config.discovery = Duration::from_secs(seconds);
    assert_eq!(announcements(3600, |_| {}, None), [20, 0], "every half a minute, if nothing else is said");
    assert_eq!(announcements(3600, every(10), None), [60, 0]);
    assert_eq!(announcements(3600, every(0), None), [600, 0], "every second at most");
    assert_eq!(announcements(30, every(100), None), [20, 20], "as often as the front wants to hear of shares");
    assert_eq!(announcements(60, every(60), None), [10, 10]);
    let sooner = Command::SetDiscovery { interval: Duration::from_secs(6) };
    assert_eq!(announcements(3600, |_| {}, Some(sooner)), [100, 0]);
}

#[test]
fn one_who_has_no_source_asks_for_others_more_often() {
    for begin in [Hall::download, Hall::download_known] {
        let mut hall = Hall::new(1, 2, 3600, |config| config.patience = Duration::from_secs(1 << 20));
        begin(&mut hall, 0, &share(2));
        hall.announced.clear();
        hall.pass(Duration::from_secs(60));
        assert_eq!(hall.announced.len(), 12);
    }
}
