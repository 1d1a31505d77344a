//! The contract every state machine here keeps, and the time it is told.
//!
//! A machine is a plain struct: it is told what happened ([`Machine::handle`]), answers with what to do
//! ([`Machine::poll`]) and says when it next wants to be woken ([`Machine::next_wake`]). It never does I/O,
//! never reads a clock and never rolls dice: a driver does that for it, and a simulator can do it instead.

use std::collections::VecDeque;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in a machine's time: nanoseconds since the machine began. Never the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The moment a machine begins.
    pub const ZERO: Self = Self(0);

    /// The instant `nanos` nanoseconds after the machine began.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the machine began.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time (584 years).
    fn add(self, rhs: Duration) -> Self {
        let nanos = u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.since(rhs)
    }
}

/// A deterministic state machine: (state, time, input) decide everything it does.
///
/// The driver's loop is: `handle` one input, then `poll` until `None`, then wait for the next input or for
/// [`Machine::next_wake`], whichever is first. Outputs are one FIFO, so their order is meaning.
pub trait Machine {
    /// What can happen to it.
    type Input;
    /// What it wants done.
    type Output;

    /// Tells the machine that `input` happened at `now`. Total: whatever a remote can cause is handled, and
    /// junk becomes an output that says so. `now` never goes back.
    fn handle(&mut self, now: Instant, input: Self::Input);

    /// The next thing to do, in order; `None` when there is nothing more before the next input.
    fn poll(&mut self) -> Option<Self::Output>;

    /// When to call `handle` with the machine's wake-up input if nothing happens before. Always after the
    /// last `now`. A wake-up that comes early does nothing.
    fn next_wake(&self) -> Option<Instant>;
}

/// The FIFO of outputs inside a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outbox<T>(VecDeque<T>);

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Outbox<T> {
    /// Appends an output.
    pub fn push(&mut self, output: T) {
        self.0.push_back(output);
    }

    /// Takes the oldest output.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }
}

/// The earliest of several optional wake-ups.
pub(crate) fn earliest(wakes: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    wakes.into_iter().flatten().min()
}

/// A small, fast, seeded generator (SplitMix64, Steele et al. 2014): spreads choices, protects nothing.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator whose whole sequence is decided by `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no numbers");
        self.next_u64() % bound
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
