//! What a load found, as JSON and as a table. Numbers only; whether they are good is for others to say.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::exchange::Outcome;

/// What a load found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Sessions in all.
    pub sessions: usize,
    /// Fronts that they were spread over.
    pub fronts: usize,
    /// Bytes in a session description.
    pub sdp_bytes: usize,
    /// From the first connection to the last welcome.
    pub opening: Duration,
    /// One for each front whose process is known.
    pub memory: Vec<Memory>,
    /// The steady phase, if there was one.
    pub steady: Option<Steady>,
    /// The flood, if there was one.
    pub flood: Option<Flood>,
}

/// Memory of one front.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Resident bytes before the first session.
    pub empty_bytes: u64,
    /// Bytes more for each session once all were held idle.
    pub idle_per_session: f64,
    /// The same some seconds after the last traffic, if there was any.
    pub after_traffic_per_session: Option<f64>,
}

impl Memory {
    pub(super) const fn new(empty_bytes: u64) -> Self {
        Self { empty_bytes, idle_per_session: 0.0, after_traffic_per_session: None }
    }

    pub(super) fn idle(&mut self, resident_bytes: u64, sessions: usize) {
        self.idle_per_session = self.per_session(resident_bytes, sessions);
    }

    pub(super) fn after_traffic(&mut self, resident_bytes: u64, sessions: usize) {
        self.after_traffic_per_session = Some(self.per_session(resident_bytes, sessions));
    }

    fn per_session(&self, resident_bytes: u64, sessions: usize) -> f64 {
        (resident_bytes as f64 - self.empty_bytes as f64) / sessions.max(1) as f64
    }
}

/// How long something took, such as an offer from being sent to its arrival at the other session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    /// How often it was timed.
    pub count: usize,
    /// Half of them were as fast.
    pub p50: Duration,
    /// 95 in 100 were as fast.
    pub p95: Duration,
    /// 99 in 100 were as fast.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
}

impl Latency {
    pub(super) fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let max = *times.last()?;
        let at = |percent: usize| times[(times.len() * percent).div_ceil(100).saturating_sub(1)];
        Some(Self { count: times.len(), p50: at(50), p95: at(95), p99: at(99), max })
    }

    pub(super) fn to_json(&self) -> Value {
        let Self { count, p50, p95, p99, max } = self;
        json!({"count": count, "p50_ms": ms(*p50), "p95_ms": ms(*p95), "p99_ms": ms(*p99), "max_ms": ms(*max)})
    }

    pub(super) fn words(&self) -> String {
        let Self { count, p50, p95, p99, max } = self;
        let [p50, p95, p99, max] = [p50, p95, p99, max].map(|time| ms(*time));
        format!("p50 {p50:.3}  p95 {p95:.3}  p99 {p99:.3}  max {max:.3} ms  ({count} times)")
    }
}

/// Exchanges at a fixed rate.
#[derive(Clone, Debug)]
pub struct Steady {
    /// Offers a second that were asked for.
    pub exchanges_a_second: u32,
    /// Offers and answers that arrived.
    pub relayed: u64,
    /// Offers or answers that came back as unreachable.
    pub unreachable: u64,
    /// Exchanges of which nothing more was heard.
    pub lost: u64,
    /// Between sessions on one front.
    pub inside: Option<Latency>,
    /// Between sessions on two fronts.
    pub across: Option<Latency>,
    /// Share of one core that the fronts used together, if their processes are known.
    pub cores: Option<f64>,
}

impl Steady {
    pub(super) fn new(exchanges_a_second: u32, length: Duration, outcome: Outcome, cpu: Option<f64>) -> Self {
        let Outcome { relayed, unreachable, lost, inside, across } = outcome;
        Self {
            exchanges_a_second,
            relayed,
            unreachable,
            lost,
            inside: Latency::of(inside),
            across: Latency::of(across),
            cores: cpu.map(|cpu| cpu / length.as_secs_f64()),
        }
    }
}

/// Exchanges as fast as the fronts relay them.
#[derive(Clone, Debug)]
pub struct Flood {
    /// Exchanges under way at any moment.
    pub in_flight: usize,
    /// Offers and answers that arrived, in each second.
    pub relayed_a_second: f64,
    /// The same for each second of CPU time of all fronts, if their processes are known.
    pub relayed_a_core_second: Option<f64>,
    /// Offers or answers that came back as unreachable.
    pub unreachable: u64,
    /// Exchanges of which nothing more was heard.
    pub lost: u64,
    /// Between sessions on one front.
    pub inside: Option<Latency>,
    /// Between sessions on two fronts.
    pub across: Option<Latency>,
}

