//! One worker's HTTP server in the role of a session: frames become requests, bodies become frames. What a source must
//! not do is a fault here (an end too early or too late, silence, a status that makes no sense); whether the bytes are
//! right is for others to judge. It never knows which share wants what.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::ask::{WebAsk, WebEvent, WebId};
use crate::id::{Digest, InfoHash};
use crate::machine::{Instant, Outbox, earliest};
use crate::merkle::BLOCK_LEN;
use crate::transfer::metainfo_fetch::part_of;
use crate::wire::frame::{Frame, MAX_METAINFO, Reason, RequestId};

/// Most requests open at once. More wait here.
pub(super) const MAX_OPEN: usize = 4;
/// A request that brings neither head, nor block, nor 16 KiB of anything else for so long has failed.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// So many faults in a row, or one by a server that never gave anything, and it is left alone for a while.
const MAX_FAULTS: u32 = 3;
/// The shortest and the longest time for which a server that says it is busy is left alone.
const BUSY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Bytes of a leaf hash.
const LEAF: usize = size_of::<Digest>();

/// What comes of frames and events.
#[derive(Debug)]
pub(super) enum Said {
    /// Give this up.
    Cancel(WebId),
    /// What a session would have said.
    Frame(Frame),
    /// The server keeps this share, says the answer to a CHUNK_LIST.
    Kept(RequestId, InfoHash),
    /// Part of a `.ko` came.
    Coming(InfoHash),
    /// It is to be left alone for so long. The refusal of all that waits comes next.
    Busy(Duration),
    /// It gave what was asked for the first time.
    Proven,
    /// It failed too often.
    Down(String),
}

/// A request on its way.
#[derive(Debug)]
struct Open {
    /// Of the frame that it stands for.
    request: RequestId,
    ask: WebAsk,
    /// Whether the head came.
    begun: bool,
    /// When something came, or it was sent.
    heard: Instant,
    /// Bytes that came.
    came: usize,
    /// Those that were not handed on.
    body: BytesMut,
}

