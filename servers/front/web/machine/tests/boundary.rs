//! Two machines behind their boundaries, with a world in memory between them, and a host that says whatever it likes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use kollator_core::merkle;
use kollator_core::metainfo::{MetainfoBuilder, piece_root};
use kollator_machine::Boundary;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

const BLOCK: usize = 16 * 1024;

/// A header and a payload as a host writes them: all bytes, and how many are the header's.
fn input(header: &Value, payload: &[u8]) -> (Bytes, usize) {
    let header = header.to_string();
    let cut = header.len();
    ([header.as_bytes(), payload].concat().into(), cut)
}

/// An output as a host reads it.
fn output(bytes: &[u8]) -> (Value, Bytes) {
    let (length, rest) = bytes.split_first_chunk().expect("a length comes first");
    let (header, payload) = rest.split_at(u32::from_le_bytes(*length) as usize);
    (serde_json::from_slice(header).expect("the header is JSON"), Bytes::copy_from_slice(payload))
}

fn flat(leaves: &[kollator_core::id::Digest]) -> Vec<u8> {
    leaves.iter().flat_map(|leaf| leaf.0).collect()
}

/// A machine, a disk in memory, and wires to the other.
struct Tab {
    boundary: Boundary,
    id: String,
    disk: Vec<u8>,
    /// Connections here, and the number of each at the other.
    wires: BTreeMap<u64, u64>,
    events: Vec<Value>,
}

impl Tab {
    fn new(digit: char) -> Self {
        let id = digit.to_string().repeat(64);
        let mut boundary = Boundary::default();
        let config = json!({"id": id, "seed": "7", "fronts": 1, "http": "never", "discoveryInterval": 5000});
        boundary.start(config.to_string().as_bytes()).expect("these are settings");
        Self { boundary, id, disk: Vec::new(), wires: BTreeMap::new(), events: Vec::new() }
    }

    fn has(&self, kind: &str) -> bool {
        self.events.iter().any(|event| event["kind"] == kind)
    }
}

/// Two tabs, a front, and time.
struct World {
    tabs: [Tab; 2],
    queue: VecDeque<(usize, Value, Bytes)>,
    swarm: BTreeSet<usize>,
    /// Whether the front names nobody.
    is_secretive: bool,
    now: f64,
}

impl World {
    fn new() -> Self {
        let tabs = [Tab::new('a'), Tab::new('b')];
        let (queue, swarm) = Default::default();
        let mut world = Self { tabs, queue, swarm, is_secretive: false, now: 0.0 };
        world.collect(0);
        world.collect(1);
        world
    }

    fn tell(&mut self, who: usize, header: &Value, payload: &[u8]) {
        let (bytes, cut) = input(header, payload);
        let told = self.tabs[who].boundary.handle(self.now, &bytes, cut);
        told.unwrap_or_else(|error| panic!("{header} was refused: {error}"));
        self.collect(who);
    }

    fn collect(&mut self, who: usize) {
        while let Some(bytes) = self.tabs[who].boundary.poll() {
            let (header, payload) = output(bytes);
            self.queue.push_back((who, header, payload));
        }
    }

    /// Lets everything happen, and time pass, until tab 1 is done with its download.
    fn run(&mut self) {
        for _ in 0..100_000 {
            if let Some((who, header, payload)) = self.queue.pop_front() {
                self.carry_out(who, &header, &payload);
                continue;
            }
            if self.tabs[1].has("completed") || self.tabs[1].has("failed") {
                return;
            }
            let wakes = self.tabs.iter().filter_map(|tab| tab.boundary.next_wake());
            let next = wakes.min_by(f64::total_cmp).expect("somebody waits for something");
            self.now = self.now.max(next);
            self.tell(0, &json!({"t": "wake"}), &[]);
            self.tell(1, &json!({"t": "wake"}), &[]);
        }
        panic!("it never ends");
    }

