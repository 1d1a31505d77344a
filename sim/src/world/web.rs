//! A stand-in for HTTP between peers and workers: the real machine of a worker answers, batch by batch, and what it says
//! travels with latency and bandwidth, in order, or breaks in the ways in which HTTP can break.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kollator_core::machine::Instant;
use kollator_core::node::peer::{PeerInput, WebAsk, WebCommand, WebEvent, WebId, WorkerUrl};
use kollator_core::node::worker::{Ask, AskError, AskId, MAX_ASK_BLOCKS, Told, WorkerInput};
use kollator_core::store::StoreError;

use super::machines::Process;
use super::{Event, FaultKind, Input, World};

/// Between two attempts to get through.
const RETRY: Duration = Duration::from_millis(250);
/// What a worker says with its refusal of a busy store.
const AGAIN: Duration = Duration::from_secs(1);
/// More than anybody asked for.
const TOO_MUCH: &[u8] = b"and more";

/// What is planned for a request.
#[derive(Debug)]
pub(super) enum Step {
    /// It tries to reach its worker.
    Arrive { number: u64, until: Instant },
    /// The oldest part of its answer tries to reach the peer.
    Tell { number: u64, until: Instant },
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Exchange {
    peer: usize,
    life: u32,
    id: WebId,
    /// The worker, and its life once the request arrived.
    worker: usize,
    worker_life: Option<u32>,
    ask: WebAsk,
    /// Of the blocks that are asked for, the first one not read.
    next: u16,
    begun: bool,
    /// What the peer is yet to hear, and when each leaves the worker.
    answer: VecDeque<(Instant, WebEvent)>,
    /// Whether the oldest of these is on its way.
    telling: bool,
    /// Whether nothing is added to it any more.
    ended: bool,
}

impl World {
    /// A peer asks something of HTTP.
    pub(super) fn web_command(&mut self, peer: usize, command: WebCommand) {
        let life = self.nodes[peer].life;
        match command {
            WebCommand::Cancel { id } => {
                self.exchanges
                    .retain(|_, exchange| (exchange.peer, exchange.life, exchange.id) != (peer, life, id));
            }
            WebCommand::Request { id, worker, ask } => {
                let next = if let WebAsk::Blocks { first, .. } = ask { first } else { 0 };
                let trips = (self.latency() + self.latency()) * 2;
                let number = self.next_exchange;
                self.next_exchange += 1;
                let worker = self.truth.worker_at(&worker).expect("a worker's URL");
                let exchange = Exchange {
                    peer,
                    life,
                    id,
                    worker,
                    worker_life: None,
                    ask,
                    next,
                    begun: false,
                    answer: VecDeque::new(),
                    telling: false,
                    ended: false,
                };
                self.exchanges.insert(number, exchange);
                let until = self.now + self.settings.tcp_timeout;
                self.after(trips, Event::Web(Step::Arrive { number, until }));
            }
        }
    }

    pub(super) fn web_step(&mut self, step: Step) {
        match step {
            Step::Arrive { number, until } => self.web_arrive(number, until),
            Step::Tell { number, until } => self.web_deliver(number, until),
        }
    }

    fn web_arrive(&mut self, number: u64, until: Instant) {
        let Some(exchange) = self.exchanges.get(&number) else { return };
        let (peer, worker) = (exchange.peer, exchange.worker);
        if !self.net.reaches(peer, worker) || !self.net.reaches(worker, peer) {
            if self.now < until {
                self.after(RETRY, Event::Web(Step::Arrive { number, until }));
            } else {
                self.web_fail(number, "connection timed out");
            }
            return;
        }
        if !self.nodes[worker].up() {
            return self.web_fail(number, "connection refused");
        }
        let worker_life = self.nodes[worker].life;
        self.exchanges.get_mut(&number).expect("it was there above").worker_life = Some(worker_life);
        if self.strikes(FaultKind::WebBusy) {
            let wait = Duration::from_secs(self.rng.below(4));
            return self.web_refuse(number, 503, Some(wait));
        }
        if self.strikes(FaultKind::WebMissing) {
            return self.web_refuse(number, 404, None);
        }
        self.web_read(number);
    }

