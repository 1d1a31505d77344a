//! WebSockets between clients and the front: two FIFO streams each, as TCP gives them. A stream that cannot
//! get through holds what it has; an end learns that the other is gone only by a close that reaches it, or
//! by having sent something that nobody acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use kollator_core::machine::Instant;
use kollator_core::node::front::{ClientId, FrontInput};
use kollator_core::node::io::{LinkCommand, LinkEvent};

use super::{Event, FRONT, World};

/// How long an end waits for a connection to be accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A direction of a link: which end sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToFront,
    ToClient,
}

/// What is planned for a link.
#[derive(Debug)]
pub(super) enum Step {
    /// The client's request reaches the front.
    Open { link: u64 },
    /// The front's answer reaches the client.
    Opened { link: u64 },
    /// The client learns that it could not connect.
    Refused { link: u64, reason: &'static str },
    /// Something reaches the other end.
    Arrive { link: u64, way: Way, parcel: Parcel },
    /// If the sender of this way still waits for an acknowledgement, it gives up.
    TimedOut { link: u64, way: Way },
}

/// What travels on a link.
#[derive(Debug)]
pub(super) enum Parcel {
    Text(Bytes),
    Close(String),
}

/// One WebSocket; its number is the front's [`ClientId`] for it.
pub(super) struct Link {
    client: usize,
    client_life: u32,
    front_life: u32,
    /// Whether the client's end is open.
    at_client: bool,
    /// Whether the front's end is open.
    at_front: bool,
    /// Nothing gets through any more.
    pub(super) silent: bool,
    ways: [Stream; 2],
}

#[derive(Default)]
struct Stream {
    /// When the newest parcel arrives.
    last: Instant,
    /// What could not get through yet.
    held: VecDeque<Parcel>,
    /// Whether a time-out is planned.
    timing: bool,
}

impl Link {
    fn ends(&self, way: Way) -> (usize, usize) {
        match way {
            Way::ToFront => (self.client, FRONT),
            Way::ToClient => (FRONT, self.client),
        }
    }

    /// Whether either end still believes in it.
    pub(super) const fn alive(&self) -> bool {
        self.at_client || self.at_front
    }
}

impl World {
    /// A worker or peer asks something of its connection to the front.
    pub(super) fn link_command(&mut self, node: usize, command: LinkCommand) {
        match command {
            LinkCommand::Connect { .. } => self.link_connect(node),
            LinkCommand::Send { text } => {
                if let Some(link) = self.nodes[node].link
                    && self.links.get(&link).is_some_and(|link| link.at_client)
                {
                    self.link_send(link, Way::ToFront, Parcel::Text(text.into()));
                }
            }
        }
    }

    fn link_connect(&mut self, node: usize) {
        self.link_leave(node, "replaced");
        let link = self.next_link;
        self.next_link += 1;
        self.nodes[node].link = Some(link);
        let (client_life, front_life) = (self.nodes[node].life, self.nodes[FRONT].life);
        let ways = [Stream::default(), Stream::default()];
        self.links.insert(
            link,
            Link { client: node, client_life, front_life, at_client: false, at_front: false, silent: false, ways },
        );
        let trip = self.latency() + self.latency();
        if !self.net.reaches(node, FRONT) || !self.net.reaches(FRONT, node) {
            self.after(CONNECT_TIMEOUT, Event::Link(Step::Refused { link, reason: "timed out" }));
        } else if !self.nodes[FRONT].up() {
            self.after(trip, Event::Link(Step::Refused { link, reason: "connection refused" }));
        } else {
            self.after(trip, Event::Link(Step::Open { link }));
        }
    }

    /// The client's end closes in good order.
    fn link_leave(&mut self, node: usize, reason: &str) {
        let Some(link) = self.nodes[node].link.take() else { return };
        if let Some(open) = self.links.get_mut(&link)
            && open.at_client
        {
            open.at_client = false;
            self.link_send(link, Way::ToFront, Parcel::Close(reason.into()));
        }
    }

    /// The front asks to send a message.
    pub(super) fn front_send(&mut self, client: ClientId, text: String) {
        if self.links.get(&client.0).is_some_and(|link| link.at_front) {
            self.link_send(client.0, Way::ToClient, Parcel::Text(text.into()));
        }
    }

    /// The front asks to close.
    pub(super) fn front_close(&mut self, client: ClientId, reason: String) {
        if let Some(link) = self.links.get_mut(&client.0)
            && link.at_front
        {
            link.at_front = false;
            self.link_send(client.0, Way::ToClient, Parcel::Close(reason));
        }
    }

    fn link_send(&mut self, id: u64, way: Way, parcel: Parcel) {
        let arrival = self.now + self.latency();
        let Some(link) = self.links.get_mut(&id) else { return };
        let stream = &mut link.ways[way as usize];
        stream.last = arrival.max(stream.last + Duration::from_nanos(1));
        let at = stream.last;
        self.heap.push(at, Event::Link(Step::Arrive { link: id, way, parcel }));
    }

    /// A link's next step.
    pub(super) fn link_step(&mut self, step: Step) {
        match step {
            Step::Open { link } => self.link_open(link),
            Step::Opened { link } => {
                let Some(open) = self.links.get_mut(&link) else { return };
                let node = open.client;
                if self.nodes[node].link == Some(link) && self.nodes[node].life == open.client_life {
                    open.at_client = true;
                    self.hear_link(node, LinkEvent::Up);
                }
            }
            Step::Refused { link, reason } => {
                let Some(gone) = self.links.remove(&link) else { return };
                let node = gone.client;
                if self.nodes[node].link == Some(link) && self.nodes[node].life == gone.client_life {
                    self.nodes[node].link = None;
                    self.hear_link(node, LinkEvent::Down { reason: reason.into() });
                }
            }
            Step::Arrive { link, way, parcel } => self.link_arrive(link, way, parcel),
            Step::TimedOut { link, way } => self.link_timed_out(link, way),
        }
    }

