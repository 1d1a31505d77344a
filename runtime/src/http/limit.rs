//! How often one address may ask a server anything. Decided before anything else is done for a request, whatever it
//! asks for; what a WebSocket carries afterwards is not counted here.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use kollator_core::machine;
use kollator_core::node::front::{Budget, PerNetwork};
use tokio::time::Instant;
use tracing::warn;

/// Networks that are remembered for what they used.
const MAX_NETWORKS: usize = 65_536;
/// A network that asks too much is told of in the log once in this time.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Counts the requests of each network (an IPv4 address, or an IPv6 /64).
pub(crate) struct RequestLimit {
    began: Instant,
    networks: Mutex<Networks>,
    refused: AtomicU64,
}

struct Networks {
    asking: PerNetwork,
    /// What may be logged of each.
    telling: PerNetwork,
}

impl RequestLimit {
    /// # Panics
    /// If the burst is zero.
    pub(crate) fn new(budget: Budget) -> Self {
        let telling = Budget { burst: 1, interval: TELL_EVERY };
        let networks = Networks {
            asking: PerNetwork::new(budget, MAX_NETWORKS),
            telling: PerNetwork::new(telling, MAX_NETWORKS),
        };
        Self { began: Instant::now(), networks: Mutex::new(networks), refused: AtomicU64::new(0) }
    }

    /// Requests refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether `ip` may ask now.
    fn admit(&self, ip: IpAddr) -> bool {
        let mut networks = self.networks.lock().expect("no holder of this lock can panic");
        // Taken under the lock, so that time never goes back.
        let now = machine::Instant::ZERO + self.began.elapsed();
        if networks.asking.take(now, ip) {
            return true;
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        if networks.telling.take(now, ip) {
            warn!(target: "kollator::audit", %ip, "refuses requests of an address that asks too often");
        }
        false
    }
}

/// Lets a request through if its address may ask.
pub(crate) async fn limit(
    State(limit): State<Arc<RequestLimit>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if limit.admit(remote.ip()) {
        return next.run(request).await;
    }
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], "too many requests from your address\n")
        .into_response()
}
