//! Consistent-hash ring.
