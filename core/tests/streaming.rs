//! Downloads while somebody watches, in simulated time: how long it takes from a jump until what is there is written,
//! from sources that are slow, whatever they owe already.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::machine::Instant;
use kollator_core::merkle::{self, BLOCK_LEN, HashedBlocks};
use kollator_core::node::io::Ticket;
use kollator_core::rtc::ConnId;
use kollator_core::transfer::{
    Download, DownloadConfig, DownloadOutput, Order, SourceKind, Upload, UploadConfig, UploadOutput, Urgent,
};
use kollator_core::wire::frame::Frame;

/// One way between a source and the download, as a rule.
const LATENCY: Duration = Duration::from_millis(40);
const CHUNK: u32 = 1 << 20;
const CHUNKS: u32 = 48;
/// Blocks of a chunk.
const BLOCKS: u16 = (CHUNK / BLOCK_LEN) as u16;
/// Chunks in a window.
const WINDOW: u32 = 8;

enum Event {
    ToSource(ConnId, Frame),
    ToDownload(ConnId, Frame),
    Left(ConnId, u32),
    Written(Ticket),
}

struct Source {
    upload: Upload,
    /// Bytes a second that its line carries.
    rate: u64,
    /// Bytes that its line still carries in no time, as one with a limit does after a pause.
    burst: u64,
    /// When its line is free again.
    free: Instant,
}

struct Theatre {
    now: Instant,
    /// One way between a source and the download.
    latency: Duration,
    events: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    download: Download,
    sources: BTreeMap<ConnId, Source>,
    content: Vec<(ChunkId, Bytes)>,
    written: Vec<Vec<bool>>,
    /// Bytes of blocks that left a source.
    sent: u64,
}

impl Theatre {
    fn new(rates: &[u64], order: Order) -> Self {
        Self::with_latency(rates, order, LATENCY)
    }

