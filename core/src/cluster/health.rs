//! The health of one worker as its front sees it: probed steadily, suspect after half the time-out of silence, dead
//! at the time-out, counted again once it answers. One that dies again and again has to answer steadily for longer
//! each time before it counts. Never sends a probe itself, and never takes its own front's standstill for a
//! worker's silence.

use std::time::Duration;

use crate::machine::{Instant, earliest};

/// Deaths beyond this many make no difference: the wait for a return grows to `steady` times 2 to the power of this
/// less two.
const MAX_DEATHS: u32 = 7;

/// How a worker's health is judged. [`HealthConfig::checked`] before use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// Time from one probe to the next, 10 ms to 10 s.
    pub probe_every: Duration,
    /// Silence after which a worker is dead, four probes to 60 s (`WORKER_HEALTH_TIMEOUT`). Suspect at half of it.
    pub timeout: Duration,
    /// How long a worker has to answer without a pause, after its second death, before it counts again; doubled with
    /// each further death, up to 32 times this. One probe to 60 s.
    pub steady: Duration,
    /// Each time that this passes without a death, one death is forgotten. The time-out to one hour.
    pub flap_window: Duration,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            probe_every: Duration::from_millis(250),
            timeout: Duration::from_secs(1),
            steady: Duration::from_secs(1),
            flap_window: Duration::from_secs(60),
        }
    }
}

/// A setting out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {expected}")]
pub struct BadHealthConfig {
    /// The setting.
    pub field: &'static str,
    /// What it must be.
    pub expected: &'static str,
}

impl HealthConfig {
    /// These settings, if they are in range.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn checked(self) -> Result<Self, BadHealthConfig> {
        let rule = |holds: bool, field, expected| holds.then_some(()).ok_or(BadHealthConfig { field, expected });
        let minute = Duration::from_secs(60);
        let probes = Duration::from_millis(10)..=Duration::from_secs(10);
        rule(probes.contains(&self.probe_every), "the time between health probes", "10 ms to 10 s")?;
        let timeouts = self.probe_every * 4..=minute;
        rule(timeouts.contains(&self.timeout), "the health time-out", "four probes to 60 s")?;
        let steady = self.probe_every..=minute;
        rule(steady.contains(&self.steady), "the steady time before a return", "one probe to 60 s")?;
        let windows = self.timeout..=minute * 60;
        rule(windows.contains(&self.flap_window), "the window of flaps", "the health time-out to one hour")?;
        Ok(self)
    }

    fn suspect_after(&self) -> Duration {
        self.timeout / 2
    }

    /// Most of the time between two looks that counts as silence. A front that runs looks at every probe; what is
    /// longer is its own standstill.
    fn attention(&self) -> Duration {
        self.probe_every * 2
    }
}

/// What a front holds of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Alive,
    /// It has been silent for half the time-out; it still counts.
    Suspect,
    /// It is silent and does not count.
    Dead,
    /// It answers again and does not count yet: it died too often lately.
    Returning,
}

impl State {
    /// Whether clients may be assigned to it.
    #[must_use]
    pub const fn counts(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }
}

/// News of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It fell silent.
    Suspect,
    /// It spoke before it was dead.
    Cleared,
    /// It does not count any more.
    Dead,
    /// It counts again.
    Back,
}

/// What a wake-up found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// Whether to send a probe now.
    pub probe: bool,
    /// What changed.
    pub change: Option<Change>,
}

/// How often a worker died lately. Outlives its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flaps {
    deaths: u32,
    last: Instant,
}

impl Flaps {
    /// Deaths that are not forgotten at `now`, 0 to 7.
    #[must_use]
    pub fn recent(&self, now: Instant, config: &HealthConfig) -> u32 {
        let windows = now.since(self.last).as_nanos() / config.flap_window.as_nanos();
        self.deaths.saturating_sub(u32::try_from(windows).unwrap_or(u32::MAX))
    }

    /// When it last died.
    #[must_use]
    pub const fn last(&self) -> Instant {
        self.last
    }

    fn died(&mut self, now: Instant, config: &HealthConfig) {
        *self = Self { deaths: (self.recent(now, config) + 1).min(MAX_DEATHS), last: now };
    }

