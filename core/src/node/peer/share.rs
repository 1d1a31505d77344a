//! One share of a peer, from the first look for its `.ko` to seeding it, and what the peer does for its shares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::bringing::{Bringing, Say};
use super::cutting::Cutting;
use super::gains::name_of;
use super::layout::{Claims, Layout, Slot};
use super::meeting::Named;
use super::web::{Ladder, Sight, say};
use super::{
    Ask, HttpUse, OWN_LANE, Order, Peer, PeerEvent, PeerOutput, Progress, SourceKind, SourceName, Totals,
    UPLOAD_LANE, WorkerUrl, next_ask,
};
use crate::id::{ChunkId, InfoHash, PeerId};
use crate::machine::{Instant, earliest};
use crate::metainfo::Metainfo;
use crate::node::io::{Claim, DiskCommand, DiskError, Place, Ticket};
use crate::rtc::ConnId;
use crate::transfer::metainfo_fetch::Fetched;
use crate::transfer::{Download, DownloadConfig, DownloadOutput, MetainfoFetch, Offence};
use crate::wire::frame::{Frame, Reason, RequestId};
use crate::wire::signal::ToFront;

/// A source that sends no part of the `.ko` for this long loses its turn.
const METAINFO_STALL: Duration = Duration::from_secs(3);
/// Most members of a swarm that are remembered.
const MAX_SWARM: usize = 64;

/// What is being done for a share.
#[derive(Debug)]
pub(super) enum Job {
    /// Looking for its `.ko`.
    Finding {
        from: Option<Asked>,
        denied: BTreeSet<ConnId>,
    },
    /// Waiting for the disk.
    Preparing,
    /// Finding out in which chunks others hold it.
    Cutting(Box<Cutting>),
    Downloading(Box<Download>),
    /// Everything is written; waiting for the disk to make it durable.
    Finishing,
    /// All of it is here.
    Seeding,
}

/// A source that was asked for the `.ko`.
#[derive(Debug)]
pub(super) struct Asked {
    conn: ConnId,
    fetch: MetainfoFetch,
    /// When it last sent a part, or was asked.
    heard: Instant,
}

#[derive(Debug)]
pub(super) struct Share {
    /// Absent while the `.ko` is not known.
    pub(super) layout: Option<Layout>,
    pub(super) job: Job,
    pub(super) bringing: Option<Bringing>,
    /// Others in its swarm.
    pub(super) swarm: BTreeSet<PeerId>,
    /// Workers that the user named for it.
    pub(super) named_workers: BTreeSet<WorkerUrl>,
    /// Peers that the user named for it.
    pub(super) named: Named,
    /// Workers that its `.ko` names.
    pub(super) web_seeds: Vec<WorkerUrl>,
    pub(super) ladder: Ladder,
    order: Order,
    lane: u8,
    /// Whether its `.ko` came from a worker, which then holds all its chunks.
    is_kept: bool,
    pub(super) totals: Totals,
    /// The names of those whose blocks are here or may come.
    pub(super) givers: BTreeMap<ConnId, SourceName>,
    /// Where its user is.
    pub(super) place: Option<Place>,
    pub(super) sources: usize,
    pub(super) last_gain: Instant,
}

impl Share {
    /// Notes members of its swarm.
    pub(super) fn meet(&mut self, peers: impl Iterator<Item = PeerId>) {
        for peer in peers {
            if self.swarm.len() >= MAX_SWARM && !self.swarm.contains(&peer) {
                self.swarm.pop_first();
            }
            self.swarm.insert(peer);
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.job, Job::Finishing | Job::Seeding)
    }

    pub(super) fn needs_sources(&self) -> bool {
        matches!(self.job, Job::Finding { .. } | Job::Cutting(_) | Job::Downloading(_))
    }

    /// Whether it is not known yet in which chunks it will be downloaded.
    pub(super) fn is_unsettled(&self) -> bool {
        matches!(self.job, Job::Preparing | Job::Cutting(_))
    }

    pub(super) fn needs_worker(&self) -> bool {
        self.bringing.is_some()
    }

    /// Whether it wants data and has nobody to ask.
    pub(super) fn is_hungry(&self) -> bool {
        match &self.job {
            Job::Finding { from, .. } => from.is_none(),
            Job::Cutting(_) | Job::Downloading(_) => self.sources == 0,
            Job::Preparing | Job::Finishing | Job::Seeding => false,
        }
    }

