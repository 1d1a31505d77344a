//! The hash of a run: every event that happened, in order. Two runs are the same run if their hashes are.
//! Must never depend on an address, a hasher's seed or the time of day.

use kollator_core::machine::Instant;
use kollator_core::node::front::FrontInput;
use kollator_core::node::io::{DiskEvent, LinkEvent};
use kollator_core::node::peer::PeerInput;
use kollator_core::node::worker::WorkerInput;
use kollator_core::rtc::RtcEvent;
use kollator_core::store::{Outcome, PartData};

/// FNV-1a over 64-bit words.
pub(super) struct Trace(u64);

impl Trace {
    pub(super) const fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    pub(super) const fn value(&self) -> u64 {
        self.0
    }

    pub(super) fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01B3);
        self.0 ^= self.0 >> 29;
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.word(u64::from(*byte));
        }
    }

    /// Something that happened at `at` to the `node`th machine.
    pub(super) fn step(&mut self, at: Instant, node: usize) {
        self.word(at.as_nanos());
        self.word(node as u64);
    }

    /// Small things, by their debug text.
    pub(super) fn text(&mut self, thing: &impl std::fmt::Debug) {
        self.bytes(format!("{thing:?}").as_bytes());
    }

    pub(super) fn front(&mut self, input: &FrontInput) {
        match input {
            FrontInput::Wake => self.word(1),
            FrontInput::Message { client, text } => {
                self.word(client.0);
                self.bytes(text);
            }
            other => self.text(other),
        }
    }

    pub(super) fn worker(&mut self, input: &WorkerInput) {
        match input {
            WorkerInput::Wake => self.word(1),
            WorkerInput::Link(event) => self.link(event),
            WorkerInput::Rtc(event) => self.rtc(event),
            WorkerInput::Store(done) => {
                self.word(done.ticket.0);
                match &done.outcome {
                    Outcome::Read(PartData::Leaves(leaves)) => leaves.iter().for_each(|leaf| self.bytes(&leaf.0)),
                    Outcome::Read(PartData::Blocks(data)) => self.bytes(data),
                    Outcome::Chunk(Some(chunk)) => self.bytes(chunk.data()),
                    Outcome::Torrent(Some(ko)) => self.bytes(ko),
                    other => self.text(other),
                }
            }
            WorkerInput::Hashed { ticket, .. } => self.word(ticket.0),
            WorkerInput::Clock { unix_ms } => self.word(*unix_ms),
            WorkerInput::Drain => self.word(2),
        }
    }

    pub(super) fn peer(&mut self, input: &PeerInput) {
        match input {
            PeerInput::Wake => self.word(1),
            PeerInput::Command(_) => self.word(2),
            PeerInput::Link(event) => self.link(event),
            PeerInput::Rtc(event) => self.rtc(event),
            PeerInput::Disk(event) => match event {
                DiskEvent::Read { ticket, data: Ok(data) } => {
                    self.word(ticket.0);
                    self.bytes(data);
                }
                DiskEvent::Hashed { ticket, .. } => self.word(ticket.0),
                other => self.text(other),
            },
        }
    }

    fn link(&mut self, event: &LinkEvent) {
        match event {
            LinkEvent::Message { text } => self.bytes(text),
            other => self.text(other),
        }
    }

    fn rtc(&mut self, event: &RtcEvent) {
        match event {
            RtcEvent::Message { conn, data } => {
                self.word(conn.0);
                self.bytes(data);
            }
            other => self.text(other),
        }
    }
}
