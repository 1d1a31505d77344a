//! Whether the codec keeps its word: whatever is encoded decodes, and whatever decodes encodes to the same bytes.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::super::signal::{MAX_REGION, MAX_SDP};
use super::*;

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn peer() -> impl Strategy<Value = PeerId> {
    digest().prop_map(PeerId)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(MAX_NUMBER), 0..100u64, 0..=MAX_NUMBER]
}

fn life() -> impl Strategy<Value = u64> {
    prop_oneof![Just(1), Just(MAX_NUMBER), 1..=MAX_NUMBER]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[A-Za-z0-9._-]{1,12}", "[A-Za-z0-9._-]{64}"]
}

fn region() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[A-Za-z0-9._-]{1,32}"]
}

fn front() -> impl Strategy<Value = FrontId> {
    (0..MAX_FRONTS as u8).prop_map(FrontId)
}

fn election() -> impl Strategy<Value = ElectionMessage> {
    (0..6, number(), number(), any::<bool>()).prop_map(|(kind, term, round, granted)| match kind {
        0 => ElectionMessage::PreVote { term },
        1 => ElectionMessage::PreVoteReply { term, granted },
        2 => ElectionMessage::Vote { term },
        3 => ElectionMessage::VoteReply { term, granted },
        4 => ElectionMessage::Heartbeat { term, round },
        _ => ElectionMessage::HeartbeatReply { term, round },
    })
}

fn epoch_number() -> impl Strategy<Value = EpochNumber> {
    (number(), life()).prop_map(|(term, n)| EpochNumber { term, n })
}

fn digest_message() -> impl Strategy<Value = SyncMessage> {
    let epoch = prop_oneof![Just(EpochNumber::default()), epoch_number()];
    (btree_map(front(), (life(), number(), number()), 0..=MAX_FRONTS), epoch).prop_map(|(authors, epoch)| {
        let author = |(author, (incarnation, number, floor))| AuthorDigest { author, incarnation, number, floor };
        SyncMessage::Digest { authors: authors.into_iter().map(author).collect(), epoch }
    })
}

fn worker() -> impl Strategy<Value = WorkerRow> {
    let http = prop_oneof![
        "https?://[a-z0-9.-]{1,40}(:[1-9][0-9]{0,3})?(/[a-z0-9%._~-]{0,40}){0,3}",
        Just(format!("http://a/{}", "x".repeat(247))),
    ];
    (peer(), http, 1..=1000u16, region(), number(), any::<bool>(), any::<bool>(), 0..=100u8).prop_map(
        |(peer, http, capacity, region, since_ms, alive, draining, load)| WorkerRow {
            peer,
            http,
            capacity,
            region,
            since_ms,
            alive,
            draining,
            load,
        },
    )
}

fn row() -> impl Strategy<Value = (RowKey, Option<RowValue>)> {
    prop_oneof![
        (name(), option::of(worker()))
            .prop_map(|(name, worker)| (RowKey::Worker(name), worker.map(RowValue::Worker))),
        (peer(), option::of(number())).prop_map(|(peer, since)| {
            (RowKey::Client(peer), since.map(|since_ms| RowValue::Client { since_ms }))
        }),
        (digest(), peer(), option::of(any::<bool>())).prop_map(|(hash, peer, complete)| {
            let key = RowKey::Member { info_hash: InfoHash(hash), peer };
            (key, complete.map(|complete| RowValue::Member { complete }))
        }),
    ]
}

fn rows_message() -> impl Strategy<Value = SyncMessage> {
    (front(), life(), number(), any::<bool>(), 0..MAX_NUMBER / 2, vec((row(), 1..1000u64), 0..20), 0..9u64)
        .prop_map(|(author, incarnation, floor, snapshot, after, rows, more)| {
            let mut last = after;
            let rows = rows
                .into_iter()
                .map(|((key, value), step)| {
                    last += step;
                    Row { key, number: last, value }
                })
                .collect();
            SyncMessage::Rows(RowsPart { author, incarnation, after, upto: last + more, floor, snapshot, rows })
        })
}

fn epoch_message() -> impl Strategy<Value = SyncMessage> {
    (epoch_number(), btree_map(name(), (1..=1000u16, region()), 0..40)).prop_map(|(number, members)| {
        let member = |(name, (capacity, region))| EpochMember { name, capacity, region };
        SyncMessage::Epoch(Epoch { number, members: members.into_iter().map(member).collect() })
    })
}

