//! When each thing that a worker holds is announced: at once when it is new, again and again after that, paced, and
//! never more than a bounded number of things remembered.
//!
//! What is held is learned in two ways: as news ([`Announcing::news`]), and by a sweep that asks for everything held,
//! page by page, in order ([`Job::List`], [`Announcing::listed`]), once an interval. Where more is held than
//! can be remembered, the sweep waits, and what has been announced gives up its place when it is due again: so
//! everything gets its turn. Whether something is still held is asked when it is due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{DhtName, Item};
use crate::id::{ChunkId, InfoHash};
use crate::machine::{Instant, Rng, earliest};

/// How much is announced, and how often.
#[derive(Clone, Debug)]
pub struct Config {
    /// Least time between two announcements of one name, the first of which was heard.
    pub interval: Duration,
    /// Most time that is added to it, so that what was announced together is not announced together for ever.
    pub jitter: Duration,
    /// Pause after an announcement that failed; doubled each time, up to the interval, and jittered by half.
    pub retry: Duration,
    /// Least time between the beginnings of two announcements.
    pub pace: Duration,
    /// Most announcements open at once, at least one.
    pub most_open: usize,
    /// Most things remembered, at least eight. An eighth of the places is for news.
    pub most_items: usize,
    /// Decides among equals.
    pub seed: u64,
}

impl Config {
    /// Usual settings: every 27 to 30 minutes, since the DHT forgets who says nothing for longer; ten a second,
    /// sixteen at once; 65,536 things, of about 150 bytes each.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            interval: Duration::from_secs(27 * 60),
            jitter: Duration::from_secs(3 * 60),
            retry: Duration::from_secs(30),
            pace: Duration::from_millis(100),
            most_open: 16,
            most_items: 1 << 16,
            seed,
        }
    }
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// List what is held. Answered by [`Announcing::listed`], before which there is no other such job.
    List(Want),
    /// Announce this. Answered by [`Announcing::done`].
    Announce(Item),
}

/// A page of what is held that is to be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// What it is to list.
    pub sort: Sort,
    /// At most so many, at least one; fewer say that there are no more.
    pub most: usize,
}

/// What a page lists: the smallest there are in order, after the one named if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Shares held.
    Shares(Option<InfoHash>),
    /// Chunks held.
    Chunks(Option<ChunkId>),
}

/// What it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Announcements that were heard.
    pub announced: u64,
    /// Announcements that were not.
    pub failed: u64,
    /// Things remembered now.
    pub items: usize,
}

#[derive(Debug)]
struct Entry {
    item: Item,
    /// Not before this.
    due: Instant,
    /// Its place among news that nobody has been told yet.
    fresh: Option<u64>,
    open: bool,
    /// An announcement of it was heard, ever.
    heard: bool,
    /// In a row.
    failures: u32,
}

#[derive(Debug)]
enum Sweep {
    /// Everything has been listed.
    Resting { until: Instant },
    /// On the way.
    At { sort: Sort, began: Instant, not_before: Instant },
    /// This page is being listed.
    Asked { want: Want, began: Instant },
}

/// Decides what is announced next. Whoever drives it calls [`Announcing::next`] until it says `None`, after everything
/// it is told and at [`Announcing::next_wake`].
#[derive(Debug)]
pub struct Announcing {
    config: Config,
    rng: Rng,
    entries: BTreeMap<DhtName, Entry>,
    /// What is not open, by time.
    due: BTreeSet<(Instant, DhtName)>,
    /// News nobody has been told, by age.
    fresh: BTreeSet<(u64, DhtName)>,
    next_fresh: u64,
    /// Whether the last one chosen was news before its time.
    jumped: bool,
    open: usize,
    free_at: Instant,
    sweep: Sweep,
    /// The sweep waits for places.
    crowded: bool,
    stats: Stats,
}

