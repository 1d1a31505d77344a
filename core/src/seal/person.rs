//! Sharing to a person: a share's key wrapped so that only who has the secret of an X25519 public key unwraps it.

use std::fmt;
use std::str::FromStr;

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use data_encoding::BASE64URL_NOPAD;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

use super::key::{derive, from_base64url};
use super::{BadKey, SealError, ShareKey, TAG_LEN};

/// Bytes of a public key.
const PUBLIC_LEN: usize = 32;
const WRAPPED_LEN: usize = PUBLIC_LEN + 32 + TAG_LEN;

/// A person's X25519 secret: 32 random bytes, which its owner takes from the system and keeps.
#[derive(Clone)]
pub struct Identity([u8; 32]);

/// A person's X25519 public key, to be given to anybody. Its text is 43 characters of base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_LEN]);

/// A share's key that only one person unwraps. Its text is 107 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WrappedKey([u8; WRAPPED_LEN]);

impl Identity {
    /// The identity of this secret.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// Its text, to be kept secret: 43 characters of base64url.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    /// What others share to.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519(self.0, X25519_BASEPOINT_BYTES))
    }

    /// The key that was wrapped to this identity.
    ///
    /// # Errors
    /// [`SealError::NotForYou`] if it was wrapped to another, or changed since.
    pub fn unwrap(&self, wrapped: &WrappedKey) -> Result<ShareKey, SealError> {
        let (ephemeral, sealed) = wrapped.0.split_first_chunk::<PUBLIC_LEN>().expect("it is longer");
        let (text, tag) = sealed.split_last_chunk::<TAG_LEN>().expect("it is longer");
        let shared = agree(self.0, *ephemeral).ok_or(SealError::NotForYou)?;
        let cipher = wrapping_cipher(&shared, ephemeral, &self.public());
        let mut key: [u8; 32] = text.try_into().expect("a key is between them");
        let opened = cipher.decrypt_inout_detached(&[0; 12].into(), b"", (&mut key[..]).into(), tag.into());
        opened.map_err(|_| SealError::NotForYou)?;
        Ok(ShareKey::new(key))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl FromStr for Identity {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        from_base64url(text, "an identity").map(Self)
    }
}

impl PublicKey {
    /// The key of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; PUBLIC_LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_LEN] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        from_base64url(text, "a public key").map(Self)
    }
}

impl WrappedKey {
    /// Wraps `key` to a person. `ephemeral` is 32 random bytes, for this once.
    ///
    /// # Errors
    /// [`SealError::UnusablePublicKey`] if the public key is none of anybody's.
    pub fn wrap(key: &ShareKey, to: &PublicKey, ephemeral: [u8; 32]) -> Result<Self, SealError> {
        let public = x25519(ephemeral, X25519_BASEPOINT_BYTES);
        let shared = agree(ephemeral, to.0).ok_or(SealError::UnusablePublicKey)?;
        let mut text = *key.as_bytes();
        // The wrapping key seals this and nothing else, so the nonce need not differ.
        let cipher = wrapping_cipher(&shared, &public, to);
        let tag = cipher.encrypt_inout_detached(&[0; 12].into(), b"", (&mut text[..]).into());
        let tag = tag.expect("a key is far below the limit of AES-GCM");
        let mut wrapped = [0; WRAPPED_LEN];
        wrapped[..PUBLIC_LEN].copy_from_slice(&public);
        wrapped[PUBLIC_LEN..PUBLIC_LEN + 32].copy_from_slice(&text);
        wrapped[PUBLIC_LEN + 32..].copy_from_slice(&tag);
        Ok(Self(wrapped))
    }
}

impl fmt::Display for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappedKey")
    }
}

impl FromStr for WrappedKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        from_base64url(text, "a wrapped key").map(Self)
    }
}

/// The secret that two keys share; `None` for a public key of low order, with which anybody could know it.
fn agree(secret: [u8; 32], public: [u8; PUBLIC_LEN]) -> Option<[u8; 32]> {
    let shared = x25519(secret, public);
    (shared != [0; 32]).then_some(shared)
}

fn wrapping_cipher(shared: &[u8; 32], ephemeral: &[u8; PUBLIC_LEN], to: &PublicKey) -> Aes256Gcm {
    Aes256Gcm::new(&derive(shared, &[b"kollator to 1", ephemeral, &to.0]).into())
}
