//! The kinds of fault of a simulation, which of them a seed allows, and the count of those that happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};

use kollator_core::machine::Rng;

/// The kinds of fault that a simulation knows.
pub trait Fault: Copy + Debug + Ord + Send + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// In words.
    fn text(self) -> &'static str;
}

/// The kinds of fault that a seed allows.
#[derive(Clone, Debug)]
pub(crate) struct FaultSet<F>(BTreeSet<F>);

impl<F: Fault> FaultSet<F> {
    pub(crate) const fn none() -> Self {
        Self(BTreeSet::new())
    }

    /// Each kind with a chance of one in `odds`.
    pub(crate) fn draw(rng: &mut Rng, odds: u64) -> Self {
        Self(F::ALL.iter().copied().filter(|_| rng.one_in(odds)).collect())
    }

    pub(crate) fn allow(&mut self, kind: F) {
        self.0.insert(kind);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, kind: F) -> bool {
        self.0.contains(&kind)
    }

    /// Whether a fault that comes once in `odds` occasions, if it is allowed, comes on this one.
    pub(crate) fn strikes(&self, kind: F, odds: u64, rng: &mut Rng) -> bool {
        self.has(kind) && rng.one_in(odds)
    }
}

/// How often each kind of fault happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired<F>(BTreeMap<F, u64>);

impl<F> Default for Fired<F> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<F: Fault> Fired<F> {
    pub(crate) fn count(&mut self, kind: F) {
        *self.0.entry(kind).or_default() += 1;
    }

    /// How often this kind did.
    #[must_use]
    pub fn of(&self, kind: F) -> u64 {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            *self.0.entry(*kind).or_default() += count;
        }
    }

    /// The kinds that never happened.
    #[must_use]
    pub fn missing(&self) -> Vec<F> {
        F::ALL.iter().copied().filter(|kind| self.of(*kind) == 0).collect()
    }
}

impl<F: Fault> fmt::Display for Fired<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kind in F::ALL {
            writeln!(f, "{:>10}  {}", self.of(*kind), kind.text())?;
        }
        Ok(())
    }
}
