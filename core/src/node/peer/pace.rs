//! The limits that a user sets, shared out among the downloads. It decides how much, never what is asked of whom.

use std::time::Duration;

use super::share::{Job, Share};
use super::{Instant, Peer};
use crate::id::InfoHash;
use crate::merkle::BLOCK_LEN;
use crate::transfer::Rate;

/// Most blocks granted to one download at a time.
const MAX_STEP: u64 = 4;

/// The limit on all downloads.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Rate,
    /// The download that was granted something last.
    last: Option<InfoHash>,
    /// When a download that is held back may be granted more.
    wake_at: Option<Instant>,
}

impl Pace {
    pub(super) fn new(limit: u64) -> Self {
        Self { rate: Rate::new(limit), last: None, wake_at: None }
    }

    pub(super) const fn is_limited(&self) -> bool {
        self.rate.is_limited()
    }

    /// Bytes granted to one download at a time.
    fn step(&self) -> u64 {
        self.rate.blocks_at_once().min(MAX_STEP) * u64::from(BLOCK_LEN)
    }

    pub(super) const fn next_wake(&self) -> Option<Instant> {
        self.wake_at
    }
}

impl Peer {
    /// The user limits what is sent and what is asked for.
    pub(super) fn set_limits(&mut self, now: Instant, upload: u64, download: u64) {
        self.upload.set_limit(now, upload);
        self.config.download_limit = download;
        self.pace.rate.set(now, download);
        for share in self.shares.values_mut() {
            if let Job::Downloading(job) = &mut share.job {
                job.set_paced(self.pace.is_limited());
                job.wake(now);
            }
        }
    }

    /// How long anything may make no progress: for as long as its turn takes to come, nobody is to blame but the limit.
    pub(super) fn patience(&self) -> Duration {
        let waiting = self.pace.step() * self.shares.len() as u64;
        let held_back = waiting.checked_div(self.config.download_limit).unwrap_or_default();
        self.config.patience + Duration::from_secs(held_back)
    }

    /// Lets downloads that are held back ask for more, a little each in turn; true if any may.
    pub(super) fn grant(&mut self, now: Instant) -> bool {
        self.pace.wake_at = None;
        let is_held_back =
            |share: &Share| matches!(&share.job, Job::Downloading(download) if download.is_held_back());
        let step = self.pace.step();
        let mut moved = false;
        loop {
            let waiting: Vec<InfoHash> =
                self.shares.iter().filter(|(_, share)| is_held_back(share)).map(|(name, _)| *name).collect();
            let next = waiting.iter().find(|name| Some(**name) > self.pace.last).or(waiting.first());
            let Some(info_hash) = next.copied() else { return moved };
            if let Err(at) = self.pace.rate.take(now, step) {
                self.pace.wake_at = Some(at);
                return moved;
            }
            self.pace.last = Some(info_hash);
            if let Some(Share { job: Job::Downloading(download), .. }) = self.shares.get_mut(&info_hash) {
                download.grant(now, step);
                moved = true;
            }
        }
    }
}
