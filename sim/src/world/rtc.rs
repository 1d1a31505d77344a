//! A stand-in for the WebRTC stack: session descriptions that name a node, connections with one ordered,
//! reliable channel, a bounded send buffer, a bandwidth and a latency. Frames travel as their real bytes.
//! Failure is noticed late, or never.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use kollator_core::machine::Instant;
use kollator_core::rtc::{ConnId, RtcCommand, RtcEvent};
use kollator_core::wire::frame::Frame;

use super::{Event, FaultKind, World, liar};

/// How long a closed connection still sends what it was given.
const LINGER: Duration = Duration::from_secs(1);
/// From a frame's hand-over to the stack's word that it took it.
const TAKE: Duration = Duration::from_micros(20);
/// Between two attempts to get through while connecting.
const RETRY: Duration = Duration::from_millis(250);

/// One node's half of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End {
    pub(super) node: usize,
    pub(super) life: u32,
    pub(super) conn: ConnId,
}

/// What a node knows of its half.
pub(super) struct Half {
    /// The other half, once a description named it.
    remote: Option<End>,
    /// The pair and this half's side of it, once both descriptions are exchanged.
    pair: Option<(u64, usize)>,
}

/// What is planned for a connection.
#[derive(Debug)]
pub(super) enum Step {
    /// A half's description is ready.
    Described { end: End },
    /// A half whose offerer never came back gives up.
    GiveUp { end: End },
    /// Both halves try to reach each other.
    Connect { pair: u64, until: Instant },
    /// A half's channel opens.
    Opened { pair: u64, side: usize },
    /// The stack tells a half that it took a frame.
    Took { end: End, bytes: u32 },
    /// The oldest frame in a half's buffer is on the wire.
    Left { pair: u64, side: usize },
    /// A frame reaches the half opposite of `side`.
    Arrive { pair: u64, side: usize, parcel: Parcel },
    /// The half opposite of `side` learns that `side` closed.
    HangUp { pair: u64, side: usize },
    /// Both halves ask whether they still reach each other.
    Consent { pair: u64 },
    /// A half learns that its connection failed.
    Fail { end: End },
}

/// A frame's bytes, and how they were falsified.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) data: Bytes,
    pub(super) lie: Option<FaultKind>,
}

/// Two halves that know each other.
pub(super) struct Pair {
    pub(super) ends: [End; 2],
    pub(super) open: bool,
    /// Swallows everything, for ever.
    pub(super) black_hole: bool,
    ways: [Channel; 2],
}

#[derive(Default)]
struct Channel {
    /// Not yet taken by the stack.
    unsent: VecDeque<Parcel>,
    /// In the send buffer.
    buffer: VecDeque<Parcel>,
    buffered: usize,
    /// Whether the oldest frame is on its way onto the wire.
    sending: bool,
    /// Whether it could not get there.
    stalled: bool,
    /// Whether its sender closed it.
    closing: bool,
    /// When the newest frame arrives.
    last: Instant,
}

impl World {
    /// A worker or peer asks something of its WebRTC stack.
    pub(super) fn rtc_command(&mut self, node: usize, command: RtcCommand) {
        let end = |conn| End { node, life: self.nodes[node].life, conn };
        match command {
            RtcCommand::Offer { conn } => {
                let end = end(conn);
                self.halves.insert(end, Half { remote: None, pair: None });
                self.after(Duration::from_millis(1), Event::Rtc(Step::Described { end }));
            }
            RtcCommand::Accept { conn, sdp } => {
                let end = end(conn);
                let remote = parse(&sdp);
                self.halves.insert(end, Half { remote, pair: None });
                if remote.is_some() {
                    self.after(Duration::from_millis(1), Event::Rtc(Step::Described { end }));
                    self.after(self.settings.rtc_timeout, Event::Rtc(Step::GiveUp { end }));
                } else {
                    self.after(TAKE, Event::Rtc(Step::Fail { end }));
                }
            }
            RtcCommand::SetAnswer { conn, sdp } => self.rtc_answer(end(conn), &sdp),
            RtcCommand::AddCandidate { .. } | RtcCommand::UseIceServers { .. } => {}
            RtcCommand::Send { conn, frame } => self.rtc_send(end(conn), &frame),
            RtcCommand::Close { conn, .. } => self.rtc_close(end(conn)),
        }
    }

