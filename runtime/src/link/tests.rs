//! The link and the HTTP client against a real server on loopback.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::extract::WebSocketUpgrade;
use axum::extract::ws::{Message, WebSocket};
use axum::routing::{get, post};
use axum::serve::Listener;
use kollator_core::node::io::{LinkCommand, LinkEvent};
use tokio::time::timeout;

use super::{FrontUrl, Link};
use crate::event::{EventSink, EventStream};
use crate::net::http::{self, HttpError, Limits};
use crate::net::{Net, TokioNet};

/// Echoes; closes at the word `bye`.
async fn echo(mut socket: WebSocket) {
    while let Some(Ok(Message::Text(text))) = socket.recv().await {
        if text == "bye" || socket.send(Message::Text(text)).await.is_err() {
            return;
        }
    }
}

async fn serve() -> String {
    let routes = Router::new()
        .route("/signaling", get(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(echo) }))
        .route("/body", get(|| async { "x".repeat(1000) }))
        .route("/echo", post(|body: String| async { body }))
        .route("/never", get(std::future::pending::<()>));
    let listener = TokioNet.bind((Ipv4Addr::LOCALHOST, 0).into()).await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async { axum::serve(listener, routes).await });
    url
}

fn link(fronts: &[&str]) -> (Link<TokioNet>, EventStream<LinkEvent>) {
    let (sink, events) = EventSink::channel(16);
    let fronts = fronts.iter().map(|url| FrontUrl::parse(url).expect("a good URL")).collect();
    (Link::new(TokioNet, fronts, sink), events)
}

async fn event(events: &mut EventStream<LinkEvent>) -> LinkEvent {
    timeout(Duration::from_secs(30), events.recv()).await.expect("an event in time").expect("the link lives")
}

#[tokio::test]
async fn carries_text_both_ways_until_the_front_closes() {
    let url = serve().await;
    let (mut link, mut events) = link(&[&url]);
    link.execute(LinkCommand::Connect { front: 0 });
    assert_eq!(event(&mut events).await, LinkEvent::Up);
    for word in ["one", "two"] {
        link.execute(LinkCommand::Send { text: word.into() });
        assert_eq!(event(&mut events).await, LinkEvent::Message { text: word.into() });
    }
    link.execute(LinkCommand::Send { text: "bye".into() });
    assert!(matches!(event(&mut events).await, LinkEvent::Down { .. }));
}

#[tokio::test]
async fn connecting_again_silences_the_old_connection() {
    let url = serve().await;
    let (mut link, mut events) = link(&["http://127.0.0.1:9", &url]);
    link.execute(LinkCommand::Connect { front: 1 });
    assert_eq!(event(&mut events).await, LinkEvent::Up);
    link.execute(LinkCommand::Send { text: "lost".into() });
    link.execute(LinkCommand::Connect { front: 0 });
    match event(&mut events).await {
        LinkEvent::Down { reason } => assert!(reason.contains("http://127.0.0.1:9"), "{reason}"),
        other => panic!("of a connection that was given up: {other:?}"),
    }
}

#[tokio::test]
async fn gets_and_posts_within_limits() {
    let url = serve().await;
    let limits = Limits::default();
    let answer = http::get(&TokioNet, &format!("{url}/body"), limits).await.expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (200, 1000));
    let answer = http::get(&TokioNet, &format!("{url}/nowhere"), limits).await.expect("an answer");
    assert_eq!(answer.status, 404);
    let answer = http::post_json(&TokioNet, &format!("{url}/echo"), "{}".into(), limits).await.expect("an answer");
    assert_eq!(&answer.body[..], b"{}");
    let short = Limits { body: 999, ..limits };
    let error = http::get(&TokioNet, &format!("{url}/body"), short).await.expect_err("too long");
    assert!(matches!(error, HttpError::TooLong { limit: 999, .. }), "{error}");
    let quick = Limits { time: Duration::from_millis(50), ..limits };
    let error = http::get(&TokioNet, &format!("{url}/never"), quick).await.expect_err("too late");
    assert!(matches!(error, HttpError::TimedOut { .. }), "{error}");
    let error = http::get(&TokioNet, "http://127.0.0.1:9/", limits).await.expect_err("nobody there");
    assert!(matches!(error, HttpError::Connect { .. }), "{error}");
}

#[test]
fn a_front_is_an_origin_without_a_path() {
    let front = FrontUrl::parse("https://front.example:8443").expect("good");
    assert_eq!(front.to_string(), "https://front.example:8443");
    assert_eq!(front.signaling(), "wss://front.example:8443/signaling");
    assert!(FrontUrl::parse("http://front.example/path").is_err());
}
