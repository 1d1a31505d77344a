//! What people pass around to name a share: share links, magnet links and bare info hashes.
//!
//! A share link is `https://FRONT/#<64 hex digits>` with optional fields `&key=value` after the info hash, values
//! percent-encoded. Everything after `#` stays in the browser. Fields: `dn`, a name to show (once); `front`, a
//! further front (repeated); `k`, the key of an encrypted share, or `to`, that key wrapped to one person (one of the
//! two, once). Any other field is refused. No error and no `Debug` says anything of a key.
//!
//! A magnet link is that of BEP 9 with the `urn:btmh` topic of BEP 52; fronts ride in `x.front`, web seeds in `ws`.
//! Fields it does not know are passed over: magnet links carry those of many programs.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use crate::id::{Digest, InfoHash};
use crate::metainfo::{MAX_URLS, name};
use crate::seal::{BadKey, ShareKey, WrappedKey};

/// Most bytes in a link.
pub const MAX_LINK: usize = 64 * 1024;
/// Most bytes in a URL inside a link or a metainfo.
pub const MAX_URL: usize = 2048;

/// What names a share, and who may know more of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareRef {
    /// The share.
    pub info_hash: InfoHash,
    /// A name to show until the metainfo is there, safe as a file name. A link's unsafe name is dropped.
    pub name: Option<String>,
    /// Base URLs of fronts, without a slash at the end.
    pub fronts: Vec<String>,
    /// Announce URLs of BitTorrent trackers.
    pub trackers: Vec<String>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// What opens the share, if it is encrypted. Only share links have it.
    pub key: Option<LinkKey>,
}

/// What a link has to open an encrypted share with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKey {
    /// The key itself, `k`: whoever has the link can open the share.
    Open(ShareKey),
    /// The key wrapped to one person, `to`: only they can.
    Wrapped(WrappedKey),
}

/// Why a text names no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It is none of the forms.
    #[error(
        "{got} is neither a share link (https://FRONT/#INFOHASH), a magnet link (magnet:?xt=urn:btmh:…) \
         nor an info hash (64 hexadecimal digits)"
    )]
    Form {
        /// The text, quoted and shortened.
        got: String,
    },
    /// It is longer than [`MAX_LINK`].
    #[error("the link has {0} bytes, more than the limit of {MAX_LINK}")]
    TooLong(usize),
    /// A share link has nothing after `#`, or no `#`.
    #[error("the share link has no '#' with an info hash after it")]
    NoFragment,
    /// The part before `#` is no base URL of a front.
    #[error("the share link's front must be {expected}, got {got}")]
    Front {
        /// What it should be.
        expected: &'static str,
        /// What it is, quoted and shortened.
        got: String,
    },
    /// An info hash is not one.
    #[error("an info hash must be 64 hexadecimal digits (or 1220 and 64 more), got {got}")]
    InfoHash {
        /// What it is, quoted and shortened.
        got: String,
    },
    /// A field of the fragment is not known.
    #[error("the share link has an unknown field {got}")]
    UnknownField {
        /// The field, quoted and shortened.
        got: String,
    },
    /// The key of an encrypted share is not one.
    #[error("the link's field {field} is not a key of {length} characters: copy the whole link")]
    Key {
        /// The field.
        field: &'static str,
        /// Characters in a key.
        length: usize,
    },
    /// A field that may be there once is there again.
    #[error("the link has the field {0} twice")]
    Repeated(&'static str),
    /// A field's value is not what it should be.
    #[error("the link's field {field} must be {expected}, got {got}")]
    Value {
        /// The field.
        field: &'static str,
        /// What its value should be.
        expected: &'static str,
        /// What it is, quoted and shortened.
        got: String,
    },
    /// There are more than [`MAX_URLS`] of a kind.
    #[error("the link has more than {MAX_URLS} fields {0}")]
    TooMany(&'static str),
    /// A magnet link has only a `urn:btih` topic.
    #[error("the magnet link names a BitTorrent v1 torrent only (urn:btih); a share needs v2 (urn:btmh)")]
    VersionOne,
    /// A magnet link has no `urn:btmh` topic.
    #[error("the magnet link has no xt=urn:btmh:1220… field")]
    NoTopic,
}

impl ShareRef {
    /// A share of which nothing but its info hash is known.
    #[must_use]
    pub const fn new(info_hash: InfoHash) -> Self {
        Self { info_hash, name: None, fronts: Vec::new(), trackers: Vec::new(), web_seeds: Vec::new(), key: None }
    }

    /// The share link that opens at `front`, a base URL; further fronts follow as fields. Trackers and web
    /// seeds are left out.
    #[must_use]
    pub fn share_link(&self, front: &str) -> String {
        let front = front.trim_end_matches('/');
        let mut link = format!("{front}/#{}", self.info_hash);
        push_field(&mut link, "dn", self.name.as_deref());
        push_field(&mut link, "front", self.fronts.iter().map(String::as_str).filter(|other| *other != front));
        match &self.key {
            None => {}
            Some(LinkKey::Open(key)) => push_field(&mut link, "k", [key.to_text().as_str()]),
            Some(LinkKey::Wrapped(key)) => push_field(&mut link, "to", [key.to_string().as_str()]),
        }
        link
    }

    /// The magnet link with all that is known but the key: other programs keep and pass on what a magnet link holds.
    #[must_use]
    pub fn magnet(&self) -> String {
        let mut link = format!("magnet:?xt=urn:btmh:1220{}", self.info_hash);
        push_field(&mut link, "dn", self.name.as_deref());
        push_field(&mut link, "tr", self.trackers.iter().map(String::as_str));
        push_field(&mut link, "ws", self.web_seeds.iter().map(String::as_str));
        push_field(&mut link, "x.front", self.fronts.iter().map(String::as_str));
        link
    }
}

impl fmt::Display for ShareRef {
    /// The share link at the first front if there is one, else the magnet link.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fronts.first() {
            Some(front) => f.write_str(&self.share_link(front)),
            None => f.write_str(&self.magnet()),
        }
    }
}

