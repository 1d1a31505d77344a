//! A peer that knows no front and asks workers over HTTP, told what happens one input at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kollator_core::id::{Digest, InfoHash, PeerId};
use kollator_core::machine::{Instant, Machine};
use kollator_core::merkle::{BLOCK_LEN, HashedBlocks, leaves};
use kollator_core::metainfo::{Metainfo, MetainfoBuilder, piece_root, web_seed_url};
use kollator_core::node::io::{DiskCommand, DiskEvent};
use kollator_core::node::peer::{
    Command, HttpUse, Order, Peer, PeerConfig, PeerEvent, PeerInput, PeerOutput, SourceKind, SourceName, WebAsk,
    WebCommand, WebEvent, WebId, WorkerUrl,
};
use proptest::prelude::*;

const PIECE: u32 = 4 * BLOCK_LEN;
const LENGTH: u32 = 5 * PIECE + 2 * BLOCK_LEN + 77;

fn content() -> Bytes {
    static CONTENT: LazyLock<Bytes> =
        LazyLock::new(|| (0..LENGTH).map(|i| (i / 5 % 251) as u8 ^ (i / BLOCK_LEN) as u8).collect());
    CONTENT.clone()
}

fn metainfo() -> Metainfo {
    let content = content();
    let length = u64::from(LENGTH);
    let roots = content.chunks(PIECE as usize).map(|piece| piece_root(piece, length, PIECE)).collect();
    let mut builder = MetainfoBuilder::new("share", PIECE).unwrap();
    builder.file(&["share"], length, roots).unwrap().build().unwrap()
}

fn worker(n: usize) -> WorkerUrl {
    format!("http://192.0.2.{n}:8081").parse().unwrap()
}

/// A request that the peer has open.
#[derive(Clone, Debug)]
struct Request {
    worker: WorkerUrl,
    ask: WebAsk,
    begun: bool,
    /// Bytes of the right answer that were sent.
    sent: usize,
}

/// A peer, its disk, and all that it requests.
struct Stage {
    now: Instant,
    peer: Peer,
    metainfo: Arc<Metainfo>,
    chunks: BTreeMap<Digest, Range<usize>>,
    open: BTreeMap<WebId, Request>,
    written: BTreeSet<u64>,
    /// Requests ever made of each worker.
    asked: BTreeMap<WorkerUrl, usize>,
    lied: BTreeSet<WorkerUrl>,
    events: Vec<PeerEvent>,
}

impl Stage {
    fn new(change: impl FnOnce(&mut PeerConfig)) -> Self {
        let mut config = PeerConfig::new(PeerId(Digest([1; 32])), 5, 0);
        change(&mut config);
        let metainfo = Arc::new(metainfo());
        let chunk = |piece: &kollator_core::metainfo::Piece| {
            let begin = piece.offset as usize;
            (piece.chunk.root(), begin..begin + piece.chunk.length() as usize)
        };
        let mut stage = Self {
            now: Instant::ZERO,
            peer: Peer::new(config),
            chunks: metainfo.pieces().iter().map(chunk).collect(),
            metainfo,
            open: BTreeMap::new(),
            written: BTreeSet::new(),
            asked: BTreeMap::new(),
            lied: BTreeSet::new(),
            events: Vec::new(),
        };
        stage.tell(PeerInput::Wake);
        stage
    }

    fn info_hash(&self) -> InfoHash {
        self.metainfo.info_hash()
    }

    fn download(&mut self, metainfo: Option<Arc<Metainfo>>, workers: Vec<WorkerUrl>) {
        let info_hash = self.info_hash();
        self.tell(PeerInput::Command(Command::Download { info_hash, metainfo, order: Order::Sequential }));
        self.tell(PeerInput::Command(Command::AddWorkers { info_hash, workers }));
    }

