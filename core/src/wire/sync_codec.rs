//! Messages between fronts to bytes and back. Every rule that their bytes must keep is here, once; a message that
//! decodes keeps them all, and encoding it again gives the same bytes.

#[cfg(test)]
mod tests;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::signal::{FULL, MAX_CAPACITY, Signal};
use super::signal_codec::{NAME, REGION, URL, is_http_url, is_region, is_worker_name};
use super::sync::{
    AuthorDigest, ElectionMessage, MAX_MESSAGE, MAX_NUMBER, MAX_ROWS_BYTES, Row, RowKey, RowValue, RowsPart,
    SyncMessage, VERSION, WorkerRow,
};
use crate::cluster::epoch::{Epoch, EpochMember, EpochNumber, MAX_MEMBERS};
use crate::cluster::{FrontId, MAX_FRONTS};
use crate::id::{Digest, InfoHash, PeerId};

/// Version and type.
const HEADER: usize = 2;
/// An author and three numbers.
const AUTHOR_DIGEST: usize = 1 + 3 * 8;
/// Author, incarnation, after, upto, floor, snapshot.
const ROWS_HEAD: usize = 1 + 4 * 8 + 1;
/// A row's kind, number, and whether it has a value.
pub const ROW_HEAD: usize = 1 + 8 + 1;

/// Type bytes.
mod kind {
    pub(super) const PRE_VOTE: u8 = 0x01;
    pub(super) const PRE_VOTE_REPLY: u8 = 0x02;
    pub(super) const VOTE: u8 = 0x03;
    pub(super) const VOTE_REPLY: u8 = 0x04;
    pub(super) const HEARTBEAT: u8 = 0x05;
    pub(super) const HEARTBEAT_REPLY: u8 = 0x06;
    pub(super) const DIGEST: u8 = 0x10;
    pub(super) const ROWS: u8 = 0x11;
    pub(super) const EPOCH: u8 = 0x12;
    pub(super) const SIGNAL: u8 = 0x13;
}

/// What a row is about, and so what it says.
mod row_kind {
    pub(super) const WORKER: u8 = 1;
    pub(super) const CLIENT: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
}

/// What a signal is.
mod signal_kind {
    pub(super) const OFFER: u8 = 1;
    pub(super) const ANSWER: u8 = 2;
    pub(super) const CANDIDATE: u8 = 3;
    pub(super) const BYE: u8 = 4;
    pub(super) const UNREACHABLE: u8 = 5;
    pub(super) const FULL: u8 = 6;
}

