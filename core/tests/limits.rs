//! Limits on what is sent and asked for: over any time no more goes than the limit and a burst, one who is busy gets what
//! the limit allows, and everybody gets a fair part of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kollator_core::auth::SharedKey;
use kollator_core::id::{ChunkId, Digest, PeerId};
use kollator_core::machine::{Instant, Rng};
use kollator_core::merkle::{BLOCK_LEN, HashedBlocks, height_for, leaves, root};
use kollator_core::node::io::Ticket;
use kollator_core::node::worker::WorkerConfig;
use kollator_core::rtc::ConnId;
use kollator_core::transfer::{
    Download, DownloadConfig, DownloadOutput, Rate, SourceKind, Upload, UploadConfig, UploadOutput,
};
use kollator_core::wire::frame::Frame;
use proptest::prelude::*;

const BLOCKS: u16 = 64;
/// The number of the first reader that has no session.
const WAITERS: u64 = 100;

fn chunk() -> ChunkId {
    ChunkId::new(Digest([9; 32]), u32::from(BLOCKS) * BLOCK_LEN, 6).unwrap()
}

/// What went, and when.
#[derive(Default)]
struct Log(Vec<(Instant, u64)>);

impl Log {
    fn sum(&self) -> u64 {
        self.0.iter().map(|(_, bytes)| bytes).sum()
    }

    /// The most that went above `limit` bytes a second, over any time.
    fn excess(&self, limit: u64) -> u64 {
        let (mut level, mut most, mut before) = (0.0, 0.0_f64, Instant::ZERO);
        for (at, bytes) in &self.0 {
            level = f64::max(level - at.since(before).as_secs_f64() * limit as f64, 0.0) + *bytes as f64;
            (before, most) = (*at, most.max(level));
        }
        most as u64
    }
}

enum Event {
    Read(Ticket, Option<u16>),
    Sent(ConnId, u32),
    Ask(ConnId),
    Wait(ConnId),
    Limit(u64),
    Gone(ConnId),
    Wake,
}

/// An upload whose requesters always want more, some of them other than over a session.
struct Stage {
    rng: Rng,
    now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    upload: Upload,
    open: BTreeMap<ConnId, usize>,
    /// Who waits other than over a session, and for how many bytes.
    waiting: BTreeMap<Ticket, (ConnId, u32)>,
    /// How many blocks one of these waits for at once.
    most: u64,
    next: u32,
    all: Log,
    each: BTreeMap<ConnId, Log>,
}

impl Stage {
    fn new(seed: u64, config: UploadConfig, requesters: u64) -> Self {
        let (mut upload, mut each, mut open) = (Upload::new(config), BTreeMap::new(), BTreeMap::new());
        for conn in (1..=requesters).map(ConnId) {
            upload.session_up(conn, 4);
            each.insert(conn, Log::default());
            open.insert(conn, 0);
        }
        let (rng, now, all) = (Rng::new(seed), Instant::ZERO, Log::default());
        let (events, waiting) = (BTreeMap::new(), BTreeMap::new());
        let mut stage = Self { rng, now, events, upload, open, waiting, most: 16, next: 0, all, each };
        (1..=requesters).for_each(|conn| stage.ask(ConnId(conn)));
        stage.drain();
        stage
    }

    fn after(&mut self, most: u64, event: Event) {
        self.next += 1;
        let wait = Duration::from_micros(self.rng.below(most));
        self.events.insert((self.now + wait, self.next.into()), event);
    }

    fn ask(&mut self, conn: ConnId) {
        self.next += 1;
        *self.open.get_mut(&conn).unwrap() += 1;
        match self.rng.below(8) {
            0 => self.upload.hash_request(conn, self.next, chunk()),
            _ => {
                let first = self.rng.below(u64::from(BLOCKS) - 1) as u16;
                let count = 1 + self.rng.below((BLOCKS - first).into()) as u16;
                self.upload.request(conn, self.next, chunk(), first, count);
            }
        }
    }

    /// So many readers more, each of which waits for some blocks at a time.
    fn add_waiters(&mut self, count: u64, limit: u64) {
        let (id, key) = (PeerId(Digest([1; 32])), SharedKey::new(b"a key for testing").unwrap());
        let mut config = WorkerConfig::new(id, "w1".into(), String::new(), key, 0, 0);
        config.upload.limit = limit;
        self.most = config.ask_blocks().into();
        for conn in (WAITERS..WAITERS + count).map(ConnId) {
            self.each.insert(conn, Log::default());
            self.wait(conn);
        }
        self.drain();
    }

