//! Bugs on purpose: each simulation lists those that can be planted in it, to prove that its judges would notice.

use std::fmt::Debug;

/// The bugs that can be planted in a simulation.
pub trait Plant: Copy + Debug + Ord + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// The names of the judges that must notice it.
    fn judges(self) -> &'static [&'static str];
}
