//! Drives Kollator's machines: tokio, WebRTC, HTTP, S3 and disks.
//!
//! What the protocol decides is decided in `kollator-core`; this crate does what it is told and says what happened.
//! It takes its network and its WebRTC runtime by injection, so that the code that serves production is the
//! code that runs in the simulator.

pub mod blocking;
pub mod dht;
pub mod disk;
pub mod driver;
pub mod event;
pub mod http;
pub mod link;
pub mod net;
pub mod node;
pub mod open_files;
mod pread;
pub mod rtc;
pub mod state;
pub mod storage;
pub mod sync;
