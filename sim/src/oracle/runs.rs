//! Downloads as their disks see them: a run for each download of each peer, and the writes that are under way.

use std::collections::BTreeMap;

use kollator_core::id::InfoHash;
use kollator_core::node::io::{Place, Ticket};

/// What a judge knows of each run.
#[derive(Default)]
pub(super) struct Runs<R> {
    /// By node and share.
    runs: BTreeMap<(usize, InfoHash), R>,
    /// Blocks on their way to the disk.
    open: BTreeMap<(usize, Ticket), (InfoHash, Vec<Place>)>,
}

impl<R: Default> Runs<R> {
    /// The process is gone with all its runs.
    pub(super) fn crash(&mut self, node: usize) {
        self.runs.retain(|(whose, _), _| *whose != node);
        self.open.retain(|(whose, _), _| *whose != node);
    }

    /// A new run, with nothing known of it.
    pub(super) fn begin(&mut self, node: usize, info_hash: InfoHash) {
        self.runs.insert((node, info_hash), R::default());
    }

    /// The run is over; what was known of it.
    pub(super) fn end(&mut self, node: usize, info_hash: InfoHash) -> Option<R> {
        self.runs.remove(&(node, info_hash))
    }

    pub(super) fn get(&mut self, node: usize, info_hash: InfoHash) -> Option<&mut R> {
        self.runs.get_mut(&(node, info_hash))
    }

    pub(super) fn get_or_begin(&mut self, node: usize, info_hash: InfoHash) -> &mut R {
        self.runs.entry((node, info_hash)).or_default()
    }

    pub(super) fn of(&self, node: usize) -> impl Iterator<Item = &R> {
        self.runs.iter().filter(move |((whose, _), _)| *whose == node).map(|(_, run)| run)
    }

    /// The disk was told to write blocks.
    pub(super) fn write(&mut self, node: usize, ticket: Ticket, info_hash: InfoHash, places: Vec<Place>) {
        self.open.insert((node, ticket), (info_hash, places));
    }

    /// The disk has answered a write, of these blocks of that run.
    pub(super) fn written(&mut self, node: usize, ticket: Ticket) -> Option<(&mut R, Vec<Place>)> {
        let (info_hash, places) = self.open.remove(&(node, ticket))?;
        Some((self.get(node, info_hash)?, places))
    }
}
