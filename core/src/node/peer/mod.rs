//! A peer: shares, downloads and seeds, over any number of sessions at once.
//!
//! Routes between the small machines: the [`Uplink`] to the front, the [`Sessions`], one [`Upload`] for all who
//! ask, one download and one bringing-to-the-worker for each share.

mod announcing;
mod bringing;
mod cutting;
mod gains;
mod io;
mod layout;
mod meeting;
mod pace;
mod seeking;
mod share;
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use self::io::*;
use self::pace::Pace;
use self::share::{Job, Share};
pub use self::web::HttpUse;
use self::web::Web;
use crate::id::{ChunkId, InfoHash, PeerId};
use crate::machine::{Instant, Machine, Outbox, Rng, earliest};
use crate::merkle::BLOCK_LEN;
use crate::node::io::{DiskCommand, DiskEvent, Place};
use crate::rtc::{ConnId, RtcCommand};
use crate::session::{Sessions, SessionsConfig, SessionsOutput};
use crate::transfer::metainfo_fetch::part_of;
use crate::transfer::{Upload, UploadConfig, UploadOutput};
use crate::uplink::{Uplink, UplinkConfig, UplinkOutput};
use crate::wire::frame::{Frame, Reason, RequestId};
use crate::wire::signal::{FromFront, Role, ToFront, VERSION, WorkerInfo};

/// The lane of the peer's own requests; those of downloads follow.
const OWN_LANE: u8 = 0;
/// The lane of the upload.
const UPLOAD_LANE: u8 = 0xff;
/// First and longest pause before a lost or unreachable node is dialled again.
const REDIAL: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));
/// Most nodes remembered as liars.
const MAX_BANNED: usize = 4096;
/// Most shares a session may ask news of.
const MAX_INTERESTS: usize = 256;

/// Settings of a peer.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Our name.
    pub id: PeerId,
    /// Decides among equals.
    pub seed: u64,
    /// How many fronts the driver can connect to. With none, only workers that the user or a `.ko` names are asked, over
    /// HTTP.
    pub fronts: usize,
    /// Whether workers are asked over HTTP.
    pub http: HttpUse,
    /// A download or an upload without any progress for this long fails.
    pub patience: Duration,
    /// Most sessions at once.
    pub max_sessions: usize,
    /// Most members of a swarm that are dialled for one download.
    pub max_swarm_dials: usize,
    /// How often the front is asked for more peers of what is being downloaded, at least every second and as often as the
    /// front wants to hear of shares. A download without any source asks every five seconds, or as often as this.
    pub discovery: Duration,
    /// Most bytes a download holds in memory or has asked for.
    pub max_buffered: u64,
    /// Bytes from where a user is in a download, that come before the rest of it.
    pub window: u64,
    /// Limits on serving others.
    pub upload: UploadConfig,
    /// Most bytes a second that all downloads together ask for; 0: no limit.
    pub download_limit: u64,
}

impl PeerConfig {
    /// Usual settings.
    #[must_use]
    pub fn new(id: PeerId, seed: u64, fronts: usize) -> Self {
        Self {
            id,
            seed,
            fronts,
            http: HttpUse::default(),
            patience: Duration::from_secs(30),
            max_sessions: 64,
            max_swarm_dials: 8,
            discovery: Duration::from_secs(30),
            max_buffered: 24 << 20,
            window: 8 << 20,
            upload: UploadConfig { lane: UPLOAD_LANE, ..UploadConfig::default() },
            download_limit: 0,
        }
    }
}

/// What an open request of the peer's own lane is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    List(InfoHash),
    Metainfo(InfoHash),
    /// Part of the share of one file of this share.
    Cut(InfoHash),
    /// The leaves of a whole file of this share, as one chunk.
    Probe(InfoHash),
    Store(InfoHash),
    MetainfoStore(InfoHash),
}

#[derive(Debug)]
struct Conn {
    kind: SourceKind,
    /// Shares it asked about: it is told of new pieces.
    interests: BTreeSet<InfoHash>,
    asks: BTreeMap<RequestId, Ask>,
}

#[derive(Debug)]
struct Redial {
    at: Instant,
    failures: u32,
}