    /// Bytes that came from others.
    pub(super) fn fetched(&self) -> u64 {
        self.totals.from.values().sum()
    }

    /// How it looks to whoever decides whether to ask over HTTP.
    pub(super) fn sight(&self, has_worker: bool) -> Sight {
        let fetched = self.fetched();
        let missing =
            self.layout.as_ref().map(|_| self.totals.bytes_total.saturating_sub(self.totals.from_disk + fetched));
        Sight { has_worker, fetched, missing }
    }

    /// Whoever was asked for its `.ko` is sending it.
    pub(super) fn metainfo_coming(&mut self, now: Instant, conn: ConnId) {
        if let Job::Finding { from: Some(asked), .. } = &mut self.job
            && asked.conn == conn
        {
            asked.heard = now;
            self.last_gain = now;
        }
    }

    pub(super) fn progress(&self) -> Progress {
        let done = self.totals.from_disk + self.fetched();
        Progress { totals: self.totals.clone(), bytes_done: done, sources: self.sources }
    }

    pub(super) fn next_wake(&self, patience: Duration) -> Option<Instant> {
        let download = match &self.job {
            Job::Downloading(download) => download.next_wake(),
            Job::Cutting(cutting) => Some(cutting.retry_at()),
            _ => None,
        };
        let fetching = self.needs_sources().then(|| self.last_gain + patience);
        let bringing = self.bringing.as_ref().map(|bringing| bringing.last_progress + patience);
        let retry = self.bringing.as_ref().and_then(|bringing| bringing.retry_at);
        earliest([download, self.metainfo_stall(), fetching, bringing, retry])
    }

    fn metainfo_stall(&self) -> Option<Instant> {
        match &self.job {
            Job::Finding { from: Some(asked), .. } => Some(asked.heard + METAINFO_STALL),
            _ => None,
        }
    }

    pub(super) fn metainfo(&self) -> Option<&Arc<Metainfo>> {
        self.layout.as_ref().map(|layout| &layout.metainfo)
    }
}

/// Commands.
impl Peer {
    pub(super) fn download(
        &mut self,
        now: Instant,
        info_hash: InfoHash,
        metainfo: Option<Arc<Metainfo>>,
        order: Order,
    ) {
        let Some(lane) = self.new_share(now, info_hash, order) else { return };
        self.lanes.insert(lane, info_hash);
        match metainfo {
            Some(metainfo) => self.prepare(info_hash, metainfo),
            None => self.ask_for_metainfo(now, info_hash),
        }
        self.announce_one(now, info_hash);
        self.dial_wanted(now);
    }

    pub(super) fn share(&mut self, now: Instant, metainfo: Arc<Metainfo>, upload: bool) {
        let info_hash = metainfo.info_hash();
        if self.new_share(now, info_hash, Order::RarestFirst).is_none() {
            return;
        }
        let share = self.shares.get_mut(&info_hash).expect("it was just made");
        share.bringing = upload.then(|| Bringing::new(now, &metainfo));
        let layout = share.layout.insert(Layout::new(metainfo));
        layout.fill();
        self.holdings.extend(layout.held().map(|(chunk, place)| (chunk, (info_hash, place))));
        share.job = Job::Seeding;
        self.announce_one(now, info_hash);
        self.meet_worker();
        self.dial_wanted(now);
    }

    /// Makes room for a share and gives it a lane; if it can't be, the user is told.
    fn new_share(&mut self, now: Instant, info_hash: InfoHash, order: Order) -> Option<u8> {
        let lane = self.free_lane();
        let reason = match lane {
            _ if self.shares.contains_key(&info_hash) => "it is being shared or downloaded already",
            None => "too many downloads at once",
            Some(lane) => {
                let share = Share {
                    layout: None,
                    job: Job::Finding { from: None, denied: BTreeSet::new() },
                    bringing: None,
                    swarm: BTreeSet::new(),
                    named_workers: BTreeSet::new(),
                    named: Named::default(),
                    web_seeds: Vec::new(),
                    ladder: Ladder::new(now, self.config.fronts == 0 || self.config.http == HttpUse::Only),
                    order,
                    lane,
                    is_kept: false,
                    totals: Totals::default(),
                    givers: BTreeMap::new(),
                    place: None,
                    sources: 0,
                    last_gain: now,
                };
                self.shares.insert(info_hash, share);
                self.last_lane = lane;
                return Some(lane);
            }
        };
        self.out.push(PeerOutput::Event(PeerEvent::Failed { info_hash, reason: reason.into() }));
        None
    }

