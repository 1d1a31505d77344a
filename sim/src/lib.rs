//! Simulated worlds that try to break Kollator: [`world`] runs the real node machines on an event heap, with
//! every fault that a seed asks for, and [`oracle`] judges what they do; [`store`] does the same to the worker's
//! store alone, [`election`] to the election of fronts; [`turmoil`] runs the real runtimes on simulated hosts.

pub mod election;
pub mod oracle;
pub mod store;
pub mod turmoil;
pub mod world;
