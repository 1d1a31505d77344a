//! Drives Kollator's machines: tokio, WebRTC, HTTP, S3 and disks.
//!
//! What the protocol decides is decided in `kollator-core`; this crate does what it is told and says what happened.

pub mod blocking;
