//! The real runtime over simulated hosts: TCP and UDP by `turmoil`, time by tokio's paused clock.
//!
//! [`SimNet`] and [`SimRuntime`] stand where production has the operating system's sockets; nothing else
//! differs. [`seeded`] makes a run a function of its seed, so that a failure can be replayed.

pub mod interpose;
mod net;
mod rtc;
pub mod seeded;

pub use self::net::SimNet;
pub use self::rtc::{SimRuntime, rtc_config};
