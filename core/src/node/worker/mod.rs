//! A worker: takes chunks from those who share, keeps them for good, serves them to whoever asks.
//!
//! A sharer offers chunks (CHUNK_STORE); the worker asks for those it lacks, like any downloader, puts each
//! together in memory, stores it, and acknowledges it once the backing store has it. It never acknowledges
//! before, and never keeps a byte that did not prove itself.

mod asking;
mod clock;
mod dht;
mod io;
mod keeping;
mod load;
mod pulling;
mod reading;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use lru::LruCache;

use self::asking::Asking;
use self::clock::ProofClock;
use self::dht::Dht;
pub use self::dht::{Announcement, DhtCommand, DhtConfig, DhtEvent, DhtStats};
pub use self::io::*;
use self::keeping::{Keeping, Stage};
use self::load::Load;
use self::pulling::{OfferStage, Offered};
use self::reading::Readings;
use crate::auth::SharedKey;
use crate::dht::Item;
use crate::id::{ChunkId, InfoHash, PeerId};
use crate::machine::{Instant, Machine, Outbox, Rng, earliest};
use crate::merkle::{BLOCK_LEN, ChunkAssembly};
use crate::metainfo::Metainfo;
use crate::node::io::Ticket;
use crate::rtc::ConnId;
use crate::session::{Sessions, SessionsConfig, SessionsOutput};
use crate::store::{Answer, Output as StoreOutput, Part, Store, StoreError};
use crate::transfer::metainfo_fetch::part_of;
use crate::transfer::{
    Download, DownloadConfig, Offence, Order, Rate, SourceKind, Upload, UploadConfig, UploadOutput,
};
use crate::uplink::{Uplink, UplinkConfig, UplinkOutput};
use crate::wire::frame::{Frame, MAX_FRAME_BLOCKS, MAX_HAVE_PIECES, Reason, RequestId};
use crate::wire::signal::{FromFront, Role, ToFront, VERSION, WorkerHello};

/// The lane of the worker's own requests and questions to its store.
const OWN_LANE: u8 = 0;
/// The lane of the machine that asks sharers for chunks.
const PULL_LANE: u8 = 1;
/// The lane of the upload.
const UPLOAD_LANE: u8 = 0xff;
/// Most nodes remembered as liars.
const MAX_BANNED: usize = 4096;
/// Most shares that one session may be having kept at once.
const MAX_KEEPINGS: usize = 4;
/// Shares whose number of pieces is remembered.
const REMEMBERED_SHARES: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// Settings of a worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Our name among nodes.
    pub id: PeerId,
    /// Our name in the ring (`WORKER_ID`).
    pub name: String,
    /// Our share of the ring; 100 is usual.
    pub capacity: u16,
    /// Where we serve HTTP.
    pub http: String,
    /// Where we stand, as a hello has it; empty if we don't say.
    pub region: String,
    /// What proves to fronts that we belong to them.
    pub key: SharedKey,
    /// Unix milliseconds at the machine's beginning.
    pub unix_ms: u64,
    /// Decides among equals.
    pub seed: u64,
    /// How many fronts the driver can connect to, at least one.
    pub fronts: usize,
    /// Most sessions at once.
    pub max_sessions: usize,
    /// Most bytes of chunks on their way from sharers into the store.
    pub max_pulling: u64,
    /// Most bytes of memory for the process, as [`WorkerInput::Memory`] tells them; with more, newcomers are turned
    /// away.
    pub max_memory: u64,
    /// Limits of the store.
    pub store: crate::store::Config,
    /// Limits on serving. That in bytes a second is on what is sent over data channels and what others than workers ask for
    /// in other ways, together.
    pub upload: UploadConfig,
    /// Most asks for bytes open at once that did not come over a data channel, and most for other things; more are turned
    /// down as busy.
    pub max_asks: usize,
    /// How it uses the DHT, if it does.
    pub dht: Option<DhtConfig>,
    /// The same for asks of other workers.
    pub max_worker_asks: usize,
}

