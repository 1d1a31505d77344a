//! A client's connection to its front: finds one that answers, greets it, notices when it dies, finds another.
//! It never looks into what is announced or signaled.

use std::time::Duration;

use bytes::Bytes;

use crate::machine::{Instant, Outbox, Rng, earliest};
use crate::node::io::{LinkCommand, LinkEvent};
use crate::wire::signal::{Bootstrap, FromFront, ToFront};

/// A front that does not welcome us by then is given up.
const SETUP_TIMEOUT: Duration = Duration::from_secs(8);
/// After this much silence the front is asked for a sign of life.
const ASK_AFTER: Duration = Duration::from_secs(10);
/// After this much silence the front is dead.
const DEAD_AFTER: Duration = Duration::from_secs(20);
/// First and longest pause before the next try, once every front was tried.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// What a link wants done, and what it reports.
#[derive(Clone, Debug)]
pub enum UplinkOutput {
    /// Of the driver.
    Link(LinkCommand),
    /// The connection is open: [`Uplink::greet`] now.
    Greet,
    /// The front welcomed us.
    Welcome(Bootstrap),
    /// The front said something else.
    Message(FromFront),
    /// The front is gone, or was never there; another try follows by itself.
    Lost {
        /// Why, in words.
        reason: String,
    },
}

#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Connecting { since: Instant },
    Welcomed { heard: Instant, asked: bool },
    Closed,
}

/// The machine. See the module's documentation.
#[derive(Debug)]
pub struct Uplink {
    fronts: usize,
    current: usize,
    failures: u32,
    rng: Rng,
    state: State,
    out: Outbox<UplinkOutput>,
}

impl Uplink {
    /// A link to one of `fronts` fronts, tried in order; [`Uplink::wake`] begins.
    ///
    /// # Panics
    /// If there are no fronts.
    #[must_use]
    pub fn new(fronts: usize, seed: u64) -> Self {
        assert!(fronts > 0, "a client needs at least one front");
        let state = State::Waiting { until: Instant::ZERO };
        Self { fronts, current: 0, failures: 0, rng: Rng::new(seed), state, out: Outbox::default() }
    }

    /// The next thing to do or to know.
    pub fn poll(&mut self) -> Option<UplinkOutput> {
        self.out.pop()
    }

    /// Whether a front has welcomed us.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.state, State::Welcomed { .. })
    }

    /// Sends the hello, in answer to [`UplinkOutput::Greet`].
    pub fn greet(&mut self, hello: &ToFront) {
        self.out.push(UplinkOutput::Link(LinkCommand::Send { text: hello.to_text() }));
    }

    /// Sends a message; without a front it is dropped.
    pub fn send(&mut self, message: &ToFront) {
        if self.is_up() {
            self.out.push(UplinkOutput::Link(LinkCommand::Send { text: message.to_text() }));
        }
    }

    /// Tries no more.
    pub fn close(&mut self) {
        self.state = State::Closed;
    }

    /// The driver said something.
    pub fn event(&mut self, now: Instant, event: LinkEvent) {
        match (&mut self.state, event) {
            (State::Connecting { .. }, LinkEvent::Up) => self.out.push(UplinkOutput::Greet),
            (State::Connecting { .. } | State::Welcomed { .. }, LinkEvent::Message { text }) => {
                self.message(now, &text);
            }
            (State::Connecting { .. } | State::Welcomed { .. }, LinkEvent::Down { reason }) => {
                self.lose(now, reason);
            }
            _ => {}
        }
    }

    /// Time passed.
    pub fn wake(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting { until } if now >= *until => self.connect(now),
            State::Connecting { since } if now >= *since + SETUP_TIMEOUT => {
                self.lose(now, "it did not answer in time".into());
            }
            State::Welcomed { heard, .. } if now >= *heard + DEAD_AFTER => {
                self.lose(now, "it fell silent".into());
            }
            State::Welcomed { heard, asked } if !*asked && now >= *heard + ASK_AFTER => {
                *asked = true;
                self.send(&ToFront::Ping {});
            }
            _ => {}
        }
    }

    /// When to call [`Uplink::wake`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        earliest([match self.state {
            State::Waiting { until } => Some(until),
            State::Connecting { since } => Some(since + SETUP_TIMEOUT),
            State::Welcomed { heard, asked: true } => Some(heard + DEAD_AFTER),
            State::Welcomed { heard, asked: false } => Some(heard + ASK_AFTER),
            State::Closed => None,
        }])
    }

    fn message(&mut self, now: Instant, text: &Bytes) {
        let message = match FromFront::parse(text) {
            Ok(message) => message,
            Err(error) => return self.lose(now, format!("it sent nonsense: {error}")),
        };
        match (&mut self.state, message) {
            (State::Connecting { .. }, FromFront::Welcome(bootstrap)) => {
                self.failures = 0;
                self.state = State::Welcomed { heard: now, asked: false };
                self.out.push(UplinkOutput::Welcome(bootstrap));
            }
            (State::Connecting { .. }, FromFront::Error { message, .. }) => {
                self.lose(now, format!("it turned us away: {message}"));
            }
            (State::Connecting { .. }, _) => self.lose(now, "it did not welcome us first".into()),
            (State::Welcomed { heard, asked }, message) => {
                (*heard, *asked) = (now, false);
                match message {
                    FromFront::Pong {} => {}
                    FromFront::Probe {} => self.send(&ToFront::Alive {}),
                    message => self.out.push(UplinkOutput::Message(message)),
                }
            }
            (State::Waiting { .. } | State::Closed, _) => {}
        }
    }

    fn connect(&mut self, now: Instant) {
        self.state = State::Connecting { since: now };
        self.out.push(UplinkOutput::Link(LinkCommand::Connect { front: self.current }));
    }

    /// Moves on to the next front, at once the first time round, then with growing pauses.
    fn lose(&mut self, now: Instant, reason: String) {
        self.out.push(UplinkOutput::Lost { reason });
        self.current = (self.current + 1) % self.fronts;
        self.failures += 1;
        let rounds = self.failures / self.fronts as u32;
        let pause = if rounds == 0 {
            Duration::from_millis(1)
        } else {
            let (first, longest) = BACKOFF;
            let pause = (first * (1 << (rounds - 1).min(5))).min(longest);
            pause / 2 + pause.mul_f64(self.rng.below(1000) as f64 / 2000.0)
        };
        self.state = State::Waiting { until: now + pause };
    }
}