    /// The lane that was free for longest: answers to a download that was stopped may still be on their way,
    /// and must not be taken for answers to the next.
    fn free_lane(&self) -> Option<u8> {
        let after = self.last_lane + 1..UPLOAD_LANE;
        after.chain(OWN_LANE + 1..=self.last_lane).find(|lane| !self.lanes.contains_key(lane))
    }

    pub(super) fn stop(&mut self, info_hash: InfoHash) {
        let Some(share) = self.shares.remove(&info_hash) else { return };
        self.lanes.retain(|_, name| *name != info_hash);
        self.holdings.retain(|_, (name, _)| *name != info_hash);
        for conn in self.conns.values_mut() {
            conn.interests.remove(&info_hash);
        }
        // Other shares may have had chunks in common with it.
        for (other, share) in &self.shares {
            for (chunk, place) in share.layout.iter().flat_map(Layout::held) {
                self.holdings.entry(chunk).or_insert((*other, place));
            }
        }
        if let Job::Downloading(download) = share.job {
            for (conn, frame) in download.abandon() {
                say(&mut self.sessions, &mut self.web, &mut self.out, conn, frame);
            }
        }
        for peer in share.named.unmet() {
            let result = Err("the share was stopped before".into());
            self.out.push(PeerOutput::Event(PeerEvent::Met { info_hash, peer, result }));
        }
        self.uplink.send(&ToFront::Leave { info_hash });
    }

    fn fail(&mut self, info_hash: InfoHash, reason: String) {
        self.stop(info_hash);
        self.out.push(PeerOutput::Event(PeerEvent::Failed { info_hash, reason }));
    }
}

/// Finding the `.ko`.
impl Peer {
    /// Asks the next session for the `.ko`, unless one is being asked.
    fn ask_for_metainfo(&mut self, now: Instant, info_hash: InfoHash) {
        let Some(share) = self.shares.get(&info_hash) else { return };
        let Job::Finding { from: None, denied } = &share.job else { return };
        let able = |conn: &&ConnId| !denied.contains(conn);
        let Some(conn) = self.conns.keys().find(able).copied() else { return };
        let request = self.ask(conn, Ask::Metainfo(info_hash));
        let (fetch, frame) = MetainfoFetch::begin(info_hash, request);
        if let Some(Share { job: Job::Finding { from, .. }, .. }) = self.shares.get_mut(&info_hash) {
            *from = Some(Asked { conn, fetch, heard: now });
        }
        say(&mut self.sessions, &mut self.web, &mut self.out, conn, frame);
    }

    /// Who did not have a `.ko` may have it by now.
    pub(super) fn ask_again_for_metainfo(&mut self, now: Instant) {
        let names: Vec<InfoHash> = self.shares.keys().copied().collect();
        for info_hash in names {
            if let Some(Share { job: Job::Finding { denied, .. }, .. }) = self.shares.get_mut(&info_hash) {
                denied.clear();
                self.ask_for_metainfo(now, info_hash);
            }
        }
    }

    pub(super) fn metainfo_denied(&mut self, now: Instant, conn: ConnId, info_hash: InfoHash) {
        if let Some(Share { job: Job::Finding { from, denied }, .. }) = self.shares.get_mut(&info_hash)
            && from.as_ref().is_some_and(|asked| asked.conn == conn)
        {
            *from = None;
            denied.insert(conn);
            self.ask_for_metainfo(now, info_hash);
        }
    }

