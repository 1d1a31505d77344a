//! From a request to a WebSocket (RFC 6455, 4.2). Only the handshake: what is said afterwards is others' business.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A request that asks for a WebSocket as it must.
pub(super) struct Upgrade {
    accept: String,
    connection: OnUpgrade,
}

impl Upgrade {
    /// The answer that agrees, and what becomes the bare connection once that is sent.
    pub(super) fn agree(self) -> (Response, OnUpgrade) {
        let head = [
            (CONNECTION, "upgrade".to_owned()),
            (UPGRADE, "websocket".to_owned()),
            (SEC_WEBSOCKET_ACCEPT, self.accept),
        ];
        ((StatusCode::SWITCHING_PROTOCOLS, head, Body::empty()).into_response(), self.connection)
    }
}

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let bad = |words: &'static str| (StatusCode::BAD_REQUEST, words).into_response();
        if !names(&parts.headers, &CONNECTION, "upgrade") || !names(&parts.headers, &UPGRADE, "websocket") {
            let head = [(CONNECTION, "upgrade"), (UPGRADE, "websocket")];
            return Err((StatusCode::UPGRADE_REQUIRED, head, "this is a WebSocket\n").into_response());
        }
        if parts.headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            let head = [(SEC_WEBSOCKET_VERSION, "13")];
            return Err((StatusCode::UPGRADE_REQUIRED, head, "WebSockets of version 13 only\n").into_response());
        }
        let key = parts.headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| bad("Sec-WebSocket-Key is missing\n"))?;
        let accept = derive_accept_key(key.as_bytes());
        let connection = parts.extensions.remove::<OnUpgrade>();
        let connection = connection.ok_or_else(|| bad("this connection cannot become a WebSocket\n"))?;
        Ok(Self { accept, connection })
    }
}

/// Whether a comma-separated header holds a word, in whatever case.
fn names(headers: &HeaderMap, header: &HeaderName, word: &str) -> bool {
    let lines = headers.get_all(header).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
}