    /// For how long a worker that begins to answer at `since` must do so before it counts.
    fn wait(&self, since: Instant, config: &HealthConfig) -> Duration {
        match self.recent(since, config) {
            0 | 1 => Duration::ZERO,
            deaths => config.steady * (1 << (deaths - 2)),
        }
    }
}

/// The machine. See the module's documentation.
#[derive(Debug)]
pub struct Health {
    config: HealthConfig,
    state: State,
    /// Since when it has answered without a pause; has a meaning while it is returning.
    answering_since: Instant,
    /// Silence up to `looked`, as far as the front was there to notice.
    quiet: Duration,
    looked: Instant,
    probe_at: Instant,
    flaps: Flaps,
}

impl Health {
    /// A worker that was just heard for the first time on its connection; `flaps` is what is known of earlier ones.
    #[must_use]
    pub fn new(config: HealthConfig, now: Instant, flaps: Flaps) -> Self {
        let mut health = Self {
            config,
            state: State::Dead,
            answering_since: now,
            quiet: Duration::ZERO,
            looked: now,
            probe_at: now + config.probe_every,
            flaps,
        };
        health.heard(now);
        health
    }

    /// What is held of it.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// For how long it has been silent, as of the last look.
    #[must_use]
    pub const fn quiet(&self) -> Duration {
        self.quiet
    }

    /// It said something, whatever it was.
    pub fn heard(&mut self, now: Instant) -> Option<Change> {
        self.look(now);
        let paused = std::mem::take(&mut self.quiet) >= self.config.suspect_after();
        if self.state == State::Suspect {
            self.state = State::Alive;
            return Some(Change::Cleared);
        }
        if self.state == State::Alive {
            return None;
        }
        if self.state == State::Dead || paused {
            (self.state, self.answering_since) = (State::Returning, now);
        }
        let wait = self.flaps.wait(self.answering_since, &self.config);
        (now.since(self.answering_since) >= wait).then(|| {
            self.state = State::Alive;
            Change::Back
        })
    }

    /// Time passed.
    pub fn wake(&mut self, now: Instant) -> Woken {
        self.look(now);
        let probe = now >= self.probe_at;
        if probe {
            self.probe_at = now + self.config.probe_every;
        }
        let change = match self.state {
            State::Alive if self.quiet >= self.config.suspect_after() => {
                self.state = State::Suspect;
                Some(Change::Suspect)
            }
            State::Suspect if self.quiet >= self.config.timeout => {
                self.state = State::Dead;
                self.flaps.died(now, &self.config);
                Some(Change::Dead)
            }
            // It never counted, so nobody needs to know.
            State::Returning if self.quiet >= self.config.suspect_after() => {
                self.state = State::Dead;
                None
            }
            _ => None,
        };
        Woken { probe, change }
    }

    /// When to call [`Health::wake`].
    #[must_use]
    pub fn next_wake(&self) -> Instant {
        let silent_at = match self.state {
            State::Alive | State::Returning => Some(self.config.suspect_after()),
            State::Suspect => Some(self.config.timeout),
            State::Dead => None,
        };
        let silent_at = silent_at.map(|limit| self.looked + limit.saturating_sub(self.quiet));
        earliest([Some(self.probe_at), silent_at]).expect("there is always a next probe")
    }

    /// Its connection is gone without a word of farewell: a death, if it counted. What to give
    /// [`Health::new`] when it comes back.
    #[must_use]
    pub fn lost(mut self, now: Instant) -> Flaps {
        if self.state.counts() {
            self.flaps.died(now, &self.config);
        }
        self.flaps
    }

    /// It took its leave: no death.
    #[must_use]
    pub const fn left(self) -> Flaps {
        self.flaps
    }