    /// Asks the worker for what comes next.
    fn web_read(&mut self, number: u64) {
        let Some(exchange) = self.exchanges.get(&number) else { return };
        let ask = match exchange.ask {
            WebAsk::Blocks { chunk, first, count } => {
                let left = first + count - exchange.next;
                let process = self.nodes[exchange.worker].machine.as_ref();
                let most = process.and_then(Process::ask_blocks).unwrap_or(MAX_ASK_BLOCKS);
                Ask::Blocks { chunk, first: exchange.next, count: left.min(most) }
            }
            WebAsk::Leaves { chunk } => Ask::Leaves(chunk),
            WebAsk::Metainfo { info_hash } | WebAsk::Kept { info_hash } => Ask::Torrent(info_hash),
        };
        let worker = exchange.worker;
        self.hear_later(Duration::ZERO, worker, Input::Worker(WorkerInput::Ask { id: AskId(number), ask }));
    }

    /// A worker answers.
    pub(super) fn web_told(&mut self, worker: usize, id: AskId, result: Result<Told, AskError>) {
        let AskId(number) = id;
        let life = self.nodes[worker].life;
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        if exchange.worker_life != Some(life) {
            return;
        }
        match (exchange.ask, result) {
            (_, Err(AskError::Store(StoreError::NotFound))) | (_, Ok(Told::Torrent(None))) => {
                self.web_refuse(number, 404, None);
            }
            // A body that was begun breaks off; else there is a status for it.
            (_, Err(_)) if exchange.begun => self.web_fail(number, "the answer broke off"),
            (_, Err(_)) => self.web_refuse(number, 503, Some(AGAIN)),
            (WebAsk::Kept { .. }, Ok(_)) => self.web_refuse(number, 200, None),
            (WebAsk::Blocks { chunk, first, count }, Ok(Told::Blocks(data))) => {
                exchange.next += data.len().div_ceil(16 * 1024) as u16;
                let is_last = exchange.next == first + count || exchange.next == chunk.blocks();
                self.web_body(number, 206, data, is_last);
            }
            (_, Ok(Told::Leaves(leaves))) => {
                let data = leaves.iter().flat_map(|leaf| leaf.0).collect();
                self.web_body(number, 200, data, true);
            }
            (_, Ok(Told::Torrent(Some(ko)))) => self.web_body(number, 200, ko, true),
            (_, Ok(other)) => unreachable!("a worker answers what it is asked, not {other:?}"),
        }
    }

    /// Part of a body leaves the worker, as it is or not.
    fn web_body(&mut self, number: u64, status: u16, data: Bytes, is_last: bool) {
        let exchange = self.exchanges.get_mut(&number).expect("the caller knows it");
        let (id, worker, is_ko) = (exchange.id, exchange.worker, matches!(exchange.ask, WebAsk::Metainfo { .. }));
        if !std::mem::replace(&mut exchange.begun, true) {
            self.web_say(number, WebEvent::Head { id, status, retry_after: None });
        }
        let half = data.slice(..data.len() / 2);
        if self.strikes(FaultKind::WebReset) {
            self.web_say(number, WebEvent::Data { id, data: half });
            return self.web_fail(number, "connection reset by peer");
        }
        if self.strikes(FaultKind::WebStall) {
            self.web_say(number, WebEvent::Data { id, data: half });
            return self.web_close(number);
        }
        // A `.ko` that ends well and is not whole is a lie; of anything else, the peer knows how long it must be.
        if !is_ko && self.strikes(FaultKind::WebTruncated) {
            self.web_say(number, WebEvent::Data { id, data: half });
            self.web_say(number, WebEvent::End { id });
            return self.web_close(number);
        }
        let data =
            if self.truth.nodes[worker].liar && self.lies(FaultKind::WebLie) { self.web_lie(&data) } else { data };
        self.web_say(number, WebEvent::Data { id, data });
        if !is_last {
            return self.web_read(number);
        }
        if !is_ko && self.strikes(FaultKind::WebTooLong) {
            self.web_say(number, WebEvent::Data { id, data: Bytes::from_static(TOO_MUCH) });
        }
        self.web_say(number, WebEvent::End { id });
        self.web_close(number);
    }

    fn web_lie(&mut self, data: &Bytes) -> Bytes {
        let mut data = BytesMut::from(&data[..]);
        let at = self.dice(data.len());
        data[at] ^= 1 << self.rng.below(8);
        data.freeze()
    }