impl WorkerConfig {
    /// Usual settings.
    #[must_use]
    pub fn new(id: PeerId, name: String, http: String, key: SharedKey, unix_ms: u64, seed: u64) -> Self {
        let usual = crate::store::Config::default();
        Self {
            id,
            capacity: 100,
            http,
            region: String::new(),
            key,
            unix_ms,
            seed,
            fronts: 1,
            max_sessions: 1200,
            max_pulling: 16 << 20,
            max_memory: 1 << 30,
            store: crate::store::Config { name: name.clone(), max_memory: 40 << 20, ..usual },
            name,
            upload: UploadConfig { lane: UPLOAD_LANE, max_unsent: 128 << 20, ..UploadConfig::default() },
            max_asks: 64,
            dht: None,
            max_worker_asks: 64,
        }
    }
}

impl WorkerConfig {
    /// Most blocks that one [`Ask::Blocks`] may ask for: fewer under a low limit on what is sent, so that everybody gets
    /// something often, and whole frames of them, so that whoever asks gets as much in turn as a session.
    #[must_use]
    pub fn ask_blocks(&self) -> u16 {
        let rate = Rate::new(self.upload.limit);
        if !rate.is_limited() {
            return MAX_ASK_BLOCKS;
        }
        let frame = u16::from(MAX_FRAME_BLOCKS);
        let most =
            rate.blocks_at_once().min(rate.burst() / u64::from(BLOCK_LEN)).min(MAX_ASK_BLOCKS.into()) as u16;
        if most < frame { most } else { most - most % frame }
    }
}

/// Tells one try to keep a share from the next.
type KeepingId = u64;

/// What a question to the store is for.
#[derive(Clone, Copy, Debug)]
enum Question {
    Offered(ChunkId),
    Put(ChunkId),
    List { conn: ConnId, request: RequestId, info_hash: InfoHash },
    Metainfo { conn: ConnId, request: RequestId, offset: u32 },
    Kept(KeepingId),
    Check(KeepingId),
    PutFile { keeping: KeepingId, bytes: u64, info_hash: InfoHash },
    PutMetainfo(KeepingId, InfoHash),
    Asked(AskId),
    Announce { conn: ConnId, request: RequestId, info_hash: InfoHash },
    AskedToAnnounce(AskId, InfoHash),
    AskedByWorker(AskId),
}

/// The machine. See the module's documentation. Its first input is a [`WorkerInput::Wake`].
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    clock: ProofClock,
    uplink: Uplink,
    sessions: Sessions,
    upload: Upload,
    pull: Download,
    store: Store,
    /// Sessions that are up, with how many chunks each has offered and not seen acknowledged.
    conns: BTreeMap<ConnId, usize>,
    offered: BTreeMap<ChunkId, Offered>,
    queue: VecDeque<ChunkId>,
    slots: BTreeMap<u32, ChunkId>,
    assemblies: BTreeMap<u32, ChunkAssembly>,
    /// Bytes of chunks being pulled or put.
    pulling: u64,
    keepings: BTreeMap<KeepingId, Keeping>,
    next_keeping: KeepingId,
    questions: BTreeMap<Ticket, Question>,
    asking: Asking,
    load: Load,
    dht: Option<Dht>,
    piece_counts: LruCache<InfoHash, u32>,
    readings: Readings,
    banned: BTreeSet<PeerId>,
    next_slot: u32,
    next_ticket: u64,
    next_request: u32,
    sessions_served: u64,
    draining: bool,
    drained: bool,
    out: Outbox<WorkerOutput>,
}

