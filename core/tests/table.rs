//! Whether tables come to agree: several of them over a network that loses, repeats and reorders, against the plain
//! truth of what each author said. One planted fault shows that the oracles see.

use std::collections::{BTreeMap, BTreeSet};

use kollator_core::cluster::FrontId;
use kollator_core::cluster::table::{Change, Full, Offence, Table, TableConfig, TableLimits, Weigh};
use kollator_core::id::{Digest, PeerId};
use kollator_core::wire::sync::{AuthorDigest, MAX_ROWS_BYTES, Row, RowKey, RowValue, RowsPart, SyncMessage};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Value(u8);

impl Weigh for Key {
    fn weight(&self) -> usize {
        1
    }
}

impl Weigh for Value {
    fn weight(&self) -> usize {
        1 + usize::from(self.0 % 8)
    }
}

type Part = RowsPart<Key, Value>;

const LIMITS: TableLimits = TableLimits { rows: 6, tombstones: 4, bytes: 90, part_bytes: 40 };
const KEYS: u8 = 12;

#[derive(Clone, Debug)]
enum Op {
    Put { front: u8, key: u8, value: u8 },
    Remove { front: u8, key: u8 },
    News { from: u8 },
    Digest { from: u8 },
    Deliver { which: prop::sample::Index, keep: bool },
    Lose { which: prop::sample::Index },
    Cut { from: u8, to: u8, cut: bool },
    Restart { front: u8, forgot_its_life: bool, kept: u8 },
    Forget { front: u8, author: u8 },
}

fn op(fronts: u8) -> impl Strategy<Value = Op> {
    let (front, key, which) = (0..fronts, 0..KEYS, any::<prop::sample::Index>());
    let (from, to, author) = (front.clone(), front.clone(), front.clone());
    prop_oneof![
        8 => (front.clone(), key.clone(), any::<u8>()).prop_map(|(front, key, value)| Op::Put { front, key, value }),
        6 => (front.clone(), key).prop_map(|(front, key)| Op::Remove { front, key }),
        3 => from.clone().prop_map(|from| Op::News { from }),
        5 => from.clone().prop_map(|from| Op::Digest { from }),
        16 => (which.clone(), any::<bool>()).prop_map(|(which, keep)| Op::Deliver { which, keep }),
        2 => which.prop_map(|which| Op::Lose { which }),
        1 => (from, to, any::<bool>()).prop_map(|(from, to, cut)| Op::Cut { from, to, cut }),
        1 => (front.clone(), any::<bool>(), any::<u8>())
            .prop_map(|(front, forgot_its_life, kept)| Op::Restart { front, forgot_its_life, kept }),
        1 => (front, author).prop_map(|(front, author)| Op::Forget { front, author }),
    ]
}

fn history() -> impl Strategy<Value = (u8, Vec<Op>)> {
    (1..=4u8).prop_flat_map(|fronts| (Just(fronts), vec(op(fronts), 0..200)))
}

#[derive(Clone, Debug)]
enum Message {
    Digest(Vec<AuthorDigest>),
    Part(Part),
}

/// A fault in a front, made on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    /// None.
    Sound,
    /// Removals are forgotten without a floor: who missed them gets a delta instead of a snapshot.
    NoFloor,
    /// News are said to follow upon whatever their receiver has.
    Gap,
}

struct World {
    plant: Plant,
    tables: Vec<Table<Key, Value>>,
    /// What each author says.
    truth: Vec<BTreeMap<Key, Value>>,
    /// What each author ever said.
    said: BTreeSet<(FrontId, Key, Value)>,
    /// By front: what its table reported in changes.
    reported: Vec<BTreeMap<(Key, FrontId), Value>>,
    /// By front: lives that it has had.
    lives: Vec<BTreeSet<u64>>,
    cut: BTreeSet<(u8, u8)>,
    wire: Vec<(u8, u8, Message)>,
}

fn table(me: u8, fronts: u8, incarnation: u64) -> Table<Key, Value> {
    Table::new(TableConfig { me: FrontId(me), fronts, incarnation, limits: LIMITS })
}