/// Why bytes are not a message between fronts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// Longer than any message.
    #[error("a message of {len} bytes is longer than any between fronts ({MAX_MESSAGE})")]
    TooLong {
        /// Bytes in the message.
        len: usize,
    },
    /// Shorter than a header.
    #[error("a message of {len} bytes has no header")]
    NoHeader {
        /// Bytes in the message.
        len: usize,
    },
    /// Of another version of this protocol.
    #[error("version {theirs} is not spoken here, only {VERSION}")]
    Version {
        /// The version byte.
        theirs: u8,
    },
    /// No message of this version has this type.
    #[error("unknown message type {kind:#04x}")]
    UnknownType {
        /// The type byte.
        kind: u8,
    },
    /// The message ends before its fields do.
    #[error("message type {kind:#04x} ends inside its {field}")]
    Truncated {
        /// The type byte.
        kind: u8,
        /// The field that is cut.
        field: &'static str,
    },
    /// Bytes follow the last field.
    #[error("message type {kind:#04x} has {len} bytes too many")]
    Trailing {
        /// The type byte.
        kind: u8,
        /// How many.
        len: usize,
    },
    /// A field holds what it must not.
    #[error("message type {kind:#04x}: {field} must be {expected}")]
    Field {
        /// The type byte.
        kind: u8,
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

/// A field that breaks its rule, and the rule.
type Broken = (&'static str, &'static str);

const NUMBER: &str = "at most 2^62";
const LIFE: &str = "1 to 2^62";
const FRONT: &str = "0 to 31";

impl SyncMessage {
    /// The message's bytes, in one allocation of exactly their length.
    ///
    /// # Panics
    /// If a field is outside the range its documentation gives: such a message must not be made.
    #[must_use]
    pub fn encode(&self) -> BytesMut {
        if let Err((field, expected)) = self.check() {
            panic!("message type {:#04x} made here: {field} must be {expected}", self.kind());
        }
        let len = self.encoded_len();
        let mut out = BytesMut::with_capacity(len);
        out.put_u8(VERSION as u8);
        out.put_u8(self.kind());
        self.put_payload(&mut out);
        assert_eq!(out.len(), len, "encoded_len of message type {:#04x}", self.kind());
        out
    }

    /// Bytes in the encoded message.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        HEADER
            + match self {
                Self::Election(message) => match message {
                    ElectionMessage::PreVote { .. } | ElectionMessage::Vote { .. } => 8,
                    ElectionMessage::PreVoteReply { .. } | ElectionMessage::VoteReply { .. } => 9,
                    ElectionMessage::Heartbeat { .. } | ElectionMessage::HeartbeatReply { .. } => 16,
                },
                Self::Digest { authors, .. } => 16 + authors.len() * AUTHOR_DIGEST,
                Self::Rows(part) => ROWS_HEAD + part.rows.iter().map(Row::encoded_len).sum::<usize>(),
                Self::Epoch(epoch) => {
                    let member = |member: &EpochMember| 1 + member.name.len() + 2 + 1 + member.region.len();
                    16 + epoch.members.iter().map(member).sum::<usize>()
                }
                Self::Signal { body, .. } => 32 + 32 + 4 + 1 + text_of(body).len(),
            }
    }

    /// The message in `data`, one whole message of a connection between fronts.
    ///
    /// # Errors
    /// Names the type byte and the first rule that the message breaks.
    pub fn decode(data: Bytes) -> Result<Self, SyncError> {
        let len = data.len();
        if len > MAX_MESSAGE {
            return Err(SyncError::TooLong { len });
        }
        let (Some(&version), Some(&kind)) = (data.first(), data.get(1)) else {
            return Err(SyncError::NoHeader { len });
        };
        if u16::from(version) != VERSION {
            return Err(SyncError::Version { theirs: version });
        }
        let mut reader = Reader { kind, rest: data.slice(HEADER..) };
        let message = Self::read_payload(&mut reader)?;
        if !reader.rest.is_empty() {
            return Err(SyncError::Trailing { kind, len: reader.rest.len() });
        }
        message.check().map_err(|(field, expected)| SyncError::Field { kind, field, expected })?;
        Ok(message)
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Election(message) => match message {
                ElectionMessage::PreVote { .. } => kind::PRE_VOTE,
                ElectionMessage::PreVoteReply { .. } => kind::PRE_VOTE_REPLY,
                ElectionMessage::Vote { .. } => kind::VOTE,
                ElectionMessage::VoteReply { .. } => kind::VOTE_REPLY,
                ElectionMessage::Heartbeat { .. } => kind::HEARTBEAT,
                ElectionMessage::HeartbeatReply { .. } => kind::HEARTBEAT_REPLY,
            },
            Self::Digest { .. } => kind::DIGEST,
            Self::Rows(_) => kind::ROWS,
            Self::Epoch(_) => kind::EPOCH,
            Self::Signal { .. } => kind::SIGNAL,
        }
    }

    fn put_payload(&self, out: &mut BytesMut) {
        match self {
            Self::Election(message) => match message {
                ElectionMessage::PreVote { term } | ElectionMessage::Vote { term } => out.put_u64(*term),
                ElectionMessage::PreVoteReply { term, granted } | ElectionMessage::VoteReply { term, granted } => {
                    out.put_u64(*term);
                    out.put_u8(u8::from(*granted));
                }
                ElectionMessage::Heartbeat { term, round } | ElectionMessage::HeartbeatReply { term, round } => {
                    out.put_u64(*term);
                    out.put_u64(*round);
                }
            },
            Self::Digest { authors, epoch } => {
                put_epoch_number(out, *epoch);
                for digest in authors {
                    out.put_u8(digest.author.0);
                    out.put_u64(digest.incarnation);
                    out.put_u64(digest.number);
                    out.put_u64(digest.floor);
                }
            }
            Self::Rows(part) => {
                out.put_u8(part.author.0);
                out.put_u64(part.incarnation);
                out.put_u64(part.after);
                out.put_u64(part.upto);
                out.put_u64(part.floor);
                out.put_u8(u8::from(part.snapshot));
                part.rows.iter().for_each(|row| row.put(out));
            }
            Self::Epoch(epoch) => {
                put_epoch_number(out, epoch.number);
                for member in &epoch.members {
                    put_short_text(out, &member.name);
                    out.put_u16(member.capacity);
                    put_short_text(out, &member.region);
                }
            }
            Self::Signal { from, to, session, body } => {
                out.put_slice(&from.0.0);
                out.put_slice(&to.0.0);
                out.put_u32(*session);
                out.put_u8(match body {
                    Signal::Offer { .. } => signal_kind::OFFER,
                    Signal::Answer { .. } => signal_kind::ANSWER,
                    Signal::Candidate { .. } => signal_kind::CANDIDATE,
                    Signal::Bye { .. } => signal_kind::BYE,
                    Signal::Unreachable {} => signal_kind::UNREACHABLE,
                    Signal::Full {} => signal_kind::FULL,
                });
                out.put_slice(text_of(body).as_bytes());
            }
        }
    }

    fn read_payload(r: &mut Reader) -> Result<Self, SyncError> {
        Ok(match r.kind {
            kind::PRE_VOTE => Self::Election(ElectionMessage::PreVote { term: r.u64("term")? }),
            kind::PRE_VOTE_REPLY => {
                Self::Election(ElectionMessage::PreVoteReply { term: r.u64("term")?, granted: r.bool("granted")? })
            }
            kind::VOTE => Self::Election(ElectionMessage::Vote { term: r.u64("term")? }),
            kind::VOTE_REPLY => {
                Self::Election(ElectionMessage::VoteReply { term: r.u64("term")?, granted: r.bool("granted")? })
            }
            kind::HEARTBEAT => {
                Self::Election(ElectionMessage::Heartbeat { term: r.u64("term")?, round: r.u64("round")? })
            }
            kind::HEARTBEAT_REPLY => {
                Self::Election(ElectionMessage::HeartbeatReply { term: r.u64("term")?, round: r.u64("round")? })
            }
            kind::DIGEST => {
                let epoch = r.epoch_number()?;
                Self::Digest { authors: r.list(MAX_FRONTS, Reader::author_digest)?, epoch }
            }
            kind::ROWS => Self::Rows(RowsPart {
                author: r.author()?,
                incarnation: r.u64("incarnation")?,
                after: r.u64("after")?,
                upto: r.u64("upto")?,
                floor: r.u64("floor")?,
                snapshot: r.bool("snapshot")?,
                rows: r.list(MAX_ROWS_BYTES / ROW_HEAD, Reader::row)?,
            }),
            kind::EPOCH => {
                Self::Epoch(Epoch { number: r.epoch_number()?, members: r.list(MAX_MEMBERS, Reader::member)? })
            }
            kind::SIGNAL => Self::Signal {
                from: PeerId(r.digest("from")?),
                to: PeerId(r.digest("to")?),
                session: r.u32("session")?,
                body: r.signal()?,
            },
            kind => return Err(SyncError::UnknownType { kind }),
        })
    }

    fn check(&self) -> Result<(), Broken> {
        match self {
            Self::Election(message) => message.check(),
            Self::Digest { authors, epoch } => {
                let EpochNumber { term, n } = *epoch;
                rule(term <= MAX_NUMBER && n <= MAX_NUMBER, "epoch", NUMBER)?;
                rule(n > 0 || term == 0, "epoch", "0 of term 0, or 1 or more")?;
                rule(authors.len() <= MAX_FRONTS, "authors", "at most 32")?;
                rule(authors.is_sorted_by(|a, b| a.author < b.author), "authors", "in order, each once")?;
                authors.iter().try_for_each(AuthorDigest::check)
            }
            Self::Rows(part) => part.check(),
            Self::Epoch(epoch) => epoch.check(),
            Self::Signal { body, .. } => body.broken_rule().map_or(Ok(()), Err),
        }
    }
}