impl Worker {
    /// A worker with an empty cache; [`Worker::recovered`] tells it what an earlier run left.
    ///
    /// # Panics
    /// If there are no fronts.
    #[must_use]
    pub fn new(config: WorkerConfig) -> Self {
        assert!(config.fronts > 0, "a worker needs at least one front");
        let mut rng = Rng::new(config.seed);
        let sessions = SessionsConfig { id: config.id, max_sessions: config.max_sessions };
        let pull = DownloadConfig {
            seed: rng.next_u64(),
            order: Order::Sequential,
            lane: PULL_LANE,
            max_open: config.max_pulling,
            max_buffered: config.max_pulling,
            ..DownloadConfig::default()
        };
        Self {
            clock: ProofClock::new(config.unix_ms),
            uplink: Uplink::new(UplinkConfig::new(config.fronts, rng.next_u64())),
            sessions: Sessions::new(sessions, rng.next_u64() as u32),
            upload: Upload::new(config.upload.clone()),
            pull: Download::new(pull),
            store: Store::new(config.store.clone()),
            conns: BTreeMap::new(),
            offered: BTreeMap::new(),
            queue: VecDeque::new(),
            slots: BTreeMap::new(),
            assemblies: BTreeMap::new(),
            pulling: 0,
            keepings: BTreeMap::new(),
            next_keeping: 0,
            questions: BTreeMap::new(),
            asking: Asking::default(),
            load: Load::default(),
            dht: config.dht.clone().map(Dht::new),
            piece_counts: LruCache::new(REMEMBERED_SHARES),
            readings: Readings::default(),
            banned: BTreeSet::new(),
            next_slot: 0,
            next_ticket: 0,
            next_request: 0,
            sessions_served: 0,
            draining: false,
            drained: false,
            out: Outbox::default(),
            config,
        }
    }

    /// Tells the worker which chunks its cache holds, and for how long nobody used each. Before any input.
    pub fn recovered(&mut self, entries: impl IntoIterator<Item = (ChunkId, Duration)>) {
        self.store.recovered(Instant::ZERO, entries);
    }

