//! Consistent-hash ring: who serves which clients. A pure function of its members: the order in which they came
//! makes no difference, a join moves keys only to the joiner and a leave only from the leaver.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::merkle::sha256;

/// Virtual nodes of a member with capacity 100, where nothing else is configured.
pub const DEFAULT_REPLICAS: u32 = 150;

/// A point on the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub u64);

impl Key {
    /// Where these bytes fall: the first 8 bytes of their SHA-256, big-endian.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let digest = sha256(bytes).0;
        Self(u64::from_be_bytes(digest[..8].try_into().expect("eight of 32 bytes")))
    }

    /// Where a client falls: its network, so that neighbours share a worker. The hashed bytes are 4 and the
    /// first three bytes of an IPv4 address (/24, IPv4-mapped IPv6 included), or 6 and the first six of an
    /// IPv6 address (/48).
    #[must_use]
    pub fn of_client(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = Ipv4Addr::octets(&ip);
                Self::of(&[4, a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, ..] = ip.octets();
                Self::of(&[6, a, b, c, d, e, f])
            }
        }
    }
}

/// The ring. Members have a name and a capacity, the number of their virtual nodes in percent of `replicas`;
/// virtual node `i` of `name` is at the key of `name:i`.
#[derive(Clone, Debug)]
pub struct Ring {
    replicas: u32,
    members: BTreeMap<Arc<str>, u16>,
    /// Sorted. Where two fall on one point, the smaller name owns it.
    points: Vec<(Key, Arc<str>)>,
    /// How many points come before each of so many equal parts of the circle, a power of two. Points are spread
    /// evenly, so there are one or two in a part: a search that halves all of them would wait for memory at every
    /// step.
    before: Vec<u32>,
}

impl Ring {
    /// An empty ring whose members get `replicas` virtual nodes for each 100 of capacity.
    #[must_use]
    pub const fn new(replicas: u32) -> Self {
        Self { replicas, members: BTreeMap::new(), points: Vec::new(), before: Vec::new() }
    }

    /// Adds a member, or gives it another capacity. Every member has at least one virtual node.
    pub fn insert(&mut self, name: &str, capacity: u16) {
        self.change([], [(name, capacity)]);
    }

