//! Workers as sources over HTTP: who is asked, when, and who no more. To the rest of the peer each is one more session
//! that has what its worker has; [`server`] plays that session. It never writes, hashes or judges a byte.

mod ask;
mod ladder;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use self::ask::{WebAsk, WebCommand, WebEvent, WebId, WorkerUrl};
pub(super) use self::ladder::{Ladder, Sight};
use self::server::{Said, Server};
use super::share::{Job, Share};
use super::{Conn, MAX_BANNED, Peer, PeerEvent, PeerOutput, REDIAL, SourceKind, SourceName};
use crate::id::InfoHash;
use crate::machine::{Instant, Outbox, earliest};
use crate::rtc::ConnId;
use crate::session::Sessions;
use crate::wire::frame::{Frame, RequestId};

/// Most servers asked at once.
const MAX_UP: usize = 8;
/// Most workers named for one share.
pub(super) const MAX_NAMED: usize = 64;
/// Names of HTTP sources among those of sessions, which count from 0.
const FIRST_CONN: u64 = 1 << 63;

/// Whether workers are asked over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpUse {
    /// Where data channels do not come about or are slow, and where the user named a worker's URL.
    #[default]
    Helping,
    /// Only over HTTP: no data channel is opened, nor accepted.
    Only,
    /// Not at all.
    Never,
}

/// A server that is being asked.
#[derive(Debug)]
struct Up {
    url: WorkerUrl,
    server: Server,
}

/// A server that is left alone.
#[derive(Debug)]
struct Rest {
    until: Instant,
    failures: u32,
    why: String,
}

/// All HTTP sources of a peer.
#[derive(Debug, Default)]
pub(super) struct Web {
    up: BTreeMap<ConnId, Up>,
    /// Of the workers that some share wants, those that failed last.
    rests: BTreeMap<WorkerUrl, Rest>,
    banned: BTreeSet<WorkerUrl>,
    next_conn: u64,
    next_id: u64,
}

impl Web {
    pub(super) fn owns(&self, conn: ConnId) -> bool {
        self.up.contains_key(&conn)
    }

    /// The server that is asked under this name.
    pub(super) fn url(&self, conn: ConnId) -> Option<&WorkerUrl> {
        self.up.get(&conn).map(|up| &up.url)
    }

    /// How many servers are being asked.
    pub(super) fn len(&self) -> usize {
        self.up.len()
    }

    /// What keeps a worker from being asked, if anything does.
    pub(super) fn trouble(&self) -> Option<String> {
        let (url, rest) = self.rests.iter().max_by_key(|(_, rest)| rest.failures)?;
        Some(format!("{url}: {}", rest.why))
    }

    fn may_be_asked(&self, now: Instant, url: &WorkerUrl) -> bool {
        !self.banned.contains(url)
            && self.rests.get(url).is_none_or(|rest| now >= rest.until)
            && self.up.values().all(|up| up.url != *url)
    }
}

/// Hands a frame to whatever carries `conn`.
pub(super) fn say(
    sessions: &mut Sessions,
    web: &mut Web,
    out: &mut Outbox<PeerOutput>,
    conn: ConnId,
    frame: Frame,
) {
    match web.up.get_mut(&conn) {
        Some(up) => {
            if let Some(id) = up.server.frame(frame) {
                out.push(PeerOutput::Web(WebCommand::Cancel { id }));
            }
        }
        None => sessions.send(conn, frame),
    }
}

impl Peer {
    /// Notes workers that the user names for a share, to be asked at once.
    pub(super) fn add_workers(&mut self, info_hash: InfoHash, workers: Vec<WorkerUrl>) {
        if let Some(share) = self.shares.get_mut(&info_hash) {
            for url in workers {
                if share.named_workers.len() < MAX_NAMED {
                    share.named_workers.insert(url);
                }
            }
        }
    }

    /// The driver said something about HTTP.
    pub(super) fn web_event(&mut self, now: Instant, event: WebEvent) {
        if let Some(up) = self.web.up.values_mut().find(|up| up.server.owns(event.id())) {
            up.server.event(now, event);
        }
    }

