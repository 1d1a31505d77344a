//! Where an HTTP server is: scheme, host and port of a URL that the user gave. What it cannot be is refused.

use std::fmt;

use hyper::Uri;

/// Scheme, host and port of an HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether TLS is spoken.
    pub secure: bool,
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// A URL that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not a usable URL: {reason}")]
pub struct BadUrl {
    /// As it was given, shortened to 200 characters.
    pub url: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Origin {
    /// The origin of an `http`, `https`, `ws` or `wss` URL, and its path with query, at least `/`.
    ///
    /// # Errors
    /// Says what about the URL cannot be used.
    pub fn parse(url: &str) -> Result<(Self, String), BadUrl> {
        split(url).map_err(|reason| BadUrl { url: url.chars().take(200).collect(), reason })
    }

    /// Host and port as a `Host` header has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port(self.secure) { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

const fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

fn split(url: &str) -> Result<(Origin, String), &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it must look like http://host:port")?;
    let secure = match uri.scheme_str() {
        Some("http" | "ws") => false,
        Some("https" | "wss") => true,
        Some(_) => return Err("it must begin with http://, https://, ws:// or wss://"),
        None => return Err("it must begin with http:// or https://"),
    };
    let authority = uri.authority().ok_or("it has no host")?;
    if authority.as_str().contains('@') {
        return Err("it must not contain a user name or password");
    }
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err("it has no host");
    }
    let port = match &authority.as_str()[authority.host().len()..] {
        "" => default_port(secure),
        port => match port.trim_start_matches(':').parse() {
            Ok(0) | Err(_) => return Err("its port must be 1 to 65535"),
            Ok(port) => port,
        },
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok((Origin { secure, host: host.to_owned(), port }, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> (bool, String, u16, String) {
        let (origin, path) = Origin::parse(url).unwrap_or_else(|error| panic!("{error}"));
        (origin.secure, origin.host, origin.port, path)
    }

    #[test]
    fn takes_urls_apart() {
        assert_eq!(parse("http://localhost:8080"), (false, "localhost".into(), 8080, "/".into()));
        assert_eq!(parse("wss://a.example/x?y=1"), (true, "a.example".into(), 443, "/x?y=1".into()));
        assert_eq!(parse("ws://[::1]:81/"), (false, "::1".into(), 81, "/".into()));
        assert_eq!(parse("http://[::1]"), (false, "::1".into(), 80, "/".into()));
    }

    #[test]
    fn says_what_is_wrong() {
        for (url, reason) in [
            ("", "it must look like"),
            ("localhost", "it must begin with"),
            ("localhost:8080", "it must"),
            ("ftp://host", "it must begin with"),
            ("http://", "it must look like"),
            ("http://host:0", "its port"),
            ("http://host:99999", "it"),
            ("http://user:pass@host", "it must not contain a user name"),
            ("http://h\u{f6}st", "it must look like"),
        ] {
            let error = Origin::parse(url).expect_err(url);
            assert!(error.reason.starts_with(reason), "{url:?}: {error}");
        }
    }

    #[test]
    fn writes_what_it_read() {
        for url in ["http://localhost:8080", "https://a.example", "http://[::1]:81", "https://[2001:db8::1]"] {
            let (origin, _) = Origin::parse(url).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(origin.to_string(), url);
        }
    }
}
