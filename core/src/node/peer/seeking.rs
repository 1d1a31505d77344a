//! Where the user of a download is: it moves the window of what comes first. It never asks for anything itself.

use super::share::{Job, Share};
use super::{Instant, Peer};
use crate::id::InfoHash;
use crate::node::io::Place;

impl Peer {
    /// The user of a share is at `place` now, or nowhere.
    pub(super) fn seek(&mut self, now: Instant, info_hash: InfoHash, place: Option<Place>) {
        let Some(share) = self.shares.get_mut(&info_hash) else { return };
        share.place = place;
        if let Share { job: Job::Downloading(download), layout: Some(layout), .. } = share {
            download.seek(now, layout.window(place, self.config.window));
            download.wake(now);
        }
    }
}
