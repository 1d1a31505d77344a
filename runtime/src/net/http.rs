//! A small HTTP/1.1 client over any [`Net`]: one request a connection, one limit on size and one on time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Net;
use super::origin::{BadUrl, Origin};
use super::tls;

/// What a request may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of body.
    pub body: usize,
    /// Longest time from connecting to the last byte.
    pub time: Duration,
}

impl Default for Limits {
    /// 1 MiB in 10 seconds.
    fn default() -> Self {
        Self { body: 1 << 20, time: Duration::from_secs(10) }
    }
}

/// A server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// All of it.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL cannot be used.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// No connection to the server.
    #[error("cannot connect to {origin}: {error}")]
    Connect {
        /// Where to.
        origin: String,
        /// Why not.
        error: std::io::Error,
    },
    /// The connection broke, or the server does not speak HTTP.
    #[error("{origin} gave no answer: {error}")]
    Exchange {
        /// The server.
        origin: String,
        /// What happened.
        error: hyper::Error,
    },
    /// The body is longer than the limit.
    #[error("{origin} answered with more than {limit} bytes")]
    TooLong {
        /// The server.
        origin: String,
        /// The limit.
        limit: usize,
    },
    /// The limit of time has passed.
    #[error("{origin} did not answer within {limit:?}")]
    TimedOut {
        /// The server.
        origin: String,
        /// The limit.
        limit: Duration,
    },
}

/// `GET url`.
///
/// # Errors
/// There is no answer within the limits. A status that reports a failure is an answer.
pub async fn get<N: Net>(net: &N, url: &str, limits: Limits) -> Result<Response, HttpError> {
    request(net, Method::GET, url, None, limits).await
}

/// `POST url` with a JSON body.
///
/// # Errors
/// As [`get`].
pub async fn post_json<N: Net>(net: &N, url: &str, json: String, limits: Limits) -> Result<Response, HttpError> {
    request(net, Method::POST, url, Some(json), limits).await
}

async fn request<N: Net>(
    net: &N,
    method: Method,
    url: &str,
    json: Option<String>,
    limits: Limits,
) -> Result<Response, HttpError> {
    let (origin, path) = Origin::parse(url)?;
    let mut request = Request::new(Full::new(Bytes::from(json.clone().unwrap_or_default())));
    *request.method_mut() = method;
    let unusable = |reason| BadUrl { url: url.chars().take(200).collect(), reason };
    *request.uri_mut() = path.parse().map_err(|_| unusable("its path cannot be requested"))?;
    let host = HeaderValue::from_str(&origin.authority()).map_err(|_| unusable("its host cannot be named"))?;
    request.headers_mut().insert(HOST, host);
    if json.is_some() {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    match timeout(limits.time, exchange(net, &origin, request, limits.body)).await {
        Ok(result) => result,
        Err(_) => Err(HttpError::TimedOut { origin: origin.to_string(), limit: limits.time }),
    }
}

async fn exchange<N: Net>(
    net: &N,
    origin: &Origin,
    request: Request<Full<Bytes>>,
    limit: usize,
) -> Result<Response, HttpError> {
    let broken = |error| HttpError::Exchange { origin: origin.to_string(), error };
    let stream = tls::connect(net, origin)
        .await
        .map_err(|error| HttpError::Connect { origin: origin.to_string(), error })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with this function: a dropped set aborts its tasks.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status().as_u16();
    match Limited::new(response.into_body(), limit).collect().await {
        Ok(body) => Ok(Response { status, body: body.to_bytes() }),
        Err(error) => match error.downcast::<hyper::Error>() {
            Ok(error) => Err(broken(*error)),
            Err(error) => {
                debug_assert!(error.is::<LengthLimitError>(), "the body fails in two ways");
                Err(HttpError::TooLong { origin: origin.to_string(), limit })
            }
        },
    }
}
