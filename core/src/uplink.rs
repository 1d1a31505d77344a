//! A client's connection to its front: finds one that answers, greets it, notices when it dies, finds another.
//! It never looks into what is announced or signaled.

use std::time::Duration;

use bytes::Bytes;

use crate::machine::{Instant, Outbox, Rng};
use crate::node::io::{LinkCommand, LinkEvent};
use crate::wire::signal::{Bootstrap, FromFront, ToFront};

/// First and longest pause before the next try, once every front was tried.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));
/// A wake-up that comes this much too late says that we stood still: what the front said meanwhile waits to be
/// heard.
const STANDSTILL: Duration = Duration::from_millis(500);

/// How long a silent front is borne with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// After this much silence it is asked for a sign of life.
    pub ask_after: Duration,
    /// Without one for this long after that, it is dead.
    pub answer_within: Duration,
}

/// Settings of an [`Uplink`].
#[derive(Clone, Debug)]
pub struct UplinkConfig {
    /// How many fronts there are. With none, nothing is ever tried.
    pub fronts: usize,
    /// Decides about pauses.
    pub seed: u64,
    /// With nothing to do: what keeps thousands of clients cheap for their front, and the connection open.
    pub idle: Patience,
    /// With work that a dead front would hold up; never more patient than `idle`.
    pub busy: Patience,
    /// A front that probes us and then falls silent for this long is dead.
    pub probed_silence: Duration,
    /// A front that does not welcome us by then is given up, if there are others that were not tried since the last
    /// welcome.
    pub first_setup: Duration,
    /// A front that does not welcome us by then is given up.
    pub setup: Duration,
}

impl UplinkConfig {
    /// Usual settings.
    #[must_use]
    pub const fn new(fronts: usize, seed: u64) -> Self {
        let seconds = Duration::from_secs;
        Self {
            fronts,
            seed,
            idle: Patience { ask_after: seconds(10), answer_within: seconds(10) },
            busy: Patience { ask_after: seconds(1), answer_within: seconds(2) },
            probed_silence: seconds(2),
            first_setup: seconds(3),
            setup: seconds(8),
        }
    }
}

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

#[derive(Clone, Copy, Debug)]
enum State {
    Waiting { until: Instant },
    Connecting { since: Instant },
    Welcomed(Life),
    Closed,
}

/// What tells a living front from a dead one.
#[derive(Clone, Copy, Debug)]
struct Life {
    /// When it last said something.
    heard: Instant,
    /// When it was asked for a sign of life, and said nothing since.
    asked: Option<Instant>,
    /// Whether it probes us.
    probed: bool,
}

/// What a front's silence leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Ask,
    Dead,
}

/// The machine. See the module's documentation.
#[derive(Debug)]
pub struct Uplink {
    config: UplinkConfig,
    current: usize,
    failures: u32,
    rng: Rng,
    /// Since when we have been busy, if we are.
    busy_since: Option<Instant>,
    state: State,
    out: Outbox<UplinkOutput>,
}

impl Uplink {
    /// A link to one of several fronts, tried in order; [`Uplink::wake`] begins.
    #[must_use]
    pub fn new(config: UplinkConfig) -> Self {
        let begin = State::Waiting { until: Instant::ZERO };
        Self {
            current: 0,
            failures: 0,
            rng: Rng::new(config.seed),
            busy_since: None,
            state: if config.fronts > 0 { begin } else { State::Closed },
            out: Outbox::default(),
            config,
        }
    }

    /// The next thing to do or to know.
    pub fn poll(&mut self) -> Option<UplinkOutput> {
        self.out.pop()
    }

    /// Whether a front has welcomed us.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.state, State::Welcomed(_))
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

    /// Whether there is work that a dead front would hold up. A front that is silent already is given the whole of
    /// the shorter patience from now on.
    pub fn busy(&mut self, now: Instant, busy: bool) {
        self.busy_since = busy.then(|| self.busy_since.unwrap_or(now));
    }

    /// Tries no more.
    pub fn close(&mut self) {
        self.state = State::Closed;
    }

    /// The driver said something.
    pub fn event(&mut self, now: Instant, event: LinkEvent) {
        match (&mut self.state, event) {
            (State::Connecting { .. }, LinkEvent::Up) => self.out.push(UplinkOutput::Greet),
            (State::Connecting { .. } | State::Welcomed(_), LinkEvent::Message { text }) => {
                self.message(now, &text);
            }
            (State::Connecting { .. } | State::Welcomed(_), LinkEvent::Down { reason }) => {
                self.lose(now, reason);
            }
            _ => {}
        }
    }