    fn rtc_answer(&mut self, end: End, sdp: &str) {
        let Some(half) = self.halves.get_mut(&end) else { return };
        let Some(remote) = parse(sdp) else {
            self.after(TAKE, Event::Rtc(Step::Fail { end }));
            return;
        };
        half.remote = Some(remote);
        let agreed = self.halves.get(&remote).is_some_and(|half| half.remote == Some(end) && half.pair.is_none());
        if !agreed {
            self.after(self.settings.rtc_timeout, Event::Rtc(Step::Fail { end }));
            return;
        }
        let pair = self.next_pair;
        self.next_pair += 1;
        for (side, end) in [end, remote].iter().enumerate() {
            if let Some(half) = self.halves.get_mut(end) {
                half.pair = Some((pair, side));
            }
        }
        let ways = [Channel::default(), Channel::default()];
        self.pairs.insert(pair, Pair { ends: [end, remote], open: false, black_hole: false, ways });
        let trips = (self.latency() + self.latency()) * 2;
        let until = self.now + self.settings.rtc_timeout;
        self.after(trips, Event::Rtc(Step::Connect { pair, until }));
    }

    fn rtc_send(&mut self, end: End, frame: &Frame) {
        let Some((id, side)) = self.halves.get(&end).and_then(|half| half.pair) else { return };
        let honest = Parcel { data: frame.encode().freeze(), lie: None };
        let parcels = if self.truth.nodes[end.node].liar {
            liar::falsify(self, end.node, frame, honest)
        } else {
            vec![honest]
        };
        if let Some(pair) = self.pairs.get_mut(&id)
            && pair.open
        {
            pair.ways[side].unsent.extend(parcels);
            self.rtc_pump(id, side);
        }
    }

    /// Moves frames into the send buffer and from there onto the wire.
    fn rtc_pump(&mut self, id: u64, side: usize) {
        let Some(pair) = self.pairs.get_mut(&id) else { return };
        let end = pair.ends[side];
        let way = &mut pair.ways[side];
        while let Some(parcel) = way.unsent.front()
            && (way.buffered == 0 || way.buffered + parcel.data.len() <= self.settings.send_buffer)
        {
            let bytes = parcel.data.len();
            way.buffered += bytes;
            way.buffer.extend(way.unsent.pop_front());
            let took = Step::Took { end, bytes: bytes as u32 };
            self.heap.push(self.now + TAKE, Event::Rtc(took));
        }
        match way.buffer.front() {
            Some(parcel) if !way.sending => {
                way.sending = true;
                let [near, far] = [side, 1 - side].map(|side| self.truth.nodes[pair.ends[side].node].bandwidth);
                let nanos = parcel.data.len() as u64 * 1_000_000_000 / near.min(far);
                self.heap.push(self.now + Duration::from_nanos(nanos), Event::Rtc(Step::Left { pair: id, side }));
            }
            None if way.closing => {
                let at = way.last.max(self.now) + Duration::from_nanos(1);
                self.heap.push(at, Event::Rtc(Step::HangUp { pair: id, side }));
            }
            _ => {}
        }
    }

    fn rtc_close(&mut self, end: End) {
        let Some(half) = self.halves.remove(&end) else { return };
        let Some((id, side)) = half.pair else { return };
        if let Some(pair) = self.pairs.get_mut(&id) {
            pair.ways[side].closing = true;
            self.heap.push(self.now + LINGER, Event::Rtc(Step::HangUp { pair: id, side }));
            self.rtc_pump(id, side);
        }
    }

