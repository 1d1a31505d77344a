//! Signaling messages to text and back. What serde's types cannot say (sizes, alphabets, ranges) is checked
//! here, right after parsing. Nothing that failed a check ever leaves this room.

use core::net::Ipv6Addr;

use serde::{Deserialize, Deserializer};

use super::signal::{
    Bootstrap, ErrorCode, FULL, FromFront, IceServer, MAX_CANDIDATE, MAX_CAPACITY, MAX_MESSAGE, MAX_NAME,
    MAX_NEWS, MAX_REGION, MAX_SAMPLE, MAX_SDP, MAX_SERVERS, MAX_URL, MAX_WORDS, Neighbour, Role, Signal, ToFront,
    VERSION, WorkerHello, WorkerInfo, WorkersNews,
};
use crate::id::PeerId;

/// Why bytes are not a signaling message. Its text is safe to log and short.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// Longer than any message.
    #[error("a message of {len} bytes is longer than {MAX_MESSAGE}")]
    TooLong {
        /// Bytes in the message.
        len: usize,
    },
    /// Not JSON of the right shape.
    #[error("not a message of this protocol: {what}")]
    Shape {
        /// What is wrong with it, and where.
        what: String,
    },
    /// A field holds what it must not.
    #[error("{field} must be {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A `hello` of another version of this protocol, whatever else is in it.
    #[error("version {theirs} is not spoken here, only {VERSION}")]
    Version {
        /// The version it names.
        theirs: u64,
    },
}

impl ToFront {
    /// The message in `text`, which came over one WebSocket message.
    ///
    /// # Errors
    /// Names what is wrong. A `hello` of another version is [`SignalError::Version`], even where its other
    /// fields are unknown to this one.
    pub fn parse(text: &[u8]) -> Result<Self, SignalError> {
        let message = match flat_signal(text) {
            Some(signal) => signal,
            None => from_json(text).map_err(|e| foreign_version(text).unwrap_or(e))?,
        };
        message.check()?;
        Ok(message)
    }

    /// The message as JSON text.
    #[must_use]
    pub fn to_text(&self) -> String {
        to_json(self, SHORT)
    }

    fn check(&self) -> Result<(), SignalError> {
        match self {
            Self::Hello { version, role, .. } => {
                if *version != VERSION {
                    return Err(SignalError::Version { theirs: u64::from(*version) });
                }
                match role {
                    Role::Peer {} => Ok(()),
                    Role::Worker(hello) => hello.check(),
                }
            }
            Self::Signal { body: Signal::Unreachable {}, .. } => rule(false, "kind", "one that a client sends"),
            Self::Signal { body, .. } => body.check(),
            Self::Load { percent } => rule(*percent <= FULL, "percent", "0 to 100"),
            Self::Announce { .. } | Self::Leave { .. } | Self::Ping {} | Self::Alive {} | Self::Draining {} => {
                Ok(())
            }
        }
    }
}

impl FromFront {
    /// The message in `text`, which came over one WebSocket message.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, SignalError> {
        let message: Self = from_json(text)?;
        message.check()?;
        Ok(message)
    }

    /// The message as JSON text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let room = match self {
            // A session description has a line end, which takes four bytes in place of two, at every 40 or so.
            Self::Signal { body: Signal::Offer { sdp } | Signal::Answer { sdp }, .. } => {
                sdp.len() + sdp.len() / 16
            }
            _ => 0,
        };
        to_json(self, SHORT + room)
    }

    /// An `error` whose words are cut to what the wire allows.
    #[must_use]
    pub fn error(code: ErrorCode, words: &str) -> Self {
        Self::Error { code, message: clip_words(words) }
    }

    fn check(&self) -> Result<(), SignalError> {
        match self {
            Self::Welcome(bootstrap) => bootstrap.check(),
            Self::Assign { worker } => worker.as_ref().map_or(Ok(()), WorkerInfo::check),
            Self::Peers { peers, .. } => rule(peers.len() <= MAX_SAMPLE, "peers", "at most 32"),
            Self::Signal { body, .. } => body.check(),
            Self::Error { message, .. } => rule(is_words(message), "message", WORDS),
            Self::Pong {} | Self::Probe {} => Ok(()),
            Self::Workers(news) => news.check(),
        }
    }
}

