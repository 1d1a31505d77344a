//! What the machines themselves cost for a GiB that moves from an upload to a download: no network, no disk,
//! no hashing of the content (hashes are taken from a table), so what is left is deciding and bookkeeping.

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kollator_core::id::{ChunkId, Digest};
use kollator_core::machine::Instant;
use kollator_core::merkle::{self, BLOCK_LEN, HashedBlocks};
use kollator_core::rtc::ConnId;
use kollator_core::transfer::{
    Download, DownloadConfig, DownloadOutput, Order, SourceKind, Upload, UploadConfig, UploadOutput,
};
use kollator_core::wire::frame::Frame;

const CHUNK: u32 = 4 << 20;
const CHUNKS: u32 = 16;
const CONN: ConnId = ConnId(1);

/// Moves every chunk once, each frame through the codec.
fn transfer(chunk: ChunkId, data: &Bytes, leaves: &[Digest]) {
    let now = Instant::ZERO;
    let mut upload = Upload::new(UploadConfig::default());
    let mut download = Download::new(DownloadConfig { order: Order::Sequential, ..DownloadConfig::default() });
    upload.session_up(CONN, 4);
    download.source_up(now, CONN, SourceKind::Worker);
    for slot in 0..CHUNKS {
        download.want(slot, chunk, None);
    }
    download.source_has_all(now, CONN);
    let mut wire: VecDeque<Bytes> = VecDeque::new();
    while !download.is_idle() {
        while let Some(output) = download.poll() {
            match output {
                DownloadOutput::Send { frame, .. } => match frame {
                    Frame::ChunkRequest { request, chunk, first, count } => {
                        upload.request(CONN, request, chunk, first, count);
                    }
                    Frame::HashRequest { request, chunk } => upload.hash_request(CONN, request, chunk),
                    Frame::Cancel { request } => upload.cancel(CONN, request),
                    other => panic!("unexpected {other:?}"),
                },
                DownloadOutput::Hash { ticket, data } => {
                    // All blocks are alike.
                    let count = data.len().div_ceil(BLOCK_LEN as usize);
                    let blocks = HashedBlocks::from_engine(data, leaves[..count].to_vec());
                    download.hashed(now, ticket, blocks);
                }
                DownloadOutput::Write { ticket, blocks, .. } => {
                    black_box(&blocks);
                    download.written(now, ticket, Ok(()));
                }
                _ => {}
            }
        }
        while let Some(output) = upload.poll() {
            match output {
                UploadOutput::ReadBlocks { ticket, chunk, first, count } => {
                    let from = usize::from(first) * BLOCK_LEN as usize;
                    let size = chunk.range_len(first, count).expect("inside the chunk") as usize;
                    upload.read(ticket, Ok(data.slice(from..from + size)));
                }
                UploadOutput::ReadLeaves { ticket, .. } => upload.read_leaves(ticket, Ok(leaves.to_vec())),
                UploadOutput::Send { conn, frame } => {
                    upload.sent(conn, frame.encoded_len() as u32);
                    wire.push_back(frame.encode().freeze());
                }
                UploadOutput::Misused { .. } | UploadOutput::Go { .. } => {
                    unreachable!("nobody asked for {output:?}")
                }
            }
        }
        while let Some(message) = wire.pop_front() {
            match Frame::decode(message).expect("an encoded frame") {
                Frame::ChunkResponse { request, first, data } => download.blocks(now, CONN, request, first, data),
                Frame::Hashes { request, leaves } => download.leaves(now, CONN, request, leaves),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

fn bench(c: &mut Criterion) {
    let data = Bytes::from(vec![7; CHUNK as usize]);
    let leaves = merkle::leaves(&data);
    let root = merkle::root(&leaves, 8, Digest::default());
    let chunk = ChunkId::new(root, CHUNK, 8).expect("a legal chunk");

    let mut group = c.benchmark_group("transfer");
    group.throughput(Throughput::Bytes(u64::from(CHUNK * CHUNKS)));
    group.sample_size(20);
    group.bench_function("machines alone, 64 MiB", |b| b.iter(|| transfer(chunk, &data, &leaves)));
    group.finish();

    let mut group = c.benchmark_group("verify");
    group.throughput(Throughput::Bytes(u64::from(CHUNK)));
    group.sample_size(20);
    let proven = merkle::ChunkLeaves::prove(chunk, leaves.clone()).expect("its own leaves");
    group.bench_function("hash and check a chunk, 4 MiB", |b| {
        b.iter_batched(
            || data.clone(),
            |data| proven.verify(0, HashedBlocks::compute(data)).expect("its own data"),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
