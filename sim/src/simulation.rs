//! What all simulations have in common: a seed is run, with a bug or without, and leaves a report. A panic of a
//! machine is a failure like any other.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kollator_core::machine::Instant;

use crate::fault::{Fault, Fired};
use crate::plant::Plant;
use crate::report::{Failure, Report};
use crate::trace::Trace;

/// Where a run tells what happens, line by line.
pub type Log = Box<dyn FnMut(String)>;

/// A kind of simulation.
pub trait Simulation {
    /// What its runs are called.
    const NAME: &'static str;

    /// What can befall it.
    type Fault: Fault;

    /// The bugs that can be planted in it.
    type Plant: Plant;

    /// Runs what `seed` decides, with a planted bug if one is given, and tells `log` of everything that happens.
    #[must_use]
    fn run(seed: u64, plant: Option<Self::Plant>, log: Option<Log>) -> Report<Self::Fault>;
}

/// A run that is under way.
pub(crate) trait Run {
    type Fault: Fault;

    /// Everything that happens, until the end or until a judge objects.
    fn live(&mut self);

    /// When it ended, and what was noted.
    fn end(self) -> (Instant, Journal<Self::Fault>);
}

/// Lives through a run and says how it went.
pub(crate) fn live_through<R: Run>(seed: u64, mut run: R) -> Report<R::Fault> {
    let panic = catch_unwind(AssertUnwindSafe(|| run.live())).err();
    let (now, mut journal) = run.end();
    let time = now.since(Instant::ZERO);
    if let Some(panic) = panic {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let what = format!("{} at {time:?}", words.unwrap_or_default());
        journal.failure = Some(Failure { oracle: "panic", what });
    }
    let Journal { trace, events, fired, done, failure, .. } = journal;
    Report { seed, hash: trace.value(), events, time, fired, done, failure }
}

/// What is noted of a run while it lasts.
pub(crate) struct Journal<F> {
    pub(crate) trace: Trace,
    pub(crate) events: u64,
    pub(crate) fired: Fired<F>,
    pub(crate) done: BTreeMap<&'static str, u64>,
    pub(crate) failure: Option<Failure>,
    log: Option<Log>,
}

impl<F: Fault> Journal<F> {
    pub(crate) fn new(log: Option<Log>) -> Self {
        let (trace, fired, done) = (Trace::new(), Fired::default(), BTreeMap::new());
        Self { trace, events: 0, fired, done, failure: None, log }
    }

    /// A fault happens.
    pub(crate) fn fault(&mut self, now: Instant, kind: F) {
        self.fired.count(kind);
        self.note(now, || format!("FAULT {}", kind.text()));
    }

    /// Counts something that got done.
    pub(crate) fn done(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    /// The run has failed; only the first failure counts.
    pub(crate) fn fail(&mut self, oracle: &'static str, what: String) {
        self.failure.get_or_insert(Failure { oracle, what });
    }

    /// Tells the log, if there is one.
    pub(crate) fn note(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log(format!("{:>14?} {}", now.since(Instant::ZERO), line()));
        }
    }
}

/// Debug text for the log, without the payload.
pub(crate) fn short(thing: &impl std::fmt::Debug) -> String {
    format!("{thing:?}").chars().take(400).collect()
}
