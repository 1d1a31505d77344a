//! Peers that the user names for a share: dialled beside those that the front names, until one cannot be reached. What
//! comes of a session with one is decided as with any other.

use std::collections::BTreeMap;

use super::share::Share;
use super::{Conn, Instant, Peer, PeerEvent, PeerOutput, SessionStatus};
use crate::id::{InfoHash, PeerId};
use crate::rtc::ConnId;

/// Most peers that are named for a share.
const MAX_NAMED: usize = 64;

/// Whom the user named for a share, and whether it was told what came of that.
#[derive(Debug, Default)]
pub(super) struct Named(BTreeMap<PeerId, bool>);

impl Named {
    pub(super) fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.0.keys().copied()
    }

    /// Those of which the user was told nothing yet.
    pub(super) fn unmet(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.0.iter().filter(|(_, told)| !**told).map(|(peer, _)| *peer)
    }
}

impl Peer {
    /// How everybody stands with whom there is a session.
    #[must_use]
    pub fn connected(&self) -> Vec<SessionStatus> {
        let status = |(conn, entry): (&ConnId, &Conn)| {
            let bytes_sent = self.upload.bytes_served_to(*conn);
            Some(SessionStatus { peer: self.sessions.peer(*conn)?, kind: entry.kind, bytes_sent })
        };
        self.conns.iter().filter_map(status).collect()
    }

    /// The user names a peer.
    pub(super) fn meet(&mut self, now: Instant, info_hash: InfoHash, peer: PeerId) {
        let is_up = self.sessions.with(peer).is_some_and(|conn| self.conns.contains_key(&conn));
        let refusal = match self.shares.get_mut(&info_hash) {
            None => Some("there is no such share here"),
            Some(_) if peer == self.config.id => Some("it is this peer itself"),
            Some(_) if self.banned.contains(&peer) => Some("it lied or broke the protocol before"),
            Some(_) if self.config.fronts == 0 => Some("there is no front to reach it through"),
            Some(Share { named: Named(named), .. }) if named.len() >= MAX_NAMED && !named.contains_key(&peer) => {
                Some("too many peers were named for this share")
            }
            Some(Share { named: Named(named), .. }) => {
                named.insert(peer, is_up);
                None
            }
        };
        if refusal.is_some() || is_up {
            let result = refusal.map_or(Ok(()), |reason| Err(reason.into()));
            return self.out.push(PeerOutput::Event(PeerEvent::Met { info_hash, peer, result }));
        }
        self.redials.remove(&peer);
        self.dial_wanted(now);
    }

    /// There is a session with a peer.
    pub(super) fn met(&mut self, peer: PeerId) {
        for (info_hash, share) in &mut self.shares {
            if let Some(told) = share.named.0.get_mut(&peer).filter(|told| !**told) {
                *told = true;
                let met = PeerEvent::Met { info_hash: *info_hash, peer, result: Ok(()) };
                self.out.push(PeerOutput::Event(met));
            }
        }
    }

    /// A peer could not be reached: it is not tried again, unless the front names it, too.
    pub(super) fn missed(&mut self, peer: PeerId, reason: &str) {
        for (info_hash, share) in &mut self.shares {
            if share.named.0.remove(&peer) == Some(false) {
                let met = PeerEvent::Met { info_hash: *info_hash, peer, result: Err(reason.into()) };
                self.out.push(PeerOutput::Event(met));
            }
        }
    }
}