    /// A status is all there is to say.
    fn web_refuse(&mut self, number: u64, status: u16, retry_after: Option<Duration>) {
        let Some(id) = self.exchanges.get(&number).map(|exchange| exchange.id) else { return };
        self.web_say(number, WebEvent::Head { id, status, retry_after });
        self.web_close(number);
    }

    fn web_fail(&mut self, number: u64, reason: &str) {
        let Some(id) = self.exchanges.get(&number).map(|exchange| exchange.id) else { return };
        self.web_say(number, WebEvent::Failed { id, reason: reason.into() });
        self.web_close(number);
    }

    fn web_close(&mut self, number: u64) {
        if let Some(exchange) = self.exchanges.get_mut(&number) {
            exchange.ended = true;
        }
    }

    /// Something of an answer leaves the worker, after what left before.
    fn web_say(&mut self, number: u64, event: WebEvent) {
        let latency = self.latency();
        let Some(exchange) = self.exchanges.get_mut(&number).filter(|exchange| !exchange.ended) else { return };
        let bytes = if let WebEvent::Data { data, .. } = &event { data.len() as u64 } else { 0 };
        if bytes == 0 && matches!(event, WebEvent::Data { .. }) {
            return;
        }
        let [near, far] = [exchange.peer, exchange.worker].map(|node| self.truth.nodes[node].bandwidth);
        let takes = Duration::from_nanos(1 + bytes * 1_000_000_000 / near.min(far));
        let after = exchange.answer.back().map_or(self.now + latency, |(at, _)| *at).max(self.now);
        exchange.answer.push_back((after + takes, event));
        self.web_tell(number);
    }

    /// Plans the next part of an answer.
    fn web_tell(&mut self, number: u64) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        if let Some((at, _)) = exchange.answer.front()
            && !exchange.telling
        {
            exchange.telling = true;
            let at = (*at).max(self.now);
            let until = at + self.settings.tcp_timeout;
            self.heap.push(at, Event::Web(Step::Tell { number, until }));
        }
    }

    fn web_deliver(&mut self, number: u64, until: Instant) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        let (peer, worker, life) = (exchange.peer, exchange.worker, exchange.life);
        if self.nodes[peer].life != life {
            self.exchanges.remove(&number);
            return;
        }
        if !self.net.reaches(peer, worker) || !self.net.reaches(worker, peer) {
            if self.now < until {
                return self.after(RETRY, Event::Web(Step::Tell { number, until }));
            }
            let failed = WebEvent::Failed { id: exchange.id, reason: "connection timed out".into() };
            exchange.answer = VecDeque::from([(self.now, failed)]);
            exchange.ended = true;
        }
        exchange.telling = false;
        let (_, event) = exchange.answer.pop_front().expect("something was on its way");
        let is_over = exchange.ended && exchange.answer.is_empty() && !is_part(&event);
        if is_over {
            self.exchanges.remove(&number);
        } else {
            self.web_tell(number);
        }
        self.hear(peer, Input::Peer(PeerInput::Web(event)));
    }

    /// A process ended: what it had asked is forgotten, what it was asked breaks off, unless nobody is told.
    pub(super) fn web_crash(&mut self, node: usize, power_cut: bool) {
        self.exchanges.retain(|_, exchange| exchange.peer != node);
        let served = self.exchanges.iter().filter(|(_, exchange)| exchange.worker == node);
        let served: Vec<u64> =
            served.filter(|(_, exchange)| exchange.worker_life.is_some()).map(|(number, _)| *number).collect();
        for number in served {
            if power_cut {
                self.web_close(number);
            } else {
                self.web_fail(number, "connection reset by peer");
            }
        }
    }
}

impl super::Truth {
    /// Where a worker serves HTTP.
    ///
    /// # Panics
    /// Never: an address makes a URL.
    #[must_use]
    pub fn worker_url(&self, worker: usize) -> WorkerUrl {
        format!("http://{}:8081", self.address(worker)).parse().expect("an address makes a URL")
    }

    /// The worker that serves HTTP there.
    #[must_use]
    pub fn worker_at(&self, url: &WorkerUrl) -> Option<usize> {
        self.of(super::Kind::Worker).into_iter().find(|worker| self.worker_url(*worker) == *url)
    }
}

/// Whether more of an answer may follow.
const fn is_part(event: &WebEvent) -> bool {
    matches!(event, WebEvent::Data { .. } | WebEvent::Head { status: 206, .. })
}
