//! Who can reach whom, and how long it takes. Directed: A may reach B while B cannot reach A.

use std::ops::Range;
use std::time::Duration;

use kollator_core::machine::Rng;

/// The directed reachability of all nodes.
pub(super) struct Net {
    nodes: usize,
    /// For each direction, how many faults hold it shut.
    shut: Vec<u32>,
}

impl Net {
    pub(super) fn new(nodes: usize) -> Self {
        Self { nodes, shut: vec![0; nodes * nodes] }
    }

    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        self.shut[from * self.nodes + to] == 0
    }

    pub(super) fn shut(&mut self, from: usize, to: usize) {
        self.shut[from * self.nodes + to] += 1;
    }

    /// Undoes one [`Net::shut`]. True if that opened the way.
    pub(super) fn open(&mut self, from: usize, to: usize) -> bool {
        let shut = &mut self.shut[from * self.nodes + to];
        let was = *shut;
        *shut = was.saturating_sub(1);
        was == 1
    }

    /// Opens every way between nodes for which `keep` says so.
    pub(super) fn heal(&mut self, keep: impl Fn(usize) -> bool) {
        for from in (0..self.nodes).filter(|from| keep(*from)) {
            for to in (0..self.nodes).filter(|to| keep(*to)) {
                self.shut[from * self.nodes + to] = 0;
            }
        }
    }
}

/// A time in `range`.
pub(super) fn between(rng: &mut Rng, range: &Range<Duration>) -> Duration {
    let span = (range.end - range.start).as_nanos() as u64;
    range.start + Duration::from_nanos(rng.below(span.max(1)))
}