impl ElectionMessage {
    fn check(self) -> Result<(), Broken> {
        let (term, round) = match self {
            Self::PreVote { term }
            | Self::PreVoteReply { term, .. }
            | Self::Vote { term }
            | Self::VoteReply { term, .. } => (term, 0),
            Self::Heartbeat { term, round } | Self::HeartbeatReply { term, round } => (term, round),
        };
        rule(term <= MAX_NUMBER, "term", NUMBER)?;
        rule(round <= MAX_NUMBER, "round", NUMBER)
    }
}

impl AuthorDigest {
    fn check(&self) -> Result<(), Broken> {
        rule(usize::from(self.author.0) < MAX_FRONTS, "author", FRONT)?;
        rule((1..=MAX_NUMBER).contains(&self.incarnation), "incarnation", LIFE)?;
        rule(self.number <= MAX_NUMBER, "number", NUMBER)?;
        rule(self.floor <= MAX_NUMBER, "floor", NUMBER)
    }
}

impl RowsPart {
    fn check(&self) -> Result<(), Broken> {
        rule(usize::from(self.author.0) < MAX_FRONTS, "author", FRONT)?;
        rule((1..=MAX_NUMBER).contains(&self.incarnation), "incarnation", LIFE)?;
        rule(self.upto <= MAX_NUMBER, "upto", NUMBER)?;
        rule(self.after <= self.upto, "after", "at most upto")?;
        rule(self.floor <= MAX_NUMBER, "floor", NUMBER)?;
        rule(self.is_in_order(), "rows", "by rising number, after after and up to upto")?;
        let bytes: usize = self.rows.iter().map(Row::encoded_len).sum();
        rule(bytes <= MAX_ROWS_BYTES, "rows", "at most 61440 bytes")?;
        self.rows.iter().try_for_each(Row::check)
    }
}

