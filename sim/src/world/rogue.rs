//! Strangers at the front's door: WebSockets that belong to no node and mean no good.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kollator_core::id::{Digest, PeerId};
use kollator_core::node::front::{ClientId, FrontInput};
use kollator_core::wire::signal::{Role, Signal, ToFront, VERSION, WorkerHello};

use super::{Event, FRONT, Input, World};

/// The strangers' WebSockets are numbered from here.
const FIRST: u64 = 1 << 40;

/// A worker's hello that a stranger overheard.
pub(super) type Overheard = Option<ToFront>;

impl World {
    /// Bytes and messages that are none of the protocol's.
    pub(super) fn rogue_junk(&mut self) -> bool {
        let client = self.rogue_connects();
        let id = self.random_id();
        let texts: [Vec<u8>; 6] = [
            vec![0xFF, 0xFE, 0x00],
            b"{\"type\":\"hello\"}".to_vec(),
            b"[]".to_vec(),
            vec![b'['; 70_000],
            ToFront::Signal { to: id, session: 1, body: Signal::Unreachable {} }.to_text().into_bytes(),
            ToFront::Hello { version: 7, id, role: Role::Peer {} }.to_text().into_bytes(),
        ];
        for _ in 0..1 + self.rng.below(4) {
            let at = self.dice(texts.len());
            self.rogue_says(client, texts[at].clone());
        }
        self.rogue_leaves(client);
        true
    }

    /// Offers and answers to whoever is there, with descriptions that lead nowhere.
    pub(super) fn rogue_signal(&mut self) -> bool {
        let client = self.rogue_connects();
        let hello = ToFront::Hello { version: VERSION, id: self.random_id(), role: Role::Peer {} };
        self.rogue_says(client, hello.to_text().into_bytes());
        for _ in 0..1 + self.rng.below(6) {
            let to = self.dice(self.nodes.len());
            let session = self.rng.below(4) as u32;
            let sdp = if self.rng.one_in(2) { "v=0 nonsense".into() } else { format!("sim 99 0 {session}") };
            let body = match self.rng.below(4) {
                0 => Signal::Answer { sdp },
                1 => Signal::Candidate { candidate: "candidate:nowhere".into() },
                2 => Signal::Bye { reason: "because".into() },
                _ => Signal::Offer { sdp },
            };
            let to = self.nodes[to].id;
            self.rogue_says(client, ToFront::Signal { to, session, body }.to_text().into_bytes());
        }
        self.rogue_leaves(client);
        true
    }

    /// A hello of a worker with a made-up proof, or with one that was overheard.
    pub(super) fn rogue_worker(&mut self) -> bool {
        let client = self.rogue_connects();
        let id = self.random_id();
        let hello = match self.overheard.clone() {
            Some(ToFront::Hello { version, role, .. }) if self.rng.one_in(2) => {
                ToFront::Hello { version, id, role }
            }
            _ => {
                let name = format!("worker-{}", self.rng.below(4));
                let http = "http://192.0.2.66:80".into();
                let mac = Digest([self.rng.next_u64() as u8; 32]);
                let timestamp_ms = self.unix_ms();
                let region = String::new();
                let hello = WorkerHello { name, capacity: 1000, http, region, timestamp_ms, mac };
                let role = Role::Worker(hello);
                ToFront::Hello { version: VERSION, id, role }
            }
        };
        self.rogue_says(client, hello.to_text().into_bytes());
        self.rogue_leaves(client);
        true
    }

    fn rogue_connects(&mut self) -> ClientId {
        let client = ClientId(FIRST + self.next_rogue);
        self.next_rogue += 1;
        let ip = IpAddr::V4(Ipv4Addr::new(203, 0, 113, self.rng.below(250) as u8));
        self.rogue_does(FrontInput::Connected { client, ip });
        client
    }

    fn rogue_says(&mut self, client: ClientId, text: Vec<u8>) {
        self.rogue_does(FrontInput::Message { client, text: text.into() });
    }

    fn rogue_leaves(&mut self, client: ClientId) {
        let stays = Duration::from_millis(self.rng.below(5_000));
        self.hear_later(stays, FRONT, Input::Front(FrontInput::Disconnected { client }));
    }

    fn rogue_does(&mut self, input: FrontInput) {
        let life = self.nodes[FRONT].life;
        self.heap.push(self.now, Event::Hear { node: FRONT, life, input: Input::Front(input) });
    }

    pub(super) fn random_id(&mut self) -> PeerId {
        let mut id = [0; 32];
        for word in id.as_chunks_mut::<8>().0 {
            *word = self.rng.next_u64().to_le_bytes();
        }
        PeerId(Digest(id))
    }
}
