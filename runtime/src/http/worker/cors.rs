//! Pages of any origin may read what a worker serves to everybody: GET and HEAD, nothing that needs a proof.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// Answers preflights, and says on every answer to a GET or HEAD who may read it (Fetch, 3.3).
pub(super) async fn allow(request: Request, next: Next) -> Response {
    if request.method() == Method::OPTIONS {
        let head = [
            (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "Range, If-Range, If-None-Match"),
            (ACCESS_CONTROL_MAX_AGE, "86400"),
        ];
        return (StatusCode::NO_CONTENT, head).into_response();
    }
    let is_for_workers = request.uri().path().starts_with("/home/");
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD) && !is_for_workers;
    let mut response = next.run(request).await;
    if is_read {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let exposed = HeaderValue::from_static("Accept-Ranges, Content-Range, ETag, Retry-After");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response
}
