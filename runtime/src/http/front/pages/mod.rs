//! The web app as the front serves it: files that the program was built with, each with its type, an entity tag and, if
//! the build made them, compressed variants. Nothing is read from a disk, and nothing is compressed while it is asked for.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use kollator_core::merkle::sha256;

/// What the app's pages, and the workers that it starts, may do.
///
/// `connect-src` names no hosts: which workers there are changes while a page is open, and a link may name fronts of
/// its own. Nothing is lost by it. A data channel goes anywhere whatever this says, and what keeps secrets is that no
/// foreign script runs here: none is loaded, none is inline, and no text becomes one (trusted types). `blob:` is there
/// for what the page itself has made.
const APP_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
    img-src 'self' blob: data:; media-src 'self' blob:; font-src 'self'; \
    connect-src 'self' http: https: ws: wss: blob:; worker-src 'self'; manifest-src 'self'; frame-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types default kollator svelte-trusted-html";
/// What this front's own pages may do: look as they do.
const NOTICE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
/// The app asks for none of these, nor may anything in it.
const PERMISSIONS: &str = "camera=(), geolocation=(), microphone=(), payment=(), usb=()";

/// Files here have a name that changes with what is in them.
const HASHED: &str = "assets/";
/// Below this, the app's service worker answers for files that the browser has. It never asks here.
const OF_SERVICE_WORKER: &str = "/_share/";

/// The files of the web app. [`Pages::default`] has none: then the front shows a page about itself.
#[derive(Clone, Default)]
pub struct Pages(Arc<HashMap<&'static str, Page>>);

struct Page {
    kind: &'static str,
    plain: Variant,
    gzip: Option<Variant>,
    brotli: Option<Variant>,
}

struct Variant {
    content: Bytes,
    tag: HeaderValue,
}

impl Variant {
    fn new(content: &'static [u8]) -> Self {
        let tag = HeaderValue::from_str(&format!("\"{}\"", sha256(content))).expect("hexadecimal digits");
        Self { content: Bytes::from_static(content), tag }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Pages {
    /// Those among `files`, each given by its path below the app's root and its content. `NAME.gz` and `NAME.br` are
    /// `NAME`, compressed; `index.html` is what the root shows.
    #[must_use]
    pub fn new(files: &[(&'static str, &'static [u8])]) -> Self {
        let content: HashMap<_, _> = files.iter().copied().collect();
        let compressed =
            |path: &str, suffix: &str| content.get(&*format!("{path}{suffix}")).copied().map(Variant::new);
        let is_variant = |path: &str| {
            let original = path.strip_suffix(".gz").or_else(|| path.strip_suffix(".br"));
            original.is_some_and(|original| content.contains_key(original))
        };
        let originals = files.iter().filter(|(path, _)| !is_variant(path));
        let pages = originals.map(|&(path, content)| {
            let plain = Variant::new(content);
            let page =
                Page { kind: kind(path), plain, gzip: compressed(path, ".gz"), brotli: compressed(path, ".br") };
            (path, page)
        });
        Self(Arc::new(pages.collect()))
    }

    fn answer(&self, method: &Method, path: &str, asked: &HeaderMap) -> Response {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let refusal = (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")], "pages can only be read\n");
            return refusal.into_response();
        }
        let file = if path == "/" { "index.html" } else { path.trim_start_matches('/') };
        if let Some(page) = self.0.get(file) {
            page.answer(file, asked)
        } else if path == "/" {
            notice(StatusCode::OK, include_str!("landing.html"))
        } else if path.starts_with(OF_SERVICE_WORKER) {
            notice(StatusCode::NOT_FOUND, include_str!("share.html"))
        } else {
            let refusal = "there is nothing at this address; the start page is at /\n";
            guarded((StatusCode::NOT_FOUND, refusal).into_response(), NOTICE_POLICY)
        }
    }
}

/// Answers what no other route does.
pub(super) async fn answer(State(pages): State<Pages>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    pages.answer(&method, uri.path(), &headers)
}

impl Page {
    fn answer(&self, path: &str, asked: &HeaderMap) -> Response {
        let (coding, variant) = [("br", &self.brotli), ("gzip", &self.gzip)]
            .into_iter()
            .filter(|(coding, _)| accepts(asked, coding))
            .find_map(|(coding, variant)| Some((Some(coding), variant.as_ref()?)))
            .unwrap_or((None, &self.plain));
        let cached = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
        let mut response = if has(asked, &variant.tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = variant.content.clone().into_response();
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
            if let Some(coding) = coding {
                response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
            }
            response
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, variant.tag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(cached));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if path == "sw.js" {
            headers.insert(HeaderName::from_static("service-worker-allowed"), HeaderValue::from_static("/"));
        }
        guarded(response, APP_POLICY)
    }
}

/// A page of the front's own.
fn notice(status: StatusCode, html: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    guarded((status, headers, html).into_response(), NOTICE_POLICY)
}

/// Says what a browser must not do with an answer.
fn guarded(mut response: Response, policy: &'static str) -> Response {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether an answer may be in `coding` (RFC 9110, 12.5.3).
fn accepts(asked: &HeaderMap, coding: &str) -> bool {
    let lines = asked.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    let mut any = false;
    for item in lines.flat_map(|line| line.split(',')) {
        let (name, weight) = item.split_once(';').unwrap_or((item, "q=1"));
        let weight = weight.trim().strip_prefix(['q', 'Q']).and_then(|rest| rest.strip_prefix('='));
        let wanted = weight.and_then(|weight| weight.parse::<f32>().ok()).is_some_and(|weight| weight > 0.0);
        if name.trim().eq_ignore_ascii_case(coding) {
            return wanted;
        }
        any |= name.trim() == "*" && wanted;
    }
    any
}

/// Whether who asks has what `tag` stands for already (RFC 9110, 13.1.2).
fn has(asked: &HeaderMap, tag: &HeaderValue) -> bool {
    let lines = asked.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known).as_bytes() == tag.as_bytes()
    })
}

/// The type of a file, by its name.
fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/vnd.microsoft.icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
