//! Kollator's protocol: everything it decides, decided by pure state machines.
//!
//! Nothing in this crate does I/O, reads a clock, rolls dice, starts a thread or depends on an iteration order
//! that could differ between runs. Servers, terminal, browser and simulators drive the same machines.

pub mod allow;
pub mod auth;
pub mod cluster;
pub mod dht;
pub mod id;
pub mod link;
pub mod machine;
pub mod merkle;
pub mod metainfo;
pub mod node;
pub mod ring;
pub mod rtc;
pub mod seal;
pub mod session;
pub mod store;
pub mod swarm;
pub mod switchboard;
pub mod transfer;
pub mod uplink;
pub mod wire;