    pub(super) fn metainfo_part(
        &mut self,
        now: Instant,
        conn: ConnId,
        request: RequestId,
        total: u32,
        offset: u32,
        data: &Bytes,
    ) {
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        let info_hash = match entry.asks.remove(&request) {
            Some(Ask::Metainfo(info_hash)) => info_hash,
            Some(Ask::Cut(info_hash)) => {
                return self.cut_part(now, conn, info_hash, (request, total, offset, data));
            }
            _ => return self.blame(now, conn, Offence::Unsolicited.to_string()),
        };
        let Some(share) = self.shares.get_mut(&info_hash) else { return };
        let Job::Finding { from: Some(asked), .. } = &mut share.job else { return };
        if asked.conn != conn || !asked.fetch.owns(request) {
            return;
        }
        asked.heard = now;
        share.last_gain = now;
        let (asks, numbers) = (&mut entry.asks, &mut self.next_request);
        let next = || next_ask(numbers, asks, Ask::Metainfo(info_hash));
        match asked.fetch.part(request, total, offset, data, next) {
            Ok(Fetched::More(frames)) => {
                frames
                    .into_iter()
                    .for_each(|frame| say(&mut self.sessions, &mut self.web, &mut self.out, conn, frame));
            }
            Ok(Fetched::Whole(metainfo)) => {
                share.is_kept = entry.kind.is_worker();
                self.prepare(info_hash, Arc::new(metainfo));
            }
            Err(offence) => self.blame(now, conn, offence.to_string()),
        }
    }

    fn prepare(&mut self, info_hash: InfoHash, metainfo: Arc<Metainfo>) {
        let share = self.shares.get_mut(&info_hash).expect("the caller knows the share");
        share.job = Job::Preparing;
        share.totals.bytes_total = metainfo.total_length();
        let web_seeds = metainfo.url_list().iter();
        share.web_seeds = web_seeds.filter_map(|url| WorkerUrl::of_web_seed(url, info_hash)).collect();
        share.layout = Some(Layout::new(Arc::clone(&metainfo)));
        self.out.push(PeerOutput::Event(PeerEvent::Metainfo { metainfo: Arc::clone(&metainfo) }));
        self.out.push(PeerOutput::Disk(DiskCommand::Prepare { metainfo }));
    }
}

/// Downloading.
impl Peer {
    /// The download whose lane a request number or ticket carries.
    pub(super) fn download_of(&mut self, tagged: u32) -> Option<&mut Download> {
        let info_hash = self.lanes.get(&(tagged as u8))?;
        match &mut self.shares.get_mut(info_hash)?.job {
            Job::Downloading(download) => Some(download),
            _ => None,
        }
    }

    pub(super) fn prepared(&mut self, now: Instant, info_hash: InfoHash, found: Result<Vec<Claim>, DiskError>) {
        let Some(share) = self.shares.get_mut(&info_hash) else { return };
        let (Job::Preparing, Some(_)) = (&share.job, &share.layout) else { return };
        let claims = match found {
            Ok(claims) => Claims::new(claims),
            Err(error) => return self.fail(info_hash, error.0),
        };
        share.last_gain = now;
        let is_kept = share.is_kept;
        let own = self.begin_download(info_hash, &claims);
        if is_kept || own.is_idle() {
            self.start_download(now, info_hash, own);
        } else {
            self.begin_cutting(now, info_hash, own, claims);
        }
        self.discover_soon(now);
    }

    /// A download of all chunks of a share, as it is cut now, that are not on disk.
    pub(super) fn begin_download(&mut self, info_hash: InfoHash, claims: &Claims) -> Box<Download> {
        let share = &self.shares[&info_hash];
        let mut download = Download::new(DownloadConfig {
            seed: self.rng.next_u64(),
            order: share.order,
            lane: share.lane,
            max_buffered: self.config.max_buffered,
            ..DownloadConfig::default()
        });
        for (number, slot) in share.layout.iter().flat_map(|layout| &layout.slots) {
            download.want(*number, slot.chunk, claims.of(slot));
        }
        Box::new(download)
    }

