//! Accounts for what a download gains: how much came from whom. It never looks at the bytes themselves.

use std::sync::Arc;

use super::share::{Job, Share};
use super::{Instant, Peer, PeerEvent, PeerOutput, SourceKind, SourceName, SourceStatus, Web};
use crate::id::InfoHash;
use crate::merkle::BLOCK_LEN;
use crate::node::io::Place;
use crate::rtc::ConnId;
use crate::session::Sessions;

impl Peer {
    /// How each connected source of a download stands; nobody, if nothing of that name is being downloaded.
    #[must_use]
    pub fn sources(&self, info_hash: InfoHash) -> Vec<SourceStatus> {
        let Some(Share { job: Job::Downloading(download), givers, .. }) = self.shares.get(&info_hash) else {
            return Vec::new();
        };
        let status = |(conn, stats)| {
            let (source, kind) = (givers.get(&conn)?.clone(), self.conns.get(&conn)?.kind);
            Some(SourceStatus { source, kind, stats })
        };
        download.sources().filter_map(status).collect()
    }

    /// Blocks of a chunk, from block `first` on and of that many bytes, are verified and written.
    pub(super) fn gained(
        &mut self,
        now: Instant,
        info_hash: InfoHash,
        slot: u32,
        (first, length): (u16, u32),
        from: Option<(ConnId, SourceKind)>,
    ) {
        let Some(share) = self.shares.get_mut(&info_hash) else { return };
        let Share { layout: Some(layout), job: Job::Downloading(download), totals, givers, .. } = share else {
            return;
        };
        share.last_gain = now;
        let chunk = &layout.slots[&slot].places;
        *match from {
            Some((_, kind)) => totals.from.entry(kind).or_default(),
            None => &mut totals.from_disk,
        } += u64::from(length) * chunk.len() as u64;
        let from = from.map(|(conn, kind)| {
            let name = givers.get(&conn).cloned().expect("whose blocks are here has a name");
            if !self.conns.contains_key(&conn) && !download.holds_of(conn) {
                givers.remove(&conn);
            }
            (name, kind)
        });
        let skipped = u64::from(first) * u64::from(BLOCK_LEN);
        let places: Arc<[Place]> = match first {
            0 => Arc::clone(chunk),
            _ => chunk.iter().map(|place| Place { offset: place.offset + skipped, ..*place }).collect(),
        };
        self.out.push(PeerOutput::Event(PeerEvent::Gained { info_hash, places, length, from }));
    }
}

/// Who is at the other end of a session.
pub(super) fn name_of(sessions: &Sessions, web: &Web, conn: ConnId) -> Option<SourceName> {
    match web.url(conn) {
        Some(url) => Some(SourceName::Web(url.clone())),
        None => sessions.peer(conn).map(SourceName::Node),
    }
}
