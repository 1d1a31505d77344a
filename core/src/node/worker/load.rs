//! How much of what a worker can do is being done: told to its front, which spares it newcomers, and judged here, so that
//! a worker without room turns newcomers away rather than slow everyone down. It never cuts off anyone who has work open.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::Worker;
use crate::machine::{Instant, earliest};
use crate::rtc::ConnId;
use crate::wire::signal::{FULL, ToFront};

/// Least time between two words on the load, unless newcomers begin or cease to be turned away.
const PAUSE: Duration = Duration::from_secs(2);
/// Steps in which the load is told, in percent.
const STEP: u8 = 10;
/// A session on which nothing was asked, offered or sent for so long gives up its place where places are short.
const IDLE: Duration = Duration::from_secs(60);
/// How often idle sessions are looked for while places are short.
const SEEK: Duration = Duration::from_secs(1);

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Bytes of memory that the process takes, as it was told.
    memory: u64,
    is_full: bool,
    /// In percent, rounded down to a step.
    percent: u8,
    /// What the front was told last, and when.
    told: u8,
    told_at: Option<Instant>,
    /// For each session, when it was used last.
    used: BTreeMap<ConnId, Instant>,
    /// When to look for idle sessions next, while places are short.
    seek_at: Option<Instant>,
}

impl Load {
    /// Time passed on a session that asked for something, offered something or took something.
    pub(super) fn used(&mut self, now: Instant, conn: ConnId) {
        self.used.insert(conn, now);
    }

    pub(super) fn session_down(&mut self, conn: ConnId) {
        self.used.remove(&conn);
    }

    /// A front that does not know this worker yet takes it to have nothing to do.
    pub(super) fn welcomed(&mut self) {
        (self.told, self.told_at) = (0, None);
    }

    /// When to wake, where a front is there to be told or is not.
    pub(super) fn next_wake(&self, is_online: bool) -> Option<Instant> {
        let is_news = is_online && self.told != self.percent;
        let tell_at = self.told_at.filter(|_| is_news).map(|at| at + PAUSE);
        earliest([tell_at, self.seek_at])
    }
}

impl Worker {
    /// How much of what it can do is being done, in percent; at 100 it turns newcomers away.
    #[must_use]
    pub const fn load(&self) -> u8 {
        self.load.percent
    }

    /// How many who dialled found no room.
    #[must_use]
    pub const fn turned_away(&self) -> u64 {
        self.sessions.turned_away()
    }

    /// Bytes read for data channels that the transport has not taken yet.
    #[must_use]
    pub const fn send_queue(&self) -> u64 {
        self.upload.unsent()
    }

    pub(super) fn memory_is(&mut self, bytes: u64) {
        self.load.memory = bytes;
    }

    /// Weighs what there is to do, and tells the front if that is news. The last step of every input.
    pub(super) fn weigh(&mut self, now: Instant) {
        let share = |used: u64, most: u64| used.saturating_mul(100) / most.max(1);
        let config = &self.config;
        let percent = share(self.sessions.len() as u64, config.max_sessions as u64)
            .max(share(self.load.memory, config.max_memory))
            .max(share(self.upload.unsent(), config.upload.max_unsent));
        // What was full has room again only once there is some.
        let threshold = u64::from(if self.load.is_full { FULL - STEP } else { FULL });
        let full = percent >= threshold;
        if full != self.load.is_full {
            self.load.is_full = full;
            self.sessions.set_full(full);
            // Said at once.
            self.load.told_at = None;
        }
        let below = (percent as u8).min(FULL - STEP) / STEP * STEP;
        self.load.percent = if full { FULL } else { below };
        let is_crowded = self.sessions.len() >= config.max_sessions;
        self.load.seek_at = is_crowded.then(|| self.load.seek_at.unwrap_or(now + SEEK));
        self.tell_load(now);
    }

    /// Looks for idle sessions if it is time to.
    pub(super) fn wake_load(&mut self, now: Instant) {
        if self.load.seek_at.is_some_and(|at| at <= now) {
            self.load.seek_at = None;
            self.close_idle(now);
        }
    }

    fn tell_load(&mut self, now: Instant) {
        let load = &mut self.load;
        let may = load.told_at.is_none_or(|at| now >= at + PAUSE);
        if load.percent != load.told && may && self.uplink.is_up() {
            (load.told, load.told_at) = (load.percent, Some(now));
            self.uplink.send(&ToFront::Load { percent: load.percent });
        }
    }

    /// Closes idle sessions, those first that were used longest ago, until a tenth of the places is free.
    fn close_idle(&mut self, now: Instant) {
        let places = self.config.max_sessions;
        let excess = self.sessions.len().saturating_sub(places - places.div_ceil(10));
        let is_idle = |(conn, used): &(&ConnId, &Instant)| {
            now >= **used + IDLE && self.conns.get(conn) == Some(&0) && !self.upload.serves(**conn)
        };
        let mut idle: Vec<(Instant, ConnId)> =
            self.load.used.iter().filter(is_idle).map(|(conn, used)| (*used, *conn)).collect();
        idle.sort_unstable_by_key(|entry| Reverse(*entry));
        for _ in 0..excess {
            let Some((_, conn)) = idle.pop() else { break };
            self.sessions.close(conn);
            self.session_down(now, conn);
        }
    }
}