impl Row {
    /// Bytes that the row takes in a message.
    fn encoded_len(&self) -> usize {
        ROW_HEAD + self.key.encoded_len() + self.value.as_ref().map_or(0, RowValue::encoded_len)
    }

    fn put(&self, out: &mut BytesMut) {
        out.put_u8(self.key.kind());
        out.put_u64(self.number);
        match &self.key {
            RowKey::Worker(name) => put_short_text(out, name),
            RowKey::Client(peer) => out.put_slice(&peer.0.0),
            RowKey::Member { info_hash, peer } => {
                out.put_slice(&info_hash.0.0);
                out.put_slice(&peer.0.0);
            }
        }
        out.put_u8(u8::from(self.value.is_some()));
        match &self.value {
            Some(RowValue::Worker(worker)) => {
                out.put_slice(&worker.peer.0.0);
                out.put_u16(worker.http.len() as u16);
                out.put_slice(worker.http.as_bytes());
                out.put_u16(worker.capacity);
                put_short_text(out, &worker.region);
                out.put_u64(worker.since_ms);
                out.put_u8(u8::from(worker.alive));
                out.put_u8(u8::from(worker.draining));
                out.put_u8(worker.load);
            }
            Some(RowValue::Client { since_ms }) => out.put_u64(*since_ms),
            Some(RowValue::Member { complete }) => out.put_u8(u8::from(*complete)),
            None => {}
        }
    }

    fn check(&self) -> Result<(), Broken> {
        if let RowKey::Worker(name) = &self.key {
            rule(is_worker_name(name), "name", NAME)?;
        }
        match (&self.key, &self.value) {
            (_, None) | (RowKey::Member { .. }, Some(RowValue::Member { .. })) => Ok(()),
            (RowKey::Worker(_), Some(RowValue::Worker(worker))) => worker.check(),
            (RowKey::Client(_), Some(RowValue::Client { since_ms })) => {
                rule(*since_ms <= MAX_NUMBER, "since_ms", NUMBER)
            }
            _ => rule(false, "value", "of the kind of its key"),
        }
    }
}

