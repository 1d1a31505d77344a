//! Connections of clients to fronts, and what clients do with them.

use std::time::Duration;

use kollator_core::id::{InfoHash, PeerId};
use kollator_core::machine::Instant;
use kollator_core::merkle::sha256;
use kollator_core::node::front::FrontInput;
use kollator_core::node::io::{LinkCommand, LinkEvent};
use kollator_core::wire::signal::{FULL, Signal, ToFront};

use super::client::SHARES;
use super::link::AGAIN;
use super::oracle::Fact;
use super::{Event, World, client_id};

/// A WebSocket.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) client: usize,
    client_life: u32,
    pub(super) front: usize,
    front_life: u32,
    /// When the newest message arrives, at the front and at the client.
    ready: (Instant, Instant),
    /// Steps sent and arrived, towards the front and towards the client: nothing overtakes what is held up.
    counts: [(u64, u64); 2],
    /// Until when something is held up, each way.
    held: [Instant; 2],
    /// The front has closed it.
    closed: bool,
}

/// What a front sends.
#[derive(Debug)]
pub(super) enum Parcel {
    Text(String),
    Close(String),
}

/// A step of a connection, and its number among those that go the same way.
#[derive(Debug)]
pub(super) struct Numbered(u64, Step);

/// Something that arrives.
#[derive(Debug)]
enum Step {
    /// A connection request reaches the front.
    Knock {
        conn: u64,
    },
    /// The front's answer reaches the client.
    Open {
        conn: u64,
    },
    AtFront {
        conn: u64,
        text: String,
    },
    AtClient {
        conn: u64,
        parcel: Parcel,
    },
    /// The client's end is gone, and the front hears of it.
    Gone {
        conn: u64,
    },
}

impl Step {
    const fn conn(&self) -> u64 {
        let (Self::Knock { conn }
        | Self::Open { conn }
        | Self::AtFront { conn, .. }
        | Self::AtClient { conn, .. }
        | Self::Gone { conn }) = self;
        *conn
    }

    const fn goes_to_front(&self) -> bool {
        matches!(self, Self::Knock { .. } | Self::AtFront { .. } | Self::Gone { .. })
    }
}

impl World {
    pub(super) fn client_link(&mut self, client: usize, command: LinkCommand) {
        let fronts = self.fronts.len();
        match command {
            LinkCommand::Connect { front } => {
                if let Some(old) = self.clients[client].conn.take() {
                    self.carry(Step::Gone { conn: old });
                }
                // Everybody has the list in another order.
                let front = (front + client) % fronts;
                let (client_life, front_life) = (self.clients[client].life, self.fronts[front].life);
                let ready = (self.now, self.now);
                let conn = self.next_conn;
                self.next_conn += 1;
                let made = Conn {
                    client,
                    client_life,
                    front,
                    front_life,
                    ready,
                    counts: [(0, 0); 2],
                    held: [self.now; 2],
                    closed: false,
                };
                self.conns.insert(conn, made);
                self.clients[client].conn = Some(conn);
                self.carry(Step::Knock { conn });
            }
            LinkCommand::Send { text } => {
                if let Some(conn) = self.clients[client].conn {
                    self.carry(Step::AtFront { conn, text });
                }
            }
        }
    }

    pub(super) fn send_to_client(&mut self, conn: u64, parcel: Parcel) {
        let Some(made) = self.conns.get_mut(&conn).filter(|conn| !conn.closed) else { return };
        made.closed = matches!(parcel, Parcel::Close(_));
        self.carry(Step::AtClient { conn, parcel });
    }

    /// Sends a step on its way.
    fn carry(&mut self, step: Step) {
        let at = self.now + self.latency();
        let Some(made) = self.conns.get_mut(&step.conn()) else { return };
        let ready = if step.goes_to_front() { &mut made.ready.0 } else { &mut made.ready.1 };
        *ready = at.max(*ready);
        let at = *ready;
        let (sent, _) = &mut made.counts[usize::from(step.goes_to_front())];
        let number = *sent;
        *sent += 1;
        self.heap.push(at, Event::Conn(Numbered(number, step)));
    }

    pub(super) fn conn_step(&mut self, Numbered(number, step): Numbered) {
        let conn = step.conn();
        let Some(made) = self.conns.get(&conn) else { return };
        let (client, front) = (made.client, made.front);
        let node = self.fronts.len() + client;
        let to_front = step.goes_to_front();
        let way = if to_front { (node, front) } else { (front, node) };
        // What does not get through is sent again until it does.
        let paused = if to_front { self.fronts[front].paused_until } else { self.clients[client].paused_until };
        let held = self.shut_until(way.0, way.1).unwrap_or(Instant::ZERO).max(paused);
        let direction = usize::from(to_front);
        let early = made.counts[direction].1 != number;
        if held > self.now || early {
            let at = held.max(made.held[direction]).max(self.now + AGAIN);
            self.conns.get_mut(&conn).expect("it was there above").held[direction] = at;
            self.heap.push(at, Event::Conn(Numbered(number, step)));
            return;
        }
        self.conns.get_mut(&conn).expect("it was there above").counts[usize::from(to_front)].1 += 1;
        let made = &self.conns[&conn];
        let front_there = self.fronts[front].life == made.front_life && self.fronts[front].machine.is_some();
        let client_there =
            self.clients[client].conn == Some(conn) && self.clients[client].life == made.client_life;
        let front_life = made.front_life;
        let hear = |world: &mut Self, input| world.front_hears(front, front_life, input);
        match step {
            Step::Knock { conn } if front_there => {
                let ip = self.plan.clients[client].ip;
                hear(self, FrontInput::Connected { client: client_id(conn), ip });
                self.carry(Step::Open { conn });
            }
            Step::Knock { .. } => {
                let reason = "connection refused".into();
                if client_there {
                    self.clients[client].conn = None;
                    self.client_hears(client, LinkEvent::Down { reason });
                }
            }
            Step::Open { .. } if client_there => self.client_hears(client, LinkEvent::Up),
            Step::AtFront { conn, text } if front_there && !made.closed => {
                hear(self, FrontInput::Message { client: client_id(conn), text: text.into() });
            }
            Step::AtClient { parcel: Parcel::Text(text), .. } if client_there => {
                self.client_hears(client, LinkEvent::Message { text: text.into() });
            }
            Step::AtClient { parcel: Parcel::Close(reason), .. } if client_there => {
                self.clients[client].conn = None;
                self.client_hears(client, LinkEvent::Down { reason });
            }
            Step::Gone { conn } => {
                if front_there && !made.closed {
                    hear(self, FrontInput::Disconnected { client: client_id(conn) });
                }
                self.conns.remove(&conn);
            }
            _ => {}
        }
    }

