//! The file itself: its tables, and what proves that it is whole.
//!
//! SQLite does not notice every damage: a changed byte in a page may still be a page, and a damaged write-ahead log
//! is read up to the damage as if nothing had followed. So each record carries its own SHA-256, one of them covers
//! all rows together, and whatever must not be lost is moved from the log into the file before it counts as kept.
//! Nothing here decides what happens to a damaged file.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use kollator_core::cluster::FrontId;
use kollator_core::cluster::epoch::{Epoch, EpochNumber};
use kollator_core::cluster::saved::{Record, Recovered, RecoveredBallot, Saved};
use kollator_core::wire::sync::{Row, RowKey, RowsPart, SyncMessage};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, ffi, params};
use sha2::{Digest, Sha256};

use super::{COMPANIONS, StateError, companion, io_error, sync_folder};

/// Which layout of the tables this is. Rises with every change of them or of what is in them.
const SCHEMA: u64 = 1;
/// "Koll": marks a database as a front's.
const APPLICATION: i32 = 0x4b6f_6c6c;
/// The tables, in the order of their names. The first one stays as it is in every schema.
const TABLES: [&str; 2] = [
    "CREATE TABLE kept (name TEXT PRIMARY KEY, value BLOB NOT NULL, proof BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE row (author INTEGER, key BLOB, message BLOB NOT NULL, PRIMARY KEY (author, key)) STRICT, WITHOUT ROWID",
];

/// Names of the records in `kept`. Each is there from the beginning.
mod record {
    pub(super) const SCHEMA: &str = "schema";
    pub(super) const BALLOT: &str = "ballot";
    pub(super) const INCARNATION: &str = "incarnation";
    pub(super) const EPOCH: &str = "epoch";
    /// Over all rows.
    pub(super) const ROWS: &str = "rows";
}

/// Why a file is not opened.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is not what this room wrote, in words.
    Damaged(String),
    /// It may be fine, but cannot be used.
    Refused(StateError),
}

/// An open file, for this process alone.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    connection: Connection,
    rows: RowsSum,
}