impl RowKey {
    /// Bytes that the key takes in a message.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Worker(name) => 1 + name.len(),
            Self::Client(_) => 32,
            Self::Member { .. } => 64,
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Worker(_) => row_kind::WORKER,
            Self::Client(_) => row_kind::CLIENT,
            Self::Member { .. } => row_kind::MEMBER,
        }
    }
}

impl RowValue {
    /// Bytes that the value takes in a message.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Worker(worker) => 32 + 2 + worker.http.len() + 2 + 1 + worker.region.len() + 8 + 3,
            Self::Client { .. } => 8,
            Self::Member { .. } => 1,
        }
    }
}

impl WorkerRow {
    fn check(&self) -> Result<(), Broken> {
        rule(is_http_url(&self.http), "http", URL)?;
        rule((1..=MAX_CAPACITY).contains(&self.capacity), "capacity", "1 to 1000")?;
        rule(is_region(&self.region), "region", REGION)?;
        rule(self.load <= FULL, "load", "0 to 100")?;
        rule(self.since_ms <= MAX_NUMBER, "since_ms", NUMBER)
    }
}

impl Epoch {
    fn check(&self) -> Result<(), Broken> {
        rule(self.number.term <= MAX_NUMBER, "term", NUMBER)?;
        rule((1..=MAX_NUMBER).contains(&self.number.n), "n", LIFE)?;
        rule(self.members.len() <= MAX_MEMBERS, "members", "at most 1024")?;
        rule(self.members.is_sorted_by(|a, b| a.name < b.name), "members", "sorted by name, each once")?;
        self.members.iter().try_for_each(|member| {
            rule(is_worker_name(&member.name), "name", NAME)?;
            rule((1..=MAX_CAPACITY).contains(&member.capacity), "capacity", "1 to 1000")?;
            rule(is_region(&member.region), "region", REGION)
        })
    }
}

fn rule(holds: bool, field: &'static str, expected: &'static str) -> Result<(), Broken> {
    holds.then_some(()).ok_or((field, expected))
}

/// The text that a signal is about.
fn text_of(body: &Signal) -> &str {
    match body {
        Signal::Offer { sdp } | Signal::Answer { sdp } => sdp,
        Signal::Candidate { candidate } => candidate,
        Signal::Bye { reason } => reason,
        Signal::Unreachable {} | Signal::Full {} => "",
    }
}

fn put_epoch_number(out: &mut BytesMut, number: EpochNumber) {
    out.put_u64(number.term);
    out.put_u64(number.n);
}

/// A length byte and the text, which a rule keeps below 256 bytes.
fn put_short_text(out: &mut BytesMut, text: &str) {
    out.put_u8(text.len() as u8);
    out.put_slice(text.as_bytes());
}

/// Takes fields off the front of a payload; says which field was cut.
struct Reader {
    kind: u8,
    rest: Bytes,
}

impl Reader {
    fn need(&self, len: usize, field: &'static str) -> Result<(), SyncError> {
        let enough = self.rest.len() >= len;
        enough.then_some(()).ok_or(SyncError::Truncated { kind: self.kind, field })
    }

