//! A worker on the DHT: what it stores is announced, and clients who cannot send UDP announce and look up through it.
//! What one session may ask for is limited, and nothing that the DHT says is believed: addresses are handed on as such.

mod io;
mod look_ups;

use core::net::SocketAddrV4;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

pub use self::io::{Announcement, DhtCommand, DhtConfig, DhtEvent, DhtStats};
use self::look_ups::{LookUps, Waiter};
use super::{AskError, AskId, Question, Told, Worker, WorkerOutput, reason_of};
use crate::dht::{Announcing, DhtName, Item, Job, Sort, Want};
use crate::id::{ChunkId, InfoHash};
use crate::machine::Instant;
use crate::rtc::ConnId;
use crate::store::StoreError;
use crate::wire::frame::{Frame, MAX_DHT_PEERS, Reason, RequestId};

/// What a worker that uses the DHT remembers.
#[derive(Debug)]
pub(super) struct Dht {
    config: DhtConfig,
    announcing: Announcing,
    look_ups: LookUps,
    /// Who waits until the DHT has heard of a share.
    unheard: BTreeMap<DhtName, Vec<Waiter>>,
    /// Open requests of each session that ever had one.
    asked: BTreeMap<ConnId, usize>,
    /// Nothing more is announced or looked up.
    closed: bool,
    queries: u64,
    queries_failed: u64,
    peers: u64,
}

impl Dht {
    pub(super) fn new(config: DhtConfig) -> Self {
        Self {
            announcing: Announcing::new(config.announcing.clone()),
            look_ups: LookUps::new(config.max_look_ups, config.max_queued),
            config,
            unheard: BTreeMap::new(),
            asked: BTreeMap::new(),
            closed: false,
            queries: 0,
            queries_failed: 0,
            peers: 0,
        }
    }

    /// Has something announced that is held.
    fn announce(&mut self, now: Instant, item: Item) -> Announcement {
        if !self.announcing.news(now, item) {
            Announcement::NoRoom
        } else if self.announcing.is_announced(item.name()) {
            Announcement::Announced
        } else {
            Announcement::Queued
        }
    }

    fn forget(&mut self, conn: ConnId) {
        if self.asked.remove(&conn).is_some() {
            self.look_ups.forget(conn);
            self.unheard.retain(|_, waiters| {
                waiters.retain(|waiter| waiter.conn != conn);
                !waiters.is_empty()
            });
        }
    }
}

impl Worker {
    /// What it has done on the DHT; nothing if it uses none.
    #[must_use]
    pub fn dht_stats(&self) -> DhtStats {
        let Some(dht) = &self.dht else { return DhtStats::default() };
        let announcing = dht.announcing.stats();
        DhtStats {
            announcements: announcing.announced,
            announcements_failed: announcing.failed,
            items: announcing.items,
            queries: dht.queries,
            queries_failed: dht.queries_failed,
            peers: dht.peers,
        }
    }

    /// Whether it uses the DHT.
    #[must_use]
    pub const fn has_dht(&self) -> bool {
        self.dht.is_some()
    }

    /// Has something announced if it is stored for good since now.
    pub(super) fn announce_stored(&mut self, now: Instant, item: Item, result: &Result<(), StoreError>) {
        if let (Some(dht), Ok(())) = (&mut self.dht, result) {
            // What has no place now is found by a later sweep.
            let _ = dht.announce(now, item);
        }
    }

    /// A session wants a share announced.
    pub(super) fn announce_for(&mut self, now: Instant, conn: ConnId, request: RequestId, info_hash: InfoHash) {
        if self.admit(conn, request) {
            let ticket = self.question(Question::Announce { conn, request, info_hash });
            self.store.torrent(now, ticket, info_hash);
        }
    }