/// The machine. See the module's documentation. Its first input is a [`PeerInput::Wake`].
#[derive(Debug)]
pub struct Peer {
    config: PeerConfig,
    rng: Rng,
    uplink: Uplink,
    sessions: Sessions,
    upload: Upload,
    pace: Pace,
    shares: BTreeMap<InfoHash, Share>,
    lanes: BTreeMap<u8, InfoHash>,
    last_lane: u8,
    /// Where a chunk that can be served is.
    holdings: BTreeMap<ChunkId, (InfoHash, Place)>,
    conns: BTreeMap<ConnId, Conn>,
    web: Web,
    worker: Option<WorkerInfo>,
    /// Where that serves HTTP.
    worker_url: Option<WorkerUrl>,
    heartbeat: Duration,
    /// When every share is announced again.
    announce_at: Option<Instant>,
    /// When those are that something is missing of.
    discover_at: Option<Instant>,
    redials: BTreeMap<PeerId, Redial>,
    banned: BTreeSet<PeerId>,
    next_request: u32,
    /// Why no front is there, if none is.
    offline: Option<String>,
    closed: bool,
    out: Outbox<PeerOutput>,
}

impl Peer {
    /// A peer that shares nothing yet.
    #[must_use]
    pub fn new(config: PeerConfig) -> Self {
        let mut rng = Rng::new(config.seed);
        let max_sessions = if config.http == HttpUse::Only { 0 } else { config.max_sessions };
        let sessions = SessionsConfig { id: config.id, max_sessions };
        Self {
            uplink: Uplink::new(UplinkConfig::new(config.fronts, rng.next_u64())),
            sessions: Sessions::new(sessions, rng.next_u64() as u32),
            upload: Upload::new(config.upload.clone()),
            pace: Pace::new(config.download_limit),
            shares: BTreeMap::new(),
            lanes: BTreeMap::new(),
            last_lane: OWN_LANE,
            holdings: BTreeMap::new(),
            conns: BTreeMap::new(),
            web: Web::default(),
            worker: None,
            worker_url: None,
            heartbeat: Duration::from_secs(30),
            announce_at: None,
            discover_at: None,
            redials: BTreeMap::new(),
            banned: BTreeSet::new(),
            next_request: 0,
            offline: None,
            closed: false,
            out: Outbox::default(),
            rng,
            config,
        }
    }

    /// How a share's download stands; `None` if there is none of that name.
    #[must_use]
    pub fn progress(&self, info_hash: InfoHash) -> Option<Progress> {
        self.shares.get(&info_hash).map(Share::progress)
    }

