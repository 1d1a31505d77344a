//! HTTP servers. They carry requests to machines and answers back, and decide nothing.

pub(crate) mod farewell;
pub mod front;
pub(crate) mod limit;
pub(crate) mod prometheus;
pub(crate) mod proof;
pub mod worker;
