//! A whole Kollator network on one machine: its embedded S3 server, test doubles and benchmarks.

pub mod load;
pub mod s3;
