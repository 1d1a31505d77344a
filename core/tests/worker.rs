//! A worker and its front, told what happens one input at a time.

use std::time::Duration;

use kollator_core::auth::{Gate, SharedKey};
use kollator_core::id::{Digest, PeerId};
use kollator_core::machine::{Instant, Machine};
use kollator_core::node::io::{LinkCommand, LinkEvent};
use kollator_core::node::worker::{Worker, WorkerConfig, WorkerInput, WorkerOutput};
use kollator_core::wire::signal::{Bootstrap, FromFront, Role, ToFront, WorkerHello};

const START: u64 = 1_767_225_600_000;

fn key() -> SharedKey {
    SharedKey::new(b"a key for testing").expect("long enough")
}

struct Stage {
    now: Instant,
    worker: Worker,
    dialled: Vec<usize>,
    said: Vec<ToFront>,
    drained: bool,
}

impl Stage {
    /// A worker that is dialling the first of its fronts.
    fn new(fronts: usize) -> Self {
        let (name, http) = ("w1".to_owned(), "http://w1:8081".to_owned());
        let mut config = WorkerConfig::new(PeerId(Digest([1; 32])), name, http, key(), START, 5);
        (config.fronts, config.region) = (fronts, "eu-west".to_owned());
        let worker = Worker::new(config);
        let mut stage = Self { now: Instant::ZERO, worker, dialled: Vec::new(), said: Vec::new(), drained: false };
        stage.tell(WorkerInput::Wake);
        stage
    }

    fn tell(&mut self, input: WorkerInput) {
        self.worker.handle(self.now, input);
        while let Some(output) = self.worker.poll() {
            match output {
                WorkerOutput::Link(LinkCommand::Connect { front }) => self.dialled.push(front),
                WorkerOutput::Link(LinkCommand::Send { text }) => {
                    self.said.push(ToFront::parse(text.as_bytes()).expect("the protocol"));
                }
                WorkerOutput::Drained => self.drained = true,
                _ => {}
            }
        }
    }

    fn front(&mut self, message: &FromFront) {
        self.tell(WorkerInput::Link(LinkEvent::Message { text: message.to_text().into() }));
    }

    /// The dialled front answers and welcomes; the hello it heard.
    fn welcome(&mut self) -> WorkerHello {
        self.tell(WorkerInput::Link(LinkEvent::Up));
        let Some(ToFront::Hello { role: Role::Worker(hello), .. }) = self.said.pop() else { panic!("a hello") };
        let (ice_servers, fronts) = (Vec::new(), Vec::new());
        let bootstrap = Bootstrap { worker: None, ice_servers, fronts, heartbeat_seconds: 30 };
        self.front(&FromFront::Welcome(bootstrap));
        hello
    }

    /// The connection closes; the worker dials again.
    fn redial(&mut self) {
        self.tell(WorkerInput::Link(LinkEvent::Down { reason: "gone".into() }));
        let dialled = self.dialled.len();
        while self.dialled.len() == dialled {
            self.pass(Duration::from_millis(10));
        }
    }

    /// Wakes the worker whenever it wants to be.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.worker.next_wake().filter(|at| *at <= until) {
            self.now = at;
            self.tell(WorkerInput::Wake);
        }
        self.now = until;
    }
}

#[test]
fn a_probe_is_answered_and_a_front_that_stops_probing_is_left() {
    let mut stage = Stage::new(2);
    stage.welcome();
    for round in 1..=20 {
        stage.pass(Duration::from_millis(250));
        stage.front(&FromFront::Probe {});
        assert_eq!(stage.said, vec![ToFront::Alive {}; round]);
    }
    assert!(stage.worker.is_online());
    stage.pass(Duration::from_millis(1_999));
    assert_eq!(stage.dialled, [0]);
    stage.pass(Duration::from_millis(2));
    assert_eq!(stage.dialled, [0, 1]);
    stage.welcome();
    assert!(stage.worker.is_online());
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.dialled, [0, 1], "the other front has not probed yet");
}

#[test]
fn each_front_is_told_once_that_the_worker_is_draining() {
    let mut stage = Stage::new(2);
    stage.tell(WorkerInput::Drain);
    assert!(stage.said.is_empty() && stage.drained);
    stage.welcome();
    assert_eq!(stage.said, [ToFront::Draining {}]);
    stage.tell(WorkerInput::Drain);
    assert_eq!(stage.said.len(), 1);

    let mut stage = Stage::new(2);
    stage.welcome();
    stage.tell(WorkerInput::Drain);
    stage.tell(WorkerInput::Drain);
    assert_eq!(stage.said, [ToFront::Draining {}]);
    stage.redial();
    stage.welcome();
    assert_eq!(stage.said, [ToFront::Draining {}, ToFront::Draining {}]);
}

#[test]
fn a_hello_says_where_the_worker_is_and_is_fresh_after_days_and_a_stepped_clock() {
    let mut gate = Gate::new(key(), 1);
    let mut stage = Stage::new(1);
    // Its own clock loses a second each minute, and is set right each minute; then the wall clock is set back.
    for minute in 0..3 * 24 * 60 {
        stage.now = Instant::ZERO + Duration::from_secs(59 * minute);
        stage.tell(WorkerInput::Clock { unix_ms: START + 60_000 * minute });
    }
    let days = START + 60_000 * (3 * 24 * 60 - 1);
    stage.redial();
    let hello = stage.welcome();
    assert_eq!((hello.name.as_str(), hello.region.as_str()), ("w1", "eu-west"));
    assert_eq!(gate.admit(days, &hello.name, hello.timestamp_ms, &hello.mac), Ok(()));
    for back in [0, 20_000] {
        stage.tell(WorkerInput::Clock { unix_ms: days - back });
        stage.redial();
        let hello = stage.welcome();
        assert_eq!(gate.admit(days, &hello.name, hello.timestamp_ms, &hello.mac), Ok(()), "set back by {back} ms");
    }
}
