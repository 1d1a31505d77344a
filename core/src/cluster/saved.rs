//! What a front keeps over a restart. Types only: the driver has the disk.

use super::FrontId;
use super::epoch::Epoch;
use crate::wire::sync::Row;

/// What must be on disk, and stay there whatever crashes, before anything that follows it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// The newest term this front has been in, and its vote in it.
    Ballot {
        /// The term.
        term: u64,
        /// For whom, if it voted.
        voted_for: Option<FrontId>,
    },
    /// Which life of this front this is.
    Incarnation(u64),
}

/// What is kept when it is convenient: losing the newest of it in a crash does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The newest epoch.
    Epoch(Epoch),
    /// A row, in place of an older one of the same author and key. One without a value was removed.
    Row {
        /// Whose it is.
        author: FrontId,
        /// In which life of that front.
        incarnation: u64,
        /// The row.
        row: Row,
    },
    /// Everything of that author is gone.
    Forget {
        /// Whose rows.
        author: FrontId,
    },
}

/// What an earlier run of this front left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Its ballot.
    pub ballot: RecoveredBallot,
    /// Its incarnation; 0 if none is known.
    pub incarnation: u64,
    /// The newest epoch it knew.
    pub epoch: Epoch,
    /// Rows of other fronts, each with its author and that front's incarnation.
    pub rows: Vec<(FrontId, u64, Row)>,
}

/// What is known of an earlier vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoveredBallot {
    /// This front never ran.
    #[default]
    Fresh,
    /// It was in this term.
    Kept {
        /// The term.
        term: u64,
        /// For whom it voted, if it did.
        voted_for: Option<FrontId>,
    },
    /// It ran, and what it kept cannot be read any more: it may have voted in terms it does not know.
    Lost,
}
