//! Proofs that come in no order: a worker asks another for many things at once, over several connections, and the later
//! question may arrive first. Each proof is still good once, and only while it is fresh.

use std::collections::BTreeMap;

use super::{Refusal, SharedKey, WINDOW_MS};
use crate::id::Digest;

/// A proof may come so much later than a newer one of the same name, in milliseconds.
const SPAN: u64 = 4096;
const WORDS: usize = SPAN as usize / 64;

/// Admits each proof once, as [`super::Gate`] does, but not only in their order. Times of one name must differ,
/// whatever is proven.
#[derive(Debug)]
pub struct WindowGate {
    key: SharedKey,
    max_names: usize,
    seen: BTreeMap<String, Seen>,
}

/// The times of one name that were used up.
#[derive(Debug)]
struct Seen {
    newest: u64,
    /// One bit for each of the last [`SPAN`] times up to `newest`, by their remainder.
    used: Box<[u64; WORDS]>,
}

impl WindowGate {
    /// A gate for this key that remembers up to `max_names` names at once.
    #[must_use]
    pub const fn new(key: SharedKey, max_names: usize) -> Self {
        Self { key, max_names, seen: BTreeMap::new() }
    }

    /// Admits `name`, whose proof of `what` is `mac`, made at `timestamp_ms`, if it is `unix_ms` now. `what` must
    /// hold the name.
    ///
    /// # Errors
    /// Says why not. A refused proof changes nothing.
    pub fn admit(
        &mut self,
        unix_ms: u64,
        name: &str,
        what: &str,
        timestamp_ms: u64,
        mac: &Digest,
    ) -> Result<(), Refusal> {
        self.key.verify(what, timestamp_ms, mac)?;
        let off_ms = unix_ms.abs_diff(timestamp_ms);
        if off_ms > WINDOW_MS {
            return Err(Refusal::Stale { off_ms });
        }
        if let Some(seen) = self.seen.get_mut(name) {
            return if seen.take(timestamp_ms) { Ok(()) } else { Err(Refusal::Replayed) };
        }
        if self.seen.len() >= self.max_names {
            self.seen.retain(|_, seen| seen.newest + WINDOW_MS >= unix_ms);
            if self.seen.len() >= self.max_names {
                return Err(Refusal::Full);
            }
        }
        let mut seen = Seen { newest: timestamp_ms, used: Box::new([0; WORDS]) };
        seen.set(timestamp_ms);
        self.seen.insert(name.to_owned(), seen);
        Ok(())
    }
}

impl Seen {
    /// Uses up a time; false if it was used before, or is too old to know.
    fn take(&mut self, time: u64) -> bool {
        if time > self.newest {
            let passed = (time - self.newest).min(SPAN);
            (time - passed + 1..=time).for_each(|new| self.clear(new));
            self.newest = time;
        } else if self.newest - time >= SPAN || self.is_set(time) {
            return false;
        }
        self.set(time);
        true
    }

    const fn is_set(&self, time: u64) -> bool {
        let (word, bit) = place(time);
        self.used[word] & bit != 0
    }

    const fn set(&mut self, time: u64) {
        let (word, bit) = place(time);
        self.used[word] |= bit;
    }

    const fn clear(&mut self, time: u64) {
        let (word, bit) = place(time);
        self.used[word] &= !bit;
    }
}

const fn place(time: u64) -> (usize, u64) {
    let at = time % SPAN;
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_767_225_600_000;

    fn key() -> SharedKey {
        SharedKey::new(b"sixteen bytes ok").expect("long enough")
    }

    fn admit(gate: &mut WindowGate, now: u64, name: &str, time: u64) -> Result<(), Refusal> {
        let what = format!("GET /x w {name}");
        gate.admit(now, name, &what, time, &key().token(&what, time))
    }

    proptest! {
        /// Against a set of all times that were used: none is good twice, and one that is new and no older than the
        /// span is good, in whatever order they come.
        #[test]
        fn each_time_is_good_once(
            steps in vec(prop_oneof![4 => -20..20i64, 2 => -5000..5000i64, 1 => -70_000..70_000i64], 1..300),
        ) {
            let mut gate = WindowGate::new(key(), 1);
            let (mut used, mut last, mut newest) = (BTreeSet::new(), NOW, 0);
            for step in steps {
                let time = last.saturating_add_signed(step);
                last = time.clamp(NOW - 65_000, NOW + 65_000);
                let expected = if time.abs_diff(NOW) > 60_000 {
                    Err(Refusal::Stale { off_ms: time.abs_diff(NOW) })
                } else if used.contains(&time) || time + SPAN <= newest {
                    Err(Refusal::Replayed)
                } else {
                    Ok(())
                };
                prop_assert_eq!(admit(&mut gate, NOW, "a", time), expected);
                if expected.is_ok() {
                    used.insert(time);
                    newest = newest.max(time);
                }
            }
        }
    }

    #[test]
    fn a_proof_of_something_else_is_forged_and_uses_nothing_up() {
        let mut gate = WindowGate::new(key(), 1);
        let other = key().token("GET /y w a", NOW);
        assert_eq!(gate.admit(NOW, "a", "GET /x w a", NOW, &other), Err(Refusal::Forged));
        assert_eq!(admit(&mut gate, NOW, "a", NOW), Ok(()));
    }

    #[test]
    fn names_are_forgotten_only_when_their_proofs_are_stale() {
        let mut gate = WindowGate::new(key(), 2);
        assert_eq!(admit(&mut gate, NOW, "a", NOW), Ok(()));
        assert_eq!(admit(&mut gate, NOW, "b", NOW + 1), Ok(()));
        assert_eq!(admit(&mut gate, NOW, "c", NOW), Err(Refusal::Full));
        assert_eq!(admit(&mut gate, NOW + 60_000, "c", NOW + 60_000), Err(Refusal::Full));
        assert_eq!(admit(&mut gate, NOW + 60_001, "c", NOW + 60_000), Ok(()));
        assert_eq!(admit(&mut gate, NOW + 60_001, "a", NOW), Err(Refusal::Stale { off_ms: 60_001 }));
        assert_eq!(admit(&mut gate, NOW + 60_001, "b", NOW + 1), Err(Refusal::Replayed));
    }
}