fn signal_message() -> impl Strategy<Value = SyncMessage> {
    let body = prop_oneof![
        "(?s).{1,200}".prop_map(|sdp| Signal::Offer { sdp }),
        Just(Signal::Offer { sdp: "x".repeat(32768) }),
        "[ -~\r\n]{1,200}".prop_map(|sdp| Signal::Answer { sdp }),
        "[ -~]{0,100}".prop_map(|candidate| Signal::Candidate { candidate }),
        "\\PC{0,60}".prop_map(|reason| Signal::Bye { reason }),
        Just(Signal::Unreachable {}),
        Just(Signal::Full {}),
    ];
    (peer(), peer(), any::<u32>(), body).prop_map(|(from, to, session, body)| SyncMessage::Signal {
        from,
        to,
        session,
        body,
    })
}

/// Every message there can be, extremes included.
fn message() -> impl Strategy<Value = SyncMessage> {
    prop_oneof![
        election().prop_map(SyncMessage::Election),
        digest_message(),
        rows_message(),
        epoch_message(),
        signal_message(),
    ]
}

/// Whether a message's last field takes whatever follows, so that a cut can be a message too.
fn open_ended(message: &SyncMessage) -> bool {
    match message {
        SyncMessage::Election(_) => false,
        SyncMessage::Signal { body, .. } => !matches!(body, Signal::Unreachable {}),
        SyncMessage::Digest { .. } | SyncMessage::Rows(_) | SyncMessage::Epoch(_) => true,
    }
}

fn stays_the_same(bytes: &Bytes) {
    match SyncMessage::decode(bytes.clone()) {
        Ok(message) => assert_eq!(message.encode(), bytes),
        Err(e) => assert!((1..200).contains(&e.to_string().len()), "{e}"),
    }
}

