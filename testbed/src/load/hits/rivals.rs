//! Other policies on the same requests: how often each would have had what was asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Requests for objects, the bytes that each object takes, and those of the cache.
#[derive(Clone, Copy)]
pub(super) struct Requests<'a> {
    pub(super) trace: &'a [usize],
    pub(super) lengths: &'a [u64],
    pub(super) cache_bytes: u64,
}

impl Requests<'_> {
    /// Requests for what was never asked for before: no policy has it.
    pub(super) fn first_ones(&self) -> usize {
        self.trace.iter().collect::<BTreeSet<_>>().len()
    }

    /// Plain LRU.
    pub(super) fn lru(&self) -> usize {
        let (mut last_use, mut by_use) = (BTreeMap::new(), BTreeMap::new());
        let (mut bytes, mut hits) = (0, 0);
        for (now, &object) in self.trace.iter().enumerate() {
            match last_use.insert(object, now) {
                Some(before) => {
                    hits += 1;
                    by_use.remove(&before);
                }
                None => bytes += self.lengths[object],
            }
            by_use.insert(now, object);
            while bytes > self.cache_bytes {
                let (_, victim) = by_use.pop_first().expect("it has bytes, so it has objects");
                last_use.remove(&victim);
                bytes -= self.lengths[victim];
            }
        }
        hits
    }

    /// SIEVE (Zhang et al., NSDI 2024): a hand goes from the oldest to the newest and round again, and evicts the
    /// first that was not visited since it last came by.
    pub(super) fn sieve(&self) -> usize {
        // The oldest first.
        let mut queue: Vec<usize> = Vec::new();
        let mut visited = BTreeMap::new();
        let (mut hand, mut bytes, mut hits) = (0, 0, 0);
        for &object in self.trace {
            if let Some(visited) = visited.get_mut(&object) {
                *visited = true;
                hits += 1;
                continue;
            }
            while bytes + self.lengths[object] > self.cache_bytes {
                hand = if hand < queue.len() { hand } else { 0 };
                let seen = visited.get_mut(&queue[hand]).expect("what is queued is cached");
                if std::mem::take(seen) {
                    hand += 1;
                } else {
                    let victim = queue.remove(hand);
                    visited.remove(&victim);
                    bytes -= self.lengths[victim];
                }
            }
            queue.push(object);
            visited.insert(object, false);
            bytes += self.lengths[object];
        }
        hits
    }

    /// S3-FIFO (Yang et al., SOSP 2023): newcomers pass through a queue of a tenth of the cache, and only those that
    /// were hit twice there, or came back soon after, get into the main one.
    pub(super) fn s3_fifo(&self) -> usize {
        let mut cache = S3Fifo::new(*self);
        self.trace.iter().filter(|&&object| cache.request(object)).count()
    }

    /// Who knows all requests to come keeps what is asked for soonest (Belady 1966), and does not take up at all what
    /// is asked for later than everything else. With objects of one size nobody does better. With several sizes,
    /// finding the best is too hard for traces of this length: there this is a good guess, and no bound.
    pub(super) fn offline(&self) -> usize {
        let mut next_use = vec![usize::MAX; self.trace.len()];
        let mut later = BTreeMap::new();
        for (now, &object) in self.trace.iter().enumerate().rev() {
            next_use[now] = later.insert(object, now).unwrap_or(usize::MAX);
        }
        let mut cached: BTreeMap<usize, usize> = BTreeMap::new();
        let mut by_next_use = BTreeSet::new();
        let (mut bytes, mut hits) = (0, 0);
        for (&object, &next) in self.trace.iter().zip(&next_use) {
            match cached.insert(object, next) {
                Some(now) => {
                    hits += 1;
                    by_next_use.remove(&(now, object));
                }
                None => bytes += self.lengths[object],
            }
            by_next_use.insert((next, object));
            while bytes > self.cache_bytes {
                let (_, victim) = by_next_use.pop_last().expect("it has bytes, so it has objects");
                cached.remove(&victim);
                bytes -= self.lengths[victim];
            }
        }
        hits
    }
}

