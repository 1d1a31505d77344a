//! Telling the front of our shares, which answers with others in their swarms: of all of them as often as it wants to hear
//! of us, of what is being downloaded as often as our user wants to hear of others.

use std::time::Duration;

use super::share::Share;
use super::{Instant, Peer};
use crate::id::InfoHash;
use crate::machine::earliest;
use crate::wire::signal::ToFront;

/// A download without sources asks for others at least this often.
const HUNGRY: Duration = Duration::from_secs(5);
/// Nobody asks more often: fronts have other things to do.
const LEAST: Duration = Duration::from_secs(1);

impl Peer {
    /// The user says how often the front is asked for more peers.
    pub(super) fn set_discovery(&mut self, now: Instant, interval: Duration) {
        self.config.discovery = interval;
        self.discover_at = None;
        self.discover_soon(now);
    }

    /// Tells of every share.
    pub(super) fn announce_all(&mut self, now: Instant) {
        self.announce_at = Some(now + self.heartbeat);
        self.announce(now, |_| true);
    }

    /// Tells of a share that is new.
    pub(super) fn announce_one(&mut self, now: Instant, info_hash: InfoHash) {
        if let Some(share) = self.shares.get(&info_hash) {
            self.uplink.send(&ToFront::Announce { info_hash, complete: share.is_complete() });
        }
        self.discover_soon(now);
    }

    /// Somebody may lack sources now that did not before.
    pub(super) fn discover_soon(&mut self, now: Instant) {
        let pause = self.shares.values().filter_map(|share| self.pause_of(share)).min();
        self.discover_at = earliest([self.discover_at, pause.map(|pause| now + pause)]);
    }

    pub(super) fn wake_announcing(&mut self, now: Instant) {
        if self.announce_at.is_some_and(|at| now >= at) {
            self.announce_all(now);
        } else if self.discover_at.is_some_and(|at| now >= at) {
            self.announce(now, Share::needs_sources);
        }
    }

    fn announce(&mut self, now: Instant, is_told_of: impl Fn(&Share) -> bool) {
        for (info_hash, share) in self.shares.iter().filter(|(_, share)| is_told_of(share)) {
            self.uplink.send(&ToFront::Announce { info_hash: *info_hash, complete: share.is_complete() });
        }
        self.discover_at = None;
        self.discover_soon(now);
        self.ask_again_for_metainfo(now);
    }

    /// How long a share waits before it asks for others, if it wants any.
    fn pause_of(&self, share: &Share) -> Option<Duration> {
        let pause = self.config.discovery.max(LEAST);
        share.needs_sources().then(|| if share.is_hungry() { pause.min(HUNGRY) } else { pause })
    }
}