impl Signal {
    /// A `bye` whose reason is cut to what the wire allows.
    #[must_use]
    pub fn bye(reason: &str) -> Self {
        Self::Bye { reason: clip_words(reason) }
    }

    fn check(&self) -> Result<(), SignalError> {
        self.broken_rule().map_or(Ok(()), |(field, expected)| rule(false, field, expected))
    }

    /// The field that breaks its rule, and the rule.
    pub(super) fn broken_rule(&self) -> Option<(&'static str, &'static str)> {
        let (holds, field, expected) = match self {
            Self::Offer { sdp } | Self::Answer { sdp } => {
                ((1..=MAX_SDP).contains(&sdp.len()), "sdp", "1 to 32768 bytes")
            }
            Self::Candidate { candidate } => {
                let fits = candidate.len() <= MAX_CANDIDATE && !candidate.contains(char::is_control);
                (fits, "candidate", "at most 1024 bytes without control characters")
            }
            Self::Bye { reason } => (is_words(reason), "reason", WORDS),
            Self::Unreachable {} | Self::Full {} => return None,
        };
        (!holds).then_some((field, expected))
    }
}

impl WorkerHello {
    fn check(&self) -> Result<(), SignalError> {
        rule(is_worker_name(&self.name), "name", NAME)?;
        rule((1..=MAX_CAPACITY).contains(&self.capacity), "capacity", CAPACITY)?;
        rule(is_region(&self.region), "region", REGION)?;
        rule(is_http_url(&self.http), "http", URL)
    }
}

impl WorkerInfo {
    fn check(&self) -> Result<(), SignalError> {
        rule(is_worker_name(&self.name), "name", NAME)?;
        rule(is_http_url(&self.http), "http", URL)
    }
}

impl WorkersNews {
    fn check(&self) -> Result<(), SignalError> {
        rule(self.come.len() + self.gone.len() <= MAX_NEWS, "come and gone", "at most 128 together")?;
        self.come.iter().try_for_each(Neighbour::check)?;
        rule(self.gone.iter().all(|name| is_worker_name(name)), "gone", NAME)
    }
}

impl Neighbour {
    fn check(&self) -> Result<(), SignalError> {
        rule(is_worker_name(&self.name), "name", NAME)?;
        rule((1..=MAX_CAPACITY).contains(&self.capacity), "capacity", CAPACITY)?;
        rule(is_http_url(&self.http), "http", URL)
    }
}

impl Bootstrap {
    /// The body of `POST /bootstrap`'s answer in `text`.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, SignalError> {
        let bootstrap: Self = from_json(text)?;
        bootstrap.check()?;
        Ok(bootstrap)
    }

    fn check(&self) -> Result<(), SignalError> {
        self.worker.as_ref().map_or(Ok(()), WorkerInfo::check)?;
        rule(self.ice_servers.len() <= MAX_SERVERS, "ice_servers", "at most 32")?;
        self.ice_servers.iter().try_for_each(IceServer::check)?;
        rule(self.fronts.len() <= MAX_SERVERS, "fronts", "at most 32")?;
        rule(self.fronts.iter().all(|url| is_http_url(url)), "fronts", URL)?;
        rule((1..=3600).contains(&self.heartbeat_seconds), "heartbeat_seconds", "1 to 3600")
    }
}

impl IceServer {
    fn check(&self) -> Result<(), SignalError> {
        let fits = |text: &String| (1..=MAX_URL).contains(&text.len()) && text.chars().all(is_visible);
        rule((1..=8).contains(&self.urls.len()) && self.urls.iter().all(fits), "urls", "1 to 8 ICE URLs")?;
        rule(self.username.iter().all(fits), "username", "1 to 256 visible ASCII characters")?;
        rule(self.credential.iter().all(fits), "credential", "1 to 256 visible ASCII characters")
    }
}

/// Whether `name` can name a worker: 1 to [`MAX_NAME`] of `A-Z a-z 0-9 . _ -`.
#[must_use]
pub fn is_worker_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_of_a_name)
}