    /// Connections it uses of its WebRTC stack, those being set up included.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.sessions.len()
    }

    /// Sessions that are up.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.len() - self.web.len()
    }

    /// Bytes of blocks served to others so far.
    #[must_use]
    pub const fn bytes_served(&self) -> u64 {
        self.upload.bytes_served()
    }

    fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Download { info_hash, metainfo, order } => {
                self.download(now, info_hash, metainfo, order);
            }
            Command::AddWorkers { info_hash, workers } => self.add_workers(info_hash, workers),
            Command::Meet { info_hash, peer } => self.meet(now, info_hash, peer),
            Command::SetDiscovery { interval } => self.set_discovery(now, interval),
            Command::Seek { info_hash, place } => self.seek(now, info_hash, place),
            Command::SetLimits { upload, download } => self.set_limits(now, upload, download),
            Command::Share { metainfo, upload } => self.share(now, metainfo, upload),
            Command::Stop { info_hash } => self.stop(info_hash),
            Command::Shutdown => self.shutdown(),
        }
    }

    fn shutdown(&mut self) {
        for info_hash in self.shares.keys() {
            self.uplink.send(&ToFront::Leave { info_hash: *info_hash });
        }
        while let Some(output) = self.uplink.poll() {
            if let UplinkOutput::Link(command) = output {
                self.out.push(PeerOutput::Link(command));
            }
        }
        self.uplink.close();
        self.shut_web();
        for conn in std::mem::take(&mut self.conns).into_keys() {
            // Nothing on its way is worth waiting for: who lacks an answer asks another.
            self.sessions.cut(conn);
        }
        while let Some(output) = self.sessions.poll() {
            if let SessionsOutput::Rtc(command) = output {
                self.out.push(PeerOutput::Rtc(command));
            }
        }
        self.shares.clear();
        self.closed = true;
    }

    fn wake(&mut self, now: Instant) {
        self.uplink.wake(now);
        self.sessions.wake(now);
        self.upload.wake(now);
        self.wake_shares(now);
        self.wake_web(now);
        self.wake_announcing(now);
        self.dial_wanted(now);
    }

    /// Drains the small machines into each other and into our own outputs, until nothing moves.
    fn pump(&mut self, now: Instant) {
        loop {
            let mut moved = self.pump_uplink(now);
            while let Some(output) = self.sessions.poll() {
                moved = true;
                self.session_output(now, output);
            }
            while let Some(output) = self.upload.poll() {
                moved = true;
                self.upload_output(now, output);
            }
            moved |= self.pump_shares(now);
            // Last, so that what is given up over a data channel is given up before it is asked for here.
            if !moved && !self.pump_web(now) {
                break;
            }
        }
        let is_at_work = |share: &Share| share.needs_sources() || share.needs_worker();
        self.uplink.busy(now, self.shares.values().any(is_at_work));
    }

    fn pump_uplink(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while let Some(output) = self.uplink.poll() {
            moved = true;
            match output {
                UplinkOutput::Link(command) => self.out.push(PeerOutput::Link(command)),
                UplinkOutput::Greet => {
                    let hello = ToFront::Hello { version: VERSION, id: self.config.id, role: Role::Peer {} };
                    self.uplink.greet(&hello);
                }
                UplinkOutput::Welcome(bootstrap) => {
                    self.offline = None;
                    self.heartbeat = Duration::from_secs(bootstrap.heartbeat_seconds.max(1).into());
                    self.set_worker(bootstrap.worker);
                    if !bootstrap.ice_servers.is_empty() {
                        let servers = bootstrap.ice_servers;
                        self.out.push(PeerOutput::Rtc(RtcCommand::UseIceServers { servers }));
                    }
                    self.meet_worker();
                    let worker = self.worker.as_ref().map(|worker| worker.name.clone());
                    self.out.push(PeerOutput::Event(PeerEvent::Online { worker }));
                    self.announce_all(now);
                    self.dial_wanted(now);
                }
                UplinkOutput::Message(message) => self.front_says(now, message),
                UplinkOutput::Lost { reason } => {
                    self.offline = Some(reason.clone());
                    self.out.push(PeerOutput::Event(PeerEvent::Offline { reason }));
                }
            }
        }
        moved
    }

    fn set_worker(&mut self, worker: Option<WorkerInfo>) {
        self.worker_url = worker.as_ref().and_then(|worker| worker.http.parse().ok());
        self.worker = worker;
    }

    fn front_says(&mut self, now: Instant, message: FromFront) {
        match message {
            FromFront::Assign { worker } => {
                self.set_worker(worker);
                self.meet_worker();
                self.dial_wanted(now);
            }
            FromFront::Peers { info_hash, peers } => {
                if let Some(share) = self.shares.get_mut(&info_hash) {
                    share.meet(peers.into_iter().filter(|peer| *peer != self.config.id));
                    self.dial_wanted(now);
                }
            }
            FromFront::Signal { from, session, body } => {
                if !self.banned.contains(&from) {
                    self.sessions.signal(now, from, session, body);
                }
            }
            // A fault of ours that changed nothing there; the front's log has it too.
            FromFront::Error { message, .. } => {
                self.out.push(PeerOutput::Event(PeerEvent::FrontComplained { message }));
            }
            FromFront::Welcome(_) | FromFront::Pong {} | FromFront::Probe {} | FromFront::Workers(_) => {}
        }
    }

    fn session_output(&mut self, now: Instant, output: SessionsOutput) {
        match output {
            SessionsOutput::Rtc(command) => self.out.push(PeerOutput::Rtc(command)),
            SessionsOutput::Signal { to, session, body } => {
                self.uplink.send(&ToFront::Signal { to, session, body });
            }
            SessionsOutput::Up { conn, peer, frame_blocks } => self.session_up(now, conn, peer, frame_blocks),
            SessionsOutput::Frame { conn, frame } => self.frame(now, conn, frame),
            SessionsOutput::BulkSent { conn, bytes } => self.upload.sent(conn, bytes),
            SessionsOutput::Down { conn, peer, reason, offence } => {
                if offence {
                    self.ban(peer, reason.clone());
                }
                self.session_down(now, conn, peer, reason);
            }
        }
    }

    fn session_up(&mut self, now: Instant, conn: ConnId, peer: PeerId, frame_blocks: u8) {
        let is_worker = self.worker.as_ref().is_some_and(|worker| worker.peer == peer);
        let kind = if is_worker { SourceKind::Worker } else { SourceKind::Peer };
        self.redials.remove(&peer);
        self.upload.session_up(conn, frame_blocks);
        self.conns.insert(conn, Conn { kind, interests: BTreeSet::new(), asks: BTreeMap::new() });
        self.out.push(PeerOutput::Event(PeerEvent::SourceUp { source: SourceName::Node(peer), kind }));
        self.offer_session_to_shares(now, conn);
        self.meet_worker();
        self.met(peer);
    }

    fn session_down(&mut self, now: Instant, conn: ConnId, peer: PeerId, reason: String) {
        let was_up = self.conns.remove(&conn).is_some();
        // Who dialled us meanwhile may yet be reached.
        if !was_up && self.sessions.with(peer).is_none() {
            self.missed(peer, &reason);
        }
        if self.wanted().contains(&peer) {
            let redial = self.redials.entry(peer).or_insert(Redial { at: now, failures: 0 });
            let (first, longest) = REDIAL;
            let pause = (first * (1 << redial.failures.min(6))).min(longest);
            redial.failures += 1;
            redial.at = now + pause / 2 + pause.mul_f64(self.rng.below(1000) as f64 / 2000.0);
        }
        if was_up {
            self.upload.session_down(conn);
            self.take_session_from_shares(now, conn);
            self.out.push(PeerOutput::Event(PeerEvent::SourceDown { source: SourceName::Node(peer), reason }));
        }
    }

    /// Cuts a liar off for good.
    fn blame(&mut self, now: Instant, conn: ConnId, offence: String) {
        if self.web.owns(conn) {
            return self.ban_web(now, conn, offence);
        }
        let Some(peer) = self.sessions.peer(conn) else { return };
        self.ban(peer, offence.clone());
        self.sessions.close(conn);
        self.session_down(now, conn, peer, offence);
    }

    fn ban(&mut self, peer: PeerId, offence: String) {
        if self.banned.len() < MAX_BANNED {
            self.banned.insert(peer);
        }
        self.out.push(PeerOutput::Event(PeerEvent::Blamed { source: SourceName::Node(peer), offence }));
    }

    fn frame(&mut self, now: Instant, conn: ConnId, frame: Frame) {
        match frame {
            Frame::ChunkRequest { request, chunk, first, count } => {
                self.upload.request(conn, request, chunk, first, count);
            }
            Frame::HashRequest { request, chunk } => self.upload.hash_request(conn, request, chunk),
            Frame::Cancel { request } => self.upload.cancel(conn, request),
            Frame::ChunkList { request, info_hash } => self.list(conn, request, info_hash),
            Frame::MetainfoRequest { request, info_hash, offset } => {
                self.serve_metainfo(conn, request, info_hash, offset);
            }
            Frame::ChunkStore { request, .. }
            | Frame::MetainfoStore { request, .. }
            | Frame::DhtAnnounce { request, .. }
            | Frame::DhtLookUp { request, .. } => self.reject(conn, request, Reason::Unsupported),
            Frame::ChunkResponse { request, first, data } => {
                if let Some(download) = self.download_of(request) {
                    download.blocks(now, conn, request, first, data);
                }
            }
            Frame::Hashes { request, leaves } if request as u8 == OWN_LANE => {
                self.probed(now, conn, request, leaves);
            }
            Frame::Hashes { request, leaves } => {
                if let Some(download) = self.download_of(request) {
                    download.leaves(now, conn, request, leaves);
                }
            }
            Frame::Reject { request, reason } => self.rejected(now, conn, request, reason),
            Frame::Have { info_hash, first, bitmap, .. } => self.have(now, conn, info_hash, first, &bitmap),
            Frame::Metainfo { request, total, offset, data } => {
                self.metainfo_part(now, conn, request, total, offset, &data);
            }
            Frame::ChunkStored { request, chunk } => self.chunk_stored(now, conn, request, chunk),
            Frame::MetainfoStored { request } => self.metainfo_stored(conn, request),
            // Answers to what this peer never asks for: it has a DHT of its own where it needs one.
            Frame::DhtAnnounced { .. } | Frame::DhtPeers { .. } => {}
            // The sessions keep these to themselves.
            Frame::Hello(_) | Frame::HealthCheck { .. } | Frame::Health { .. } => {}
        }
    }

    fn rejected(&mut self, now: Instant, conn: ConnId, request: RequestId, reason: Reason) {
        if request as u8 != OWN_LANE {
            if let Some(download) = self.download_of(request) {
                download.rejected(now, conn, request, reason);
            }
            return;
        }
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        let kind = entry.kind;
        match entry.asks.remove(&request) {
            Some(Ask::List(info_hash) | Ask::Cut(info_hash) | Ask::Probe(info_hash))
                if self.is_cutting(info_hash) =>
            {
                self.cut_denied(now, conn, info_hash, request, reason);
            }
            // It may have the chunks all the same: of a share still being brought, or of another that is alike.
            Some(Ask::List(info_hash)) if kind.is_worker() => {
                if let Some(Job::Downloading(download)) = self.shares.get_mut(&info_hash).map(|s| &mut s.job) {
                    download.source_has_all(now, conn);
                }
            }
            Some(Ask::List(_) | Ask::Cut(_) | Ask::Probe(_)) | None => {}
            Some(Ask::Metainfo(info_hash)) => self.metainfo_denied(now, conn, info_hash),
            Some(Ask::Store(info_hash) | Ask::MetainfoStore(info_hash)) => {
                self.store_rejected(now, conn, info_hash, reason);
            }
        }
    }

    fn list(&mut self, conn: ConnId, request: RequestId, info_hash: InfoHash) {
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        if self.shares.contains_key(&info_hash) && entry.interests.len() < MAX_INTERESTS {
            entry.interests.insert(info_hash);
        }
        let share = self.shares.get(&info_hash).filter(|share| !share.is_unsettled());
        match share.and_then(|share| share.layout.as_ref()?.have_frames(request)) {
            Some(frames) => frames.into_iter().for_each(|frame| self.sessions.send(conn, frame)),
            None => self.reject(conn, request, Reason::NotFound),
        }
    }

    fn serve_metainfo(&mut self, conn: ConnId, request: RequestId, info_hash: InfoHash, offset: u32) {
        let ko = self.shares.get(&info_hash).and_then(Share::metainfo).map(|m| m.raw().clone());
        match ko.and_then(|ko| Some((ko.len() as u32, part_of(&ko, offset)?))) {
            Some((total, data)) => {
                self.sessions.send(conn, Frame::Metainfo { request, total, offset, data });
            }
            None => self.reject(conn, request, Reason::NotFound),
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
            UploadOutput::Go { .. } => unreachable!("a peer sends over sessions alone"),
            UploadOutput::ReadBlocks { ticket, chunk, first, count } => {
                let range = chunk.range_len(first, count);
                match self.holdings.get(&chunk).copied().zip(range) {
                    Some(((info_hash, Place { file, offset }), length)) => {
                        let place = Place { file, offset: offset + u64::from(first) * u64::from(BLOCK_LEN) };
                        let read = DiskCommand::Read { ticket, info_hash, place, length };
                        self.out.push(PeerOutput::Disk(read));
                    }
                    None => self.upload.read(ticket, Err(Reason::NotFound)),
                }
            }
            UploadOutput::ReadLeaves { ticket, chunk } => match self.holdings.get(&chunk).copied() {
                Some((info_hash, place)) => {
                    let read = DiskCommand::ReadLeaves { ticket, info_hash, place, length: chunk.length() };
                    self.out.push(PeerOutput::Disk(read));
                }
                None => self.upload.read_leaves(ticket, Err(Reason::NotFound)),
            },
        }
    }

    fn disk(&mut self, now: Instant, event: DiskEvent) {
        match event {
            DiskEvent::Read { ticket, data } => self.upload.read(ticket, data.map_err(|_| Reason::StorageFailed)),
            DiskEvent::Leaves { ticket, leaves } => {
                self.upload.read_leaves(ticket, leaves.map_err(|_| Reason::StorageFailed));
            }
            DiskEvent::Hashed { ticket, blocks } => {
                if let Some(download) = self.download_of(ticket.0 as u32) {
                    download.hashed(now, ticket, blocks);
                }
            }
            DiskEvent::Written { ticket, result } => self.written(now, ticket, result),
            DiskEvent::Prepared { info_hash, found } => self.prepared(now, info_hash, found),
            DiskEvent::Finished { info_hash, result } => self.finished(info_hash, result),
        }
    }

    /// A number for a request of our own.
    fn ask(&mut self, conn: ConnId, ask: Ask) -> RequestId {
        match self.conns.get_mut(&conn) {
            Some(entry) => next_ask(&mut self.next_request, &mut entry.asks, ask),
            None => next_ask(&mut self.next_request, &mut BTreeMap::new(), ask),
        }
    }

    /// Dials the nodes that some share needs and that are not in a pause.
    fn dial_wanted(&mut self, now: Instant) {
        if !self.uplink.is_up() {
            return;
        }
        let wanted = self.wanted();
        self.redials.retain(|peer, _| wanted.contains(peer));
        for peer in wanted {
            let may = self.redials.get(&peer).is_none_or(|redial| now >= redial.at);
            if may && !self.banned.contains(&peer) && self.sessions.with(peer).is_none() {
                self.sessions.dial(now, peer);
                if self.sessions.with(peer).is_none() {
                    self.missed(peer, "there is no room for another connection");
                }
            }
        }
    }

    /// The nodes that some share needs: the worker, members of the swarms being downloaded, and whom the user named.
    fn wanted(&self) -> BTreeSet<PeerId> {
        let mut wanted: BTreeSet<PeerId> = self.shares.values().flat_map(|share| share.named.peers()).collect();
        for share in self.shares.values().filter(|share| share.needs_sources() || share.needs_worker()) {
            wanted.extend(self.worker.as_ref().map(|worker| worker.peer));
            if share.needs_sources() {
                wanted.extend(share.swarm.iter().take(self.config.max_swarm_dials));
            }
        }
        wanted
    }

    fn next_redial(&self) -> Option<Instant> {
        if !self.uplink.is_up() {
            return None;
        }
        let waiting = |peer: &PeerId| !self.banned.contains(peer) && self.sessions.with(*peer).is_none();
        let at = |peer: &PeerId| self.redials.get(peer).map(|redial| redial.at);
        earliest(self.wanted().iter().filter(|peer| waiting(peer)).map(at))
    }
}