    /// The store says whether it has the share that a session wants announced.
    pub(super) fn announce_answered(
        &mut self,
        now: Instant,
        (conn, request): (ConnId, RequestId),
        info_hash: InfoHash,
        ko: Result<Option<Bytes>, StoreError>,
    ) {
        let Some(dht) = self.dht.as_mut().filter(|dht| dht.asked.contains_key(&conn)) else { return };
        let waiter = Waiter { conn, request };
        let (item, name) = (Item::Share(info_hash), info_hash.into());
        let refused = match ko {
            _ if dht.closed => Reason::Leaving,
            Err(error) => reason_of(&error),
            Ok(None) => Reason::NotFound,
            Ok(Some(_)) => match dht.announce(now, item) {
                Announcement::Announced => return self.settle_dht(waiter, Frame::DhtAnnounced { request }),
                Announcement::Queued if !dht.announcing.is_failing(name) => {
                    return dht.unheard.entry(name).or_default().push(waiter);
                }
                _ => Reason::Busy,
            },
        };
        self.settle_dht(waiter, Frame::Reject { request, reason: refused });
    }

    /// A session wants to know who is announced under a name.
    pub(super) fn look_up(&mut self, conn: ConnId, request: RequestId, name: DhtName) {
        if self.admit(conn, request) {
            let waiter = Waiter { conn, request };
            let dht = self.dht.as_mut().expect("a session was admitted to it");
            if !dht.look_ups.want(name, waiter) {
                self.settle_dht(waiter, Frame::Reject { request, reason: Reason::Busy });
            }
        }
    }

    /// Someone asks other than over a data channel to have something announced: an ask that is counted as open.
    pub(super) fn announce_asked(&mut self, now: Instant, id: AskId, item: Item) {
        match item {
            Item::Share(info_hash) => {
                let ticket = self.question(Question::AskedToAnnounce(id, info_hash));
                self.store.torrent(now, ticket, info_hash);
            }
            Item::Chunk(chunk) if self.store.holds(chunk) => self.announce_held(now, id, item),
            Item::Chunk(_) => self.tell(id, Ok(Told::Announcement(Announcement::NotHeld))),
        }
    }

    /// The store says whether it has the share that is to be announced.
    pub(super) fn announce_asked_answered(
        &mut self,
        now: Instant,
        (id, info_hash): (AskId, InfoHash),
        ko: Result<Option<Bytes>, StoreError>,
    ) {
        match ko {
            Ok(Some(_)) => self.announce_held(now, id, Item::Share(info_hash)),
            Ok(None) => self.tell(id, Ok(Told::Announcement(Announcement::NotHeld))),
            Err(error) => self.tell(id, Err(error)),
        }
    }

    fn announce_held(&mut self, now: Instant, id: AskId, item: Item) {
        let dht = self.dht.as_mut().expect("what cannot be announced was refused");
        let result =
            if dht.closed { Err(AskError::Leaving) } else { Ok(Told::Announcement(dht.announce(now, item))) };
        self.settle_ask(id, result);
    }

    /// The driver has done a [`DhtCommand`].
    pub(super) fn dht_event(&mut self, now: Instant, event: DhtEvent) {
        let dht = self.dht.as_mut().expect("a worker without a DHT asks nothing of it");
        match event {
            DhtEvent::Listed(shares) => {
                let page = shares.map(|shares| shares.into_iter().map(Item::Share).collect::<Vec<_>>());
                dht.announcing.listed(now, page.as_deref());
            }
            DhtEvent::Announced { name, heard } => {
                dht.announcing.done(now, name, heard);
                for waiter in dht.unheard.remove(&name).unwrap_or_default() {
                    let request = waiter.request;
                    let refused = Frame::Reject { request, reason: Reason::Busy };
                    self.settle_dht(waiter, if heard { Frame::DhtAnnounced { request } } else { refused });
                }
            }
            DhtEvent::Found { name, peers } => {
                let waiters = dht.look_ups.end(name);
                let peers = peers.map(|peers| usable(&peers));
                match &peers {
                    Some(peers) => {
                        dht.queries += 1;
                        dht.peers += peers.len() as u64;
                    }
                    None => dht.queries_failed += 1,
                }
                for waiter in waiters {
                    let request = waiter.request;
                    let answer = match &peers {
                        Some(peers) => Frame::DhtPeers { request, peers: peers.clone() },
                        None => Frame::Reject { request, reason: Reason::Busy },
                    };
                    self.settle_dht(waiter, answer);
                }
            }
        }
    }