    /// A connection's next step.
    pub(super) fn rtc_step(&mut self, step: Step) {
        match step {
            Step::Described { end } => {
                if self.halves.contains_key(&end) {
                    let sdp = describe(end);
                    self.hear_rtc(end, RtcEvent::Described { conn: end.conn, sdp });
                }
            }
            Step::GiveUp { end } => {
                if self.halves.get(&end).is_some_and(|half| half.pair.is_none()) {
                    self.rtc_fail(end, "no answer came through");
                }
            }
            Step::Connect { pair, until } => self.rtc_connect(pair, until),
            Step::Opened { pair, side } => {
                let Some(end) = self.pairs.get(&pair).map(|pair| pair.ends[side]) else { return };
                if self.halves.contains_key(&end) {
                    self.hear_rtc(end, RtcEvent::Open { conn: end.conn });
                }
            }
            Step::Took { end, bytes } => {
                if self.halves.contains_key(&end) {
                    self.hear_rtc(end, RtcEvent::Sent { conn: end.conn, bytes });
                }
            }
            Step::Left { pair, side } => self.rtc_left(pair, side),
            Step::Arrive { pair, side, parcel } => {
                let Some(pair) = self.pairs.get(&pair) else { return };
                let (from, to) = (pair.ends[side], pair.ends[1 - side]);
                if self.halves.contains_key(&to) {
                    self.hear_frame(from, to, parcel);
                }
            }
            Step::HangUp { pair, side } => self.rtc_hang_up(pair, side),
            Step::Consent { pair } => {
                let Some(pair) = self.pairs.get(&pair) else { return };
                let [a, b] = pair.ends;
                if !self.net.reaches(a.node, b.node) || !self.net.reaches(b.node, a.node) {
                    self.rtc_fail(a, "the other side is out of reach");
                    self.rtc_fail(b, "the other side is out of reach");
                }
            }
            Step::Fail { end } => self.rtc_fail(end, "connection failed"),
        }
    }

    fn rtc_connect(&mut self, id: u64, until: Instant) {
        let latency = self.latency();
        let Some(pair) = self.pairs.get_mut(&id) else { return };
        let [a, b] = pair.ends;
        let here = [a, b].iter().all(|end| self.halves.contains_key(end));
        if here && self.net.reaches(a.node, b.node) && self.net.reaches(b.node, a.node) {
            pair.open = true;
            let later = self.now + latency;
            pair.ways.iter_mut().for_each(|way| way.last = later);
            self.heap.push(self.now, Event::Rtc(Step::Opened { pair: id, side: 1 }));
            self.heap.push(later, Event::Rtc(Step::Opened { pair: id, side: 0 }));
        } else if self.now < until {
            self.after(RETRY, Event::Rtc(Step::Connect { pair: id, until }));
        } else {
            self.rtc_fail(a, "could not connect");
            self.rtc_fail(b, "could not connect");
        }
    }

    fn rtc_left(&mut self, id: u64, side: usize) {
        let arrival = self.now + self.latency();
        let Some(pair) = self.pairs.get_mut(&id) else { return };
        let (from, to) = (pair.ends[side].node, pair.ends[1 - side].node);
        let way = &mut pair.ways[side];
        way.stalled = pair.black_hole || !self.net.reaches(from, to);
        if way.stalled {
            return;
        }
        way.sending = false;
        if let Some(parcel) = way.buffer.pop_front() {
            way.buffered -= parcel.data.len();
            way.last = arrival.max(way.last + Duration::from_nanos(1));
            let at = way.last;
            self.heap.push(at, Event::Rtc(Step::Arrive { pair: id, side, parcel }));
        }
        self.rtc_pump(id, side);
    }

