//! Who reads the chunks of a share in their order, so that the next can be fetched before they are asked for.
//!
//! The order is that of the `.ko`, which every reader asks about first: unlike an order that was seen, it is known for
//! the first reader too. Remembers a bounded number of bytes of it; never reads or fetches anything itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use lru::LruCache;

use super::Worker;
use crate::id::{ChunkId, InfoHash};
use crate::machine::Instant;
use crate::metainfo::Metainfo;
use crate::rtc::ConnId;
use crate::store::ReaderId;

/// Most pieces of all shares whose order is remembered: about 20 MB.
const MAX_PIECES: usize = 1 << 18;
/// From so many steps on, somebody reads in order.
const STEPS: u32 = 2;
/// Chunks that are told ahead.
const AHEAD: usize = 2;

/// The chunks of a share in their order.
#[derive(Debug)]
struct Order {
    chunks: Vec<ChunkId>,
    /// Where each is first, by chunk.
    places: Vec<(ChunkId, u32)>,
}

impl Order {
    fn of(metainfo: &Metainfo) -> Self {
        let chunks: Vec<ChunkId> = metainfo.pieces().iter().map(|piece| piece.chunk).collect();
        let mut places: Vec<(ChunkId, u32)> = chunks.iter().copied().zip(0..).collect();
        places.sort_unstable();
        places.dedup_by_key(|(chunk, _)| *chunk);
        Self { chunks, places }
    }

    fn place_of(&self, chunk: ChunkId) -> Option<u32> {
        let found = self.places.binary_search_by_key(&chunk, |(chunk, _)| *chunk).ok()?;
        Some(self.places[found].1)
    }

    fn chunk(&self, place: u32) -> Option<ChunkId> {
        self.chunks.get(place as usize).copied()
    }
}

/// Where somebody is in a share.
#[derive(Debug)]
struct Reading {
    order: Arc<Order>,
    at: Option<u32>,
    /// Steps in order up to there.
    steps: u32,
}

/// What each session reads, and the order of what was asked about lately.
#[derive(Debug)]
pub(super) struct Readings {
    orders: LruCache<InfoHash, Arc<Order>>,
    pieces: usize,
    of: BTreeMap<ConnId, Reading>,
}

impl Default for Readings {
    fn default() -> Self {
        Self { orders: LruCache::unbounded(), pieces: 0, of: BTreeMap::new() }
    }
}

impl Readings {
    /// A share whose `.ko` was parsed just now.
    pub(super) fn learn(&mut self, metainfo: &Metainfo) {
        let (info_hash, pieces) = (metainfo.info_hash(), metainfo.pieces().len());
        if pieces > MAX_PIECES || self.orders.contains(&info_hash) {
            return;
        }
        self.pieces += pieces;
        self.orders.put(info_hash, Arc::new(Order::of(metainfo)));
        while self.pieces > MAX_PIECES {
            let (_, oldest) = self.orders.pop_lru().expect("pieces are of some share");
            self.pieces -= oldest.chunks.len();
        }
    }

    /// A session asks about a share: it is about to read it, as far as can be told.
    pub(super) fn asks(&mut self, conn: ConnId, info_hash: InfoHash) {
        if let Some(order) = self.orders.get(&info_hash) {
            self.of.insert(conn, Reading { order: order.clone(), at: None, steps: 0 });
        }
    }

    /// A session is gone; whether it read something.
    pub(super) fn ends(&mut self, conn: ConnId) -> bool {
        self.of.remove(&conn).is_some()
    }

    /// A session asks for blocks of a chunk. What it will ask for next, if that is news: nothing any more, if it does not
    /// read in order.
    pub(super) fn reads(&mut self, conn: ConnId, chunk: ChunkId) -> Option<Vec<ChunkId>> {
        let reading = self.of.get_mut(&conn)?;
        let before = reading.at;
        // The next, or one of the last two, whose blocks are asked for beside each other's.
        let near = |by: u32| before.filter(|at| reading.order.chunk(at + by) == Some(chunk));
        if near(0).is_some() || before.is_some_and(|at| at > 0 && reading.order.chunk(at - 1) == Some(chunk)) {
            return None;
        }
        if let Some(at) = near(1) {
            (reading.at, reading.steps) = (Some(at + 1), reading.steps + 1);
            let next = (at as usize + 2)..(at as usize + 2 + AHEAD).min(reading.order.chunks.len());
            return (reading.steps >= STEPS).then(|| reading.order.chunks.get(next).unwrap_or_default().to_vec());
        }
        let was_in_order = reading.steps >= STEPS;
        (reading.at, reading.steps) = (reading.order.place_of(chunk), 0);
        was_in_order.then(Vec::new)
    }
}

