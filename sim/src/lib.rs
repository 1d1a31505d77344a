//! Simulated worlds that try to break Kollator's machines and runtime.

pub mod store;
pub mod turmoil;
