//! HTTP servers. They carry requests to machines and answers back, and decide nothing.

pub mod front;
