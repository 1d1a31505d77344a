//! Transfer machines.
