//! How tables come to agree: digests, parts, snapshots. Sends nothing by itself.

use std::collections::BTreeMap;

use super::{Change, Key, Offence, Table, Value, row_weight};
use crate::cluster::FrontId;
use crate::wire::sync::{AuthorDigest, MAX_NUMBER, Row, RowsPart};

/// A snapshot of which nothing came for this many digests may be given up for an older one (R5).
const PATIENCE: u32 = 4;

/// A snapshot that is not whole yet.
#[derive(Debug)]
pub(super) struct Gathering<K, V> {
    incarnation: u64,
    /// It has the rows up to here.
    upto: u64,
    /// It is whole here.
    floor: u64,
    rows: BTreeMap<K, (u64, Option<V>)>,
    bytes: usize,
    /// Digests since something came.
    idle: u32,
}

impl<K, V> Gathering<K, V> {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// What another front said last, and what it was sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// Its last digest; absent since it connected.
    digest: Option<Vec<AuthorDigest>>,
    /// Authors of whom its last two digests say the same.
    resting: Vec<FrontId>,
    /// Our changes that it knows.
    acknowledged: u64,
    /// Our changes that it was sent; absent as long as it knows nothing of this life.
    sent: Option<u64>,
    /// What had been sent when its last digest came.
    sent_before: u64,
}

impl Peer {
    pub(super) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(super) const fn knows_nothing_of_us(&mut self) {
        self.acknowledged = 0;
        self.sent = None;
        self.sent_before = 0;
    }

    /// What its last digest says of `author`.
    fn knows(&self, author: FrontId) -> Option<AuthorDigest> {
        self.digest.iter().flatten().find(|digest| digest.author == author).copied()
    }

    /// It knows our changes up to `number`. What was sent longer than a digest ago and is not in it is lost (R7).
    fn acknowledges(&mut self, number: u64) {
        self.acknowledged = number;
        let lost = number < self.sent_before;
        let sent = self.sent.filter(|_| !lost).map_or(number, |sent| sent.max(number));
        self.sent = Some(sent);
        self.sent_before = sent;
    }
}

/// How to bring another front up to date.
enum Plan {
    Nothing,
    /// All that changed after a number.
    Delta {
        after: u64,
    },
    /// Rows after a number of a snapshot that is whole at `floor`.
    Snapshot {
        after: u64,
        floor: u64,
    },
}

impl<K: Key, V: Value> Table<K, V> {
    /// What this front knows, to be sent to the others now and then.
    pub fn digest(&mut self) -> Vec<AuthorDigest> {
        let authors = (0..self.peers.len() as u8).map(FrontId);
        authors
            .zip(&mut self.gathering)
            .filter_map(|(author, gathering)| {
                if let Some(gathering) = gathering {
                    gathering.idle = gathering.idle.saturating_add(1);
                    let Gathering { incarnation, upto, floor, .. } = *gathering;
                    return Some(AuthorDigest { author, incarnation, number: upto, floor });
                }
                let journal = self.store.journal(author);
                let digest = AuthorDigest {
                    author,
                    incarnation: journal.incarnation,
                    number: journal.number,
                    floor: journal.floor,
                };
                (digest.incarnation > 0).then_some(digest)
            })
            .collect()
    }

    /// Takes the digest of `from`: [`Table::answer`] it then. `Some` names a life of this front that others have
    /// seen and that is not before the present one, though it knows nothing of it: [`Table::reincarnate`] above it
    /// (R8).
    ///
    /// # Errors
    /// Names what is wrong with the digest, which counts for nothing then.
    ///
    /// # Panics
    /// If `from` does not exist or is this front.
    pub fn hear(&mut self, from: FrontId, digest: Vec<AuthorDigest>) -> Result<Option<u64>, Offence> {
        assert!(from != self.me, "a front does not hear itself");
        for AuthorDigest { author, incarnation, .. } in &digest {
            if usize::from(author.0) >= self.peers.len() {
                return Err(Offence::UnknownAuthor { author: *author });
            }
            if *author == self.me && *incarnation >= MAX_NUMBER {
                return Err(Offence::LastLife);
            }
        }
        let peer = &mut self.peers[usize::from(from.0)];
        let authors = (0..self.gathering.len() as u8).map(FrontId);
        let before = peer.digest.take();
        let entry = |digest: &[AuthorDigest], author| digest.iter().find(|entry| entry.author == author).copied();
        peer.resting = before.map_or_else(Vec::new, |before| {
            authors.filter(|author| entry(&before, *author) == entry(&digest, *author)).collect()
        });
        peer.digest = Some(digest);
        let (of_author, of_us) = (peer.knows(from), peer.knows(self.me));

        if let Some(theirs) = of_author {
            let journal = self.store.journal(from);
            if theirs.incarnation == journal.incarnation && theirs.floor <= journal.number {
                self.store.raise_floor(from, theirs.floor);
            }
        }
        let mine = self.store.journal(self.me);
        let (incarnation, number) = (mine.incarnation, mine.number);
        let outlived = of_us.filter(|theirs| {
            let ahead = theirs.number.max(theirs.floor) > number;
            theirs.incarnation > incarnation || (theirs.incarnation == incarnation && ahead)
        });
        let peer = &mut self.peers[usize::from(from.0)];
        match of_us.filter(|theirs| theirs.incarnation == incarnation && theirs.number >= theirs.floor) {
            Some(theirs) if outlived.is_none() => peer.acknowledges(theirs.number),
            _ => peer.knows_nothing_of_us(),
        }
        self.collect();
        Ok(outlived.map(|theirs| theirs.incarnation))
    }

