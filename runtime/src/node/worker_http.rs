//! A worker's HTTP: is it there, and what has it done. Carries questions to the machine and decides nothing.

use std::io;
use std::net::SocketAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use axum::{Json, Router};
use kollator_core::id::ChunkId;
use kollator_core::node::worker::Worker;
use kollator_core::store::Stats;
use serde_json::{Value, json};

use crate::driver::Handle;

/// Serves `GET /health` and `GET /stats` until `shutdown` resolves.
///
/// # Errors
/// If the listener fails.
pub async fn serve<L>(
    listener: L,
    name: String,
    worker: Handle<Worker>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    L: Listener<Addr = SocketAddr>,
{
    let app = Router::new()
        .route("/health", get(health))
        .route("/stats", get(stats))
        .with_state(Served { name: name.into(), worker });
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}

#[derive(Clone)]
struct Served {
    name: std::sync::Arc<str>,
    worker: Handle<Worker>,
}

async fn health(State(served): State<Served>) -> Response {
    match served.worker.query(|worker| worker.is_online()).await {
        Ok(online) => Json(json!({"status": "ok", "name": &*served.name, "online": online})).into_response(),
        Err(_) => broken(),
    }
}

async fn stats(State(served): State<Served>) -> Response {
    let known = |worker: &mut Worker| {
        (worker.store().stats(), worker.connections(), worker.bytes_served(), worker.is_online())
    };
    match served.worker.query(known).await {
        Ok((store, (open, total), bytes_served, online)) => Json(json!({
            "name": &*served.name,
            "online": online,
            "connections": {"open": open, "total": total},
            "bytes_served": bytes_served,
            "cache": cache(&store),
            "store": {
                "fetched": store.fetched,
                "fetched_bytes": store.fetched_bytes,
                "stored": store.stored,
                "stored_bytes": store.stored_bytes,
                "faults": store.faults,
                "memory_bytes": store.memory,
                "waiting": store.waiting,
            },
        }))
        .into_response(),
        Err(_) => broken(),
    }
}

fn cache(store: &Stats) -> Value {
    let cache = &store.cache;
    let reads = cache.hits + cache.misses;
    json!({
        "hits": cache.hits,
        "misses": cache.misses,
        "hit_rate": if reads == 0 { 0.0 } else { cache.hits as f64 / reads as f64 },
        "evictions": cache.evictions,
        "expirations": cache.expirations,
        "chunks": cache.chunks,
        "bytes": cache.bytes,
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
