//! The real stack on loopback sockets: two transports, signaling carried by hand.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use kollator_core::rtc::{ConnId, RtcCommand, RtcEvent};
use kollator_core::wire::frame::Frame;
use tokio::time::timeout;

use super::{Binding, RtcConfig, Transport, WebRtc};
use crate::event::{EventSink, EventStream};

/// Far beyond what anything here takes: only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

struct Side {
    rtc: WebRtc,
    events: EventStream<RtcEvent>,
}

impl Side {
    fn new() -> Self {
        Self::with(RtcConfig {
            binding: Binding::addrs(vec![(Ipv4Addr::LOCALHOST, 0).into()]),
            ..RtcConfig::default()
        })
    }

    fn with(config: RtcConfig) -> Self {
        let (sink, events) = EventSink::channel(64);
        let rtc = WebRtc::new(config, sink).expect("no ICE servers, so none is bad");
        Self { rtc, events }
    }

    async fn event(&mut self) -> RtcEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("the transport lives")
    }

    async fn described(&mut self) -> String {
        match self.event().await {
            RtcEvent::Described { sdp, .. } => sdp,
            other => panic!("not a description: {other:?}"),
        }
    }

    async fn closed(&mut self) -> String {
        loop {
            match self.event().await {
                RtcEvent::Closed { reason, .. } => return reason,
                RtcEvent::Sent { .. } | RtcEvent::Message { .. } => {}
                other => panic!("not the end: {other:?}"),
            }
        }
    }

    /// Messages up to and with the frame `last`.
    async fn messages_until(&mut self, last: &Frame) -> Vec<Bytes> {
        let last = last.encode().freeze();
        let mut messages = Vec::new();
        while messages.last() != Some(&last) {
            match self.event().await {
                RtcEvent::Message { data, .. } => messages.push(data),
                RtcEvent::Sent { .. } => {}
                other => panic!("not a message after {}: {other:?}", messages.len()),
            }
        }
        messages
    }
}

impl Side {
    /// Listens until so many messages came and so many bytes were taken; what came, and what was taken.
    async fn hear(&mut self, count: usize, total: usize) -> (Vec<Bytes>, usize) {
        let (mut messages, mut sent) = (Vec::new(), 0);
        while messages.len() < count || sent < total {
            match self.event().await {
                RtcEvent::Message { data, .. } => messages.push(data),
                RtcEvent::Sent { bytes, .. } => sent += bytes as usize,
                other => panic!("neither a message nor an account of one: {other:?}"),
            }
        }
        (messages, sent)
    }
}

/// Opens `conn` from `a` to `b`, under the same name on both sides.
async fn open(a: &mut Side, b: &mut Side, conn: ConnId) {
    a.rtc.execute(RtcCommand::Offer { conn });
    let sdp = a.described().await;
    b.rtc.execute(RtcCommand::Accept { conn, sdp });
    let sdp = b.described().await;
    a.rtc.execute(RtcCommand::SetAnswer { conn, sdp });
    for side in [a, b] {
        assert!(matches!(side.event().await, RtcEvent::Open { .. }));
    }
}

fn data(request: u32, len: usize) -> Frame {
    Frame::ChunkResponse { request, first: 0, data: Bytes::from(vec![request as u8; len]) }
}

