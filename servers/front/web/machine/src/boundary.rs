//! The boundary itself: one machine, told in bytes what happened, saying in bytes what it wants. Safe code, the same on
//! every target. Whatever a host gives that makes no sense is refused in words and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kollator_core::machine::{Instant, Machine};
use kollator_core::merkle::{BLOCK_LEN, HashedBlocks};
use kollator_core::metainfo::Metainfo;
use kollator_core::node::io::{DiskCommand, DiskError, DiskEvent, LinkEvent, Place, Ticket};
use kollator_core::node::peer::{Command, Order, Peer, PeerInput, PeerOutput, WebEvent, WebId};
use kollator_core::rtc::{ConnId, RtcEvent};

use crate::calls;
use crate::inputs::{Config, Input, MAX_SAFE, claims, cut, digests};
use crate::outputs::write_output;

/// The latest time that is believed: some thirty years, in milliseconds.
const MAX_NOW: f64 = 1e12;

/// One machine and what its host has yet to answer.
#[derive(Debug, Default)]
pub struct Boundary {
    running: Option<Running>,
    /// The output or answer that the host reads last. Kept for its room.
    out: Vec<u8>,
}

#[derive(Debug)]
struct Running {
    peer: Peer,
    now: Instant,
    /// What the disk was asked and has not answered.
    open: BTreeMap<Ticket, Asked>,
}

/// What an answer of the disk must fit.
#[derive(Debug)]
enum Asked {
    Read {
        length: u32,
    },
    Leaves {
        blocks: usize,
    },
    /// The blocks themselves: they go on with the hashes, so that the host need not give them back.
    Hash {
        data: Bytes,
    },
    Write,
}

impl Asked {
    const fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "diskRead",
            Self::Leaves { .. } => "diskReadLeaves",
            Self::Hash { .. } => "diskHash",
            Self::Write => "diskWrite",
        }
    }
}

impl Boundary {
    /// Starts the machine, with settings in JSON.
    ///
    /// # Errors
    /// If the settings are not settings, or it was started already.
    pub fn start(&mut self, config: &[u8]) -> Result<(), String> {
        if self.running.is_some() {
            return Err("the machine was started already".into());
        }
        let config: Config = serde_json::from_slice(config).map_err(|error| format!("the settings: {error}"))?;
        let mut peer = Peer::new(config.into_core());
        peer.handle(Instant::ZERO, PeerInput::Wake);
        self.running = Some(Running { peer, now: Instant::ZERO, open: BTreeMap::new() });
        Ok(())
    }

    /// Tells the machine what happened `now_ms` milliseconds after it was started: `input` is a header of `header_len`
    /// bytes and a payload. A time before the last one counts as the last one.
    ///
    /// # Errors
    /// What is wrong with the input, which then did nothing.
    pub fn handle(&mut self, now_ms: f64, input: &Bytes, header_len: usize) -> Result<(), String> {
        let running = self.running.as_mut().ok_or("the machine was not started")?;
        if !(0.0..=MAX_NOW).contains(&now_ms) {
            return Err(format!("the time must be from 0 to {MAX_NOW} milliseconds, got {now_ms}"));
        }
        let (header, payload) = cut(input, header_len)?;
        let header: Input =
            serde_json::from_slice(header).map_err(|error| format!("the input's header: {error}"))?;
        if !header.takes_payload() && !payload.is_empty() {
            return Err(format!("this input takes no payload, got {} bytes", payload.len()));
        }
        let input = running.input(header, payload)?;
        running.now = running.now.max(Instant::from_nanos((now_ms * 1e6).round() as u64));
        running.peer.handle(running.now, input);
        Ok(())
    }

    /// The next output, as bytes that stay until the next call of anything: the length of its header (four bytes, little
    /// endian), the header, the payload.
    pub fn poll(&mut self) -> Option<&[u8]> {
        let running = self.running.as_mut()?;
        let output = running.peer.poll()?;
        running.note(&output);
        write_output(&mut self.out, output);
        Some(&self.out)
    }

    /// When to give the input `wake` if nothing happens before: milliseconds since the start.
    #[must_use]
    pub fn next_wake(&self) -> Option<f64> {
        let at = self.running.as_ref()?.peer.next_wake()?;
        Some(at.as_nanos() as f64 / 1e6)
    }

