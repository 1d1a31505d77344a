//! The real runtime over simulated hosts: TCP and UDP by `turmoil`, time by tokio's paused clock.
//!
//! [`SimNet`] and [`SimRuntime`] stand where production has the operating system's sockets; nothing else
//! differs. [`seeded`] makes a run a function of its seed, so that a failure can be replayed; [`repeat`] sees that it
//! is one. [`hosts`] are what stories are told of, [`watch`] judges what fronts say of themselves meanwhile.

pub mod hosts;
pub mod interpose;
mod net;
pub mod repeat;
mod rtc;
pub mod seeded;
pub mod watch;

pub use self::net::SimNet;
pub use self::rtc::{SimRuntime, Udp, rtc_config};
