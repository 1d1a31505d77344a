//! Rows by key, and by author and number. Keeps both in step and counts what they weigh; decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;

use super::{Change, Key, Value, row_weight};
use crate::cluster::FrontId;

/// What one author says of a key: nothing, if it was removed.
#[derive(Debug)]
struct Cell<V> {
    author: FrontId,
    number: u64,
    value: Option<V>,
}

/// The rows of every author.
#[derive(Debug)]
pub(super) struct Store<K, V> {
    /// Of each key what its authors say, in order of authors; mostly there is one.
    cells: BTreeMap<K, Vec<Cell<V>>>,
    journals: Vec<Journal<K>>,
}

/// An author's changes in order: of each key the last.
#[derive(Debug)]
pub(super) struct Journal<K> {
    /// Which life of the author; 0 if none is known.
    pub(super) incarnation: u64,
    /// Its changes up to this one are known.
    pub(super) number: u64,
    /// Removals up to this one are forgotten.
    pub(super) floor: u64,
    changes: BTreeMap<u64, K>,
    removals: BTreeSet<u64>,
    bytes: usize,
}

impl<K> Default for Journal<K> {
    fn default() -> Self {
        let (changes, removals) = (BTreeMap::new(), BTreeSet::new());
        Self { incarnation: 0, number: 0, floor: 0, changes, removals, bytes: 0 }
    }
}

impl<K> Journal<K> {
    /// Rows that have a value.
    pub(super) fn rows(&self) -> usize {
        self.changes.len() - self.removals.len()
    }

    /// Removals that are remembered.
    pub(super) fn tombstones(&self) -> usize {
        self.removals.len()
    }

    /// Bytes of rows that have a value.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The newest removal such that at most `count` are newer; 0 if there are no more than that.
    pub(super) fn oldest_beyond(&self, count: usize) -> u64 {
        self.removals.iter().rev().nth(count).copied().unwrap_or(0)
    }

    /// How many removals are remembered up to `floor`.
    pub(super) fn removals_up_to(&self, floor: u64) -> usize {
        self.removals.range(..=floor).count()
    }
}

impl<K: Key, V: Value> Store<K, V> {
    pub(super) fn new(authors: usize) -> Self {
        Self { cells: BTreeMap::new(), journals: (0..authors).map(|_| Journal::default()).collect() }
    }

    pub(super) fn journal(&self, author: FrontId) -> &Journal<K> {
        &self.journals[usize::from(author.0)]
    }

    /// What each author says of `key`.
    pub(super) fn of(&self, key: &K) -> impl Iterator<Item = (FrontId, &V)> {
        let cells = self.cells.get(key).map_or(&[][..], Vec::as_slice);
        cells.iter().filter_map(|cell| Some((cell.author, cell.value.as_ref()?)))
    }

    /// All rows that have a value, by key and author.
    pub(super) fn range(&self, range: impl RangeBounds<K>) -> impl Iterator<Item = (FrontId, &K, &V)> {
        self.cells.range(range).flat_map(|(key, cells)| {
            cells.iter().filter_map(move |cell| Some((cell.author, key, cell.value.as_ref()?)))
        })
    }

    /// What changed of `author` after `number`, removals included, in order.
    pub(super) fn since(&self, author: FrontId, number: u64) -> impl Iterator<Item = (u64, &K, Option<&V>)> {
        let changes = self.journal(author).changes.range(number + 1..);
        changes.map(move |(number, key)| {
            let cell = self.cell(author, key).expect("a change in a journal has its row");
            (*number, key, cell.value.as_ref())
        })
    }

    /// Whether anything is remembered of `key` by `author`, and what it weighs if it has a value.
    pub(super) fn weight(&self, author: FrontId, key: &K) -> Option<usize> {
        let cell = self.cell(author, key)?;
        Some(cell.value.as_ref().map_or(0, |value| row_weight(key, Some(value))))
    }

    /// Makes `value` the row of `key`, by the author's change `number`, its newest.
    pub(super) fn set(&mut self, author: FrontId, key: K, number: u64, value: Option<V>) -> Change<K, V> {
        let old = self.take(author, &key);
        let journal = &mut self.journals[usize::from(author.0)];
        assert!(number > journal.number, "change {number} of {author} after {}", journal.number);
        journal.number = number;
        journal.changes.insert(number, key.clone());
        match &value {
            Some(value) => journal.bytes += row_weight(&key, Some(value)),
            None => {
                journal.removals.insert(number);
            }
        }
        let cells = self.cells.entry(key.clone()).or_default();
        let at = cells.partition_point(|cell| cell.author < author);
        cells.insert(at, Cell { author, number, value: value.clone() });
        Change { author, key, number, old, new: value }
    }