impl Announcing {
    /// Nothing is held yet, as far as it knows.
    ///
    /// # Panics
    /// If the settings leave no room.
    #[must_use]
    pub fn new(config: Config) -> Self {
        assert!(config.most_open > 0 && config.most_items >= 8, "nothing could be announced: {config:?}");
        Self {
            rng: Rng::new(config.seed),
            config,
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            fresh: BTreeSet::new(),
            next_fresh: 0,
            jumped: false,
            open: 0,
            free_at: Instant::ZERO,
            sweep: Sweep::Resting { until: Instant::ZERO },
            crowded: false,
            stats: Stats::default(),
        }
    }

    /// `item` is held since just now. True if it will be announced; if there is no place for it, the sweep finds it
    /// later.
    pub fn news(&mut self, now: Instant, item: Item) -> bool {
        let name = item.name();
        let is_share = matches!(item, Item::Share(_));
        match self.entries.get(&name) {
            Some(entry) if entry.heard || entry.open || entry.failures > 0 || !is_share => return true,
            Some(_) => {}
            None if self.entries.len() >= self.config.most_items => return false,
            None => self.add(now, item),
        }
        if is_share {
            self.next_fresh += 1;
            let entry = self.entries.get_mut(&name).expect("it was added above");
            let before = entry.fresh.replace(self.next_fresh);
            self.fresh.insert((self.next_fresh, name));
            if let Some(before) = before {
                self.fresh.remove(&(before, name));
            }
        }
        true
    }

    /// What to do now; `held` says whether a thing is still held.
    pub fn next(&mut self, now: Instant, held: impl FnMut(&Item) -> bool) -> Option<Job> {
        if let Some(want) = self.want(now) {
            return Some(Job::List(want));
        }
        let items = self.entries.len();
        if let Some(item) = self.begin(now, held) {
            return Some(Job::Announce(item));
        }
        // What gave up its place may let the sweep go on.
        if self.entries.len() < items { self.want(now).map(Job::List) } else { None }
    }

    /// The page that was wanted; `None` if it could not be listed.
    ///
    /// # Panics
    /// If no page was wanted, or this one is larger.
    pub fn listed(&mut self, now: Instant, page: Option<&[Item]>) {
        let Sweep::Asked { want, began } = self.sweep else { panic!("a page that was not asked for") };
        let Some(page) = page else {
            self.sweep = Sweep::At { sort: want.sort, began, not_before: now + self.config.retry };
            return;
        };
        assert!(page.len() <= want.most, "a page larger than was asked for");
        for item in page {
            if self.entries.len() < self.config.most_items && !self.entries.contains_key(&item.name()) {
                self.add(now, *item);
            }
        }
        let sort = match (page.last().filter(|_| page.len() == want.most), want.sort) {
            (Some(Item::Share(last)), _) => Sort::Shares(Some(*last)),
            (Some(Item::Chunk(last)), _) => Sort::Chunks(Some(*last)),
            (None, Sort::Shares(_)) => Sort::Chunks(None),
            (None, Sort::Chunks(_)) => {
                self.crowded = false;
                let until = (began + self.config.interval).max(now + self.config.retry);
                self.sweep = Sweep::Resting { until };
                return;
            }
        };
        self.sweep = Sweep::At { sort, began, not_before: now };
    }

    /// An announcement has ended, and was heard or not.
    ///
    /// # Panics
    /// If none of this name is open.
    pub fn done(&mut self, now: Instant, name: DhtName, heard: bool) {
        let entry = self.entries.get_mut(&name).filter(|entry| entry.open).expect("an announcement that began");
        entry.open = false;
        self.open -= 1;
        let wait = if heard {
            self.stats.announced += 1;
            entry.failures = 0;
            entry.heard = true;
            self.config.interval + part_of(self.config.jitter, &mut self.rng)
        } else {
            self.stats.failed += 1;
            entry.failures = entry.failures.saturating_add(1);
            let doubled = self.config.retry.saturating_mul(1 << (entry.failures - 1).min(16));
            let pause = doubled.min(self.config.interval);
            pause / 2 + part_of(pause / 2, &mut self.rng)
        };
        entry.due = now + wait;
        self.due.insert((entry.due, name));
    }

