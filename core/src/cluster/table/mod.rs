//! What every front knows of the others' workers and clients: rows of one author each, and only the author changes
//! them. Fronts tell each other what they know, and whoever knows more sends what is missing, so that all come to
//! the same table whatever is lost, repeated or reordered. The rules are in `docs/replication.md`, cited as R1 to
//! R9. It never trusts another front with more memory than its limits, and never tells rows that it is not sure of.

mod exchange;
mod store;

use std::fmt;
use std::ops::RangeBounds;

use self::exchange::{Gathering, Peer};
use self::store::Store;
use super::FrontId;
use crate::wire::sync::{MAX_NUMBER, RowKey, RowValue};
use crate::wire::sync_codec::ROW_HEAD;

/// What a table is made of.
#[derive(Clone, Copy, Debug)]
pub struct TableConfig {
    /// The front that it is of.
    pub me: FrontId,
    /// How many fronts there are, 1 to [`super::MAX_FRONTS`].
    pub fronts: u8,
    /// Which life of this front this is, from 1: higher than in any life before.
    pub incarnation: u64,
    /// How much it holds; the same at every front.
    pub limits: TableLimits,
}

/// How much a table holds of each author.
#[derive(Clone, Copy, Debug)]
pub struct TableLimits {
    /// Rows that have a value.
    pub rows: usize,
    /// Removals that are remembered because some front may not know of them.
    pub tombstones: usize,
    /// Bytes of rows that have a value, as they take in a message. Twice that is borne of others: while news
    /// arrive, old values stand beside new ones.
    pub bytes: usize,
    /// Bytes of rows in one part, more than any row has.
    pub part_bytes: usize,
}

/// Bytes that something takes in a message.
pub trait Weigh {
    /// How many.
    fn weight(&self) -> usize;
}

impl Weigh for RowKey {
    fn weight(&self) -> usize {
        self.encoded_len()
    }
}

impl Weigh for RowValue {
    fn weight(&self) -> usize {
        self.encoded_len()
    }
}

/// What a table can hold rows of.
pub trait Key: Ord + Clone + fmt::Debug + Weigh {}
impl<T: Ord + Clone + fmt::Debug + Weigh> Key for T {}

/// What a table's rows can say.
pub trait Value: Eq + Clone + fmt::Debug + Weigh {}
impl<T: Eq + Clone + fmt::Debug + Weigh> Value for T {}

fn row_weight<K: Weigh, V: Weigh>(key: &K, value: Option<&V>) -> usize {
    ROW_HEAD + key.weight() + value.map_or(0, Weigh::weight)
}

/// A row that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<K, V> {
    /// Whose row.
    pub author: FrontId,
    /// What it is about.
    pub key: K,
    /// The author's count of changes when it came to this, as far as is known here.
    pub number: u64,
    /// What held before; absent if nothing did.
    pub old: Option<V>,
    /// What holds now; absent if nothing does.
    pub new: Option<V>,
}

/// Why a row is refused. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// There are as many rows as are held of one author.
    #[error("a front has at most {limit} rows")]
    Rows {
        /// How many.
        limit: usize,
    },
    /// There are as many bytes as are held of one author.
    #[error("a front's rows have at most {limit} bytes")]
    Bytes {
        /// How many.
        limit: usize,
    },
}

/// What another front should not have said. No row changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Offence {
    /// It speaks of a front that there is not.
    #[error("it speaks of {author}, which does not exist")]
    UnknownAuthor {
        /// The author it named.
        author: FrontId,
    },
    /// It tells us our own rows.
    #[error("it tells us rows of our own")]
    OwnRows,
    /// It speaks of a life of this front after which there can be none.
    #[error("it claims that this front has lived its last life")]
    LastLife,
    /// The author would have more rows than are held of one, counting removals.
    #[error("it tells more than {limit} rows of {author}")]
    TooManyRows {
        /// Whose rows.
        author: FrontId,
        /// How many are borne.
        limit: usize,
    },
    /// The author's rows would have more bytes than are held of one.
    #[error("it tells more than {limit} bytes of rows of {author}")]
    TooManyBytes {
        /// Whose rows.
        author: FrontId,
        /// How many are borne.
        limit: usize,
    },
}

/// How much is held of one author.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthorStats {
    /// Rows that have a value.
    pub rows: usize,
    /// Removals that are remembered.
    pub tombstones: usize,
    /// Bytes of rows that have a value.
    pub bytes: usize,
    /// Rows and removals of a snapshot that is being gathered.
    pub gathered: usize,
}

/// The table of one front. See the module's documentation.
#[derive(Debug)]
pub struct Table<K = RowKey, V = RowValue> {
    me: FrontId,
    limits: TableLimits,
    store: Store<K, V>,
    /// By author: a snapshot that is not whole yet.
    gathering: Vec<Option<Gathering<K, V>>>,
    /// By front: what it said, and what it was sent.
    peers: Vec<Peer>,
}

impl<K: Key, V: Value> Table<K, V> {
    /// An empty table.
    ///
    /// # Panics
    /// If `config` is outside the ranges that its documentation gives.
    #[must_use]
    pub fn new(config: TableConfig) -> Self {
        let TableConfig { me, fronts, incarnation, limits } = config;
        let count = usize::from(fronts);
        assert!((1..=super::MAX_FRONTS).contains(&count) && me.0 < fronts, "{me} of {fronts} fronts");
        assert!((1..=MAX_NUMBER).contains(&incarnation), "life {incarnation}");
        let mut store = Store::new(count);
        store.live_on(me, incarnation);
        let gathering = (0..count).map(|_| None).collect();
        Self { me, limits, store, gathering, peers: vec![Peer::default(); count] }
    }