impl World {
    fn new(fronts: u8, plant: Plant) -> Self {
        let count = usize::from(fronts);
        Self {
            plant,
            tables: (0..fronts).map(|me| table(me, fronts, 100)).collect(),
            truth: vec![BTreeMap::new(); count],
            said: BTreeSet::new(),
            reported: vec![BTreeMap::new(); count],
            lives: vec![BTreeSet::from([100]); count],
            cut: BTreeSet::new(),
            wire: Vec::new(),
        }
    }

    fn fronts(&self) -> u8 {
        self.tables.len() as u8
    }

    fn perform(&mut self, op: Op) {
        match op {
            Op::Put { front, key, value } => self.put(front, Key(key), Value(value)),
            Op::Remove { front, key } => {
                let change = self.tables[usize::from(front)].remove(&Key(key));
                let old = self.truth[usize::from(front)].remove(&Key(key));
                assert_eq!(change.as_ref().and_then(|change| change.old), old);
                self.report(front, change);
            }
            Op::News { from } => {
                for to in 0..self.fronts() {
                    let parts = self.tables[usize::from(from)].news(FrontId(to), 60);
                    self.send_parts(from, to, parts);
                }
            }
            Op::Digest { from } => self.send_digest(from),
            Op::Deliver { which, keep } => {
                if !self.wire.is_empty() {
                    let at = which.index(self.wire.len());
                    let (from, to, message) = if keep { self.wire[at].clone() } else { self.wire.swap_remove(at) };
                    self.deliver(from, to, message);
                }
            }
            Op::Lose { which } => {
                if !self.wire.is_empty() {
                    let (from, to, _) = self.wire.swap_remove(which.index(self.wire.len()));
                    self.tables[usize::from(from)].disconnected(FrontId(to));
                }
            }
            Op::Cut { from, to, cut: true } => drop(self.cut.insert((from, to))),
            Op::Cut { from, to, cut: false } => drop(self.cut.remove(&(from, to))),
            Op::Restart { front, forgot_its_life, kept } => self.restart(front, forgot_its_life, kept),
            Op::Forget { front, author } if front != author => {
                let changes = self.tables[usize::from(front)].forget(FrontId(author));
                self.report(front, changes);
            }
            Op::Forget { .. } => {}
        }
    }

    fn put(&mut self, front: u8, key: Key, value: Value) {
        let truth = &mut self.truth[usize::from(front)];
        let weight = |key: &Key, value: &Value| 10 + key.weight() + value.weight();
        let others: usize = truth.iter().filter(|(k, _)| **k != key).map(|(k, v)| weight(k, v)).sum();
        let expected = if truth.get(&key) == Some(&value) {
            Ok(false)
        } else if !truth.contains_key(&key) && truth.len() >= LIMITS.rows {
            Err(Full::Rows { limit: LIMITS.rows })
        } else if others + weight(&key, &value) > LIMITS.bytes {
            Err(Full::Bytes { limit: LIMITS.bytes })
        } else {
            Ok(true)
        };
        let change = self.tables[usize::from(front)].put(key, value);
        assert_eq!(change.as_ref().map(Option::is_some).map_err(|e| *e), expected);
        if expected.is_ok() {
            truth.insert(key, value);
            self.said.insert((FrontId(front), key, value));
        }
        self.report(front, change.ok().flatten());
    }

    /// Loses all but some of others' rows, and may take a life that is not its latest.
    fn restart(&mut self, front: u8, forgot_its_life: bool, kept: u8) {
        let lives = &mut self.lives[usize::from(front)];
        let latest = *lives.last().expect("it lives");
        let unused = (1..).find(|life| !lives.contains(life)).expect("there are many");
        let life = if forgot_its_life { unused } else { latest + 2 };
        lives.insert(life);
        self.truth[usize::from(front)].clear();
        let old = std::mem::take(&mut self.reported[usize::from(front)]);
        self.tables[usize::from(front)] = table(front, self.fronts(), life);
        for ((key, author), value) in old {
            if author != FrontId(front) && !(key.0 ^ kept).is_multiple_of(3) {
                let change =
                    self.tables[usize::from(front)].recover(author, key, value).expect("it had room before");
                self.report(front, change);
            }
        }
    }