impl FromStr for ShareRef {
    type Err = LinkError;

    /// Reads any of the forms; white space around it is ignored.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        if text.len() > MAX_LINK {
            return Err(LinkError::TooLong(text.len()));
        }
        let text = text.trim();
        if let Some(query) = strip_prefix_ignoring_case(text, "magnet:?") {
            parse_magnet(query)
        } else if is_http(text) {
            let (front, fragment) = text.split_once('#').ok_or(LinkError::NoFragment)?;
            parse_share_link(front, fragment)
        } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            info_hash(text).map(Self::new)
        } else {
            Err(LinkError::Form { got: name::shortened(text) })
        }
    }
}

fn parse_share_link(front: &str, fragment: &str) -> Result<ShareRef, LinkError> {
    let front = front_url(front).map_err(|expected| LinkError::Front { expected, got: name::shortened(front) })?;
    let (hash, fields) = fragment.split_once('&').unwrap_or((fragment, ""));
    if hash.is_empty() {
        return Err(LinkError::NoFragment);
    }
    let mut share = ShareRef::new(info_hash(hash)?);
    share.fronts.push(front);
    let (mut name, mut share_key) = (None, None);
    for (key, value) in split_fields(fields) {
        match key {
            "dn" => set_once(&mut name, "dn", decode("dn", value, false)?)?,
            "front" => push_url(&mut share.fronts, "front", &decode("front", value, false)?, front_url)?,
            "k" => set_once(&mut share_key, "k or to", LinkKey::Open(parse_key("k", value)?))?,
            "to" => set_once(&mut share_key, "k or to", LinkKey::Wrapped(parse_key("to", value)?))?,
            _ => return Err(LinkError::UnknownField { got: name::shortened(key) }),
        }
    }
    share.name = name.filter(|name| name::fault(name).is_none());
    share.key = share_key;
    Ok(share)
}

/// A key of either kind. The error does not repeat what may be most of one.
fn parse_key<K: FromStr<Err = BadKey>>(field: &'static str, value: &str) -> Result<K, LinkError> {
    let text = decode(field, value, false).unwrap_or_default();
    text.parse().map_err(|BadKey { length, .. }| LinkError::Key { field, length })
}

fn parse_magnet(query: &str) -> Result<ShareRef, LinkError> {
    let (mut topic, mut name, mut version_one) = (None, None, false);
    let (mut fronts, mut trackers, mut web_seeds) = (Vec::new(), Vec::new(), Vec::new());
    for (key, value) in split_fields(query) {
        // `xt.1`, `tr.2` and so on: the same key, numbered.
        let key = key.split_once('.').filter(|(_, n)| n.parse::<u16>().is_ok()).map_or(key, |(key, _)| key);
        match key {
            "xt" => {
                let urn = decode("xt", value, true)?;
                if let Some(hash) = strip_prefix_ignoring_case(&urn, "urn:btmh:") {
                    set_once(&mut topic, "xt=urn:btmh", multihash(hash)?)?;
                }
                version_one |= strip_prefix_ignoring_case(&urn, "urn:btih:").is_some();
            }
            "dn" if name.is_none() => name = Some(decode("dn", value, true)?),
            "tr" => push_url(&mut trackers, "tr", &decode("tr", value, true)?, url)?,
            "ws" => push_url(&mut web_seeds, "ws", &decode("ws", value, true)?, url)?,
            "x.front" => push_url(&mut fronts, "x.front", &decode("x.front", value, true)?, front_url)?,
            _ => {}
        }
    }
    let none = if version_one { LinkError::VersionOne } else { LinkError::NoTopic };
    let name = name.filter(|name| name::fault(name).is_none());
    Ok(ShareRef { info_hash: topic.ok_or(none)?, name, fronts, trackers, web_seeds, key: None })
}

