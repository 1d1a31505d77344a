//! What must hold of stores that ask each other: one file a property.

mod acknowledged_chunk_is_readable;
mod bounds_hold;
mod everybody_is_answered;
mod liars_are_left_alone;
mod no_question_goes_round;
mod nothing_wrong_is_served;
mod reads_go_on_without_s3;

use std::collections::{BTreeMap, BTreeSet};

use kollator_core::id::ChunkId;
use kollator_core::machine::Instant;
use kollator_core::node::io::Ticket;
use kollator_core::store::{Answer, Config, HomeAnswer, Store};

pub use acknowledged_chunk_is_readable::AcknowledgedChunkIsReadable;
pub use bounds_hold::BoundsHold;
pub use everybody_is_answered::EverybodyIsAnswered;
pub use liars_are_left_alone::LiarsAreLeftAlone;
pub use no_question_goes_round::NoQuestionGoesRound;
pub use nothing_wrong_is_served::NothingWrongIsServed;
pub use reads_go_on_without_s3::ReadsGoOnWithoutS3;

use super::world::Asked;

/// A worker and what its driver knows.
#[derive(Debug)]
pub struct Worker {
    /// The limits it was promised to keep.
    pub config: Config,
    /// The machine; `None` while the worker is down.
    pub store: Option<Store>,
    /// Which life of it this is.
    pub life: u64,
    pub(super) disk: BTreeSet<ChunkId>,
    /// Whoever waits for an answer, and whether that is another worker.
    pub(super) open: BTreeMap<Ticket, (ChunkId, Option<Asked>)>,
    /// What it asks others.
    pub(super) asking: BTreeMap<Ticket, ChunkId>,
    /// Reads of its own clients that worked, and everything else that was answered to them.
    pub(super) answered: (u64, u64),
}

impl Worker {
    pub(super) const fn new(config: Config) -> Self {
        Self {
            config,
            store: None,
            life: 0,
            disk: BTreeSet::new(),
            open: BTreeMap::new(),
            asking: BTreeMap::new(),
            answered: (0, 0),
        }
    }

    pub(super) fn die(&mut self) {
        self.life += 1;
        self.open.clear();
        self.asking.clear();
    }

    pub(super) fn with(&mut self, act: impl FnOnce(&mut Store)) {
        if let Some(store) = &mut self.store {
            act(store);
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.store.as_ref()?.next_wake()
    }

    /// Whether it has a chunk in its cache.
    #[must_use]
    pub fn caches(&self, chunk: ChunkId) -> bool {
        self.store.as_ref().is_some_and(|store| store.cached().any(|cached| cached == chunk))
    }
}

/// What happened last.
#[derive(Clone, Copy, Debug)]
pub enum Happening<'a> {
    /// A store answered somebody.
    Said {
        /// Whose.
        worker: usize,
        /// What it was about.
        chunk: ChunkId,
        /// What it said.
        answer: &'a Answer,
    },
    /// A worker asks another.
    Asks {
        /// Which.
        worker: usize,
        /// For what.
        chunk: ChunkId,
        /// Whom.
        home: usize,
    },
    /// It hears how that went.
    Answered {
        /// Which.
        worker: usize,
        /// For what.
        chunk: ChunkId,
        /// Whom it asked.
        home: usize,
        /// How it went.
        answer: &'a HomeAnswer,
    },
    /// A chunk was read with S3 gone and everything else well.
    WithoutS3 {
        /// Where.
        worker: usize,
        /// Which.
        chunk: ChunkId,
        /// Who has it in its cache.
        holders: &'a [usize],
        /// Whether it can be read without S3.
        expected: bool,
        /// Whether it was read, and whether it was refused, in time.
        found: (bool, bool),
    },
    /// Something else.
    Other,
}

/// Everything as it is.
#[derive(Debug)]
pub struct View<'a> {
    /// What time it is.
    pub now: Instant,
    /// The workers.
    pub workers: &'a [Worker],
    /// Chunks that S3 has.
    pub s3: &'a BTreeSet<ChunkId>,
    /// S3 answers nobody.
    pub s3_down: bool,
    /// All faults are over.
    pub healed: bool,
}

/// Watches one property.
pub trait Oracle {
    /// Its name, for reports.
    fn name(&self) -> &'static str;

    /// Called after every event.
    ///
    /// # Errors
    /// How the property is broken.
    fn watch(&mut self, happening: Happening<'_>, view: &View<'_>) -> Result<(), String> {
        let _ = (happening, view);
        Ok(())
    }

    /// Called when all faults are over, everything was read, and nothing is under way.
    ///
    /// # Errors
    /// How the property is broken.
    fn healed(&mut self, view: &View<'_>) -> Result<(), String> {
        let _ = view;
        Ok(())
    }
}

/// One of each.
#[must_use]
pub fn all() -> Vec<Box<dyn Oracle>> {
    vec![
        Box::new(AcknowledgedChunkIsReadable::default()),
        Box::new(NothingWrongIsServed),
        Box::new(NoQuestionGoesRound),
        Box::new(LiarsAreLeftAlone::default()),
        Box::new(BoundsHold),
        Box::new(EverybodyIsAnswered),
        Box::new(ReadsGoOnWithoutS3),
    ]
}
