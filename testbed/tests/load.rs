//! A small load on a front in this process: everything arrives where it should.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use axum::serve::Listener as _;
use kollator_core::auth::SharedKey;
use kollator_core::node::front::{Front, FrontConfig};
use kollator_runtime::http::front::{Surroundings, serve, system_clock};
use kollator_runtime::net::{Net as _, TokioNet};
use kollator_testbed::load::{Plan, run};

async fn front(config: impl FnOnce(&mut FrontConfig)) -> SocketAddrV4 {
    let mut settings = FrontConfig::new(SharedKey::new(&[7; 32]).expect("long enough"), system_clock(), 1);
    config(&mut settings);
    let listener = TokioNet.bind((Ipv4Addr::LOCALHOST, 0).into()).await.expect("loopback");
    let SocketAddr::V4(address) = listener.local_addr().expect("bound") else { panic!("asked for IPv4") };
    let around = Surroundings::alone(TokioNet, settings.key.clone(), system_clock);
    tokio::spawn(serve(listener, Front::new(settings), around, std::future::pending()));
    address
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