    /// Notes that the connection to `front` is gone: what was sent may be lost, what it knows is unknown.
    ///
    /// # Panics
    /// If `front` does not exist.
    pub fn disconnected(&mut self, front: FrontId) {
        let peer = &mut self.peers[usize::from(front.0)];
        let acknowledged = peer.acknowledged;
        *peer = Peer { acknowledged, ..Peer::default() };
    }

    /// What `to` lacks by its last digest, in at most about `budget` bytes of rows; the rest follows upon its next
    /// digests. Others' rows only if they have not reached it otherwise (R4).
    ///
    /// # Panics
    /// If `to` does not exist.
    pub fn answer(&mut self, to: FrontId, budget: usize) -> Vec<RowsPart<K, V>> {
        let mut budget = budget;
        let mut parts = Vec::new();
        let own = std::iter::once(self.me);
        let others = self.others().map(|author| FrontId(author as u8)).filter(|author| *author != to);
        for author in own.chain(others) {
            let (after, floor) = match self.plan(to, author) {
                Plan::Nothing => continue,
                Plan::Delta { after } => (after, None),
                Plan::Snapshot { after, floor } => (after, Some(floor)),
            };
            let from = parts.len();
            self.cut(author, after, floor, &mut budget, &mut parts);
            if author == self.me && floor.is_none() {
                self.note_sent(to, &parts[from..]);
            }
        }
        parts
    }

    /// This front's own changes since it last sent any to `to`, at most about `budget` bytes of rows: news need not
    /// wait for a digest (R7). Nothing before the first digest of `to`.
    ///
    /// # Panics
    /// If `to` does not exist.
    pub fn news(&mut self, to: FrontId, budget: usize) -> Vec<RowsPart<K, V>> {
        let mut parts = Vec::new();
        let journal = self.store.journal(self.me);
        let sent = self.peers[usize::from(to.0)].sent;
        if let Some(after) = sent.filter(|sent| (journal.floor..journal.number).contains(sent)) {
            let mut budget = budget;
            self.cut(self.me, after, None, &mut budget, &mut parts);
            self.note_sent(to, &parts);
        }
        parts
    }

    /// Takes a part, as the codec lets it through; what changed. A part that does not join what is known changes
    /// nothing: a digest will ask again.
    ///
    /// # Errors
    /// Names what its sender should not have said; no row changed then.
    ///
    /// # Panics
    /// If the part's rows are out of order, or its incarnation is 0, which the codec refuses.
    pub fn apply(&mut self, part: RowsPart<K, V>) -> Result<Vec<Change<K, V>>, Offence> {
        assert!(part.is_in_order() && part.incarnation > 0, "a part that the codec lets through");
        let author = part.author;
        if usize::from(author.0) >= self.peers.len() {
            return Err(Offence::UnknownAuthor { author });
        }
        if author == self.me {
            return Err(Offence::OwnRows);
        }
        let journal = self.store.journal(author);
        if part.incarnation == journal.incarnation && part.floor <= journal.number {
            if part.after > journal.number {
                return Ok(Vec::new());
            }
            return self.extend(part);
        }
        if part.snapshot && part.incarnation >= journal.incarnation {
            return self.gather(part);
        }
        Ok(Vec::new())
    }

    /// R2: the part begins where we are or before, and leaves out no removal that we do not know.
    fn extend(&mut self, part: RowsPart<K, V>) -> Result<Vec<Change<K, V>>, Offence> {
        let RowsPart { author, upto, floor, snapshot, rows, .. } = part;
        let journal = self.store.journal(author);
        let known = journal.number;
        if upto > known {
            let mut count = journal.rows() + journal.tombstones();
            if !snapshot {
                count -= journal.removals_up_to(floor);
            }
            let mut bytes = journal.bytes();
            for row in rows.iter().filter(|row| row.number > known) {
                let held = self.store.weight(author, &row.key);
                count += usize::from(held.is_none());
                bytes += row.value.as_ref().map_or(0, |value| row_weight(&row.key, Some(value)));
                bytes = bytes.saturating_sub(held.unwrap_or(0));
            }
            self.check_excess(author, count, bytes)?;
        }
        if !snapshot {
            self.store.raise_floor(author, floor);
        }
        let news = rows.into_iter().filter(|row| row.number > known);
        let changes: Vec<_> =
            news.map(|Row { key, number, value }| self.store.set(author, key, number, value)).collect();
        self.store.complete(author, upto);
        let journal = self.store.journal(author);
        let gathering = &mut self.gathering[usize::from(author.0)];
        let overtaken =
            |g: &mut Gathering<K, V>| g.incarnation == journal.incarnation && g.floor <= journal.number;
        let _ = gathering.take_if(overtaken);
        Ok(changes.into_iter().filter(|change| change.old != change.new).collect())
    }