    fn send_digest(&mut self, from: u8) {
        let digest = self.tables[usize::from(from)].digest();
        for to in 0..self.fronts() {
            if to != from {
                self.wire.push((from, to, Message::Digest(digest.clone())));
            }
        }
    }

    fn send_parts(&mut self, from: u8, to: u8, parts: Vec<Part>) {
        for part in parts {
            assert!(part.is_in_order());
            let bytes = |row: &Row<Key, Value>| 11 + row.value.as_ref().map_or(0, Weigh::weight);
            assert!(part.rows.iter().map(bytes).sum::<usize>() <= LIMITS.part_bytes);
            self.wire.push((from, to, Message::Part(part)));
        }
    }

    fn deliver(&mut self, from: u8, to: u8, message: Message) {
        if self.cut.contains(&(from, to)) {
            return;
        }
        match message {
            Message::Digest(digest) => {
                let theirs = digest.clone();
                let table = &mut self.tables[usize::from(to)];
                if let Some(outlived) = table.hear(FrontId(from), digest).expect("a sound digest") {
                    let lives = &mut self.lives[usize::from(to)];
                    let unused = (outlived + 1..).find(|life| !lives.contains(life)).expect("there are many");
                    lives.insert(unused);
                    table.reincarnate(unused);
                }
                let parts = table.answer(FrontId(from), 100);
                let parts = parts.into_iter().map(|part| self.spoil(part, &theirs)).collect();
                self.send_parts(to, from, parts);
            }
            Message::Part(part) => {
                let changes = self.tables[usize::from(to)].apply(part).expect("a sound part");
                for change in &changes {
                    let at = (change.key, change.author);
                    assert_eq!(self.reported[usize::from(to)].get(&at).copied(), change.old);
                    assert!(change.old != change.new, "a change that is none");
                }
                self.report(to, changes);
            }
        }
    }

    fn spoil(&self, part: Part, theirs: &[AuthorDigest]) -> Part {
        let whole = |digest: &&AuthorDigest| digest.author == part.author && digest.number >= digest.floor;
        let digest = theirs.iter().find(whole).filter(|digest| digest.incarnation == part.incarnation);
        match (self.plant, digest) {
            (Plant::NoFloor, Some(digest)) if part.snapshot && part.after <= digest.number => {
                let (after, upto) = (digest.number, part.upto.max(digest.number));
                let rows = part.rows.into_iter().filter(|row| row.number > after).collect();
                Part { after, upto, floor: 0, snapshot: false, rows, ..part }
            }
            (Plant::Gap, _) if !part.snapshot => Part { after: 0, ..part },
            _ => part,
        }
    }

    fn report(&mut self, front: u8, changes: impl IntoIterator<Item = Change<Key, Value>>) {
        let reported = &mut self.reported[usize::from(front)];
        for Change { author, key, new, .. } in changes {
            match new {
                Some(value) => drop(reported.insert((key, author), value)),
                None => drop(reported.remove(&(key, author))),
            }
        }
    }

    /// What must hold at all times.
    fn check(&self) {
        for (me, table) in self.tables.iter().enumerate() {
            let rows: BTreeMap<(Key, FrontId), Value> = table.iter().map(|(by, k, v)| ((*k, by), *v)).collect();
            assert_eq!(rows, self.reported[me], "front {me}: its changes tell what it holds");
            for ((key, author), value) in &rows {
                assert!(self.said.contains(&(*author, *key, *value)), "{author} never said {value:?} of {key:?}");
                assert_eq!(table.get(*author, key), Some(value));
            }
            for author in 0..self.fronts() {
                let id = FrontId(author);
                let (stats, own) = (table.stats(id), usize::from(author) == me);
                let held = self.held(table, id);
                assert_eq!(stats.rows, held.len());
                assert_eq!(table.by(id).count(), held.len());
                let most = LIMITS.rows + LIMITS.tombstones;
                assert!(stats.rows + stats.tombstones <= most && stats.gathered <= most, "{stats:?}");
                assert!(stats.bytes <= LIMITS.bytes * 2, "{stats:?}");
                if own {
                    assert!(stats.rows <= LIMITS.rows && stats.tombstones <= LIMITS.tombstones, "{stats:?}");
                    assert!(stats.bytes <= LIMITS.bytes, "{stats:?}");
                }
                if table.known(id) == self.tables[usize::from(author)].known(id) {
                    assert_eq!(held, self.truth[usize::from(author)], "front {me} claims to know all of {id}");
                }
            }
        }
    }

