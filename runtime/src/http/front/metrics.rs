//! A front's numbers in Prometheus' text format. Worker names need no escaping: their alphabet has nothing
//! that the format gives a meaning to.

use std::fmt::Write as _;

use kollator_core::node::front::FrontStatus;

/// The body of `GET /metrics`.
pub(super) fn render(status: &FrontStatus) -> String {
    let mut text = String::new();
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    for (name, kind, help, value) in [
        ("clients", "gauge", "Open WebSockets.", count(status.clients)),
        ("peers", "gauge", "Welcomed peers.", count(status.peers)),
        ("workers", "gauge", "Welcomed workers.", count(status.workers.len())),
        ("swarms", "gauge", "Swarms that have members.", count(status.swarms)),
        ("swarm_memberships", "gauge", "Memberships in all swarms.", count(status.memberships)),
        ("signals_relayed_total", "counter", "Signals handed to their target.", status.relayed),
        ("signals_unreachable_total", "counter", "Signals without a target here.", status.unreachable),
        ("faults_total", "counter", "Messages that broke a rule.", status.faults),
    ] {
        head(&mut text, name, kind, help);
        line(&mut text, format_args!("kollator_front_{name} {value}"));
    }
    head(&mut text, "worker_assigned", "gauge", "Connected peers assigned to a worker.");
    for worker in &status.workers {
        let (name, assigned) = (&worker.name, worker.assigned);
        line(&mut text, format_args!("kollator_front_worker_assigned{{worker=\"{name}\"}} {assigned}"));
    }
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    line(text, format_args!("# HELP kollator_front_{name} {help}"));
    line(text, format_args!("# TYPE kollator_front_{name} {kind}"));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes everything");
}
