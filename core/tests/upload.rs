//! The upload against requesters that ask, cancel, vanish and take data at their own pace: every request is
//! answered once and in order, windows hold, and nobody is served at another's expense.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use kollator_core::id::{ChunkId, Digest};
use kollator_core::merkle::BLOCK_LEN;
use kollator_core::node::io::Ticket;
use kollator_core::rtc::ConnId;
use kollator_core::transfer::upload::{Upload, UploadConfig, UploadOutput};
use kollator_core::wire::frame::{Frame, MAX_FRAME_BLOCKS, Reason};
use proptest::prelude::*;

const BLOCKS: u16 = 40;
const SHORT: u32 = 100;

fn chunk() -> ChunkId {
    ChunkId::new(Digest([9; 32]), u32::from(BLOCKS - 1) * BLOCK_LEN + SHORT, 6).unwrap()
}

/// Bytes whose first byte of each block names the block.
fn bytes(first: u16, count: u16) -> Bytes {
    let mut data = vec![0; chunk().range_len(first, count).unwrap() as usize];
    for (block, part) in (first..).zip(data.chunks_mut(BLOCK_LEN as usize)) {
        part[0] = block as u8;
    }
    data.into()
}

#[derive(Clone, Debug)]
enum Step {
    Request { conn: u64, first: u16, count: u16 },
    Leaves { conn: u64 },
    Cancel { conn: u64, which: usize },
    Read { which: usize, fails: bool },
    Sent { conn: u64 },
    Gone { conn: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let conn = 1..4u64;
    let step = prop_oneof![
        4 => (conn.clone(), 0..BLOCKS, 1..=BLOCKS).prop_map(|(conn, first, count)| {
            Step::Request { conn, first, count: count.min(BLOCKS - first) }
        }),
        1 => conn.clone().prop_map(|conn| Step::Leaves { conn }),
        1 => (conn.clone(), any::<usize>()).prop_map(|(conn, which)| Step::Cancel { conn, which }),
        8 => (any::<usize>(), proptest::bool::weighted(0.1)).prop_map(|(which, fails)| Step::Read { which, fails }),
        8 => conn.clone().prop_map(|conn| Step::Sent { conn }),
        1 => conn.prop_map(|conn| Step::Gone { conn }),
    ];
    proptest::collection::vec(step, 1..200)
}

/// What a requester still expects: the next block and the end of each open request; `None` for leaves.
type Expected = BTreeMap<u32, Option<(u16, u16)>>;

#[derive(Default)]
struct Requester {
    expected: Expected,
    /// Requests in the order in which they were made: answers come in that order, but for those about leaves, which may
    /// overtake others.
    order: VecDeque<u32>,
    unsent: VecDeque<u32>,
}

impl Requester {
    /// The oldest request about leaves, or about blocks.
    fn first(&self, leaves: bool) -> Option<u32> {
        self.order
            .iter()
            .copied()
            .find(|request| self.expected.get(request).is_some_and(|e| e.is_none() == leaves))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered_once_and_in_order(steps in steps(), read_blocks in 1..20u16, max_unsent in 0..800_000u64) {
        let config = UploadConfig { read_blocks, window: 300_000, max_unsent, max_requests: 6, max_reads: 5, ..UploadConfig::default() };
        let (window, max_reads) = (config.window, config.max_reads);
        let largest = u32::from(read_blocks) * BLOCK_LEN + 1000;
        let mut upload = Upload::new(config);
        let mut requesters: BTreeMap<u64, Requester> = BTreeMap::new();
        let mut reads: Vec<(Ticket, Option<(u16, u16)>)> = Vec::new();
        for conn in 1..4 {
            upload.session_up(ConnId(conn), conn as u8);
            requesters.insert(conn, Requester::default());
        }
        let mut number = 0;
        // After the random part everything is read and taken, so that all that is open is answered.
        let finish = std::iter::repeat_n(
            [Step::Read { which: 0, fails: false }, Step::Sent { conn: 1 }, Step::Sent { conn: 2 }, Step::Sent { conn: 3 }],
            3000,
        );
        for step in steps.into_iter().chain(finish.flatten()) {
            match step {
                Step::Request { conn, first, count } => {
                    if let Some(requester) = requesters.get_mut(&conn) {
                        number += 1;
                        requester.expected.insert(number, Some((first, first + count)));
                        requester.order.push_back(number);
                        upload.request(ConnId(conn), number, chunk(), first, count);
                    }
                }
                Step::Leaves { conn } => {
                    if let Some(requester) = requesters.get_mut(&conn) {
                        number += 1;
                        requester.expected.insert(number, None);
                        requester.order.push_back(number);
                        upload.hash_request(ConnId(conn), number, chunk());
                    }
                }
                Step::Cancel { conn, which } => {
                    if let Some(requester) = requesters.get_mut(&conn)
                        && !requester.order.is_empty()
                    {
                        let request = requester.order.remove(which % requester.order.len()).unwrap();
                        requester.expected.remove(&request);
                        upload.cancel(ConnId(conn), request);
                    }
                }
                Step::Read { which, fails } => {
                    if !reads.is_empty() {
                        let (ticket, range) = reads.remove(which % reads.len());
                        match range {
                            _ if fails => upload.read(ticket, Err(Reason::StorageFailed)),
                            None => upload.read_leaves(ticket, Ok(vec![Digest([1; 32]); usize::from(BLOCKS)])),
                            Some((first, count)) => upload.read(ticket, Ok(bytes(first, count))),
                        }
                    }
                }
                Step::Sent { conn } => {
                    if let Some(bytes) = requesters.get_mut(&conn).and_then(|r| r.unsent.pop_front()) {
                        upload.sent(ConnId(conn), bytes);
                    }
                }
                Step::Gone { conn } => {
                    requesters.remove(&conn);
                    upload.session_down(ConnId(conn));
                }
            }
            while let Some(output) = upload.poll() {
                match output {
                    UploadOutput::ReadBlocks { ticket, first, count, .. } => reads.push((ticket, Some((first, count)))),
                    UploadOutput::ReadLeaves { ticket, .. } => reads.push((ticket, None)),
                    UploadOutput::Misused { .. } => prop_assert!(false, "no number was used twice"),
                    UploadOutput::Go { .. } => prop_assert!(false, "nothing else waits"),
                    UploadOutput::Send { conn, frame } => {
                        let requester = requesters.get_mut(&conn.0);
                        prop_assert!(requester.is_some(), "nothing is sent to who is gone");
                        let requester = requester.unwrap();
                        let size = frame.encoded_len() as u32;
                        match frame {
                            Frame::ChunkResponse { request, first, data } => {
                                prop_assert_eq!(requester.first(false), Some(request), "in order");
                                let Some(Some((next, end))) = requester.expected.get_mut(&request) else {
                                    return Err(TestCaseError::fail("blocks for no open request"));
                                };
                                let count = data.len().div_ceil(BLOCK_LEN as usize) as u16;
                                prop_assert_eq!(*next, first);
                                prop_assert!(count <= conn.0 as u16, "no more than it takes at once");
                                prop_assert_eq!(&data, &bytes(first, count));
                                *next += count;
                                if next == end {
                                    requester.expected.remove(&request);
                                    requester.order.retain(|other| *other != request);
                                }
                                requester.unsent.push_back(size);
                            }
                            Frame::Hashes { request, .. } => {
                                prop_assert_eq!(requester.first(true), Some(request), "in order");
                                prop_assert_eq!(requester.expected.remove(&request), Some(None));
                                requester.order.retain(|other| *other != request);
                                requester.unsent.push_back(size);
                            }
                            Frame::Reject { request, .. } => {
                                prop_assert!(requester.expected.remove(&request).is_some(), "answered once");
                                requester.order.retain(|other| *other != request);
                            }
                            other => prop_assert!(false, "an upload does not send {:?}", other),
                        }
                        let unsent: u32 = requester.unsent.iter().sum();
                        prop_assert!(unsent <= window.max(largest) + 1000, "the window holds: {}", unsent);
                    }
                }
            }
            let unsent: u64 = requesters.values().flat_map(|r| &r.unsent).map(|size| u64::from(*size)).sum();
            prop_assert!(upload.unsent() >= unsent, "what is given and not taken is counted");
            // The last read of each session may have begun with room for a frame only.
            let frames: u64 = (1..4).map(|blocks| blocks * u64::from(BLOCK_LEN) + 3000).sum();
            prop_assert!(upload.unsent() <= max_unsent + frames, "{} of {}", upload.unsent(), max_unsent);
            // A read for who is gone is no longer the upload's, but still the disk's.
            prop_assert!(requesters.len() < 3 || reads.len() <= max_reads, "reads are bounded");
        }
        for requester in requesters.values() {
            prop_assert!(requester.expected.is_empty(), "unanswered: {:?}", requester.expected);
        }
        prop_assert!(upload.is_idle());
        prop_assert_eq!(upload.unsent(), 0);
    }
}

proptest! {
    #[test]
    fn long_frames_are_for_who_takes_them_and_asks_for_much(takes in 1..=MAX_FRAME_BLOCKS, count in 1..=BLOCKS) {
        let mut upload = Upload::new(UploadConfig::default());
        upload.session_up(ConnId(1), takes);
        upload.request(ConnId(1), 1, chunk(), 0, count);
        let mut frames = Vec::new();
        while let Some(output) = upload.poll() {
            match output {
                UploadOutput::ReadBlocks { ticket, first, count, .. } => upload.read(ticket, Ok(bytes(first, count))),
                UploadOutput::Send { frame: Frame::ChunkResponse { data, .. }, .. } => {
                    frames.push(data.len().div_ceil(BLOCK_LEN as usize) as u16);
                }
                other => prop_assert!(false, "unexpected {:?}", other),
            }
        }
        let longest = u16::from(takes).min((count / 4).max(4));
        prop_assert_eq!(frames.iter().max(), Some(&longest.min(count)), "{:?}", frames);
        prop_assert_eq!(frames.iter().sum::<u16>(), count);
    }
}

#[test]
fn under_a_limit_who_asks_for_more_at_once_gets_no_more() {
    let mut upload = Upload::new(UploadConfig { limit: 4_000_000, ..UploadConfig::default() });
    let mut number = 0;
    let mut served = BTreeMap::from([(ConnId(1), 0u64), (ConnId(2), 0)]);
    for (conn, asks) in [(ConnId(1), BLOCKS), (ConnId(2), 4)] {
        upload.session_up(conn, MAX_FRAME_BLOCKS);
        for _ in 0..100 {
            number += 1;
            upload.request(conn, number, chunk(), 0, asks);
        }
    }
    // The first burst goes to whoever came first; then turns begin.
    let mut ahead = None;
    while served[&ConnId(2)] < 5_000_000 {
        match upload.poll() {
            Some(UploadOutput::ReadBlocks { ticket, first, count, .. }) => {
                upload.read(ticket, Ok(bytes(first, count)))
            }
            Some(UploadOutput::Send { conn, frame }) => {
                if let Frame::ChunkResponse { data, .. } = &frame {
                    *served.get_mut(&conn).unwrap() += data.len() as u64;
                }
                upload.sent(conn, frame.encoded_len() as u32);
                if let Some(ahead) = ahead {
                    let now_ahead = served[&ConnId(1)] - served[&ConnId(2)];
                    assert!(
                        now_ahead.abs_diff(ahead) <= 2 * 4 * u64::from(BLOCK_LEN),
                        "turns are fair: {served:?}"
                    );
                }
            }
            Some(other) => panic!("unexpected {other:?}"),
            None => {
                ahead = ahead.or(Some(served[&ConnId(1)] - served[&ConnId(2)]));
                upload.wake(upload.next_wake().expect("it waits for its limit only"));
            }
        }
    }
    assert!(ahead.is_some(), "the limit was felt");
}

#[test]
fn leaves_come_before_blocks_that_were_asked_for_earlier() {
    let mut upload = Upload::new(UploadConfig { read_blocks: 4, max_reads: 1, ..UploadConfig::default() });
    upload.session_up(ConnId(1), 4);
    upload.request(ConnId(1), 1, chunk(), 0, BLOCKS);
    upload.hash_request(ConnId(1), 2, chunk());
    upload.hash_request(ConnId(1), 3, chunk());
    let mut answered = Vec::new();
    while let Some(output) = upload.poll() {
        match output {
            UploadOutput::ReadBlocks { ticket, first, count, .. } => upload.read(ticket, Ok(bytes(first, count))),
            UploadOutput::ReadLeaves { ticket, .. } => {
                upload.read_leaves(ticket, Ok(vec![Digest([1; 32]); usize::from(BLOCKS)]));
            }
            UploadOutput::Send {
                frame: Frame::ChunkResponse { request, .. } | Frame::Hashes { request, .. },
                ..
            } => {
                answered.push(request);
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    answered.dedup();
    assert_eq!(answered, [1, 2, 3, 1], "what was being read, the leaves, the rest");
}

#[test]
fn one_who_asks_for_much_does_not_starve_one_who_asks_for_little() {
    let mut upload = Upload::new(UploadConfig { read_blocks: 4, max_reads: 2, ..UploadConfig::default() });
    for conn in [ConnId(1), ConnId(2)] {
        upload.session_up(conn, 4);
    }
    for request in 0..100 {
        upload.request(ConnId(1), request, chunk(), 0, BLOCKS);
    }
    upload.request(ConnId(2), 7, chunk(), 0, BLOCKS);
    let mut served = BTreeMap::from([(ConnId(1), 0u64), (ConnId(2), 0)]);
    while served[&ConnId(2)] < u64::from(chunk().length()) {
        let Some(output) = upload.poll() else { panic!("it stopped") };
        match output {
            UploadOutput::ReadBlocks { ticket, first, count, .. } => upload.read(ticket, Ok(bytes(first, count))),
            UploadOutput::Send { conn, frame } => {
                if let Frame::ChunkResponse { data, .. } = &frame {
                    *served.get_mut(&conn).unwrap() += data.len() as u64;
                }
                upload.sent(conn, frame.encoded_len() as u32);
            }
            other => panic!("unexpected {other:?}"),
        }
        let ahead = served[&ConnId(1)].abs_diff(served[&ConnId(2)]);
        assert!(ahead <= 4 * 4 * u64::from(BLOCK_LEN), "turns are fair: {served:?}");
    }
}