/// Readers over data channels have even numbers, those over HTTP odd ones.
impl Worker {
    /// A session asks for blocks of a chunk.
    pub(super) fn look_ahead(&mut self, now: Instant, conn: ConnId, chunk: ChunkId) {
        if let Some(next) = self.readings.reads(conn, chunk) {
            self.store.read_ahead(now, ReaderId(conn.0 << 1), &next);
        }
    }

    /// A session is gone.
    pub(super) fn look_no_further(&mut self, now: Instant, conn: ConnId) {
        if self.readings.ends(conn) {
            self.store.read_ahead(now, ReaderId(conn.0 << 1), &[]);
        }
    }

    /// The driver says what a reader over HTTP will ask for next.
    pub(super) fn look_ahead_of_body(&mut self, now: Instant, body: u64, next: &[ChunkId]) {
        self.store.read_ahead(now, ReaderId(body << 1 | 1), next);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::sha256;
    use crate::metainfo::MetainfoBuilder;

    const CONN: ConnId = ConnId(7);

    /// A share of `count` files of one byte each, as their hashes would have it.
    fn share(name: &str, count: u32) -> Metainfo {
        let mut builder = MetainfoBuilder::new(name, 16_384).expect("a name");
        for n in 0..count {
            let root = sha256(format!("{name} {n}").as_bytes());
            builder.file(&[&format!("{n:05}")], 1, vec![root]).expect("a file");
        }
        builder.build().expect("a share")
    }

    fn readings(share: &Metainfo) -> Readings {
        let mut readings = Readings::default();
        readings.learn(share);
        readings.asks(CONN, share.info_hash());
        readings
    }

    proptest! {
        /// Whoever went two steps in order and has not left it since is told ahead of, exactly what comes next; who
        /// leaves the order is told of no more.
        #[test]
        fn who_reads_in_order_is_foreseen(start in 0..30u32, moves in vec(prop_oneof![8 => Just(1i32), 1 => Just(0), 1 => -1..5i32], 1..60)) {
            let share = share("s", 40);
            let mut readings = readings(&share);
            let chunk = |n: u32| share.pieces()[n as usize].chunk;
            let (mut at, mut steps, mut told) = (start, 0, Vec::new());
            prop_assert_eq!(readings.reads(CONN, chunk(at)), None);
            for step in moves {
                let to = (at as i32 + step).clamp(0, 39) as u32;
                let news = readings.reads(CONN, chunk(to));
                match to as i32 - at as i32 {
                    1 => {
                        (at, steps) = (to, steps + 1);
                        prop_assert_eq!(news.is_some(), steps >= STEPS);
                    }
                    // Beside the last one, or the same again.
                    0 | -1 => prop_assert_eq!(&news, &None),
                    _ => {
                        prop_assert_eq!(news.clone(), (steps >= STEPS).then(Vec::new));
                        (at, steps) = (to, 0);
                    }
                }
                told = news.unwrap_or(told);
                let expected: Vec<ChunkId> = if steps >= STEPS {
                    (at + 1..40).take(AHEAD).map(chunk).collect()
                } else {
                    Vec::new()
                };
                prop_assert_eq!(&told, &expected);
            }
            prop_assert!(readings.ends(CONN) && !readings.ends(CONN));
            prop_assert_eq!(readings.reads(CONN, chunk(0)), None);
        }
    }

    #[test]
    fn no_more_pieces_are_remembered_than_there_may_be() {
        let mut readings = Readings::default();
        let shares: Vec<Metainfo> = (0..3).map(|n| share(&format!("share {n}"), 1000)).collect();
        shares.iter().for_each(|share| readings.learn(share));
        assert_eq!(readings.pieces, 3000);
        // As if they had been larger.
        readings.pieces = MAX_PIECES + 1500;
        readings.learn(&share("another", 10));
        assert_eq!(readings.orders.len(), 2, "the oldest two are forgotten");
        readings.asks(CONN, shares[0].info_hash());
        assert!(!readings.ends(CONN), "its order is not known any more");
    }
}
