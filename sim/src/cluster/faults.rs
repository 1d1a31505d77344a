//! The kinds of fault, which of them a seed allows, and how often each happened.

use std::collections::BTreeMap;
use std::fmt;

use kollator_core::machine::Rng;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FaultKind {
            $($(#[$doc])* $name),+
        }

        impl FaultKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// In words.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text),+
                }
            }
        }
    };
}

faults! {
    /// A front's process ends; its system closes its connections.
    FrontCrash = "front crash",
    /// A front's machine ends: nobody is told.
    PowerCut = "front power cut",
    /// The leader, whoever it is, ends.
    LeaderCrash = "leader crash",
    /// A front stands still for a while.
    FrontPause = "front pause",
    /// Two fronts do not reach each other.
    Partition = "partition between fronts",
    /// One front does not reach another.
    OneWay = "one-way partition between fronts",
    /// A way between fronts shuts and opens, again and again.
    Flap = "flapping way between fronts",
    /// The leader reaches no other front, and none reaches it.
    Isolated = "leader isolated",
    /// A connection between fronts breaks.
    LinkLost = "link between fronts lost",
    /// A client does not reach the front it is connected to.
    ClientCut = "client cut off",
    /// A worker's process ends.
    WorkerCrash = "worker crash",
    /// A worker stands still for a while.
    WorkerPause = "worker pause",
    /// A peer's process ends.
    PeerCrash = "peer crash",
    /// What a front kept is gone, or cannot be read.
    DiskLost = "front disk lost",
    /// A crash in the middle of a durable write: it may have been applied.
    TornWrite = "torn ballot",
    /// What was to be kept when convenient was not kept.
    SaveLost = "saved rows lost",
    /// A durable write takes long.
    SlowDisk = "slow disk",
    /// Clocks of fronts run at different speeds.
    Drift = "clock drift",
    /// Wall clocks of fronts differ.
    Skew = "wall clock skew",
    /// Another front sends nonsense.
    Nonsense = "nonsense from a front",
}

/// The kinds that a seed allows.
#[derive(Clone, Debug)]
pub(super) struct FaultSet(Vec<FaultKind>);

impl FaultSet {
    /// None at all in one world of eight; else each kind in one of three.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        if rng.one_in(8) {
            return Self(Vec::new());
        }
        Self(FaultKind::ALL.iter().copied().filter(|_| rng.one_in(3)).collect())
    }

    pub(super) fn has(&self, kind: FaultKind) -> bool {
        self.0.contains(&kind)
    }

    pub(super) fn kinds(&self) -> &[FaultKind] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How often each kind happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fired(BTreeMap<FaultKind, u64>);

impl Fired {
    pub(super) fn count(&mut self, kind: FaultKind) {
        *self.0.entry(kind).or_default() += 1;
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            *self.0.entry(*kind).or_default() += count;
        }
    }

    /// The kinds that never happened.
    #[must_use]
    pub fn missing(&self) -> Vec<FaultKind> {
        FaultKind::ALL.iter().copied().filter(|kind| !self.0.contains_key(kind)).collect()
    }
}

impl fmt::Display for Fired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kind in FaultKind::ALL {
            writeln!(f, "{:>10}  {}", self.0.get(kind).copied().unwrap_or_default(), kind.text())?;
        }
        Ok(())
    }
}