impl Database {
    /// Creates the file, with this ballot and nothing else, in the place of what was there. It appears whole or
    /// not at all, and is durable when this returns.
    pub(super) fn create(path: &Path, ballot: RecoveredBallot) -> Result<Self, StateError> {
        let new = companion(path, ".new");
        let refused = |error| io_error(path, error);
        for name in COMPANIONS.into_iter().chain([""]) {
            match fs::remove_file(companion(&new, name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(refused(error)),
                _ => {}
            }
        }
        fill(&new, ballot).map_err(|error| sqlite_error(path, error))?;
        File::open(&new).and_then(|file| file.sync_all()).map_err(refused)?;
        fs::rename(&new, path).and_then(|()| sync_folder(path)).map_err(refused)?;
        match Self::open(path) {
            Ok((database, _)) => Ok(database),
            Err(Fault::Refused(error)) => Err(error),
            Err(Fault::Damaged(what)) => Err(refused(std::io::Error::other(format!("just written, and {what}")))),
        }
    }

    /// Opens the file and reads everything in it.
    pub(super) fn open(path: &Path) -> Result<(Self, Recovered), Fault> {
        // SQLite's own answers do not tell a file that may not be written from a damaged one.
        let opened = OpenOptions::new().read(true).write(true).open(path);
        opened.map_err(|error| Fault::Refused(io_error(path, error)))?;
        let judge = |error| judge(path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(judge)?;
        isolate(&connection).map_err(judge)?;
        if read_pragma::<i32>(&connection, "application_id").map_err(judge)? != APPLICATION {
            return Err(Fault::Damaged("it is not a front's database".to_owned()));
        }
        use_log(&connection).map_err(judge)?;
        let schema = number(&kept(&connection, record::SCHEMA, judge)?)?;
        if schema > SCHEMA {
            let (path, found, known) = (path.to_owned(), schema, SCHEMA);
            return Err(Fault::Refused(StateError::Newer { path, found, known }));
        }
        check_whole(&connection, judge)?;
        let (rows, sum) = read_rows(&connection, judge)?;
        if kept(&connection, record::ROWS, judge)? != sum.0 {
            return Err(Fault::Damaged("rows are missing or changed".to_owned()));
        }
        let recovered = Recovered {
            ballot: ballot(&kept(&connection, record::BALLOT, judge)?)?,
            incarnation: number(&kept(&connection, record::INCARNATION, judge)?)?,
            epoch: epoch(kept(&connection, record::EPOCH, judge)?)?,
            rows,
        };
        Ok((Self { path: path.to_owned(), connection, rows: sum }, recovered))
    }

    /// Keeps a record, whatever crashes after this returns.
    pub(super) fn persist(&mut self, record: Record) -> Result<(), StateError> {
        let (name, value) = match record {
            Record::Ballot { term, voted_for } => {
                (record::BALLOT, ballot_value(RecoveredBallot::Kept { term, voted_for }))
            }
            Record::Incarnation(incarnation) => (record::INCARNATION, incarnation.to_be_bytes().to_vec()),
        };
        let connection = &self.connection;
        let write = || {
            connection.pragma_update(None, "synchronous", "FULL")?;
            keep(connection, name, &value)?;
            // From the log into the file: a damaged log then takes nothing with it that was relied on.
            let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if busy { Err(ffi_error(ffi::SQLITE_BUSY)) } else { Ok(()) }
        };
        write().map_err(|error| sqlite_error(&self.path, error))
    }

    /// Keeps all of `saved`, or nothing.
    pub(super) fn save(&mut self, saved: &[Saved]) -> Result<(), StateError> {
        let mut sum = self.rows;
        let mut write = || {
            self.connection.pragma_update(None, "synchronous", "NORMAL")?;
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for saved in saved {
                save_one(&transaction, saved, &mut sum)?;
            }
            keep(&transaction, record::ROWS, &sum.0)?;
            transaction.commit()
        };
        write().map_err(|error| sqlite_error(&self.path, error))?;
        self.rows = sum;
        Ok(())
    }
}

/// Makes a complete database at `path`, where nothing is.
fn fill(path: &Path, ballot: RecoveredBallot) -> rusqlite::Result<()> {
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    isolate(&connection)?;
    use_log(&connection)?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    let transaction = connection.transaction()?;
    for table in TABLES {
        transaction.execute_batch(table)?;
    }
    keep(&transaction, record::SCHEMA, &SCHEMA.to_be_bytes())?;
    keep(&transaction, record::BALLOT, &ballot_value(ballot))?;
    keep(&transaction, record::INCARNATION, &0u64.to_be_bytes())?;
    keep(&transaction, record::EPOCH, &[])?;
    keep(&transaction, record::ROWS, &RowsSum::default().0)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// One process, no shared memory, no waiting, no trust in what the file says about itself.
fn isolate(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

/// Writes go to a log first, and are durable unless said otherwise. Changes the file.
fn use_log(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(ffi_error(ffi::SQLITE_CORRUPT));
    }
    connection.pragma_update(None, "synchronous", "FULL")
}

/// Whether SQLite finds nothing wrong, and the tables are those that were made.
fn check_whole(connection: &Connection, judge: impl Fn(rusqlite::Error) -> Fault) -> Result<(), Fault> {
    let found: String = read_pragma(connection, "integrity_check(1)").map_err(&judge)?;
    if found != "ok" {
        return Err(Fault::Damaged(found.chars().take(200).collect()));
    }
    let read = || {
        let mut statement = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name")?;
        let tables = statement.query_map([], |row| row.get::<_, Option<String>>(0))?;
        tables.collect::<rusqlite::Result<Vec<_>>>()
    };
    let tables = read().map_err(judge)?;
    if tables.iter().map(Option::as_deref).eq(TABLES.map(Some)) {
        Ok(())
    } else {
        Err(Fault::Damaged("its tables are not those of a front".to_owned()))
    }
}

type ReadRows = (Vec<(FrontId, u64, Row)>, RowsSum);

fn read_rows(connection: &Connection, judge: impl Fn(rusqlite::Error) -> Fault) -> Result<ReadRows, Fault> {
    let mut sum = RowsSum::default();
    let mut all = Vec::new();
    let mut statement =
        connection.prepare("SELECT author, key, message FROM row ORDER BY author, key").map_err(&judge)?;
    let mut rows = statement.query([]).map_err(&judge)?;
    while let Some(row) = rows.next().map_err(&judge)? {
        let author: u8 = row.get(0).map_err(&judge)?;
        let key: Vec<u8> = row.get(1).map_err(&judge)?;
        let message: Vec<u8> = row.get(2).map_err(&judge)?;
        sum.toggle(&message);
        let decoded = SyncMessage::decode(message.into());
        let Ok(SyncMessage::Rows(RowsPart { author: FrontId(of), incarnation, mut rows, .. })) = decoded else {
            return Err(Fault::Damaged("a row cannot be read".to_owned()));
        };
        match rows.pop() {
            Some(row) if rows.is_empty() && of == author && key_of(&row.key) == key => {
                all.push((FrontId(author), incarnation, row));
            }
            _ => return Err(Fault::Damaged("a row is not in its place".to_owned())),
        }
    }
    Ok((all, sum))
}

fn save_one(transaction: &Transaction<'_>, saved: &Saved, sum: &mut RowsSum) -> rusqlite::Result<()> {
    match saved {
        Saved::Epoch(epoch) => keep(transaction, record::EPOCH, &epoch_value(epoch)),
        Saved::Forget { author } => {
            let mut delete = transaction.prepare_cached("DELETE FROM row WHERE author = ? RETURNING message")?;
            let mut gone = delete.query([author.0])?;
            while let Some(row) = gone.next()? {
                sum.toggle(row.get_ref(0)?.as_blob()?);
            }
            Ok(())
        }
        Saved::Row { author, incarnation, row } => {
            let key = key_of(&row.key);
            let mut delete =
                transaction.prepare_cached("DELETE FROM row WHERE author = ? AND key = ? RETURNING message")?;
            let mut gone = delete.query(params![author.0, key])?;
            while let Some(row) = gone.next()? {
                sum.toggle(row.get_ref(0)?.as_blob()?);
            }
            drop(gone);
            if row.value.is_some() {
                let message = row_value(*author, *incarnation, row);
                sum.toggle(&message);
                let mut insert = transaction.prepare_cached("INSERT INTO row VALUES (?, ?, ?)")?;
                insert.execute(params![author.0, key, &message[..]])?;
            }
            Ok(())
        }
    }
}

/// SHA-256 of all rows, by exclusive or: the same whatever their order, and kept up with each change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RowsSum([u8; 32]);

impl RowsSum {
    /// Adds a row that was not there, or takes away one that was.
    fn toggle(&mut self, message: &[u8]) {
        for (sum, byte) in self.0.iter_mut().zip(Sha256::digest(message)) {
            *sum ^= byte;
        }
    }
}

/// A record of `kept`, proven.
fn kept(connection: &Connection, name: &str, judge: impl Fn(rusqlite::Error) -> Fault) -> Result<Vec<u8>, Fault> {
    let read = connection.query_row("SELECT value, proof FROM kept WHERE name = ?", [name], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
    });
    let (value, found) = read.map_err(judge)?;
    if found == proof(name, &value) {
        Ok(value)
    } else {
        Err(Fault::Damaged(format!("its record {name:?} does not match its proof")))
    }
}

fn keep(connection: &Connection, name: &str, value: &[u8]) -> rusqlite::Result<()> {
    let mut replace = connection.prepare_cached("REPLACE INTO kept VALUES (?, ?, ?)")?;
    replace.execute(params![name, value, proof(name, value)]).map(drop)
}

fn proof(name: &str, value: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(name).chain_update([0]).chain_update(value).finalize().into()
}

fn number(value: &[u8]) -> Result<u64, Fault> {
    let bytes = value.try_into().map_err(|_| Fault::Damaged("a number has another length".to_owned()))?;
    Ok(u64::from_be_bytes(bytes))
}

const FRESH: u8 = 0;
const LOST: u8 = 1;
const KEPT: u8 = 2;

fn ballot_value(ballot: RecoveredBallot) -> Vec<u8> {
    match ballot {
        RecoveredBallot::Fresh => vec![FRESH],
        RecoveredBallot::Lost => vec![LOST],
        RecoveredBallot::Kept { term, voted_for } => {
            let mut value = vec![KEPT];
            value.extend(term.to_be_bytes());
            value.extend(voted_for.map(|front| front.0));
            value
        }
    }
}

fn ballot(value: &[u8]) -> Result<RecoveredBallot, Fault> {
    let kept = |term: &[u8], voted_for| Ok(RecoveredBallot::Kept { term: number(term)?, voted_for });
    match value {
        [FRESH] => Ok(RecoveredBallot::Fresh),
        [LOST] => Ok(RecoveredBallot::Lost),
        [KEPT, term @ ..] if term.len() == 8 => kept(term, None),
        [KEPT, term @ .., front] if term.len() == 8 => kept(term, Some(FrontId(*front))),
        _ => Err(Fault::Damaged("its ballot cannot be read".to_owned())),
    }
}

/// Nothing before the first epoch.
fn epoch_value(epoch: &Epoch) -> Bytes {
    if epoch.number == EpochNumber::default() {
        return Bytes::new();
    }
    SyncMessage::Epoch(epoch.clone()).encode().freeze()
}

fn epoch(value: Vec<u8>) -> Result<Epoch, Fault> {
    if value.is_empty() {
        return Ok(Epoch::default());
    }
    match SyncMessage::decode(value.into()) {
        Ok(SyncMessage::Epoch(epoch)) => Ok(epoch),
        _ => Err(Fault::Damaged("its epoch cannot be read".to_owned())),
    }
}

/// A row as it would be told to another front, alone.
fn row_value(author: FrontId, incarnation: u64, row: &Row) -> Bytes {
    let part = RowsPart {
        author,
        incarnation,
        after: row.number.saturating_sub(1),
        upto: row.number,
        floor: 0,
        snapshot: false,
        rows: vec![row.clone()],
    };
    SyncMessage::Rows(part).encode().freeze()
}

fn key_of(key: &RowKey) -> Vec<u8> {
    match key {
        RowKey::Worker(name) => [&[1], name.as_bytes()].concat(),
        RowKey::Client(peer) => [&[2], &peer.0.0[..]].concat(),
        RowKey::Member { info_hash, peer } => [&[3], &info_hash.0.0[..], &peer.0.0[..]].concat(),
    }
}

fn read_pragma<T: rusqlite::types::FromSql>(connection: &Connection, pragma: &str) -> rusqlite::Result<T> {
    connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
}

/// Whether an error while reading speaks against the file or against its surroundings.
fn judge(path: &Path, error: rusqlite::Error) -> Fault {
    let surroundings = match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::PermissionDenied
            | ErrorCode::CannotOpen
            | ErrorCode::DiskFull
            | ErrorCode::OutOfMemory,
        ) => true,
        Some(ErrorCode::SystemIoFailure) => {
            let code = error.sqlite_error().map(|error| error.extended_code);
            // A file that ends too early, or a disk that knows it returned something else than was written.
            !matches!(code, Some(ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS))
        }
        _ => false,
    };
    if surroundings { Fault::Refused(sqlite_error(path, error)) } else { Fault::Damaged(error.to_string()) }
}

fn sqlite_error(path: &Path, error: rusqlite::Error) -> StateError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StateError::InUse { path },
        _ => StateError::Sqlite { path, error },
    }
}

fn ffi_error(code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}