    /// Its store, to look at.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Connections it uses of its WebRTC stack, those being set up included.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.sessions.len()
    }

    /// Sessions that are up now, and ever since it began.
    #[must_use]
    pub fn connections(&self) -> (usize, u64) {
        (self.conns.len(), self.sessions_served)
    }

    /// Bytes of blocks served over data channels so far.
    #[must_use]
    pub const fn bytes_served(&self) -> u64 {
        self.upload.bytes_served()
    }

    /// Whether a front counts it in.
    #[must_use]
    pub const fn is_online(&self) -> bool {
        self.uplink.is_up()
    }

    fn pump(&mut self, now: Instant) {
        let mut moved = true;
        while moved {
            moved = false;
            while let Some(output) = self.uplink.poll() {
                moved = true;
                self.uplink_output(now, output);
            }
            while let Some(output) = self.sessions.poll() {
                moved = true;
                self.session_output(now, output);
            }
            while let Some(output) = self.upload.poll() {
                moved = true;
                self.upload_output(now, output);
            }
            while let Some(output) = self.pull.poll() {
                moved = true;
                self.pull_output(now, output);
            }
            while let Some(output) = self.store.poll() {
                moved = true;
                self.store_output(now, output);
            }
            moved |= self.pull_more(now);
        }
        self.use_dht(now);
        self.weigh(now);
        while let Some(output) = self.uplink.poll() {
            self.uplink_output(now, output);
        }
        if self.draining && !self.drained && self.is_idle() {
            self.drained = true;
            self.out.push(WorkerOutput::Drained);
        }
    }

    fn drain(&mut self) {
        if !self.draining {
            self.draining = true;
            self.sessions.close_doors();
            self.close_dht();
            self.uplink.send(&ToFront::Draining {});
        }
    }

    fn is_idle(&self) -> bool {
        let is_answered = self.questions.is_empty() && self.asking.holds_nothing();
        self.upload.is_idle() && self.offered.is_empty() && self.keepings.is_empty() && is_answered
    }

    fn uplink_output(&mut self, now: Instant, output: UplinkOutput) {
        match output {
            UplinkOutput::Link(command) => self.out.push(WorkerOutput::Link(command)),
            UplinkOutput::Greet => {
                let timestamp_ms = self.clock.next(now);
                let name = self.config.name.clone();
                let mac = self.config.key.token(&name, timestamp_ms);
                let (capacity, http) = (self.config.capacity, self.config.http.clone());
                let region = self.config.region.clone();
                let role = Role::Worker(WorkerHello { name, capacity, http, region, timestamp_ms, mac });
                self.uplink.greet(&ToFront::Hello { version: VERSION, id: self.config.id, role });
            }
            UplinkOutput::Welcome(_) => {
                self.out.push(WorkerOutput::Event(WorkerEvent::Online));
                self.load.welcomed();
                if self.draining {
                    self.uplink.send(&ToFront::Draining {});
                }
            }
            UplinkOutput::Message(FromFront::Signal { from, session, body }) => {
                if !self.banned.contains(&from) {
                    self.sessions.signal(now, from, session, body);
                }
            }
            UplinkOutput::Message(FromFront::Workers(news)) => self.store.tell_of_workers(news),
            UplinkOutput::Message(_) => {}
            UplinkOutput::Lost { reason } => {
                self.out.push(WorkerOutput::Event(WorkerEvent::Offline { reason }));
            }
        }
    }

    fn session_output(&mut self, now: Instant, output: SessionsOutput) {
        match output {
            SessionsOutput::Rtc(command) => self.out.push(WorkerOutput::Rtc(command)),
            SessionsOutput::Signal { to, session, body } => {
                self.uplink.send(&ToFront::Signal { to, session, body });
            }
            SessionsOutput::Up { conn, frame_blocks, .. } => {
                self.sessions_served += 1;
                self.conns.insert(conn, 0);
                self.load.used(now, conn);
                self.upload.session_up(conn, frame_blocks);
                self.pull.source_up(now, conn, SourceKind::Peer);
            }
            SessionsOutput::Frame { conn, frame } => {
                self.load.used(now, conn);
                self.frame(now, conn, frame);
            }
            SessionsOutput::BulkSent { conn, bytes } => {
                self.load.used(now, conn);
                self.upload.sent(conn, bytes);
            }
            SessionsOutput::Down { conn, peer, reason, offence } => {
                if offence {
                    self.ban(peer, reason);
                }
                self.session_down(now, conn);
            }
        }
    }

    fn session_down(&mut self, now: Instant, conn: ConnId) {
        if self.conns.remove(&conn).is_none() {
            return;
        }
        self.load.session_down(conn);
        self.upload.session_down(conn);
        self.look_no_further(now, conn);
        self.pull.source_down(now, conn);
        self.keepings.retain(|_, keeping| keeping.conn != conn);
        self.leave_dht(conn);
        let mut orphans = Vec::new();
        for (chunk, offered) in &mut self.offered {
            let before = offered.waiters.len();
            offered.waiters.retain(|(of, _)| *of != conn);
            if offered.waiters.is_empty() && before > 0 {
                orphans.push(*chunk);
            }
        }
        for chunk in orphans {
            // What the store is doing for it goes on: the chunk may be offered again.
            match self.offered[&chunk].stage {
                OfferStage::Checking | OfferStage::Putting => {}
                OfferStage::Queued => {
                    self.queue.retain(|queued| *queued != chunk);
                    self.offered.remove(&chunk);
                }
                OfferStage::Pulling(slot) => {
                    self.pull.unwant(now, slot);
                    self.slots.remove(&slot);
                    self.assemblies.remove(&slot);
                    self.pulling -= u64::from(chunk.length());
                    self.offered.remove(&chunk);
                }
            }
        }
    }

    fn blame(&mut self, now: Instant, conn: ConnId, offence: String) {
        let Some(peer) = self.sessions.peer(conn) else { return };
        self.ban(peer, offence);
        self.sessions.close(conn);
        self.session_down(now, conn);
    }

    fn ban(&mut self, peer: PeerId, offence: String) {
        if self.banned.len() < MAX_BANNED {
            self.banned.insert(peer);
        }
        self.out.push(WorkerOutput::Event(WorkerEvent::Blamed { peer, offence }));
    }

    fn frame(&mut self, now: Instant, conn: ConnId, frame: Frame) {
        match frame {
            Frame::ChunkRequest { request, .. }
            | Frame::HashRequest { request, .. }
            | Frame::ChunkStore { request, .. }
            | Frame::ChunkList { request, .. }
            | Frame::MetainfoRequest { request, .. }
            | Frame::MetainfoStore { request, .. }
            | Frame::DhtAnnounce { request, .. }
            | Frame::DhtLookUp { request, .. }
                if self.draining =>
            {
                self.reject(conn, request, Reason::Leaving);
            }
            Frame::ChunkRequest { request, chunk, first, count } => {
                self.upload.request(conn, request, chunk, first, count);
                self.look_ahead(now, conn, chunk);
            }
            Frame::HashRequest { request, chunk } => self.upload.hash_request(conn, request, chunk),
            Frame::Cancel { request } => self.upload.cancel(conn, request),
            Frame::ChunkStore { request, chunks } => self.offer(now, conn, request, &chunks),
            Frame::ChunkList { request, info_hash } => match self.piece_counts.get(&info_hash).copied() {
                Some(pieces) => {
                    self.readings.asks(conn, info_hash);
                    self.tell_all(conn, request, info_hash, pieces);
                }
                None => {
                    let ticket = self.question(Question::List { conn, request, info_hash });
                    self.store.torrent(now, ticket, info_hash);
                }
            },
            Frame::MetainfoRequest { request, info_hash, offset } => {
                let ticket = self.question(Question::Metainfo { conn, request, offset });
                self.store.torrent(now, ticket, info_hash);
            }
            Frame::MetainfoStore { request, info_hash } => self.keep(now, conn, request, info_hash),
            Frame::Metainfo { request, total, offset, data } => {
                self.metainfo_part(now, conn, request, total, offset, &data);
            }
            Frame::ChunkResponse { request, first, data } => self.pull.blocks(now, conn, request, first, data),
            Frame::Hashes { request, leaves } => self.pull.leaves(now, conn, request, leaves),
            Frame::Reject { request, reason } => self.rejected(now, conn, request, reason),
            Frame::DhtAnnounce { request, info_hash } => self.announce_for(now, conn, request, info_hash),
            Frame::DhtLookUp { request, name } => self.look_up(conn, request, name),
            // News and acknowledgements of things this worker never asks for.
            Frame::Have { .. }
            | Frame::ChunkStored { .. }
            | Frame::MetainfoStored { .. }
            | Frame::DhtAnnounced { .. }
            | Frame::DhtPeers { .. } => {
                self.blame(now, conn, Offence::Unsolicited.to_string());
            }
            // The sessions keep these to themselves.
            Frame::Hello(_) | Frame::HealthCheck { .. } | Frame::Health { .. } => {}
        }
    }

    fn rejected(&mut self, now: Instant, conn: ConnId, request: RequestId, reason: Reason) {
        if request as u8 == PULL_LANE {
            return self.pull.rejected(now, conn, request, reason);
        }
        let fetching = |keeping: &Keeping| matches!(&keeping.stage, Stage::Fetching(fetch) if fetch.owns(request));
        let found = self.keepings.iter().find(|(_, keeping)| keeping.conn == conn && fetching(keeping));
        if let Some(id) = found.map(|(id, _)| *id) {
            // It wants something kept that it won't give.
            self.end_keeping(id, Err(Reason::Invalid));
        }
    }

    fn reject(&mut self, conn: ConnId, request: RequestId, reason: Reason) {
        self.sessions.send(conn, Frame::Reject { request, reason });
    }

    fn upload_output(&mut self, now: Instant, output: UploadOutput) {
        match output {
            UploadOutput::Send { conn, frame } => self.sessions.send(conn, frame),
            UploadOutput::Misused { conn } => {
                self.blame(now, conn, "used the number of an open request again".into());
            }
            UploadOutput::ReadBlocks { ticket, chunk, first, count } => {
                self.store.read(now, ticket, chunk, Part::Blocks { first, count });
            }
            UploadOutput::ReadLeaves { ticket, chunk } => self.store.read(now, ticket, chunk, Part::Leaves),
            UploadOutput::Go { ticket } => self.tell_held(ticket),
        }
    }

    fn store_output(&mut self, now: Instant, output: StoreOutput) {
        match output {
            StoreOutput::Effect(effect) => self.out.push(WorkerOutput::Store(effect)),
            StoreOutput::AskHome { ticket, chunk, home } => {
                self.out.push(WorkerOutput::AskHome { ticket, chunk, home });
            }
            StoreOutput::Fault(fault) => {
                self.out.push(WorkerOutput::Event(WorkerEvent::StoreFault { what: fault.to_string() }));
            }
            StoreOutput::Answer(answer) => self.answer(now, answer),
        }
    }

    fn answer(&mut self, now: Instant, answer: Answer) {
        use crate::store::PartData;
        match answer {
            Answer::Data { ticket, result } => match (self.questions.remove(&ticket), result) {
                (Some(Question::Asked(id)), result) => self.read_for(ticket, id, result),
                (Some(Question::AskedByWorker(id)), result) => self.read_for_worker(id, result),
                (Some(other), _) => unreachable!("no read was asked for {other:?}"),
                (None, Ok(PartData::Blocks(data))) => self.upload.read(ticket, Ok(data)),
                (None, Ok(PartData::Leaves(leaves))) => self.upload.read_leaves(ticket, Ok(leaves)),
                (None, Err(error)) => self.upload.read(ticket, Err(reason_of(&error))),
            },
            Answer::Stored { ticket, result } => match self.questions.remove(&ticket) {
                Some(Question::Put(chunk)) => {
                    self.pulling -= u64::from(chunk.length());
                    self.announce_stored(now, Item::Chunk(chunk), &result);
                    self.settle_offer(chunk, result);
                }
                Some(Question::PutFile { keeping, bytes, info_hash }) => {
                    self.announce_stored(now, Item::Share(info_hash), &result);
                    self.file_stored(now, keeping, bytes, result);
                }
                Some(Question::PutMetainfo(id, info_hash)) => {
                    self.announce_stored(now, Item::Share(info_hash), &result);
                    self.end_keeping(id, result.map_err(|error| reason_of(&error)));
                }
                other => unreachable!("no put was asked for {other:?}"),
            },
            Answer::Contains { ticket, result } => match self.questions.remove(&ticket) {
                Some(Question::Offered(chunk)) => self.checked(chunk, result),
                Some(Question::Check(id)) => self.check_answered(now, id, result),
                Some(Question::Asked(id)) => self.tell(id, result.map(Told::Has)),
                other => unreachable!("no look-up was asked for {other:?}"),
            },
            Answer::Torrent { ticket, result } => self.torrent_answered(now, ticket, result),
        }
    }

    fn torrent_answered(&mut self, now: Instant, ticket: Ticket, result: Result<Option<Bytes>, StoreError>) {
        match self.questions.remove(&ticket) {
            Some(Question::List { conn, request, info_hash }) => {
                match result.map(|ko| ko.and_then(|ko| Metainfo::parse(ko).ok())) {
                    Ok(Some(metainfo)) => {
                        let pieces = metainfo.pieces().len() as u32;
                        self.piece_counts.put(info_hash, pieces);
                        self.readings.learn(&metainfo);
                        self.readings.asks(conn, info_hash);
                        self.tell_all(conn, request, info_hash, pieces);
                    }
                    Ok(None) => self.reject(conn, request, Reason::NotFound),
                    Err(error) => self.reject(conn, request, reason_of(&error)),
                }
            }
            Some(Question::Metainfo { conn, request, offset }) => match result {
                Ok(ko) => match ko.and_then(|ko| Some((ko.len() as u32, part_of(&ko, offset)?))) {
                    Some((total, data)) => {
                        self.sessions.send(conn, Frame::Metainfo { request, total, offset, data });
                    }
                    None => self.reject(conn, request, Reason::NotFound),
                },
                Err(error) => self.reject(conn, request, reason_of(&error)),
            },
            Some(Question::Kept(id)) => match result {
                Ok(Some(_)) => self.end_keeping(id, Ok(())),
                Ok(None) => self.fetch_metainfo(id),
                Err(error) => self.end_keeping(id, Err(reason_of(&error))),
            },
            Some(Question::Asked(id)) => self.tell(id, result.map(Told::Torrent)),
            Some(Question::Announce { conn, request, info_hash }) => {
                self.announce_answered(now, (conn, request), info_hash, result);
            }
            Some(Question::AskedToAnnounce(id, info_hash)) => {
                self.announce_asked_answered(now, (id, info_hash), result);
            }
            other => unreachable!("no .ko was asked for {other:?}"),
        }
    }

    /// Tells of every piece of a share: a stored `.ko` means that all its chunks are stored.
    fn tell_all(&mut self, conn: ConnId, request: RequestId, info_hash: InfoHash, pieces: u32) {
        for first in (0..pieces).step_by(MAX_HAVE_PIECES as usize) {
            let count = (pieces - first).min(MAX_HAVE_PIECES);
            let mut bitmap = vec![0xff; count.div_ceil(8) as usize];
            if let Some(last) = bitmap.last_mut() {
                *last <<= (8 - count % 8) % 8;
            }
            self.sessions.send(conn, Frame::Have { request, info_hash, first, bitmap: bitmap.into() });
        }
    }

    fn question(&mut self, question: Question) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket << 8 | u64::from(OWN_LANE));
        self.questions.insert(ticket, question);
        ticket
    }
}