    fn wait(&mut self, conn: ConnId) {
        self.next += 1;
        let ticket = Ticket(self.next.into());
        let bytes = match self.rng.below(8) {
            0 => u32::from(BLOCKS) * 32,
            _ => self.most as u32 * BLOCK_LEN,
        };
        self.waiting.insert(ticket, (conn, bytes));
        self.upload.wait(ticket, bytes);
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.events.keys().next().map(|(at, _)| *at);
            let at = next.into_iter().chain(self.upload.next_wake()).min().filter(|at| *at <= end);
            let Some(at) = at else { break };
            self.now = self.now.max(at);
            self.upload.tick(self.now);
            let event = if next == Some(at) { self.events.pop_first().unwrap().1 } else { Event::Wake };
            match event {
                Event::Read(ticket, Some(count)) => {
                    self.upload.read(ticket, Ok(vec![0; usize::from(count) * BLOCK_LEN as usize].into()));
                }
                Event::Read(ticket, None) => {
                    self.upload.read_leaves(ticket, Ok(vec![Digest([1; 32]); usize::from(BLOCKS)]));
                }
                Event::Sent(conn, bytes) => self.upload.sent(conn, bytes),
                Event::Ask(conn) if self.each.contains_key(&conn) => self.ask(conn),
                Event::Wait(conn) => self.wait(conn),
                Event::Ask(_) | Event::Wake => {}
                Event::Limit(limit) => self.upload.set_limit(self.now, limit),
                Event::Gone(conn) => {
                    self.each.remove(&conn);
                    self.upload.session_down(conn);
                }
            }
            self.upload.wake(self.now);
            assert!(self.upload.next_wake().is_none_or(|at| at > self.now), "it spins");
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.upload.poll() {
            match output {
                UploadOutput::ReadBlocks { ticket, count, .. } => {
                    self.after(8_000, Event::Read(ticket, Some(count)));
                }
                UploadOutput::ReadLeaves { ticket, .. } => self.after(8_000, Event::Read(ticket, None)),
                UploadOutput::Send { conn, frame } => {
                    let bytes = frame.encoded_len() as u32;
                    self.all.0.push((self.now, bytes.into()));
                    self.each.get_mut(&conn).unwrap().0.push((self.now, bytes.into()));
                    self.after(10_000, Event::Sent(conn, bytes));
                    // About as much is asked for again.
                    if self.rng.one_in(4) {
                        self.after(10_000, Event::Ask(conn));
                    }
                    self.after(500, Event::Ask(conn));
                }
                UploadOutput::Misused { .. } => panic!("requests are numbered apart"),
                UploadOutput::Go { ticket } => {
                    let (conn, bytes) = self.waiting.remove(&ticket).expect("it waited");
                    self.all.0.push((self.now, bytes.into()));
                    self.each.get_mut(&conn).unwrap().0.push((self.now, bytes.into()));
                    self.after(2_000, Event::Wait(conn));
                }
            }
        }
    }
}

