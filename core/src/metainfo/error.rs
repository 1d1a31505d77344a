//! What can be wrong with a metainfo: which field, and what about it.

use super::bencode::Malformed;

/// The field of an error that belongs to none in particular.
pub(super) const UNLOCATED: &str = "metainfo";

/// Why a metainfo was refused. Nothing was built or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct MetainfoError {
    /// The field, as the keys that lead to it, for instance `info.piece length`; names of files are shortened.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl MetainfoError {
    pub(super) fn new(field: impl Into<String>, problem: Problem) -> Self {
        Self { field: field.into(), problem }
    }

    /// Names the field of an error that has none yet: the innermost caller that knows it does so first.
    pub(super) fn located(self, field: impl FnOnce() -> String) -> Self {
        if self.field == UNLOCATED { Self { field: field(), ..self } } else { self }
    }
}

impl From<Malformed> for MetainfoError {
    fn from(malformed: Malformed) -> Self {
        Self::new(UNLOCATED, malformed.into())
    }
}

impl From<Malformed> for Problem {
    fn from(Malformed { offset, what }: Malformed) -> Self {
        Self::Malformed { offset, what }
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not bencode, not canonical, or not of the right type.
    #[error("is malformed at byte {offset}: {what}")]
    Malformed {
        /// Offset in the whole metainfo.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// It is required.
    #[error("is missing")]
    Missing,
    /// There is only a BitTorrent v1 info dictionary.
    #[error("is BitTorrent v1 only; a share needs BitTorrent v2 (BEP 52)")]
    VersionOne,
    /// Its value is not one of those allowed.
    #[error("must be {expected}, got {got}")]
    Value {
        /// What is allowed.
        expected: &'static str,
        /// What it is, shortened.
        got: String,
    },
    /// It has, or would make, too much of something.
    #[error("is over the limit of {limit} {what}")]
    Limit {
        /// The most there may be.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
    /// It is a name under which no file can safely be created.
    #[error("is not a safe file name: {why}")]
    UnsafeName {
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is a file and a directory at once, or twice a file.
    #[error("is there twice, or is a file and a directory at once")]
    Clash,
    /// It is a symbolic link (BEP 47), which could lead out of the share.
    #[error("is a symbolic link, which is not supported")]
    SymbolicLink,
    /// An empty file has a `pieces root`, which BEP 52 forbids.
    #[error("must not be there for an empty file")]
    RootOfNothing,
    /// It does not have one hash for each piece.
    #[error("must hold {expected} piece hashes, got {got} bytes")]
    LayerLength {
        /// Pieces in the file.
        expected: u64,
        /// Bytes there.
        got: usize,
    },
    /// Its hashes do not fold to the file's `pieces root`.
    #[error("does not fold to its pieces root")]
    LayerRoot,
    /// It belongs to no file larger than one piece.
    #[error("belongs to no file larger than one piece")]
    LayerUnused,
}