    fn tell(&mut self, input: PeerInput) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            self.peer.handle(self.now, inputs.remove(0));
            while let Some(output) = self.peer.poll() {
                inputs.extend(self.obey(output));
            }
        }
        assert!(self.peer.next_wake().is_none_or(|at| at > self.now), "it wants to be woken at once");
        for worker in self.asked.keys() {
            let open = self.open.values().filter(|request| request.worker == *worker).count();
            assert!(open <= 4, "{open} requests to {worker} at once");
        }
    }

    fn obey(&mut self, output: PeerOutput) -> Option<PeerInput> {
        match output {
            PeerOutput::Disk(command) => self.disk(command).map(PeerInput::Disk),
            PeerOutput::Web(WebCommand::Request { id, worker, ask }) => {
                let blamed = self.blamed().any(|url| *url == worker);
                assert!(!blamed, "{worker} lied and is asked again");
                *self.asked.entry(worker.clone()).or_default() += 1;
                let request = Request { worker, ask, begun: false, sent: 0 };
                assert!(self.open.insert(id, request).is_none(), "a number is used again");
                None
            }
            PeerOutput::Web(WebCommand::Cancel { id }) => {
                self.open.remove(&id).expect("only what is open is given up");
                None
            }
            PeerOutput::Event(event) => {
                self.events.push(event);
                None
            }
            other => panic!("without a front there is nobody to say {other:?} to"),
        }
    }

    fn disk(&mut self, command: DiskCommand) -> Option<DiskEvent> {
        Some(match command {
            DiskCommand::Prepare { metainfo } => {
                DiskEvent::Prepared { info_hash: metainfo.info_hash(), found: Ok(Vec::new()) }
            }
            DiskCommand::Hash { ticket, data } => {
                DiskEvent::Hashed { ticket, blocks: HashedBlocks::compute(data) }
            }
            DiskCommand::Write { ticket, places, blocks, .. } => {
                let begin = places[0].offset + u64::from(blocks.first()) * u64::from(BLOCK_LEN);
                let range = begin as usize..begin as usize + blocks.data().len();
                assert_eq!(*blocks.data(), content().slice(range), "wrong bytes at {begin}");
                for block in 0..u64::from(blocks.count()) {
                    assert!(self.written.insert(begin + block * u64::from(BLOCK_LEN)), "written twice");
                }
                DiskEvent::Written { ticket, result: Ok(()) }
            }
            DiskCommand::Finish { info_hash } => DiskEvent::Finished { info_hash, result: Ok(()) },
            DiskCommand::Read { .. } | DiskCommand::ReadLeaves { .. } => panic!("nobody asks this peer"),
        })
    }

    fn blamed(&self) -> impl Iterator<Item = &WorkerUrl> {
        self.events.iter().filter_map(|event| match event {
            PeerEvent::Blamed { source: SourceName::Web(url), .. } => Some(url),
            _ => None,
        })
    }

    fn completed(&self) -> bool {
        self.events.iter().any(|event| matches!(event, PeerEvent::Completed { .. }))
    }

    fn failed(&self) -> Option<&str> {
        self.events.iter().find_map(|event| match event {
            PeerEvent::Failed { reason, .. } => Some(reason.as_str()),
            _ => None,
        })
    }

    /// Status and body of the right answer.
    fn answer(&self, ask: WebAsk) -> (u16, Bytes) {
        let of = |root: Digest| Some(content().slice(self.chunks.get(&root)?.clone()));
        let found = match ask {
            WebAsk::Blocks { chunk, .. } => of(chunk.root()).map(|chunk| {
                let range = ask.range().expect("blocks are a range");
                (206, chunk.slice(*range.start() as usize..*range.end() as usize + 1))
            }),
            WebAsk::Leaves { chunk } => of(chunk.root())
                .map(|chunk| (200, leaves(&chunk).into_iter().flat_map(|leaf| leaf.0).collect::<Bytes>())),
            WebAsk::Metainfo { info_hash } => {
                (info_hash == self.info_hash()).then(|| (200, self.metainfo.raw().clone()))
            }
            WebAsk::Kept { info_hash } => (info_hash == self.info_hash()).then(|| (200, Bytes::new())),
        };
        found.unwrap_or((404, Bytes::new()))
    }

    fn web(&mut self, event: WebEvent) {
        self.tell(PeerInput::Web(event));
    }

    fn head(&mut self, id: WebId, status: u16, retry_after: Option<Duration>) {
        self.web(WebEvent::Head { id, status, retry_after });
    }

    /// The next `bytes` of the right answer, or its head or end if it is time for that.
    fn go_on(&mut self, id: WebId, bytes: usize) {
        let Some(request) = self.open.get_mut(&id) else { return };
        let (ask, begun, sent) = (request.ask, request.begun, request.sent);
        let (status, body) = self.answer(ask);
        if !begun {
            if ask.is_head() || status == 404 {
                self.open.remove(&id);
            } else if let Some(request) = self.open.get_mut(&id) {
                request.begun = true;
            }
            return self.head(id, status, None);
        }
        if sent == body.len() {
            self.open.remove(&id);
            return self.web(WebEvent::End { id });
        }
        let data = body.slice(sent..body.len().min(sent + bytes.max(1)));
        self.open.get_mut(&id).expect("it was there above").sent += data.len();
        self.web(WebEvent::Data { id, data });
    }

    /// Answers everything, as a sound worker would.
    fn serve(&mut self, serves: impl Fn(&WorkerUrl) -> bool) {
        for _ in 0..10_000 {
            let next = self.open.iter().find(|(_, request)| serves(&request.worker)).map(|(id, _)| *id);
            let Some(id) = next else { return };
            self.go_on(id, 1 << 20);
        }
        panic!("it asks for ever");
    }

    fn sleep(&mut self) {
        if let Some(at) = self.peer.next_wake() {
            self.now = at;
            self.tell(PeerInput::Wake);
        }
    }

    /// Serves, and lets time pass, until the download has ended.
    fn finish(&mut self, serves: impl Fn(&WorkerUrl) -> bool) {
        for _ in 0..1_000 {
            self.serve(&serves);
            if self.completed() || self.failed().is_some() {
                return;
            }
            self.sleep();
        }
        panic!("it takes for ever: {:?}", self.events);
    }

    fn totals(&self) -> BTreeMap<SourceKind, u64> {
        self.peer.progress(self.info_hash()).expect("a share").totals.from
    }
}