    fn rtc_hang_up(&mut self, id: u64, side: usize) {
        let Some(pair) = self.pairs.get(&id) else { return };
        let (from, to) = (pair.ends[side].node, pair.ends[1 - side]);
        if pair.black_hole {
            return;
        }
        if self.net.reaches(from, to.node) {
            self.rtc_fail(to, "closed by the other side");
        } else {
            self.after(self.settings.rtc_timeout, Event::Rtc(Step::Fail { end: to }));
        }
    }

    /// A half hears that it is closed, and is forgotten.
    fn rtc_fail(&mut self, end: End, reason: &str) {
        if let Some(half) = self.halves.remove(&end) {
            self.hear_rtc(end, RtcEvent::Closed { conn: end.conn, reason: reason.into() });
            if let Some((id, _)) = half.pair
                && self
                    .pairs
                    .get(&id)
                    .is_some_and(|pair| pair.ends.iter().all(|end| !self.halves.contains_key(end)))
            {
                self.pairs.remove(&id);
            }
        }
    }

    /// A process with connections ended: the other halves hear of it when they have missed it for long enough.
    pub(super) fn rtc_crash(&mut self, node: usize) {
        let mine: Vec<End> = self.halves.keys().filter(|end| end.node == node).copied().collect();
        for end in mine {
            let Some(half) = self.halves.remove(&end) else { continue };
            if let Some((id, side)) = half.pair
                && let Some(pair) = self.pairs.get(&id)
                && !pair.black_hole
            {
                let end = pair.ends[1 - side];
                self.after(self.settings.rtc_timeout, Event::Rtc(Step::Fail { end }));
            }
        }
    }

    /// A connection fails: both halves hear of it, each in its own time.
    pub(super) fn rtc_lose(&mut self, id: u64) {
        let Some(pair) = self.pairs.get_mut(&id) else { return };
        pair.black_hole = true;
        for end in pair.ends {
            let late = self.settings.rtc_timeout / (1 + self.rng.below(8) as u32);
            self.after(late, Event::Rtc(Step::Fail { end }));
        }
    }

    /// A way was shut: connections over it will miss it.
    pub(super) fn rtc_shut(&mut self, from: usize, to: usize) {
        let over: Vec<u64> = self.pairs_between(from, to);
        for pair in over {
            self.after(self.settings.rtc_timeout, Event::Rtc(Step::Consent { pair }));
        }
    }

    /// A way is open again: what was stalled goes on.
    pub(super) fn rtc_resume(&mut self, from: usize, to: usize) {
        for id in self.pairs_between(from, to) {
            let Some(pair) = self.pairs.get_mut(&id) else { continue };
            let side = usize::from(pair.ends[1].node == from);
            if !pair.black_hole && std::mem::replace(&mut pair.ways[side].stalled, false) {
                self.heap.push(self.now, Event::Rtc(Step::Left { pair: id, side }));
            }
        }
    }

    /// How many connections the stack has for a node in its present life.
    pub(super) fn channels(&self, node: usize) -> usize {
        let first = |conn| End { node, life: self.nodes[node].life, conn: ConnId(conn) };
        self.halves.range(first(0)..=first(u64::MAX)).count()
    }

    fn pairs_between(&self, a: usize, b: usize) -> Vec<u64> {
        let joins = |pair: &Pair| [[a, b], [b, a]].contains(&pair.ends.map(|end| end.node));
        self.pairs.iter().filter(|(_, pair)| joins(pair)).map(|(id, _)| *id).collect()
    }
}

/// The session description of a half: its address in this world.
pub(super) fn describe(end: End) -> String {
    format!("sim {} {} {}", end.node, end.life, end.conn.0)
}

fn parse(sdp: &str) -> Option<End> {
    let mut words = sdp.strip_prefix("sim ")?.split(' ');
    let node = words.next()?.parse().ok()?;
    let life = words.next()?.parse().ok()?;
    let conn = ConnId(words.next()?.parse().ok()?);
    words.next().is_none().then_some(End { node, life, conn })
}
