//! The state against a naive model, over restarts, power cuts and damage.

use std::collections::BTreeMap;

use kollator_core::cluster::FrontId;
use kollator_core::cluster::epoch::{Epoch, EpochMember, EpochNumber};
use kollator_core::id::{Digest, InfoHash, PeerId};
use kollator_core::wire::sync::{Row, RowKey, RowValue, WorkerRow};
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::event::EventSink;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("front.db")
    }

    /// Names of the files in it that were moved aside, companions not counted.
    fn aside(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).expect("readable");
        let names = names.map(|entry| entry.expect("readable").file_name().into_string().expect("ASCII"));
        names.filter(|name| name.contains(".corrupt-") && !name.contains("-wal")).collect()
    }

    /// What a power cut would leave, as far as the files were written.
    fn copy(&self) -> Self {
        let copy = Self::new();
        for name in ["", "-wal"] {
            let from = companion(&self.path(), name);
            if from.exists() {
                fs::copy(from, companion(&copy.path(), name)).expect("copied");
            }
        }
        copy
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    Runtime::new().expect("a runtime").block_on(future)
}

async fn try_open(path: &Path) -> Result<(State, Recovered), StateError> {
    State::open(path, Blocking::Inline).await
}

async fn opened(path: &Path) -> (State, Recovered) {
    try_open(path).await.unwrap_or_else(|error| panic!("{error}"))
}

/// What must be recovered.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    ballot: RecoveredBallot,
    incarnation: u64,
    epoch: Epoch,
    rows: BTreeMap<(FrontId, RowKey), (u64, Row)>,
}

impl Model {
    fn persist(&mut self, record: Record) {
        match record {
            Record::Ballot { term, voted_for } => self.ballot = RecoveredBallot::Kept { term, voted_for },
            Record::Incarnation(incarnation) => self.incarnation = incarnation,
        }
    }

    fn save(&mut self, saved: &[Saved]) {
        for saved in saved.iter().cloned() {
            match saved {
                Saved::Epoch(epoch) => self.epoch = epoch,
                Saved::Forget { author } => self.rows.retain(|(of, _), _| *of != author),
                Saved::Row { author, incarnation, row } => {
                    let key = (author, row.key.clone());
                    self.rows.remove(&key);
                    if row.value.is_some() {
                        self.rows.insert(key, (incarnation, row));
                    }
                }
            }
        }
    }
}

