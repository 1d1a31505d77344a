//! One share whose `.ko` a sharer wants kept: fetched from the sharer, then every chunk is looked up in the
//! backing store, then the share of each single file is stored, by which others find it who know the file under
//! another share's name, then the `.ko` itself. Only after that does the link need its sharer no more.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;

use super::{KeepingId, MAX_KEEPINGS, Question, Worker, WorkerEvent, WorkerOutput, next_request, reason_of};
use crate::id::{ChunkId, InfoHash};
use crate::machine::Instant;
use crate::metainfo::Metainfo;
use crate::rtc::ConnId;
use crate::store::StoreError;
use crate::transfer::MetainfoFetch;
use crate::transfer::metainfo_fetch::Fetched;
use crate::wire::frame::{Frame, Reason, RequestId};

/// Most look-ups, or shares of single files being stored, at once for one share.
const WINDOW: usize = 16;
/// Bytes of shares of single files being stored for one share, beyond which no other is begun.
const MAX_FILING: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) conn: ConnId,
    /// The METAINFO_STORE that is to be answered.
    pub(super) request: RequestId,
    pub(super) info_hash: InfoHash,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The store is asked whether it has the `.ko` already.
    Asking,
    Fetching(MetainfoFetch),
    Checking(Check),
    Filing(Filing),
    Storing,
}

/// Storing the shares of single files.
#[derive(Debug)]
pub(super) struct Filing {
    metainfo: Metainfo,
    /// Files not begun.
    files: Range<u32>,
    open: usize,
    open_bytes: u64,
}

impl Filing {
    fn new(metainfo: Metainfo) -> Self {
        let files = 0..metainfo.files().len() as u32;
        Self { metainfo, files, open: 0, open_bytes: 0 }
    }

    /// The share of the next file, if the window has room. A file of one piece needs none: its root names its
    /// only chunk.
    fn next(&mut self) -> Option<Metainfo> {
        if self.open >= WINDOW || self.open_bytes >= MAX_FILING {
            return None;
        }
        let cut = |file: &u32| self.metainfo.files()[*file as usize].pieces.len() > 1;
        let file = self.files.find(cut)?;
        let share = self.metainfo.share_of_file(file)?;
        self.open += 1;
        self.open_bytes += share.raw().len() as u64;
        Some(share)
    }

    fn stored(&mut self, bytes: u64) {
        self.open -= 1;
        self.open_bytes -= bytes;
    }

    fn is_done(&self) -> bool {
        self.open == 0 && self.files.is_empty()
    }
}

/// Looking up every chunk of a share.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) metainfo: Metainfo,
    chunks: Vec<ChunkId>,
    open: usize,
}

impl Check {
    pub(super) fn new(metainfo: Metainfo) -> Self {
        let chunks: BTreeSet<ChunkId> = metainfo.pieces().iter().map(|piece| piece.chunk).collect();
        Self { metainfo, chunks: chunks.into_iter().collect(), open: 0 }
    }

    /// The next chunk to look up, if the window has room.
    pub(super) fn next(&mut self) -> Option<ChunkId> {
        if self.open >= WINDOW {
            return None;
        }
        let chunk = self.chunks.pop()?;
        self.open += 1;
        Some(chunk)
    }

    /// A chunk is there.
    pub(super) fn found(&mut self) {
        self.open -= 1;
    }

    pub(super) fn is_done(&self) -> bool {
        self.open == 0 && self.chunks.is_empty()
    }
}

/// Keeping `.ko`s.
impl Worker {
    pub(super) fn keep(&mut self, now: Instant, conn: ConnId, request: RequestId, info_hash: InfoHash) {
        let open = self.keepings.values().filter(|keeping| keeping.conn == conn).count();
        if open >= MAX_KEEPINGS {
            return self.reject(conn, request, Reason::Busy);
        }
        self.next_keeping += 1;
        let id = self.next_keeping;
        self.keepings.insert(id, Keeping { conn, request, info_hash, stage: Stage::Asking });
        let ticket = self.question(Question::Kept(id));
        self.store.torrent(now, ticket, info_hash);
    }