/// An info hash, or the multihash of one.
fn info_hash(text: &str) -> Result<InfoHash, LinkError> {
    if text.len() == 68 { multihash(text) } else { digest(text, text) }
}

/// The multihash of a SHA-256: `12` (SHA-256), `20` (32 bytes) and the digest, all in hexadecimal.
fn multihash(text: &str) -> Result<InfoHash, LinkError> {
    digest(text.strip_prefix("1220").unwrap_or_default(), text)
}

fn digest(hex: &str, whole: &str) -> Result<InfoHash, LinkError> {
    let digest: Result<Digest, _> = hex.parse();
    digest.map(InfoHash).map_err(|_| LinkError::InfoHash { got: name::shortened(whole) })
}

fn split_fields(fields: &str) -> impl Iterator<Item = (&str, &str)> {
    fields.split('&').filter(|field| !field.is_empty()).map(|field| field.split_once('=').unwrap_or((field, "")))
}

fn set_once<T>(place: &mut Option<T>, field: &'static str, value: T) -> Result<(), LinkError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(LinkError::Repeated(field)),
    }
}

fn push_url(
    urls: &mut Vec<String>,
    field: &'static str,
    text: &str,
    checked: impl Fn(&str) -> Result<String, &'static str>,
) -> Result<(), LinkError> {
    let url =
        checked(text).map_err(|expected| LinkError::Value { field, expected, got: name::shortened(text) })?;
    if urls.contains(&url) {
        return Ok(());
    }
    if urls.len() == MAX_URLS {
        return Err(LinkError::TooMany(field));
    }
    urls.push(url);
    Ok(())
}

/// The base URL of a front, without slashes at the end; the error is what it should be.
pub(crate) fn front_url(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str = "an http or https URL of at most 2048 bytes, without user, query or fragment";
    let base = text.trim_end_matches('/');
    let rest = strip_prefix_ignoring_case(base, "https://").or(strip_prefix_ignoring_case(base, "http://"));
    let has_host = rest.is_some_and(|rest| !rest.starts_with([':', '/']) && !rest.is_empty());
    if !has_host || base.contains(['?', '#', '@']) {
        return Err(EXPECTED);
    }
    url(base).map_err(|_| EXPECTED)
}

/// A URL of any scheme; the error is what it should be.
pub(crate) fn url(text: &str) -> Result<String, &'static str> {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let known =
        scheme.is_some_and(|scheme| !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
    if !known || text.len() > MAX_URL || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err("a URL of at most 2048 bytes, without spaces");
    }
    Ok(text.to_owned())
}

fn is_http(text: &str) -> bool {
    strip_prefix_ignoring_case(text, "https://").or(strip_prefix_ignoring_case(text, "http://")).is_some()
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Undoes percent-encoding (RFC 3986), and with `plus` the `+` that forms write for a space.
fn decode(field: &'static str, text: &str, plus: bool) -> Result<String, LinkError> {
    let refused = |expected| LinkError::Value { field, expected, got: name::shortened(text) };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => {
                let hex = rest.split_at_checked(2).and_then(|(hex, tail)| {
                    rest = tail;
                    data_encoding::HEXLOWER_PERMISSIVE.decode(hex).ok()
                });
                bytes.extend(hex.ok_or_else(|| refused("percent-encoded: '%' and two hexadecimal digits"))?);
            }
            b'+' if plus => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| refused("UTF-8"))
}

/// Appends `&key=value` for each value, all but RFC 3986's unreserved characters percent-encoded.
fn push_field<'a>(link: &mut String, key: &str, values: impl IntoIterator<Item = &'a str>) {
    for value in values {
        link.push('&');
        link.push_str(key);
        link.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                link.push(char::from(byte));
            } else {
                write!(link, "%{byte:02X}").expect("a String takes all that is written to it");
            }
        }
    }
}
