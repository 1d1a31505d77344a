//! What a download knows of one source: what it has, what it owes, how fast it is. Decides only how much may
//! be asked of it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::machine::Instant;
use crate::merkle::BLOCK_LEN;
use crate::transfer::SourceKind;
use crate::wire::frame::RequestId;

/// The least a source is asked for at once: enough to keep a loopback or a slow start busy.
pub(crate) const MIN_PIPELINE: u64 = 512 * 1024;
/// The same where somebody waits for it.
const MIN_SHORT_PIPELINE: u64 = 4 * BLOCK_LEN as u64;
/// Queueing time that a pipeline adds to the round trip, so that the source never runs dry.
const SLACK: Duration = Duration::from_millis(250);
/// Over which time a rate is averaged.
const RATE_WINDOW: Duration = Duration::from_millis(500);
/// How long one that stalled is thought to take.
const STALLED: Duration = Duration::from_secs(60);
/// Longest pause after a source said that it is busy.
const MAX_BACKOFF: Duration = Duration::from_secs(8);

/// How a source stands, for status displays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStats {
    /// Verified bytes it gave.
    pub bytes: u64,
    /// Bytes a second lately.
    pub rate: u64,
    /// Bytes asked for and not yet come.
    pub in_flight: u64,
    /// Times it stalled or turned a request down for a passing reason.
    pub failures: u32,
    /// It owes something and gave nothing for a while: it is asked for little.
    pub stalled: bool,
    /// It said that it is busy: it is asked for nothing for a while.
    pub paused: bool,
}

/// A range of blocks asked of a source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) slot: u32,
    /// The block that must come next.
    pub(crate) next: u16,
    pub(crate) end: u16,
    /// Bytes not yet come.
    pub(crate) owed: u32,
    pub(crate) asked_at: Instant,
}

#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) kind: SourceKind,
    /// Has every chunk, but for those in `except`.
    pub(crate) has_all: bool,
    /// Chunks it has (or, under `has_all`, lacks).
    pub(crate) except: BTreeSet<u32>,
    pub(crate) requests: BTreeMap<RequestId, Request>,
    /// Chunks whose leaves were asked of it.
    pub(crate) leaf_requests: BTreeMap<RequestId, u32>,
    pub(crate) in_flight: u64,
    /// Bytes that were asked for and given up: they may still come.
    pub(crate) late: u64,
    /// Answers other than blocks that were given up.
    pub(crate) late_answers: u32,
    /// When it last gave something, or was asked while it owed nothing.
    pub(crate) last_progress: Instant,
    pub(crate) paused_until: Option<Instant>,
    /// Until when it may be giving what it was asked for and need not any more.
    pub(crate) busy_until: Option<Instant>,
    /// It stalled: asked for little until it gives again.
    pub(crate) stalled: bool,
    pub(crate) bytes: u64,
    pub(crate) failures: u32,
    backoff: Duration,
    round_trip: Option<Duration>,
    rate: f64,
    /// The mean of whole windows, without what a young one promises; 0 before the first is over.
    steady_rate: f64,
    window_began: Instant,
    window_bytes: u64,
}

impl Source {
    pub(crate) fn new(now: Instant, kind: SourceKind) -> Self {
        Self {
            kind,
            has_all: false,
            except: BTreeSet::new(),
            requests: BTreeMap::new(),
            leaf_requests: BTreeMap::new(),
            in_flight: 0,
            late: 0,
            late_answers: 0,
            last_progress: now,
            paused_until: None,
            busy_until: None,
            stalled: false,
            bytes: 0,
            failures: 0,
            backoff: Duration::from_millis(250),
            round_trip: None,
            rate: 0.0,
            steady_rate: 0.0,
            window_began: now,
            window_bytes: 0,
        }
    }

    pub(crate) fn has(&self, slot: u32) -> bool {
        self.except.contains(&slot) != self.has_all
    }

    /// Notes whether it has a chunk; true if that is news.
    pub(crate) fn set_has(&mut self, slot: u32, has: bool) -> bool {
        if has == self.has_all { self.except.remove(&slot) } else { self.except.insert(slot) }
    }

    pub(crate) fn owes_nothing(&self) -> bool {
        self.requests.is_empty() && self.leaf_requests.is_empty()
    }