/// Most of these tests need a second thread only to be quick.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_arrive_in_order_both_ways_and_each_byte_is_accounted_for() {
    const COUNT: u32 = 100;
    let (mut a, mut b) = (Side::new(), Side::new());
    let conn = ConnId(1);
    open(&mut a, &mut b, conn).await;
    let frames: Vec<Frame> = (0..COUNT).map(|i| data(i, 1 + i as usize * 655)).collect();
    let total: usize = frames.iter().map(Frame::encoded_len).sum();
    for side in [&mut a, &mut b] {
        for frame in &frames {
            side.rtc.execute(RtcCommand::Send { conn, frame: frame.clone() });
        }
    }
    let expected: Vec<Bytes> = frames.iter().map(|frame| frame.encode().freeze()).collect();
    // Both at once: a side that is not listened to takes no more, and then its stack acknowledges no more.
    let (heard_by_a, heard_by_b) = tokio::join!(a.hear(expected.len(), total), b.hear(expected.len(), total));
    for (messages, sent) in [heard_by_a, heard_by_b] {
        assert_eq!(messages, expected);
        assert_eq!(sent, total);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_sends_what_was_queued_and_frees_everything() {
    let (mut a, mut b) = (Side::new(), Side::new());
    let conn = ConnId(7);
    open(&mut a, &mut b, conn).await;
    let last = Frame::HealthCheck { nonce: 1 };
    for i in 0..40 {
        a.rtc.execute(RtcCommand::Send { conn, frame: data(i, 60_000) });
    }
    a.rtc.execute(RtcCommand::Send { conn, frame: last.clone() });
    a.rtc.execute(RtcCommand::Close { conn, flush: true });
    assert_eq!(b.messages_until(&last).await.len(), 41);
    b.closed().await;
    a.rtc.idle().await;
    b.rtc.idle().await;
    // Nothing is heard of what was closed; what comes next is another connection's.
    open(&mut a, &mut b, ConnId(8)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_waits_for_nothing_and_frees_everything() {
    let (mut a, mut b) = (Side::new(), Side::new());
    let conn = ConnId(7);
    open(&mut a, &mut b, conn).await;
    for i in 0..100 {
        a.rtc.execute(RtcCommand::Send { conn, frame: data(i, 60_000) });
    }
    a.rtc.execute(RtcCommand::Close { conn, flush: false });
    a.rtc.idle().await;
    b.rtc.execute(RtcCommand::Close { conn, flush: false });
    b.rtc.idle().await;
    open(&mut a, &mut b, ConnId(8)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_nobody_answers_can_be_closed_at_once() {
    let mut a = Side::new();
    for i in 0..20 {
        a.rtc.execute(RtcCommand::Offer { conn: ConnId(i) });
        a.rtc.execute(RtcCommand::Close { conn: ConnId(i), flush: true });
    }
    a.rtc.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_ends_the_connection() {
    let mut a = Side::new();
    let conn = ConnId(1);
    a.rtc.execute(RtcCommand::Offer { conn });
    a.described().await;
    for i in 0..200 {
        a.rtc.execute(RtcCommand::Send { conn, frame: data(i, 60_000) });
    }
    assert!(a.closed().await.contains("wait to be sent"));
    a.rtc.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_is_refused_with_a_reason() {
    let (mut a, mut b) = (Side::new(), Side::new());
    a.rtc.execute(RtcCommand::Offer { conn: ConnId(0) });
    let good = a.described().await;
    let junk = [
        String::new(),
        "junk".into(),
        "\0".repeat(1000),
        good.replace("m=application", "m=audio"),
        good.replace("a=ice-ufrag", "a=ice-u"),
        good.replace("a=fingerprint", "a=fingertip"),
        good.lines().take(3).map(|line| format!("{line}\r\n")).collect(),
        format!("{good}{}", "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n".repeat(33)),
    ];
    for (i, sdp) in junk.into_iter().enumerate() {
        let conn = ConnId(i as u64 + 1);
        b.rtc.execute(RtcCommand::Accept { conn, sdp: sdp.clone() });
        match b.event().await {
            RtcEvent::Closed { reason, .. } => assert!(!reason.is_empty()),
            other => panic!("{sdp:?} was taken: {other:?}"),
        }
    }
    a.rtc.execute(RtcCommand::SetAnswer { conn: ConnId(0), sdp: "junk".into() });
    assert!(a.closed().await.contains("answer"));
    b.rtc.idle().await;
}

/// No mutilated description brings the process or the transport down: it still takes a good one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutilated_descriptions_do_no_harm() {
    let (mut a, mut b) = (Side::new(), Side::new());
    a.rtc.execute(RtcCommand::Offer { conn: ConnId(0) });
    let good = a.described().await;
    let mut rng = kollator_core::machine::Rng::new(1);
    for i in 1..200 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..=rng.below(8) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(3) {
                0 => bytes[at] = rng.below(128) as u8,
                1 => bytes.truncate(at + 1),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                bytes.push(b' ');
            }
        }
        let conn = ConnId(i);
        let sdp = String::from_utf8_lossy(&bytes).into_owned();
        b.rtc.execute(RtcCommand::Accept { conn, sdp });
        // Some of it does no harm and is described.
        b.event().await;
        b.rtc.execute(RtcCommand::Close { conn, flush: true });
    }
    b.rtc.idle().await;
    open(&mut a, &mut b, ConnId(1000)).await;
}

#[test]
fn refuses_ice_servers_that_cannot_be_used() {
    use kollator_core::wire::signal::IceServer;
    let refused = |url: &str, username: Option<&str>| {
        let server = IceServer {
            urls: vec![url.into()],
            username: username.map(Into::into),
            credential: username.map(Into::into),
        };
        let (sink, _) = EventSink::channel(1);
        WebRtc::new(RtcConfig { ice_servers: vec![server], ..RtcConfig::default() }, sink).is_err()
    };
    assert!(refused("http://example.org", None));
    assert!(refused("turn:example.org", None));
    assert!(!refused("turn:example.org", Some("me")));
    assert!(!refused("stun:example.org:3478", None));
}