    pub(super) fn wake_web(&mut self, now: Instant) {
        for up in self.web.up.values_mut() {
            up.server.wake(now);
        }
        let worker = self.worker.as_ref().and_then(|worker| self.sessions.with(worker.peer));
        let has_worker = worker.is_some_and(|conn| self.sessions.is_up(conn));
        for share in self.shares.values_mut().filter(|share| share.needs_sources()) {
            let sight = share.sight(has_worker);
            share.ladder.look(now, sight);
        }
    }

    pub(super) fn next_web_wake(&self) -> Option<Instant> {
        let servers = self.web.up.values().map(|up| up.server.next_wake());
        let is_up = |url: &WorkerUrl| self.web.up.values().any(|up| up.url == *url);
        let resting = self.web.rests.iter().filter(|(url, _)| !self.web.banned.contains(*url) && !is_up(url));
        let rests = resting.map(|(_, rest)| rest.until).filter(|_| self.web.len() < MAX_UP);
        let looking = self.shares.values().filter(|share| share.needs_sources());
        let looks = looking.map(|share| share.ladder.next_look()).filter(|_| self.config.http == HttpUse::Helping);
        earliest(servers.chain(rests.map(Some)).chain(looks))
    }

    /// Begins with workers that are wanted, leaves those that are not, and hears what all servers say; if that is
    /// nothing, requests what waits. True if anything moved.
    pub(super) fn pump_web(&mut self, now: Instant) -> bool {
        let mut moved = self.meet_workers(now);
        let conns: Vec<ConnId> = self.web.up.keys().copied().collect();
        for conn in conns {
            while let Some(said) = self.web.up.get_mut(&conn).and_then(|up| up.server.poll()) {
                moved = true;
                self.server_said(now, conn, said);
            }
        }
        if moved {
            return true;
        }
        for up in self.web.up.values_mut() {
            while let Some((id, ask)) = up.server.next_request(now, &mut self.web.next_id) {
                moved = true;
                let worker = up.url.clone();
                self.out.push(PeerOutput::Web(WebCommand::Request { id, worker, ask }));
            }
        }
        moved
    }

    /// Gives every request up.
    pub(super) fn shut_web(&mut self) {
        for up in std::mem::take(&mut self.web.up).into_values() {
            self.give_up_requests(up.server);
        }
    }

    fn give_up_requests(&mut self, server: Server) {
        for id in server.close() {
            self.out.push(PeerOutput::Web(WebCommand::Cancel { id }));
        }
    }

    /// A server lied: it is asked for nothing more.
    pub(super) fn ban_web(&mut self, now: Instant, conn: ConnId, offence: String) {
        let Some(up) = self.web.up.get(&conn) else { return };
        let url = up.url.clone();
        let source = SourceName::Web(url.clone());
        self.out.push(PeerOutput::Event(PeerEvent::Blamed { source, offence: offence.clone() }));
        if self.web.banned.len() < MAX_BANNED {
            self.web.banned.insert(url);
        }
        self.web_down(now, conn, offence);
    }

    fn meet_workers(&mut self, now: Instant) -> bool {
        let wanted = self.wanted_workers();
        self.web.rests.retain(|url, _| wanted.contains(url));
        let unwanted = self.web.up.iter().filter(|(_, up)| !wanted.contains(&up.url));
        let unwanted: Vec<ConnId> = unwanted.map(|(conn, _)| *conn).collect();
        let mut moved = !unwanted.is_empty();
        for conn in unwanted {
            self.web_down(now, conn, "it is not needed any more".into());
        }
        let waits = wanted.iter().any(|url| self.web.may_be_asked(now, url));
        if waits && self.web.len() >= MAX_UP {
            // Whoever has nothing makes room for those who were not asked yet.
            let idle = self.web.up.iter().find(|(_, up)| up.server.has_nothing());
            if let Some((conn, url)) = idle.map(|(conn, up)| (*conn, up.url.clone())) {
                self.web_rests(now, url, "it does not have the share".into());
                self.web_down(now, conn, "it does not have the share".into());
            }
        }
        for url in wanted {
            if self.web.len() < MAX_UP && self.web.may_be_asked(now, &url) {
                moved = true;
                self.web_up(now, url);
            }
        }
        moved
    }