    /// Says what holds for `key`, by this front; what changed, if anything did.
    ///
    /// # Errors
    /// If a limit is reached; nothing changed then.
    pub fn put(&mut self, key: K, value: V) -> Result<Option<Change<K, V>>, Full> {
        if self.get(self.me, &key) == Some(&value) {
            return Ok(None);
        }
        self.check_room(self.me, &key, &value)?;
        Ok(Some(self.change(key, Some(value))))
    }

    /// Says that nothing holds for `key` any more, by this front; what changed, if anything did.
    pub fn remove(&mut self, key: &K) -> Option<Change<K, V>> {
        self.get(self.me, key)?;
        let change = self.change(key.clone(), None);
        self.collect();
        Some(change)
    }

    /// Takes a row that an earlier run kept, of another front: it holds until that front's rows arrive, all of them
    /// at once, and is told to nobody (R9). Does nothing once some have arrived.
    ///
    /// # Errors
    /// If a limit is reached; nothing changed then.
    ///
    /// # Panics
    /// If `author` does not exist or is this front, whose rows ended with that run.
    pub fn recover(&mut self, author: FrontId, key: K, value: V) -> Result<Option<Change<K, V>>, Full> {
        assert!(author != self.me, "a front begins without rows of its own");
        let journal = self.store.journal(author);
        if journal.incarnation > 0 || self.get(author, &key) == Some(&value) {
            return Ok(None);
        }
        let number = journal.number + 1;
        self.check_room(author, &key, &value)?;
        Ok(Some(self.store.set(author, key, number, Some(value))))
    }

    /// Lets this front go on in a later life, with the rows that it has: others have seen a later one than this
    /// (R8). To be kept on disk first.
    ///
    /// # Panics
    /// If `incarnation` is not later than the present one, or above [`MAX_NUMBER`].
    pub fn reincarnate(&mut self, incarnation: u64) {
        assert!((self.incarnation() + 1..=MAX_NUMBER).contains(&incarnation), "life {incarnation}");
        self.store.live_on(self.me, incarnation);
        self.peers.iter_mut().for_each(Peer::knows_nothing_of_us);
    }

    /// Drops all that is known of `author`; it comes back with what others still know.
    ///
    /// # Panics
    /// If `author` does not exist or is this front.
    pub fn forget(&mut self, author: FrontId) -> Vec<Change<K, V>> {
        assert!(author != self.me, "a front does not forget itself");
        self.gathering[usize::from(author.0)] = None;
        self.store.clear(author)
    }

    /// How many fronts there are.
    #[must_use]
    pub const fn fronts(&self) -> u8 {
        self.peers.len() as u8
    }

    /// Which life of this front this is.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.store.journal(self.me).incarnation
    }

    /// Which life of `author` is known, and up to which change; no life (0) if none is, or only what an earlier run
    /// of this front kept.
    #[must_use]
    pub fn known(&self, author: FrontId) -> (u64, u64) {
        let journal = self.store.journal(author);
        if journal.incarnation > 0 { (journal.incarnation, journal.number) } else { (0, 0) }
    }

    /// What `author` says of `key`.
    #[must_use]
    pub fn get(&self, author: FrontId, key: &K) -> Option<&V> {
        self.of(key).find(|(by, _)| *by == author).map(|(_, value)| value)
    }

    /// What each author says of `key`, in order of authors.
    pub fn of(&self, key: &K) -> impl Iterator<Item = (FrontId, &V)> {
        self.store.of(key)
    }

    /// All that anyone says of keys in `range`, by key and author.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl Iterator<Item = (FrontId, &K, &V)> {
        self.store.range(range)
    }

    /// All that anyone says, by key and author.
    pub fn iter(&self) -> impl Iterator<Item = (FrontId, &K, &V)> {
        self.range(..)
    }

    /// All that `author` says, by age.
    pub fn by(&self, author: FrontId) -> impl Iterator<Item = (&K, &V)> {
        self.store.since(author, 0).filter_map(|(_, key, value)| Some((key, value?)))
    }

    /// How much is held of `author`.
    #[must_use]
    pub fn stats(&self, author: FrontId) -> AuthorStats {
        let journal = self.store.journal(author);
        AuthorStats {
            rows: journal.rows(),
            tombstones: journal.tombstones(),
            bytes: journal.bytes(),
            gathered: self.gathering[usize::from(author.0)].as_ref().map_or(0, Gathering::len),
        }
    }

    fn check_room(&self, author: FrontId, key: &K, value: &V) -> Result<(), Full> {
        let journal = self.store.journal(author);
        let old = self.get(author, key).map(|old| row_weight(key, Some(old)));
        let TableLimits { rows, bytes, .. } = self.limits;
        if old.is_none() && journal.rows() >= rows {
            return Err(Full::Rows { limit: rows });
        }
        if journal.bytes() - old.unwrap_or(0) + row_weight(key, Some(value)) > bytes {
            return Err(Full::Bytes { limit: bytes });
        }
        Ok(())
    }

    fn change(&mut self, key: K, value: Option<V>) -> Change<K, V> {
        let number = self.store.journal(self.me).number + 1;
        assert!(number <= MAX_NUMBER, "no front makes 2^62 changes");
        self.store.set(self.me, key, number, value)
    }

    /// Forgets own removals that every front knows of, and the oldest beyond the limit (R6).
    fn collect(&mut self) {
        let known = self.others().map(|front| self.peers[front].acknowledged()).min();
        let floor =
            known.unwrap_or(MAX_NUMBER).max(self.store.journal(self.me).oldest_beyond(self.limits.tombstones));
        self.store.forget_removals(self.me, floor);
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<K, V> {
        let me = usize::from(self.me.0);
        (0..self.peers.len()).filter(move |front| *front != me)
    }
}
