//! A peer's requests over HTTP, on connections that are kept for the next one. It decides nothing: what is asked, for how
//! long an answer is waited for and what makes a bad one is the machine's business.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderValue, RANGE, RETRY_AFTER};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use kollator_core::merkle::BLOCK_LEN;
use kollator_core::node::peer::{WebAsk, WebCommand, WebEvent, WebId, WorkerUrl};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::tasks::Tasks;
use crate::event::{EventSink, Lease, Stopped};
use crate::net::Net;
use crate::net::origin::Origin;
use crate::net::tls;

/// Most connections kept for one server.
const MAX_IDLE: usize = 4;
/// Most servers for which connections are kept.
const MAX_SERVERS: usize = 32;
/// Most bytes of a response's head, and of what is read of a body before it is handed on.
const MAX_BUFFER: usize = 256 * 1024;
/// A body that nobody wants is read to its end within so long and so many bytes, or the connection is closed.
const UNWANTED: (Duration, usize) = (Duration::from_secs(1), 16 * 1024);

type Connection = SendRequest<Empty<Bytes>>;

/// Carries out [`WebCommand`]s. Dropped, it gives every request up.
pub(super) struct WebClient<N> {
    servers: Servers<N>,
    tasks: Tasks,
    sink: EventSink<WebEvent>,
    open: HashMap<WebId, (AbortHandle, Lease)>,
}

impl<N> Drop for WebClient<N> {
    fn drop(&mut self) {
        self.open.values().for_each(|(task, _)| task.abort());
    }
}

impl<N: Net> WebClient<N> {
    pub(super) fn new(net: N, tasks: Tasks, sink: EventSink<WebEvent>) -> Self {
        Self { servers: Servers { net, idle: Arc::default() }, tasks, sink, open: HashMap::new() }
    }

    /// Begins to carry out `command` and returns at once.
    pub(super) fn execute(&mut self, command: WebCommand) {
        match command {
            WebCommand::Request { id, worker, ask } => {
                let (servers, (sink, lease)) = (self.servers.clone(), self.sink.leased());
                let task = self.tasks.spawn(async move {
                    // An error says that the machine has stopped: nobody is left to be told.
                    let _ = servers.carry(id, &worker, ask, &sink).await;
                });
                self.open.retain(|_, (task, _)| !task.is_finished());
                self.open.insert(id, (task, lease));
            }
            WebCommand::Cancel { id } => {
                if let Some((task, lease)) = self.open.remove(&id) {
                    lease.revoke();
                    task.abort();
                }
            }
        }
    }
}

/// Where requests go.
#[derive(Clone)]
struct Servers<N> {
    net: N,
    /// Connections that wait for a request, by origin.
    idle: Arc<Mutex<HashMap<String, Vec<Connection>>>>,
}

impl<N: Net> Servers<N> {
    /// One request, from connecting to the last byte of the answer.
    async fn carry(
        &self,
        id: WebId,
        worker: &WorkerUrl,
        ask: WebAsk,
        sink: &EventSink<WebEvent>,
    ) -> Result<(), Stopped> {
        match self.begin(worker, ask).await {
            Ok((origin, connection, response)) => {
                let (status, retry_after) = (response.status(), retry_after(response.headers()));
                sink.send(WebEvent::Head { id, status: status.as_u16(), retry_after }).await?;
                let is_read = if status.is_success() && !ask.is_head() {
                    hand_on(id, response.into_body(), sink).await?
                } else {
                    let (within, most) = UNWANTED;
                    timeout(within, skip(response.into_body(), most)).await.unwrap_or(false)
                };
                if is_read {
                    self.keep(origin, connection);
                }
                Ok(())
            }
            Err(reason) => sink.send(WebEvent::Failed { id, reason }).await,
        }
    }

    /// Sends a request on a connection that was kept, or on a new one; waits for the head of the answer.
    async fn begin(
        &self,
        worker: &WorkerUrl,
        ask: WebAsk,
    ) -> Result<(String, Connection, Response<Incoming>), String> {
        let (origin, base) = Origin::parse(worker.as_str()).map_err(|error| error.to_string())?;
        let request = request(&origin, &base, ask)?;
        let name = origin.to_string();
        while let Some(mut kept) = self.take(&name) {
            // The server may have closed it meanwhile: that says nothing about the request.
            if kept.ready().await.is_ok()
                && let Ok(response) = kept.send_request(request.clone()).await
            {
                return Ok((name, kept, response));
            }
        }
        let stream = tls::connect(&self.net, &origin).await.map_err(|error| format!("cannot connect: {error}"))?;
        let broken = |error: hyper::Error| format!("no answer: {error}");
        let shaken = http1::Builder::new().max_buf_size(MAX_BUFFER).handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(broken)?;
        // It ends when nobody can send on it any more, and whoever waits for an answer hears of its errors.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok((name, sender, response))
    }

    fn take(&self, origin: &str) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(origin)?.pop()
    }

    fn keep(&self, origin: String, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= MAX_SERVERS && !idle.contains_key(&origin) {
            idle.clear();
        }
        let kept = idle.entry(origin).or_default();
        kept.retain(|connection| !connection.is_closed());
        if kept.len() < MAX_IDLE && !connection.is_closed() {
            kept.push(connection);
        }
    }
}

fn request(origin: &Origin, base: &str, ask: WebAsk) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::new(Empty::new());
    if ask.is_head() {
        *request.method_mut() = Method::HEAD;
    }
    let path = format!("{}{}", base.trim_end_matches('/'), ask.path());
    *request.uri_mut() = path.parse().map_err(|_| "its path cannot be requested".to_owned())?;
    let host = HeaderValue::from_str(&origin.authority()).map_err(|_| "its host cannot be named".to_owned())?;
    request.headers_mut().insert(HOST, host);
    if let Some(range) = ask.range() {
        let range = format!("bytes={}-{}", range.start(), range.end());
        request.headers_mut().insert(RANGE, range.parse().expect("digits and a dash"));
    }
    Ok(request)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Hands on a body in whole blocks as it comes. Whether it came to its end.
async fn hand_on(id: WebId, mut body: Incoming, sink: &EventSink<WebEvent>) -> Result<bool, Stopped> {
    let mut held = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => held.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Err(error) => {
                let reason = format!("the answer broke off: {error}");
                sink.send(WebEvent::Failed { id, reason }).await?;
                return Ok(false);
            }
        }
        let whole = held.len() - held.len() % BLOCK_LEN as usize;
        if whole > 0 {
            sink.send(WebEvent::Data { id, data: held.split_to(whole).freeze() }).await?;
        }
    }
    if !held.is_empty() {
        sink.send(WebEvent::Data { id, data: held.freeze() }).await?;
    }
    sink.send(WebEvent::End { id }).await?;
    Ok(true)
}

/// Reads a body to its end; false if there is no end to it within so many bytes.
async fn skip(mut body: Incoming, most: usize) -> bool {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > most {
            return false;
        }
    }
    true
}
