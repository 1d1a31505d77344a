//! Judges of the fronts: each watches for one property, event by event. None asks a machine how it feels.

use kollator_core::cluster::saved::Record;
use kollator_core::id::PeerId;
use kollator_core::machine::Instant;
use kollator_core::node::front::{FrontInput, FrontOutput};

mod ballots;
mod delivery;
mod epochs;
mod leaders;

/// What happened to a front or a client.
#[derive(Debug)]
pub enum Fact<'a> {
    /// A front's process began.
    Started,
    /// A front's process ended.
    Ended,
    /// What a front kept is gone.
    DiskLost,
    /// A front hears this next.
    Heard(&'a FrontInput),
    /// A front said this.
    Said(&'a FrontOutput),
    /// This is on a front's disk from now on.
    Durable(Record),
    /// A client's process began.
    ClientStarted {
        /// Its name.
        id: PeerId,
    },
    /// A client sent a signal.
    Signalled {
        /// Its number among all signals.
        number: u64,
        /// Who.
        from: PeerId,
        /// Whom it is for.
        to: PeerId,
        /// On which connection.
        conn: Option<u64>,
    },
    /// A client was handed a signal.
    Got {
        /// Its number.
        number: u64,
        /// Who is said to have sent it.
        from: PeerId,
        /// Who got it.
        me: PeerId,
        /// On which connection.
        conn: Option<u64>,
    },
    /// The faults are over.
    Healed,
}

/// A property of clusters.
pub trait Oracle {
    /// What it watches, for the report.
    fn name(&self) -> &'static str;

    /// Judges one event at front or client `node`.
    ///
    /// # Errors
    /// What is wrong.
    fn observe(&mut self, now: Instant, node: usize, fact: &Fact<'_>) -> Result<(), String>;
}

/// All judges, fresh.
#[must_use]
pub fn all() -> Vec<Box<dyn Oracle>> {
    vec![
        Box::<leaders::Leaders>::default(),
        Box::<ballots::Ballots>::default(),
        Box::<epochs::Epochs>::default(),
        Box::<delivery::Delivery>::default(),
    ]
}