impl Open {
    /// Whether all that was asked for was handed on: then there is nothing to turn down any more.
    fn is_settled(&self) -> bool {
        match self.ask {
            WebAsk::Blocks { chunk, first, count } => {
                chunk.range_len(first, count).is_some_and(|length| self.came == length as usize)
            }
            WebAsk::Leaves { .. } | WebAsk::Metainfo { .. } | WebAsk::Kept { .. } => false,
        }
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Server {
    queue: VecDeque<(RequestId, WebAsk)>,
    open: BTreeMap<WebId, Open>,
    /// `.ko`s of which parts are yet to be asked for.
    kos: BTreeMap<InfoHash, Bytes>,
    is_proven: bool,
    /// It said that it does not have something.
    lacks: bool,
    /// Faults in a row.
    faults: u32,
    out: Outbox<Said>,
}

impl Server {
    pub(super) fn poll(&mut self) -> Option<Said> {
        self.out.pop()
    }

    pub(super) fn owns(&self, id: WebId) -> bool {
        self.open.contains_key(&id)
    }

    /// Ends it: the requests that are to be given up.
    pub(super) fn close(mut self) -> impl Iterator<Item = WebId> {
        let said = std::iter::from_fn(move || self.out.pop());
        let given_up = said.filter_map(|said| if let Said::Cancel(id) = said { Some(id) } else { None });
        self.open.into_keys().chain(given_up)
    }

    pub(super) const fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Whether all it ever said is that it does not have what was asked for.
    pub(super) fn has_nothing(&self) -> bool {
        self.lacks && !self.is_proven && self.open.is_empty() && self.queue.is_empty()
    }

    /// A frame for the session that it stands for. What an HTTP server has no answer to is dropped. Gives the request
    /// that is to be given up at once, if that is what the frame says.
    pub(super) fn frame(&mut self, frame: Frame) -> Option<WebId> {
        match frame {
            Frame::ChunkRequest { request, chunk, first, count } => {
                self.queue.push_back((request, WebAsk::Blocks { chunk, first, count }));
            }
            // Blocks are worth nothing without their hashes, and these are few: they go first.
            Frame::HashRequest { request, chunk } => self.queue.push_front((request, WebAsk::Leaves { chunk })),
            Frame::ChunkList { request, info_hash } => {
                self.queue.push_front((request, WebAsk::Kept { info_hash }));
            }
            Frame::MetainfoRequest { request, info_hash, offset } => self.ask_metainfo(request, info_hash, offset),
            Frame::Cancel { request } => return self.cancel(request),
            _ => {}
        }
        None
    }

    /// What is to be requested now, as far as there may be more at once.
    pub(super) fn next_request(&mut self, now: Instant, next_id: &mut u64) -> Option<(WebId, WebAsk)> {
        if self.open.len() >= MAX_OPEN {
            return None;
        }
        let (request, ask) = self.queue.pop_front()?;
        *next_id += 1;
        let id = WebId(*next_id);
        let (came, body) = (0, BytesMut::new());
        self.open.insert(id, Open { request, ask, begun: false, heard: now, came, body });
        Some((id, ask))
    }

    /// Something came of a request that is on its way.
    pub(super) fn event(&mut self, now: Instant, event: WebEvent) {
        match event {
            WebEvent::Head { id, status, retry_after } => self.head(now, id, status, retry_after),
            WebEvent::Data { id, data } => self.data(now, id, data),
            WebEvent::End { id } => self.end(id),
            WebEvent::Failed { id, reason } => {
                if let Some(open) = self.open.remove(&id) {
                    self.fault(&open, reason);
                }
            }
        }
    }

    /// Time passed.
    pub(super) fn wake(&mut self, now: Instant) {
        let silent: Vec<WebId> =
            self.open.iter().filter(|(_, open)| now >= open.heard + SILENCE).map(|(id, _)| *id).collect();
        for id in silent {
            self.give_up(id, "it fell silent");
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        earliest(self.open.values().map(|open| Some(open.heard + SILENCE)))
    }

    fn ask_metainfo(&mut self, request: RequestId, info_hash: InfoHash, offset: u32) {
        if self.kos.contains_key(&info_hash) {
            return self.part(request, info_hash, offset);
        }
        if offset > 0 {
            // It had to make room for others.
            return self.out.push(Said::Frame(Frame::Reject { request, reason: Reason::Busy }));
        }
        let ask = WebAsk::Metainfo { info_hash };
        // Whoever lost patience asks for what is on its way.
        match self.open.values_mut().find(|open| open.ask == ask) {
            Some(open) => open.request = request,
            None => self.queue.push_back((request, ask)),
        }
    }

    /// Hands over part of a `.ko` that came.
    fn part(&mut self, request: RequestId, info_hash: InfoHash, offset: u32) {
        let ko = &self.kos[&info_hash];
        let total = ko.len() as u32;
        let Some(data) = part_of(ko, offset) else {
            return self.out.push(Said::Frame(Frame::Reject { request, reason: Reason::Invalid }));
        };
        if offset + data.len() as u32 == total {
            self.kos.remove(&info_hash);
        }
        self.out.push(Said::Frame(Frame::Metainfo { request, total, offset, data }));
    }

    fn cancel(&mut self, request: RequestId) -> Option<WebId> {
        self.queue.retain(|(waiting, _)| *waiting != request);
        let id = self.open.iter().find(|(_, open)| open.request == request).map(|(id, _)| *id)?;
        self.open.remove(&id);
        Some(id)
    }

    fn head(&mut self, now: Instant, id: WebId, status: u16, retry_after: Option<Duration>) {
        let Some(open) = self.open.get_mut(&id) else { return };
        if open.begun {
            return self.give_up(id, "it answered twice");
        }
        (open.begun, open.heard) = (true, now);
        let Open { request, ask, .. } = *open;
        match (ask, status) {
            (WebAsk::Kept { info_hash }, 200) => {
                self.open.remove(&id);
                self.gave();
                self.out.push(Said::Kept(request, info_hash));
            }
            (WebAsk::Blocks { .. }, 206) | (WebAsk::Leaves { .. } | WebAsk::Metainfo { .. }, 200) => {}
            (_, 404 | 410) => {
                self.open.remove(&id);
                (self.faults, self.lacks) = (0, true);
                self.out.push(Said::Frame(Frame::Reject { request, reason: Reason::NotFound }));
            }
            (_, 429 | 503) => {
                self.open.remove(&id);
                let (least, most) = BUSY;
                self.out.push(Said::Busy(retry_after.unwrap_or_default().clamp(least, most)));
                for (request, _) in std::iter::once((request, ask)).chain(std::mem::take(&mut self.queue)) {
                    self.out.push(Said::Frame(Frame::Reject { request, reason: Reason::Busy }));
                }
            }
            _ => self.give_up(id, &format!("it answered with status {status}")),
        }
    }

    fn data(&mut self, now: Instant, id: WebId, data: Bytes) {
        if self.ko_bytes() + data.len() > MAX_METAINFO as usize {
            // Whoever still wants parts of these asks again.
            self.kos.clear();
        }
        let kos = self.ko_bytes();
        let Some(open) = self.open.get_mut(&id) else { return };
        let step = BLOCK_LEN as usize;
        let steps = open.came / step;
        let most = match open.ask {
            WebAsk::Blocks { chunk, first, count } => chunk.range_len(first, count).unwrap_or_default() as usize,
            WebAsk::Leaves { chunk } => usize::from(chunk.blocks()) * LEAF,
            WebAsk::Metainfo { .. } => (MAX_METAINFO as usize).saturating_sub(kos - open.body.len()),
            WebAsk::Kept { .. } => 0,
        };
        if !open.begun || open.came + data.len() > most {
            return self.give_up(id, "it sent more than was asked for");
        }
        open.came += data.len();
        if open.came / step > steps {
            open.heard = now;
        }
        match open.ask {
            WebAsk::Blocks { first, .. } => {
                let at = first + (steps as u16);
                let blocks = whole_blocks(&mut open.body, data, open.came == most);
                if !blocks.is_empty() {
                    let frame = Frame::ChunkResponse { request: open.request, first: at, data: blocks };
                    self.out.push(Said::Frame(frame));
                }
            }
            WebAsk::Metainfo { info_hash } => {
                open.body.extend_from_slice(&data);
                self.out.push(Said::Coming(info_hash));
            }
            WebAsk::Leaves { .. } | WebAsk::Kept { .. } => open.body.extend_from_slice(&data),
        }
    }

    fn end(&mut self, id: WebId) {
        let Some(open) = self.open.remove(&id) else { return };
        let is_whole = match open.ask {
            WebAsk::Blocks { .. } => open.is_settled(),
            WebAsk::Leaves { chunk } => open.came == usize::from(chunk.blocks()) * LEAF,
            WebAsk::Metainfo { .. } => open.came > 0,
            WebAsk::Kept { .. } => true,
        };
        if !open.begun || !is_whole {
            return self.fault(&open, "it sent less than was asked for".into());
        }
        self.gave();
        let Open { request, ask, body, .. } = open;
        match ask {
            WebAsk::Leaves { .. } => {
                let leaves = body.as_chunks::<LEAF>().0.iter().copied().map(Digest).collect();
                self.out.push(Said::Frame(Frame::Hashes { request, leaves }));
            }
            WebAsk::Metainfo { info_hash } => {
                self.kos.insert(info_hash, body.freeze());
                self.part(request, info_hash, 0);
            }
            WebAsk::Blocks { .. } | WebAsk::Kept { .. } => {}
        }
    }

    /// Bytes of `.ko`s in memory.
    fn ko_bytes(&self) -> usize {
        let coming = self.open.values().filter(|open| matches!(open.ask, WebAsk::Metainfo { .. }));
        coming.map(|open| open.body.len()).chain(self.kos.values().map(Bytes::len)).sum()
    }

    fn gave(&mut self) {
        self.faults = 0;
        if !self.is_proven {
            self.is_proven = true;
            self.out.push(Said::Proven);
        }
    }

    fn give_up(&mut self, id: WebId, why: &str) {
        if let Some(open) = self.open.remove(&id) {
            self.out.push(Said::Cancel(id));
            self.fault(&open, why.to_owned());
        }
    }

    /// A request came to nothing.
    fn fault(&mut self, open: &Open, why: String) {
        self.faults += 1;
        if !self.is_proven || self.faults >= MAX_FAULTS {
            self.out.push(Said::Down(why));
        } else if !open.is_settled() {
            self.out.push(Said::Frame(Frame::Reject { request: open.request, reason: Reason::Busy }));
        }
    }
}

/// Adds `data` to the bytes of a block that is not whole yet, and takes out all whole blocks; of the last, all there is.
fn whole_blocks(rest: &mut BytesMut, data: Bytes, is_last: bool) -> Bytes {
    let whole = |bytes: usize| if is_last { bytes } else { bytes - bytes % BLOCK_LEN as usize };
    if rest.is_empty() {
        // Where bodies come in whole blocks, nothing is copied.
        let cut = whole(data.len());
        rest.extend_from_slice(&data[cut..]);
        return data.slice(..cut);
    }
    rest.extend_from_slice(&data);
    rest.split_to(whole(rest.len())).freeze()
}
