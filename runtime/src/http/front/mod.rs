//! A front's HTTP server: the web app, pages about the front, `POST /bootstrap`, and the WebSocket `/signaling`. The front's machine
//! runs in a task of its own; everything here only brings it what came in and carries out what it says.

mod events;
mod host;
mod metrics;
mod outbox;
mod pages;
mod socket;
#[cfg(test)]
mod tests;
mod upgrade;
mod websocket;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::extract::{ConnectInfo, State as AxumState, WebSocketUpgrade};
use axum::handler::Handler as _;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::{Listener, ListenerExt};
use axum::{Json, Router};
use hyper_util::rt::TokioIo;
use kollator_core::auth::SharedKey;
use kollator_core::cluster::FrontId;
use kollator_core::cluster::roster::Roster;
use kollator_core::node::front::{Budget, ClientId, Front, FrontInput};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tracing::{info, warn};

use self::events::{Events, Watching};
use self::host::{FrontHost, Kept};
use self::metrics::Counted;
use self::outbox::Outbox;
pub use self::pages::Pages;
use self::upgrade::Upgrade;
use crate::driver::{self, Handle};
use crate::event::Stopped;
use crate::http::limit::{self, RequestLimit};
use crate::link::FrontUrl;
use crate::net::Net;
use crate::state::State as FrontState;
use crate::sync::{self, Acceptor, Links, SyncEvent};

/// Longest wait for clients to leave at shutdown.
const GRACE: Duration = Duration::from_secs(5);
/// How often the machine is told the wall clock.
const CLOCK_EVERY: Duration = Duration::from_secs(60);

/// Requests that one address may make of a front, if nothing else is said: 100 a second, 500 at once.
pub const REQUESTS: Budget = Budget { burst: 500, interval: Duration::from_millis(10) };

/// Unix milliseconds by the operating system's clock; 0 before 1970.
#[must_use]
pub fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What a front has around it besides its clients.
#[derive(Clone, Debug)]
pub struct Surroundings<N> {
    /// The network to the other fronts.
    pub net: N,
    /// What proves fronts to each other.
    pub key: SharedKey,
    /// All fronts, as this one sees them; its configuration names the same.
    pub roster: Roster,
    /// Where the others are.
    pub urls: BTreeMap<FrontId, FrontUrl>,
    /// Where the front keeps what it must not forget; without one it forgets everything with its process.
    pub state: Option<FrontState>,
    /// Tells the wall clock, in Unix milliseconds.
    pub unix_ms: fn() -> u64,
    /// HTTP requests that one IPv4 address or IPv6 /64 may make.
    pub requests: Budget,
    /// The web app.
    pub pages: Pages,
}

impl<N> Surroundings<N> {
    /// Those of a front that is alone, called `front-1`, and forgets everything with its process.
    ///
    /// # Panics
    /// Never: the name is legal.
    #[must_use]
    pub fn alone(net: N, key: SharedKey, unix_ms: fn() -> u64) -> Self {
        let roster = Roster::new("front-1", vec!["front-1".to_owned()]).expect("one legal name");
        Self {
            net,
            key,
            roster,
            urls: BTreeMap::new(),
            state: None,
            unix_ms,
            requests: REQUESTS,
            pages: Pages::default(),
        }
    }
}