    /// The workers that some download is to ask over HTTP.
    fn wanted_workers(&self) -> BTreeSet<WorkerUrl> {
        let mut wanted = BTreeSet::new();
        if self.config.http == HttpUse::Never {
            return wanted;
        }
        for share in self.shares.values().filter(|share| share.needs_sources() || share.is_unsettled()) {
            wanted.extend(share.named_workers.iter().cloned());
            if share.ladder.is_on_http() {
                wanted.extend(self.worker_url.iter().cloned());
                wanted.extend(share.web_seeds.iter().cloned());
            }
        }
        wanted
    }

    fn web_up(&mut self, now: Instant, url: WorkerUrl) {
        let conn = ConnId(FIRST_CONN + self.web.next_conn);
        self.web.next_conn += 1;
        self.web.up.insert(conn, Up { url, server: Server::default() });
        let (interests, asks) = Default::default();
        self.conns.insert(conn, Conn { kind: SourceKind::Http, interests, asks });
        self.offer_session_to_shares(now, conn);
    }

    /// Asks a server no more, for now.
    fn web_down(&mut self, now: Instant, conn: ConnId, reason: String) {
        let Some(up) = self.web.up.remove(&conn) else { return };
        let was_proven = up.server.is_proven();
        self.give_up_requests(up.server);
        self.conns.remove(&conn);
        self.take_session_from_shares(now, conn);
        if was_proven {
            let source = SourceName::Web(up.url);
            self.out.push(PeerOutput::Event(PeerEvent::SourceDown { source, reason }));
        }
    }

    fn server_said(&mut self, now: Instant, conn: ConnId, said: Said) {
        let Some(up) = self.web.up.get(&conn) else { return };
        match said {
            Said::Cancel(id) => self.out.push(PeerOutput::Web(WebCommand::Cancel { id })),
            Said::Frame(frame) => self.frame(now, conn, frame),
            Said::Kept(request, info_hash) => self.web_keeps(now, conn, request, info_hash),
            Said::Coming(info_hash) => self.metainfo_coming(now, conn, info_hash),
            Said::Busy(wait) => self.leave_alone(now, conn, wait),
            Said::Proven => {
                let (source, kind) = (SourceName::Web(up.url.clone()), SourceKind::Http);
                self.web.rests.remove(&up.url);
                self.out.push(PeerOutput::Event(PeerEvent::SourceUp { source, kind }));
            }
            Said::Down(why) => {
                let url = up.url.clone();
                self.web_rests(now, url, why.clone());
                self.web_down(now, conn, why);
            }
        }
    }

    fn web_rests(&mut self, now: Instant, url: WorkerUrl, why: String) {
        let rest = self.web.rests.entry(url).or_insert(Rest { until: now, failures: 0, why: String::new() });
        let (first, longest) = REDIAL;
        let pause = (first * (1 << rest.failures.min(6))).min(longest);
        rest.failures += 1;
        rest.until = now + pause / 2 + pause.mul_f64(self.rng.below(1000) as f64 / 2000.0);
        rest.why = why;
    }

    fn web_keeps(&mut self, now: Instant, conn: ConnId, request: RequestId, info_hash: InfoHash) {
        if let Some(entry) = self.conns.get_mut(&conn) {
            entry.asks.remove(&request);
        }
        self.has(now, conn, info_hash, None);
    }

    /// Part of a `.ko` came: whoever asked for it has reason to wait.
    fn metainfo_coming(&mut self, now: Instant, conn: ConnId, info_hash: InfoHash) {
        if let Some(share) = self.shares.get_mut(&info_hash) {
            share.metainfo_coming(now, conn);
        }
    }

    /// A server is busy: no download asks it for anything for a while.
    fn leave_alone(&mut self, now: Instant, conn: ConnId, wait: Duration) {
        for share in self.shares.values_mut() {
            if let Share { job: Job::Downloading(download), .. } = share {
                download.source_busy(now, conn, wait);
            }
        }
    }
}