    fn carry_out(&mut self, who: usize, output: &Value, payload: &[u8]) {
        let other = 1 - who;
        let (conn, ticket, info_hash) = (&output["conn"], &output["ticket"], &output["infoHash"]);
        let number = |field: &str| output[field].as_u64().expect("a number");
        match output["t"].as_str().expect("every header says what it is") {
            "linkConnect" => self.tell(who, &json!({"t": "linkUp"}), &[]),
            "linkSend" => self.front(who, &serde_json::from_slice(payload).expect("JSON")),
            "rtcOffer" => {
                let sdp = number("conn").to_string();
                self.tell(who, &json!({"t": "rtcDescribed", "conn": conn, "sdp": sdp}), &[]);
            }
            "rtcAccept" => {
                let theirs = output["sdp"].as_str().and_then(|sdp| sdp.parse().ok()).expect("an offer of ours");
                self.tabs[who].wires.insert(number("conn"), theirs);
                self.tabs[other].wires.insert(theirs, number("conn"));
                self.tell(who, &json!({"t": "rtcDescribed", "conn": conn, "sdp": "answer"}), &[]);
            }
            "rtcSetAnswer" => {
                let theirs = self.tabs[who].wires[&number("conn")];
                self.tell(who, &json!({"t": "rtcOpen", "conn": conn}), &[]);
                self.tell(other, &json!({"t": "rtcOpen", "conn": theirs}), &[]);
            }
            "rtcSend" => {
                let theirs = self.tabs[who].wires[&number("conn")];
                self.tell(who, &json!({"t": "rtcSent", "conn": conn, "bytes": payload.len()}), &[]);
                self.tell(other, &json!({"t": "rtcMessage", "conn": theirs}), payload);
            }
            "diskPrepare" => {
                self.tabs[who].disk = vec![0; number("totalLength") as usize];
                self.tell(who, &json!({"t": "diskPrepared", "infoHash": info_hash, "claims": []}), &[]);
            }
            "diskRead" => {
                let data = self.read(who, output);
                self.tell(who, &json!({"t": "diskRead", "ticket": ticket}), &data);
            }
            "diskReadLeaves" => {
                let leaves = flat(&merkle::leaves(&self.read(who, output)));
                self.tell(who, &json!({"t": "diskLeaves", "ticket": ticket}), &leaves);
            }
            "diskHash" => {
                let hashes = flat(&merkle::leaves(payload));
                self.tell(who, &json!({"t": "diskHashed", "ticket": ticket}), &hashes);
            }
            "diskWrite" => {
                for place in output["places"].as_array().expect("places") {
                    let at = place["offset"].as_u64().expect("a number") as usize;
                    self.tabs[who].disk[at..at + payload.len()].copy_from_slice(payload);
                }
                self.tell(who, &json!({"t": "diskWritten", "ticket": ticket}), &[]);
            }
            "diskFinish" => self.tell(who, &json!({"t": "diskFinished", "infoHash": info_hash}), &[]),
            "event" => self.tabs[who].events.push(output["event"].clone()),
            _ => {}
        }
    }

    fn read(&self, who: usize, output: &Value) -> Vec<u8> {
        let number = |field: &str| output[field].as_u64().expect("a number") as usize;
        self.tabs[who].disk[number("offset")..][..number("length")].to_vec()
    }