    fn look(&mut self, now: Instant) {
        self.quiet += now.since(self.looked).min(self.config.attention());
        self.looked = self.looked.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn new() -> Health {
        Health::new(HealthConfig::default(), Instant::ZERO, Flaps::default())
    }

    /// Counts silence a millisecond at a time, and deaths from the whole history.
    struct Model {
        now: u64,
        /// Milliseconds since the front last looked.
        unattended: u64,
        /// Milliseconds of silence, without those of a standstill.
        quiet: u64,
        died: Vec<u64>,
        state: State,
        since: u64,
        probe_at: u64,
    }

    impl Model {
        fn pass(&mut self, until: u64) {
            while self.now < until {
                self.now += 1;
                self.unattended += 1;
                self.quiet += u64::from(self.unattended <= 500);
            }
        }

        fn recent_deaths(&self, at: u64) -> u64 {
            let mut count: u64 = 0;
            let mut times = self.died.clone();
            times.push(at);
            for pair in times.windows(2) {
                count = (count + 1).min(7).saturating_sub((pair[1] - pair[0]) / 60_000);
            }
            count
        }

        fn hear(&mut self) -> Option<Change> {
            self.unattended = 0;
            let quiet = std::mem::take(&mut self.quiet);
            let was = self.state;
            if was == State::Dead || was == State::Returning && quiet >= 500 {
                self.since = self.now;
            }
            let wait = match self.recent_deaths(self.since) {
                0 | 1 => 0,
                2 => 1_000,
                3 => 2_000,
                4 => 4_000,
                5 => 8_000,
                6 => 16_000,
                _ => 32_000,
            };
            let ready = was.counts() || self.now - self.since >= wait;
            self.state = if ready { State::Alive } else { State::Returning };
            match was {
                State::Alive => None,
                State::Suspect => Some(Change::Cleared),
                State::Dead | State::Returning => ready.then_some(Change::Back),
            }
        }

        fn look(&mut self) -> Woken {
            self.unattended = 0;
            let probe = self.now >= self.probe_at;
            if probe {
                self.probe_at = self.now + 250;
            }
            let (state, change) = match self.state {
                State::Alive if self.quiet >= 500 => (State::Suspect, Some(Change::Suspect)),
                State::Suspect if self.quiet >= 1_000 => (State::Dead, Some(Change::Dead)),
                State::Returning if self.quiet >= 500 => (State::Dead, None),
                state => (state, None),
            };
            self.state = state;
            if change == Some(Change::Dead) {
                self.died.push(self.now);
            }
            Woken { probe, change }
        }
    }

    proptest! {
        /// Random silences of the worker, seen by a front that is woken in time or late.
        #[test]
        fn health_is_that_of_a_naive_model(
            steps in vec((prop_oneof![4 => 0..600u64, 3 => 400..1_600u64, 1 => 5_000..90_000u64], 0..4u8), 1..60),
            late in prop_oneof![Just(0), 0..40u64, 0..3_000u64],
        ) {
            let mut health = new();
            let mut model = Model {
                now: 0, unattended: 0, quiet: 0, died: vec![], state: State::Alive, since: 0, probe_at: 250,
            };
            let mut now = 0;
            for (silence, kind) in steps {
                let until = now + silence;
                loop {
                    let due = health.next_wake();
                    let due = due.as_nanos().div_ceil(1_000_000) + late;
                    if due > until {
                        break;
                    }
                    now = due;
                    model.pass(now);
                    prop_assert_eq!(health.wake(at(now)), model.look(), "at {}", now);
                    prop_assert!(health.next_wake() > at(now), "a wake-up lies ahead");
                    prop_assert_eq!(health.state(), model.state);
                }
                now = until;
                model.pass(now);
                if kind > 0 {
                    prop_assert_eq!(health.heard(at(now)), model.hear(), "at {}", now);
                } else {
                    prop_assert_eq!(health.wake(at(now)), model.look(), "early, at {}", now);
                }
                prop_assert_eq!(health.state(), model.state);
            }
        }

        /// Who answers each probe within a quarter of a second is never so much as suspected, however late its
        /// front wakes up and for however long it stood still.
        #[test]
        fn a_standstill_of_the_front_is_nobody_s_death(
            stands in vec((prop_oneof![0..20u64, 0..100_000u64], 0..250u64), 1..100),
        ) {
            let mut health = new();
            let mut now = Instant::ZERO;
            for (stand, answer) in stands {
                now = now.max(health.next_wake() + ms(stand));
                let Woken { probe, change } = health.wake(now);
                prop_assert!(change != Some(Change::Dead));
                if probe {
                    // The answer comes before the next probe; the front looks whenever it wants to until then.
                    let answered = now + ms(answer);
                    while health.next_wake() <= answered {
                        let woken = health.wake(health.next_wake());
                        prop_assert!(woken.change != Some(Change::Dead), "buried by a front that stood still");
                    }
                    now = answered;
                    let change = health.heard(now);
                    prop_assert!(change.is_none() || change == Some(Change::Cleared));
                }
                prop_assert!(health.state().counts());
            }
        }
    }

    /// Lets the worker be silent until it is dead; when that was.
    fn kill(health: &mut Health) -> Instant {
        loop {
            let now = health.next_wake();
            if health.wake(now).change == Some(Change::Dead) {
                return now;
            }
        }
    }

    /// Lets the worker answer every probe until it counts; how long that took from `from` on.
    fn revive(health: &mut Health, from: Instant) -> Duration {
        let mut now = from;
        while health.heard(now) != Some(Change::Back) {
            now = health.next_wake();
            health.wake(now);
        }
        now.since(from)
    }

    #[test]
    fn a_silent_worker_is_probed_suspected_and_dead_on_time() {
        let mut health = new();
        let mut news = Vec::new();
        while health.next_wake() <= at(2_000) {
            let now = health.next_wake();
            let Woken { probe, change } = health.wake(now);
            news.push((now.since(Instant::ZERO).as_millis(), probe, change));
        }
        let expected = [
            (250, true, None),
            (500, true, Some(Change::Suspect)),
            (750, true, None),
            (1_000, true, Some(Change::Dead)),
            (1_250, true, None),
            (1_500, true, None),
            (1_750, true, None),
            (2_000, true, None),
        ];
        assert_eq!(news, expected);
        assert_eq!(health.heard(at(2_001)), Some(Change::Back));
        assert_eq!(health.heard(at(2_002)), None);
    }

    #[test]
    fn who_dies_again_and_again_waits_longer_up_to_a_bound_and_is_forgiven_in_time() {
        let mut health = new();
        let mut waits = Vec::new();
        let mut now = Instant::ZERO;
        for _ in 0..9 {
            now = kill(&mut health);
            let wait = revive(&mut health, now);
            now = now + wait;
            waits.push(wait.as_secs());
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 32, 32]);
        let end = now + Duration::from_secs(7 * 60);
        while now < end {
            now = health.next_wake();
            health.wake(now);
            health.heard(now);
        }
        let died = kill(&mut health);
        assert_eq!(revive(&mut health, died), Duration::ZERO);
    }

