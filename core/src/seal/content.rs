//! Content of a sealed share: plain blocks of 16,368 bytes, each sealed into one leaf of 16 KiB.

use std::fmt;

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use subtle::ConstantTimeEq as _;

use super::SealError;
use crate::merkle::BLOCK_LEN;

/// Bytes that sealing adds to a block.
pub const TAG_LEN: usize = 16;
/// Plain bytes in a block, the file's last but for: with its tag, it is one leaf.
pub const PLAIN_BLOCK_LEN: u32 = BLOCK_LEN - TAG_LEN as u32;

/// Bytes in a file of `plain` bytes once it is sealed.
#[must_use]
pub const fn sealed_length(plain: u64) -> u64 {
    plain.saturating_add(plain.div_ceil(PLAIN_BLOCK_LEN as u64).saturating_mul(TAG_LEN as u64))
}

/// Bytes in the file that has `sealed` bytes once it is sealed; `None` if there is no such file.
#[must_use]
pub const fn plain_length(sealed: u64) -> Option<u64> {
    let short = sealed % BLOCK_LEN as u64;
    if short != 0 && short <= TAG_LEN as u64 {
        return None;
    }
    Some(sealed - sealed.div_ceil(BLOCK_LEN as u64) * TAG_LEN as u64)
}

/// Seals and opens the blocks of one file.
#[derive(Clone)]
pub struct ContentKey([u8; 32]);

impl ContentKey {
    /// The key of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be kept secret: for a driver that seals with an engine of its own.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals one block; `last` if the file ends with it.
    ///
    /// # Panics
    /// If it is empty or longer than [`PLAIN_BLOCK_LEN`].
    #[must_use]
    pub fn seal_block(&self, block: u64, last: bool, plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plain.len() + TAG_LEN);
        seal_into(&mut sealed, &self.cipher(), block, last, plain);
        sealed
    }

    /// Opens one block; `last` if the file ends with it.
    ///
    /// # Errors
    /// If it is not what this key sealed at this place of the file.
    pub fn open_block(&self, block: u64, last: bool, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut plain = Vec::with_capacity(sealed.len());
        open_into(&mut plain, &self.cipher(), block, last, sealed)?;
        Ok(plain)
    }

    /// Seals successive blocks from `first` on, of a file of `length` plain bytes.
    ///
    /// # Panics
    /// If `plain` neither ends with a block nor with the file.
    #[must_use]
    pub fn seal_run(&self, length: u64, first: u64, plain: &[u8]) -> Vec<u8> {
        let cipher = self.cipher();
        let blocks = length.div_ceil(u64::from(PLAIN_BLOCK_LEN));
        let mut sealed = Vec::with_capacity(sealed_length(plain.len() as u64) as usize);
        for (block, plain) in (first..).zip(plain.chunks(PLAIN_BLOCK_LEN as usize)) {
            let start = block * u64::from(PLAIN_BLOCK_LEN);
            assert_eq!(plain.len() as u64, (length - start).min(u64::from(PLAIN_BLOCK_LEN)), "whole blocks");
            seal_into(&mut sealed, &cipher, block, block + 1 == blocks, plain);
        }
        sealed
    }

    /// Opens successive blocks from `first` on, of a file of `length` plain bytes.
    ///
    /// # Errors
    /// The first block that is not what this key sealed at this place of such a file.
    pub fn open_run(&self, length: u64, first: u64, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let cipher = self.cipher();
        let blocks = length.div_ceil(u64::from(PLAIN_BLOCK_LEN));
        let mut plain = Vec::with_capacity(sealed.len());
        for (block, sealed) in (first..).zip(sealed.chunks(BLOCK_LEN as usize)) {
            open_into(&mut plain, &cipher, block, block + 1 == blocks, sealed)?;
        }
        Ok(plain)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&self.0.into())
    }
}

impl PartialEq for ContentKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for ContentKey {}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey")
    }
}

/// A block's nonce: its index, and whether the file ends with it, so that no cut goes unnoticed.
fn nonce(block: u64, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&block.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

/// Appends one sealed block.
fn seal_into(out: &mut Vec<u8>, cipher: &Aes256Gcm, block: u64, last: bool, plain: &[u8]) {
    assert!((1..=PLAIN_BLOCK_LEN as usize).contains(&plain.len()), "a block of {} bytes", plain.len());
    let start = out.len();
    out.extend_from_slice(plain);
    let tag = cipher.encrypt_inout_detached(&nonce(block, last).into(), b"", (&mut out[start..]).into());
    out.extend(tag.expect("a block is far below the limit of AES-GCM"));
}

/// Appends one opened block; after an error, nothing of it.
fn open_into(
    out: &mut Vec<u8>,
    cipher: &Aes256Gcm,
    block: u64,
    last: bool,
    sealed: &[u8],
) -> Result<(), SealError> {
    let refused = SealError::Block { block };
    let Some((text, tag)) = sealed.split_last_chunk::<TAG_LEN>().filter(|(text, _)| !text.is_empty()) else {
        return Err(refused);
    };
    let start = out.len();
    out.extend_from_slice(text);
    let nonce = nonce(block, last).into();
    if cipher.decrypt_inout_detached(&nonce, b"", (&mut out[start..]).into(), tag.into()).is_err() {
        out.truncate(start);
        return Err(refused);
    }
    Ok(())
}
