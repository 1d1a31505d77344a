//! A front's numbers for Prometheus.

use kollator_core::node::front::{FrontStatus, Role};

use crate::http::prometheus::Metrics;

/// What the server counts besides its machine.
pub(super) struct Counted {
    pub(super) requests_refused: u64,
    pub(super) fronts_refused: u64,
    pub(super) state_lost: bool,
}

/// The body of `GET /metrics`.
pub(super) fn render(status: &FrontStatus, counted: &Counted) -> Metrics {
    let mut metrics = Metrics::new("kollator_front_");
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    for (name, kind, help, value) in [
        ("clients", "gauge", "Open WebSockets.", count(status.clients)),
        ("peers", "gauge", "Welcomed peers.", count(status.peers)),
        ("workers", "gauge", "Workers of all fronts.", count(status.workers.len())),
        ("usable_workers", "gauge", "Workers that clients can be given.", count(status.cluster.usable_workers)),
        ("swarms", "gauge", "Swarms that have members.", count(status.swarms)),
        ("swarm_memberships", "gauge", "Memberships in all swarms.", count(status.memberships)),
        ("signals_relayed_total", "counter", "Signals handed to their target.", status.relayed),
        ("signals_forwarded_total", "counter", "Signals passed on to the target's front.", status.forwarded),
        ("signals_unreachable_total", "counter", "Signals without a target here.", status.unreachable),
        ("faults_total", "counter", "Messages that broke a rule.", status.faults),
        (
            "workers_refused_total",
            "counter",
            "Workers whose proof or address was refused.",
            status.workers_refused,
        ),
        (
            "turned_away_total",
            "counter",
            "Clients given another worker because theirs had no room.",
            status.turned_away,
        ),
        (
            "requests_refused_total",
            "counter",
            "HTTP requests above an address's budget.",
            counted.requests_refused,
        ),
        ("fronts_refused_total", "counter", "Connections as a front that were refused.", counted.fronts_refused),
        ("front_faults_total", "counter", "Messages of fronts that broke a rule.", status.cluster.faults),
        ("state_lost", "gauge", "Whether what it kept was damaged at its start.", u64::from(counted.state_lost)),
        ("term", "gauge", "The newest term known.", status.cluster.term),
        ("leader", "gauge", "Whether this front leads.", u64::from(status.cluster.role == Role::Leader)),
        ("quorum", "gauge", "Whether it is in touch with a majority.", u64::from(status.cluster.quorum)),
        ("epoch_term", "gauge", "Term of the epoch it goes by.", status.cluster.epoch.0),
        ("epoch_number", "gauge", "Number of that epoch in its term.", status.cluster.epoch.1),
        ("rows", "gauge", "Rows of all fronts that it knows.", count(status.cluster.rows)),
    ] {
        metrics.value(name, kind, help, value);
    }
    metrics.head("worker_assigned", "gauge", "Connected peers assigned to a worker.");
    for worker in &status.workers {
        metrics.labelled("worker_assigned", ("worker", &worker.name), worker.assigned);
    }
    metrics.head("worker_load_percent", "gauge", "Load of a worker; at 100 it turns newcomers away.");
    for worker in &status.workers {
        metrics.labelled("worker_load_percent", ("worker", &worker.name), u64::from(worker.load));
    }
    metrics.head("peer_connected", "gauge", "Whether it can send to another front.");
    for peer in &status.cluster.peers {
        metrics.labelled("peer_connected", ("front", &peer.name), u64::from(peer.connected));
    }
    metrics.head("peer_behind", "gauge", "Changes that another front has not yet said to know.");
    for peer in &status.cluster.peers {
        metrics.labelled("peer_behind", ("front", &peer.name), peer.behind);
    }
    metrics
}