fn next_request(counter: &mut u32) -> RequestId {
    *counter = (*counter + 1) & 0x00ff_ffff;
    (*counter).max(1) << 8 | u32::from(OWN_LANE)
}

fn reason_of(error: &StoreError) -> Reason {
    match error {
        StoreError::NotFound => Reason::NotFound,
        StoreError::Busy => Reason::Busy,
        StoreError::Failed(_) => Reason::StorageFailed,
    }
}

impl Machine for Worker {
    type Input = WorkerInput;
    type Output = WorkerOutput;

    fn handle(&mut self, now: Instant, input: WorkerInput) {
        self.sessions.tick(now);
        self.upload.tick(now);
        match input {
            WorkerInput::Wake => {}
            WorkerInput::Link(event) => self.uplink.event(now, event),
            WorkerInput::Rtc(event) => self.sessions.rtc(now, event),
            WorkerInput::Store(done) => self.store.done(now, done),
            WorkerInput::HomeAnswered { ticket, answer } => self.store.home_answered(now, ticket, answer),
            WorkerInput::Hashed { ticket, blocks } => self.pull.hashed(now, ticket, blocks),
            WorkerInput::Clock { unix_ms } => self.clock.set(now, unix_ms),
            WorkerInput::Memory { bytes } => self.memory_is(bytes),
            WorkerInput::Ask { id, ask } => self.ask(now, id, ask),
            WorkerInput::Dht(event) => self.dht_event(now, event),
            WorkerInput::Ahead { body, next } => self.look_ahead_of_body(now, body, &next),
            WorkerInput::Drain => self.drain(),
        }
        self.pump(now);
        if self.next_wake().is_some_and(|at| at <= now) {
            self.uplink.wake(now);
            self.sessions.wake(now);
            self.upload.wake(now);
            self.pull.wake(now);
            self.store.wake(now);
            self.wake_load(now);
            self.pump(now);
        }
    }

    fn poll(&mut self) -> Option<WorkerOutput> {
        self.out.pop()
    }

    fn next_wake(&self) -> Option<Instant> {
        earliest([
            self.uplink.next_wake(),
            self.sessions.next_wake(),
            self.upload.next_wake(),
            self.pull.next_wake(),
            self.store.next_wake(),
            self.load.next_wake(self.uplink.is_up()),
            self.dht_wake(),
        ])
    }
}
