//! What a host says: settings, then inputs, each a JSON header and perhaps bytes after it. Types and their checks only;
//! what becomes of them is the boundary's business.

use std::time::Duration;

use bytes::Bytes;
use kollator_core::id::{Digest, InfoHash, PeerId};
use kollator_core::merkle::BLOCK_LEN;
use kollator_core::node::io::{Claim, Place};
use kollator_core::node::peer::{HttpUse, PeerConfig, WorkerUrl};
use serde::{Deserialize, Deserializer};

/// The greatest whole number that JavaScript tells from its neighbours.
pub(crate) const MAX_SAFE: u64 = (1 << 53) - 1;

/// Settings of a machine, as `start` takes them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Config {
    id: PeerId,
    /// Decimal digits: JSON numbers of JavaScript have only 53 bits.
    #[serde(deserialize_with = "from_text")]
    seed: u64,
    fronts: u32,
    #[serde(default)]
    http: Http,
    /// Milliseconds.
    patience: Option<u32>,
    max_sessions: Option<u32>,
    max_swarm_dials: Option<u32>,
    /// Milliseconds.
    discovery_interval: Option<u32>,
    max_buffered: Option<u64>,
    /// Bytes a second; 0: no limit.
    #[serde(default)]
    upload_limit: u64,
    #[serde(default)]
    download_limit: u64,
}

/// Whether workers are asked over HTTP.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Http {
    #[default]
    Helping,
    Only,
    Never,
}

impl Config {
    /// As core has them.
    pub(crate) fn into_core(self) -> PeerConfig {
        let mut config = PeerConfig::new(self.id, self.seed, self.fronts as usize);
        config.http = match self.http {
            Http::Helping => HttpUse::Helping,
            Http::Only => HttpUse::Only,
            Http::Never => HttpUse::Never,
        };
        if let Some(patience) = self.patience {
            config.patience = Duration::from_millis(patience.into());
        }
        if let Some(most) = self.max_sessions {
            config.max_sessions = most as usize;
        }
        if let Some(most) = self.max_swarm_dials {
            config.max_swarm_dials = most as usize;
        }
        if let Some(interval) = self.discovery_interval {
            config.discovery = Duration::from_millis(interval.into());
        }
        if let Some(most) = self.max_buffered {
            config.max_buffered = most;
        }
        config.upload.limit = self.upload_limit;
        config.download_limit = self.download_limit;
        config
    }
}

/// What `handle` takes before the payload. The crate's documentation says what each is.
#[derive(Debug, Deserialize)]
#[serde(tag = "t", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(crate) enum Input {
    Wake {},
    Download { info_hash: InfoHash, sequential: bool },
    Share { upload: bool },
    Seek { info_hash: InfoHash, file: Option<u32>, offset: Option<u64> },
    AddWorkers { info_hash: InfoHash, workers: Vec<Url> },
    Meet { info_hash: InfoHash, peer: PeerId },
    Stop { info_hash: InfoHash },
    SetDiscovery { interval: u32 },
    SetLimits { upload: u64, download: u64 },
    Shutdown {},
    LinkUp {},
    LinkMessage {},
    LinkDown { reason: String },
    RtcDescribed { conn: u64, sdp: String },
    RtcOpen { conn: u64 },
    RtcMessage { conn: u64 },
    RtcSent { conn: u64, bytes: u32 },
    RtcClosed { conn: u64, reason: String },
    DiskPrepared { info_hash: InfoHash, claims: Option<Vec<Claimed>>, error: Option<String> },
    DiskRead { ticket: u64, error: Option<String> },
    DiskLeaves { ticket: u64, error: Option<String> },
    DiskHashed { ticket: u64 },
    DiskWritten { ticket: u64, error: Option<String> },
    DiskFinished { info_hash: InfoHash, error: Option<String> },
    WebHead { id: u64, status: u16, retry_after: Option<u32> },
    WebData { id: u64 },
    WebEnd { id: u64 },
    WebFailed { id: u64, reason: String },
}

impl Input {
    /// Whether bytes may come after the header.
    pub(crate) const fn takes_payload(&self) -> bool {
        match self {
            Self::Download { .. }
            | Self::Share { .. }
            | Self::LinkMessage {}
            | Self::RtcMessage { .. }
            | Self::DiskHashed { .. }
            | Self::WebData { .. } => true,
            Self::DiskPrepared { error, .. } | Self::DiskRead { error, .. } | Self::DiskLeaves { error, .. } => {
                error.is_none()
            }
            _ => false,
        }
    }
}

/// Blocks in a row that the disk holds; their hashes are in the payload.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claimed {
    file: u32,
    offset: u64,
    count: u32,
}

/// The URL of a worker.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Url(#[serde(deserialize_with = "from_text")] pub(crate) WorkerUrl);

/// The claims that a header names, with their hashes from the payload.
pub(crate) fn claims(claimed: &[Claimed], payload: &[u8]) -> Result<Vec<Claim>, String> {
    let mut leaves = digests(payload)?.into_iter();
    let hashes: u64 = claimed.iter().map(|claim| u64::from(claim.count)).sum();
    if hashes != leaves.len() as u64 {
        return Err(format!("the claims name {hashes} blocks, but the payload holds {} hashes", leaves.len()));
    }
    let claim = |Claimed { file, offset, count }: &Claimed| {
        if !offset.is_multiple_of(BLOCK_LEN.into()) || *offset > MAX_SAFE {
            return Err(format!("a claim's offset must be a multiple of {BLOCK_LEN}, got {offset}"));
        }
        let place = Place { file: *file, offset: *offset };
        Ok(Claim { place, leaves: leaves.by_ref().take(*count as usize).collect() })
    };
    claimed.iter().map(claim).collect()
}

/// The digests in a payload, one after another.
pub(crate) fn digests(payload: &[u8]) -> Result<Vec<Digest>, String> {
    let (digests, rest) = payload.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(format!("the payload must be digests of 32 bytes, got {} bytes", payload.len()));
    }
    Ok(digests.iter().copied().map(Digest).collect())
}

/// Cuts what the host wrote into header and payload. Copies nothing.
pub(crate) fn cut(input: &Bytes, header_len: usize) -> Result<(&[u8], Bytes), String> {
    let header = input
        .get(..header_len)
        .ok_or_else(|| format!("the header has {header_len} bytes, but the whole input only {}", input.len()))?;
    Ok((header, input.slice(header_len..)))
}

/// Reads whatever has a text form.
fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| serde::de::Error::custom(format!("{error}, got {text:?}")))
}
