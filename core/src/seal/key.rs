//! The key of a share, and the keys that come of it.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::content::ContentKey;
use super::names::Nonce;

/// The key of one sealed share: 32 random bytes, which its maker takes from the system.
#[derive(Clone)]
pub struct ShareKey([u8; 32]);

/// A text that is no key of its kind. Says nothing of the text, which may be most of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {length} characters of base64url")]
pub struct BadKey {
    /// What the text should have been.
    pub what: &'static str,
    /// Characters in it.
    pub length: usize,
}

impl ShareKey {
    /// The key of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be kept secret.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its text as links have it: 43 characters of base64url, to be kept secret. There is no `Display`, so that
    /// no key is printed by accident.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    pub(super) fn names_key(&self) -> [u8; 32] {
        derive(&self.0, &[b"kollator names 1"])
    }

    pub(super) fn content_key(&self, nonce: &Nonce) -> ContentKey {
        ContentKey::new(derive(&self.0, &[b"kollator file 1", nonce]))
    }
}

impl PartialEq for ShareKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for ShareKey {}

impl fmt::Debug for ShareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShareKey")
    }
}

impl FromStr for ShareKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        from_base64url(text, "the key of an encrypted share").map(Self)
    }
}

/// Exactly `N` bytes in base64url without padding.
pub(super) fn from_base64url<const N: usize>(text: &str, what: &'static str) -> Result<[u8; N], BadKey> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(BadKey { what, length: BASE64URL_NOPAD.encode_len(N) })
}

/// HKDF-SHA256 of `secret` with an empty salt and the parts of `info`, one after the other.
pub(super) fn derive(secret: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let mut key = [0; 32];
    let hkdf = Hkdf::<Sha256>::new(None, secret);
    hkdf.expand_multi_info(info, &mut key).expect("HKDF-SHA256 gives up to 8160 bytes");
    key
}
