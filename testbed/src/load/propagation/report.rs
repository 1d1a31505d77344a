//! What changes of the table took, as JSON and as a table. Numbers only; whether they are good is for others to say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::change::Kind;
use crate::load::Latency;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Fronts.
    pub fronts: usize,
    /// Workers in the table.
    pub workers: usize,
    /// Memberships in the table but for those of the watchers.
    pub memberships: usize,
    /// Rows in the table.
    pub rows: usize,
    /// Peers joining a swarm, until the last front showed it.
    pub joined: Option<Latency>,
    /// Peers leaving one.
    pub left: Option<Latency>,
    /// Workers that drain.
    pub drained: Option<Latency>,
    /// Workers that come, which takes an epoch.
    pub arrived: Option<Latency>,
    /// Changes that some front did not show in ten seconds.
    pub unshown: usize,
    pub(super) times: BTreeMap<Kind, Vec<Duration>>,
}

impl Report {
    pub(super) fn note(&mut self, kind: Kind, shown_after: Option<Duration>) {
        match shown_after {
            Some(time) => self.times.entry(kind).or_default().push(time),
            None => self.unshown += 1,
        }
    }

    pub(super) fn finish(&mut self) {
        let mut take = |kind| Latency::of(self.times.remove(&kind).unwrap_or_default());
        self.joined = take(Kind::Joined);
        self.left = take(Kind::Left);
        self.drained = take(Kind::Drained);
        self.arrived = take(Kind::Arrived);
    }

    /// Everything, for programs. Times in milliseconds.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut report = json!({
            "fronts": self.fronts,
            "workers": self.workers,
            "memberships": self.memberships,
            "rows": self.rows,
            "unshown": self.unshown,
        });
        for (name, latency) in self.kinds() {
            report[name] = latency.map_or(Value::Null, Latency::to_json);
        }
        report
    }

    /// Everything, for people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let Self { fronts, workers, memberships, rows, unshown, .. } = self;
        let mut text = format!(
            "{fronts} fronts, {workers} workers, {memberships} memberships, {rows} rows; {unshown} unshown\n"
        );
        for (name, latency) in self.kinds() {
            if let Some(latency) = latency {
                writeln!(text, "{name:<10} {}", latency.words()).expect("a String takes everything");
            }
        }
        text
    }

    const fn kinds(&self) -> [(&'static str, Option<&Latency>); 4] {
        [
            ("joined", self.joined.as_ref()),
            ("left", self.left.as_ref()),
            ("drained", self.drained.as_ref()),
            ("arrived", self.arrived.as_ref()),
        ]
    }
}