    /// R5: a snapshot is gathered aside, and replaces all that there is of the author once it is whole.
    fn gather(&mut self, part: RowsPart<K, V>) -> Result<Vec<Change<K, V>>, Offence> {
        let RowsPart { author, incarnation, after, upto, floor, rows, .. } = part;
        let slot = &mut self.gathering[usize::from(author.0)];
        let mut gathering = match slot.take() {
            Some(old) if (old.incarnation, old.floor) == (incarnation, floor) && after <= old.upto => old,
            Some(old)
                if after > 0 || ((incarnation, floor) <= (old.incarnation, old.floor) && old.idle < PATIENCE) =>
            {
                *slot = Some(old);
                return Ok(Vec::new());
            }
            None if after > 0 => return Ok(Vec::new()),
            _ => Gathering { incarnation, upto: 0, floor, rows: BTreeMap::new(), bytes: 0, idle: 0 },
        };
        if upto > gathering.upto {
            gathering.idle = 0;
        }
        for Row { key, number, value } in rows.into_iter().filter(|row| row.number > gathering.upto) {
            let weight = |value: &Option<V>| value.as_ref().map_or(0, |value| row_weight(&key, Some(value)));
            gathering.bytes += weight(&value);
            if let Some((_, old)) = gathering.rows.get(&key) {
                gathering.bytes -= weight(old);
            }
            gathering.rows.insert(key, (number, value));
        }
        gathering.upto = gathering.upto.max(upto);
        self.check_excess(author, gathering.rows.len(), gathering.bytes)?;
        if gathering.upto < gathering.floor {
            self.gathering[usize::from(author.0)] = Some(gathering);
            return Ok(Vec::new());
        }
        let Gathering { upto, floor, rows, .. } = gathering;
        Ok(self.store.replace(author, incarnation, upto, floor, rows))
    }

    fn check_excess(&self, author: FrontId, count: usize, bytes: usize) -> Result<(), Offence> {
        let limit = self.limits.rows + self.limits.tombstones;
        if count > limit {
            return Err(Offence::TooManyRows { author, limit });
        }
        let limit = self.limits.bytes * 2;
        if bytes > limit {
            return Err(Offence::TooManyBytes { author, limit });
        }
        Ok(())
    }

    fn plan(&self, to: FrontId, author: FrontId) -> Plan {
        let peer = &self.peers[usize::from(to.0)];
        let journal = self.store.journal(author);
        let may = author == self.me || peer.resting.contains(&author);
        if peer.digest.is_none() || journal.incarnation == 0 || !may {
            return Plan::Nothing;
        }
        let anew = Plan::Snapshot { after: 0, floor: journal.number };
        let Some(theirs) = peer.knows(author).filter(|theirs| theirs.incarnation >= journal.incarnation) else {
            return anew;
        };
        if theirs.incarnation > journal.incarnation {
            return Plan::Nothing;
        }
        if theirs.number < theirs.floor {
            // R5: removals up to the snapshot's floor are told by nobody, so whoever adds to it must know them all.
            let can_add = journal.number >= theirs.floor && journal.floor <= theirs.floor;
            return if can_add { Plan::Snapshot { after: theirs.number, floor: theirs.floor } } else { anew };
        }
        if journal.floor > theirs.number {
            return anew;
        }
        let after = if author == self.me { peer.sent.unwrap_or(theirs.number) } else { theirs.number };
        if journal.number > after { Plan::Delta { after } } else { Plan::Nothing }
    }

    /// The rows of `author` after `after` in parts; of a snapshot if it has a floor.
    fn cut(
        &self,
        author: FrontId,
        after: u64,
        snapshot: Option<u64>,
        budget: &mut usize,
        parts: &mut Vec<RowsPart<K, V>>,
    ) {
        let journal = self.store.journal(author);
        let mut after = after;
        while *budget > 0 {
            let most = self.limits.part_bytes.min(*budget);
            let (mut rows, mut bytes, mut upto) = (Vec::new(), 0, journal.number);
            for (number, key, value) in self.store.since(author, after) {
                if value.is_none() && snapshot.is_some_and(|floor| number <= floor) {
                    continue;
                }
                let weight = row_weight(key, value);
                if bytes + weight > most
                    && let Some(Row { number, .. }) = rows.last()
                {
                    upto = *number;
                    break;
                }
                bytes += weight;
                rows.push(Row { key: key.clone(), number, value: value.cloned() });
            }
            *budget = budget.saturating_sub(bytes);
            let (incarnation, floor) = (journal.incarnation, snapshot.unwrap_or(journal.floor));
            parts.push(RowsPart { author, incarnation, after, upto, floor, snapshot: snapshot.is_some(), rows });
            after = upto;
            if after == journal.number {
                break;
            }
        }
    }

    fn note_sent(&mut self, to: FrontId, parts: &[RowsPart<K, V>]) {
        if let Some(last) = parts.last() {
            self.peers[usize::from(to.0)].sent = Some(last.upto);
        }
    }
}