    /// Lets a download begin with every session that is up.
    pub(super) fn start_download(&mut self, now: Instant, info_hash: InfoHash, mut download: Box<Download>) {
        let share = self.shares.get_mut(&info_hash).expect("the caller knows the share");
        if let Some(layout) = &share.layout {
            download.set_paced(self.pace.is_limited());
            download.seek(now, layout.window(share.place, self.config.window));
        }
        download.wake(now);
        share.last_gain = now;
        share.ladder.rest(now, share.fetched());
        share.job = Job::Downloading(download);
        self.drain_download(now, info_hash);
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            self.offer_session(now, conn, info_hash);
        }
        self.dial_wanted(now);
    }

    pub(super) fn written(&mut self, now: Instant, ticket: Ticket, result: Result<(), DiskError>) {
        let Some(info_hash) = self.lanes.get(&(ticket.0 as u8)).copied() else { return };
        match result {
            Ok(()) => {
                if let Some(download) = self.download_of(ticket.0 as u32) {
                    download.written(now, ticket, Ok(()));
                }
            }
            Err(error) => self.fail(info_hash, error.0),
        }
    }

    pub(super) fn finished(&mut self, info_hash: InfoHash, result: Result<(), DiskError>) {
        let Some(share) = self.shares.get_mut(&info_hash) else { return };
        if !matches!(share.job, Job::Finishing) {
            return;
        }
        match result {
            Ok(()) => {
                share.job = Job::Seeding;
                let totals = share.totals.clone();
                self.lanes.retain(|_, name| *name != info_hash);
                self.uplink.send(&ToFront::Announce { info_hash, complete: true });
                self.out.push(PeerOutput::Event(PeerEvent::Completed { info_hash, totals }));
            }
            Err(error) => self.fail(info_hash, error.0),
        }
    }

    pub(super) fn have(&mut self, now: Instant, conn: ConnId, info_hash: InfoHash, first: u32, bits: &Bytes) {
        let Some(Share { layout: Some(layout), .. }) = self.shares.get(&info_hash) else { return };
        let there = layout.listed(first, bits);
        self.has(now, conn, info_hash, there);
    }

    /// A source has these pieces; `None`: all of them.
    pub(super) fn has(&mut self, now: Instant, conn: ConnId, info_hash: InfoHash, there: Option<Vec<u32>>) {
        let Some(Share { job, .. }) = self.shares.get_mut(&info_hash) else { return };
        if let Job::Cutting(cutting) = job
            && cutting.seen(there.as_deref())
        {
            self.cut_as_own(now, info_hash);
        }
        if let Some(Share { job: Job::Downloading(download), .. }) = self.shares.get_mut(&info_hash) {
            match there {
                None => download.source_has_all(now, conn),
                Some(there) => download.source_has(now, conn, there),
            }
        }
    }

    /// Lets a download's outputs do what they are for; true if there were any.
    fn drain_download(&mut self, now: Instant, info_hash: InfoHash) -> bool {
        let mut moved = false;
        while let Some(share) = self.shares.get_mut(&info_hash)
            && let Job::Downloading(download) = &mut share.job
        {
            let layout = share.layout.as_ref().expect("what is downloaded is known");
            let Some(output) = download.poll() else {
                if download.is_idle() {
                    share.job = Job::Finishing;
                    share.givers.clear();
                    self.out.push(PeerOutput::Disk(DiskCommand::Finish { info_hash }));
                    moved = true;
                }
                break;
            };
            moved = true;
            match output {
                DownloadOutput::Send { conn, frame } => {
                    say(&mut self.sessions, &mut self.web, &mut self.out, conn, frame)
                }
                DownloadOutput::Hash { ticket, data } => {
                    self.out.push(PeerOutput::Disk(DiskCommand::Hash { ticket, data }));
                }
                DownloadOutput::Write { ticket, slot, blocks } => {
                    let places = Arc::clone(&layout.slots[&slot].places);
                    self.out.push(PeerOutput::Disk(DiskCommand::Write { ticket, info_hash, places, blocks }));
                }
                DownloadOutput::Gained { slot, first, bytes, from } => {
                    self.gained(now, info_hash, slot, (first, bytes), from);
                }
                DownloadOutput::ChunkDone { slot } => self.chunk_done(info_hash, slot),
                DownloadOutput::Blame { conn, offence } => self.blame(now, conn, offence.to_string()),
            }
        }
        moved
    }

    /// A chunk is verified and written: others may have it from us.
    fn chunk_done(&mut self, info_hash: InfoHash, slot: u32) {
        let Some(share) = self.shares.get_mut(&info_hash) else { return };
        let Some(layout) = &mut share.layout else { return };
        let Slot { chunk, places, .. } = &layout.slots[&slot];
        self.holdings.insert(*chunk, (info_hash, places[0]));
        for news in layout.gain(slot) {
            for (conn, entry) in &self.conns {
                if entry.interests.contains(&info_hash) {
                    self.sessions.send(*conn, news.clone());
                }
            }
        }
    }
}

/// Sessions, for shares.
impl Peer {
    pub(super) fn offer_session_to_shares(&mut self, now: Instant, conn: ConnId) {
        let names: Vec<InfoHash> = self.shares.keys().copied().collect();
        for info_hash in names {
            self.offer_session(now, conn, info_hash);
        }
    }