impl Flood {
    pub(super) fn new(in_flight: usize, length: Duration, outcome: Outcome, cpu: Option<f64>) -> Self {
        let Outcome { relayed, unreachable, lost, inside, across } = outcome;
        Self {
            in_flight,
            relayed_a_second: relayed as f64 / length.as_secs_f64(),
            relayed_a_core_second: cpu.map(|cpu| relayed as f64 / cpu),
            unreachable,
            lost,
            inside: Latency::of(inside),
            across: Latency::of(across),
        }
    }
}

impl Report {
    /// Everything, for programs. Times in milliseconds unless their name says otherwise.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let memory = |memory: &Memory| {
            json!({
                "empty_bytes": memory.empty_bytes,
                "idle_bytes_per_session": memory.idle_per_session,
                "after_traffic_bytes_per_session": memory.after_traffic_per_session,
            })
        };
        let steady = |steady: &Steady| {
            json!({
                "exchanges_a_second": steady.exchanges_a_second,
                "relayed": steady.relayed,
                "unreachable": steady.unreachable,
                "lost": steady.lost,
                "inside": steady.inside.as_ref().map(Latency::to_json),
                "across": steady.across.as_ref().map(Latency::to_json),
                "cores": steady.cores,
            })
        };
        let flood = |flood: &Flood| {
            json!({
                "in_flight": flood.in_flight,
                "relayed_a_second": flood.relayed_a_second,
                "relayed_a_core_second": flood.relayed_a_core_second,
                "unreachable": flood.unreachable,
                "lost": flood.lost,
                "inside": flood.inside.as_ref().map(Latency::to_json),
                "across": flood.across.as_ref().map(Latency::to_json),
            })
        };
        json!({
            "sessions": self.sessions,
            "fronts": self.fronts,
            "sdp_bytes": self.sdp_bytes,
            "opening_seconds": self.opening.as_secs_f64(),
            "memory": self.memory.iter().map(memory).collect::<Vec<_>>(),
            "steady": self.steady.as_ref().map(steady),
            "flood": self.flood.as_ref().map(flood),
        })
    }

    /// Everything, for people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut text = String::new();
        let mut row = |what: &str, found: String| {
            writeln!(text, "{what:<26} {found}").expect("a String takes everything");
        };
        row("sessions", format!("{} on {} front(s), opened in {:.1?}", self.sessions, self.fronts, self.opening));
        for (index, memory) in self.memory.iter().enumerate() {
            let after = memory.after_traffic_per_session;
            let after = after.map(|bytes| format!(", after traffic {bytes:.0}")).unwrap_or_default();
            let (idle, empty) = (memory.idle_per_session, memory.empty_bytes as f64 / 1e6);
            row(
                &format!("front {}, bytes a session", index + 1),
                format!("idle {idle:.0}{after} (empty {empty:.1} MB)"),
            );
        }
        if let Some(steady) = &self.steady {
            let Steady { exchanges_a_second, relayed, unreachable, lost, inside, across, cores } = steady;
            let cores = cores.map(|cores| format!(", {cores:.2} of a core")).unwrap_or_default();
            let fate = format!("{relayed} relayed, {unreachable} unreachable, {lost} lost{cores}");
            row(&format!("{exchanges_a_second} exchanges a second"), fate);
            for (place, latency) in [("inside a front", inside), ("across fronts", across)] {
                if let Some(latency) = latency {
                    row(&format!("  {place}"), latency.words());
                }
            }
        }
        if let Some(flood) = &self.flood {
            let Flood { in_flight, relayed_a_second, relayed_a_core_second, unreachable, lost, inside, across } =
                flood;
            let per_core =
                relayed_a_core_second.map(|rate| format!(", {rate:.0} a core-second")).unwrap_or_default();
            let fate = format!("{relayed_a_second:.0} a second{per_core}, {unreachable} unreachable, {lost} lost");
            row(&format!("flood, {in_flight} in flight"), fate);
            for (place, latency) in [("inside a front", inside), ("across fronts", across)] {
                if let Some(latency) = latency {
                    row(&format!("  {place}"), latency.words());
                }
            }
        }
        text
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let times =
            |range: std::ops::RangeInclusive<u64>| Latency::of(range.rev().map(Duration::from_millis).collect());
        let hundred = times(1..=100).expect("some");
        let [p50, p95, p99, max] = [50, 95, 99, 100].map(Duration::from_millis);
        assert_eq!(hundred, Latency { count: 100, p50, p95, p99, max });
        let one = Duration::from_millis(7);
        assert_eq!(times(7..=7), Some(Latency { count: 1, p50: one, p95: one, p99: one, max: one }));
        assert_eq!(Latency::of(Vec::new()), None);
    }
}