    /// A client's process ends; its system closes its connection.
    pub(super) fn client_ends(&mut self, client: usize) {
        let node = &mut self.clients[client];
        if node.client.take().is_none() {
            return;
        }
        node.life += 1;
        node.armed = None;
        node.paused_until = Instant::ZERO;
        let (life, conn) = (node.life, node.conn.take());
        if let Some(conn) = conn {
            self.carry(Step::Gone { conn });
        }
        let back = Duration::from_millis(100 + self.rng.below(2_000));
        self.after(back, Event::ClientStart { client, life });
    }

    /// A front's process ended: its clients hear of it, unless nobody is left to tell them.
    pub(super) fn conns_of_dead(&mut self, front: usize, silent: bool) {
        let conns: Vec<u64> =
            self.conns.iter().filter(|(_, conn)| conn.front == front).map(|(id, _)| *id).collect();
        for conn in conns {
            if !silent {
                self.send_to_client(conn, Parcel::Close("connection reset".into()));
            }
        }
    }

    /// Whoever still waits for a machine that is gone hears so at last; what was held up between fronts is lost.
    pub(super) fn end_stale_connections(&mut self) {
        let stale = |conn: &Conn| {
            let node = &self.fronts[conn.front];
            node.life != conn.front_life || node.machine.is_none()
        };
        let conns: Vec<u64> = self.conns.iter().filter(|(_, conn)| stale(conn)).map(|(id, _)| *id).collect();
        for conn in conns {
            self.send_to_client(conn, Parcel::Close("connection reset".into()));
        }
        let pairs: Vec<(usize, usize)> = self.links.keys().copied().collect();
        for (from, to) in pairs {
            self.lose_link(from, to);
        }
    }

    /// A client does something.
    pub(super) fn client_acts(&mut self, client: usize, life: u32) {
        if self.clients[client].life != life || self.resting {
            return;
        }
        let pace = self.plan.pace.as_nanos() as u64;
        let wait = Duration::from_nanos(1 + self.rng.below(2 * pace));
        self.after(wait, Event::ClientActs { client, life });
        let share = InfoHash(sha256(&[self.rng.below(SHARES) as u8]));
        let choice = self.rng.below(4);
        let paused = self.clients[client].paused_until > self.now;
        let Some(made) = self.clients[client].client.as_mut().filter(|made| made.is_up() && !paused) else {
            return;
        };
        let tells_load = self.plan.loads && self.plan.clients[client].worker.is_some();
        let message = match choice {
            0 if tells_load => {
                let percent = if wait.as_nanos().is_multiple_of(3) { FULL } else { (wait.as_nanos() % 100) as u8 };
                ToFront::Load { percent }
            }
            0 => {
                made.shares.insert(share);
                ToFront::Announce { info_hash: share, complete: wait.as_nanos().is_multiple_of(2) }
            }
            1 => {
                made.shares.remove(&share);
                ToFront::Leave { info_hash: share }
            }
            _ => {
                let other = self.rng.below(self.clients.len() as u64) as usize;
                return self.client_signals(client, other, false);
            }
        };
        let now = self.now;
        let said = made.send(now, &message);
        self.client_said(client, said);
    }

    /// A client sends a signal to another, who is somewhere; awaited if it must arrive.
    pub(super) fn client_signals(&mut self, client: usize, other: usize, awaited: bool) {
        let Some(to) = self.clients[other].client.as_ref().map(|other| other.id) else { return };
        let now = self.now;
        let number = self.next_signal;
        let Some(made) = self.clients[client].client.as_mut().filter(|made| made.is_up()) else { return };
        let from = made.id;
        let body = Signal::Offer { sdp: format!("signal {number}") };
        let said = made.send(now, &ToFront::Signal { to, session: number as u32, body });
        self.next_signal += 1;
        if awaited {
            self.awaited.insert(number, (client, other));
        }
        let conn = self.clients[client].conn;
        self.observe(client, &Fact::Signalled { number, from, to, conn });
        self.client_said(client, said);
    }

    pub(super) fn client_got(&mut self, client: usize, from: PeerId, body: &Signal) {
        let Signal::Offer { sdp } = body else { return };
        let number = sdp.strip_prefix("signal ").and_then(|number| number.parse().ok());
        let me = self.clients[client].client.as_ref().map(|client| client.id);
        let (Some(number), Some(me)) = (number, me) else {
            return self.journal.fail("delivery", format!("client {client} was handed {sdp:?}"));
        };
        self.journal.done("signals");
        self.awaited.remove(&number);
        let conn = self.clients[client].conn;
        self.observe(client, &Fact::Got { number, from, me, conn });
    }
}
