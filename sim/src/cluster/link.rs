//! Connections between fronts: each way its own, in order, or broken and dialled again.

use std::time::Duration;

use bytes::Bytes;
use kollator_core::cluster::FrontId;
use kollator_core::machine::Instant;
use kollator_core::node::front::FrontInput;

use super::{Event, FaultKind, World};

/// A connection over which nothing gets for so long is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// What came before its turn is looked at again after so long.
pub(super) const AGAIN: Duration = Duration::from_micros(10);

/// The connection from one front to another.
#[derive(Debug, Default)]
pub(super) struct Link {
    up: bool,
    /// What was sent on an earlier connection does not arrive on this one.
    generation: u32,
    /// When the newest message arrives.
    ready: Instant,
    /// Messages sent on this connection, and arrived: nothing overtakes what is held up.
    counts: (u64, u64),
    /// Until when something is held up.
    held: Instant,
}

impl World {
    /// Tries to connect, now and again and again.
    pub(super) fn dial(&mut self, from: usize, to: usize) {
        let wait = Duration::from_millis(100 + self.rng.below(200));
        self.after(wait, Event::Dial { from, to });
        let able = |front: usize| {
            let node = &self.fronts[front];
            node.machine.is_some() && node.paused_until <= self.now
        };
        let open = self.shut_until(from, to).is_none() && self.shut_until(to, from).is_none();
        if !open || !able(from) || !able(to) || self.links[&(from, to)].up {
            return;
        }
        let link = self.links.get_mut(&(from, to)).expect("every two fronts have a link");
        link.up = true;
        link.generation += 1;
        (link.ready, link.held, link.counts) = (self.now, self.now, (0, 0));
        let life = self.fronts[from].life;
        let latency = self.latency();
        let input = FrontInput::PeerUp { front: FrontId(to as u8) };
        self.after(latency, Event::FrontHear { front: from, life, input });
    }

    pub(super) fn link_send(&mut self, from: usize, to: usize, data: Bytes) {
        if self.strikes(FaultKind::Nonsense) {
            let junk = (0..self.rng.below(40)).map(|_| self.rng.next_u64() as u8).collect();
            self.link_carry(from, to, junk);
        }
        self.link_carry(from, to, data);
    }

    fn link_carry(&mut self, from: usize, to: usize, data: Bytes) {
        let at = self.now + self.latency();
        let link = self.links.get_mut(&(from, to)).expect("every two fronts have a link");
        if link.up {
            link.ready = link.ready.max(at);
            let (at, generation, number) = (link.ready, link.generation, link.counts.0);
            link.counts.0 += 1;
            self.heap.push(at, Event::Deliver { from, to, generation, number, data });
        }
    }

    pub(super) fn deliver(&mut self, from: usize, to: usize, generation: u32, number: u64, data: Bytes) {
        let shut = self.shut_until(from, to);
        let link = self.links.get_mut(&(from, to)).expect("every two fronts have a link");
        if link.generation != generation {
            return;
        }
        let early = (link.counts.1 != number).then(|| link.held.max(self.now + AGAIN));
        if let Some(at) = shut.max(early) {
            link.held = at;
            self.heap.push(at, Event::Deliver { from, to, generation, number, data });
            return;
        }
        link.counts.1 += 1;
        let life = self.fronts[to].life;
        let data = match &mut self.planter {
            Some(planter) => planter.carries(data),
            None => data,
        };
        self.front_hears(to, life, FrontInput::PeerMessage { front: FrontId(from as u8), data });
    }

    /// A connection ends, and its beginner hears of it.
    pub(super) fn link_drop(&mut self, from: usize, to: usize, generation: u32) {
        let link = self.links.get_mut(&(from, to)).expect("every two fronts have a link");
        if !link.up || link.generation != generation {
            return;
        }
        link.up = false;
        link.generation += 1;
        let life = self.fronts[from].life;
        self.front_hears(from, life, FrontInput::PeerDown { front: FrontId(to as u8) });
    }

    /// Nothing gets from one node to another for a while.
    pub(super) fn shut(&mut self, from: usize, to: usize, lasts: Duration) {
        let until = self.shut.entry((from, to)).or_default();
        *until = (self.now + lasts).max(*until);
    }

    /// Nothing gets from one front to another for a while.
    pub(super) fn shut_link(&mut self, from: usize, to: usize, lasts: Duration) {
        self.shut(from, to, lasts);
        if lasts > PATIENCE {
            for (from, to) in [(from, to), (to, from)] {
                let generation = self.links[&(from, to)].generation;
                self.after(PATIENCE, Event::LinkDrop { from, to, generation });
            }
        }
    }

    /// A front is gone: its own connections with it; those to it are noticed at once, or late.
    pub(super) fn links_of_dead(&mut self, front: usize, silent: bool) {
        for other in (0..self.fronts.len()).filter(|other| *other != front) {
            let own = self.links.get_mut(&(front, other)).expect("every two fronts have a link");
            own.up = false;
            own.generation += 1;
            let generation = self.links[&(other, front)].generation;
            let noticed = if silent { PATIENCE } else { self.latency() };
            self.after(noticed, Event::LinkDrop { from: other, to: front, generation });
        }
    }

    pub(super) fn lose_link(&mut self, from: usize, to: usize) -> bool {
        let Some(link) = self.links.get(&(from, to)).filter(|link| link.up) else { return false };
        let generation = link.generation;
        self.link_drop(from, to, generation);
        true
    }
}
