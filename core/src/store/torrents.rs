//! The few `.ko`s kept in memory: least recently used ones go first. Never grows past its bound in bytes.

use bytes::Bytes;
use lru::LruCache;

use crate::id::InfoHash;

/// A bounded set of `.ko`s by info hash.
#[derive(Debug)]
pub(crate) struct Torrents {
    limit: u64,
    bytes: u64,
    kos: LruCache<InfoHash, Bytes>,
}

impl Torrents {
    /// An empty set that will hold at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, bytes: 0, kos: LruCache::unbounded() }
    }

    /// The `.ko` of `info_hash`, now the most recently used.
    pub(crate) fn get(&mut self, info_hash: &InfoHash) -> Option<Bytes> {
        self.kos.get(info_hash).cloned()
    }

    /// Keeps `ko`, dropping others to make room; one larger than the bound is not kept.
    pub(crate) fn insert(&mut self, info_hash: InfoHash, ko: Bytes) {
        if let Some(old) = self.kos.pop(&info_hash) {
            self.bytes -= old.len() as u64;
        }
        let length = ko.len() as u64;
        if length > self.limit {
            return;
        }
        while self.bytes + length > self.limit {
            let (_, dropped) = self.kos.pop_lru().expect("bytes are counted only while something is kept");
            self.bytes -= dropped.len() as u64;
        }
        self.bytes += length;
        self.kos.put(info_hash, ko);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::sha256;

    #[test]
    fn the_least_recently_used_go_and_the_bound_holds() {
        let name = |n: u8| InfoHash(sha256(&[n]));
        let mut torrents = Torrents::new(100);
        for n in 0..3 {
            torrents.insert(name(n), vec![n; 30].into());
        }
        torrents.insert(name(0), vec![9; 40].into());
        assert!(torrents.get(&name(1)).is_some());
        torrents.insert(name(3), vec![3; 30].into());
        assert!(torrents.get(&name(2)).is_none(), "the oldest unused one went");
        assert_eq!(torrents.get(&name(0)).unwrap().len(), 40);
        assert_eq!(torrents.bytes, 100);
        torrents.insert(name(0), vec![0; 101].into());
        assert!(torrents.get(&name(0)).is_none());
        assert_eq!(torrents.bytes, 60);
    }
}
