//! How a worker is and what it has done: for people and scripts in JSON, for Prometheus in its own format.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use kollator_core::id::ChunkId;
use kollator_core::node::worker::{DhtStats, Worker};
use kollator_core::store::Stats;
use serde_json::{Value, json};

use super::Shared;
use super::metrics::{self, Counted};

type App = State<Arc<Shared>>;

/// What the machine knows of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) store: Stats,
    pub(super) sessions: usize,
    pub(super) sessions_total: u64,
    /// Over data channels.
    pub(super) bytes_served: u64,
    /// Over HTTP.
    pub(super) bytes_told: u64,
    /// To other workers.
    pub(super) bytes_told_to_workers: u64,
    pub(super) online: bool,
    /// In percent; at 100 newcomers are turned away.
    pub(super) load: u8,
    pub(super) turned_away: u64,
    pub(super) send_queue: u64,
    pub(super) has_dht: bool,
    pub(super) dht: DhtStats,
}

impl Known {
    fn of(worker: &mut Worker) -> Self {
        let (sessions, sessions_total) = worker.connections();
        Self {
            store: worker.store().stats(),
            sessions,
            sessions_total,
            bytes_served: worker.bytes_served(),
            bytes_told: worker.bytes_told(),
            bytes_told_to_workers: worker.bytes_told_to_workers(),
            online: worker.is_online(),
            load: worker.load(),
            turned_away: worker.turned_away(),
            send_queue: worker.send_queue(),
            has_dht: worker.has_dht(),
            dht: worker.dht_stats(),
        }
    }

    /// Share of the reads that the cache answered; 0 before the first.
    pub(super) fn hit_rate(&self) -> f64 {
        let cache = &self.store.cache;
        let reads = cache.hits + cache.misses;
        if reads == 0 { 0.0 } else { cache.hits as f64 / reads as f64 }
    }
}

/// `GET /health`
pub(super) async fn health(State(shared): App) -> Response {
    match shared.asker.worker().query(|worker| worker.is_online()).await {
        Ok(online) => Json(json!({"status": "ok", "name": shared.name, "online": online})).into_response(),
        Err(_) => broken(),
    }
}

/// `GET /stats`
pub(super) async fn stats(State(shared): App) -> Response {
    match shared.asker.worker().query(Known::of).await {
        Ok(known) => Json(page(&shared, &known)).into_response(),
        Err(_) => broken(),
    }
}

/// `GET /metrics`
pub(super) async fn metrics(State(shared): App) -> Response {
    match shared.asker.worker().query(Known::of).await {
        Ok(known) => metrics::render(&known, &shared.counted()).into_response(),
        Err(_) => broken(),
    }
}

impl Shared {
    fn counted(&self) -> Counted {
        Counted {
            uptime_seconds: self.begun.elapsed().as_secs(),
            bodies: self.bodies.open(),
            requests_refused: self.requests.refused(),
            proofs_refused: self.proofs.refused(),
        }
    }
}

fn page(shared: &Shared, known: &Known) -> Value {
    let (store, counted) = (&known.store, shared.counted());
    json!({
        "name": shared.name,
        "online": known.online,
        "uptime": counted.uptime_seconds,
        "connections": {
            "open": known.sessions,
            "active": known.sessions,
            "total": known.sessions_total,
            "turned_away": known.turned_away,
            "send_queue_bytes": known.send_queue,
        },
        "load": known.load,
        "bytes_served": known.bytes_served,
        "cache": cache(known),
        "storage": {
            "s3Requests": store.backing_requests,
            "s3Errors": store.backing_errors,
            "uploadedChunks": store.stored,
        },
        "store": {
            "fetched": store.fetched,
            "fetched_bytes": store.fetched_bytes,
            "stored": store.stored,
            "stored_bytes": store.stored_bytes,
            "faults": store.faults,
            "cache_verified": store.cache_verified,
            "cache_corrupt": store.cache_corrupt,
            "backing_corrupt": store.backing_corrupt,
            "memory_bytes": store.memory,
            "waiting": store.waiting,
        },
        "dht": {
            "enabled": known.has_dht,
            "announcements": known.dht.announcements,
            "announcements_failed": known.dht.announcements_failed,
            "items": known.dht.items,
            "queries": known.dht.queries,
            "queries_failed": known.dht.queries_failed,
            "peers": known.dht.peers,
        },
        "homes": homes(known),
        "prefetch": {
            "begun": store.ahead.begun,
            "used": store.ahead.used,
            "wasted": store.ahead.wasted,
        },
        "http": {
            "bytes_served": known.bytes_told,
            "bodies": counted.bodies,
            "requests_refused": counted.requests_refused,
            "proofs_refused": counted.proofs_refused,
        },
    })
}

/// What came of asking other workers, and of their asking this one.
fn homes(known: &Known) -> Value {
    let homes = &known.store.homes;
    json!({
        "workers": homes.workers,
        "asked": homes.asked,
        "hits": homes.hits,
        "bytes": homes.bytes,
        "missing": homes.missing,
        "busy": homes.busy,
        "failures": homes.failures,
        "lies": homes.lies,
        "served": homes.served,
        "unserved": homes.unserved,
        "bytes_served": known.bytes_told_to_workers,
    })
}

/// What the cache has done and holds. Some of it is there under two names: ours, and those that tools made for the
/// older worker read.
fn cache(known: &Known) -> Value {
    let cache = &known.store.cache;
    json!({
        "hits": cache.hits,
        "misses": cache.misses,
        "hit_rate": known.hit_rate(),
        "hitRate": known.hit_rate(),
        "evictions": cache.evictions,
        "expirations": cache.expirations,
        "chunks": cache.chunks,
        "bytes": cache.bytes,
        "size": cache.bytes,
        "limit": cache.limit,
        "most_used": used(&cache.most_used),
        "least_used": used(&cache.least_used),
    })
}

fn used(chunks: &[(ChunkId, u64)]) -> Value {
    chunks.iter().map(|(chunk, reads)| json!({"chunk": chunk.to_string(), "reads": reads})).collect()
}

fn broken() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "broken"}))).into_response()
}
