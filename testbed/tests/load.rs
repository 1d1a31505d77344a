//! Small loads on fronts in this process: everything arrives where it should, and every change shows.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::serve::Listener as _;
use kollator_core::auth::SharedKey;
use kollator_core::cluster::roster::Roster;
use kollator_core::node::front::{ClusterConfig, Front, FrontConfig};
use kollator_runtime::http::front::{Surroundings, serve, system_clock};
use kollator_runtime::link::FrontUrl;
use kollator_runtime::net::{Net, TokioNet};
use kollator_testbed::load::{Plan, propagation, run};

fn key() -> SharedKey {
    SharedKey::new(&[7; 32]).expect("long enough")
}

async fn listener() -> (<TokioNet as Net>::Listener, SocketAddrV4) {
    let listener = TokioNet.bind((Ipv4Addr::LOCALHOST, 0).into()).await.expect("loopback");
    let SocketAddr::V4(address) = listener.local_addr().expect("bound") else { panic!("asked for IPv4") };
    (listener, address)
}

async fn front(config: impl FnOnce(&mut FrontConfig)) -> SocketAddrV4 {
    let mut settings = FrontConfig::new(key(), system_clock(), 1);
    config(&mut settings);
    let (listener, address) = listener().await;
    let around = Surroundings::alone(TokioNet, settings.key.clone(), system_clock);
    tokio::spawn(serve(listener, Front::new(settings), around, std::future::pending()));
    address
}

/// Three fronts that know each other.
async fn fronts() -> Vec<SocketAddrV4> {
    let bound = [listener().await, listener().await, listener().await];
    let addresses: Vec<SocketAddrV4> = bound.iter().map(|(_, address)| *address).collect();
    let names: Vec<String> = (1..=3).map(|n| format!("front-{n}")).collect();
    for ((listener, _), name) in bound.into_iter().zip(&names) {
        let mut settings = FrontConfig::new(key(), system_clock(), addresses[0].port().into());
        settings.cluster = ClusterConfig::among(names.clone(), name).expect("one of them");
        let roster = Roster::new(name, names.clone()).expect("good names");
        let url = |at: usize| FrontUrl::parse(&format!("http://{}", addresses[at])).expect("a URL");
        let urls = roster.others().map(|front| (front, url(front.0.into()))).collect();
        let around = Surroundings { roster, urls, ..Surroundings::alone(TokioNet, key(), system_clock) };
        tokio::spawn(serve(listener, Front::new(settings), around, std::future::pending()));
    }
    addresses
}

fn plan(fronts: Vec<SocketAddrV4>) -> Plan {
    Plan {
        fronts,
        pids: Vec::new(),
        sessions: 20,
        per_address: 7,
        hold: Duration::ZERO,
        steady: Duration::from_millis(200),
        exchanges_a_second: 300,
        flood: Duration::from_millis(200),
        in_flight: 4,
        sdp_bytes: 1200,
    }
}

#[tokio::test]
async fn everything_arrives_and_is_counted() {
    // Seven sessions an address, twenty in all: three addresses.
    let address = front(|config| {
        config.max_clients_per_ip = 7;
        config.messages.burst = 1_000_000;
    })
    .await;
    let report = run(&plan(vec![address])).await.expect("a front that works");
    let (steady, flood) = (report.steady.as_ref().expect("asked for"), report.flood.as_ref().expect("asked for"));
    let inside = steady.inside.as_ref().expect("offers");
    assert_eq!((steady.unreachable, steady.lost, flood.unreachable, flood.lost), (0, 0, 0, 0));
    assert_eq!(steady.relayed, 2 * inside.count as u64, "each offer is answered");
    assert!(flood.relayed_a_second > 0.0);
    assert!(steady.across.is_none() && steady.cores.is_none() && report.memory.is_empty());
    let json = report.to_json();
    assert_eq!(json["steady"]["relayed"], steady.relayed);
    assert_eq!(json["flood"]["relayed_a_core_second"], serde_json::Value::Null);
    assert!(report.to_table().contains("20 on 1 front(s)"));
}

#[tokio::test]
async fn fronts_that_do_not_know_each_other_say_so() {
    let strangers = vec![front(|_| {}).await, front(|_| {}).await];
    let plan = Plan { flood: Duration::ZERO, ..plan(strangers) };
    let steady = run(&plan).await.expect("each works alone").steady.expect("asked for");
    assert!(steady.unreachable > 0 && steady.lost == 0 && steady.across.is_none());
}

#[tokio::test]
async fn a_refusal_is_told_in_the_fronts_words() {
    let full = front(|config| config.max_clients = 10).await;
    let refusal = format!("{:#}", run(&plan(vec![full])).await.expect_err("refused"));
    assert!(refusal.contains("this front is full"), "{refusal}");
}

fn changes(fronts: Vec<SocketAddrV4>) -> propagation::Plan {
    propagation::Plan {
        fronts,
        key: key(),
        workers: 6,
        peers: 10,
        memberships: 30,
        groups: 12,
        length: Duration::from_secs(1),
        member_changes_a_second: 30.0,
        worker_changes_a_second: 8.0,
        idle: Duration::from_millis(100),
    }
}

#[tokio::test]
async fn every_change_shows_at_every_front() {
    let rested = AtomicBool::new(false);
    let report = propagation::run(&changes(fronts().await), || rested.store(true, Ordering::Relaxed)).await;
    let report = report.expect("fronts that work");
    assert!(rested.into_inner());
    assert_eq!((report.fronts, report.unshown), (3, 0));
    // Workers and clients, their memberships, the watchers and theirs.
    assert_eq!(report.rows, 2 * 6 + 10 + 30 + 2 * 12 * 3);
    let count =
        |latency: &Option<kollator_testbed::load::Latency>| latency.as_ref().map_or(0, |times| times.count);
    assert!(count(&report.joined) >= count(&report.left) && count(&report.left) > 0);
    assert!(count(&report.drained) >= count(&report.arrived) && count(&report.drained) > 0);
    assert_eq!(report.to_json()["joined"]["count"], count(&report.joined));
    assert!(report.to_table().contains("124 rows"), "{}", report.to_table());
}

#[tokio::test]
async fn a_worker_without_the_key_is_told_so() {
    let stranger = SharedKey::new(&[8; 32]).expect("long enough");
    let plan = propagation::Plan { key: stranger, ..changes(fronts().await) };
    let refusal = format!("{:#}", propagation::run(&plan, || {}).await.expect_err("refused"));
    assert!(refusal.contains("the proof does not match the shared key"), "{refusal}");
}