/// The next number for a request of our own, noted among the open ones.
fn next_ask(numbers: &mut u32, open: &mut BTreeMap<RequestId, Ask>, ask: Ask) -> RequestId {
    // Zero means news in a HAVE.
    *numbers = (*numbers + 1) & 0x00ff_ffff;
    let request = (*numbers).max(1) << 8 | u32::from(OWN_LANE);
    open.insert(request, ask);
    request
}

impl Machine for Peer {
    type Input = PeerInput;
    type Output = PeerOutput;

    fn handle(&mut self, now: Instant, input: PeerInput) {
        if self.closed {
            return;
        }
        self.sessions.tick(now);
        self.upload.tick(now);
        match input {
            PeerInput::Wake => {}
            PeerInput::Command(command) => self.command(now, command),
            PeerInput::Link(event) => self.uplink.event(now, event),
            PeerInput::Rtc(event) => self.sessions.rtc(now, event),
            PeerInput::Disk(event) => self.disk(now, event),
            PeerInput::Web(event) => self.web_event(now, event),
        }
        if !self.closed {
            self.pump(now);
            if self.next_wake().is_some_and(|at| at <= now) {
                self.wake(now);
                self.pump(now);
            }
        }
    }

    fn poll(&mut self) -> Option<PeerOutput> {
        self.out.pop()
    }

    fn next_wake(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let patience = self.patience();
        let shares = self.shares.values().map(|share| share.next_wake(patience));
        let nodes = [
            self.uplink.next_wake(),
            self.sessions.next_wake(),
            self.upload.next_wake(),
            self.pace.next_wake(),
            self.announce_at,
            self.discover_at,
            self.next_redial(),
            self.next_web_wake(),
        ];
        earliest(nodes.into_iter().chain(shares))
    }
}