    /// Time passed.
    pub fn wake(&mut self, now: Instant) {
        match self.state {
            State::Waiting { until } if now >= until => self.connect(now),
            State::Connecting { since } if now >= since + self.setup() => {
                self.lose(now, "it did not answer in time".into());
            }
            State::Welcomed(life) => {
                let (at, due) = self.due(&life);
                if now < at {
                    return;
                }
                if now >= at + STANDSTILL {
                    self.state = State::Welcomed(Life { heard: now, asked: None, ..life });
                } else if due == Due::Ask {
                    self.state = State::Welcomed(Life { asked: Some(now), ..life });
                    self.send(&ToFront::Ping {});
                } else {
                    self.lose(now, "it fell silent".into());
                }
            }
            _ => {}
        }
    }

    /// When to call [`Uplink::wake`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { until } => Some(*until),
            State::Connecting { since } => Some(*since + self.setup()),
            State::Welcomed(life) => Some(self.due(life).0),
            State::Closed => None,
        }
    }

    fn setup(&self) -> Duration {
        let others_left = self.failures as usize + 1 < self.config.fronts;
        if others_left { self.config.first_setup } else { self.config.setup }
    }

    /// What comes next if the front stays silent, and when.
    fn due(&self, life: &Life) -> (Instant, Due) {
        if life.probed {
            return (life.heard + self.config.probed_silence, Due::Dead);
        }
        let (UplinkConfig { idle, busy, .. }, since) = (&self.config, self.busy_since);
        let sooner = |from: Instant, idle: Duration, busy: Duration| {
            since.map_or(from + idle, |since| (from + idle).min(from.max(since) + busy))
        };
        match life.asked {
            None => (sooner(life.heard, idle.ask_after, busy.ask_after), Due::Ask),
            Some(asked) => (sooner(asked, idle.answer_within, busy.answer_within), Due::Dead),
        }
    }

    fn message(&mut self, now: Instant, text: &Bytes) {
        let message = match FromFront::parse(text) {
            Ok(message) => message,
            Err(error) => return self.lose(now, format!("it sent nonsense: {error}")),
        };
        match (&mut self.state, message) {
            (State::Connecting { .. }, FromFront::Welcome(bootstrap)) => {
                self.failures = 0;
                self.state = State::Welcomed(Life { heard: now, asked: None, probed: false });
                self.out.push(UplinkOutput::Welcome(bootstrap));
            }
            (State::Connecting { .. }, FromFront::Error { message, .. }) => {
                self.lose(now, format!("it turned us away: {message}"));
            }
            (State::Connecting { .. }, _) => self.lose(now, "it did not welcome us first".into()),
            (State::Welcomed(life), message) => {
                (life.heard, life.asked) = (now, None);
                match message {
                    FromFront::Pong {} => {}
                    FromFront::Probe {} => {
                        life.probed = true;
                        self.send(&ToFront::Alive {});
                    }
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
        self.current = (self.current + 1) % self.config.fronts;
        self.failures += 1;
        let rounds = self.failures / self.config.fronts as u32;
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const WELCOME: FromFront = FromFront::Welcome(Bootstrap {
        worker: None,
        ice_servers: Vec::new(),
        fronts: Vec::new(),
        heartbeat_seconds: 30,
    });

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// An uplink whose fronts are welcoming and, unless told otherwise, silent.
    struct Stage {
        uplink: Uplink,
        now: Instant,
        dialled: Vec<usize>,
        /// When a ping or an `alive` was sent.
        pings: Vec<Instant>,
        alives: usize,
        lost: Vec<Instant>,
        passed_on: Vec<FromFront>,
        /// Whether dials succeed.
        welcoming: bool,
    }

    impl Stage {
        fn new(fronts: usize) -> Self {
            Self {
                uplink: Uplink::new(UplinkConfig::new(fronts, 1)),
                now: Instant::ZERO,
                dialled: Vec::new(),
                pings: Vec::new(),
                alives: 0,
                lost: Vec::new(),
                passed_on: Vec::new(),
                welcoming: true,
            }
        }

        fn welcomed(fronts: usize) -> Self {
            let mut stage = Self::new(fronts);
            stage.uplink.wake(stage.now);
            stage.drain();
            assert!(stage.uplink.is_up());
            stage
        }

        fn says(&mut self, message: &FromFront) {
            self.uplink.event(self.now, LinkEvent::Message { text: message.to_text().into() });
            self.drain();
        }

        fn drain(&mut self) {
            while let Some(output) = self.uplink.poll() {
                match output {
                    UplinkOutput::Link(LinkCommand::Connect { front }) => {
                        self.dialled.push(front);
                        if self.welcoming {
                            self.uplink.event(self.now, LinkEvent::Up);
                        }
                    }
                    UplinkOutput::Link(LinkCommand::Send { text }) => {
                        match ToFront::parse(text.as_bytes()).expect("our own protocol") {
                            ToFront::Ping {} => self.pings.push(self.now),
                            ToFront::Alive {} => self.alives += 1,
                            other => panic!("nobody wanted {other:?} said"),
                        }
                    }
                    UplinkOutput::Greet => self.says(&WELCOME),
                    UplinkOutput::Welcome(_) => {}
                    UplinkOutput::Message(message) => self.passed_on.push(message),
                    UplinkOutput::Lost { .. } => self.lost.push(self.now),
                }
            }
        }

        /// Lets time pass; returns early when `stop` holds after a wake-up.
        fn pass(&mut self, time: Duration, stop: impl Fn(&Self) -> bool) {
            let until = self.now + time;
            while let Some(at) = self.uplink.next_wake().filter(|at| *at <= until) {
                self.now = self.now.max(at);
                self.uplink.wake(self.now);
                self.drain();
                assert!(self.uplink.next_wake() > Some(self.now), "a wake-up lies ahead");
                if stop(self) {
                    return;
                }
            }
            self.now = until;
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Pass(u64),
        Busy(bool),
        Says(FromFront),
        Down,
        Nonsense,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => prop_oneof![0..3_000u64, 0..15_000u64].prop_map(Op::Pass),
            2 => any::<bool>().prop_map(Op::Busy),
            2 => Just(Op::Says(FromFront::Pong {})),
            1 => Just(Op::Says(FromFront::Assign { worker: None })),
            1 => Just(Op::Says(FromFront::Probe {})),
            1 => Just(Op::Down),
            1 => Just(Op::Nonsense),
        ]
    }

    proptest! {
        /// A front is lost when it closes, talks nonsense, or is silent for too long; never else.
        #[test]
        fn a_front_is_lost_in_time_and_never_early(ops in vec(op(), 1..100), fronts in 1..4usize) {
            let mut stage = Stage::welcomed(fronts);
            let (mut heard, mut probed, mut busy) = (stage.now, false, None);
            for op in ops {
                let losses = stage.lost.len();
                let mut gone = false;
                match op {
                    Op::Pass(time) => stage.pass(ms(time), |stage| stage.lost.len() > losses),
                    Op::Busy(now_busy) => {
                        stage.uplink.busy(stage.now, now_busy);
                        busy = now_busy.then(|| busy.unwrap_or(stage.now));
                        prop_assert!(stage.uplink.next_wake() > Some(stage.now), "a wake-up lies ahead");
                    }
                    Op::Says(message) => {
                        let alives = stage.alives;
                        stage.passed_on.clear();
                        stage.says(&message);
                        heard = stage.now;
                        let probe = message == FromFront::Probe {};
                        probed |= probe;
                        prop_assert_eq!(stage.alives - alives, usize::from(probe), "a probe is answered at once");
                        let told = matches!(message, FromFront::Assign { .. });
                        prop_assert_eq!(stage.passed_on.len(), usize::from(told));
                    }
                    Op::Down => {
                        gone = true;
                        stage.uplink.event(stage.now, LinkEvent::Down { reason: String::new() });
                    }
                    Op::Nonsense => {
                        gone = true;
                        stage.uplink.event(stage.now, LinkEvent::Message { text: "{".into() });
                    }
                }
                stage.drain();
                let silence = stage.now.since(heard);
                let worked = busy.map_or(Duration::ZERO, |since| stage.now.since(since));
                if stage.lost.len() == losses {
                    prop_assert!(!gone);
                    let limit = if probed { 2 } else { 20 };
                    prop_assert!(silence < Duration::from_secs(limit), "{silence:?} of silence unnoticed");
                    // Turned busy just before it would have been asked, it has this much in all.
                    prop_assert!(silence.min(worked) < Duration::from_secs(3), "{silence:?} while busy");
                } else {
                    prop_assert_eq!(stage.lost.len(), losses + 1);
                    let asked = stage.pings.last().filter(|at| **at >= heard);
                    let unanswered = asked.map_or(Duration::ZERO, |at| stage.now.since(*at));
                    prop_assert!(gone || probed && silence == ms(2_000) || !probed && unanswered >= ms(2_000));
                    let lost_from = *stage.dialled.last().expect("it dialled once at least");
                    stage.pass(Duration::from_secs(60), |stage| stage.uplink.is_up());
                    prop_assert!(stage.uplink.is_up(), "another front is found");
                    prop_assert_eq!(stage.dialled.last(), Some(&((lost_from + 1) % fronts)), "the next one");
                    (heard, probed) = (stage.now, false);
                }
            }
            for pair in stage.pings.windows(2) {
                prop_assert!(pair[1].since(pair[0]) >= ms(1_000), "pings are rare");
            }
        }

        /// A front that answers every ping within two seconds is never lost, whatever we do and however often we
        /// stand still.
        #[test]
        fn a_front_that_answers_is_never_lost(
            steps in vec((0..2_000u64, prop_oneof![5 => Just(0), 1 => 0..100_000u64], any::<bool>()), 1..100),
        ) {
            let mut stage = Stage::welcomed(2);
            for (answer, stand, busy) in steps {
                stage.uplink.busy(stage.now, busy);
                let pings = stage.pings.len();
                stage.pass(Duration::from_secs(10), |stage| stage.pings.len() > pings);
                prop_assert!(stage.lost.is_empty() && stage.pings.len() == pings + 1);
                stage.pass(ms(answer), |_| false);
                // The answer arrives, but we stand still; on awakening the clock is noticed first. Just past the
                // deadline, a standstill can't be told from a front that is late.
                let limit = if busy { 2_000 } else { 10_000 };
                if !(limit..limit + 500).contains(&(answer + stand)) {
                    stage.now = stage.now + ms(stand);
                    stage.uplink.wake(stage.now);
                    stage.drain();
                }
                stage.says(&FromFront::Pong {});
            }
            prop_assert_eq!(stage.dialled.len(), 1);
        }
    }

    #[test]
    fn an_idle_client_pings_rarely_and_a_busy_one_each_second() {
        for (busy, rounds, every) in [(false, 10, 10), (true, 10, 1)] {
            let mut stage = Stage::welcomed(1);
            stage.uplink.busy(stage.now, busy);
            for round in 1..=rounds {
                stage.pass(Duration::from_secs(every), |_| false);
                assert_eq!(stage.pings.len(), round);
                stage.says(&FromFront::Pong {});
            }
        }
    }

    #[test]
    fn a_silent_front_is_noticed_sooner_by_who_needs_it() {
        let noticed = |prepare: fn(&mut Stage)| {
            let mut stage = Stage::welcomed(2);
            prepare(&mut stage);
            stage.pass(Duration::from_secs(60), |stage| !stage.lost.is_empty());
            let lost = stage.lost[0];
            stage.pass(ms(1), |_| false);
            assert_eq!(stage.dialled, [0, 1], "the next front is dialled at once");
            lost.since(Instant::ZERO)
        };
        assert_eq!(noticed(|_| {}), Duration::from_secs(20));
        assert_eq!(noticed(|stage| stage.uplink.busy(stage.now, true)), Duration::from_secs(3));
        assert_eq!(noticed(|stage| stage.says(&FromFront::Probe {})), Duration::from_secs(2));
    }

    #[test]
    fn a_front_that_accepts_and_says_nothing_is_left_sooner_while_there_are_others() {
        let mut stage = Stage::new(3);
        stage.welcoming = false;
        stage.pass(Duration::from_secs(3 + 3 + 8) + ms(2), |_| false);
        assert_eq!(stage.dialled, [0, 1, 2]);
        let lost: Vec<u128> = stage.lost.iter().map(|at| at.since(Instant::ZERO).as_millis()).collect();
        assert_eq!(lost, [3_000, 6_001, 14_002]);
        stage.pass(Duration::from_secs(600), |_| false);
        let gaps = stage.lost.windows(2).map(|pair| pair[1].since(pair[0]));
        assert!(gaps.skip(2).all(|gap| gap <= Duration::from_secs(16)), "pauses are bounded");
        assert!(stage.dialled.windows(2).all(|pair| pair[1] == (pair[0] + 1) % 3), "in order");
    }

    #[test]
    fn who_closes_says_and_does_nothing_more() {
        let mut stage = Stage::welcomed(1);
        stage.uplink.close();
        stage.says(&FromFront::Probe {});
        stage.uplink.send(&ToFront::Ping {});
        stage.pass(Duration::from_secs(100), |_| false);
        assert_eq!(stage.uplink.next_wake(), None);
        assert_eq!((stage.alives, stage.pings.len(), stage.lost.len()), (0, 0, 0));
    }
}