    /// What a front would answer.
    fn front(&mut self, who: usize, message: &Value) {
        let other = 1 - who;
        let (to, answer) = match message["type"].as_str().expect("every message says what it is") {
            "hello" => {
                let (worker, none) = (Value::Null, json!([]));
                let welcome = json!({
                    "type": "welcome", "worker": worker, "ice_servers": none, "fronts": none, "heartbeat_seconds": 30
                });
                (who, welcome)
            }
            "ping" => (who, json!({"type": "pong"})),
            "announce" => {
                self.swarm.insert(who);
                let is_named = self.swarm.contains(&other) && !self.is_secretive;
                let peers: Vec<&str> = is_named.then_some(&*self.tabs[other].id).into_iter().collect();
                (who, json!({"type": "peers", "info_hash": message["info_hash"], "peers": peers}))
            }
            "signal" => {
                let from = &self.tabs[who].id;
                let (session, body) = (&message["session"], &message["body"]);
                (other, json!({"type": "signal", "from": from, "session": session, "body": body}))
            }
            _ => return,
        };
        self.tell(to, &json!({"t": "linkMessage"}), answer.to_string().as_bytes());
    }
}

/// The `.ko` of a file, and its info hash.
fn share(data: &[u8], piece_length: u32) -> (Bytes, String) {
    let length = data.len() as u64;
    let roots = data.chunks(piece_length as usize).map(|piece| piece_root(piece, length, piece_length));
    let mut builder = MetainfoBuilder::new("file", piece_length).expect("a legal name and length");
    builder.file(&["file"], length, roots.collect()).expect("one root a piece");
    let metainfo = builder.build().expect("it is within the limits");
    (metainfo.raw().clone(), metainfo.info_hash().to_string())
}

/// What a host may say that has the form of an input.
fn plausible() -> impl Strategy<Value = (Value, Vec<u8>)> {
    let (ko, info_hash) = share(&[9; 3 * BLOCK], BLOCK as u32);
    let kinds = select(vec![
        "wake",
        "download",
        "share",
        "addWorkers",
        "meet",
        "stop",
        "seek",
        "setDiscovery",
        "setLimits",
        "shutdown",
        "linkUp",
        "linkMessage",
        "linkDown",
        "rtcDescribed",
        "rtcOpen",
        "rtcMessage",
        "rtcSent",
        "rtcClosed",
        "diskPrepared",
        "diskRead",
        "diskLeaves",
        "diskHashed",
        "diskWritten",
        "diskFinished",
        "webHead",
        "webData",
        "webEnd",
        "webFailed",
    ]);
    let numbers = select(vec![0, 1, 2, 255, 257, 511, u64::from(u32::MAX), u64::MAX]);
    let welcome = br#"{"type":"welcome","worker":null,"ice_servers":[],"fronts":[],"heartbeat_seconds":1}"#;
    let offer = format!(
        r#"{{"type":"signal","from":"{}","session":1,"body":{{"kind":"offer","sdp":"v=0"}}}}"#,
        "c".repeat(64)
    );
    let payloads = prop_oneof![
        Just(Vec::new()),
        Just(ko.to_vec()),
        Just(welcome.to_vec()),
        Just(offer.into_bytes()),
        Just(vec![1, 0, 0, 1, 4]),
        vec(any::<u8>(), 0..80),
        Just(vec![0; 32]),
        Just(vec![0; BLOCK]),
    ];
    let failure = select(vec![Value::Null, json!("the disk is full")]);
    (kinds, numbers.clone(), numbers, payloads, failure, any::<bool>()).prop_map(
        move |(kind, one, two, payload, error, flag)| {
            let mut header = match kind {
                "download" => json!({"infoHash": info_hash, "sequential": flag}),
                "share" => json!({"upload": flag}),
                "addWorkers" => json!({"infoHash": info_hash, "workers": ["http://w.example"]}),
                "meet" => json!({"infoHash": info_hash, "peer": if flag { "a" } else { "c" }.repeat(64)}),
                "stop" => json!({"infoHash": info_hash}),
                "setDiscovery" => json!({"interval": one}),
                "setLimits" => json!({"upload": one, "download": two}),
                "seek" if flag => json!({"infoHash": info_hash, "file": one % 3, "offset": two}),
                "seek" => json!({"infoHash": info_hash}),
                "linkDown" => json!({"reason": "gone"}),
                "rtcDescribed" => json!({"conn": one, "sdp": "v=0"}),
                "rtcOpen" | "rtcMessage" => json!({"conn": one}),
                "rtcSent" => json!({"conn": one, "bytes": two}),
                "rtcClosed" => json!({"conn": one, "reason": "gone"}),
                "diskPrepared" if flag => json!({"infoHash": info_hash, "error": error}),
                "diskPrepared" => {
                    let claim = json!({"file": one, "offset": two, "count": payload.len() / 32});
                    json!({"infoHash": info_hash, "claims": [claim]})
                }
                "diskRead" | "diskLeaves" | "diskWritten" => json!({"ticket": one, "error": error}),
                "diskHashed" => json!({"ticket": one}),
                "diskFinished" => json!({"infoHash": info_hash, "error": error}),
                "webHead" => json!({"id": one, "status": two % 600, "retryAfter": one}),
                "webData" | "webEnd" => json!({"id": one}),
                "webFailed" => json!({"id": one, "reason": "gone"}),
                _ => json!({}),
            };
            header["t"] = kind.into();
            (header, payload)
        },
    )
}