    /// Removes a member; whether it was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let was_member = self.members.contains_key(name);
        self.change([name], []);
        was_member
    }

    /// Makes these its members, by name and capacity, and no others. However many come and go, this goes through
    /// the points once.
    pub fn replace<'a>(&mut self, members: impl Iterator<Item = (&'a str, u16)>) {
        let members: BTreeMap<&str, u16> = members.collect();
        let before: Vec<Arc<str>> = self.members.keys().cloned().collect();
        let gone = before.iter().map(|name| &**name).filter(|name| !members.contains_key(name));
        self.change(gone, members.iter().map(|(name, capacity)| (*name, *capacity)));
    }

    fn change<'a>(
        &mut self,
        gone: impl IntoIterator<Item = &'a str>,
        come: impl IntoIterator<Item = (&'a str, u16)>,
    ) {
        let mut dropped: Vec<Arc<str>> = Vec::new();
        dropped.extend(gone.into_iter().filter_map(|name| self.members.remove_entry(name)).map(|(name, _)| name));
        let mut added: Vec<(Key, Arc<str>)> = Vec::new();
        for (name, capacity) in come {
            if self.members.get(name) == Some(&capacity) {
                continue;
            }
            dropped.extend(self.members.remove_entry(name).map(|(name, _)| name));
            let name: Arc<str> = name.into();
            let count = (u64::from(self.replicas) * u64::from(capacity) / 100).max(1);
            added.extend((0..count).map(|i| (Key::of(format!("{name}:{i}").as_bytes()), name.clone())));
            self.members.insert(name, capacity);
        }
        if dropped.is_empty() && added.is_empty() {
            return;
        }
        if !dropped.is_empty() {
            // All points of a member share its name, so there is no need to compare, or even to read, any text.
            let address = |name: &Arc<str>| Arc::as_ptr(name).cast::<u8>();
            let mut dropped: Vec<*const u8> = dropped.iter().map(address).collect();
            dropped.sort_unstable();
            self.points.retain(|(_, owner)| dropped.binary_search(&address(owner)).is_err());
        }
        self.points.extend(added);
        // Unlike an unstable sort, it makes use of what is in order already: all but the new ones.
        self.points.sort();
        self.index();
    }

    /// The member that serves `key`: the owner of the first point at or after it, going round. `None` if there
    /// are no members.
    #[must_use]
    pub fn owner(&self, key: Key) -> Option<&str> {
        self.clockwise(key).next()
    }

    /// Every member once, in the order in which they would serve `key` were those before them gone.
    pub fn owners(&self, key: Key) -> impl Iterator<Item = &str> {
        let mut seen: Vec<&str> = Vec::new();
        self.clockwise(key).filter(move |name| {
            let new = !seen.contains(name);
            if new {
                seen.push(name);
            }
            new
        })
    }

    /// Members and their capacities, by name.
    pub fn members(&self) -> impl Iterator<Item = (&str, u16)> {
        self.members.iter().map(|(name, capacity)| (&**name, *capacity))
    }

    fn clockwise(&self, key: Key) -> impl Iterator<Item = &str> {
        let start = self.first_at_or_after(key);
        self.points[start..].iter().chain(&self.points[..start]).map(|(_, name)| &**name)
    }

    fn first_at_or_after(&self, key: Key) -> usize {
        let Some(before) = self.before.get(part(key, self.before.len())) else { return 0 };
        let before = *before as usize;
        before + self.points[before..].iter().take_while(|(point, _)| *point < key).count()
    }

    fn index(&mut self) {
        let parts = (self.points.len() + 1).next_power_of_two() / 2;
        let all = u32::try_from(self.points.len()).expect("fewer points than would fit into memory");
        self.before.clear();
        self.before.reserve(parts);
        for (before, (point, _)) in (0..all).zip(&self.points) {
            while self.before.len() <= part(*point, parts) {
                self.before.push(before);
            }
        }
        self.before.resize(parts, all);
    }
}