    fn with_latency(rates: &[u64], order: Order, latency: Duration) -> Self {
        let chunk = |number: u32| {
            let data: Bytes = (0..CHUNK).map(|at| (at / 97 + number) as u8).collect();
            let leaves = merkle::leaves(&data);
            let height = merkle::height_for(leaves.len() as u64);
            (ChunkId::new(merkle::root(&leaves, height, Digest::default()), CHUNK, height).unwrap(), data)
        };
        let mut theatre = Self {
            now: Instant::ZERO,
            latency,
            events: BTreeMap::new(),
            sequence: 0,
            download: Download::new(DownloadConfig { order, seed: 3, ..DownloadConfig::default() }),
            sources: BTreeMap::new(),
            content: (0..CHUNKS).map(chunk).collect(),
            written: vec![vec![false; BLOCKS.into()]; CHUNKS as usize],
            sent: 0,
        };
        for (slot, (chunk, _)) in (0..).zip(&theatre.content) {
            theatre.download.want(slot, *chunk, None);
        }
        for (number, rate) in (1..).zip(rates) {
            let conn = ConnId(number);
            let mut upload = Upload::new(UploadConfig::default());
            upload.session_up(conn, 4);
            theatre.sources.insert(conn, Source { upload, rate: *rate, burst: 0, free: Instant::ZERO });
            theatre.download.source_up(theatre.now, conn, SourceKind::Peer);
            theatre.download.source_has_all(theatre.now, conn);
        }
        theatre.drain();
        theatre
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + wait, self.sequence), event);
    }

    fn run_until(&mut self, end: Instant) {
        loop {
            let next = self.events.keys().next().map(|(at, _)| *at);
            let wake = self.download.next_wake();
            let Some(at) = next.into_iter().chain(wake).min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            if next == Some(at) {
                let (_, event) = self.events.pop_first().unwrap();
                self.happen(event);
            } else {
                self.download.wake(self.now);
            }
            self.drain();
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::ToSource(conn, frame) => {
                let upload = &mut self.sources.get_mut(&conn).unwrap().upload;
                match frame {
                    Frame::ChunkRequest { request, chunk, first, count } => {
                        upload.request(conn, request, chunk, first, count);
                    }
                    Frame::HashRequest { request, chunk } => upload.hash_request(conn, request, chunk),
                    Frame::Cancel { request } => upload.cancel(conn, request),
                    other => panic!("a download does not send {other:?}"),
                }
            }
            Event::ToDownload(conn, Frame::ChunkResponse { request, first, data }) => {
                self.download.blocks(now, conn, request, first, data);
            }
            Event::ToDownload(conn, Frame::Hashes { request, leaves }) => {
                self.download.leaves(now, conn, request, leaves);
            }
            Event::ToDownload(_, other) => panic!("an upload does not send {other:?}"),
            Event::Left(conn, bytes) => self.sources.get_mut(&conn).unwrap().upload.sent(conn, bytes),
            Event::Written(ticket) => self.download.written(now, ticket, Ok(())),
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.download.poll() {
            match output {
                DownloadOutput::Send { conn, frame } => self.after(self.latency, Event::ToSource(conn, frame)),
                DownloadOutput::Hash { ticket, data } => {
                    self.download.hashed(self.now, ticket, HashedBlocks::compute(data));
                }
                DownloadOutput::Write { ticket, .. } => {
                    self.after(Duration::from_millis(2), Event::Written(ticket));
                }
                DownloadOutput::Gained { slot, first, bytes, .. } => {
                    let end = first + bytes.div_ceil(BLOCK_LEN) as u16;
                    self.written[slot as usize][first.into()..end.into()].fill(true);
                }
                DownloadOutput::ChunkDone { .. } => {}
                DownloadOutput::Blame { offence, .. } => panic!("everybody is honest: {offence}"),
            }
        }
        for conn in self.sources.keys().copied().collect::<Vec<_>>() {
            self.drain_upload(conn);
        }
    }

    fn drain_upload(&mut self, conn: ConnId) {
        while let Some(output) = self.sources.get_mut(&conn).unwrap().upload.poll() {
            let content = |chunk| &self.content.iter().find(|(id, _)| *id == chunk).unwrap().1;
            let source = self.sources.get_mut(&conn).unwrap();
            match output {
                UploadOutput::ReadBlocks { ticket, chunk, first, count } => {
                    let from = usize::from(first) * BLOCK_LEN as usize;
                    let size = usize::from(count) * BLOCK_LEN as usize;
                    source.upload.read(ticket, Ok(content(chunk).slice(from..from + size)));
                }
                UploadOutput::ReadLeaves { ticket, chunk } => {
                    source.upload.read_leaves(ticket, Ok(merkle::leaves(content(chunk))));
                }
                UploadOutput::Send { frame, .. } => {
                    let bytes = frame.encoded_len() as u32;
                    let begin = source.free.max(self.now);
                    let at_once = source.burst.min(bytes.into());
                    source.burst -= at_once;
                    let rest = u64::from(bytes) - at_once;
                    source.free = begin + Duration::from_secs_f64(rest as f64 / source.rate as f64);
                    let left = source.free.since(self.now);
                    if let Frame::ChunkResponse { data, .. } = &frame {
                        self.sent += data.len() as u64;
                    }
                    self.after(left, Event::Left(conn, bytes));
                    self.after(left + self.latency, Event::ToDownload(conn, frame));
                }
                UploadOutput::Misused { .. } | UploadOutput::Go { .. } => panic!("nobody asked for {output:?}"),
            }
        }
    }

    /// Somebody is at this block now.
    fn seek(&mut self, slot: u32, block: u16) {
        let end = (slot + WINDOW).min(CHUNKS);
        let urgent = |at: u32| Urgent { slot: at, first: if at == slot { block } else { 0 }, end: BLOCKS };
        self.download.seek(self.now, (slot..end).map(urgent).collect());
        self.download.wake(self.now);
        self.drain();
    }

    fn is_written(&self, slot: u32, block: u16) -> bool {
        self.written[slot as usize][usize::from(block)]
    }

    /// Jumps, and tells how long it took until the block there was written.
    fn wait_for(&mut self, slot: u32, block: u16) -> Duration {
        assert!(!self.is_written(slot, block), "there is something to wait for");
        self.seek(slot, block);
        let from = self.now;
        while !self.is_written(slot, block) {
            assert!(self.now.since(from) < Duration::from_secs(60), "it never comes");
            self.run_until(self.now + Duration::from_millis(5));
        }
        self.now.since(from)
    }

    fn bytes_written(&self) -> u64 {
        self.written.iter().flatten().filter(|written| **written).count() as u64 * u64::from(BLOCK_LEN)
    }
}

