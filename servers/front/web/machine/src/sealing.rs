//! Calls about sealed shares: names, keys, and blocks for hosts without an engine of their own. Keys go in and out as
//! base64url or raw bytes, and never into an error text.

use bytes::Bytes;
use kollator_core::merkle::BLOCK_LEN;
use kollator_core::metainfo::Metainfo;
use kollator_core::seal::{
    self, BadKey, ContentKey, Identity, OpenedShare, PLAIN_BLOCK_LEN, PublicKey, SealError, ShareKey, WrappedKey,
};
use serde::Serialize;

use crate::calls::{NewFile, Refusal, broken};

/// How a sealed share is inside and outside. The content keys of its files, 32 bytes each, are the payload.
#[derive(Serialize)]
pub(crate) struct Opened {
    name: String,
    single: bool,
    files: Vec<OpenedFile>,
}

/// A file of a sealed share.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OpenedFile {
    path: Vec<String>,
    length: u64,
    sealed_path: Vec<String>,
    sealed_length: u64,
    /// Which of the given files it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
}

/// How files become a sealed share.
pub(crate) fn layout(key: &str, name: &str, files: Vec<NewFile>) -> Result<(Opened, Vec<u8>), Refusal> {
    let files: Vec<(Vec<String>, u64)> = files.into_iter().map(|file| (file.path, file.length)).collect();
    let (share, order) = seal::layout(&share_key(key)?, name, &files)?;
    Ok(opened(share, Some(&order)))
}

/// What a sealed share holds.
pub(crate) fn open(key: &str, ko: Bytes) -> Result<(Opened, Vec<u8>), Refusal> {
    let metainfo = Metainfo::parse(ko).map_err(|error| broken(error.to_string()))?;
    Ok(opened(seal::open(&metainfo, &share_key(key)?)?, None))
}

fn opened(share: OpenedShare, order: Option<&[usize]>) -> (Opened, Vec<u8>) {
    let keys = share.files.iter().flat_map(|file| *file.key.as_bytes()).collect();
    let file = |(number, file): (usize, seal::SealedFile)| OpenedFile {
        sealed_length: file.sealed_length(),
        path: file.path,
        length: file.length,
        sealed_path: file.sealed_path,
        index: order.map(|order| order[number]),
    };
    let files = share.files.into_iter().enumerate().map(file).collect();
    (Opened { name: share.name, single: share.single_file, files }, keys)
}

/// Seals successive blocks of a file of `length` plain bytes.
pub(crate) fn seal_blocks(key: &str, length: u64, first: u64, plain: &[u8]) -> Result<Vec<u8>, Refusal> {
    let key = content_key(key)?;
    let rest = first.checked_mul(PLAIN_BLOCK_LEN.into()).and_then(|start| length.checked_sub(start));
    let given = plain.len() as u64;
    let is_whole = |rest| given == rest || (given < rest && given.is_multiple_of(PLAIN_BLOCK_LEN.into()));
    if !rest.is_some_and(is_whole) {
        return Err(broken(format!(
            "{given} bytes from block {first} on end neither with a block nor with the file of {length} bytes"
        )));
    }
    Ok(key.seal_run(length, first, plain))
}

/// Opens successive blocks of a file of `length` plain bytes.
pub(crate) fn open_blocks(key: &str, length: u64, first: u64, sealed: &[u8]) -> Result<Vec<u8>, Refusal> {
    let blocks = (sealed.len() as u64).div_ceil(BLOCK_LEN.into());
    if first.checked_add(blocks).is_none() {
        return Err(broken(format!("no file has a block {first}")));
    }
    Ok(content_key(key)?.open_run(length, first, sealed)?)
}

/// A share's key, wrapped to a person. `ephemeral` is 32 random bytes.
pub(crate) fn wrap(key: &str, to: &str, ephemeral: &[u8]) -> Result<String, Refusal> {
    let to: PublicKey = to.parse()?;
    Ok(WrappedKey::wrap(&share_key(key)?, &to, thirty_two(ephemeral)?)?.to_string())
}

/// A share's key that was wrapped to the identity of this secret.
pub(crate) fn unwrap(wrapped: &str, secret: &[u8]) -> Result<String, Refusal> {
    let wrapped: WrappedKey = wrapped.parse()?;
    Ok(Identity::new(thirty_two(secret)?).unwrap(&wrapped)?.to_text())
}

/// The public key of the identity of this secret.
pub(crate) fn public(secret: &[u8]) -> Result<String, Refusal> {
    Ok(Identity::new(thirty_two(secret)?).public().to_string())
}

/// A share's key from its text.
pub(crate) fn share_key(text: &str) -> Result<ShareKey, Refusal> {
    Ok(text.parse()?)
}

/// The key of a file's content, which is written like a share's.
fn content_key(text: &str) -> Result<ContentKey, Refusal> {
    Ok(ContentKey::new(*share_key(text)?.as_bytes()))
}

fn thirty_two(payload: &[u8]) -> Result<[u8; 32], Refusal> {
    payload.try_into().map_err(|_| broken(format!("the payload must have 32 bytes, got {}", payload.len())))
}

impl From<SealError> for Refusal {
    fn from(error: SealError) -> Self {
        let code = match error {
            SealError::NoKey => "key-missing",
            SealError::WrongKey | SealError::NotForYou => "key-wrong",
            SealError::NotSealed => "link",
            SealError::UnusablePublicKey => "refused",
            _ => "broken",
        };
        Self { code, message: error.to_string() }
    }
}

impl From<BadKey> for Refusal {
    fn from(error: BadKey) -> Self {
        Self { code: "key-wrong", message: error.to_string() }
    }
}