    #[test]
    fn a_pause_while_returning_begins_the_wait_anew() {
        let mut health = new();
        for _ in 0..2 {
            let died = kill(&mut health);
            revive(&mut health, died);
        }
        let mut now = kill(&mut health);
        assert_eq!(health.heard(now), None);
        assert_eq!(health.state(), State::Returning);
        while health.state() == State::Returning {
            now = health.next_wake();
            assert_eq!(health.wake(now).change, None);
        }
        assert_eq!(health.state(), State::Dead);
        assert_eq!(revive(&mut health, now), Duration::from_secs(2), "a failed return is no further death");
    }

    #[test]
    fn a_lost_connection_is_a_death_and_a_farewell_is_none() {
        let config = HealthConfig::default();
        let once = new().lost(at(10));
        assert_eq!(once.recent(at(20), &config), 1);
        assert_eq!(new().left().recent(at(20), &config), 0);
        let again = Health::new(config, at(20), once);
        assert_eq!(again.state(), State::Alive);
        let twice = again.lost(at(30));
        let third = Health::new(config, at(40), twice);
        assert_eq!(third.state(), State::Returning);
        assert_eq!(third.lost(at(50)).recent(at(50), &config), 2, "it did not count");
    }

    #[test]
    fn settings_have_ranges() {
        let good = HealthConfig::default();
        assert_eq!(good.checked(), Ok(good));
        let words = |config: HealthConfig| config.checked().expect_err("out of range").to_string();
        for probe_every in [ms(9), ms(10_001)] {
            let config = HealthConfig { probe_every, ..good };
            assert_eq!(words(config), "the time between health probes must be 10 ms to 10 s");
        }
        for timeout in [ms(999), ms(60_001)] {
            assert_eq!(words(HealthConfig { timeout, ..good }), "the health time-out must be four probes to 60 s");
        }
        for steady in [ms(249), ms(60_001)] {
            let config = HealthConfig { steady, ..good };
            assert_eq!(words(config), "the steady time before a return must be one probe to 60 s");
        }
        for flap_window in [ms(999), ms(3_600_001)] {
            let config = HealthConfig { flap_window, ..good };
            assert_eq!(words(config), "the window of flaps must be the health time-out to one hour");
        }
    }
}