    fn offer_session(&mut self, now: Instant, conn: ConnId, info_hash: InfoHash) {
        let Some(entry) = self.conns.get(&conn) else { return };
        let Some(share) = self.shares.get_mut(&info_hash) else { return };
        let kind = entry.kind;
        match &mut share.job {
            Job::Finding { .. } => {
                share.sources += 1;
                self.ask_for_metainfo(now, info_hash);
            }
            Job::Cutting(_) => {
                share.sources += 1;
                self.ask_for_list(conn, info_hash);
            }
            Job::Downloading(download) => {
                let name = name_of(&self.sessions, &self.web, conn).expect("a session has a name");
                share.givers.insert(conn, name);
                download.source_up(now, conn, kind);
                share.sources = download.sources().count();
                self.ask_for_list(conn, info_hash);
            }
            Job::Preparing | Job::Finishing | Job::Seeding => {}
        }
    }

    pub(super) fn ask_for_list(&mut self, conn: ConnId, info_hash: InfoHash) {
        let request = self.ask(conn, Ask::List(info_hash));
        say(&mut self.sessions, &mut self.web, &mut self.out, conn, Frame::ChunkList { request, info_hash });
    }

    /// What is to be brought to a worker goes to ours as soon as there is a session with it. The one before may be
    /// dead: the front finds out long before its session falls silent.
    pub(super) fn meet_worker(&mut self) {
        let Some(conn) = self.worker.as_ref().and_then(|worker| self.sessions.with(worker.peer)) else { return };
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        entry.kind = SourceKind::Worker;
        let brought = self.shares.values_mut().filter_map(|share| share.bringing.as_mut());
        brought.filter(|bringing| bringing.conn() != Some(conn)).for_each(|bringing| bringing.begin(conn));
    }

    pub(super) fn take_session_from_shares(&mut self, now: Instant, conn: ConnId) {
        let mut asking = Vec::new();
        for (info_hash, share) in &mut self.shares {
            if let Some(bringing) = share.bringing.as_mut().filter(|bringing| bringing.conn() == Some(conn)) {
                bringing.end();
            }
            match &mut share.job {
                Job::Finding { from, denied } => {
                    share.sources = share.sources.saturating_sub(1);
                    denied.remove(&conn);
                    if from.as_ref().is_some_and(|asked| asked.conn == conn) {
                        *from = None;
                        asking.push(*info_hash);
                    }
                }
                Job::Cutting(cutting) => {
                    share.sources = share.sources.saturating_sub(1);
                    cutting.session_down(conn);
                }
                Job::Downloading(download) => {
                    download.source_down(now, conn);
                    if !download.holds_of(conn) {
                        share.givers.remove(&conn);
                    }
                    share.sources = download.sources().count();
                }
                Job::Preparing | Job::Finishing | Job::Seeding => {}
            }
        }
        self.discover_soon(now);
        for info_hash in asking {
            self.ask_for_metainfo(now, info_hash);
        }
        self.meet_worker();
    }

    pub(super) fn wake_shares(&mut self, now: Instant) {
        let patience = self.patience();
        let (mut failed, mut stalled, mut recutting) = (Vec::new(), Vec::new(), Vec::new());
        for (info_hash, share) in &mut self.shares {
            if share.metainfo_stall().is_some_and(|at| now >= at)
                && let Job::Finding { from: Some(asked), denied } = &mut share.job
            {
                let is_able = |conn: &ConnId| *conn != asked.conn && !denied.contains(conn);
                // Over HTTP, asking again is beginning anew: only for another's sake.
                if self.web.owns(asked.conn) && !self.conns.keys().any(is_able) {
                    asked.heard = now;
                } else {
                    stalled.push((asked.conn, *info_hash));
                }
            }
            match &mut share.job {
                Job::Downloading(download) => download.wake(now),
                Job::Cutting(cutting) if now >= cutting.retry_at() => recutting.push(*info_hash),
                _ => {}
            }
            if share.needs_sources() && now >= share.last_gain + patience {
                failed.push((*info_hash, share.sources));
            }
            if let Some(bringing) = &share.bringing
                && now >= bringing.last_progress + patience
            {
                failed.push((*info_hash, usize::from(bringing.conn().is_some())));
            }
        }
        for (conn, info_hash) in stalled {
            self.metainfo_denied(now, conn, info_hash);
        }
        for info_hash in recutting {
            self.retry_cutting(now, info_hash);
        }
        for (info_hash, sources) in failed {
            let Some(share) = self.shares.get(&info_hash) else { continue };
            let alone = self.config.fronts == 0;
            let reason = match &self.offline {
                _ if alone && sources == 0 => "no worker that was named can be reached".into(),
                Some(reason) if sources == 0 => format!("no front can be reached: {reason}"),
                _ if !self.uplink.is_up() && sources == 0 => "no front can be reached".into(),
                _ if share.bringing.is_some() && sources == 0 => "no worker can be reached".into(),
                _ if share.bringing.is_some() => "the worker stopped acknowledging".into(),
                _ if sources == 0 => "nobody who has this share can be reached".into(),
                _ if share.layout.is_none() => "nobody online knows this share".into(),
                _ if share.totals.from.is_empty() => "nobody online has what is missing of this share".into(),
                _ => "the sources stopped giving data".into(),
            };
            let trouble = self.web.trouble().filter(|_| share.needs_sources());
            let reason = trouble.map_or(reason.clone(), |trouble| format!("{reason} ({trouble})"));
            self.fail(info_hash, reason);
        }
    }

