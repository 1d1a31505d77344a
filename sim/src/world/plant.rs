//! Bugs on purpose: each alters what sound machines say, to prove that some judge would notice.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kollator_core::machine::Instant;
use kollator_core::merkle::BLOCK_LEN;
use kollator_core::node::front::{ClientId, FrontOutput};
use kollator_core::node::io::{DiskCommand, Place};
use kollator_core::node::peer::{PeerEvent, PeerOutput, SourceName, Totals, WebCommand, WebId};
use kollator_core::node::worker::{WorkerInput, WorkerOutput};
use kollator_core::rtc::{RtcCommand, RtcEvent};
use kollator_core::wire::frame::Frame;
use kollator_core::wire::signal::FromFront;

use super::{Input, Output};
use crate::kinds::kinds;
use crate::oracle::EXCUSE;
use crate::plant;

kinds! {
    /// A bug that can be planted.
    pub enum Plant: plant::Plant, judges -> &'static [&'static str] {
        /// A peer writes blocks to another place than theirs.
        MisplacedWrite = &["written"],
        /// A peer writes blocks twice.
        DoubleWrite = &["written"],
        /// A peer says that a download is complete before the disk made it durable.
        EarlyComplete = &["completed"],
        /// A peer keeps it to itself that a download is complete.
        SilentComplete = &["completed"],
        /// A peer tells twice of what it gained.
        DoubleGain = &["gained"],
        /// A peer keeps to itself what it gained.
        SilentGain = &["gained"],
        /// A peer blames every source it meets.
        BlameHonest = &["blame"],
        /// A peer cuts liars off and blames nobody.
        ForgiveLiar = &["blame"],
        /// A peer says of every failure that no worker can be reached.
        FalseExcuse = &["excuses"],
        /// A peer asks for everything twice.
        DoubleRequest = &["requests"],
        /// A peer has more in flight than it was allowed.
        Greedy = &["requests"],
        /// A peer knows no limits.
        Limitless = &["limits"],
        /// A front delivers a signal to the wrong client.
        Misdelivery = &["delivery"],
        /// A front delivers a signal twice.
        Redelivery = &["delivery"],
        /// A front sends to a client that it closed.
        SendAfterClose = &["delivery"],
        /// A front welcomes clients without naming their worker.
        NoWorker = &["ring"],
        /// A front does not tell clients that their worker changed.
        StaleWorker = &["ring"],
        /// A worker acknowledges chunks as soon as it hears of them.
        EarlyAck = &["durable"],
        /// A worker serves what it has not verified.
        Unverified = &["served"],
        /// A machine wants to be woken at once, always.
        Restless = &["spin"],
        /// A peer forgets to close connections.
        LeakConnection = &["leaks"],
        /// A peer's requests for blocks are never sent.
        LostRequest = &["liveness"],
        /// A peer sends every request over HTTP many times.
        FloodWeb = &["web"],
        /// A peer forgives workers that lie over HTTP.
        ForgiveWebLiar = &["web"],
        /// A peer's requests over HTTP are never sent.
        LostWebRequest = &["liveness"],
    }
}

/// A planted bug at work in one process.
pub(super) struct Planter {
    plant: Plant,
    /// Clients of a front that were sent something.
    clients: Vec<ClientId>,
}

impl Planter {
    pub(super) const fn new(plant: Plant) -> Self {
        Self { plant, clients: Vec::new() }
    }

    /// What the process says at once on hearing something, before its machine has a word.
    pub(super) fn hears(&self, input: &Input, out: &mut VecDeque<Output>) {
        if let (Plant::EarlyAck, Input::Worker(WorkerInput::Rtc(RtcEvent::Message { conn, data }))) =
            (self.plant, input)
            && let Ok(Frame::ChunkStore { request, chunks }) = Frame::decode(data.clone())
        {
            let frame = Frame::ChunkStored { request, chunk: chunks[0] };
            out.push_back(Output::Worker(WorkerOutput::Rtc(RtcCommand::Send { conn: *conn, frame })));
        }
    }

    /// What the process says where its machine said `output`.
    pub(super) fn says(&mut self, output: Output, out: &mut VecDeque<Output>) {
        match output {
            Output::Front(output) => self.front_says(output, out),
            Output::Worker(WorkerOutput::Rtc(RtcCommand::Send {
                conn,
                frame: Frame::ChunkResponse { request, first, data },
            })) if self.plant == Plant::Unverified => {
                let frame = Frame::ChunkResponse { request, first, data: flipped(&data) };
                out.push_back(Output::Worker(WorkerOutput::Rtc(RtcCommand::Send { conn, frame })));
            }
            Output::Peer(output) => self.peer_says(output, out),
            other @ Output::Worker(_) => out.push_back(other),
        }
    }

    /// When the process wants to be woken, where its machine wants `next`.
    pub(super) fn wakes(&self, now: Instant, next: Option<Instant>) -> Option<Instant> {
        if self.plant == Plant::Restless { Some(now) } else { next }
    }