/// What a worker does with one request.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// The next bytes, head or end.
    GoOn(usize),
    /// A wrong byte in what comes next.
    Lie(usize),
    /// The body ends here.
    Truncate,
    /// More than was asked for.
    TooMuch,
    /// The connection breaks.
    Reset,
    /// Any status but the right one.
    Status(u16, u64),
    /// Nothing happens until the peer's next wake-up.
    Wait,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        12 => (1..90_000usize).prop_map(Deed::GoOn),
        1 => any::<usize>().prop_map(Deed::Lie),
        1 => Just(Deed::Truncate),
        1 => Just(Deed::TooMuch),
        1 => Just(Deed::Reset),
        2 => (prop::sample::select(vec![200, 204, 301, 304, 400, 404, 416, 429, 500, 503]), 0..100u64)
            .prop_map(|(status, wait)| Deed::Status(status, wait)),
        2 => Just(Deed::Wait),
    ]
}

impl Stage {
    fn suffer(&mut self, id: WebId, deed: Deed) {
        let Request { worker, ask, begun, sent } = self.open[&id].clone();
        let (right, body) = self.answer(ask);
        match deed {
            Deed::GoOn(bytes) => self.go_on(id, bytes),
            Deed::Lie(at) if begun && sent < body.len() => {
                let mut data = BytesMut::from(&body[sent..]);
                let at = at % data.len();
                data[at] ^= 0x20;
                self.lied.insert(worker);
                self.open.get_mut(&id).expect("it is open").sent = body.len();
                self.web(WebEvent::Data { id, data: data.freeze() });
            }
            Deed::TooMuch if begun => {
                let mut data = BytesMut::from(&body[sent..]);
                data.extend_from_slice(b"and more");
                // A longer `.ko` is not known to be one.
                if matches!(ask, WebAsk::Metainfo { .. }) {
                    self.lied.insert(worker);
                    self.open.get_mut(&id).expect("it is open").sent = body.len();
                }
                self.web(WebEvent::Data { id, data: data.freeze() });
            }
            Deed::Truncate if begun => {
                if matches!(ask, WebAsk::Metainfo { .. }) && sent < body.len() {
                    self.lied.insert(worker);
                }
                self.open.remove(&id);
                self.web(WebEvent::End { id });
            }
            Deed::Reset => {
                self.open.remove(&id);
                self.web(WebEvent::Failed { id, reason: "connection reset".into() });
            }
            Deed::Status(status, wait) if !begun && status != right => {
                // Whatever it answers, it is not asked for more of it.
                let is_final = matches!(status, 404 | 429 | 503);
                if is_final {
                    self.open.remove(&id);
                }
                self.head(id, status, Some(Duration::from_secs(wait)));
                assert!(!self.open.contains_key(&id), "status {status} was taken for an answer");
            }
            Deed::Lie(_) | Deed::TooMuch | Deed::Truncate | Deed::Status(..) => self.go_on(id, 1),
            Deed::Wait => self.sleep(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever workers do, only right bytes are written, each once; who is blamed sent wrong ones; and as long as one
    /// worker is sound in the end, all of it comes.
    #[test]
    fn a_download_ends_equal_whatever_workers_do(
        workers in 1..10usize, has_metainfo: bool,
        deeds in prop::collection::vec((any::<usize>(), deed()), 0..160),
    ) {
        let mut stage = Stage::new(|config| config.patience = Duration::from_secs(600));
        let metainfo = has_metainfo.then(|| stage.metainfo.clone());
        stage.download(metainfo, (0..=workers).map(worker).collect());
        for (pick, deed) in deeds {
            if stage.completed() {
                break;
            }
            if stage.open.is_empty() {
                stage.sleep();
                continue;
            }
            let id = *stage.open.keys().nth(pick % stage.open.len()).expect("one of them");
            // One worker is sound, if slow.
            let sound = stage.open[&id].worker == worker(0);
            stage.suffer(id, if sound && !matches!(deed, Deed::Wait) { Deed::GoOn(20_000) } else { deed });
        }
        stage.finish(|_| true);
        prop_assert!(stage.completed(), "{:?}", stage.events);
        prop_assert!(stage.open.is_empty(), "{:?} is open after the end", stage.open);
        prop_assert!(stage.blamed().all(|url| stage.lied.contains(url)), "{:?}", stage.events);
        prop_assert_eq!(stage.totals(), BTreeMap::from([(SourceKind::Http, u64::from(LENGTH))]));
    }
}

#[test]
fn a_liar_is_asked_no_more_and_the_rest_comes_from_others() {
    let mut stage = Stage::new(|_| {});
    stage.download(None, vec![worker(1), worker(2)]);
    // Both keep the share; the first one alters a byte of the first blocks it gives.
    let mut lied = false;
    for _ in 0..10_000 {
        let Some((id, request)) = stage.open.iter().next().map(|(id, request)| (*id, request.clone())) else {
            break;
        };
        let wrong = !lied && request.worker == worker(1) && matches!(request.ask, WebAsk::Blocks { .. });
        lied |= wrong && request.begun;
        stage.suffer(id, if wrong { Deed::Lie(9) } else { Deed::GoOn(100_000) });
    }
    assert!(lied && stage.completed(), "{:?}", stage.events);
    assert_eq!(stage.blamed().collect::<Vec<_>>(), [&worker(1)]);
}

#[test]
fn without_anybody_to_ask_it_says_so() {
    let mut stage = Stage::new(|_| {});
    stage.download(None, Vec::new());
    stage.finish(|_| false);
    assert_eq!(stage.failed(), Some("no worker that was named can be reached"));
    assert!(stage.asked.is_empty());

    let mut stage = Stage::new(|_| {});
    stage.download(None, vec![worker(1)]);
    while stage.failed().is_none() {
        match stage.open.keys().next().copied() {
            Some(id) => stage.suffer(id, Deed::Reset),
            None => stage.sleep(),
        }
    }
    let reason = stage.failed().expect("it failed");
    assert!(reason.ends_with(&format!("({}: connection reset)", worker(1))), "{reason}");
    let tries = stage.asked[&worker(1)];
    assert!((5..30).contains(&tries), "{tries} tries in 30 s");
}

#[test]
fn a_server_that_is_busy_is_left_alone_for_as_long_as_it_says() {
    let mut stage = Stage::new(|config| config.patience = Duration::from_secs(100));
    stage.download(None, vec![worker(1)]);
    while !stage.open.values().any(|request| matches!(request.ask, WebAsk::Blocks { .. })) {
        let id = *stage.open.keys().next().expect("it asks");
        stage.go_on(id, 1 << 20);
    }
    let asked = stage.asked[&worker(1)];
    for id in stage.open.keys().copied().collect::<Vec<_>>() {
        stage.suffer(id, Deed::Status(503, 20));
    }
    assert_eq!(stage.asked[&worker(1)], asked, "it asks a busy server");
    let busy_since = stage.now;
    while stage.asked[&worker(1)] == asked {
        stage.sleep();
    }
    assert!(stage.now.since(busy_since) >= Duration::from_secs(20), "{:?}", stage.now);
    stage.finish(|_| true);
    assert!(stage.completed() && stage.blamed().count() == 0, "{:?}", stage.events);
}

#[test]
fn a_server_that_falls_silent_does_not_hold_a_download_up() {
    let mut stage = Stage::new(|_| {});
    stage.download(None, vec![worker(1), worker(2)]);
    stage.finish(|url| *url == worker(2));
    assert!(stage.completed(), "{:?}", stage.events);
    assert!(stage.now < Instant::ZERO + Duration::from_secs(20), "{:?}", stage.now);
}

#[test]
fn the_ko_names_workers_for_its_own_share_only() {
    let own = metainfo();
    let elsewhere = web_seed_url("http://192.0.2.8:8081", InfoHash(Digest([9; 32])));
    let seeds = [web_seed_url(worker(7).as_str(), own.info_hash()), elsewhere, "http://seed.example/".into()];
    let seeded = seeds.iter().fold(own, |ko, seed| Metainfo::parse(ko.with_web_seed(seed).unwrap()).unwrap());
    let mut stage = Stage::new(|_| {});
    stage.download(Some(Arc::new(seeded)), Vec::new());
    stage.finish(|_| true);
    assert!(stage.completed(), "{:?}", stage.events);
    assert_eq!(stage.asked.keys().collect::<Vec<_>>(), [&worker(7)]);
}

#[test]
fn who_wants_no_http_gets_none() {
    let mut stage = Stage::new(|config| config.http = HttpUse::Never);
    stage.download(None, vec![worker(1)]);
    stage.finish(|_| true);
    assert!(stage.asked.is_empty() && stage.failed().is_some());
}

#[test]
fn only_so_many_workers_are_asked_at_once_and_remembered() {
    for deed in [Deed::Reset, Deed::Status(404, 0)] {
        let mut stage = Stage::new(|_| {});
        stage.download(None, (0..200).map(worker).collect());
        assert_eq!(stage.asked.len(), 1, "one is asked for the .ko");
        while stage.failed().is_none() && stage.asked.len() < 200 {
            match stage.open.keys().next().copied() {
                Some(id) => stage.suffer(id, deed),
                None => stage.sleep(),
            }
        }
        assert_eq!(stage.asked.len(), 64, "{deed:?}");
    }
}

#[test]
fn what_a_stopped_download_asked_for_is_given_up() {
    for shut_down in [false, true] {
        let mut stage = Stage::new(|_| {});
        stage.download(Some(Arc::new(metainfo())), vec![worker(1), worker(2)]);
        for _ in 0..6 {
            let id = *stage.open.keys().last().expect("it asks");
            stage.go_on(id, 1000);
        }
        assert!(!stage.open.is_empty());
        let info_hash = stage.info_hash();
        let command = if shut_down { Command::Shutdown } else { Command::Stop { info_hash } };
        stage.tell(PeerInput::Command(command));
        assert!(stage.open.is_empty(), "{:?}", stage.open);
    }
}