/// A call that has the form of one.
fn question() -> impl Strategy<Value = (Value, Vec<u8>)> {
    let numbers = select(vec![0u64, 1, 16_368, 16_384, 16_385, 65_536, 1 << 24, 1 << 25, 1 << 40, u64::MAX]);
    let names = select(vec!["file", "..", "", "a/b", "ü"]);
    // None, too short, a share's or a person's, a wrapped one.
    let keys = select(vec![String::new(), "Q".into(), "A".repeat(43), "Q".repeat(42) + "A", "A".repeat(107)]);
    let payload =
        prop_oneof![vec(any::<u8>(), 0..80), Just(vec![1; 64]), Just(vec![1; 32]), Just(vec![1; 16_368])];
    let kinds = select(vec![
        "parseLink",
        "shareLink",
        "metainfoInfo",
        "buildMetainfo",
        "pieceRoot",
        "leaves",
        "progress",
        "sources",
        "connected",
        "counters",
        "sealLayout",
        "openMetainfo",
        "sealBlocks",
        "openBlocks",
        "publicKey",
        "wrapKey",
        "unwrapKey",
    ]);
    (kinds, numbers.clone(), numbers.clone(), numbers, names, keys, payload).prop_map(
        |(kind, one, two, three, name, key, payload)| {
            let info_hash = "d".repeat(64);
            let mut header = match kind {
                "parseLink" => json!({"text": format!("http://x/#{info_hash}&dn={name}")}),
                "shareLink" => json!({"infoHash": info_hash, "name": name, "fronts": [name]}),
                "buildMetainfo" => {
                    let files = json!([{"path": [name], "length": two}, {"path": ["b"], "length": three}]);
                    json!({"name": name, "pieceLength": one, "fronts": [], "files": files})
                }
                "pieceRoot" => json!({"length": one, "pieceLength": two, "fileLength": three}),
                "progress" | "sources" => json!({"infoHash": info_hash}),
                "sealLayout" => json!({"key": key, "name": name, "files": [{"path": [name], "length": one}]}),
                "openMetainfo" => json!({"key": key}),
                "sealBlocks" | "openBlocks" => json!({"key": key, "length": one, "first": two}),
                "wrapKey" => json!({"key": key, "to": key}),
                "unwrapKey" => json!({"wrapped": key}),
                _ => json!({}),
            };
            header["t"] = kind.into();
            (header, payload)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_share_goes_from_one_machine_to_another(
        length in 1usize..20 * BLOCK, log in 0u32..4, byte in any::<u8>(), meets in any::<bool>(),
    ) {
        let data: Vec<u8> = (0..length).map(|i| (i / 3 % 251) as u8 ^ byte).collect();
        let (ko, info_hash) = share(&data, (BLOCK as u32) << log);
        let mut world = World::new();
        world.tabs[0].disk = data.clone();
        world.is_secretive = meets;
        world.tell(0, &json!({"t": "share", "upload": false}), &ko);
        world.tell(1, &json!({"t": "download", "infoHash": info_hash, "sequential": byte % 2 == 0}), &[]);
        let giver = world.tabs[0].id.clone();
        if meets {
            world.tell(1, &json!({"t": "meet", "infoHash": info_hash, "peer": giver}), &[]);
        }
        world.run();
        prop_assert!(world.tabs[1].has("completed"), "{:?}", world.tabs[1].events);
        let met = json!({"kind": "met", "infoHash": info_hash, "source": giver, "error": null});
        prop_assert_eq!(world.tabs[1].events.contains(&met), meets);
        let (ask, cut) = input(&json!({"t": "connected"}), &[]);
        let (answer, _) = output(world.tabs[0].boundary.call(&ask, cut));
        let taker = json!([{"source": world.tabs[1].id, "sourceKind": "peer", "bytesSent": length}]);
        prop_assert_eq!(&answer["ok"], &taker);
        prop_assert_eq!(&world.tabs[1].disk, &data);
        let (ask, cut) = input(&json!({"t": "progress", "infoHash": info_hash}), &[]);
        let (answer, _) = output(world.tabs[1].boundary.call(&ask, cut));
        prop_assert_eq!(&answer["ok"]["bytesDone"], length);
    }
}

proptest! {
    #[test]
    fn bytes_that_mean_nothing_are_refused(
        bytes in vec(any::<u8>(), 0..200),
        cut in 0usize..220,
        now in prop_oneof![any::<f64>(), 0.0..1e6],
    ) {
        let bytes = Bytes::from(bytes);
        let mut tab = Tab::new('a');
        prop_assert!(Boundary::default().start(&bytes).is_err());
        prop_assert!(Boundary::default().handle(now, &bytes, cut).is_err());
        while tab.boundary.poll().is_some() {}
        let before = tab.boundary.next_wake();
        let refused = tab.boundary.handle(now, &bytes, cut);
        prop_assert!(!refused.unwrap_err().is_empty());
        prop_assert_eq!(tab.boundary.next_wake(), before);
        prop_assert!(tab.boundary.poll().is_none());
        let (answer, payload) = output(tab.boundary.call(&bytes, cut));
        prop_assert_eq!(&answer["error"]["code"], "broken");
        prop_assert!(payload.is_empty());
    }

    #[test]
    fn whatever_a_host_says_the_machine_goes_on(said in vec((plausible(), 0.0..3000.0f64), 1..120)) {
        let mut tab = Tab::new('a');
        let mut now = 0.0;
        let mut polled = 0;
        for ((header, payload), later) in said {
            now += later;
            while tab.boundary.poll().is_some() { polled += 1 }
            let before = tab.boundary.next_wake();
            let (bytes, cut) = input(&header, &payload);
            match tab.boundary.handle(now, &bytes, cut) {
                Ok(()) => {
                    let next = tab.boundary.next_wake();
                    prop_assert!(next.is_none_or(|at| at > now), "{} left it late at {}", header, now);
                }
                Err(error) => {
                    prop_assert!(!error.is_empty());
                    prop_assert_eq!(tab.boundary.next_wake(), before, "{} was refused", header);
                    prop_assert!(tab.boundary.poll().is_none(), "{} was refused", header);
                }
            }
        }
        prop_assert!(polled > 0);
    }

    #[test]
    fn every_question_has_an_answer((header, payload) in question()) {
        let (bytes, cut) = input(&header, &payload);
        for started in [false, true] {
            let mut boundary = if started { Tab::new('a').boundary } else { Boundary::default() };
            let (answer, _) = output(boundary.call(&bytes, cut));
            let answer = answer.as_object().expect("an object");
            prop_assert!(answer.contains_key("ok") != answer.contains_key("error"), "{:?}", answer);
        }
    }
}
