//! Who may use the endpoints that change something: whoever has the shared key.
//!
//! `Authorization: Kollator NAME:TIMESTAMP:MAC`, where MAC is HMAC-SHA256 with the shared key over
//! `METHOD PATH WORKER NAME:TIMESTAMP`: a proof is good for one request to one worker, once, within a minute. No other
//! proof of the protocol is one, since no worker's name has a space.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use kollator_core::auth::{Gate, Refusal, SharedKey};
use kollator_core::id::Digest;
use kollator_core::wire::signal::MAX_NAME;
use tracing::warn;

/// Users and endpoints remembered at once, so that no proof is good twice.
const MAX_USERS: usize = 1024;

/// Why a request is refused. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unproven {
    #[error("this needs the header `Authorization: Kollator NAME:TIMESTAMP:MAC`")]
    Missing,
    #[error(
        "the proof must be NAME:TIMESTAMP:MAC: 1 to 64 of A-Z a-z 0-9 . _ -, Unix milliseconds, 64 hex digits"
    )]
    Malformed,
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Judges proofs meant for one worker.
#[derive(Debug)]
pub(crate) struct Proofs {
    worker: String,
    gate: Mutex<Gate>,
    unix_ms: fn() -> u64,
    refused: AtomicU64,
}

impl Proofs {
    pub(crate) fn new(worker: String, key: SharedKey, unix_ms: fn() -> u64) -> Self {
        let gate = Mutex::new(Gate::new(key, MAX_USERS));
        Self { worker, gate, unix_ms, refused: AtomicU64::new(0) }
    }

    /// Requests refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Uses up a proof; the name in it.
    fn admit<'a>(&self, method: &str, path: &str, header: Option<&'a str>) -> Result<&'a str, Unproven> {
        let (scheme, proof) = header.and_then(|text| text.split_once(' ')).ok_or(Unproven::Missing)?;
        if !scheme.eq_ignore_ascii_case("kollator") {
            return Err(Unproven::Missing);
        }
        let (name, timestamp_ms, mac) = fields(proof.trim()).ok_or(Unproven::Malformed)?;
        let user = format!("{method} {path} {} {name}", self.worker);
        // Taken under the lock, so that two requests at once are judged by rising times.
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.admit((self.unix_ms)(), &user, timestamp_ms, &mac)?;
        Ok(name)
    }
}

fn fields(proof: &str) -> Option<(&str, u64, Digest)> {
    let mut fields = proof.split(':');
    let (name, timestamp, mac) = (fields.next()?, fields.next()?, fields.next()?);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(legal);
    let is_number = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    (is_name && is_number && fields.next().is_none()).then_some(())?;
    Some((name, timestamp.parse().ok()?, mac.parse().ok()?))
}

/// Lets a request through that proves itself.
pub(crate) async fn require(State(proofs): State<Arc<Proofs>>, request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let (method, path) = (request.method().as_str(), request.uri().path());
    match proofs.admit(method, path, header) {
        Ok(name) => {
            tracing::info!(target: "kollator::audit", name, method, path, "a proven request");
            next.run(request).await
        }
        Err(why) => {
            proofs.refused.fetch_add(1, Ordering::Relaxed);
            warn!(target: "kollator::audit", method, path, %why, "refuses a request");
            let head = [(header::WWW_AUTHENTICATE, "Kollator")];
            (StatusCode::UNAUTHORIZED, head, format!("{why}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_767_225_600_000;

    fn key() -> SharedKey {
        SharedKey::new(b"a key for testing").expect("long enough")
    }

    fn proof(about: &str, name: &str, timestamp_ms: u64) -> String {
        format!("Kollator {name}:{timestamp_ms}:{}", key().token(&format!("{about} {name}"), timestamp_ms))
    }

    #[test]
    fn a_proof_is_good_once_for_one_request_to_one_worker() {
        let proofs = Proofs::new("w1".into(), key(), || NOW);
        let admit =
            |method: &str, path: &str, header: &str| proofs.admit(method, path, Some(header)).map(str::to_owned);
        let good = proof("POST /cache/clear w1", "admin", NOW);
        for (method, path) in [("GET", "/cache/clear"), ("POST", "/cache"), ("POST", "/dht/announce")] {
            assert_eq!(admit(method, path, &good), Err(Unproven::Refused(Refusal::Forged)));
        }
        let elsewhere = Proofs::new("w2".into(), key(), || NOW);
        assert_eq!(elsewhere.admit("POST", "/cache/clear", Some(&good)), Err(Unproven::Refused(Refusal::Forged)));
        assert_eq!(admit("POST", "/cache/clear", &good).as_deref(), Ok("admin"));
        assert_eq!(admit("POST", "/cache/clear", &good), Err(Unproven::Refused(Refusal::Replayed)));
        let stale = proof("POST /cache/clear w1", "other", NOW - 60_001);
        let refusal = Refusal::Stale { off_ms: 60_001 };
        assert_eq!(admit("POST", "/cache/clear", &stale), Err(Unproven::Refused(refusal)));
    }

    /// What a worker says to its fronts is no proof here, whoever overheard it.
    #[test]
    fn a_hello_is_no_proof() {
        let proofs = Proofs::new("w1".into(), key(), || NOW);
        let hello = format!("Kollator w1:{NOW}:{}", key().token("w1", NOW));
        assert_eq!(proofs.admit("POST", "/cache/clear", Some(&hello)), Err(Unproven::Refused(Refusal::Forged)));
    }

    #[test]
    fn junk_is_told_from_a_missing_proof() {
        let proofs = Proofs::new("w1".into(), key(), || NOW);
        let mac = "0".repeat(64);
        for header in [None, Some(""), Some("Kollator"), Some("Basic YTpi")] {
            assert_eq!(proofs.admit("POST", "/x", header), Err(Unproven::Missing));
        }
        let long = "n".repeat(65);
        for proof in [
            String::new(),
            "admin".to_owned(),
            format!("admin:1:{mac}:x"),
            format!("admin:-1:{mac}"),
            format!("admin:+1:{mac}"),
            format!("admin::{mac}"),
            format!("a b:1:{mac}"),
            format!(":1:{mac}"),
            format!("{long}:1:{mac}"),
            format!("admin:99999999999999999999:{mac}"),
            "admin:1:00".to_owned(),
        ] {
            let header = format!("Kollator {proof}");
            assert_eq!(proofs.admit("POST", "/x", Some(&header)), Err(Unproven::Malformed), "{header}");
        }
    }
}