    fn link_open(&mut self, id: u64) {
        let latency = self.latency();
        let Some(link) = self.links.get_mut(&id) else { return };
        let (node, front_life) = (link.client, link.front_life);
        let client_lives = self.nodes[node].link == Some(id) && self.nodes[node].life == link.client_life;
        let front_lives = self.nodes[FRONT].up() && self.nodes[FRONT].life == front_life;
        if !client_lives {
            self.links.remove(&id);
        } else if !front_lives || !self.net.reaches(node, FRONT) {
            self.after(CONNECT_TIMEOUT, Event::Link(Step::Refused { link: id, reason: "timed out" }));
        } else {
            link.at_front = true;
            let opened = self.now + latency;
            link.ways[Way::ToClient as usize].last = opened;
            self.heap.push(opened, Event::Link(Step::Opened { link: id }));
            let ip = self.truth.address(node);
            self.hear_front(FrontInput::Connected { client: ClientId(id), ip });
        }
    }

    fn link_arrive(&mut self, id: u64, way: Way, parcel: Parcel) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (from, to) = link.ends(way);
        let stream = &mut link.ways[way as usize];
        let through = self.net.reaches(from, to) && self.nodes[to].up() && !link.silent;
        if !through || !stream.held.is_empty() {
            stream.held.push_back(parcel);
            if !std::mem::replace(&mut stream.timing, true) {
                let timeout = self.settings.tcp_timeout;
                self.after(timeout, Event::Link(Step::TimedOut { link: id, way }));
            }
            return;
        }
        let there = match way {
            Way::ToFront => link.at_front && self.nodes[FRONT].life == link.front_life,
            Way::ToClient => {
                link.at_client && self.nodes[to].link == Some(id) && self.nodes[to].life == link.client_life
            }
        };
        if !there {
            // Nobody at that port any more: the sender is told so, if it still listens.
            if matches!(parcel, Parcel::Text(_)) {
                let back = if way == Way::ToFront { Way::ToClient } else { Way::ToFront };
                self.link_send(id, back, Parcel::Close("connection reset".into()));
            }
            self.link_forget_if_dead(id);
            return;
        }
        match (way, parcel) {
            (Way::ToFront, Parcel::Text(text)) => {
                self.hear_front(FrontInput::Message { client: ClientId(id), text });
            }
            (Way::ToFront, Parcel::Close(_)) => {
                link.at_front = false;
                self.hear_front(FrontInput::Disconnected { client: ClientId(id) });
            }
            (Way::ToClient, Parcel::Text(text)) => self.hear_link(to, LinkEvent::Message { text }),
            (Way::ToClient, Parcel::Close(reason)) => {
                link.at_client = false;
                self.nodes[to].link = None;
                self.hear_link(to, LinkEvent::Down { reason });
            }
        }
        self.link_forget_if_dead(id);
    }

    fn link_forget_if_dead(&mut self, id: u64) {
        if self.links.get(&id).is_some_and(|link| !link.alive() && link.ways.iter().all(|way| way.held.is_empty()))
        {
            self.links.remove(&id);
        }
    }

    fn link_timed_out(&mut self, id: u64, way: Way) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let stream = &mut link.ways[way as usize];
        stream.timing = false;
        if stream.held.is_empty() {
            return;
        }
        stream.held.clear();
        // The other end was not told: to it the link is half open.
        link.silent = true;
        let node = link.client;
        match way {
            Way::ToFront if link.at_client && self.nodes[node].link == Some(id) => {
                link.at_client = false;
                self.nodes[node].link = None;
                self.hear_link(node, LinkEvent::Down { reason: "timed out".into() });
            }
            Way::ToClient if link.at_front && self.nodes[FRONT].life == link.front_life => {
                link.at_front = false;
                self.hear_front(FrontInput::Disconnected { client: ClientId(id) });
            }
            _ => {}
        }
        self.link_forget_if_dead(id);
    }

    /// A process with links ended. Unless its machine lost power, the operating system closes them.
    pub(super) fn link_crash(&mut self, node: usize, power_cut: bool) {
        let way = if node == FRONT { Way::ToClient } else { Way::ToFront };
        let mine: Vec<u64> =
            self.links.iter().filter(|(_, link)| link.ends(way).0 == node).map(|(id, _)| *id).collect();
        for id in mine {
            let Some(link) = self.links.get_mut(&id) else { continue };
            let open = if node == FRONT { &mut link.at_front } else { &mut link.at_client };
            if std::mem::replace(open, false) && !power_cut {
                self.link_send(id, way, Parcel::Close("connection reset".into()));
            }
        }
        self.nodes[node].link = None;
    }

    /// Resets a link: both ends hear of it.
    pub(super) fn link_cut(&mut self, id: u64) {
        self.link_send(id, Way::ToFront, Parcel::Close("connection reset".into()));
        self.link_send(id, Way::ToClient, Parcel::Close("connection reset".into()));
    }

    /// A way is open again: what was held goes on.
    pub(super) fn link_resume(&mut self, from: usize, to: usize) {
        let way = match (from, to) {
            (_, FRONT) => Way::ToFront,
            (FRONT, _) => Way::ToClient,
            _ => return,
        };
        let ids: Vec<u64> =
            self.links.iter().filter(|(_, link)| link.ends(way) == (from, to)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(link) = self.links.get_mut(&id) else { continue };
            if !link.silent {
                for parcel in std::mem::take(&mut link.ways[way as usize].held) {
                    self.link_send(id, way, parcel);
                }
            }
        }
    }
}
