//! HTTP servers. They carry requests to machines and answers back, and decide nothing.

pub(crate) mod farewell;
pub mod front;
