//! Downloads against uploads on a small event heap: whatever the delays, losses of sources, lies and denials,
//! what is written is the truth, each block once, and only liars are blamed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::machine::{Instant, Rng};
use kollator_core::merkle::{self, BLOCK_LEN, HashedBlocks};
use kollator_core::node::io::Ticket;
use kollator_core::rtc::ConnId;
use kollator_core::transfer::download::{Download, DownloadConfig, DownloadOutput};
use kollator_core::transfer::upload::{Upload, UploadConfig, UploadOutput};
use kollator_core::transfer::{Order, SourceKind, Urgent};
use kollator_core::wire::frame::{Frame, Reason};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Honest,
    /// Flips a bit in about every tenth block.
    Liar,
    /// Sends leaf hashes that prove nothing.
    LeafLiar,
    /// Takes requests and never answers.
    Mute,
    /// Turns requests down now and then.
    Moody,
    /// Goes away after a while.
    Fleeting,
}

#[derive(Debug)]
enum Event {
    ToSource(ConnId, Frame),
    ToDownload(ConnId, Frame),
    Read(ConnId, Ticket, ChunkId, Option<(u16, u16)>),
    Sent(ConnId, u32),
    Hashed(Ticket, HashedBlocks),
    Written(Ticket),
    Gone(ConnId),
    Seek(Vec<Urgent>),
    Wake,
}

struct World {
    rng: Rng,
    now: Instant,
    sequence: u64,
    events: BTreeMap<(Instant, u64), Event>,
    truth: Vec<(ChunkId, Bytes)>,
    download: Download,
    sources: BTreeMap<ConnId, (Nature, Upload, BTreeSet<ChunkId>)>,
    /// When the last frame of each direction arrives: channels are ordered.
    channels: BTreeMap<(ConnId, bool), Instant>,
    written: BTreeMap<u32, Vec<bool>>,
    open_requests: BTreeMap<(ChunkId, u16), BTreeSet<ConnId>>,
    requests: BTreeMap<(ConnId, u32), (ChunkId, u16, u16)>,
    /// Blocks that came at least once.
    came: BTreeSet<(ChunkId, u16)>,
    gained: u64,
    from_disk: u64,
    blamed: BTreeSet<ConnId>,
    done: BTreeSet<u32>,
    max_buffered: u64,
    /// What somebody is waiting for.
    window: Vec<(ChunkId, u16)>,
}

