//! A worker's disk and S3: does what the store machine asks ([`StoreDriver`]) and decides nothing.
//!
//! [`CacheDir`] is the bounded cache on disk; a [`Backing`] keeps everything for good, in S3 ([`S3Backing`]) or
//! in a local directory ([`DirBacking`]). Nothing that was not verified leaves this module.

mod atomic;
mod backing;
mod cache_dir;
mod cache_file;
#[cfg(test)]
mod crash;
mod dir;
mod driver;
mod file_system;
mod s3;
mod verify;

pub use backing::{Backing, Found, PutMode};
pub use cache_dir::CacheDir;
pub(crate) use cache_file::{name as chunk_name, parse_name as parse_chunk_name};
pub use dir::DirBacking;
pub use driver::StoreDriver;
pub use s3::{S3Backing, S3Settings};
pub use verify::{Finding, Verified, verify_backing, verify_cache};
