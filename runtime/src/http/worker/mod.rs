//! A worker's HTTP server: how it is and what it has done, the chunks and files that it stores, and what an operator may
//! have it do. Carries questions to the machine and decides nothing.

mod body;
mod chunks;
mod content;
mod cors;
mod dht;
mod metrics;
mod range;
mod shares;
mod stats;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::{Listener, ListenerExt as _};
use axum::{Json, Router};
use kollator_core::auth::SharedKey;
use kollator_core::id::InfoHash;
use kollator_core::metainfo::{Metainfo, web_seed_url};
use kollator_core::node::front::Budget;
use kollator_core::node::worker::{Ask, AskError, Told};
use kollator_core::store::StoreError;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::warn;

use self::body::{Bodies, Unavailable};
use self::content::Content;
use self::shares::Shares;
use crate::blocking::Blocking;
use crate::http::limit::{self, RequestLimit};
use crate::http::proof::{self, Proofs};
use crate::node::asker::Asker;

/// Longest wait at shutdown for what is being sent.
const GRACE: Duration = Duration::from_secs(5);

/// Requests that one address may make of a worker, if nothing else is said: 500 a second, 2,000 at once.
pub const REQUESTS: Budget = Budget { burst: 2_000, interval: Duration::from_millis(2) };

/// What a worker's HTTP server is made of.
#[derive(Debug)]
pub struct WorkerHttp {
    /// Name of the worker.
    pub name: String,
    /// URL at which it serves HTTP, as clients reach it.
    pub url: String,
    /// What proves an operator, or another worker.
    pub key: SharedKey,
    /// Tells the wall clock, in Unix milliseconds.
    pub unix_ms: fn() -> u64,
    /// Requests that one IPv4 address or IPv6 /64 may make.
    pub requests: Budget,
    /// Where `.ko`s are parsed.
    pub blocking: Blocking,
}

/// Serves a worker on `listener` until `shutdown` resolves, then for five seconds at most what is being sent.
///
/// # Errors
/// If the listener fails.
///
/// # Panics
/// If `http` allows no request at all.
pub async fn serve<L>(
    listener: L,
    http: WorkerHttp,
    asker: Asker,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    L: Listener<Addr = SocketAddr>,
{
    let WorkerHttp { name, url, key, unix_ms, requests, blocking } = http;
    let shared = Arc::new(Shared {
        begun: Instant::now(),
        url,
        proofs: Arc::new(Proofs::new(name.clone(), key, unix_ms)),
        name,
        requests: Arc::new(RequestLimit::new(requests)),
        shares: Shares::new(asker.clone(), blocking.clone()),
        bodies: Bodies::new(asker.clone()),
        asker,
        blocking,
    });
    let app = router(shared).into_make_service_with_connect_info::<SocketAddr>();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut server = Box::pin(
        // axum tells the remote address of any tapped listener, but else only of tokio's own.
        axum::serve(listener.tap_io(|_| {}), app)
            .with_graceful_shutdown(async move {
                // Resolves when the other side is dropped.
                let _ = stopped.await;
            })
            .into_future(),
    );
    tokio::select! {
        result = &mut server => return result,
        () = shutdown => {}
    }
    drop(stop);
    timeout(GRACE, server).await.unwrap_or_else(|_| {
        warn!("some HTTP clients did not take what they asked for in time");
        Ok(())
    })
}

/// What every request may use.
struct Shared {
    begun: Instant,
    name: String,
    url: String,
    asker: Asker,
    proofs: Arc<Proofs>,
    requests: Arc<RequestLimit>,
    shares: Shares,
    bodies: Bodies,
    blocking: Blocking,
}

type App = State<Arc<Shared>>;

fn router(shared: Arc<Shared>) -> Router {
    let proven = from_fn_with_state(shared.proofs.clone(), proof::require);
    let of_worker = from_fn_with_state(shared.proofs.clone(), proof::require_worker);
    Router::new()
        .route("/cache/clear", post(clear_cache))
        .route("/dht/announce", post(dht::announce).layer(DefaultBodyLimit::max(dht::MAX_BODY)))
        .route_layer(proven)
        .route("/health", get(stats::health))
        .route("/stats", get(stats::stats))
        .route("/metrics", get(stats::metrics))
        .route("/chunks", get(chunks::list))
        .route("/chunks/{id}", get(chunks::chunk))
        .route("/chunks/{id}/hashes", get(chunks::hashes))
        .route("/home/{id}", get(chunks::for_worker).layer(of_worker))
        .route("/files/{info_hash}/{*path}", get(file))
        .route("/torrents/{name}", get(torrent))
        .layer(from_fn_with_state(shared.requests.clone(), limit::limit))
        .layer(from_fn(cors::allow))
        .with_state(shared)
}

/// `GET /files/{info hash}/{path}`: a file of a share, or part of it.
async fn file(State(shared): App, method: Method, headers: HeaderMap, uri: Uri) -> Result<Response, Refused> {
    // Taken from the URL as it came: a decoded path could not tell a slash in a name from one between names.
    let (name, path) =
        uri.path().strip_prefix("/files/").and_then(|rest| rest.split_once('/')).unwrap_or_default();
    let share = shared.share(name).await?;
    let Some(file) = shares::file_at(&share, path).map_err(bad_request)? else {
        return Err(Refused::Said(StatusCode::NOT_FOUND, "the share has no such file".to_owned()));
    };
    Ok(shared.bodies.answer(&method, &headers, Content::File(share, file)).await?)
}

/// `GET /torrents/{info hash}.ko`: a share's `.ko`, with this worker as a web seed.
async fn torrent(State(shared): App, Path(name): Path<String>) -> Result<Response, Refused> {
    let name = name.strip_suffix(".ko").ok_or_else(|| bad_request("it must be an info hash and `.ko`"))?;
    let share = shared.share(name).await?;
    let url = web_seed_url(&shared.url, share.info_hash());
    let seeded = move || {
        share.with_web_seed(&url).unwrap_or_else(|error| {
            warn!(%error, "a .ko is handed out without its web seed");
            share.raw().clone()
        })
    };
    let ko = shared.blocking.run(seeded).await;
    Ok(shared.bodies.ko(ko)?)
}

/// `POST /cache/clear`: everything that nobody is reading leaves the cache.
async fn clear_cache(State(shared): App) -> Result<Response, Refused> {
    match shared.asker.ask(Ask::ClearCache).await? {
        Told::Cleared { chunks } => Ok(Json(json!({"removed": chunks})).into_response()),
        other => unreachable!("the cache was to be cleared, not {other:?}"),
    }
}

impl Shared {
    async fn share(&self, info_hash: &str) -> Result<Arc<Metainfo>, Refused> {
        let info_hash: InfoHash = info_hash.parse().map_err(bad_request)?;
        Ok(self.shares.get(info_hash).await?.ok_or(AskError::Store(StoreError::NotFound))?)
    }
}

/// Why a request gets no more than a line of text.
enum Refused {
    Unavailable(Unavailable),
    Said(StatusCode, String),
}

fn bad_request(why: impl fmt::Display) -> Refused {
    Refused::Said(StatusCode::BAD_REQUEST, why.to_string())
}

impl From<Unavailable> for Refused {
    fn from(why: Unavailable) -> Self {
        Self::Unavailable(why)
    }
}

impl From<AskError> for Refused {
    fn from(error: AskError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Unavailable(why) => why.into_response(),
            Self::Said(status, why) => (status, format!("{why}\n")).into_response(),
        }
    }
}
