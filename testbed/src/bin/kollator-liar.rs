//! `kollator-liar`: a peer that lies, for tests. It offers a share as any peer does, but flips a byte in every
//! tenth block it sends. Never to be part of a real network.

use std::path::PathBuf;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use clap::Parser;
use futures_util::future::BoxFuture;
use kollator_core::machine::Rng;
use kollator_core::merkle::BLOCK_LEN;
use kollator_core::metainfo::DEFAULT_PIECE_LENGTH;
use kollator_core::node::peer::{Command, PeerConfig, PeerEvent};
use kollator_core::rtc::RtcCommand;
use kollator_core::wire::frame::Frame;
use kollator_runtime::blocking::Blocking;
use kollator_runtime::disk::{Disk, ShareOptions, hash_share};
use kollator_runtime::link::FrontUrl;
use kollator_runtime::net::TokioNet;
use kollator_runtime::node::peer::{PeerNode, PeerOptions};
use kollator_runtime::node::{random_id, random_seed};
use kollator_runtime::rtc::{RtcConfig, Transport, WebRtc};

/// One block in this many is a lie.
const LIE_EVERY: u64 = 10;

/// A peer that lies about every tenth block, for tests. Prints its name once a front knows it, then serves.
#[derive(Parser)]
#[command(version)]
struct Settings {
    /// The file or folder to lie about.
    path: PathBuf,
    /// Base URL of the front.
    #[arg(long, env = "KOLLATOR_FRONT", value_parser = FrontUrl::parse)]
    front: FrontUrl,
    /// Bytes in a piece.
    #[arg(long, default_value_t = DEFAULT_PIECE_LENGTH)]
    piece_length: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let options = ShareOptions { piece_length: settings.piece_length, ..ShareOptions::default() };
    let hashed = hash_share(&settings.path, &options, &|_, _| {})?;
    let disk = Disk::default();
    disk.offer(hashed.source);
    let config = PeerConfig::new(random_id(), random_seed(), 1);
    let name = config.id;
    let fronts = vec![settings.front];
    let options = PeerOptions { config, fronts, disk, blocking: Blocking::threads(2) };
    let (peer, mut events) = PeerNode::start(options, TokioNet, |sink| {
        WebRtc::new(RtcConfig::default(), sink).map(|honest| Liar { honest, rng: Rng::new(random_seed()) })
    })?;
    peer.command(Command::Share { metainfo: hashed.metainfo, upload: false }).await?;
    while let Some(event) = events.recv().await {
        match event {
            PeerEvent::Online { .. } => {
                let mut out = std::io::stdout().lock();
                std::io::Write::write_all(&mut out, format!("{name}\n").as_bytes()).context("standard output")?;
                std::io::Write::flush(&mut out).context("standard output")?;
            }
            PeerEvent::Failed { reason, .. } => anyhow::bail!(reason),
            _ => {}
        }
    }
    anyhow::bail!("the peer broke down")
}

/// Passes everything on, but not as it was.
struct Liar {
    honest: WebRtc,
    rng: Rng,
}

impl Liar {
    fn tell(&mut self, data: &Bytes) -> Bytes {
        let mut told = BytesMut::from(&data[..]);
        for block in told.chunks_mut(BLOCK_LEN as usize) {
            if self.rng.one_in(LIE_EVERY) {
                let at = self.rng.below(block.len() as u64) as usize;
                block[at] ^= 0x20;
            }
        }
        told.freeze()
    }
}

impl Transport for Liar {
    fn execute(&mut self, command: RtcCommand) {
        let command = match command {
            RtcCommand::Send { conn, frame: Frame::ChunkResponse { request, first, data } } => {
                let data = self.tell(&data);
                RtcCommand::Send { conn, frame: Frame::ChunkResponse { request, first, data } }
            }
            other => other,
        };
        self.honest.execute(command);
    }

    fn idle(&self) -> BoxFuture<'static, ()> {
        self.honest.idle()
    }
}