/// Serves `front` on `listener` until `shutdown` resolves; then closes every client with a reason and returns
/// once they are gone, after five seconds at the latest.
///
/// # Errors
/// If the listener fails.
///
/// # Panics
/// If `surroundings` lacks the URL of another front, or allows no request at all.
pub async fn serve<L, N>(
    listener: L,
    front: Front,
    surroundings: Surroundings<N>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    L: Listener<Addr = SocketAddr>,
    N: Net,
{
    let Surroundings { net, key, roster, urls, state, unix_ms, requests, pages } = surroundings;
    info!(addr = %listener.local_addr()?, front = roster.own_name(), "front listening");
    let (handle, mailbox) = driver::mailbox();
    let sockets = Sockets::default();
    // Ends with this function: a dropped set aborts its tasks.
    let mut tasks = JoinSet::new();
    tasks.spawn(tell_time(handle.clone(), unix_ms));
    let heard = handle.sink(|event| match event {
        SyncEvent::Up { front } => FrontInput::PeerUp { front },
        SyncEvent::Down { front, .. } => FrontInput::PeerDown { front },
        SyncEvent::Message { front, data } => FrontInput::PeerMessage { front, data },
    });
    let acceptor = Arc::new(Acceptor::new(key.clone(), roster.clone(), heard.clone()));
    let (events, watching) = Events::new();
    let state_lost = state.as_ref().is_some_and(FrontState::was_lost);
    let host = FrontHost {
        sockets: sockets.clone(),
        links: Links::start(&net, &key, &roster, &urls, &heard),
        kept: Kept::start(state, handle.sink(|ticket| FrontInput::Persisted { ticket })),
        events,
    };
    tasks.spawn(async move {
        let (_, host) = driver::run(front, mailbox, || FrontInput::Wake, host).await;
        host.kept.finish().await;
    });

    let (alive, mut all_gone) = mpsc::channel(1);
    let (stop, stopped) = oneshot::channel::<Infallible>();
    let shared = Arc::new(Shared {
        handle: handle.clone(),
        sockets,
        acceptor: acceptor.clone(),
        requests: Arc::new(RequestLimit::new(requests)),
        page_requests: Arc::new(RequestLimit::new(REQUESTS)),
        pages,
        state_lost,
        watching,
        next: AtomicU64::new(0),
        alive,
    });
    let app = router(shared).into_make_service_with_connect_info::<SocketAddr>();
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
    // An error says that the machine has stopped already.
    let _ = handle.send(FrontInput::Shutdown).await;
    acceptor.close();
    let leaving = async {
        let result = server.await;
        all_gone.recv().await;
        result
    };
    timeout(GRACE, leaving).await.unwrap_or_else(|_| {
        warn!("some clients did not leave in time");
        Ok(())
    })
}

async fn tell_time(handle: Handle<Front>, unix_ms: fn() -> u64) {
    let mut ticks = interval(CLOCK_EVERY);
    loop {
        ticks.tick().await;
        if handle.send(FrontInput::Clock { unix_ms: unix_ms() }).await.is_err() {
            return;
        }
    }
}

/// What every request may use.
struct Shared {
    handle: Handle<Front>,
    sockets: Sockets,
    acceptor: Arc<Acceptor>,
    requests: Arc<RequestLimit>,
    /// Apart from the others, and not for the operator to set: however little the rest may be asked, whoever follows a
    /// link gets the whole app.
    page_requests: Arc<RequestLimit>,
    pages: Pages,
    /// What the last run kept was damaged.
    state_lost: bool,
    watching: Watching,
    next: AtomicU64,
    /// Held by everything that must end before a shutdown is complete.
    alive: mpsc::Sender<Infallible>,
}

/// The outboxes of connected clients.
#[derive(Clone, Default)]
struct Sockets(Arc<Mutex<Outboxes>>);

type Outboxes = HashMap<ClientId, Arc<Outbox>, BuildHasherDefault<ByNumber>>;

impl Sockets {
    fn with<R>(&self, f: impl FnOnce(&mut Outboxes) -> R) -> R {
        f(&mut self.0.lock().expect("no holder of this lock can panic"))
    }
}

/// Spreads numbers that this front gave out itself, one after the other: nobody can choose them so that they collide,
/// and looking one up for every message is to cost little.
#[derive(Default)]
struct ByNumber(u64);

impl Hasher for ByNumber {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Odd, so that no two numbers become one; 2^64 over the golden ratio, so that neighbours fall far apart.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let page = pages::answer.layer(from_fn_with_state(shared.page_requests.clone(), limit::limit));
    Router::new()
        .route("/health", get(health))
        .route("/workers", get(workers))
        .route("/bootstrap", post(bootstrap))
        .route("/metrics", get(show_metrics))
        .route("/signaling", get(signaling))
        .route("/ws", get(watch))
        .route(sync::PATH, get(worker_sync))
        .route_layer(from_fn_with_state(shared.requests.clone(), limit::limit))
        .fallback_service(page.with_state(shared.pages.clone()))
        .with_state(shared)
}

type App = AxumState<Arc<Shared>>;

async fn health(AxumState(shared): App) -> Result<Response, Stopping> {
    let status = shared.handle.query(|front| front.status()).await?;
    let cluster = status.cluster;
    let body = serde_json::json!({
        "status": "ok",
        "name": cluster.name,
        "role": cluster.role,
        "term": cluster.term,
        "leader": cluster.leader,
        "epoch": cluster.epoch,
        "quorum": cluster.quorum,
        "fronts": cluster.peers,
        "clients": status.clients,
        "workers": cluster.usable_workers,
    });
    Ok(Json(body).into_response())
}

async fn workers(AxumState(shared): App) -> Result<Response, Stopping> {
    let status = shared.handle.query(|front| front.status()).await?;
    Ok(Json(status.workers).into_response())
}

async fn bootstrap(
    AxumState(shared): App,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
) -> Result<Response, Stopping> {
    let ip = remote.ip();
    let bootstrap = shared.handle.query(move |front| front.bootstrap(ip)).await?;
    Ok(Json(bootstrap).into_response())
}

async fn show_metrics(AxumState(shared): App) -> Result<Response, Stopping> {
    let status = shared.handle.query(|front| front.status()).await?;
    let counted = Counted {
        requests_refused: shared.requests.refused() + shared.page_requests.refused(),
        fronts_refused: shared.acceptor.refused(),
        state_lost: shared.state_lost,
    };
    Ok(metrics::render(&status, &counted).into_response())
}

async fn signaling(
    AxumState(shared): App,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    upgrade: Upgrade,
) -> Response {
    let (response, upgraded) = upgrade.agree();
    tokio::spawn(async move {
        // One that ended during the handshake was never a client.
        let Ok(connection) = upgraded.await else { return };
        let client = ClientId(shared.next.fetch_add(1, Ordering::Relaxed));
        let outbox = Arc::new(Outbox::default());
        shared.sockets.with(|sockets| sockets.insert(client, outbox.clone()));
        let alive = shared.alive.clone();
        socket::run(TokioIo::new(connection), client, remote.ip(), &outbox, &shared.handle).await;
        shared.sockets.with(|sockets| sockets.remove(&client));
        drop(alive);
    });
    response
}

async fn watch(AxumState(shared): App, upgrade: WebSocketUpgrade) -> Response {
    let watching = shared.watching.clone();
    Watching::limit(upgrade).on_upgrade(move |socket| watching.attend(socket))
}

async fn worker_sync(
    AxumState(shared): App,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    upgrade: WebSocketUpgrade,
) -> Response {
    Acceptor::limit(upgrade).on_upgrade(move |websocket| async move {
        shared.acceptor.attend(websocket, remote).await;
    })
}

/// The machine has stopped: nothing can be answered any more.
struct Stopping;

impl From<Stopped> for Stopping {
    fn from(_: Stopped) -> Self {
        Self
    }
}

impl IntoResponse for Stopping {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, "this front is shutting down\n").into_response()
    }
}
