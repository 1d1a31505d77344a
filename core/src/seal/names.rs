//! Names of a sealed share: full paths, each sealed into a path of its own that says only its rank and, in steps of
//! 32 bytes, its length.

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::{SealError, ShareKey, TAG_LEN};
use crate::metainfo::{MAX_PATH_DEPTH, name};

/// Most bytes in a full path that is sealed, the share's name included.
pub const MAX_SEALED_PATH: usize = (COMPONENT_LEN * MAX_PATH_DEPTH / 4 * 3 - NONCE_LEN - TAG_LEN) / STEP * STEP;

const NONCE_LEN: usize = 12;
/// Paths are padded to a multiple of this.
const STEP: usize = 32;
/// Characters of base64url in a path component.
const COMPONENT_LEN: usize = 200;

/// What a path is sealed with, and what its file's key comes of.
pub(super) type Nonce = [u8; NONCE_LEN];

/// A path, sealed: its nonce, the ciphertext, the tag.
pub(super) struct Sealed(Vec<u8>);

/// Why a sealed path does not open.
pub(super) enum Unopened {
    /// It was not sealed with this key.
    Forged,
    /// It was, but is not a path as it must be.
    Malformed(&'static str),
}

impl Sealed {
    /// The sealed path in file `number`'s path in a metainfo; the error says what is wrong with that.
    pub(super) fn read(number: u32, path: &[String]) -> Result<Self, &'static str> {
        let (first, rest) = path.split_first().expect("a file has a path");
        let Some(first) = first.strip_prefix(&prefix(number)) else {
            return Err("its path does not begin with its index in six hexadecimal digits and a dot");
        };
        let (last, full) = path.split_last().expect("it has a first");
        let last = if rest.is_empty() { first } else { last };
        let is_cut = |component: &str| component.len() == COMPONENT_LEN;
        let middle = full.iter().skip(1).all(|component| is_cut(component));
        if !middle || (!rest.is_empty() && !is_cut(first)) || last.is_empty() || last.len() > COMPONENT_LEN {
            return Err("its path is not cut into components of 200 characters");
        }
        let text = [first].into_iter().chain(rest.iter().map(String::as_str)).collect::<String>();
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| "its path is not base64url")?;
        let padded = bytes.len().checked_sub(NONCE_LEN + TAG_LEN).filter(|n| *n > 0 && n.is_multiple_of(STEP));
        padded.map(|_| Self(bytes)).ok_or("its path has a length that no sealed path has")
    }

    /// Its path in a metainfo.
    pub(super) fn path(&self, number: u32) -> Vec<String> {
        let text = BASE64URL_NOPAD.encode(&self.0);
        let mut path: Vec<String> = text
            .as_bytes()
            .chunks(COMPONENT_LEN)
            .map(|part| std::str::from_utf8(part).expect("base64url is ASCII").to_owned())
            .collect();
        path[0].insert_str(0, &prefix(number));
        path
    }

    pub(super) fn nonce(&self) -> Nonce {
        self.0[..NONCE_LEN].try_into().expect("it has a nonce")
    }
}

/// What a path in a metainfo begins with, so that its files are in order.
fn prefix(number: u32) -> String {
    format!("{number:06x}.")
}

/// Seals and opens the names of one share.
pub(super) struct NamesKey {
    mac: Hmac<Sha256>,
    cipher: Aes256Gcm,
}

impl NamesKey {
    pub(super) fn new(key: &ShareKey) -> Self {
        let key = key.names_key();
        Self {
            mac: Hmac::new_from_slice(&key).expect("HMAC takes a key of any length"),
            cipher: Aes256Gcm::new(&key.into()),
        }
    }

    /// Seals file `number`'s full path.
    pub(super) fn seal(&self, number: u32, path: &str) -> Result<Sealed, SealError> {
        if path.len() > MAX_SEALED_PATH {
            return Err(SealError::TooLong { path: name::shortened(path), length: path.len() });
        }
        let nonce = self.nonce(number, path);
        let mut sealed = nonce.to_vec();
        sealed.extend(path.as_bytes());
        sealed.resize(NONCE_LEN + path.len().next_multiple_of(STEP), 0);
        let text = (&mut sealed[NONCE_LEN..]).into();
        let tag = self.cipher.encrypt_inout_detached(&nonce.into(), b"", text);
        sealed.extend(tag.expect("a path is far below the limit of AES-GCM"));
        Ok(Sealed(sealed))
    }

    /// Opens file `number`'s full path.
    pub(super) fn open(&self, number: u32, sealed: &Sealed) -> Result<String, Unopened> {
        let nonce = sealed.nonce();
        let (text, tag) = sealed.0[NONCE_LEN..].split_at(sealed.0.len() - NONCE_LEN - TAG_LEN);
        let mut padded = text.to_vec();
        let tag = <&[u8; TAG_LEN]>::try_from(tag).expect("it has a tag");
        let opened = self.cipher.decrypt_inout_detached(&nonce.into(), b"", (&mut padded[..]).into(), tag.into());
        opened.map_err(|_| Unopened::Forged)?;
        let length = padded.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if length.next_multiple_of(STEP) != padded.len() {
            return Err(Unopened::Malformed("its name is not padded to the next multiple of 32 bytes"));
        }
        padded.truncate(length);
        let path = String::from_utf8(padded).map_err(|_| Unopened::Malformed("its name is not UTF-8"))?;
        if self.nonce(number, &path) != nonce {
            return Err(Unopened::Malformed("its name is sealed with a nonce that is not its own"));
        }
        Ok(path)
    }

    /// Made of the path itself: no two paths of a share have the same, whoever seals it and however often.
    fn nonce(&self, number: u32, path: &str) -> Nonce {
        let mac = self.mac.clone().chain_update(number.to_be_bytes()).chain_update(path).finalize().into_bytes();
        mac[..NONCE_LEN].try_into().expect("a MAC is longer than a nonce")
    }
}
