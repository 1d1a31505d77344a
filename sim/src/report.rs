//! How runs went: one, and many together.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::fault::{Fault, Fired};

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<F> {
    /// The seed.
    pub seed: u64,
    /// Hash of everything that happened.
    pub hash: u64,
    /// How many events there were.
    pub events: u64,
    /// How much time passed in the simulation.
    pub time: Duration,
    /// The faults that happened.
    pub fired: Fired<F>,
    /// What got done in spite of them, where the simulation counts that.
    pub done: BTreeMap<&'static str, u64>,
    /// What went wrong; absent if all is well.
    pub failure: Option<Failure>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which judge says so.
    pub oracle: &'static str,
    /// In words.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.oracle, self.what)
    }
}

/// What many runs came to.
#[derive(Clone, Debug)]
pub struct Sum<F> {
    /// The faults of all.
    pub fired: Fired<F>,
    /// How many runs failed.
    pub failures: u64,
    runs: u64,
    events: u64,
    time: Duration,
    done: BTreeMap<&'static str, u64>,
}

impl<F> Default for Sum<F> {
    fn default() -> Self {
        let (fired, done) = (Fired::default(), BTreeMap::new());
        Self { fired, failures: 0, runs: 0, events: 0, time: Duration::ZERO, done }
    }
}

impl<F: Fault> Sum<F> {
    /// Adds a run.
    pub fn add(&mut self, report: &Report<F>) {
        self.fired.add(&report.fired);
        self.failures += u64::from(report.failure.is_some());
        self.runs += 1;
        self.events += report.events;
        self.time += report.time;
        for (what, times) in &report.done {
            *self.done.entry(what).or_default() += times;
        }
    }
}

/// The faults, one a line, and then everything else in one.
impl<F: Fault> fmt::Display for Sum<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.time.as_secs_f64() / 3600.0;
        write!(f, "{}{} seeds, {hours:.1} simulated hours, {} events", self.fired, self.runs, self.events)?;
        self.done.iter().try_for_each(|(what, times)| write!(f, ", {times} {what}"))
    }
}
