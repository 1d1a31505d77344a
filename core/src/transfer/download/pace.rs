//! Asking no faster than somebody else allows: who has a limit on several downloads grants each a few bytes at a time.

use super::Download;
use crate::machine::Instant;
use crate::merkle::BLOCK_LEN;

/// What a download may still ask for.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    /// Bytes; `None`: any number.
    granted: Option<u64>,
    /// Something would be asked for if more were granted.
    is_held_back: bool,
}

impl Pacing {
    /// It is looked anew for what may be asked for.
    pub(super) fn begin(&mut self) {
        self.is_held_back = false;
    }

    /// How many of `wanted` blocks may be asked for.
    pub(super) fn most(&mut self, wanted: u16) -> u16 {
        let Some(granted) = self.granted else { return wanted };
        let most = (granted / u64::from(BLOCK_LEN)).min(wanted.into()) as u16;
        self.is_held_back |= most == 0 && wanted > 0;
        most
    }

    /// So many bytes are asked for.
    pub(super) fn spend(&mut self, bytes: u32) {
        if let Some(granted) = &mut self.granted {
            *granted = granted.saturating_sub(bytes.into());
        }
    }
}

impl Download {
    /// Whether it asks for nothing that it was not granted by [`Download::grant`]. Call [`Download::wake`] after it.
    pub fn set_paced(&mut self, paced: bool) {
        self.pacing.granted = paced.then(|| self.pacing.granted.unwrap_or_default());
    }

    /// Whether it would ask for more if it were granted more.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        self.pacing.is_held_back && !self.is_idle()
    }

    /// Allows it to ask for so many bytes more, in whole blocks.
    pub fn grant(&mut self, now: Instant, bytes: u64) {
        if let Some(granted) = &mut self.pacing.granted {
            *granted += bytes;
            self.fill(now);
        }
    }
}