    fn peer_says(&self, output: PeerOutput, out: &mut VecDeque<Output>) {
        let mut say = |output| out.push_back(Output::Peer(output));
        match (self.plant, output) {
            (
                Plant::MisplacedWrite,
                PeerOutput::Disk(DiskCommand::Write { ticket, info_hash, places, blocks }),
            ) => {
                let offset = if places[0].offset == 0 { u64::from(BLOCK_LEN) } else { 0 };
                let places = Arc::from(vec![Place { offset, ..places[0] }]);
                say(PeerOutput::Disk(DiskCommand::Write { ticket, info_hash, places, blocks }));
            }
            (Plant::DoubleWrite, write @ PeerOutput::Disk(DiskCommand::Write { .. })) => {
                say(write.clone());
                say(write);
            }
            (Plant::EarlyComplete, finish @ PeerOutput::Disk(DiskCommand::Finish { info_hash })) => {
                say(finish);
                say(PeerOutput::Event(PeerEvent::Completed { info_hash, totals: Totals::default() }));
            }
            (Plant::DoubleGain, gained @ PeerOutput::Event(PeerEvent::Gained { .. })) => {
                say(gained.clone());
                say(gained);
            }
            (Plant::SilentGain, PeerOutput::Event(PeerEvent::Gained { .. }))
            | (Plant::SilentComplete, PeerOutput::Event(PeerEvent::Completed { .. }))
            | (Plant::ForgiveLiar, PeerOutput::Event(PeerEvent::Blamed { .. }))
            | (Plant::LeakConnection, PeerOutput::Rtc(RtcCommand::Close { .. }))
            | (Plant::LostRequest, PeerOutput::Rtc(RtcCommand::Send { frame: Frame::ChunkRequest { .. }, .. }))
            | (Plant::LostWebRequest, PeerOutput::Web(_))
            | (
                Plant::ForgiveWebLiar,
                PeerOutput::Event(
                    PeerEvent::Blamed { source: SourceName::Web(_), .. }
                    | PeerEvent::SourceDown { source: SourceName::Web(_), .. },
                ),
            ) => {}
            (Plant::FloodWeb, PeerOutput::Web(WebCommand::Request { id, worker, ask })) => {
                for copy in 0..5 {
                    let (id, worker) = (WebId(id.0 * 5 + copy), worker.clone());
                    say(PeerOutput::Web(WebCommand::Request { id, worker, ask }));
                }
            }
            (Plant::FalseExcuse, PeerOutput::Event(PeerEvent::Failed { info_hash, .. })) => {
                let reason = EXCUSE.into();
                say(PeerOutput::Event(PeerEvent::Failed { info_hash, reason }));
            }
            (Plant::BlameHonest, up @ PeerOutput::Event(PeerEvent::SourceUp { .. })) => {
                if let PeerOutput::Event(PeerEvent::SourceUp { source, .. }) = &up {
                    let offence = "looks suspicious".into();
                    say(PeerOutput::Event(PeerEvent::Blamed { source: source.clone(), offence }));
                }
                say(up);
            }
            (
                Plant::DoubleRequest,
                PeerOutput::Rtc(RtcCommand::Send {
                    conn,
                    frame: Frame::ChunkRequest { request, chunk, first, count },
                }),
            ) => {
                for request in [request, request ^ 0x4000_0000] {
                    let frame = Frame::ChunkRequest { request, chunk, first, count };
                    say(PeerOutput::Rtc(RtcCommand::Send { conn, frame }));
                }
            }
            (_, output) => say(output),
        }
    }

    fn front_says(&mut self, output: FrontOutput, out: &mut VecDeque<Output>) {
        let mut say = |output| out.push_back(Output::Front(output));
        let (client, text) = match output {
            FrontOutput::Send { client, text } => (client, text),
            close @ FrontOutput::Close { client, .. } => {
                say(close);
                if self.plant == Plant::SendAfterClose {
                    say(FrontOutput::Send { client, text: FromFront::Pong {}.to_text() });
                }
                return;
            }
            other => return say(other),
        };
        let other = self.clients.iter().rev().find(|other| **other != client).copied();
        self.clients.push(client);
        match (self.plant, FromFront::parse(text.as_bytes())) {
            (Plant::Misdelivery, Ok(FromFront::Signal { .. })) => {
                say(FrontOutput::Send { client: other.unwrap_or(client), text });
            }
            (Plant::Redelivery, Ok(FromFront::Signal { .. })) => {
                say(FrontOutput::Send { client, text: text.clone() });
                say(FrontOutput::Send { client, text });
            }
            (Plant::NoWorker, Ok(FromFront::Welcome(mut bootstrap))) => {
                bootstrap.worker = None;
                say(FrontOutput::Send { client, text: FromFront::Welcome(bootstrap).to_text() });
            }
            (Plant::StaleWorker, Ok(FromFront::Assign { .. })) => {}
            _ => say(FrontOutput::Send { client, text }),
        }
    }
}

fn flipped(data: &Bytes) -> Bytes {
    let mut data = BytesMut::from(&data[..]);
    if let Some(byte) = data.last_mut() {
        *byte ^= 1;
    }
    data.freeze()
}