impl From<Recovered> for Model {
    fn from(Recovered { ballot, incarnation, epoch, rows }: Recovered) -> Self {
        let rows =
            rows.into_iter().map(|(author, incarnation, row)| ((author, row.key.clone()), (incarnation, row)));
        Self { ballot, incarnation, epoch, rows: rows.collect() }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Persist(Record),
    Save(Vec<Saved>),
    Reopen,
}

fn peer() -> impl Strategy<Value = PeerId> {
    (0..3u8).prop_map(|n| PeerId(Digest([n; 32])))
}

fn author() -> impl Strategy<Value = FrontId> {
    (0..3u8).prop_map(FrontId)
}

fn worker() -> impl Strategy<Value = RowValue> {
    (peer(), 1..1000u16, "[a-z]{0,3}", any::<bool>(), 0..=100u8).prop_map(
        |(peer, capacity, region, alive, load)| {
            let http = "http://192.0.2.1:8081".to_owned();
            let draining = !alive;
            RowValue::Worker(WorkerRow { peer, http, capacity, region, since_ms: 7, alive, draining, load })
        },
    )
}

fn row() -> impl Strategy<Value = Row> {
    let key_and_value = prop_oneof![
        ("[ab]", worker()).prop_map(|(name, value)| (RowKey::Worker(name), value)),
        (peer(), 0..9u64).prop_map(|(peer, since_ms)| (RowKey::Client(peer), RowValue::Client { since_ms })),
        (peer(), peer(), any::<bool>()).prop_map(|(share, peer, complete)| {
            (RowKey::Member { info_hash: InfoHash(share.0), peer }, RowValue::Member { complete })
        }),
    ];
    (key_and_value, 1..1000u64, any::<bool>()).prop_map(|((key, value), number, there)| Row {
        key,
        number,
        value: there.then_some(value),
    })
}

fn saved() -> impl Strategy<Value = Saved> {
    prop_oneof![
        1 => (1..9u64, 1..9u64, 1..500u16).prop_map(|(term, n, capacity)| {
            let member = EpochMember { name: "w".into(), capacity, region: String::new() };
            Saved::Epoch(Epoch { number: EpochNumber { term, n }, members: vec![member] })
        }),
        8 => (author(), 1..5u64, row())
            .prop_map(|(author, incarnation, row)| Saved::Row { author, incarnation, row }),
        1 => author().prop_map(|author| Saved::Forget { author }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        (any::<u64>(), proptest::option::of(author()))
            .prop_map(|(term, voted_for)| Record::Ballot { term, voted_for }),
        any::<u64>().prop_map(Record::Incarnation),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => record().prop_map(Step::Persist),
        4 => proptest::collection::vec(saved(), 0..12).prop_map(Step::Save),
        1 => Just(Step::Reopen),
    ]
}

#[test]
fn a_missing_file_is_a_fresh_start_and_is_there_at_once() {
    let folder = Folder::new();
    block_on(async {
        let (state, recovered) = opened(&folder.path()).await;
        assert_eq!(recovered, Recovered::default());
        assert!(folder.path().exists());
        drop(state);
        assert_eq!(opened(&folder.path()).await.1, Recovered::default());
    });
    let names = fs::read_dir(folder.0.path()).expect("readable");
    assert_eq!(names.count(), 1, "nothing else is left behind");
}

#[test]
fn a_file_has_one_owner() {
    let folder = Folder::new();
    block_on(async {
        let (state, _) = opened(&folder.path()).await;
        let error = try_open(&folder.path()).await.expect_err("in use");
        assert!(matches!(error, StateError::InUse { .. }), "{error}");
        drop(state);
        opened(&folder.path()).await;
    });
    assert!(folder.aside().is_empty());
}

#[test]
fn what_the_operating_system_refuses_is_no_damage() {
    let folder = Folder::new();
    block_on(async {
        let nowhere = folder.0.path().join("nowhere").join("front.db");
        let error = try_open(&nowhere).await.expect_err("no such folder");
        assert!(error.to_string().contains("nowhere"), "{error}");
        let error = try_open(folder.0.path()).await.expect_err("a folder");
        assert!(matches!(error, StateError::Io { .. }), "{error}");
    });
    assert!(folder.aside().is_empty());
}

/// Changes a record as a later version would, proof and all.
fn set_schema(path: &Path, schema: u64) {
    use sha2::Digest as _;
    let value = schema.to_be_bytes();
    let proof = sha2::Sha256::new().chain_update("schema\0").chain_update(value).finalize();
    let connection = Connection::open(path).expect("a database");
    let update = "UPDATE kept SET value = ?, proof = ? WHERE name = 'schema'";
    connection.execute(update, (&value[..], &proof[..])).expect("updated");
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let folder = Folder::new();
    block_on(async {
        drop(opened(&folder.path()).await);
        set_schema(&folder.path(), 2);
        let error = try_open(&folder.path()).await.expect_err("newer");
        assert!(error.to_string().contains("written by a newer version (schema 2"), "{error}");
        set_schema(&folder.path(), 1);
        assert_eq!(opened(&folder.path()).await.1, Recovered::default());
    });
    assert!(folder.aside().is_empty());
}

#[test]
fn what_is_not_a_fronts_database_is_moved_aside_and_stays_lost_until_a_ballot() {
    let foreign = Folder::new();
    Connection::open(foreign.path()).expect("created").execute_batch("CREATE TABLE t (x)").expect("a table");
    let foreign = fs::read(foreign.path()).expect("readable");
    for content in [&b""[..], b"not a database", &[0; 5000], &foreign] {
        let folder = Folder::new();
        fs::write(folder.path(), content).expect("written");
        block_on(async {
            for _ in 0..2 {
                let (state, recovered) = opened(&folder.path()).await;
                assert_eq!(recovered.ballot, RecoveredBallot::Lost);
                assert!(state.was_lost());
            }
            let aside = folder.aside();
            assert_eq!(aside.len(), 1);
            assert_eq!(fs::read(folder.0.path().join(&aside[0])).expect("readable").len(), content.len());
            let (state, _) = opened(&folder.path()).await;
            state.persist(Record::Ballot { term: 5, voted_for: None }).await.expect("kept");
            drop(state);
            let kept = RecoveredBallot::Kept { term: 5, voted_for: None };
            let (state, recovered) = opened(&folder.path()).await;
            assert_eq!((recovered.ballot, state.was_lost()), (kept, false));
        });
    }
}

#[test]
fn a_log_without_its_file_means_that_something_was_lost() {
    let folder = Folder::new();
    fs::write(companion(&folder.path(), "-wal"), "left").expect("written");
    block_on(async {
        assert_eq!(opened(&folder.path()).await.1.ballot, RecoveredBallot::Lost);
    });
    assert_eq!(folder.aside().len(), 1);
}

#[test]
fn the_keeper_writes_in_order_and_tells_what_is_durable() {
    let folder = Folder::new();
    block_on(async {
        let (state, _) = opened(&folder.path()).await;
        let (sink, mut tickets) = EventSink::channel(4);
        let keeper = Keeper::start(state, sink);
        let row = |number, there: bool| Saved::Row {
            author: FrontId(1),
            incarnation: 1,
            row: Row {
                key: RowKey::Client(PeerId(Digest([1; 32]))),
                number,
                value: there.then_some(RowValue::Client { since_ms: number }),
            },
        };
        for term in 1..=20 {
            keeper.save(vec![row(term, true), row(term, term % 2 == 0), Saved::Forget { author: FrontId(2) }]);
            keeper.persist(term, Record::Ballot { term, voted_for: None });
        }
        for term in 1..=20 {
            assert_eq!(tickets.recv().await, Some(term));
        }
        keeper.finish().await;
        let (_, recovered) = opened(&folder.path()).await;
        assert_eq!(recovered.ballot, RecoveredBallot::Kept { term: 20, voted_for: None });
        let numbers: Vec<_> = recovered.rows.iter().map(|(_, _, row)| row.number).collect();
        assert_eq!(numbers, [20]);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_kept_is_recovered(steps in proptest::collection::vec(step(), 1..25)) {
        let folder = Folder::new();
        let mut model = Model::default();
        block_on(async {
            let mut state = opened(&folder.path()).await.0;
            for step in steps {
                match step {
                    Step::Persist(record) => {
                        state.persist(record).await.expect("kept");
                        model.persist(record);
                    }
                    Step::Save(saved) => {
                        model.save(&saved);
                        state.save(saved).await.expect("kept");
                    }
                    Step::Reopen => {
                        drop(state);
                        let (again, recovered) = opened(&folder.path()).await;
                        assert_eq!(Model::from(recovered), model);
                        state = again;
                    }
                }
                // The process ends here, unasked.
                assert_eq!(Model::from(opened(&folder.copy().path()).await.1), model);
            }
        });
        prop_assert!(folder.aside().is_empty());
    }

    /// The last of what was saved may be lost with the end of the log, but never what was persisted.
    #[test]
    fn a_power_cut_takes_only_what_was_convenient(
        steps in proptest::collection::vec(step(), 1..15), cut in any::<prop::sample::Index>(),
    ) {
        let folder = Folder::new();
        block_on(async {
            let state = opened(&folder.path()).await.0;
            let mut model = Model::default();
            let mut possible = vec![model.clone()];
            for step in steps {
                match step {
                    Step::Persist(record) => {
                        state.persist(record).await.expect("kept");
                        model.persist(record);
                        possible.clear();
                    }
                    Step::Save(saved) => {
                        model.save(&saved);
                        state.save(saved).await.expect("kept");
                    }
                    Step::Reopen => {}
                }
                possible.push(model.clone());
            }
            let torn = folder.copy();
            let wal = companion(&torn.path(), "-wal");
            if let Ok(log) = fs::read(&wal) {
                fs::write(&wal, &log[..cut.index(log.len() + 1)]).expect("written");
            }
            let recovered = Model::from(opened(&torn.path()).await.1);
            assert!(possible.contains(&recovered), "{recovered:?} is none of {possible:?}");
            assert!(torn.aside().is_empty());
        });
    }

    #[test]
    fn damage_ends_in_the_right_data_or_in_a_lost_ballot(
        batches in proptest::collection::vec(proptest::collection::vec(saved(), 1..9), 1..5),
        ballot in record(),
        damage in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let folder = Folder::new();
        block_on(async {
            let state = opened(&folder.path()).await.0;
            let mut model = Model::default();
            model.persist(ballot);
            state.persist(ballot).await.expect("kept");
            let mut possible = vec![model.clone()];
            for saved in batches {
                model.save(&saved);
                state.save(saved).await.expect("kept");
                possible.push(model.clone());
            }
            let broken = folder.copy();
            for (in_log, at, byte) in damage {
                let path = companion(&broken.path(), if in_log { "-wal" } else { "" });
                let mut content = fs::read(&path).expect("there");
                // A log is empty if nothing changed since the last record.
                if !content.is_empty() {
                    let at = at.index(content.len());
                    content[at] = byte;
                }
                fs::write(&path, content).expect("written");
            }
            if let Some(cut) = cut {
                let content = fs::read(broken.path()).expect("there");
                fs::write(broken.path(), &content[..cut.index(content.len())]).expect("written");
            }
            let (state, recovered) = opened(&broken.path()).await;
            if recovered.ballot == RecoveredBallot::Lost {
                assert_eq!(recovered, Recovered { ballot: RecoveredBallot::Lost, ..Recovered::default() });
                assert_eq!(broken.aside().len(), 1);
            } else {
                let recovered = Model::from(recovered);
                assert!(possible.contains(&recovered), "{recovered:?} is none of {possible:?}");
                assert!(broken.aside().is_empty());
            }
            let next = Record::Ballot { term: u64::MAX, voted_for: None };
            state.persist(next).await.expect("usable");
            drop(state);
            let kept = RecoveredBallot::Kept { term: u64::MAX, voted_for: None };
            assert_eq!(opened(&broken.path()).await.1.ballot, kept);
        });
    }
}
