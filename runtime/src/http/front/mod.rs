//! A front's HTTP server: pages about it, `POST /bootstrap`, and the WebSocket `/signaling`. The front's machine
//! runs in a task of its own; everything here only brings it what came in and carries out what it says.

mod events;
mod metrics;
mod outbox;
mod socket;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::extract::{ConnectInfo, State, WebSocketUpgrade};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::{Listener, ListenerExt};
use axum::{Json, Router};
use kollator_core::node::front::{ClientId, Front, FrontEvent, FrontInput, FrontOutput};
use kollator_core::wire::signal::MAX_MESSAGE;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tracing::{info, warn};

use self::events::{Events, Watching};
use self::outbox::Outbox;
use crate::driver::{self, Handle, Host};
use crate::event::Stopped;

/// Longest wait for clients to leave at shutdown.
const GRACE: Duration = Duration::from_secs(5);
/// How often the machine is told the wall clock.
const CLOCK_EVERY: Duration = Duration::from_secs(60);
/// tungstenite fills this much with zeros before each read: it is most of what an idle client costs.
const READ_BUFFER: usize = 4096;

/// Unix milliseconds by the operating system's clock; 0 before 1970.
#[must_use]
pub fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Serves `front` on `listener` until `shutdown` resolves; then closes every client with a reason and returns
/// once they are gone, after five seconds at the latest. `unix_ms` tells the wall clock, in milliseconds.
///
/// # Errors
/// If the listener fails.
pub async fn serve<L>(
    listener: L,
    front: Front,
    unix_ms: fn() -> u64,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    L: Listener<Addr = SocketAddr>,
{
    info!(addr = %listener.local_addr()?, "front listening");
    let (handle, mailbox) = driver::mailbox();
    let sockets = Sockets::default();
    // Ends with this function: a dropped set aborts its tasks.
    let mut tasks = JoinSet::new();
    tasks.spawn(tell_time(handle.clone(), unix_ms));
    let (events, watching) = Events::new();
    let host = FrontHost { sockets: sockets.clone(), events };
    tasks.spawn(async move {
        driver::run(front, mailbox, || FrontInput::Wake, host).await;
    });

    let (alive, mut all_gone) = mpsc::channel(1);
    let (stop, stopped) = oneshot::channel::<Infallible>();
    let shared = Arc::new(Shared { handle: handle.clone(), sockets, watching, next: AtomicU64::new(0), alive });
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
    watching: Watching,
    next: AtomicU64,
    /// Held by everything that must end before a shutdown is complete.
    alive: mpsc::Sender<Infallible>,
}

/// The outboxes of connected clients.
#[derive(Clone, Default)]
struct Sockets(Arc<Mutex<HashMap<ClientId, Arc<Outbox>>>>);

impl Sockets {
    fn with<R>(&self, f: impl FnOnce(&mut HashMap<ClientId, Arc<Outbox>>) -> R) -> R {
        f(&mut self.0.lock().expect("no holder of this lock can panic"))
    }
}

/// Carries out what the machine says.
struct FrontHost {
    sockets: Sockets,
    events: Events,
}

impl Host<Front> for FrontHost {
    fn execute(&mut self, output: FrontOutput) -> ControlFlow<()> {
        match output {
            FrontOutput::Send { client, text } => {
                // A client that is gone is told to the machine by its own task.
                if let Some(outbox) = self.sockets.with(|sockets| sockets.get(&client).cloned()) {
                    outbox.push(text);
                }
            }
            FrontOutput::Close { client, reason } => {
                if let Some(outbox) = self.sockets.with(|sockets| sockets.remove(&client)) {
                    outbox.close(reason);
                }
            }
            FrontOutput::Event(event) => {
                self.events.tell(&event);
                log(event);
            }
        }
        ControlFlow::Continue(())
    }
}

fn log(event: FrontEvent) {
    match event {
        FrontEvent::WorkerUp { name } => info!(worker = name, "worker up"),
        FrontEvent::WorkerDown { name, reason } => warn!(worker = name, reason, "worker down"),
        FrontEvent::Audit { ip, offence } => warn!(target: "kollator::audit", %ip, offence, "audit"),
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(|| async { Html(include_str!("landing.html")) }))
        .route("/health", get(health))
        .route("/workers", get(workers))
        .route("/bootstrap", post(bootstrap))
        .route("/metrics", get(show_metrics))
        .route("/signaling", get(signaling))
        .route("/ws", get(watch))
        .with_state(shared)
}

type App = State<Arc<Shared>>;

async fn health(State(shared): App) -> Result<Response, Stopping> {
    let status = shared.handle.query(|front| front.status()).await?;
    let body = serde_json::json!({
        "status": "ok",
        "clients": status.clients,
        "workers": status.workers.len(),
    });
    Ok(Json(body).into_response())
}

async fn workers(State(shared): App) -> Result<Response, Stopping> {
    let status = shared.handle.query(|front| front.status()).await?;
    Ok(Json(status.workers).into_response())
}

async fn bootstrap(
    State(shared): App,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
) -> Result<Response, Stopping> {
    let ip = remote.ip();
    let bootstrap = shared.handle.query(move |front| front.bootstrap(ip)).await?;
    Ok(Json(bootstrap).into_response())
}

async fn show_metrics(State(shared): App) -> Result<Response, Stopping> {
    let status = shared.handle.query(|front| front.status()).await?;
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((kind, metrics::render(&status)).into_response())
}

async fn signaling(
    State(shared): App,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.read_buffer_size(READ_BUFFER).max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE).on_upgrade(
        move |websocket| async move {
            let client = ClientId(shared.next.fetch_add(1, Ordering::Relaxed));
            let outbox = Arc::new(Outbox::default());
            shared.sockets.with(|sockets| sockets.insert(client, outbox.clone()));
            let alive = shared.alive.clone();
            socket::run(websocket, client, remote.ip(), &outbox, &shared.handle).await;
            shared.sockets.with(|sockets| sockets.remove(&client));
            drop(alive);
        },
    )
}

async fn watch(State(shared): App, upgrade: WebSocketUpgrade) -> Response {
    let watching = shared.watching.clone();
    Watching::limit(upgrade).on_upgrade(move |socket| watching.attend(socket))
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