    const fn broken(&self, field: &'static str, expected: &'static str) -> SyncError {
        SyncError::Field { kind: self.kind, field, expected }
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, SyncError> {
        self.need(1, field)?;
        Ok(self.rest.get_u8())
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, SyncError> {
        self.need(2, field)?;
        Ok(self.rest.get_u16())
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, SyncError> {
        self.need(4, field)?;
        Ok(self.rest.get_u32())
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, SyncError> {
        self.need(8, field)?;
        Ok(self.rest.get_u64())
    }

    fn bool(&mut self, field: &'static str) -> Result<bool, SyncError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.broken(field, "0 or 1")),
        }
    }

    fn digest(&mut self, field: &'static str) -> Result<Digest, SyncError> {
        self.need(32, field)?;
        let mut digest = Digest::default();
        self.rest.copy_to_slice(&mut digest.0);
        Ok(digest)
    }

    fn text(&mut self, len: usize, field: &'static str) -> Result<String, SyncError> {
        self.need(len, field)?;
        let text = String::from_utf8(self.rest.split_to(len).into());
        text.map_err(|_| self.broken(field, "UTF-8"))
    }

    fn short_text(&mut self, field: &'static str) -> Result<String, SyncError> {
        let len = self.u8(field)?;
        self.text(usize::from(len), field)
    }

    fn author(&mut self) -> Result<FrontId, SyncError> {
        self.u8("author").map(FrontId)
    }

    fn epoch_number(&mut self) -> Result<EpochNumber, SyncError> {
        Ok(EpochNumber { term: self.u64("epoch")?, n: self.u64("epoch")? })
    }

    fn author_digest(&mut self) -> Result<AuthorDigest, SyncError> {
        Ok(AuthorDigest {
            author: self.author()?,
            incarnation: self.u64("incarnation")?,
            number: self.u64("number")?,
            floor: self.u64("floor")?,
        })
    }

    fn row(&mut self) -> Result<Row, SyncError> {
        let kind = self.u8("row")?;
        let number = self.u64("row")?;
        let key = match kind {
            row_kind::WORKER => RowKey::Worker(self.short_text("name")?),
            row_kind::CLIENT => RowKey::Client(PeerId(self.digest("row")?)),
            row_kind::MEMBER => {
                RowKey::Member { info_hash: InfoHash(self.digest("row")?), peer: PeerId(self.digest("row")?) }
            }
            _ => return Err(self.broken("row", "of kind 1 to 3")),
        };
        let value = if self.bool("whether a row has a value")? { Some(self.value(&key)?) } else { None };
        Ok(Row { key, number, value })
    }

    fn value(&mut self, key: &RowKey) -> Result<RowValue, SyncError> {
        Ok(match key {
            RowKey::Worker(_) => RowValue::Worker(WorkerRow {
                peer: PeerId(self.digest("row")?),
                http: {
                    let len = self.u16("http")?;
                    self.text(usize::from(len), "http")?
                },
                capacity: self.u16("capacity")?,
                region: self.short_text("region")?,
                since_ms: self.u64("since_ms")?,
                alive: self.bool("alive")?,
                draining: self.bool("draining")?,
                load: self.u8("load")?,
            }),
            RowKey::Client(_) => RowValue::Client { since_ms: self.u64("since_ms")? },
            RowKey::Member { .. } => RowValue::Member { complete: self.bool("complete")? },
        })
    }

    fn member(&mut self) -> Result<EpochMember, SyncError> {
        Ok(EpochMember {
            name: self.short_text("name")?,
            capacity: self.u16("capacity")?,
            region: self.short_text("region")?,
        })
    }

    fn signal(&mut self) -> Result<Signal, SyncError> {
        let kind = self.u8("signal")?;
        let field = match kind {
            signal_kind::OFFER | signal_kind::ANSWER => "sdp",
            signal_kind::CANDIDATE => "candidate",
            signal_kind::BYE => "reason",
            signal_kind::UNREACHABLE => return Ok(Signal::Unreachable {}),
            signal_kind::FULL => return Ok(Signal::Full {}),
            _ => return Err(self.broken("signal", "of kind 1 to 6")),
        };
        let text = self.text(self.rest.len(), field)?;
        Ok(match kind {
            signal_kind::OFFER => Signal::Offer { sdp: text },
            signal_kind::ANSWER => Signal::Answer { sdp: text },
            signal_kind::CANDIDATE => Signal::Candidate { candidate: text },
            _ => Signal::Bye { reason: text },
        })
    }

    /// Items up to the end of the message, at most `max`; whatever is left then is trailing.
    fn list<T>(
        &mut self,
        max: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, SyncError>,
    ) -> Result<Vec<T>, SyncError> {
        let mut items = Vec::new();
        while !self.rest.is_empty() && items.len() < max {
            items.push(item(self)?);
        }
        Ok(items)
    }
}
