//! What is answered for which path, and how.

use axum::body::to_bytes;
use axum::http::header::CONTENT_LENGTH;

use super::*;

const FILES: &[(&str, &[u8])] = &[
    ("index.html", b"<!doctype html>the app"),
    ("index.html.gz", b"zipped"),
    ("index.html.br", b"brotli"),
    ("assets/app-1a2b.js", b"run()"),
    ("assets/machine-3c4d.wasm", b"\0asm"),
    ("sw.js", b"onfetch"),
    ("samples.gz", b"an archive of its own"),
];

fn headers(of: &[(HeaderName, &str)]) -> HeaderMap {
    of.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("legal"))).collect()
}

fn ask(path: &str, asked: &[(HeaderName, &str)]) -> Response {
    Pages::new(FILES).answer(&Method::GET, path, &headers(asked))
}

fn header(response: &Response, name: impl axum::http::header::AsHeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

async fn body(response: Response) -> Bytes {
    to_bytes(response.into_body(), 1 << 20).await.expect("it is in memory")
}

#[tokio::test]
async fn a_file_comes_with_its_type_and_how_long_it_may_be_kept() {
    let forever = "public, max-age=31536000, immutable";
    for (path, content, kind, kept) in [
        ("/", "<!doctype html>the app", "text/html; charset=utf-8", "no-cache"),
        ("/index.html", "<!doctype html>the app", "text/html; charset=utf-8", "no-cache"),
        ("/assets/app-1a2b.js", "run()", "text/javascript; charset=utf-8", forever),
        ("/assets/machine-3c4d.wasm", "\0asm", "application/wasm", forever),
        ("/sw.js", "onfetch", "text/javascript; charset=utf-8", "no-cache"),
        ("/samples.gz", "an archive of its own", "application/octet-stream", "no-cache"),
    ] {
        let response = ask(path, &[]);
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!((header(&response, CONTENT_TYPE), header(&response, CACHE_CONTROL)), (kind, kept), "{path}");
        assert_eq!(header(&response, CONTENT_ENCODING), "", "{path}");
        let scope = header(&response, "service-worker-allowed");
        assert_eq!(scope, if path == "/sw.js" { "/" } else { "" }, "{path}");
        assert_eq!(body(response).await, content, "{path}");
    }
}

#[tokio::test]
async fn a_compressed_variant_goes_only_to_who_takes_it() {
    for (accepted, coding, content) in [
        ("gzip, deflate, br, zstd", "br", "brotli"),
        ("gzip", "gzip", "zipped"),
        ("BR;q=0.1, gzip", "br", "brotli"),
        ("br;q=0, gzip; q=0.5", "gzip", "zipped"),
        ("*", "br", "brotli"),
        ("br;q=0, *", "gzip", "zipped"),
        ("br;q=0, gzip;q=0.000", "", "<!doctype html>the app"),
        ("*;q=0", "", "<!doctype html>the app"),
        ("br;level=3", "", "<!doctype html>the app"),
        ("brotli, gzipped", "", "<!doctype html>the app"),
        ("identity", "", "<!doctype html>the app"),
        ("", "", "<!doctype html>the app"),
    ] {
        let response = ask("/", &[(ACCEPT_ENCODING, accepted)]);
        assert_eq!(header(&response, CONTENT_ENCODING), coding, "{accepted}");
        assert_eq!(header(&response, VARY), "Accept-Encoding", "{accepted}");
        assert_eq!(header(&response, CONTENT_TYPE), "text/html; charset=utf-8", "{accepted}");
        assert_eq!(body(response).await, content, "{accepted}");
    }
    // It has no variants.
    let response = ask("/sw.js", &[(ACCEPT_ENCODING, "br, gzip")]);
    assert_eq!((header(&response, CONTENT_ENCODING), header(&response, VARY)), ("", "Accept-Encoding"));
}

#[tokio::test]
async fn who_has_a_file_is_not_sent_it_again() {
    let tag = header(&ask("/", &[]), ETAG).to_owned();
    let compressed = header(&ask("/", &[(ACCEPT_ENCODING, "br")]), ETAG).to_owned();
    assert_ne!(tag, compressed, "a cache must not take one for the other");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\" , {tag}"), "*".to_owned()] {
        let response = ask("/", &[(IF_NONE_MATCH, &known)]);
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!((header(&response, ETAG), header(&response, CACHE_CONTROL)), (&*tag, "no-cache"));
        assert_eq!(body(response).await, "");
    }
    for unknown in ["\"other\"", "", compressed.as_str(), tag.trim_matches('"')] {
        assert_eq!(ask("/", &[(IF_NONE_MATCH, unknown)]).status(), StatusCode::OK, "{unknown}");
    }
}

#[tokio::test]
async fn every_answer_says_what_a_browser_must_not_do() {
    for (path, status, policy) in [
        ("/", StatusCode::OK, APP_POLICY),
        // A worker's policy is that of its own script.
        ("/assets/app-1a2b.js", StatusCode::OK, APP_POLICY),
        ("/_share/0/a.webm", StatusCode::NOT_FOUND, NOTICE_POLICY),
        ("/nothing", StatusCode::NOT_FOUND, NOTICE_POLICY),
    ] {
        let response = ask(path, &[]);
        assert_eq!(response.status(), status, "{path}");
        for (name, value) in [
            ("content-security-policy", policy),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("permissions-policy", PERMISSIONS),
        ] {
            assert_eq!(header(&response, name), value, "{path}");
        }
    }
    for forbidden in ["'unsafe-inline'", "'unsafe-eval'", "script-src *"] {
        assert!(!APP_POLICY.contains(forbidden), "{forbidden}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_in_words() {
    for path in
        ["/nothing", "/assets/", "/assets/app-1a2b.js/", "/assets", "/index.html.gz", "/../index.html", "/%2e"]
    {
        let response = ask(path, &[]);
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(body(response).await, "there is nothing at this address; the start page is at /\n", "{path}");
    }
    let lost = ask("/_share/0123/film.webm", &[]);
    assert_eq!(header(&lost, CONTENT_TYPE), "text/html; charset=utf-8");
    assert!(body(lost).await.windows(19).any(|words| words == b"Open the link again"));
    let posted = Pages::new(FILES).answer(&Method::POST, "/", &HeaderMap::new());
    assert_eq!((posted.status(), header(&posted, ALLOW)), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
}

#[tokio::test]
async fn without_the_app_the_root_says_how_to_build_it() {
    let response = Pages::default().answer(&Method::GET, "/", &HeaderMap::new());
    assert_eq!((response.status(), header(&response, CONTENT_SECURITY_POLICY)), (StatusCode::OK, NOTICE_POLICY));
    let page = body(response).await;
    assert!(String::from_utf8_lossy(&page).contains("servers/front/web/build.sh"));
    let response = Pages::default().answer(&Method::GET, "/index.html", &HeaderMap::new());
    assert_eq!((response.status(), header(&response, CONTENT_LENGTH)), (StatusCode::NOT_FOUND, ""));
}