fn burst(limit: u64) -> u64 {
    Rate::new(limit).burst()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn an_upload_keeps_to_its_limit_and_uses_it(
        seed in any::<u64>(),
        limit in prop_oneof![4_000..100_000u64, 100_000..20_000_000u64],
        requesters in 0..6u64,
        waiters in 0..4u64,
        one_leaves in any::<bool>(),
    ) {
        prop_assume!(requesters + waiters > 0);
        let config = UploadConfig { limit, max_requests: 4096, ..UploadConfig::default() };
        let mut stage = Stage::new(seed, config, requesters);
        stage.add_waiters(waiters, limit);
        if one_leaves && requesters > 1 {
            stage.after(3_000_000, Event::Gone(ConnId(1)));
        }
        let time = Duration::from_secs(if limit > 1_000_000 { 4 } else { 40 });
        stage.run(time);
        let excess = stage.all.excess(limit);
        prop_assert!(excess <= burst(limit) + 1, "{excess} bytes above the limit, a burst is {}", burst(limit));
        let (sent, may) = (stage.all.sum(), time.as_secs_f64() * limit as f64);
        prop_assert!(sent as f64 >= 0.9 * may, "{sent} bytes, {may} were allowed");
        // A frame more or less, and what one had while others had nothing to send yet.
        let parts = |is_session: bool| {
            let of = stage.each.iter().filter(move |(conn, _)| (conn.0 < WAITERS) == is_session);
            of.map(|(_, log)| log.sum()).collect::<Vec<u64>>()
        };
        let (sessions, waiters) = (parts(true), parts(false));
        for parts in [&sessions, &waiters] {
            let (least, most) = (parts.iter().min().unwrap_or(&0), parts.iter().max().unwrap_or(&0));
            let spread = most - least;
            prop_assert!(spread <= most / 5 + 4 * burst(limit), "not fair: {parts:?}");
        }
        // A session's frame is not always a full one.
        if let (Some(session), Some(waiter)) = (sessions.first(), waiters.first()) {
            let (least, most) = (session.min(waiter), session.max(waiter));
            prop_assert!(*most <= 2 * least + 4 * burst(limit), "not fair: {sessions:?} and {waiters:?}");
        }
    }

    #[test]
    fn a_session_keeps_to_its_own_limit_and_others_go_on(
        seed in any::<u64>(),
        session_limit in 50_000..2_000_000u64,
        requesters in 1..5u64,
        limit in prop_oneof![Just(0), 100_000..2_000_000u64],
    ) {
        let config = UploadConfig { limit, session_limit, max_requests: 4096, ..UploadConfig::default() };
        let mut stage = Stage::new(seed, config, requesters);
        stage.run(Duration::from_secs(10));
        for log in stage.each.values() {
            prop_assert!(log.excess(session_limit) <= burst(session_limit) + 1);
        }
        let most = (session_limit * requesters).min(if limit == 0 { u64::MAX } else { limit });
        let sent = stage.all.sum();
        prop_assert!(sent as f64 >= 9.0 * most as f64, "{sent} bytes in ten seconds at {most}");
    }

    #[test]
    fn a_limit_set_later_holds_from_then_on_and_one_lifted_no_more(
        seed in any::<u64>(),
        limit in 50_000..1_000_000u64,
    ) {
        let mut stage = Stage::new(seed, UploadConfig { max_requests: 4096, ..UploadConfig::default() }, 2);
        stage.run(Duration::from_millis(300));
        let free = stage.all.sum();
        stage.after(1, Event::Limit(limit));
        stage.run(Duration::from_millis(1));
        stage.all = Log::default();
        stage.run(Duration::from_secs(8));
        prop_assert!(stage.all.excess(limit) <= burst(limit) + 1);
        prop_assert!(stage.all.sum() as f64 >= 7.2 * limit as f64);
        stage.after(1, Event::Limit(0));
        let before = stage.all.sum();
        stage.run(Duration::from_millis(300));
        prop_assert!(stage.all.sum() - before >= free / 2, "as fast as it was: {free}");
    }
}

#[test]
fn a_download_asks_for_no_more_than_it_is_granted() {
    let data: Bytes = (0..u32::from(BLOCKS) * BLOCK_LEN).map(|at| (at / 31) as u8).collect();
    let hashes = leaves(&data);
    let height = height_for(hashes.len() as u64);
    let id = ChunkId::new(root(&hashes, height, Digest::default()), data.len() as u32, height).unwrap();
    let (now, conn) = (Instant::ZERO, ConnId(1));
    let mut download = Download::new(DownloadConfig::default());
    download.set_paced(true);
    download.want(0, id, None);
    download.source_up(now, conn, SourceKind::Peer);
    download.source_has_all(now, conn);
    let (mut granted, mut asked) = (0, 0);
    while !download.is_idle() {
        while let Some(output) = download.poll() {
            match output {
                DownloadOutput::Send { frame: Frame::ChunkRequest { request, first, count, .. }, .. } => {
                    asked += u64::from(count) * u64::from(BLOCK_LEN);
                    assert!(asked <= granted, "{asked} bytes asked for, {granted} granted");
                    let from = usize::from(first) * BLOCK_LEN as usize;
                    let part = data.slice(from..from + usize::from(count) * BLOCK_LEN as usize);
                    download.blocks(now, conn, request, first, part);
                }
                DownloadOutput::Send { frame: Frame::HashRequest { request, .. }, .. } => {
                    download.leaves(now, conn, request, hashes.clone());
                }
                DownloadOutput::Hash { ticket, data } => download.hashed(now, ticket, HashedBlocks::compute(data)),
                DownloadOutput::Write { ticket, .. } => download.written(now, ticket, Ok(())),
                _ => {}
            }
        }
        if download.is_idle() {
            break;
        }
        assert!(download.is_held_back(), "it says that it waits");
        granted += 3 * u64::from(BLOCK_LEN);
        download.grant(now, 3 * u64::from(BLOCK_LEN));
    }
    assert_eq!(asked, data.len() as u64);
    assert!(!download.is_held_back());
}
