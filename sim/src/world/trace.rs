//! What of an event of a worker or a peer goes into the hash of a run.

use kollator_core::node::io::{DiskEvent, LinkEvent};
use kollator_core::node::peer::{PeerInput, WebEvent};
use kollator_core::node::worker::WorkerInput;
use kollator_core::rtc::RtcEvent;
use kollator_core::store::{HomeAnswer, Outcome, PartData};

use crate::trace::Trace;

impl Trace {
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
            WorkerInput::HomeAnswered { ticket, answer } => {
                self.word(ticket.0);
                match answer {
                    HomeAnswer::Chunk(chunk) => self.bytes(chunk.data()),
                    other => self.text(other),
                }
            }
            WorkerInput::Hashed { ticket, .. } => self.word(ticket.0),
            WorkerInput::Clock { unix_ms: told } | WorkerInput::Memory { bytes: told } => self.word(*told),
            WorkerInput::Ask { id, ask } => {
                self.word(id.0);
                self.text(ask);
            }
            WorkerInput::Dht(event) => self.text(event),
            WorkerInput::Ahead { body, next } => {
                self.word(*body);
                self.text(next);
            }
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
            PeerInput::Web(event) => match event {
                WebEvent::Data { id, data } => {
                    self.word(id.0);
                    self.bytes(data);
                }
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
