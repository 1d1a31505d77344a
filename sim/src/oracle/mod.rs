//! Judges: each watches a world event by event for one property and says the moment it is broken.
//! None of them asks a machine how it feels; they go by what it heard and what it said.

use bytes::Bytes;
use kollator_core::id::{Digest, PeerId};
use kollator_core::machine::Instant;
use kollator_core::merkle::{BLOCK_LEN, VerifiedBlocks};
use kollator_core::node::front::{FrontInput, FrontOutput};
use kollator_core::node::io::{Claim, Place};
use kollator_core::node::peer::{PeerInput, PeerOutput};
use kollator_core::node::worker::{WorkerInput, WorkerOutput};
use kollator_core::rtc::ConnId;
use kollator_core::store::Key;
use kollator_core::wire::frame::Frame;

use crate::world::{FaultKind, Truth};

mod blame;
mod completed;
mod delivery;
mod durable;
mod excuses;
mod gained;
mod leaks;
mod limits;
mod liveness;
mod requests;
mod ring;
mod runs;
mod served;
mod spin;
mod web;
mod written;

pub(crate) use excuses::EXCUSE;

/// One thing that happened.
#[derive(Debug)]
pub struct WorldEvent<'a> {
    /// When, in the world's time.
    pub at: Instant,
    /// To which node: an index into [`Truth::nodes`].
    pub node: usize,
    /// What.
    pub fact: Fact<'a>,
}

/// What can happen in a world.
#[derive(Clone, Debug)]
pub enum Fact<'a> {
    /// A process started with nothing in memory.
    Started {
        /// Its name on the network for this life (a front has none, and shows zeros).
        id: PeerId,
    },
    /// A process is gone with all it had in memory.
    Crashed,
    /// A front is told something.
    FrontHeard(&'a FrontInput),
    /// A front wants something done.
    FrontSaid(&'a FrontOutput),
    /// A worker is told something.
    WorkerHeard(&'a WorkerInput),
    /// A worker wants something done.
    WorkerSaid(&'a WorkerOutput),
    /// A peer is told something.
    PeerHeard(&'a PeerInput),
    /// A peer wants something done.
    PeerSaid(&'a PeerOutput),
    /// The next thing a worker or peer hears is this frame.
    FrameHeard {
        /// On which of its connections.
        conn: ConnId,
        /// Which node sent it.
        from: usize,
        /// The frame; absent if its bytes are none.
        frame: Option<&'a Frame>,
        /// How it was falsified, if it was.
        lie: Option<FaultKind>,
    },
    /// The machine has nothing more to say.
    Rested {
        /// When it wants to be woken.
        next_wake: Option<Instant>,
        /// How many connections it believes to have, where it says so.
        sessions: Option<usize>,
        /// How many connections its WebRTC stack has for it.
        channels: usize,
    },
    /// A peer's disk will return wrong bytes: what it serves may look like a lie.
    DiskSpoilt,
    /// The backing store has this object from now on.
    Backed(Key),
    /// The faults are over for all nodes but the [`Truth::broken`].
    Healed,
}

/// A property of worlds.
pub trait Oracle {
    /// What it watches, for the report.
    fn name(&self) -> &'static str;

    /// Judges one event.
    ///
    /// # Errors
    /// What is wrong.
    fn observe(&mut self, event: &WorldEvent<'_>, truth: &Truth) -> Result<(), String>;

    /// Judges the whole run, once it is over.
    ///
    /// # Errors
    /// What is wrong.
    fn at_end(&mut self, truth: &Truth) -> Result<(), String> {
        let _ = truth;
        Ok(())
    }
}

/// All judges of a world, fresh.
#[must_use]
pub fn all() -> Vec<Box<dyn Oracle>> {
    vec![
        Box::<written::Written>::default(),
        Box::<completed::Completed>::default(),
        Box::<gained::Gained>::default(),
        Box::<blame::Blame>::default(),
        Box::<requests::Requests>::default(),
        Box::<limits::Limits>::default(),
        Box::<delivery::Delivery>::default(),
        Box::<ring::Assignment>::default(),
        Box::<durable::Durable>::default(),
        Box::<excuses::Excuses>::default(),
        Box::<served::Served>::default(),
        Box::<web::Web>::default(),
        Box::<spin::Spin>::default(),
        Box::<leaks::Leaks>::default(),
        Box::<liveness::Liveness>::default(),
    ]
}

/// The blocks of a write to the place of their chunk, each with its own place.
fn blocks_at(chunk: Place, blocks: &VerifiedBlocks) -> impl Iterator<Item = (Place, Bytes)> + '_ {
    let first = chunk.offset + u64::from(blocks.first()) * u64::from(BLOCK_LEN);
    let parts = blocks.data().chunks(BLOCK_LEN as usize);
    (first..)
        .step_by(BLOCK_LEN as usize)
        .zip(parts)
        .map(move |(offset, part)| (Place { file: chunk.file, offset }, blocks.data().slice_ref(part)))
}

/// The blocks that a disk claims to have.
fn claimed_blocks(claims: &[Claim]) -> impl Iterator<Item = (Place, Digest)> + '_ {
    claims.iter().flat_map(|claim| {
        let offsets = (claim.place.offset..).step_by(BLOCK_LEN as usize);
        offsets.zip(&claim.leaves).map(|(offset, leaf)| (Place { offset, ..claim.place }, *leaf))
    })
}
