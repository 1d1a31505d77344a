//! A worker that is given more than it can do: whom it turns away, whom it lets go, what it tells its front.

use std::collections::BTreeSet;
use std::time::Duration;

use kollator_core::auth::SharedKey;
use kollator_core::id::{Digest, PeerId};
use kollator_core::machine::{Instant, Machine};
use kollator_core::node::io::{LinkCommand, LinkEvent};
use kollator_core::node::worker::{Worker, WorkerConfig, WorkerInput, WorkerOutput};
use kollator_core::rtc::{ConnId, RtcCommand, RtcEvent};
use kollator_core::wire::frame::{Frame, Hello, VERSION as FRAMES};
use kollator_core::wire::signal::{Bootstrap, FULL, FromFront, Signal, ToFront};
use proptest::collection::vec;
use proptest::prelude::*;

const PAUSE: Duration = Duration::from_secs(2);

/// A worker with a front and well-behaved peers.
struct Stage {
    now: Instant,
    worker: Worker,
    /// Loads that the front was told, and when.
    loads: Vec<(Instant, u8)>,
    turned_away: Vec<PeerId>,
    up: BTreeSet<ConnId>,
    accepted: Vec<ConnId>,
}

impl Stage {
    fn new(change: impl FnOnce(&mut WorkerConfig)) -> Self {
        let key = SharedKey::new(b"a key for testing").expect("long enough");
        let (name, http) = ("w1".to_owned(), "http://w1:8081".to_owned());
        let mut config = WorkerConfig::new(PeerId(Digest([0xff; 32])), name, http, key, 1, 5);
        change(&mut config);
        let worker = Worker::new(config);
        let (loads, turned_away, up, accepted) = Default::default();
        let mut stage = Self { now: Instant::ZERO, worker, loads, turned_away, up, accepted };
        stage.tell(WorkerInput::Wake);
        stage.welcome();
        stage
    }

    fn welcome(&mut self) {
        self.tell(WorkerInput::Link(LinkEvent::Up));
        let (ice_servers, fronts) = (Vec::new(), Vec::new());
        let bootstrap = Bootstrap { worker: None, ice_servers, fronts, heartbeat_seconds: 30 };
        self.front(&FromFront::Welcome(bootstrap));
    }

    fn front(&mut self, message: &FromFront) {
        self.tell(WorkerInput::Link(LinkEvent::Message { text: message.to_text().into() }));
    }

    /// A peer dials, and comes as far as it is let.
    fn dial(&mut self, n: u8) -> Option<ConnId> {
        let accepted = self.accepted.len();
        let body = Signal::Offer { sdp: "v=0".into() };
        self.front(&FromFront::Signal { from: PeerId(Digest([n; 32])), session: 1, body });
        let conn = *self.accepted.get(accepted)?;
        self.tell(WorkerInput::Rtc(RtcEvent::Described { conn, sdp: "v=0".into() }));
        self.tell(WorkerInput::Rtc(RtcEvent::Open { conn }));
        self.says(conn, &Frame::Hello(Hello { version: FRAMES, frame_blocks: 4 }));
        self.up.insert(conn);
        Some(conn)
    }

    fn says(&mut self, conn: ConnId, frame: &Frame) {
        self.tell(WorkerInput::Rtc(RtcEvent::Message { conn, data: frame.encode().freeze() }));
    }

    fn hangs_up(&mut self, conn: ConnId) {
        self.up.remove(&conn);
        self.tell(WorkerInput::Rtc(RtcEvent::Closed { conn, reason: "gone".into() }));
    }

    fn tell(&mut self, input: WorkerInput) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.worker.handle(self.now, input);
            while let Some(output) = self.worker.poll() {
                inputs.extend(self.hear(output));
            }
            let wake = self.worker.next_wake();
            assert!(wake.is_none_or(|wake| wake > self.now), "a wake-up lies ahead");
        }
    }

    /// What a front that probes and peers that are alive answer.
    fn hear(&mut self, output: WorkerOutput) -> Option<WorkerInput> {
        match output {
            WorkerOutput::Link(LinkCommand::Send { text }) => match ToFront::parse(text.as_bytes()) {
                Ok(ToFront::Load { percent }) => self.loads.push((self.now, percent)),
                Ok(ToFront::Signal { to, body: Signal::Full {}, .. }) => self.turned_away.push(to),
                _ => {}
            },
            WorkerOutput::Rtc(RtcCommand::Accept { conn, .. }) => self.accepted.push(conn),
            WorkerOutput::Rtc(RtcCommand::Close { conn, .. }) => _ = self.up.remove(&conn),
            WorkerOutput::Rtc(RtcCommand::Send { conn, frame: Frame::HealthCheck { nonce } }) => {
                let data = Frame::Health { nonce }.encode().freeze();
                return Some(WorkerInput::Rtc(RtcEvent::Message { conn, data }));
            }
            _ => {}
        }
        None
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.worker.next_wake().filter(|at| *at <= until) {
            self.now = at;
            self.tell(WorkerInput::Wake);
        }
        self.now = until;
    }

    fn percents(&self) -> Vec<u8> {
        self.loads.iter().map(|(_, percent)| *percent).collect()
    }
}

