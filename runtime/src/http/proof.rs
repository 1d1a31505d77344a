//! Who may use the endpoints that change something, or are for other workers: whoever has the shared key. And how a
//! worker proves itself to another.
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
use kollator_core::auth::{Gate, Refusal, SharedKey, WindowGate};
use kollator_core::id::Digest;
use kollator_core::wire::signal::MAX_NAME;
use tracing::warn;

/// How far ahead of the clock the times of proofs may run, in milliseconds: a worker that proves itself more than once
/// in a millisecond borrows from those that follow.
const MAX_AHEAD: u64 = 30_000;

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
    /// For what other workers ask, many things at once and in no order.
    workers: Mutex<WindowGate>,
    unix_ms: fn() -> u64,
    refused: AtomicU64,
}

impl Proofs {
    pub(crate) fn new(worker: String, key: SharedKey, unix_ms: fn() -> u64) -> Self {
        let gate = Mutex::new(Gate::new(key.clone(), MAX_USERS));
        let workers = Mutex::new(WindowGate::new(key, MAX_USERS));
        Self { worker, gate, workers, unix_ms, refused: AtomicU64::new(0) }
    }

    /// Requests refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Uses up a proof; the name in it.
    fn admit<'a>(&self, method: &str, path: &str, header: Option<&'a str>) -> Result<&'a str, Unproven> {
        let (name, timestamp_ms, mac) = read(header)?;
        let user = about(method, path, &self.worker, name);
        // Taken under the lock, so that two requests at once are judged by rising times.
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.admit((self.unix_ms)(), &user, timestamp_ms, &mac)?;
        Ok(name)
    }

    /// Uses up another worker's proof; the name in it. Its proofs may come in another order than they were made in.
    fn admit_worker<'a>(&self, method: &str, path: &str, header: Option<&'a str>) -> Result<&'a str, Unproven> {
        let (name, timestamp_ms, mac) = read(header)?;
        let what = about(method, path, &self.worker, name);
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.admit((self.unix_ms)(), name, &what, timestamp_ms, &mac)?;
        Ok(name)
    }

    fn refuse(&self, method: &str, path: &str, why: Unproven) -> Response {
        self.refused.fetch_add(1, Ordering::Relaxed);
        warn!(target: "kollator::audit", method, path, %why, "refuses a request");
        let head = [(header::WWW_AUTHENTICATE, "Kollator")];
        (StatusCode::UNAUTHORIZED, head, format!("{why}\n")).into_response()
    }
}

/// Makes the proofs with which one worker asks others.
#[derive(Debug)]
pub(crate) struct Prover {
    name: String,
    key: SharedKey,
    unix_ms: fn() -> u64,
    /// The time of the newest proof.
    newest: AtomicU64,
}

impl Prover {
    pub(crate) const fn new(name: String, key: SharedKey, unix_ms: fn() -> u64) -> Self {
        Self { name, key, unix_ms, newest: AtomicU64::new(0) }
    }

    /// The value of `Authorization` for one request to `worker`.
    pub(crate) fn header(&self, method: &str, path: &str, worker: &str) -> String {
        let (name, time) = (&self.name, self.time());
        let mac = self.key.token(&about(method, path, worker, name), time);
        format!("Kollator {name}:{time}:{mac}")
    }

    /// A time that no other proof has: no two are alike, however many are made in a millisecond. A clock that was set
    /// back by more than [`MAX_AHEAD`] is believed all the same: others believe theirs.
    fn time(&self) -> u64 {
        let read = (self.unix_ms)();
        let next = |newest: u64| if newest < read || newest >= read + MAX_AHEAD { read } else { newest + 1 };
        let order = Ordering::Relaxed;
        next(self.newest.fetch_update(order, order, |newest| Some(next(newest))).expect("there is always a next"))
    }
}

/// What a proof is about.
fn about(method: &str, path: &str, worker: &str, name: &str) -> String {
    format!("{method} {path} {worker} {name}")
}

fn read(header: Option<&str>) -> Result<(&str, u64, Digest), Unproven> {
    let (scheme, proof) = header.and_then(|text| text.split_once(' ')).ok_or(Unproven::Missing)?;
    if !scheme.eq_ignore_ascii_case("kollator") {
        return Err(Unproven::Missing);
    }
    fields(proof.trim()).ok_or(Unproven::Malformed)
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
    let (method, path) = (request.method().as_str(), request.uri().path());
    match proofs.admit(method, path, header_of(&request)) {
        Ok(name) => {
            tracing::info!(target: "kollator::audit", name, method, path, "a proven request");
            next.run(request).await
        }
        Err(why) => proofs.refuse(method, path, why),
    }
}

/// Lets a request through by which another worker proves itself.
pub(crate) async fn require_worker(State(proofs): State<Arc<Proofs>>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().as_str(), request.uri().path());
    match proofs.admit_worker(method, path, header_of(&request)) {
        Ok(_) => next.run(request).await,
        Err(why) => proofs.refuse(method, path, why),
    }
}

fn header_of(request: &Request) -> Option<&str> {
    request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default())
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

    /// However many a worker asks for within a millisecond, and in whatever order its questions arrive: each proof is
    /// good, once, for that one thing.
    #[test]
    fn many_proofs_at_once_are_all_good_and_each_once() {
        let proofs = Proofs::new("w1".into(), key(), || NOW);
        let prover = Prover::new("w2".into(), key(), || NOW);
        let paths: Vec<String> = (0..3000).map(|n| format!("/home/{n}")).collect();
        let mut asked: Vec<_> = paths.iter().map(|path| (path, prover.header("GET", path, "w1"))).collect();
        // Every sixteen arrive the other way round.
        asked.chunks_mut(16).for_each(<[_]>::reverse);
        for (path, header) in &asked {
            let wrong = proofs.admit_worker("GET", "/home/other", Some(header));
            assert_eq!(wrong, Err(Unproven::Refused(Refusal::Forged)));
            assert_eq!(proofs.admit_worker("GET", path, Some(header)), Ok("w2"), "{path}");
            let again = proofs.admit_worker("GET", path, Some(header));
            assert_eq!(again, Err(Unproven::Refused(Refusal::Replayed)));
        }
        let stale = Proofs::new("w1".into(), key(), || NOW + 100_000);
        let (path, header) = &asked[0];
        assert!(matches!(
            stale.admit_worker("GET", path, Some(header)),
            Err(Unproven::Refused(Refusal::Stale { .. }))
        ));
        assert_eq!(proofs.admit_worker("GET", path, None), Err(Unproven::Missing));
    }

    /// A clock set back does not keep a worker from proving itself for longer than others remember.
    #[test]
    fn times_never_run_far_ahead() {
        static CLOCK: AtomicU64 = AtomicU64::new(NOW);
        let prover = Prover::new("w2".into(), key(), || CLOCK.load(Ordering::Relaxed));
        let times: Vec<u64> = (0..=MAX_AHEAD).map(|_| prover.time()).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]) && times[0] == NOW);
        assert_eq!((times[MAX_AHEAD as usize], prover.time()), (NOW + MAX_AHEAD, NOW));
        CLOCK.store(NOW - 3_600_000, Ordering::Relaxed);
        assert_eq!(prover.time(), NOW - 3_600_000);
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