    /// Notes that all changes of `author` up to `number` are known.
    pub(super) fn complete(&mut self, author: FrontId, number: u64) {
        let journal = &mut self.journals[usize::from(author.0)];
        journal.number = journal.number.max(number);
    }

    /// Forgets the author's removals up to `floor`, and that there were any.
    pub(super) fn forget_removals(&mut self, author: FrontId, floor: u64) {
        loop {
            let journal = &mut self.journals[usize::from(author.0)];
            let Some(number) = journal.removals.first().copied().filter(|number| *number <= floor) else { break };
            journal.floor = journal.floor.max(number);
            let key = journal.changes[&number].clone();
            self.take(author, &key);
        }
    }

    /// Takes over `floor` from another front: it may have forgotten removals up to there.
    pub(super) fn raise_floor(&mut self, author: FrontId, floor: u64) {
        self.forget_removals(author, floor);
        let journal = &mut self.journals[usize::from(author.0)];
        assert!(floor <= journal.number, "floor {floor} of {author} above {}", journal.number);
        journal.floor = journal.floor.max(floor);
    }

    /// Puts `rows`, complete up to `number` but for removals up to `floor`, in place of all that there is of
    /// `author`.
    pub(super) fn replace(
        &mut self,
        author: FrontId,
        incarnation: u64,
        number: u64,
        floor: u64,
        rows: BTreeMap<K, (u64, Option<V>)>,
    ) -> Vec<Change<K, V>> {
        let mut changes = Vec::new();
        let held: Vec<K> = self.journal(author).changes.values().cloned().collect();
        let mut before: BTreeMap<K, V> = BTreeMap::new();
        for key in held {
            let old = self.take(author, &key);
            before.extend(old.map(|old| (key, old)));
        }
        let journal = Journal { incarnation, floor, ..Journal::default() };
        self.journals[usize::from(author.0)] = journal;
        let mut rows: Vec<(u64, K, Option<V>)> =
            rows.into_iter().map(|(key, (number, value))| (number, key, value)).collect();
        rows.sort_unstable_by_key(|(number, ..)| *number);
        for (number, key, value) in rows {
            let old = before.remove(&key);
            let change = self.set(author, key, number, value);
            if old != change.new {
                changes.push(Change { old, ..change });
            }
        }
        self.complete(author, number);
        changes.extend(before.into_iter().map(|(key, old)| Change {
            author,
            key,
            number,
            old: Some(old),
            new: None,
        }));
        changes
    }

    /// Drops all of `author`.
    pub(super) fn clear(&mut self, author: FrontId) -> Vec<Change<K, V>> {
        self.replace(author, 0, 0, 0, BTreeMap::new())
    }

    /// Begins another life of `author` with the rows it has, numbered anew in their order; its removals are part
    /// of the earlier life.
    pub(super) fn live_on(&mut self, author: FrontId, incarnation: u64) {
        let rows = self.since(author, 0).filter_map(|(_, key, value)| Some((key.clone(), value?.clone())));
        let rows: BTreeMap<K, (u64, Option<V>)> =
            (1..).zip(rows).map(|(number, (key, value))| (key, (number, Some(value)))).collect();
        let number = rows.len() as u64;
        self.replace(author, incarnation, number, 0, rows);
    }

    fn cell(&self, author: FrontId, key: &K) -> Option<&Cell<V>> {
        self.cells.get(key)?.iter().find(|cell| cell.author == author)
    }

    /// Drops the row of `key` by `author`, if there is one; the value that it had.
    fn take(&mut self, author: FrontId, key: &K) -> Option<V> {
        let cells = self.cells.get_mut(key)?;
        let at = cells.iter().position(|cell| cell.author == author)?;
        let Cell { number, value, .. } = cells.remove(at);
        if cells.is_empty() {
            self.cells.remove(key);
        }
        let journal = &mut self.journals[usize::from(author.0)];
        journal.changes.remove(&number);
        journal.removals.remove(&number);
        journal.bytes -= value.as_ref().map_or(0, |value| row_weight(key, Some(value)));
        value
    }
}