/// In which of `parts` equal parts of the circle, a power of two, a key falls.
fn part(key: Key, parts: usize) -> usize {
    let bits = parts.trailing_zeros();
    key.0.checked_shr(u64::BITS - bits).map_or(0, |part| part as usize)
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    type Members = BTreeMap<String, u16>;

    fn members() -> impl Strategy<Value = Members> {
        btree_map("[a-d]{1,3}", 1..=300u16, 0..8)
    }

    fn ring(members: &Members) -> Ring {
        let mut ring = Ring::new(20);
        members.iter().for_each(|(name, capacity)| ring.insert(name, *capacity));
        ring
    }

    /// Every member's nearest virtual node at or after `key`, nearest member first: the definition itself.
    fn naive_owners(members: &Members, replicas: u64, key: Key) -> Vec<&str> {
        let distance = |name: &str, capacity: u16| {
            let count = (replicas * u64::from(capacity) / 100).max(1);
            let points = (0..count).map(|i| Key::of(format!("{name}:{i}").as_bytes()));
            points.map(|point| point.0.wrapping_sub(key.0)).min()
        };
        let mut near: Vec<_> = members.iter().map(|(name, c)| (distance(name, *c), name.as_str())).collect();
        near.sort_unstable();
        near.into_iter().map(|(_, name)| name).collect()
    }

    proptest! {
        #[test]
        fn owners_are_those_of_the_definition(members in members(), keys in vec(any::<u64>(), 20)) {
            let ring = ring(&members);
            for key in keys.into_iter().map(Key) {
                let naive = naive_owners(&members, 20, key);
                prop_assert_eq!(ring.owner(key), naive.first().copied());
                prop_assert_eq!(ring.owners(key).collect::<Vec<_>>(), naive);
            }
        }

        #[test]
        fn a_join_moves_keys_only_to_the_joiner_and_its_leave_brings_them_back(
            members in members(), joiner in "[a-d]{1,3}", capacity in 1..=300u16,
            keys in vec(any::<u64>(), 50),
        ) {
            prop_assume!(!members.contains_key(&joiner));
            let before = ring(&members);
            let mut after = before.clone();
            after.insert(&joiner, capacity);
            for key in keys.iter().copied().map(Key) {
                if after.owner(key) != before.owner(key) {
                    prop_assert_eq!(after.owner(key), Some(joiner.as_str()));
                }
            }
            prop_assert!(after.remove(&joiner));
            prop_assert!(!after.remove(&joiner));
            prop_assert_eq!(after.points, before.points);
        }

        #[test]
        fn history_makes_no_difference(
            target in members(), history in vec(("[a-d]{1,3}", 1..=300u16, any::<bool>()), 0..20),
        ) {
            let mut wandering = Ring::new(20);
            for (name, capacity, join) in &history {
                if *join {
                    wandering.insert(name, *capacity);
                } else {
                    wandering.remove(name);
                }
            }
            let left: Vec<String> = wandering.members().map(|(name, _)| name.to_owned()).collect();
            target.iter().rev().for_each(|(name, capacity)| wandering.insert(name, *capacity));
            left.iter().filter(|name| !target.contains_key(*name)).for_each(|name| {
                wandering.remove(name);
            });
            prop_assert_eq!(&wandering.points, &ring(&target).points);
            prop_assert_eq!(&wandering.before, &ring(&target).before);
        }

        #[test]
        fn all_at_once_is_one_by_one(before in members(), after in members()) {
            let mut replaced = ring(&before);
            replaced.replace(after.iter().map(|(name, capacity)| (name.as_str(), *capacity)));
            let expected = ring(&after);
            prop_assert_eq!(replaced.members, expected.members);
            prop_assert_eq!(replaced.points, expected.points);
            prop_assert_eq!(replaced.before, expected.before);
        }
    }

    #[test]
    fn equal_capacities_get_equal_shares_within_the_bound() {
        const KEYS: u64 = 1 << 15;
        let most = 1.0 + 4.0 / f64::from(DEFAULT_REPLICAS).sqrt();
        for count in [2, 3, 5, 10, 30] {
            let mut ring = Ring::new(DEFAULT_REPLICAS);
            (0..count).for_each(|i| ring.insert(&format!("worker-{i}"), 100));
            let mut shares: BTreeMap<&str, u32> = BTreeMap::new();
            for i in 0..KEYS {
                let key = Key(i * (u64::MAX / KEYS));
                *shares.entry(ring.owner(key).expect("members")).or_default() += 1;
            }
            let mean = KEYS as f64 / f64::from(count);
            let largest = shares.values().copied().max().expect("members");
            assert!(f64::from(largest) <= most * mean, "{count} members: {shares:?}");
        }
    }

    #[test]
    fn capacity_scales_the_share() {
        let mut ring = Ring::new(DEFAULT_REPLICAS);
        ring.insert("small", 50);
        ring.insert("large", 200);
        ring.insert("tiny", 0);
        let count = |name: &str| ring.points.iter().filter(|(_, owner)| **owner == *name).count();
        assert_eq!((count("small"), count("large"), count("tiny")), (75, 300, 1));
    }

    #[test]
    fn neighbours_share_a_key_and_strangers_do_not() {
        let key = |ip: &str| Key::of_client(ip.parse().expect("an address"));
        assert_eq!(key("192.0.2.1"), key("192.0.2.254"));
        assert_ne!(key("192.0.2.1"), key("192.0.3.1"));
        assert_eq!(key("::ffff:192.0.2.77"), key("192.0.2.1"));
        assert_eq!(key("2001:db8:1::1"), key("2001:db8:1:ffff::2"));
        assert_ne!(key("2001:db8:1::1"), key("2001:db8:2::1"));
        assert_eq!(key("127.0.0.1"), Key::of(&[4, 127, 0, 0]));
        assert_eq!(key("::1"), Key::of(&[6, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn an_empty_ring_owns_nothing() {
        let mut ring = Ring::new(DEFAULT_REPLICAS);
        assert_eq!(ring.owner(Key(0)), None);
        assert!(!ring.remove("nobody"));
        assert_eq!(ring.owners(Key(7)).count(), 0);
    }
}