    fn held(&self, table: &Table<Key, Value>, author: FrontId) -> BTreeMap<Key, Value> {
        table.iter().filter(|(by, ..)| *by == author).map(|(_, key, value)| (*key, *value)).collect()
    }

    /// Runs a history; lives must not go back but where a front restarts or forgets.
    fn run(fronts: u8, ops: Vec<Op>, plant: Plant) {
        let mut world = Self::new(fronts, plant);
        for op in ops {
            let before: Vec<_> = world.tables.iter().map(versions).collect();
            let (restarted, forgot) = match op {
                Op::Restart { front, .. } => (Some(usize::from(front)), None),
                Op::Forget { front, author } => (None, Some((usize::from(front), usize::from(author)))),
                _ => (None, None),
            };
            world.perform(op);
            world.check();
            for (me, before) in before.into_iter().enumerate().filter(|(me, _)| restarted != Some(*me)) {
                let after = versions(&world.tables[me]);
                let mut pairs = before.into_iter().zip(after).enumerate();
                assert!(
                    pairs.all(|(by, (old, new))| old <= new || forgot == Some((me, by))),
                    "a version went back"
                );
            }
        }
        world.heal();
    }

    /// With every link whole again, digests alone must bring everyone to the truth, and to silence.
    fn heal(&mut self) {
        self.cut.clear();
        let (mut rounds, mut quiet) = (0, 0);
        while quiet < 8 {
            rounds += 1;
            quiet += 1;
            assert!(rounds <= 100, "they do not come to rest");
            (0..self.fronts()).for_each(|from| self.send_digest(from));
            let (mut turn, lives) = (rounds, self.lives.clone());
            while !self.wire.is_empty() {
                turn = (turn * 7 + 3) % 1009;
                let (from, to, message) = self.wire.swap_remove(turn % self.wire.len());
                if matches!(message, Message::Part(_)) {
                    quiet = 0;
                }
                self.deliver(from, to, message);
                self.check();
            }
            if lives != self.lives {
                quiet = 0;
            }
        }
        assert!(self.agrees(), "they come to rest without agreeing");
        self.falls_silent();
    }

    fn agrees(&self) -> bool {
        let authors = || (0..self.fronts()).map(FrontId);
        self.tables.iter().all(|table| {
            authors().all(|author| {
                let own = &self.tables[usize::from(author.0)];
                table.known(author) == own.known(author)
                    && self.held(table, author) == self.truth[usize::from(author.0)]
            })
        })
    }

    /// Whoever agrees has no news, remembers no removals and gathers nothing.
    fn falls_silent(&mut self) {
        for from in 0..self.fronts() {
            for other in 0..self.fronts() {
                let table = &mut self.tables[usize::from(from)];
                assert_eq!(table.news(FrontId(other), 100), []);
                let stats = table.stats(FrontId(other));
                assert_eq!((stats.tombstones, stats.gathered), (0, 0));
            }
        }
    }
}