#[test]
fn newcomers_are_turned_away_while_all_places_are_taken() {
    let mut stage = Stage::new(|config| config.max_sessions = 10);
    let conns: Vec<ConnId> = (0..10).map(|n| stage.dial(n).expect("there is a place")).collect();
    assert_eq!(stage.dial(10), None);
    assert_eq!(stage.turned_away, [PeerId(Digest([10; 32]))]);
    assert_eq!((stage.worker.load(), stage.worker.turned_away()), (FULL, 1));
    assert_eq!(stage.percents(), [10, FULL], "what comes fast is told at once only where it matters");
    stage.hangs_up(conns[0]);
    assert_eq!(stage.dial(11), None, "one place is not yet room");
    stage.hangs_up(conns[1]);
    assert_eq!(stage.percents(), [10, FULL, 80]);
    assert!(stage.dial(12).is_some());
}

#[test]
fn who_is_idle_makes_room_and_who_is_not_stays() {
    let mut stage = Stage::new(|config| config.max_sessions = 10);
    let conns: Vec<ConnId> = (0..10).map(|n| stage.dial(n).expect("there is a place")).collect();
    for second in 0..70 {
        // The first asks for something now and then; what it asks for is of no matter.
        let chunk = kollator_core::id::ChunkId::new(Digest::default(), 1, 0).expect("legal");
        stage.says(conns[0], &Frame::HashRequest { request: second + 1, chunk });
        stage.pass(Duration::from_secs(1));
    }
    assert_eq!(stage.up.len(), 9, "a tenth of the places was made free");
    assert!(stage.up.contains(&conns[0]) && !stage.up.contains(&conns[1]), "by whoever was idle for longest");
    stage.pass(Duration::from_secs(600));
    assert_eq!(stage.up.len(), 9, "who is idle may stay where places are not short");
}

#[test]
fn a_new_front_is_told_what_it_cannot_know() {
    let mut stage = Stage::new(|config| config.max_memory = 1000);
    stage.tell(WorkerInput::Memory { bytes: 555 });
    assert_eq!(stage.percents(), [50]);
    stage.tell(WorkerInput::Link(LinkEvent::Down { reason: "gone".into() }));
    stage.pass(Duration::from_secs(20));
    stage.welcome();
    assert_eq!(stage.percents(), [50, 50]);
}

proptest! {
    /// However its memory moves: newcomers are turned away from the limit on, until it is well below; the front hears of
    /// that at once, and of all else soon and seldom.
    #[test]
    fn the_front_knows_the_load_and_hears_of_it_seldom(steps in vec((0..1500u64, 0..3000u64), 1..40)) {
        let mut stage = Stage::new(|config| config.max_memory = 1000);
        let mut full = false;
        for (bytes, wait) in steps {
            stage.tell(WorkerInput::Memory { bytes });
            full = bytes >= if full { 900 } else { 1000 };
            let told = stage.loads.last().map_or(0, |(_, percent)| *percent);
            prop_assert_eq!(told == FULL, full);
            let refused = stage.turned_away.len();
            let session = stage.dial(1);
            prop_assert_eq!((session.is_none(), stage.turned_away.len() > refused), (full, full));
            if let Some(conn) = session {
                stage.hangs_up(conn);
            }
            let right = if full { FULL } else { (bytes / 10).min(90) as u8 / 10 * 10 };
            prop_assert_eq!(stage.worker.load(), right);
            stage.pass(Duration::from_millis(wait));
            if wait >= 2000 {
                prop_assert_eq!(stage.loads.last().map_or(0, |(_, percent)| *percent), right);
            }
        }
        for pair in stage.loads.windows(2) {
            let [(before, was), (after, is)] = pair else { unreachable!("pairs") };
            prop_assert!(was != is, "only news are told");
            prop_assert!(*after >= *before + PAUSE || *was == FULL || *is == FULL);
        }
    }
}