struct S3Fifo<'a> {
    requests: Requests<'a>,
    small: VecDeque<usize>,
    small_bytes: u64,
    main: VecDeque<usize>,
    bytes: u64,
    /// Hits of those in either queue, up to three.
    hits: BTreeMap<usize, u8>,
    /// Those that left the small queue for good, in this order.
    ghosts: VecDeque<usize>,
}

impl<'a> S3Fifo<'a> {
    fn new(requests: Requests<'a>) -> Self {
        Self {
            requests,
            small: VecDeque::new(),
            small_bytes: 0,
            main: VecDeque::new(),
            bytes: 0,
            hits: BTreeMap::new(),
            ghosts: VecDeque::new(),
        }
    }

    fn request(&mut self, object: usize) -> bool {
        if let Some(hits) = self.hits.get_mut(&object) {
            *hits = 3.min(*hits + 1);
            return true;
        }
        let length = self.requests.lengths[object];
        while self.bytes + length > self.requests.cache_bytes {
            if self.small_bytes * 10 >= self.requests.cache_bytes || self.main.is_empty() {
                self.evict_small();
            } else {
                self.evict_main();
            }
        }
        self.bytes += length;
        self.hits.insert(object, 0);
        match self.ghosts.iter().position(|ghost| *ghost == object) {
            Some(at) => {
                self.ghosts.remove(at);
                self.main.push_back(object);
            }
            None => {
                self.small.push_back(object);
                self.small_bytes += length;
            }
        }
        false
    }

    fn evict_small(&mut self) {
        while let Some(object) = self.small.pop_front() {
            let length = self.requests.lengths[object];
            self.small_bytes -= length;
            if self.hits[&object] > 1 {
                self.hits.insert(object, 0);
                self.main.push_back(object);
                continue;
            }
            self.hits.remove(&object);
            self.bytes -= length;
            self.ghosts.push_back(object);
            while self.ghosts.len() > self.hits.len().max(1) {
                self.ghosts.pop_front();
            }
            return;
        }
    }

    fn evict_main(&mut self) {
        while let Some(object) = self.main.pop_front() {
            let hits = self.hits.get_mut(&object).expect("what is queued is cached");
            if *hits > 0 {
                *hits -= 1;
                self.main.push_back(object);
                continue;
            }
            self.hits.remove(&object);
            self.bytes -= self.requests.lengths[object];
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests for objects of one byte each.
    fn hits(trace: &[usize], cache_bytes: u64, policy: fn(&Requests<'_>) -> usize) -> usize {
        policy(&Requests { trace, lengths: &[1; 10], cache_bytes })
    }

    #[test]
    fn each_policy_does_what_its_paper_says() {
        // Belady's own example (1966), with room for three: page 5 is never asked for again, so it is not taken up.
        let example = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5];
        assert_eq!(hits(&example, 3, |all| all.offline()), 5);
        assert_eq!(hits(&example, 3, |all| all.lru()), 2);
        assert_eq!(hits(&example, 3, |all| all.first_ones()), 5);
        // 1 was visited: SIEVE evicts 2, then the hand goes on to 3.
        assert_eq!(hits(&[1, 2, 3, 1, 4, 1, 5, 3, 1], 3, |all| all.sieve()), 3);
        // One-time visitors never get through the small queue.
        let mut trace = vec![1, 1, 1, 2, 2, 2];
        trace.extend([3, 4, 5, 6, 7, 8, 9, 1, 2]);
        assert_eq!(hits(&trace, 3, |all| all.s3_fifo()), 6);
        assert_eq!(hits(&trace, 3, |all| all.lru()), 4);
    }

    #[test]
    fn a_large_object_takes_the_room_of_several() {
        let requests = Requests { trace: &[0, 1, 2, 0, 1], lengths: &[1, 1, 3], cache_bytes: 3 };
        assert_eq!((requests.lru(), requests.sieve()), (0, 0));
        assert_eq!(requests.offline(), 2, "the large one is not taken up");
    }
}
