//! `kollator-plain-relay`: what axum and JSON give without further thought, as the measure of what a front's care is
//! worth. It speaks enough of signaling for `kollator-load`: no limits, no checks, a channel for each client. Never to
//! be part of a real network.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{State, WebSocketUpgrade};
use axum::routing::get;
use clap::Parser;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// The simplest relay for signaling, to be measured beside a front. Listens on loopback only.
#[derive(Parser)]
#[command(version)]
struct Settings {
    /// Port to listen on
    #[arg(long, env = "PORT")]
    port: u16,
}

type Clients = Arc<Mutex<HashMap<String, UnboundedSender<String>>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, Settings::parse().port));
    let app = Router::new()
        .route("/health", get(|| async { "ok" }))
        .route(
            "/signaling",
            get(|clients: State<Clients>, upgrade: WebSocketUpgrade| async move {
                upgrade.on_upgrade(move |socket| serve(socket, clients.0))
            }),
        )
        .with_state(Clients::default());
    Ok(axum::serve(TcpListener::bind(address).await?, app).await?)
}

async fn serve(socket: WebSocket, clients: Clients) {
    let (mut out, mut incoming) = socket.split();
    let (queue, mut queued) = unbounded_channel::<String>();
    let mut own = String::new();
    loop {
        let text = tokio::select! {
            Some(text) = queued.recv() => {
                if out.send(Message::Text(text.into())).await.is_err() {
                    break;
                }
                continue;
            }
            message = incoming.next() => match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => break,
            },
        };
        let Ok(mut message) = serde_json::from_str::<Value>(&text) else { break };
        let answer = match message["type"].as_str() {
            Some("hello") => {
                own = message["id"].as_str().unwrap_or_default().to_owned();
                clients.lock().expect("no holder panics").insert(own.clone(), queue.clone());
                json!({"type": "welcome", "ice_servers": [], "fronts": [], "heartbeat_seconds": 30})
            }
            Some("signal") => {
                let [to, session, body] = ["to", "session", "body"].map(|field| message[field].take());
                let relayed = format!(r#"{{"type":"signal","from":"{own}","session":{session},"body":{body}}}"#);
                let target =
                    clients.lock().expect("no holder panics").get(to.as_str().unwrap_or_default()).cloned();
                // One that has just gone hears nothing.
                let _ = target.map(|target| target.send(relayed));
                continue;
            }
            _ => json!({"type": "pong"}),
        };
        // Its own queue is open as long as this loop runs.
        let _ = queue.send(answer.to_string());
    }
    clients.lock().expect("no holder panics").remove(&own);
}
