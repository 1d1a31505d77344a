//! Simulated worlds that try to break Kollator: [`world`] runs the real node machines on an event heap, with
//! every fault that a seed asks for, and [`oracle`] judges what they do; [`cluster`] does the same to fronts among
//! themselves, [`election`] to their election alone, [`store`] to the worker's store alone, [`together`] to some stores
//! that ask each other. [`simulation`] is what these five have in common. [`turmoil`] runs the real runtimes on simulated hosts.

pub mod cluster;
pub mod election;
pub mod fault;
mod heap;
mod kinds;
pub mod oracle;
pub mod plant;
pub mod report;
pub mod simulation;
pub mod store;
pub mod together;
mod trace;
pub mod turmoil;
pub mod world;