    pub(super) fn fetch_metainfo(&mut self, id: KeepingId) {
        if let Some(keeping) = self.keepings.get_mut(&id) {
            let request = next_request(&mut self.next_request);
            let (fetch, frame) = MetainfoFetch::begin(keeping.info_hash, request);
            keeping.stage = Stage::Fetching(fetch);
            self.sessions.send(keeping.conn, frame);
        }
    }

    pub(super) fn metainfo_part(
        &mut self,
        now: Instant,
        conn: ConnId,
        request: RequestId,
        total: u32,
        offset: u32,
        data: &Bytes,
    ) {
        for (id, keeping) in &mut self.keepings {
            let Stage::Fetching(fetch) = &mut keeping.stage else { continue };
            if keeping.conn != conn || !fetch.owns(request) {
                continue;
            }
            let numbers = &mut self.next_request;
            match fetch.part(request, total, offset, data, || next_request(numbers)) {
                Ok(Fetched::More(frames)) => {
                    frames.into_iter().for_each(|frame| self.sessions.send(conn, frame));
                }
                Ok(Fetched::Whole(metainfo)) => {
                    keeping.stage = Stage::Checking(Check::new(metainfo));
                    let id = *id;
                    self.check_more(now, id);
                }
                Err(offence) => self.blame(now, conn, offence.to_string()),
            }
            return;
        }
    }

    /// Looks up more chunks of a share; once all are found, stores its `.ko`.
    fn check_more(&mut self, now: Instant, id: KeepingId) {
        while let Some(keeping) = self.keepings.get_mut(&id)
            && let Stage::Checking(check) = &mut keeping.stage
        {
            if let Some(chunk) = check.next() {
                let ticket = self.question(Question::Check(id));
                self.store.contains(now, ticket, chunk);
                continue;
            }
            if check.is_done() {
                keeping.stage = Stage::Filing(Filing::new(check.metainfo.clone()));
                self.file_more(now, id);
            }
            break;
        }
    }

    /// Stores more shares of single files; once all are stored, the `.ko`.
    fn file_more(&mut self, now: Instant, id: KeepingId) {
        while let Some(keeping) = self.keepings.get_mut(&id)
            && let Stage::Filing(filing) = &mut keeping.stage
        {
            if let Some(share) = filing.next() {
                let ko = share.raw().clone();
                let (bytes, info_hash) = (ko.len() as u64, share.info_hash());
                let ticket = self.question(Question::PutFile { keeping: id, bytes, info_hash });
                self.store.put_torrent(now, ticket, info_hash, ko);
                continue;
            }
            if filing.is_done() {
                let (info_hash, ko) = (keeping.info_hash, filing.metainfo.raw().clone());
                keeping.stage = Stage::Storing;
                let ticket = self.question(Question::PutMetainfo(id, info_hash));
                self.store.put_torrent(now, ticket, info_hash, ko);
            }
            break;
        }
    }

    pub(super) fn file_stored(&mut self, now: Instant, id: KeepingId, bytes: u64, result: Result<(), StoreError>) {
        let Some(Keeping { stage: Stage::Filing(filing), .. }) = self.keepings.get_mut(&id) else { return };
        match result {
            Ok(()) => {
                filing.stored(bytes);
                self.file_more(now, id);
            }
            Err(error) => self.end_keeping(id, Err(reason_of(&error))),
        }
    }

    pub(super) fn check_answered(&mut self, now: Instant, id: KeepingId, result: Result<bool, StoreError>) {
        let Some(Keeping { stage: Stage::Checking(check), .. }) = self.keepings.get_mut(&id) else { return };
        match result {
            Ok(true) => {
                check.found();
                self.check_more(now, id);
            }
            Ok(false) => self.end_keeping(id, Err(Reason::Incomplete)),
            Err(error) => self.end_keeping(id, Err(reason_of(&error))),
        }
    }

    pub(super) fn end_keeping(&mut self, id: KeepingId, result: Result<(), Reason>) {
        let Some(Keeping { conn, request, info_hash, stage }) = self.keepings.remove(&id) else { return };
        let frame = match result {
            Ok(()) => {
                if matches!(stage, Stage::Storing) {
                    self.out.push(WorkerOutput::Event(WorkerEvent::ShareStored { info_hash }));
                }
                Frame::MetainfoStored { request }
            }
            Err(reason) => Frame::Reject { request, reason },
        };
        self.sessions.send(conn, frame);
    }
}