    /// Bytes that may be in flight: the bandwidth-delay product and a little more.
    pub(crate) fn pipeline(&self, max: u64) -> u64 {
        if self.stalled {
            return u64::from(BLOCK_LEN);
        }
        self.delay_of(self.rate).clamp(MIN_PIPELINE, max.max(MIN_PIPELINE))
    }

    /// Bytes that may be in flight where somebody waits for what is asked: what it gives soon, however slow it is.
    pub(crate) fn short_pipeline(&self, max: u64) -> u64 {
        self.pipeline(max).min(self.delay_of(self.steady_rate()).max(MIN_SHORT_PIPELINE))
    }

    /// Most blocks to ask of it at once where somebody waits for the first of them: what it gives soon. A frame comes as a
    /// whole, and a slow line takes long for a large one.
    pub(crate) fn short_request(&self) -> u16 {
        match self.steady_rate() {
            rate if rate < 1.0 => u16::MAX,
            rate => (rate * SLACK.as_secs_f64() / f64::from(BLOCK_LEN)).max(1.0) as u16,
        }
    }

    /// How long it will take to give what it owes and `bytes` more, as fast as it was lately. One of which nothing is
    /// known is thought to be fast.
    pub(crate) fn time_to_give(&self, now: Instant, bytes: u64) -> Duration {
        if self.stalled {
            return STALLED;
        }
        let rate = self.steady_rate();
        let giving = if rate < 1.0 { 0.0 } else { (self.in_flight + bytes) as f64 / rate };
        let before = self.busy_until.map_or(Duration::ZERO, |until| until.since(now));
        before + Duration::try_from_secs_f64(giving).unwrap_or(Duration::MAX / 4)
    }

    /// Bytes that come in a round trip and a little more, at a rate.
    fn delay_of(&self, rate: f64) -> u64 {
        let time = self.round_trip.unwrap_or_default() + SLACK;
        (rate * time.as_secs_f64()) as u64
    }

    /// Bytes a second as far as bursts do not show them: of a source with a limit, the first bytes come at once.
    fn steady_rate(&self) -> f64 {
        if self.steady_rate > 0.0 { self.steady_rate } else { self.rate }
    }

    pub(crate) fn may_be_asked(&self, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| now >= until)
    }

    /// Notes that bytes came for a request made at `asked_at`.
    pub(crate) fn received(&mut self, now: Instant, bytes: u64, asked_at: Instant) {
        self.progressed(now);
        let took = now.since(asked_at);
        self.round_trip = Some(self.round_trip.map_or(took, |least| least.min(took)));
        self.window_bytes += bytes;
        let window = now.since(self.window_began);
        if window >= RATE_WINDOW {
            let rate = self.window_bytes as f64 / window.as_secs_f64();
            let average = |old: f64| if old == 0.0 { rate } else { (old + rate) / 2.0 };
            self.rate = average(self.rate);
            self.steady_rate = average(self.steady_rate);
            self.window_began = now;
            self.window_bytes = 0;
        } else {
            // A young window already shows a rate above the old one: let the pipeline grow with it.
            let least = Duration::from_millis(20).max(window).as_secs_f64();
            self.rate = self.rate.max(self.window_bytes as f64 / least);
        }
    }

    /// Notes any sign that it is working for us.
    pub(crate) fn progressed(&mut self, now: Instant) {
        self.last_progress = now;
        self.stalled = false;
        self.backoff = Duration::from_millis(250);
    }

    /// Notes that it turned a request down for a passing reason: leaves it alone for a while.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.failures += 1;
        self.paused_until = self.paused_until.max(Some(now + self.backoff));
        self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
    }

    /// Gives up everything it owes, counting it as late.
    pub(crate) fn give_up(&mut self) -> (BTreeMap<RequestId, Request>, BTreeMap<RequestId, u32>) {
        let requests = std::mem::take(&mut self.requests);
        let leaves = std::mem::take(&mut self.leaf_requests);
        self.late += self.in_flight;
        self.late_answers += (requests.len() + leaves.len()) as u32;
        self.in_flight = 0;
        (requests, leaves)
    }

    pub(crate) fn stats(&self) -> SourceStats {
        SourceStats {
            bytes: self.bytes,
            rate: self.rate as u64,
            in_flight: self.in_flight,
            failures: self.failures,
            stalled: self.stalled,
            paused: self.paused_until.is_some(),
        }
    }
}
