//! Whole nodes: a machine, its driver and everything that carries out what it says, wired together.
//!
//! [`peer`] and [`worker`] are generic over the network and the WebRTC transport, so that production and the
//! simulator run the same wiring. They decide nothing about the protocol.

pub mod asker;
pub(crate) mod homes;
mod lanes;
mod memory;
pub mod peer;
mod tasks;
mod web;
pub mod worker;

use kollator_core::id::{Digest, PeerId};

pub use self::memory::resident_memory;

/// A seed from the operating system, for a machine's choices among equals.
///
/// # Panics
/// If the operating system has no randomness to give.
#[must_use]
pub fn random_seed() -> u64 {
    getrandom::u64().expect("the operating system gives random numbers")
}

/// A name for a node from the operating system's randomness.
///
/// # Panics
/// If the operating system has no randomness to give.
#[must_use]
pub fn random_id() -> PeerId {
    PeerId(Digest(random_secret()))
}

/// 32 bytes that nobody can guess, from the operating system: a key, for one.
///
/// # Panics
/// If the operating system has no randomness to give.
#[must_use]
pub fn random_secret() -> [u8; 32] {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).expect("the operating system gives random numbers");
    secret
}