/// The longest of some jumps of somebody who watches from the beginning on, after everybody was kept busy for a while.
fn longest_jump(rates: &[u64], order: Order) -> Duration {
    let mut theatre = Theatre::new(rates, order);
    theatre.seek(0, 0);
    theatre.run_until(Instant::ZERO + Duration::from_secs(4));
    let mut longest = Duration::ZERO;
    for (slot, block) in [(40, 17), (30, 0), (44, 63), (20, 32)] {
        if !theatre.is_written(slot, block) {
            longest = longest.max(theatre.wait_for(slot, block));
        }
        theatre.run_until(theatre.now + Duration::from_secs(2));
    }
    longest
}

#[test]
fn a_jump_plays_soon_from_slow_sources() {
    // Ten sources that are this slow still have on their way what they were asked for before anybody watched.
    for (rates, most) in [
        (&[1_000_000][..], 500),
        (&[300_000], 700),
        (&[1_000_000; 3], 500),
        (&[1_000_000, 50_000], 500),
        (&[200_000; 5], 700),
        (&[100_000; 10], 1_700),
    ] {
        for order in [Order::RarestFirst, Order::Sequential] {
            let took = longest_jump(rates, order);
            assert!(took < Duration::from_millis(most), "{rates:?}, {order:?}: it took {took:?}");
        }
    }
}

#[test]
fn a_burst_at_the_beginning_is_not_taken_for_a_fast_line() {
    let mut theatre = Theatre::with_latency(&[4_000_000], Order::Sequential, Duration::from_millis(1));
    theatre.sources.values_mut().for_each(|source| source.burst = 512 << 10);
    theatre.run_until(Instant::ZERO + Duration::from_millis(600));
    theatre.seek(0, 0);
    theatre.run_until(theatre.now + Duration::from_millis(200));
    let took = theatre.wait_for(40, 17);
    assert!(took < Duration::from_millis(700), "it took {took:?}");
}

#[test]
fn the_window_comes_at_the_speed_of_the_line_and_in_order() {
    let mut theatre = Theatre::new(&[2_000_000], Order::RarestFirst);
    theatre.run_until(Instant::ZERO + Duration::from_secs(3));
    theatre.seek(40, 0);
    let mut before = 0;
    for second in 1..=4_u64 {
        theatre.run_until(theatre.now + Duration::from_secs(1));
        let window = theatre.written[40..48].iter().flatten();
        let there = window.clone().take_while(|written| **written).count();
        let all = window.filter(|written| **written).count();
        assert!(all - there < 8, "{there} blocks from the place on, of {all} in the window");
        let bytes = there as u64 * u64::from(BLOCK_LEN);
        // The first second pays for what was owed when it jumped.
        assert!(second == 1 || bytes - before > 1_800_000, "{} bytes in a second", bytes - before);
        before = bytes;
    }
}

/// Bytes sent for nothing where somebody jumps once and then moves along so many times.
fn wasted(steps: u16) -> u64 {
    let mut theatre = Theatre::new(&[200_000, 1_000_000], Order::RarestFirst);
    theatre.run_until(Instant::ZERO + Duration::from_secs(2));
    theatre.wait_for(8, 0);
    for step in 1..=steps {
        theatre.seek(8 + u32::from(step / 16), step % 16 * 4);
        theatre.run_until(theatre.now + Duration::from_millis(200));
    }
    theatre.run_until(Instant::ZERO + Duration::from_secs(100));
    assert!(theatre.download.is_idle());
    theatre.sent - theatre.bytes_written()
}

#[test]
fn moving_along_wastes_nothing() {
    let (jump, moved) = (wasted(0), wasted(63));
    // What both owed at the jump: half a second's worth, and the least that any source is asked for.
    assert!(jump < 1_500_000, "{jump} bytes were sent for nothing at a jump");
    assert!(moved < jump + 200_000, "{moved} bytes were sent for nothing, of which {jump} at the jump");
}