fn content(rng: &mut Rng, length: u32) -> Bytes {
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

fn chunk_of(data: &Bytes) -> ChunkId {
    let leaves = merkle::leaves(data);
    let height = merkle::height_for(leaves.len() as u64);
    let root = merkle::root(&leaves, height, Digest::default());
    ChunkId::new(root, data.len() as u32, height).unwrap()
}

impl World {
    fn new(seed: u64, natures: &[Nature], lengths: &[u32], order: Order) -> Self {
        let mut rng = Rng::new(seed);
        let mut truth: Vec<(ChunkId, Bytes)> = Vec::new();
        for length in lengths {
            let data = content(&mut rng, *length);
            truth.push((chunk_of(&data), data));
        }
        let max_buffered = 8 * u64::from(BLOCK_LEN) + rng.below(40) * u64::from(BLOCK_LEN);
        let config = DownloadConfig {
            seed,
            order,
            max_buffered,
            max_open: 200_000,
            request_blocks: 1 + rng.below(8) as u16,
            ..DownloadConfig::default()
        };
        let mut sources = BTreeMap::new();
        for (index, nature) in natures.iter().enumerate() {
            // The first honest one has everything; others have a part.
            let has = truth.iter().filter(|_| index == 0 || !rng.one_in(3)).map(|(chunk, _)| *chunk).collect();
            let config = UploadConfig { read_blocks: 1 + rng.below(4) as u16, ..UploadConfig::default() };
            sources.insert(ConnId(index as u64 + 1), (*nature, Upload::new(config), has));
        }
        Self {
            rng,
            now: Instant::ZERO,
            sequence: 0,
            events: BTreeMap::new(),
            truth,
            download: Download::new(config),
            sources,
            channels: BTreeMap::new(),
            written: BTreeMap::new(),
            open_requests: BTreeMap::new(),
            requests: BTreeMap::new(),
            came: BTreeSet::new(),
            gained: 0,
            from_disk: 0,
            blamed: BTreeSet::new(),
            done: BTreeSet::new(),
            max_buffered,
            window: Vec::new(),
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + after, self.sequence), event);
    }

    /// Frames of one channel and direction arrive in the order in which they were sent.
    fn travel(&mut self, conn: ConnId, to_download: bool, event: Event) {
        let delay = Duration::from_micros(100 + self.rng.below(40_000));
        let last = self.channels.entry((conn, to_download)).or_insert(Instant::ZERO);
        let at = (self.now + delay).max(*last);
        *last = at;
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    fn data(&self, chunk: ChunkId) -> Bytes {
        self.truth.iter().find(|(id, _)| *id == chunk).map(|(_, data)| data.clone()).unwrap()
    }

    fn begin(&mut self) {
        for (slot, (chunk, _)) in self.truth.clone().into_iter().enumerate() {
            self.written.insert(slot as u32, vec![false; usize::from(chunk.blocks())]);
            self.download.want(slot as u32, chunk, None);
        }
        for conn in self.sources.keys().copied().collect::<Vec<_>>() {
            let (nature, upload, has) = self.sources.get_mut(&conn).unwrap();
            upload.session_up(conn, 1 + (conn.0 % 4) as u8);
            let all = has.len() == self.truth.len();
            let slots: Vec<u32> =
                (0..).zip(&self.truth).filter(|(_, (id, _))| has.contains(id)).map(|(slot, _)| slot).collect();
            let fleeting = *nature == Nature::Fleeting;
            self.download.source_up(self.now, conn, SourceKind::Peer);
            if all {
                self.download.source_has_all(self.now, conn);
            } else {
                self.download.source_has(self.now, conn, slots);
            }
            if fleeting {
                let after = Duration::from_millis(self.rng.below(300));
                self.schedule(after, Event::Gone(conn));
            }
        }
        for _ in 0..self.rng.below(5) {
            let after = Duration::from_millis(self.rng.below(2_000));
            let window = self.somewhere();
            self.schedule(after, Event::Seek(window));
        }
        self.drain();
    }

    /// A few runs of blocks, some of which there may be.
    fn somewhere(&mut self) -> Vec<Urgent> {
        let (rng, slots) = (&mut self.rng, self.truth.len() as u64);
        let mut urgent = || {
            let first = rng.below(10) as u16;
            Urgent { slot: rng.below(slots + 1) as u32, first, end: first + rng.below(6) as u16 }
        };
        let window: Vec<Urgent> = (0..3).map(|_| urgent()).collect();
        window.into_iter().take(self.rng.below(4) as usize).collect()
    }

    fn step(&mut self) -> bool {
        let wake = self.download.next_wake();
        let next = self.events.keys().next().copied();
        match (next, wake) {
            (Some((at, _)), Some(wake)) if wake < at => self.schedule_at(wake),
            (None, Some(wake)) => self.schedule_at(wake),
            (None, None) => return false,
            _ => {}
        }
        let ((at, _), event) = self.events.pop_first().unwrap();
        assert!(at >= self.now, "time goes forward");
        self.now = at;
        self.happen(event);
        self.drain();
        if self.download.next_wake().is_some_and(|wake| wake <= self.now) {
            self.download.wake(self.now);
            self.drain();
            assert!(self.download.next_wake().is_none_or(|wake| wake > self.now), "it spins");
        }
        true
    }

    fn schedule_at(&mut self, at: Instant) {
        self.sequence += 1;
        self.events.insert((at.max(self.now), self.sequence), Event::Wake);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake => self.download.wake(self.now),
            Event::ToSource(conn, frame) => {
                let moody = self.rng.one_in(4);
                let Some((nature, upload, _)) = self.sources.get_mut(&conn) else { return };
                match frame {
                    Frame::ChunkRequest { .. } | Frame::HashRequest { .. } if *nature == Nature::Mute => {}
                    Frame::ChunkRequest { request, .. } | Frame::HashRequest { request, .. }
                        if *nature == Nature::Moody && moody =>
                    {
                        let reject = Frame::Reject { request, reason: Reason::Busy };
                        self.travel(conn, true, Event::ToDownload(conn, reject));
                    }
                    Frame::ChunkRequest { request, chunk, first, count } => {
                        upload.request(conn, request, chunk, first, count);
                    }
                    Frame::HashRequest { request, chunk } => upload.hash_request(conn, request, chunk),
                    Frame::Cancel { request } => upload.cancel(conn, request),
                    other => panic!("a download does not send {other:?}"),
                }
            }
            Event::ToDownload(conn, frame) => match frame {
                Frame::ChunkResponse { request, first, data } => {
                    let asked = self.requests.get(&(conn, request)).copied();
                    if let Some((chunk, _, _)) = asked {
                        for block in first..first + data.len().div_ceil(BLOCK_LEN as usize) as u16 {
                            self.open_requests.entry((chunk, block)).or_default().remove(&conn);
                            self.came.insert((chunk, block));
                        }
                    }
                    self.download.blocks(self.now, conn, request, first, data);
                }
                Frame::Hashes { request, leaves } => self.download.leaves(self.now, conn, request, leaves),
                Frame::Reject { request, reason } => {
                    self.close(conn, request);
                    self.download.rejected(self.now, conn, request, reason);
                }
                other => panic!("an upload does not send {other:?}"),
            },
            Event::Read(conn, ticket, chunk, range) => {
                let data = self.data(chunk);
                let Some((_, upload, has)) = self.sources.get_mut(&conn) else { return };
                let reason = Reason::NotFound;
                match range {
                    _ if !has.contains(&chunk) => upload.read(ticket, Err(reason)),
                    None => upload.read_leaves(ticket, Ok(merkle::leaves(&data))),
                    Some((first, count)) => {
                        let from = usize::from(first) * BLOCK_LEN as usize;
                        let size = chunk.range_len(first, count).unwrap() as usize;
                        upload.read(ticket, Ok(data.slice(from..from + size)));
                    }
                }
            }
            Event::Sent(conn, bytes) => {
                if let Some((_, upload, _)) = self.sources.get_mut(&conn) {
                    upload.sent(conn, bytes);
                }
            }
            Event::Hashed(ticket, blocks) => self.download.hashed(self.now, ticket, blocks),
            Event::Written(ticket) => self.download.written(self.now, ticket, Ok(())),
            Event::Gone(conn) => self.lose(conn),
            Event::Seek(window) => {
                let blocks = |urgent: &Urgent| {
                    let chunk = self.truth.get(urgent.slot as usize).map(|(chunk, _)| *chunk);
                    let chunk = chunk.filter(|chunk| urgent.end <= chunk.blocks());
                    let (first, end) = (urgent.first, urgent.end);
                    chunk.into_iter().flat_map(move |chunk| (first..end).map(move |block| (chunk, block)))
                };
                self.window = window.iter().flat_map(blocks).collect();
                self.download.seek(self.now, window);
                self.download.wake(self.now);
            }
        }
    }

    fn lose(&mut self, conn: ConnId) {
        self.sources.remove(&conn);
        for by in self.open_requests.values_mut() {
            by.remove(&conn);
        }
        self.download.source_down(self.now, conn);
    }

    fn close(&mut self, conn: ConnId, request: u32) {
        if let Some((chunk, first, count)) = self.requests.remove(&(conn, request)) {
            for block in first..first + count {
                self.open_requests.entry((chunk, block)).or_default().remove(&conn);
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.download.poll() {
            match output {
                DownloadOutput::Send { conn, frame } => {
                    assert!(self.sources.contains_key(&conn), "nothing is sent to who is gone");
                    assert!(!self.blamed.contains(&conn), "a liar gets no more requests");
                    if let Frame::ChunkRequest { request, chunk, first, count } = frame {
                        self.check_window(conn, (chunk, first));
                        self.requests.insert((conn, request), (chunk, first, count));
                        for block in first..first + count {
                            self.open_requests.entry((chunk, block)).or_default().insert(conn);
                        }
                        self.check_requests(chunk, first, count);
                    }
                    if let Frame::Cancel { request } = frame {
                        self.close(conn, request);
                    }
                    self.travel(conn, false, Event::ToSource(conn, frame));
                }
                DownloadOutput::Hash { ticket, data } => {
                    let after = Duration::from_micros(self.rng.below(3000));
                    self.schedule(after, Event::Hashed(ticket, HashedBlocks::compute(data)));
                }
                DownloadOutput::Write { ticket, slot, blocks } => {
                    let (chunk, data) = &self.truth[slot as usize];
                    assert_eq!(blocks.chunk(), *chunk);
                    let from = usize::from(blocks.first()) * BLOCK_LEN as usize;
                    assert_eq!(
                        blocks.data(),
                        &data[from..from + blocks.data().len()],
                        "only the truth is written"
                    );
                    let written = self.written.get_mut(&slot).unwrap();
                    for block in blocks.first()..blocks.first() + blocks.count() {
                        assert!(!std::mem::replace(&mut written[usize::from(block)], true), "each block once");
                    }
                    let after = Duration::from_micros(self.rng.below(9000));
                    self.schedule(after, Event::Written(ticket));
                }
                DownloadOutput::Gained { bytes, from, .. } => {
                    self.gained += u64::from(bytes);
                    if from.is_none() {
                        self.from_disk += u64::from(bytes);
                    }
                }
                DownloadOutput::ChunkDone { slot } => {
                    assert!(self.written[&slot].iter().all(|written| *written), "done when all is written");
                    assert!(self.done.insert(slot), "done once");
                }
                DownloadOutput::Blame { conn, .. } => {
                    let nature = self.sources[&conn].0;
                    assert!(
                        matches!(nature, Nature::Liar | Nature::LeafLiar),
                        "{nature:?} is blamed, and did not lie"
                    );
                    self.blamed.insert(conn);
                    self.lose(conn);
                }
            }
        }
        assert!(self.download.buffered() <= self.max_buffered, "memory is bounded");
        for conn in self.sources.keys().copied().collect::<Vec<_>>() {
            self.drain_upload(conn);
        }
    }

    /// Outside the end game nobody else owes a block that is asked for.
    fn check_requests(&self, chunk: ChunkId, first: u16, count: u16) {
        let mut slots = (0..).zip(&self.truth).filter(|(_, (id, _))| *id == chunk);
        let slot: u32 = slots.next().unwrap().0;
        for block in first..first + count {
            assert!(!self.written[&slot][usize::from(block)], "nothing is asked for that is written");
            if self.open_requests[&(chunk, block)].len() > 1 {
                let unasked = self.unasked();
                assert!(unasked.is_empty(), "asked twice while nobody was asked for {unasked:?}");
            }
        }
    }

    /// While blocks of the window wait that a source has and nobody is asked for, it is asked for the first of them.
    fn check_window(&self, conn: ConnId, asked: (ChunkId, u16)) {
        let unasked: BTreeSet<(ChunkId, u16)> = self.unasked().into_iter().collect();
        let has = &self.sources[&conn].2;
        let head = self.window.iter().find(|block| has.contains(&block.0) && unasked.contains(block));
        // What came from a liar is asked for again, and is not counted here.
        let again = self.came.contains(&asked);
        assert!(again || head.is_none_or(|head| *head == asked), "{head:?} is waited for, {asked:?} asked for");
    }

    /// Blocks that did not come and that nobody owes.
    fn unasked(&self) -> Vec<(ChunkId, u16)> {
        let blocks = self.truth.iter().flat_map(|(id, _)| (0..id.blocks()).map(|block| (*id, block)));
        let owed = |block: &(ChunkId, u16)| self.open_requests.get(block).is_some_and(|by| !by.is_empty());
        blocks.filter(|block| !self.came.contains(block) && !owed(block)).collect()
    }

    fn drain_upload(&mut self, conn: ConnId) {
        while let Some(output) = self.sources.get_mut(&conn).and_then(|(_, upload, _)| upload.poll()) {
            let delay = Duration::from_micros(self.rng.below(20_000));
            match output {
                UploadOutput::ReadBlocks { ticket, chunk, first, count } => {
                    self.schedule(delay, Event::Read(conn, ticket, chunk, Some((first, count))));
                }
                UploadOutput::ReadLeaves { ticket, chunk } => {
                    self.schedule(delay, Event::Read(conn, ticket, chunk, None));
                }
                UploadOutput::Misused { .. } | UploadOutput::Go { .. } => panic!("nobody asked for {output:?}"),
                UploadOutput::Send { conn, frame } => {
                    self.schedule(delay, Event::Sent(conn, frame.encoded_len() as u32));
                    let frame = self.lie(conn, frame);
                    self.travel(conn, true, Event::ToDownload(conn, frame));
                }
            }
        }
    }

    fn lie(&mut self, conn: ConnId, frame: Frame) -> Frame {
        match (self.sources[&conn].0, frame) {
            (Nature::Liar, Frame::ChunkResponse { request, first, data }) if self.rng.one_in(10) => {
                let mut bad = data.to_vec();
                let at = self.rng.below(bad.len() as u64) as usize;
                bad[at] ^= 4;
                Frame::ChunkResponse { request, first, data: bad.into() }
            }
            (Nature::LeafLiar, Frame::Hashes { request, mut leaves }) => {
                leaves[0].0[3] ^= 1;
                Frame::Hashes { request, leaves }
            }
            (_, frame) => frame,
        }
    }
}

fn natures() -> impl Strategy<Value = Vec<Nature>> {
    let other = prop_oneof![
        3 => Just(Nature::Honest),
        2 => Just(Nature::Liar),
        1 => Just(Nature::LeafLiar),
        1 => Just(Nature::Mute),
        1 => Just(Nature::Moody),
        1 => Just(Nature::Fleeting),
    ];
    proptest::collection::vec(other, 0..5).prop_map(|mut others| {
        others.insert(0, Nature::Honest);
        others
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_sources_do_the_truth_is_written_once(
        seed in any::<u64>(),
        natures in natures(),
        lengths in proptest::collection::vec(1..10 * BLOCK_LEN, 1..8),
        sequential in any::<bool>(),
    ) {
        let order = if sequential { Order::Sequential } else { Order::RarestFirst };
        let total: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
        let mut world = World::new(seed, &natures, &lengths, order);
        world.begin();
        let mut steps = 0;
        while !world.download.is_idle() {
            prop_assert!(world.step(), "nothing will ever happen, and it is not complete");
            steps += 1;
            prop_assert!(steps < 100_000 && world.now < Instant::ZERO + Duration::from_secs(300), "no end");
        }
        prop_assert_eq!(world.gained, total);
        prop_assert_eq!(world.done.len(), lengths.len());
        prop_assert_eq!(world.download.buffered(), 0);
    }

    #[test]
    fn what_a_killed_run_wrote_is_not_fetched_again(
        seed in any::<u64>(),
        lengths in proptest::collection::vec(1..10 * BLOCK_LEN, 1..6),
        kept in proptest::collection::vec(0..4u8, 64),
    ) {
        let mut world = World::new(seed, &[Nature::Honest, Nature::Honest], &lengths, Order::RarestFirst);
        let mut kept = kept.into_iter().cycle();
        let (mut expected, mut blocks) = (0, BTreeSet::new());
        for (slot, (chunk, data)) in (0..).zip(world.truth.clone()) {
            // 0 and 1: the block was written; 2: it was not; 3: it was, and the disk lies.
            let mut claims = Vec::new();
            for (index, leaf) in (0..).zip(merkle::leaves(&data)) {
                claims.push(match kept.next() {
                    Some(0 | 1) => {
                        expected += u64::from(chunk.range_len(index, 1).unwrap());
                        blocks.insert((chunk, index));
                        Some(leaf)
                    }
                    Some(3) => Some(Digest([1; 32])),
                    _ => None,
                });
            }
            let written = claims.iter().zip(merkle::leaves(&data)).map(|(claim, leaf)| *claim == Some(leaf));
            world.written.insert(slot, written.collect());
            world.download.want(slot, chunk, Some(claims));
        }
        for conn in [ConnId(1), ConnId(2)] {
            world.sources.get_mut(&conn).unwrap().1.session_up(conn, 4);
            world.download.source_up(world.now, conn, SourceKind::Peer);
        }
        world.download.source_has_all(world.now, ConnId(1));
        world.drain();
        while !world.download.is_idle() {
            prop_assert!(world.step(), "nothing will ever happen, and it is not complete");
        }
        prop_assert_eq!(world.gained, lengths.iter().map(|length| u64::from(*length)).sum::<u64>());
        for (chunk, first, count) in world.requests.values() {
            for block in *first..first + count {
                prop_assert!(!blocks.contains(&(*chunk, block)), "a block on disk was asked for");
            }
        }
        prop_assert_eq!(world.from_disk, expected);
    }
}