    /// Has done what it is time for: the last step of every change.
    pub(super) fn use_dht(&mut self, now: Instant) {
        let Some(dht) = self.dht.as_mut().filter(|dht| !dht.closed) else { return };
        // What is stored for good stays; what is cached may go.
        let held = |item: &Item| match item {
            Item::Share(_) => true,
            Item::Chunk(chunk) => self.store.holds(*chunk),
        };
        while let Some(job) = dht.announcing.next(now, held) {
            let command = match job {
                Job::Announce(item) => DhtCommand::Announce(item.name()),
                Job::List(Want { sort: Sort::Shares(after), most }) => DhtCommand::List { after, most },
                Job::List(Want { sort: Sort::Chunks(after), most }) => {
                    let page = first_after(self.store.cached(), after, most);
                    dht.announcing.listed(now, Some(&page));
                    continue;
                }
            };
            self.out.push(WorkerOutput::Dht(command));
        }
        while let Some(name) = dht.look_ups.begin() {
            self.out.push(WorkerOutput::Dht(DhtCommand::LookUp(name)));
        }
    }

    /// When something is to be announced.
    pub(super) fn dht_wake(&self) -> Option<Instant> {
        self.dht.as_ref().filter(|dht| !dht.closed)?.announcing.next_wake()
    }

    /// A session is gone.
    pub(super) fn leave_dht(&mut self, conn: ConnId) {
        if let Some(dht) = &mut self.dht {
            dht.forget(conn);
        }
    }

    /// Begins nothing more, and waits for nothing.
    pub(super) fn close_dht(&mut self) {
        let Some(dht) = &mut self.dht else { return };
        dht.closed = true;
        let mut waiters = dht.look_ups.clear();
        waiters.extend(std::mem::take(&mut dht.unheard).into_values().flatten());
        for waiter in waiters {
            self.settle_dht(waiter, Frame::Reject { request: waiter.request, reason: Reason::Leaving });
        }
    }

    /// Counts a request of a session in, or refuses it.
    fn admit(&mut self, conn: ConnId, request: RequestId) -> bool {
        let Some(dht) = self.dht.as_mut().filter(|_| self.conns.contains_key(&conn)) else {
            self.reject(conn, request, Reason::Unsupported);
            return false;
        };
        let open = dht.asked.entry(conn).or_default();
        if *open >= dht.config.max_of_session {
            self.reject(conn, request, Reason::Busy);
            return false;
        }
        *open += 1;
        true
    }

    /// Answers a request that was counted in.
    fn settle_dht(&mut self, waiter: Waiter, answer: Frame) {
        if let Some(open) = self.dht.as_mut().and_then(|dht| dht.asked.get_mut(&waiter.conn)) {
            *open -= 1;
            self.sessions.send(waiter.conn, answer);
        }
    }
}

/// Addresses that can be dialled, each once, no more than fit in an answer.
fn usable(peers: &[SocketAddrV4]) -> Vec<SocketAddrV4> {
    let mut seen = BTreeSet::new();
    let good = |peer: &&SocketAddrV4| {
        let ip = peer.ip();
        peer.port() != 0 && !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast()
    };
    peers.iter().filter(good).filter(|peer| seen.insert(**peer)).take(MAX_DHT_PEERS).copied().collect()
}

/// The first `most` chunks above `after`, in order.
fn first_after(chunks: impl Iterator<Item = ChunkId>, after: Option<ChunkId>, most: usize) -> Vec<Item> {
    let mut found: Vec<ChunkId> = chunks.filter(|chunk| after.is_none_or(|after| *chunk > after)).collect();
    if found.len() > most {
        found.select_nth_unstable(most);
        found.truncate(most);
    }
    found.sort_unstable();
    found.into_iter().map(Item::Chunk).collect()
}