    /// Answers a question, in the form of an output. Changes nothing.
    pub fn call(&mut self, input: &Bytes, header_len: usize) -> &[u8] {
        let peer = self.running.as_ref().map(|running| &running.peer);
        match cut(input, header_len) {
            Ok((header, payload)) => calls::answer(&mut self.out, peer, header, payload),
            Err(message) => calls::answer_unreadable(&mut self.out, message),
        }
        &self.out
    }
}

impl Running {
    /// Remembers what an answer to this output must fit.
    fn note(&mut self, output: &PeerOutput) {
        let PeerOutput::Disk(command) = output else { return };
        let (ticket, asked) = match command {
            DiskCommand::Read { ticket, length, .. } => (ticket, Asked::Read { length: *length }),
            DiskCommand::ReadLeaves { ticket, length, .. } => {
                (ticket, Asked::Leaves { blocks: length.div_ceil(BLOCK_LEN) as usize })
            }
            DiskCommand::Hash { ticket, data } => (ticket, Asked::Hash { data: data.clone() }),
            DiskCommand::Write { ticket, .. } => (ticket, Asked::Write),
            DiskCommand::Prepare { .. } | DiskCommand::Finish { .. } => return,
        };
        self.open.insert(*ticket, asked);
    }

    /// What core calls this input. Nothing has changed if it is none, but that a ticket is closed once it fits.
    fn input(&mut self, header: Input, payload: Bytes) -> Result<PeerInput, String> {
        Ok(match header {
            Input::Wake {} => PeerInput::Wake,
            Input::Download { info_hash, sequential } => {
                let metainfo = if payload.is_empty() { None } else { Some(parse(payload)?) };
                if let Some(other) = metainfo.as_ref().filter(|metainfo| metainfo.info_hash() != info_hash) {
                    return Err(format!("the payload is the .ko of {}, not of {info_hash}", other.info_hash()));
                }
                let order = if sequential { Order::Sequential } else { Order::RarestFirst };
                PeerInput::Command(Command::Download { info_hash, metainfo, order })
            }
            Input::Share { upload } => PeerInput::Command(Command::Share { metainfo: parse(payload)?, upload }),
            Input::Seek { info_hash, file, offset } => {
                let place = match (file, offset) {
                    (None, None) => None,
                    (Some(file), Some(offset)) if offset <= MAX_SAFE => Some(Place { file, offset }),
                    (Some(_), Some(offset)) => return Err(format!("no file has a byte {offset}")),
                    _ => return Err("seek needs both a file and an offset, or neither".into()),
                };
                PeerInput::Command(Command::Seek { info_hash, place })
            }
            Input::AddWorkers { info_hash, workers } => {
                let workers = workers.into_iter().map(|url| url.0).collect();
                PeerInput::Command(Command::AddWorkers { info_hash, workers })
            }
            Input::Meet { info_hash, peer } => PeerInput::Command(Command::Meet { info_hash, peer }),
            Input::SetDiscovery { interval } => {
                let interval = Duration::from_millis(interval.into());
                PeerInput::Command(Command::SetDiscovery { interval })
            }
            Input::Stop { info_hash } => PeerInput::Command(Command::Stop { info_hash }),
            Input::SetLimits { upload, download } => PeerInput::Command(Command::SetLimits { upload, download }),
            Input::Shutdown {} => PeerInput::Command(Command::Shutdown),
            Input::LinkUp {} => PeerInput::Link(LinkEvent::Up),
            Input::LinkMessage {} => PeerInput::Link(LinkEvent::Message { text: payload }),
            Input::LinkDown { reason } => PeerInput::Link(LinkEvent::Down { reason }),
            Input::RtcDescribed { conn, sdp } => PeerInput::Rtc(RtcEvent::Described { conn: ConnId(conn), sdp }),
            Input::RtcOpen { conn } => PeerInput::Rtc(RtcEvent::Open { conn: ConnId(conn) }),
            Input::RtcMessage { conn } => PeerInput::Rtc(RtcEvent::Message { conn: ConnId(conn), data: payload }),
            Input::RtcSent { conn, bytes } => PeerInput::Rtc(RtcEvent::Sent { conn: ConnId(conn), bytes }),
            Input::RtcClosed { conn, reason } => PeerInput::Rtc(RtcEvent::Closed { conn: ConnId(conn), reason }),
            Input::DiskPrepared { info_hash, claims: claimed, error } => {
                let found = match (claimed, error) {
                    (_, Some(error)) => Err(DiskError(error)),
                    (Some(claimed), None) => Ok(claims(&claimed, &payload)?),
                    (None, None) => return Err("diskPrepared needs either claims or an error".into()),
                };
                PeerInput::Disk(DiskEvent::Prepared { info_hash, found })
            }
            Input::DiskFinished { info_hash, error } => {
                PeerInput::Disk(DiskEvent::Finished { info_hash, result: failure(error) })
            }
            Input::DiskRead { ticket, error } => PeerInput::Disk(self.read(Ticket(ticket), error, payload)?),
            Input::DiskLeaves { ticket, error } => {
                PeerInput::Disk(self.leaves(Ticket(ticket), error, &payload)?)
            }
            Input::DiskHashed { ticket } => PeerInput::Disk(self.hashed(Ticket(ticket), &payload)?),
            Input::DiskWritten { ticket, error } => PeerInput::Disk(self.written(Ticket(ticket), error)?),
            Input::WebHead { id, status, retry_after } => {
                let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds.into()));
                PeerInput::Web(WebEvent::Head { id: WebId(id), status, retry_after })
            }
            Input::WebData { id } => {
                if payload.is_empty() {
                    return Err("webData needs a payload".into());
                }
                PeerInput::Web(WebEvent::Data { id: WebId(id), data: payload })
            }
            Input::WebEnd { id } => PeerInput::Web(WebEvent::End { id: WebId(id) }),
            Input::WebFailed { id, reason } => PeerInput::Web(WebEvent::Failed { id: WebId(id), reason }),
        })
    }

    fn read(&mut self, ticket: Ticket, error: Option<String>, data: Bytes) -> Result<DiskEvent, String> {
        let Asked::Read { length } = self.asked(ticket)? else { return Err(self.misfit(ticket)) };
        let length = *length as usize;
        if error.is_none() && data.len() != length {
            return Err(format!("ticket {} asked for {length} bytes, got {}", ticket.0, data.len()));
        }
        self.open.remove(&ticket);
        Ok(DiskEvent::Read { ticket, data: failure(error).map(|()| data) })
    }

    fn leaves(&mut self, ticket: Ticket, error: Option<String>, payload: &[u8]) -> Result<DiskEvent, String> {
        let Asked::Leaves { blocks } = self.asked(ticket)? else { return Err(self.misfit(ticket)) };
        let leaves = digests(payload)?;
        if error.is_none() && leaves.len() != *blocks {
            return Err(format!("ticket {} asked for {blocks} hashes, got {}", ticket.0, leaves.len()));
        }
        self.open.remove(&ticket);
        Ok(DiskEvent::Leaves { ticket, leaves: failure(error).map(|()| leaves) })
    }

    fn hashed(&mut self, ticket: Ticket, payload: &[u8]) -> Result<DiskEvent, String> {
        let Asked::Hash { data } = self.asked(ticket)? else { return Err(self.misfit(ticket)) };
        let (hashes, blocks) = (digests(payload)?, data.len().div_ceil(BLOCK_LEN as usize));
        if hashes.len() != blocks {
            return Err(format!("ticket {} asked for {blocks} hashes, got {}", ticket.0, hashes.len()));
        }
        let blocks = HashedBlocks::from_engine(data.clone(), hashes);
        self.open.remove(&ticket);
        Ok(DiskEvent::Hashed { ticket, blocks })
    }

    fn written(&mut self, ticket: Ticket, error: Option<String>) -> Result<DiskEvent, String> {
        let Asked::Write = self.asked(ticket)? else { return Err(self.misfit(ticket)) };
        self.open.remove(&ticket);
        Ok(DiskEvent::Written { ticket, result: failure(error) })
    }

    fn asked(&self, ticket: Ticket) -> Result<&Asked, String> {
        self.open.get(&ticket).ok_or_else(|| format!("nothing with ticket {} waits for an answer", ticket.0))
    }

    fn misfit(&self, ticket: Ticket) -> String {
        let name = self.open.get(&ticket).map_or("nothing", Asked::name);
        format!("ticket {} is of {name}: this is no answer to it", ticket.0)
    }
}

/// What an answer without an error means.
fn failure(error: Option<String>) -> Result<(), DiskError> {
    error.map_or(Ok(()), |error| Err(DiskError(error)))
}

fn parse(ko: Bytes) -> Result<Arc<Metainfo>, String> {
    Metainfo::parse(ko).map(Arc::new).map_err(|error| format!("the payload is no .ko: {error}"))
}