proptest! {
    #[test]
    fn a_message_survives_the_wire(message in message()) {
        let bytes = message.encode();
        prop_assert!(bytes.len() <= MAX_MESSAGE);
        prop_assert_eq!(bytes.len(), message.encoded_len());
        prop_assert_eq!(bytes.capacity(), message.encoded_len());
        prop_assert_eq!(SyncMessage::decode(bytes.freeze()), Ok(message));
    }

    #[test]
    fn a_cut_message_is_refused(message in message(), cut in any::<prop::sample::Index>()) {
        let bytes = message.encode().freeze();
        let cut = bytes.slice(..cut.index(bytes.len()));
        match SyncMessage::decode(cut.clone()) {
            Ok(other) => {
                prop_assert!(open_ended(&message), "{message:?} cut to {} bytes", cut.len());
                prop_assert_eq!(other.encode().freeze(), cut);
            }
            Err(e) => prop_assert!(!e.to_string().is_empty()),
        }
    }

    #[test]
    fn a_byte_too_many_is_refused(message in message()) {
        if !open_ended(&message) {
            let kind = message.kind();
            let mut bytes = message.encode();
            bytes.put_u8(0);
            prop_assert_eq!(SyncMessage::decode(bytes.freeze()), Err(SyncError::Trailing { kind, len: 1 }));
        }
    }

    #[test]
    fn another_version_is_refused(message in message(), version in 2..=255u8) {
        let mut bytes = message.encode();
        bytes[0] = version;
        prop_assert_eq!(SyncMessage::decode(bytes.freeze()), Err(SyncError::Version { theirs: version }));
    }

    #[test]
    fn spoiled_messages_are_refused_or_are_other_messages(
        message in message(), spoils in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = message.encode();
        for (at, byte) in spoils {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        stays_the_same(&bytes.freeze());
    }
}

#[test]
fn whatever_decodes_encodes_to_the_same_bytes() {
    bolero::check!().for_each(|bytes: &[u8]| stays_the_same(&Bytes::copy_from_slice(bytes)));
}

#[test]
fn random_payloads_under_every_type_byte_do_no_harm() {
    bolero::check!().with_type::<(u8, Vec<u8>)>().for_each(|(kind, payload)| {
        stays_the_same(&[&[VERSION as u8, *kind], payload.as_slice()].concat().into());
    });
}

#[test]
fn the_largest_messages_fit() {
    let members = (0..MAX_MEMBERS).map(|i| EpochMember {
        name: format!("{i:064}"),
        capacity: 1000,
        region: "r".repeat(MAX_REGION),
    });
    let number = EpochNumber { term: MAX_NUMBER, n: MAX_NUMBER };
    let epoch = SyncMessage::Epoch(Epoch { number, members: members.collect() });
    assert!(epoch.encode().len() <= MAX_MESSAGE);
    let body = Signal::Offer { sdp: "x".repeat(MAX_SDP) };
    let ends = PeerId(Digest::default());
    assert!(SyncMessage::Signal { from: ends, to: ends, session: 0, body }.encode().len() <= MAX_MESSAGE);
    const { assert!(HEADER + ROWS_HEAD + MAX_ROWS_BYTES <= MAX_MESSAGE) };
}

fn part(rows: Vec<Row>) -> RowsPart {
    RowsPart { author: FrontId(2), incarnation: 3, after: 4, upto: 9, floor: 1, snapshot: false, rows }
}

fn worker_row() -> WorkerRow {
    WorkerRow {
        peer: PeerId(Digest([0xaa; 32])),
        http: "http://h".into(),
        capacity: 100,
        region: "eu".into(),
        since_ms: 7,
        alive: true,
        draining: false,
        load: 50,
    }
}

/// The layout as the protocol's documentation gives it: a change here is a change of the protocol.
#[test]
fn layouts_are_fixed() {
    let hex = |message: SyncMessage| data_encoding::HEXLOWER.encode(&message.encode());
    let election = |message| hex(SyncMessage::Election(message));
    let (one, two) = ("0000000000000001", "0000000000000002");
    assert_eq!(election(ElectionMessage::PreVote { term: 1 }), format!("0101{one}"));
    assert_eq!(election(ElectionMessage::PreVoteReply { term: 1, granted: true }), format!("0102{one}01"));
    assert_eq!(election(ElectionMessage::Vote { term: 1 }), format!("0103{one}"));
    assert_eq!(election(ElectionMessage::VoteReply { term: 1, granted: false }), format!("0104{one}00"));
    assert_eq!(election(ElectionMessage::Heartbeat { term: 1, round: 2 }), format!("0105{one}{two}"));
    assert_eq!(election(ElectionMessage::HeartbeatReply { term: 1, round: 2 }), format!("0106{one}{two}"));

    let number = EpochNumber { term: 1, n: 2 };
    let author = AuthorDigest { author: FrontId(5), incarnation: 2, number: 1, floor: 0 };
    assert_eq!(
        hex(SyncMessage::Digest { authors: vec![author], epoch: number }),
        format!("0110{one}{two}05{two}{one}0000000000000000")
    );
    let member = EpochMember { name: "w".into(), capacity: 100, region: "eu".into() };
    assert_eq!(
        hex(SyncMessage::Epoch(Epoch { number, members: vec![member] })),
        format!("0112{one}{two}0177006402{}", "6575")
    );

    let (a, b) = ("aa".repeat(32), "bb".repeat(32));
    let (peer, info_hash) = (PeerId(Digest([0xaa; 32])), InfoHash(Digest([0xbb; 32])));
    let row = |key, number, value| Row { key, number, value };
    let rows = part(vec![
        row(RowKey::Worker("w".into()), 5, Some(RowValue::Worker(worker_row()))),
        row(RowKey::Client(peer), 6, Some(RowValue::Client { since_ms: 1 })),
        row(RowKey::Member { info_hash, peer }, 7, Some(RowValue::Member { complete: true })),
        row(RowKey::Client(peer), 8, None),
    ]);
    assert_eq!(
        hex(SyncMessage::Rows(rows)),
        [
            "0111",
            "02",
            "0000000000000003",
            "0000000000000004",
            "0000000000000009",
            "0000000000000001",
            "00",
            &format!("010000000000000005017701{a}0008687474703a2f2f6800640265750000000000000007{}", "010032"),
            &format!("020000000000000006{a}01{one}"),
            &format!("030000000000000007{b}{a}0101"),
            &format!("020000000000000008{a}00"),
        ]
        .concat()
    );

    let signal = |body| hex(SyncMessage::Signal { from: peer, to: PeerId(info_hash.0), session: 7, body });
    let head = format!("0113{a}{b}00000007");
    assert_eq!(signal(Signal::Offer { sdp: "v=0".into() }), format!("{head}01763d30"));
    assert_eq!(signal(Signal::Answer { sdp: "v=0".into() }), format!("{head}02763d30"));
    assert_eq!(signal(Signal::Candidate { candidate: String::new() }), format!("{head}03"));
    assert_eq!(signal(Signal::Bye { reason: "no".into() }), format!("{head}046e6f"));
    assert_eq!(signal(Signal::Unreachable {}), format!("{head}05"));
    assert_eq!(signal(Signal::Full {}), format!("{head}06"));
}

#[test]
fn broken_rules_are_named() {
    let fault = |hex: &str| {
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("test vector");
        SyncMessage::decode(bytes.into()).expect_err("not a message").to_string()
    };
    let (zero, one, huge) = ("0000000000000000", "0000000000000001", "4000000000000001");
    let a = "aa".repeat(32);
    assert_eq!(fault(""), "a message of 0 bytes has no header");
    assert_eq!(fault("01"), "a message of 1 bytes has no header");
    assert_eq!(fault("0203"), "version 2 is not spoken here, only 1");
    assert_eq!(fault("01ff"), "unknown message type 0xff");
    assert_eq!(fault("010100"), "message type 0x01 ends inside its term");
    assert_eq!(fault(&format!("0101{huge}")), "message type 0x01: term must be at most 2^62");
    assert_eq!(fault(&format!("0105{one}{huge}")), "message type 0x05: round must be at most 2^62");
    assert_eq!(fault(&format!("0102{one}02")), "message type 0x02: granted must be 0 or 1");

    let digest = |rest: &str| fault(&format!("0110{one}{one}{rest}"));
    assert_eq!(digest("00"), "message type 0x10 ends inside its incarnation");
    assert_eq!(digest(&format!("20{one}{one}{one}")), "message type 0x10: author must be 0 to 31");
    assert_eq!(digest(&format!("00{zero}{one}{one}")), "message type 0x10: incarnation must be 1 to 2^62");
    assert_eq!(digest(&format!("00{one}{huge}{one}")), "message type 0x10: number must be at most 2^62");
    assert_eq!(digest(&format!("00{one}{one}{huge}")), "message type 0x10: floor must be at most 2^62");
    let entry = format!("01{one}{one}{one}");
    assert_eq!(digest(&entry.repeat(2)), "message type 0x10: authors must be in order, each once");
    assert_eq!(digest(&entry.repeat(33)), "message type 0x10 has 25 bytes too many");
    assert_eq!(fault(&format!("0110{one}{zero}")), "message type 0x10: epoch must be 0 of term 0, or 1 or more");
    assert_eq!(fault(&format!("0110{one}{huge}")), "message type 0x10: epoch must be at most 2^62");

    let rows = |head: &str, rows: &str| fault(&format!("0111{head}{rows}"));
    let good = format!("00{one}{zero}{one}{zero}00");
    let client = format!("02{one}{a}00");
    let order = "message type 0x11: rows must be by rising number, after after and up to upto";
    assert_eq!(rows(&format!("20{one}{zero}{one}{zero}00"), ""), "message type 0x11: author must be 0 to 31");
    assert!(rows(&format!("00{zero}{zero}{one}{zero}00"), "").ends_with("incarnation must be 1 to 2^62"));
    assert!(rows(&format!("00{one}{one}{zero}{zero}00"), "").ends_with("after must be at most upto"));
    assert!(rows(&format!("00{one}{one}{huge}{zero}00"), "").ends_with("upto must be at most 2^62"));
    assert!(rows(&format!("00{one}{one}{one}{huge}00"), "").ends_with("floor must be at most 2^62"));
    assert!(rows(&format!("00{one}{one}{one}{zero}02"), "").ends_with("snapshot must be 0 or 1"));
    assert_eq!(rows(&format!("00{one}{one}{one}{zero}00"), &client), order);
    assert_eq!(rows(&format!("00{one}{zero}{zero}{zero}00"), &client), order);
    assert_eq!(rows(&good, &client.repeat(2)), order);
    assert_eq!(rows(&good, &format!("04{one}")), "message type 0x11: row must be of kind 1 to 3");
    assert_eq!(rows(&good, &format!("01{one}0000")), format!("message type 0x11: name must be {NAME}"));
    assert_eq!(rows(&good, &format!("01{one}01ff00")), "message type 0x11: name must be UTF-8");
    assert!(rows(&good, &format!("02{one}{a}02")).ends_with("whether a row has a value must be 0 or 1"));
    assert!(rows(&good, &format!("02{one}{a}01{huge}")).ends_with("since_ms must be at most 2^62"));
    assert!(rows(&good, &format!("03{one}{a}{a}0102")).ends_with("complete must be 0 or 1"));
    let full = (1..=1500u64).map(|n| format!("02{n:016x}{a}00")).collect::<String>();
    let wide = format!("00{one}{zero}00000000000005dc{zero}00");
    assert_eq!(rows(&wide, &full), "message type 0x11: rows must be at most 61440 bytes");

    let epoch = |members: &str| fault(&format!("0112{one}{one}{members}"));
    assert_eq!(fault(&format!("0112{one}{zero}")), "message type 0x12: n must be 1 to 2^62");
    assert_eq!(fault(&format!("0112{huge}{one}")), "message type 0x12: term must be at most 2^62");
    assert_eq!(epoch("01770000"), "message type 0x12 ends inside its region");
    assert_eq!(epoch("0177000000"), "message type 0x12: capacity must be 1 to 1000");
    assert_eq!(epoch("017703e900"), "message type 0x12: capacity must be 1 to 1000");
    assert_eq!(epoch("012f006400"), format!("message type 0x12: name must be {NAME}"));
    assert_eq!(epoch("0177006401ff"), "message type 0x12: region must be UTF-8");
    assert_eq!(
        epoch(&format!("0177006421{}", "61".repeat(33))),
        format!("message type 0x12: region must be {REGION}")
    );
    assert_eq!(epoch(&"0177006400".repeat(2)), "message type 0x12: members must be sorted by name, each once");

    let signal = |body: &str| fault(&format!("0113{a}{a}00000001{body}"));
    assert_eq!(signal(""), "message type 0x13 ends inside its signal");
    assert_eq!(signal("07"), "message type 0x13: signal must be of kind 1 to 6");
    assert_eq!(signal("01"), "message type 0x13: sdp must be 1 to 32768 bytes");
    assert_eq!(signal("02ff"), "message type 0x13: sdp must be UTF-8");
    assert_eq!(signal(&format!("02{}", "61".repeat(32769))), "message type 0x13: sdp must be 1 to 32768 bytes");
    assert!(signal("030a").ends_with("candidate must be at most 1024 bytes without control characters"));
    assert!(signal("040a").ends_with("reason must be at most 256 bytes without control characters"));
    assert_eq!(signal("0500"), "message type 0x13 has 1 bytes too many");

    let long = SyncMessage::decode(vec![1; MAX_MESSAGE + 1].into()).expect_err("too long");
    assert_eq!(long, SyncError::TooLong { len: MAX_MESSAGE + 1 });
}

#[test]
fn broken_rows_of_workers_are_named() {
    let broken = |change: fn(&mut WorkerRow)| {
        let mut worker = worker_row();
        change(&mut worker);
        let row = Row { key: RowKey::Worker("w".into()), number: 5, value: Some(RowValue::Worker(worker)) };
        SyncMessage::Rows(part(vec![row])).check().expect_err("broken")
    };
    assert_eq!(broken(|w| w.http = "ftp://h".into()), ("http", URL));
    assert_eq!(broken(|w| w.capacity = 0), ("capacity", "1 to 1000"));
    assert_eq!(broken(|w| w.capacity = 1001), ("capacity", "1 to 1000"));
    assert_eq!(broken(|w| w.region = "a b".into()), ("region", REGION));
    assert_eq!(broken(|w| w.since_ms = MAX_NUMBER + 1), ("since_ms", NUMBER));
    assert_eq!(broken(|w| w.load = 101), ("load", "0 to 100"));
}

#[test]
#[should_panic(expected = "value must be of the kind of its key")]
fn a_value_of_another_kind_than_its_key_is_not_encoded() {
    let key = RowKey::Client(PeerId(Digest::default()));
    let row = Row { key, number: 5, value: Some(RowValue::Member { complete: true }) };
    let _ = SyncMessage::Rows(part(vec![row])).encode();
}
