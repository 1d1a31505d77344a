//! Proof that a worker holds the network's shared key: HMAC-SHA256 over its name and the time, fresh and used
//! once. Compares in constant time; never shows the key; is told the time by its caller.

mod window;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub use self::window::WindowGate;
use crate::id::Digest;

/// How far a proof's timestamp may be from the verifier's clock, both ways.
pub const WINDOW: Duration = Duration::from_secs(60);

const WINDOW_MS: u64 = WINDOW.as_secs() * 1000;

/// The key that fronts and workers of a network share.
#[derive(Clone)]
pub struct SharedKey(Hmac<Sha256>);

/// A key too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a shared key must have at least {} bytes, this one has {len}", SharedKey::MIN_LEN)]
pub struct ShortKey {
    /// Bytes in it.
    pub len: usize,
}

impl SharedKey {
    /// Least bytes in a key.
    pub const MIN_LEN: usize = 16;

    /// The key in a key file's content: its bytes, without ASCII white space at either end, so that an editor's
    /// newline makes no difference.
    ///
    /// # Errors
    /// If fewer than [`Self::MIN_LEN`] bytes remain.
    pub fn new(content: &[u8]) -> Result<Self, ShortKey> {
        let key = content.trim_ascii();
        if key.len() < Self::MIN_LEN {
            return Err(ShortKey { len: key.len() });
        }
        Ok(Self(Hmac::new_from_slice(key).expect("HMAC takes a key of any length")))
    }

    /// What a worker of this name proves itself with at this time: HMAC-SHA256 over `name:timestamp_ms`.
    #[must_use]
    pub fn token(&self, name: &str, timestamp_ms: u64) -> Digest {
        Digest(self.mac(name, timestamp_ms).finalize().into_bytes().into())
    }

    /// An HMAC-SHA256 under this key, begun with `purpose`. To be another thing than every [`Self::token`], a
    /// purpose begins with a byte that no name has.
    pub(crate) fn hmac(&self, purpose: &[u8]) -> Hmac<Sha256> {
        self.0.clone().chain_update(purpose)
    }

    fn verify(&self, name: &str, timestamp_ms: u64, mac: &Digest) -> Result<(), Refusal> {
        self.mac(name, timestamp_ms).verify_slice(&mac.0).map_err(|_| Refusal::Forged)
    }

    fn mac(&self, name: &str, timestamp_ms: u64) -> Hmac<Sha256> {
        self.0.clone().chain_update(name).chain_update(":").chain_update(timestamp_ms.to_string())
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey")
    }
}

/// Why a proof is refused. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not made with this key for this name and time.
    #[error("the proof does not match the shared key")]
    Forged,
    /// Made too long ago, or by a clock ahead of ours.
    #[error("the proof's time is {off_ms} ms off, more than 60 s")]
    Stale {
        /// Distance between its time and ours, in milliseconds.
        off_ms: u64,
    },
    /// This proof, or a later one of the same name, was used before.
    #[error("the proof is not newer than the last one of this name")]
    Replayed,
    /// More names proved themselves within the window than are remembered.
    #[error("too many workers proved themselves at once")]
    Full,
}

/// Admits each proof once.
#[derive(Debug)]
pub struct Gate {
    key: SharedKey,
    max_names: usize,
    /// Timestamp of the newest proof admitted, by name; those out of the window may go.
    newest: BTreeMap<String, u64>,
}

impl Gate {
    /// A gate for this key that remembers up to `max_names` names at once.
    #[must_use]
    pub const fn new(key: SharedKey, max_names: usize) -> Self {
        Self { key, max_names, newest: BTreeMap::new() }
    }

