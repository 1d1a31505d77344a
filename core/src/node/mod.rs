//! The three kinds of node, each one machine over the small ones: [`front`], [`worker`], [`peer`].

pub mod front;
pub mod io;
pub mod peer;
pub mod worker;
