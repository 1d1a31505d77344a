//! What every backing store can do, whether it is S3 or a folder: keep objects for good.

use bytes::Bytes;
use kollator_core::node::io::DiskError;
use kollator_core::store::{Key, MAX_KO_LEN};

/// What there is under an object's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No object.
    Nothing,
    /// An object of so many bytes, or more, which no object of this name has.
    WrongLength(u64),
    /// An object of a length that its name allows.
    Body(Bytes),
}

/// Whether a put may replace an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutMode {
    /// An object that is there with these very bytes stays as it is; one with others is replaced.
    Create,
    /// What is there is wrong or out of date.
    Replace,
}

/// Keeps objects for good. Does not know what they mean: who gets one must verify it.
#[async_trait::async_trait]
pub trait Backing: Send + Sync + 'static {
    /// The object's bytes. Retries by itself.
    ///
    /// # Errors
    /// If they could not be read.
    async fn get(&self, key: Key) -> Result<Found, DiskError>;

    /// Keeps an object for good: durable when it returns. Retries by itself.
    ///
    /// # Errors
    /// If that failed; it may have been applied all the same.
    async fn put(&self, key: Key, body: Bytes, mode: PutMode) -> Result<(), DiskError>;

    /// Whether there is such an object, of a length that its name allows. Retries by itself.
    ///
    /// # Errors
    /// If that could not be found out.
    async fn has(&self, key: Key) -> Result<bool, DiskError>;

    /// Names of objects that begin with `prefix`, a folder with its `/`: some of those that come after `after`, in the
    /// order of their bytes; none if there are no more. Retries by itself.
    ///
    /// # Errors
    /// If they could not be found out.
    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, DiskError>;
}

/// Whether an object of this name may be `length` bytes long.
pub(super) fn allows_length(key: Key, length: u64) -> bool {
    match key {
        Key::Chunk(chunk) => length == u64::from(chunk.length()),
        Key::Torrent(_) => (1..=MAX_KO_LEN).contains(&length),
    }
}