    /// Lets every share's machines do what they want; true if anything moved.
    pub(super) fn pump_shares(&mut self, now: Instant) -> bool {
        let names: Vec<InfoHash> = self.shares.keys().copied().collect();
        let mut moved = false;
        for info_hash in names {
            moved |= self.drain_download(now, info_hash);
            moved |= self.bring(now, info_hash);
        }
        moved |= self.grant(now);
        moved
    }
}

/// Bringing a share to the worker.
impl Peer {
    fn bring(&mut self, now: Instant, info_hash: InfoHash) -> bool {
        let mut moved = false;
        while let Some(bringing) = self.shares.get_mut(&info_hash).and_then(|share| share.bringing.as_mut())
            && let Some(conn) = bringing.conn()
            && let Some(say) = bringing.next(now)
        {
            moved = true;
            match say {
                Say::Chunks(chunks) => {
                    let request = self.ask(conn, Ask::Store(info_hash));
                    let share = self.shares.get_mut(&info_hash).and_then(|share| share.bringing.as_mut());
                    share.expect("it was there a line ago").offered(request, &chunks);
                    self.sessions.send(conn, Frame::ChunkStore { request, chunks });
                }
                Say::Metainfo => {
                    let request = self.ask(conn, Ask::MetainfoStore(info_hash));
                    self.sessions.send(conn, Frame::MetainfoStore { request, info_hash });
                }
            }
        }
        moved
    }

    pub(super) fn chunk_stored(&mut self, now: Instant, conn: ConnId, request: RequestId, chunk: ChunkId) {
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        let Some(Ask::Store(info_hash)) = entry.asks.get(&request).copied() else { return };
        let bringing = self.shares.get_mut(&info_hash).and_then(|share| share.bringing.as_mut());
        let Some(bringing) = bringing else { return };
        if bringing.stored(now, request, chunk) {
            entry.asks.remove(&request);
        }
        let bytes = bringing.stored_bytes;
        self.out.push(PeerOutput::Event(PeerEvent::Stored { info_hash, bytes }));
    }

    pub(super) fn metainfo_stored(&mut self, conn: ConnId, request: RequestId) {
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        let Some(Ask::MetainfoStore(info_hash)) = entry.asks.remove(&request) else { return };
        if let Some(share) = self.shares.get_mut(&info_hash)
            && share.bringing.as_ref().is_some_and(|bringing| bringing.conn() == Some(conn))
        {
            share.bringing = None;
            let peer = self.sessions.peer(conn);
            let worker = self.worker.as_ref().filter(|worker| Some(worker.peer) == peer);
            let http = worker.map(|worker| worker.http.clone());
            self.out.push(PeerOutput::Event(PeerEvent::Safe { info_hash, http }));
        }
    }

    pub(super) fn store_rejected(&mut self, now: Instant, conn: ConnId, info_hash: InfoHash, reason: Reason) {
        let bringing = self.shares.get_mut(&info_hash).and_then(|share| share.bringing.as_mut());
        if let Some(bringing) = bringing.filter(|bringing| bringing.conn() == Some(conn))
            && let Err(reason) = bringing.rejected(now, reason)
        {
            self.fail(info_hash, reason);
        }
    }
}
