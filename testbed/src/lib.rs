//! A whole Kollator network on one machine: its embedded S3 server, local DHT, test doubles and benchmarks.

pub mod dht;
pub mod load;
pub mod s3;