/// Whether `region` can name a region, or is empty and names none: at most [`MAX_REGION`] of
/// `A-Z a-z 0-9 . _ -`.
#[must_use]
pub fn is_region(region: &str) -> bool {
    region.len() <= MAX_REGION && region.bytes().all(is_of_a_name)
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Whether `url` is an absolute `http` or `https` URL of at most [`MAX_URL`] visible ASCII characters, with a
/// host, perhaps a port and a path, but without user, query or fragment.
#[must_use]
pub fn is_http_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return false;
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, after)) => {
            let port = if after.is_empty() { Some("80") } else { after.strip_prefix(':') };
            (address.parse::<Ipv6Addr>().is_ok(), port)
        }
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
            (is_host(host), Some(port))
        }
    };
    let port = port.is_some_and(|port| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    let path = path.chars().all(|c| is_visible(c) && !r##"?#"<>\^`{|}"##.contains(c));
    url.len() <= MAX_URL && host && port && path
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

pub(super) const NAME: &str = "1 to 64 of A-Z a-z 0-9 . _ -";
const CAPACITY: &str = "1 to 1000";
pub(super) const REGION: &str = "at most 32 of A-Z a-z 0-9 . _ -";
pub(super) const URL: &str = "http://HOST[:PORT][/PATH] or the same with https";
const WORDS: &str = "at most 256 bytes without control characters";

fn is_words(text: &str) -> bool {
    text.len() <= MAX_WORDS && !text.contains(char::is_control)
}

fn is_visible(c: char) -> bool {
    c.is_ascii_graphic()
}

fn clip_words(words: &str) -> String {
    let mut text: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.truncate(text.floor_char_boundary(MAX_WORDS));
    text
}

fn rule(holds: bool, field: &'static str, expected: &'static str) -> Result<(), SignalError> {
    holds.then_some(()).ok_or(SignalError::Field { field, expected })
}

fn from_json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, SignalError> {
    if text.len() > MAX_MESSAGE {
        return Err(SignalError::TooLong { len: text.len() });
    }
    serde_json::from_slice(text).map_err(|e| SignalError::Shape { what: clip_words(&e.to_string()) })
}

/// Bytes that most messages fit into, a session description left out.
const SHORT: usize = 192;

/// The text of a message, which is expected to take so many bytes.
fn to_json<T: serde::Serialize>(message: &T, room: usize) -> String {
    let mut text = Vec::with_capacity(room);
    serde_json::to_writer(&mut text, message).expect("strings, numbers and lists always serialise");
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// A `signal`, if `text` is one in its usual form. Nearly all that a front hears are, and serde takes objects that
/// are tagged inside apart twice: this costs a third of that. `None` says nothing of what the text is.
fn flat_signal(text: &[u8]) -> Option<ToFront> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Flat<'a> {
        r#type: &'a str,
        to: PeerId,
        session: u32,
        #[serde(borrow)]
        body: Body<'a>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        kind: &'a str,
        #[serde(default, deserialize_with = "present")]
        sdp: Option<String>,
        #[serde(default, deserialize_with = "present")]
        candidate: Option<String>,
        #[serde(default, deserialize_with = "present")]
        reason: Option<String>,
    }
    /// Unlike an `Option`, nothing that is null.
    fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
        String::deserialize(deserializer).map(Some)
    }

    let Flat { r#type: "signal", to, session, body } = from_json(text).ok()? else { return None };
    let body = match body {
        Body { kind: "offer", sdp: Some(sdp), candidate: None, reason: None } => Signal::Offer { sdp },
        Body { kind: "answer", sdp: Some(sdp), candidate: None, reason: None } => Signal::Answer { sdp },
        Body { kind: "candidate", sdp: None, candidate: Some(candidate), reason: None } => {
            Signal::Candidate { candidate }
        }
        Body { kind: "bye", sdp: None, candidate: None, reason: Some(reason) } => Signal::Bye { reason },
        Body { kind: "full", sdp: None, candidate: None, reason: None } => Signal::Full {},
        _ => return None,
    };
    Some(ToFront::Signal { to, session, body })
}

/// The error to report for a text that is no message of this version, where it is a `hello` of another one.
fn foreign_version(text: &[u8]) -> Option<SignalError> {
    #[derive(Deserialize)]
    struct AnyHello {
        r#type: String,
        version: u64,
    }
    let AnyHello { r#type, version } = from_json(text).ok()?;
    (r#type == "hello" && version != u64::from(VERSION)).then_some(SignalError::Version { theirs: version })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::id::{Digest, InfoHash};

    fn digest() -> impl Strategy<Value = Digest> {
        any::<[u8; 32]>().prop_map(Digest)
    }

    fn name() -> impl Strategy<Value = String> {
        "[A-Za-z0-9._-]{1,64}"
    }

    fn url() -> impl Strategy<Value = String> {
        prop_oneof![
            "https?://[a-z0-9.-]{1,40}(:[1-9][0-9]{0,3})?(/[a-z0-9%._~-]{0,40}){0,3}",
            Just("http://[::1]:8080/".to_owned()),
            Just("http://[2001:db8::1]".to_owned()),
        ]
    }

    fn words() -> impl Strategy<Value = String> {
        "\\PC{0,60}"
    }

    fn worker() -> impl Strategy<Value = WorkerInfo> {
        (name(), digest(), url()).prop_map(|(name, id, http)| WorkerInfo { name, peer: PeerId(id), http })
    }

    fn ice() -> impl Strategy<Value = IceServer> {
        (vec("(stun|turns?):[a-z0-9.]{1,30}:3478", 1..=8), option::of("[!-~]{1,40}"), option::of("[!-~]{1,40}"))
            .prop_map(|(urls, username, credential)| IceServer { urls, username, credential })
    }

    fn bootstrap() -> impl Strategy<Value = Bootstrap> {
        (option::of(worker()), vec(ice(), 0..4), vec(url(), 0..4), 1..=3600u32).prop_map(
            |(worker, ice_servers, fronts, heartbeat_seconds)| Bootstrap {
                worker,
                ice_servers,
                fronts,
                heartbeat_seconds,
            },
        )
    }

    fn news() -> impl Strategy<Value = WorkersNews> {
        let neighbour =
            (name(), 1..=1000u16, url()).prop_map(|(name, capacity, http)| Neighbour { name, capacity, http });
        (any::<bool>(), vec(neighbour, 0..8), vec(name(), 0..8)).prop_map(|(anew, come, gone)| WorkersNews {
            anew,
            come,
            gone,
        })
    }

    /// What a client may send.
    fn signal() -> impl Strategy<Value = Signal> {
        prop_oneof![
            "(?s).{1,200}".prop_map(|sdp| Signal::Offer { sdp }),
            "[ -~\r\n]{1,200}".prop_map(|sdp| Signal::Answer { sdp }),
            "[ -~]{0,100}".prop_map(|candidate| Signal::Candidate { candidate }),
            words().prop_map(|reason| Signal::Bye { reason }),
            Just(Signal::Full {}),
        ]
    }

    fn to_front() -> impl Strategy<Value = ToFront> {
        let role = prop_oneof![
            Just(Role::Peer {}),
            (name(), 1..=1000u16, url(), "[A-Za-z0-9._-]{0,32}", any::<u64>(), digest()).prop_map(
                |(name, capacity, http, region, timestamp_ms, mac)| {
                    Role::Worker(WorkerHello { name, capacity, http, region, timestamp_ms, mac })
                }
            ),
        ];
        prop_oneof![
            (digest(), role).prop_map(|(id, role)| ToFront::Hello { version: VERSION, id: PeerId(id), role }),
            (digest(), any::<bool>())
                .prop_map(|(hash, complete)| ToFront::Announce { info_hash: InfoHash(hash), complete }),
            digest().prop_map(|hash| ToFront::Leave { info_hash: InfoHash(hash) }),
            (digest(), any::<u32>(), signal()).prop_map(|(to, session, body)| ToFront::Signal {
                to: PeerId(to),
                session,
                body
            }),
            Just(ToFront::Ping {}),
            Just(ToFront::Alive {}),
            Just(ToFront::Draining {}),
            (0..=FULL).prop_map(|percent| ToFront::Load { percent }),
        ]
    }

    fn from_front() -> impl Strategy<Value = FromFront> {
        let code = prop_oneof![
            Just(ErrorCode::Malformed),
            Just(ErrorCode::NotWelcomed),
            Just(ErrorCode::Version),
            Just(ErrorCode::Unauthorized),
            Just(ErrorCode::NameTaken),
            Just(ErrorCode::Limit),
        ];
        prop_oneof![
            bootstrap().prop_map(FromFront::Welcome),
            option::of(worker()).prop_map(|worker| FromFront::Assign { worker }),
            (digest(), vec(digest().prop_map(PeerId), 0..=MAX_SAMPLE))
                .prop_map(|(hash, peers)| FromFront::Peers { info_hash: InfoHash(hash), peers }),
            (digest(), any::<u32>(), prop_oneof![signal(), Just(Signal::Unreachable {})])
                .prop_map(|(from, session, body)| FromFront::Signal { from: PeerId(from), session, body }),
            (code, words()).prop_map(|(code, message)| FromFront::Error { code, message }),
            Just(FromFront::Pong {}),
            Just(FromFront::Probe {}),
            news().prop_map(FromFront::Workers),
        ]
    }

    /// Paths to every object inside `value`.
    fn objects(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.push(path.to_owned());
                map.iter().for_each(|(key, value)| objects(value, &format!("{path}/{key}"), found));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, value)| objects(value, &format!("{path}/{i}"), found));
            }
            _ => {}
        }
    }

    /// `text` with an unknown field in each of its objects in turn.
    fn with_unknown_fields(text: &str) -> Vec<String> {
        let value: Value = serde_json::from_str(text).expect("our own text");
        let mut paths = Vec::new();
        objects(&value, "", &mut paths);
        let spoil = |path: &String| {
            let mut spoiled = value.clone();
            spoiled.pointer_mut(path).expect("just found")["extra"] = json!(1);
            spoiled.to_string()
        };
        paths.iter().map(spoil).collect()
    }

    proptest! {
        #[test]
        fn messages_to_a_front_survive_the_wire(message in to_front()) {
            prop_assert_eq!(ToFront::parse(message.to_text().as_bytes()), Ok(message));
        }

        #[test]
        fn messages_from_a_front_survive_the_wire(message in from_front()) {
            prop_assert_eq!(FromFront::parse(message.to_text().as_bytes()), Ok(message));
        }

        #[test]
        fn unknown_fields_are_refused_at_every_level(to in to_front(), from in from_front()) {
            for text in with_unknown_fields(&to.to_text()) {
                prop_assert!(ToFront::parse(text.as_bytes()).is_err(), "{text}");
            }
            for text in with_unknown_fields(&from.to_text()) {
                prop_assert!(FromFront::parse(text.as_bytes()).is_err(), "{text}");
            }
        }

        #[test]
        fn cut_messages_are_refused(message in to_front(), cut in any::<prop::sample::Index>()) {
            let text = message.to_text();
            prop_assert!(ToFront::parse(&text.as_bytes()[..cut.index(text.len())]).is_err());
        }

        #[test]
        fn spoiled_messages_are_refused_or_are_other_messages(
            message in to_front(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut text = message.to_text().into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            if let Ok(message) = ToFront::parse(&text) {
                prop_assert_eq!(ToFront::parse(message.to_text().as_bytes()), Ok(message));
            }
        }

        /// The quick way to read a signal takes all of them in their usual form, and nothing that the usual way
        /// would not take, as the same message.
        #[test]
        fn both_ways_to_read_a_signal_agree(
            message in to_front(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let text = message.to_text().into_bytes();
            let is_signal = matches!(message, ToFront::Signal { .. });
            prop_assert_eq!(flat_signal(&text), is_signal.then_some(message));
            let mut spoiled = text.clone();
            spoiled[at.index(text.len())] = byte;
            if let Some(signal) = flat_signal(&spoiled) {
                prop_assert_eq!(from_json::<ToFront>(&spoiled), Ok(signal));
            }
        }

        #[test]
        fn clipped_words_fit_the_wire(words in "(?s).{0,400}") {
            let body = Signal::bye(&words);
            let message = ToFront::Signal { to: PeerId(Digest::default()), session: 0, body };
            prop_assert!(ToFront::parse(message.to_text().as_bytes()).is_ok());
            let error = FromFront::error(ErrorCode::Limit, &words);
            prop_assert!(FromFront::parse(error.to_text().as_bytes()).is_ok());
        }
    }

    #[test]
    fn whatever_parses_is_written_and_parsed_the_same() {
        bolero::check!().for_each(|bytes: &[u8]| {
            if let Ok(message) = ToFront::parse(bytes) {
                assert_eq!(ToFront::parse(message.to_text().as_bytes()), Ok(message));
            }
            match FromFront::parse(bytes) {
                Ok(message) => assert_eq!(FromFront::parse(message.to_text().as_bytes()), Ok(message)),
                Err(e) => assert!(e.to_string().len() < 2 * MAX_WORDS),
            }
        });
    }

    /// The texts as the protocol's documentation gives them: a change here is a change of the protocol.
    #[test]
    fn texts_are_fixed() {
        let id = "ab".repeat(32);
        let peer = PeerId(Digest([0xab; 32]));
        let hello = ToFront::Hello { version: 1, id: peer, role: Role::Peer {} };
        assert_eq!(
            hello.to_text(),
            format!(r#"{{"type":"hello","version":1,"id":"{id}","role":{{"is":"peer"}}}}"#)
        );
        let offer = ToFront::Signal { to: peer, session: 7, body: Signal::Offer { sdp: "v=0\r\n".into() } };
        assert_eq!(
            offer.to_text(),
            format!(r#"{{"type":"signal","to":"{id}","session":7,"body":{{"kind":"offer","sdp":"v=0\r\n"}}}}"#)
        );
        let error = FromFront::error(ErrorCode::NotWelcomed, "hello must come first");
        assert_eq!(error.to_text(), r#"{"type":"error","code":"not-welcomed","message":"hello must come first"}"#);
        assert_eq!(FromFront::Assign { worker: None }.to_text(), r#"{"type":"assign"}"#);
        assert_eq!(ToFront::Ping {}.to_text(), r#"{"type":"ping"}"#);
        assert_eq!(FromFront::Probe {}.to_text(), r#"{"type":"probe"}"#);
        assert_eq!(ToFront::Alive {}.to_text(), r#"{"type":"alive"}"#);
        assert_eq!(ToFront::Draining {}.to_text(), r#"{"type":"draining"}"#);
        assert_eq!(ToFront::Load { percent: 40 }.to_text(), r#"{"type":"load","percent":40}"#);
        let worker = |region: &str| {
            let (name, http) = ("w".to_owned(), "http://w".to_owned());
            let (region, mac) = (region.to_owned(), peer.0);
            let hello = WorkerHello { name, capacity: 100, http, region, timestamp_ms: 1, mac };
            ToFront::Hello { version: 1, id: peer, role: Role::Worker(hello) }.to_text()
        };
        let role = r#""is":"worker","name":"w","capacity":100,"http":"http://w""#;
        let told = |region: &str| {
            format!(
                r#"{{"type":"hello","version":1,"id":"{id}","role":{{{role}{region},"timestamp_ms":1,"mac":"{id}"}}}}"#
            )
        };
        let neighbour = Neighbour { name: "w".to_owned(), capacity: 100, http: "http://w".to_owned() };
        let news = WorkersNews { anew: true, come: vec![neighbour], gone: vec!["x".to_owned()] };
        assert_eq!(
            FromFront::Workers(news).to_text(),
            r#"{"type":"workers","anew":true,"come":[{"name":"w","capacity":100,"http":"http://w"}],"gone":["x"]}"#
        );
        assert_eq!(worker(""), told(""));
        assert_eq!(worker("eu-1"), told(r#","region":"eu-1""#));
    }

    #[test]
    fn broken_rules_are_named() {
        let fault = |text: &str| ToFront::parse(text.as_bytes()).expect_err("refused").to_string();
        let id = "ab".repeat(32);
        let worker = |name: &str, capacity: u32, http: &str| {
            fault(
                &json!({"type": "hello", "version": 1, "id": id, "role": {"is": "worker", "name": name,
                    "capacity": capacity, "http": http, "timestamp_ms": 1, "mac": id}})
                .to_string(),
            )
        };
        let signal =
            |body: Value| fault(&json!({"type": "signal", "to": id, "session": 1, "body": body}).to_string());
        let long = |n: usize| "a".repeat(n);

        for name in ["", "a b", "ä", "a/b", &long(65)] {
            assert_eq!(worker(name, 100, "http://h"), format!("name must be {NAME}"), "{name:?}");
        }
        assert_eq!(worker("w", 0, "http://h"), "capacity must be 1 to 1000");
        assert_eq!(worker("w", 1001, "http://h"), "capacity must be 1 to 1000");
        assert_eq!(worker("w", 100, "ftp://h"), format!("http must be {URL}"));
        for region in ["eu west", "\u{e9}", &long(33)] {
            let text = json!({"type": "hello", "version": 1, "id": id, "role": {"is": "worker", "name": "w",
                "capacity": 100, "http": "http://h", "region": region, "timestamp_ms": 1, "mac": id}});
            assert_eq!(fault(&text.to_string()), format!("region must be {REGION}"), "{region:?}");
        }
        assert_eq!(signal(json!({"kind": "offer", "sdp": ""})), "sdp must be 1 to 32768 bytes");
        assert_eq!(signal(json!({"kind": "answer", "sdp": long(32769)})), "sdp must be 1 to 32768 bytes");
        assert!(signal(json!({"kind": "candidate", "candidate": long(1025)})).starts_with("candidate must"));
        assert!(signal(json!({"kind": "bye", "reason": "line\nbreak"})).starts_with("reason must"));
        assert!(signal(json!({"kind": "bye", "reason": long(257)})).starts_with("reason must"));
        assert_eq!(signal(json!({"kind": "unreachable"})), "kind must be one that a client sends");
        assert_eq!(fault(r#"{"type":"load","percent":101}"#), "percent must be 0 to 100");
        assert!(fault(r#"{"type":"load","percent":256}"#).contains("invalid value"));
        assert!(signal(json!({"kind": "full", "reason": "x"})).contains("unknown field"));
        assert!(fault(&format!(r#"{{"type":"leave","info_hash":"{}"}}"#, "x".repeat(64))).contains("info hash"));
        assert!(fault(r#"{"type":"peers"}"#).contains("unknown variant"));
        assert!(fault(r#"{"type":"ping","type":"ping"}"#).contains("duplicate field"));
        assert!(fault("").starts_with("not a message of this protocol: EOF"));
        assert_eq!(fault(&long(MAX_MESSAGE + 1)), "a message of 65537 bytes is longer than 65536");
        let nested = format!(r#"{{"type":"ping","x":{}"#, "[".repeat(MAX_MESSAGE - 20));
        assert!(fault(&nested).contains("recursion limit"));
    }

    #[test]
    fn as_many_workers_as_one_message_may_name_fit_into_it() {
        let neighbour = |n: usize| {
            let (name, http) = (format!("{n:0>64}"), format!("http://{n:0>249}"));
            Neighbour { name, capacity: MAX_CAPACITY, http }
        };
        let come: Vec<Neighbour> = (0..MAX_NEWS).map(neighbour).collect();
        let most = FromFront::Workers(WorkersNews { anew: true, come: come.clone(), gone: Vec::new() });
        assert_eq!(FromFront::parse(most.to_text().as_bytes()), Ok(most));
        let fault = |come: Vec<Neighbour>, gone: &[&str]| {
            let gone = gone.iter().map(|name| (*name).to_owned()).collect();
            let text = FromFront::Workers(WorkersNews { anew: false, come, gone }).to_text();
            FromFront::parse(text.as_bytes()).expect_err("refused").to_string()
        };
        assert_eq!(fault(come, &["x"]), "come and gone must be at most 128 together");
        assert_eq!(fault(Vec::new(), &["x y"]), format!("gone must be {NAME}"));
        let odd = |name: &str, capacity, http: &str| {
            vec![Neighbour { name: name.to_owned(), capacity, http: http.to_owned() }]
        };
        assert_eq!(fault(odd("", 1, "http://h"), &[]), format!("name must be {NAME}"));
        assert_eq!(fault(odd("w", 0, "http://h"), &[]), "capacity must be 1 to 1000");
        assert_eq!(fault(odd("w", 1, "h"), &[]), format!("http must be {URL}"));
    }

    #[test]
    fn both_ways_to_read_a_signal_agree_on_odd_ones() {
        let id = "ab".repeat(32);
        let signal = |body: &str| format!(r#"{{"type":"signal","to":"{id}","session":1,"body":{body}}}"#);
        for text in [
            signal(r#"{"kind":"offer","sdp":"a","reason":null}"#),
            signal(r#"{"kind":"offer","sdp":"a","reason":"b"}"#),
            signal(r#"{"kind":"offer","sdp":"a","sdp":"a"}"#),
            signal(r#"{"kind":"offer","candidate":"a"}"#),
            signal(r#"{"kind":{"offer":null},"sdp":"a"}"#),
            signal(r#"["offer","a"]"#),
            signal(r#"["candidate","a"]"#),
            signal(r#"["offer","a","b"]"#),
            signal(r#"{"sdp":"a","kind":"o\u0066fer"}"#),
            signal(r#"{"sdp":"a","kind":"offer"}"#).replace("signal", "s\\u0069gnal"),
            signal(r#"{"sdp":"a","kind":"offer"}"#).replace('1', "1.0"),
            format!(r#"["signal","{id}",1,{{"kind":"offer","sdp":"a"}}]"#),
            format!(r#"{{"body":{{"sdp":"a","kind":"offer"}},"session":1,"to":"{id}","type":"signal"}}"#),
        ] {
            let usual = from_json::<ToFront>(text.as_bytes());
            if let Some(quick) = flat_signal(text.as_bytes()) {
                assert_eq!(usual, Ok(quick), "{text}");
            }
            let either = ToFront::parse(text.as_bytes());
            assert_eq!(either.is_ok(), usual.is_ok(), "{text}");
        }
    }

    #[test]
    fn another_version_is_told_apart_whatever_its_hello_holds() {
        let id = "ab".repeat(32);
        for text in [
            format!(r#"{{"type":"hello","version":2,"id":"{id}","role":{{"is":"peer"}}}}"#),
            r#"{"type":"hello","version":2,"key":"new"}"#.to_owned(),
        ] {
            assert_eq!(ToFront::parse(text.as_bytes()), Err(SignalError::Version { theirs: 2 }));
        }
        let huge = r#"{"type":"hello","version":70000}"#;
        assert_eq!(ToFront::parse(huge.as_bytes()), Err(SignalError::Version { theirs: 70_000 }));
    }

    #[test]
    fn urls_are_what_a_client_can_dial() {
        for url in [
            "http://a",
            "https://a.example",
            "http://192.0.2.1:8081",
            "http://[2001:db8::1]:8081/x/y",
            "http://[::1]",
            "http://worker-1:65535/",
        ] {
            assert!(is_http_url(url), "{url}");
        }
        for url in [
            "",
            "http://",
            "http:///x",
            "http://:80",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:+80",
            "http://a:80x",
            "http://u@a",
            "http://u:p@a",
            "http://a?q",
            "http://a/?q",
            "http://a/#f",
            "http://a b",
            "http://a/\u{e4}",
            "http://a/\n",
            "http://[::1",
            "http://[::1]8080",
            "http://[a]:80",
            "javascript:alert(1)",
            "HTTP://a",
            "ws://a",
        ] {
            assert!(!is_http_url(url), "{url}");
        }
        assert!(is_http_url(&format!("http://a/{}", "x".repeat(MAX_URL - 9))));
        assert!(!is_http_url(&format!("http://a/{}", "x".repeat(MAX_URL - 8))));
    }
}