    /// Admits the worker `name` whose proof is `mac`, made at `timestamp_ms`, if it is `unix_ms` now.
    ///
    /// # Errors
    /// Says why not. A refused proof changes nothing.
    pub fn admit(&mut self, unix_ms: u64, name: &str, timestamp_ms: u64, mac: &Digest) -> Result<(), Refusal> {
        self.key.verify(name, timestamp_ms, mac)?;
        let off_ms = unix_ms.abs_diff(timestamp_ms);
        if off_ms > WINDOW_MS {
            return Err(Refusal::Stale { off_ms });
        }
        if self.newest.get(name).is_some_and(|newest| timestamp_ms <= *newest) {
            return Err(Refusal::Replayed);
        }
        if self.newest.len() >= self.max_names && !self.newest.contains_key(name) {
            self.newest.retain(|_, newest| *newest + WINDOW_MS >= unix_ms);
            if self.newest.len() >= self.max_names {
                return Err(Refusal::Full);
            }
        }
        self.newest.insert(name.to_owned(), timestamp_ms);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_767_225_600_000;

    fn key() -> SharedKey {
        SharedKey::new(b"sixteen bytes ok\n").expect("long enough")
    }

    /// Checked with `printf %s w-1:1767225600000 | openssl dgst -sha256 -hmac 'sixteen bytes ok'`.
    #[test]
    fn a_token_is_the_hmac_of_name_and_time() {
        let token = key().token("w-1", NOW).to_string();
        assert_eq!(token, "77895a21344941d7cbf3e50420af4759433e0141c9624a69ab45b19e14c24801");
    }

    #[test]
    fn a_key_has_sixteen_bytes_and_no_white_space_around_them() {
        assert_eq!(SharedKey::new(b" 15 bytes long..\r\n").err(), Some(ShortKey { len: 15 }));
        let trimmed = SharedKey::new(b"sixteen bytes ok").expect("long enough");
        assert_eq!(trimmed.token("w", 1), key().token("w", 1));
        assert_eq!(format!("{trimmed:?}"), "SharedKey");
    }

    #[test]
    fn a_proof_is_admitted_once_and_older_ones_no_more() {
        let mut gate = Gate::new(key(), 10);
        let mut admit = |name, timestamp| gate.admit(NOW, name, timestamp, &key().token(name, timestamp));
        assert_eq!(admit("a", NOW - 5), Ok(()));
        assert_eq!(admit("a", NOW - 5), Err(Refusal::Replayed));
        assert_eq!(admit("a", NOW - 6), Err(Refusal::Replayed));
        assert_eq!(admit("b", NOW - 6), Ok(()));
        assert_eq!(admit("a", NOW - 4), Ok(()));
    }

    #[test]
    fn the_window_is_a_minute_both_ways() {
        let mut gate = Gate::new(key(), 10);
        let mut admit = |timestamp| gate.admit(NOW, "a", timestamp, &key().token("a", timestamp));
        assert_eq!(admit(NOW - 60_001), Err(Refusal::Stale { off_ms: 60_001 }));
        assert_eq!(admit(NOW + 60_001), Err(Refusal::Stale { off_ms: 60_001 }));
        assert_eq!(admit(0), Err(Refusal::Stale { off_ms: NOW }));
        assert_eq!(admit(u64::MAX), Err(Refusal::Stale { off_ms: u64::MAX - NOW }));
        assert_eq!(admit(NOW - 60_000), Ok(()));
        assert_eq!(admit(NOW + 60_000), Ok(()));
    }

    #[test]
    fn names_are_forgotten_only_when_their_proofs_are_stale() {
        let mut gate = Gate::new(key(), 2);
        let mut admit = |now, name, timestamp| gate.admit(now, name, timestamp, &key().token(name, timestamp));
        assert_eq!(admit(NOW, "a", NOW), Ok(()));
        assert_eq!(admit(NOW, "b", NOW + 1), Ok(()));
        assert_eq!(admit(NOW, "c", NOW), Err(Refusal::Full));
        assert_eq!(admit(NOW + 60_000, "c", NOW + 60_000), Err(Refusal::Full));
        assert_eq!(admit(NOW + 60_001, "c", NOW + 60_000), Ok(()));
        assert_eq!(admit(NOW + 60_001, "a", NOW), Err(Refusal::Stale { off_ms: 60_001 }));
        assert_eq!(admit(NOW + 60_001, "b", NOW + 1), Err(Refusal::Replayed));
    }

    proptest! {
        #[test]
        fn any_other_name_time_or_proof_is_forged(
            name in "[a-z]{1,8}", other in "[a-z]{1,8}", skew in 1..1000u64, bit in 0..256usize,
        ) {
            let mut gate = Gate::new(key(), 10);
            let mac = key().token(&name, NOW);
            if name != other {
                prop_assert_eq!(gate.admit(NOW, &other, NOW, &mac), Err(Refusal::Forged));
            }
            prop_assert_eq!(gate.admit(NOW, &name, NOW + skew, &mac), Err(Refusal::Forged));
            let mut flipped = mac;
            flipped.0[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(gate.admit(NOW, &name, NOW, &flipped), Err(Refusal::Forged));
            prop_assert_eq!(gate.admit(NOW, &name, NOW, &mac), Ok(()));
        }
    }
}