    /// Whether the DHT has been told of this name, and again whenever that was due.
    #[must_use]
    pub fn is_announced(&self, name: DhtName) -> bool {
        self.entries.get(&name).is_some_and(|entry| entry.heard && entry.failures == 0)
    }

    /// Whether the last announcement of this name was not heard, and the next waits for its time.
    #[must_use]
    pub fn is_failing(&self, name: DhtName) -> bool {
        self.entries.get(&name).is_some_and(|entry| entry.failures > 0 && !entry.open)
    }

    /// When to be asked again if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        let first = self.due.first().map(|(due, _)| *due);
        let fresh = self.fresh.first().map(|_| self.free_at);
        let chosen = earliest([first, fresh]).filter(|_| self.open < self.config.most_open);
        let swept = match self.sweep {
            Sweep::Resting { until } => Some(until),
            Sweep::At { not_before, .. } => Some(not_before).filter(|_| self.page() > 0),
            Sweep::Asked { .. } => None,
        };
        earliest([chosen.map(|at| at.max(self.free_at)), swept])
    }

    /// What it has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { items: self.entries.len(), ..self.stats }
    }

    fn add(&mut self, now: Instant, item: Item) {
        let name = item.name();
        let entry = Entry { item, due: now, fresh: None, open: false, heard: false, failures: 0 };
        self.entries.insert(name, entry);
        self.due.insert((now, name));
    }

    fn want(&mut self, now: Instant) -> Option<Want> {
        if let Sweep::Resting { until } = self.sweep
            && until <= now
        {
            self.sweep = Sweep::At { sort: Sort::Shares(None), began: now, not_before: now };
        }
        let Sweep::At { sort, began, not_before } = self.sweep else { return None };
        if not_before > now {
            return None;
        }
        let most = self.page();
        if most == 0 {
            self.crowded = true;
            return None;
        }
        let want = Want { sort, most };
        self.sweep = Sweep::Asked { want, began };
        Some(want)
    }

    fn begin(&mut self, now: Instant, mut held: impl FnMut(&Item) -> bool) -> Option<Item> {
        while self.open < self.config.most_open && self.free_at <= now {
            let name = self.choose(now)?;
            let entry = self.entries.get_mut(&name).expect("what is queued is there");
            self.due.remove(&(entry.due, name));
            if let Some(number) = entry.fresh.take() {
                self.fresh.remove(&(number, name));
            }
            if !held(&entry.item) || self.crowded && entry.heard && entry.failures == 0 {
                self.entries.remove(&name);
                continue;
            }
            entry.open = true;
            self.open += 1;
            self.free_at = now + self.config.pace;
            return Some(entry.item);
        }
        None
    }

    /// The newest share that nobody has been told, or whatever has been due for longest: in turns, so that
    /// neither waits for ever.
    fn choose(&mut self, now: Instant) -> Option<DhtName> {
        let newest = self.fresh.last().map(|(_, name)| *name);
        let longest = self.due.first().filter(|(due, _)| *due <= now).map(|(_, name)| *name);
        self.jumped = newest.is_some() && !(self.jumped && longest.is_some());
        if self.jumped { newest } else { longest }
    }

    /// How many the sweep may list now. Where it has to wait for places, it waits for a whole page.
    fn page(&self) -> usize {
        const LARGEST: usize = 1024;
        let places = self.config.most_items - self.config.most_items / 8;
        let page = LARGEST.min(places.div_ceil(8));
        let room = places.saturating_sub(self.entries.len());
        if self.crowded && room < page { 0 } else { page.min(room) }
    }
}

/// A time from nothing to `whole`.
fn part_of(whole: Duration, rng: &mut Rng) -> Duration {
    let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.below(nanos.saturating_add(1)))
}