fn versions(table: &Table<Key, Value>) -> Vec<(u64, u64)> {
    (0..table.fronts()).map(|author| table.known(FrontId(author))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn tables_come_to_agree((fronts, ops) in history()) {
        World::run(fronts, ops, Plant::Sound);
    }

    /// Parts in any order, any number of times, do what they do in order, each once.
    #[test]
    fn parts_commute_and_repeat(
        changes in vec((0..KEYS, prop::option::of(any::<u8>())), 1..40),
        cuts in vec(any::<bool>(), 40),
        order in vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let (mut author, mut reader) = (table(0, 3, 5), table(1, 3, 5));
        let mut parts: Vec<Part> = Vec::new();
        let mut exchange = |author: &mut Table<Key, Value>, reader: &mut Table<Key, Value>| {
            author.hear(FrontId(1), reader.digest()).expect("sound");
            let news = author.answer(FrontId(1), 100);
            for part in &news {
                reader.apply(part.clone()).expect("sound");
            }
            parts.extend(news);
        };
        exchange(&mut author, &mut reader);
        for ((key, value), cut) in changes.into_iter().zip(cuts) {
            match value {
                Some(value) => drop(author.put(Key(key), Value(value))),
                None => drop(author.remove(&Key(key))),
            }
            if cut {
                exchange(&mut author, &mut reader);
            }
        }
        for _ in 0..9 {
            exchange(&mut author, &mut reader);
        }
        let mut other = table(2, 3, 5);
        for index in order {
            other.apply(parts[index.index(parts.len())].clone()).expect("sound");
        }
        for part in &parts {
            other.apply(part.clone()).expect("sound");
        }
        prop_assert_eq!(other.known(FrontId(0)), reader.known(FrontId(0)));
        let rows = |table: &Table<Key, Value>| -> Vec<_> { table.iter().map(|(by, k, v)| (by, *k, *v)).collect() };
        prop_assert_eq!(rows(&other), rows(&reader));
        prop_assert_eq!(rows(&other), rows(&author));
    }
}

/// How many of `cases` fixed histories show that a fault is there.
fn caught(plant: Plant, cases: usize) -> usize {
    let mut runner = TestRunner::deterministic();
    let histories: Vec<_> =
        (0..cases).map(|_| history().new_tree(&mut runner).expect("a strategy").current()).collect();
    let shows =
        |(fronts, ops): (u8, Vec<Op>)| std::panic::catch_unwind(|| World::run(fronts, ops, plant)).is_err();
    histories.into_iter().filter(|history| shows(history.clone())).count()
}

#[test]
fn planted_faults_are_seen() {
    for plant in [Plant::NoFloor, Plant::Gap] {
        assert!(caught(plant, 300) > 0, "{plant:?} goes unseen");
    }
    assert_eq!(caught(Plant::Sound, 300), 0);
}

#[test]
fn a_removal_does_not_come_back_with_a_front_that_was_away() {
    let mut fronts: Vec<_> = (0..3).map(|me| table(me, 3, 1)).collect();
    let talk = |fronts: &mut Vec<Table<Key, Value>>, among: &[u8]| {
        for _ in 0..4 {
            for (from, to) in among.iter().flat_map(|from| among.iter().map(move |to| (*from, *to))) {
                if from != to {
                    let digest = fronts[usize::from(from)].digest();
                    fronts[usize::from(to)].hear(FrontId(from), digest).expect("sound");
                    for part in fronts[usize::from(to)].answer(FrontId(from), 1000) {
                        fronts[usize::from(from)].apply(part).expect("sound");
                    }
                }
            }
        }
    };
    fronts[0].put(Key(1), Value(1)).expect("room");
    talk(&mut fronts, &[0, 1, 2]);
    assert_eq!(fronts[2].get(FrontId(0), &Key(1)), Some(&Value(1)));
    for key in 1..12 {
        let _ = fronts[0].put(Key(key), Value(1)).expect("room");
        fronts[0].remove(&Key(key));
    }
    fronts[0].put(Key(0), Value(7)).expect("room");
    talk(&mut fronts, &[0, 1]);
    assert_eq!(fronts[0].stats(FrontId(0)).tombstones, LIMITS.tombstones, "front 2 may not know of these");
    talk(&mut fronts, &[1, 2]);
    let rows = |table: &Table<Key, Value>| -> Vec<_> { table.iter().map(|(by, k, v)| (by.0, k.0, v.0)).collect() };
    assert_eq!(rows(&fronts[2]), [(0, 0, 7)], "by way of front 1, with the removals it missed");
    assert_eq!(rows(&fronts[1]), [(0, 0, 7)]);
    talk(&mut fronts, &[0, 1, 2]);
    assert!(fronts.iter().all(|table| table.stats(FrontId(0)).tombstones == 0));
}

/// A front that restarts keeps what it knew until it knows better: rows do not flicker.
#[test]
fn recovered_rows_hold_until_a_snapshot_is_whole() {
    let (mut author, mut reader) = (table(0, 2, 1), table(1, 2, 2));
    for key in 0..6 {
        author.put(Key(key), Value(8 * key)).expect("room");
        reader.recover(FrontId(0), Key(key + 1), Value(8 * key + 8)).expect("room");
    }
    assert_eq!(reader.known(FrontId(0)), (0, 0));
    assert_eq!(reader.digest().len(), 1, "what was recovered is told to nobody");
    let mut rounds = Vec::new();
    while reader.known(FrontId(0)) != author.known(FrontId(0)) {
        author.hear(FrontId(1), reader.digest()).expect("sound");
        let parts = author.answer(FrontId(1), 24);
        let changes = parts.into_iter().flat_map(|part| reader.apply(part).expect("sound"));
        rounds.push(changes.map(|change| (change.key.0, change.new.is_some())).collect::<Vec<_>>());
        assert_eq!(reader.iter().count(), 6);
    }
    assert_eq!(rounds, [vec![], vec![], vec![(0, true), (6, false)]]);
    assert_eq!(reader.recover(FrontId(0), Key(9), Value(9)), Ok(None), "too late");
}

/// `to` tells `from` what it knows, and takes the answer.
fn fetch(from: &mut Table<Key, Value>, from_id: u8, to: &mut Table<Key, Value>, to_id: u8, budget: usize) {
    assert!(from_id != to_id);
    from.hear(FrontId(to_id), to.digest()).expect("sound");
    for part in from.answer(FrontId(to_id), budget) {
        to.apply(part).expect("sound");
    }
}

/// Who began a newer snapshot that nobody is left to finish makes do with an older one.
#[test]
fn a_snapshot_that_its_sender_took_away_is_given_up() {
    let mut fronts: Vec<_> = (0..4).map(|me| table(me, 4, 1)).collect();
    let [author, newer, older, reader] = &mut fronts[..] else { panic!("four") };
    author.put(Key(0), Value(0)).expect("room");
    fetch(author, 0, older, 2, 1000);
    for key in 1..6 {
        author.put(Key(key), Value(0)).expect("room");
        author.put(Key(key), Value(8)).expect("room");
    }
    fetch(author, 0, newer, 1, 1000);
    for _ in 0..3 {
        fetch(newer, 1, reader, 3, 12);
    }
    assert_eq!((reader.known(FrontId(0)), reader.stats(FrontId(0)).gathered > 0), ((0, 0), true));
    for _ in 0..8 {
        fetch(older, 2, reader, 3, 1000);
    }
    assert_eq!(reader.known(FrontId(0)), (1, 1));
    assert_eq!(reader.by(FrontId(0)).collect::<Vec<_>>(), [(&Key(0), &Value(0))]);
}

/// Removals are forgotten also where the author's own digests do not reach.
#[test]
fn removals_that_a_relay_forgot_are_forgotten_behind_it() {
    let mut fronts: Vec<_> = (0..3).map(|me| table(me, 3, 1)).collect();
    let [author, relay, reader] = &mut fronts[..] else { panic!("three") };
    for key in (0..KEYS).cycle().take(60) {
        author.put(Key(key), Value(0)).expect("room");
        author.remove(&Key(key));
        for _ in 0..3 {
            fetch(author, 0, relay, 1, 1000);
            fetch(relay, 1, reader, 2, 1000);
        }
        assert_eq!(reader.known(FrontId(0)), author.known(FrontId(0)));
        assert!(reader.stats(FrontId(0)).tombstones <= LIMITS.tombstones);
    }
}

#[test]
fn offences_are_named_and_change_nothing() {
    let mut reader = table(1, 2, 1);
    let part = |author, rows: u8, snapshot| Part {
        author: FrontId(author),
        incarnation: 1,
        after: 0,
        upto: 100,
        floor: 0,
        snapshot,
        rows: (0..rows).map(|n| Row { key: Key(n), number: u64::from(n) + 1, value: Some(Value(0)) }).collect(),
    };
    assert_eq!(reader.apply(part(7, 1, true)), Err(Offence::UnknownAuthor { author: FrontId(7) }));
    assert_eq!(reader.apply(part(1, 1, true)), Err(Offence::OwnRows));
    let most = (LIMITS.rows + LIMITS.tombstones) as u8;
    let too_many = Err(Offence::TooManyRows { author: FrontId(0), limit: usize::from(most) });
    assert_eq!(reader.apply(part(0, most + 1, true)), too_many);
    assert_eq!(reader.iter().count(), 0);
    assert_eq!(reader.apply(part(0, 1, true)).map(|changes| changes.len()), Ok(1));
    let more = Part { upto: 200, after: 100, ..part(0, 0, false) };
    let rows = (0..=most).map(|n| Row { key: Key(n + 50), number: u64::from(n) + 101, value: None }).collect();
    assert_eq!(reader.apply(Part { rows, ..more.clone() }), too_many);
    let heavy =
        (0..most).map(|n| Row { key: Key(n), number: u64::from(n) + 101, value: Some(Value(7)) }).collect();
    let limit = LIMITS.bytes * 2;
    assert_eq!(
        reader.apply(Part { rows: heavy, ..more }),
        Err(Offence::TooManyBytes { author: FrontId(0), limit })
    );
    assert_eq!(reader.iter().count(), 1);
    let digest =
        |author, incarnation| vec![AuthorDigest { author: FrontId(author), incarnation, number: 0, floor: 0 }];
    assert_eq!(reader.hear(FrontId(0), digest(9, 1)), Err(Offence::UnknownAuthor { author: FrontId(9) }));
    assert_eq!(reader.hear(FrontId(0), digest(1, 1 << 62)), Err(Offence::LastLife));
    assert_eq!(reader.hear(FrontId(0), digest(1, 41)), Ok(Some(41)));
    reader.reincarnate(42);
    assert_eq!(reader.hear(FrontId(0), digest(1, 41)), Ok(None));
}

/// As fronts use it: rows of a large network, through the codec, in messages of bounded size.
#[test]
fn a_large_table_travels_in_small_messages_and_then_only_its_news_do() {
    let limits = TableLimits { rows: 20_000, tombstones: 1000, bytes: 4 << 20, part_bytes: MAX_ROWS_BYTES };
    let new = |me| Table::new(TableConfig { me: FrontId(me), fronts: 3, incarnation: 1, limits });
    let mut fronts: [Table; 3] = [new(0), new(1), new(2)];
    let peer = |n: u16| {
        let mut id = Digest::default();
        id.0[..2].copy_from_slice(&n.to_be_bytes());
        PeerId(id)
    };
    for n in 0..10_000 {
        fronts[0].put(RowKey::Client(peer(n)), RowValue::Client { since_ms: 1 }).expect("room");
    }
    let over_the_wire = |message: SyncMessage| SyncMessage::decode(message.encode().freeze()).expect("sound");
    let mut rounds = 0;
    while fronts[1].known(FrontId(0)) != fronts[0].known(FrontId(0)) {
        rounds += 1;
        let digest = fronts[1].digest();
        fronts[0].hear(FrontId(1), digest).expect("sound");
        for part in fronts[0].answer(FrontId(1), 2 * MAX_ROWS_BYTES) {
            let SyncMessage::Rows(part) = over_the_wire(SyncMessage::Rows(part)) else { panic!("rows") };
            fronts[1].apply(part).expect("sound");
        }
    }
    assert_eq!(rounds, 5, "500 KB in messages of 60 KB, two a round");
    assert_eq!(fronts[1].iter().count(), 10_000);

    let digest = fronts[1].digest();
    let authors = digest.clone();
    assert_eq!(SyncMessage::Digest { authors, epoch: Default::default() }.encode().len(), 2 + 16 + 2 * 25);
    fronts[0].hear(FrontId(1), digest).expect("sound");
    assert_eq!(fronts[0].answer(FrontId(1), MAX_ROWS_BYTES), []);
    fronts[0].put(RowKey::Client(peer(7)), RowValue::Client { since_ms: 2 }).expect("room");
    let news = fronts[0].news(FrontId(1), MAX_ROWS_BYTES);
    assert_eq!(news.iter().map(|part| part.rows.len()).collect::<Vec<_>>(), [1]);
    assert_eq!(fronts[0].news(FrontId(1), MAX_ROWS_BYTES), [], "sent is sent");
    for part in news {
        assert_eq!(fronts[1].apply(part).expect("sound").len(), 1);
    }
    assert_eq!(
        fronts[1].of(&RowKey::Client(peer(7))).collect::<Vec<_>>(),
        [(FrontId(0), &RowValue::Client { since_ms: 2 })]
    );
}
