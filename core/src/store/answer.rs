//! What the store answers to whoever asked it: the words only, no decisions.

use bytes::Bytes;

#[cfg(doc)]
use super::Store;
use super::effect::PartData;
use crate::node::io::Ticket;

/// The answer to one ticket. Each ticket gets exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Store::read`].
    Data {
        /// Of the question.
        ticket: Ticket,
        /// What was read.
        result: Result<PartData, StoreError>,
    },
    /// To [`Store::put`] and [`Store::put_torrent`]: the backing store has it.
    Stored {
        /// Of the question.
        ticket: Ticket,
        /// Whether it worked. After [`StoreError::Failed`] it may be stored nevertheless.
        result: Result<(), StoreError>,
    },
    /// To [`Store::contains`].
    Contains {
        /// Of the question.
        ticket: Ticket,
        /// Whether the backing store has it.
        result: Result<bool, StoreError>,
    },
    /// To [`Store::torrent`].
    Torrent {
        /// Of the question.
        ticket: Ticket,
        /// The `.ko`, if the backing store has it.
        result: Result<Option<Bytes>, StoreError>,
    },
}

/// Why the store could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The backing store has no such chunk, or the chunk has no such part.
    #[error("not found")]
    NotFound,
    /// A limit is reached; later it may work.
    #[error("busy")]
    Busy,
    /// The disk or the backing store failed.
    #[error("{0}")]
    Failed(String),
}
