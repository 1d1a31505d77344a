//! A peer on the real network, for the commands that need one.

use anyhow::Context as _;
use kollator_core::node::peer::{PeerConfig, PeerEvent};
use kollator_runtime::blocking::Blocking;
use kollator_runtime::disk::Disk;
use kollator_runtime::link::FrontUrl;
use kollator_runtime::net::TokioNet;
use kollator_runtime::node::peer::{PeerNode, PeerOptions};
use kollator_runtime::node::{random_id, random_seed};
use kollator_runtime::rtc::{RtcConfig, WebRtc};
use tokio::sync::mpsc;

use crate::settings::Network;

/// Cores to hash on.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// Starts a peer that knows the fronts a share names, those first, and the configured ones.
pub(crate) fn start(
    network: &Network,
    named: &[String],
    disk: Disk,
) -> anyhow::Result<(PeerNode, mpsc::UnboundedReceiver<PeerEvent>)> {
    let mut fronts: Vec<FrontUrl> = Vec::new();
    for url in named {
        let front = FrontUrl::parse(url).context("the share's front")?;
        if !fronts.contains(&front) {
            fronts.push(front);
        }
    }
    for front in &network.fronts {
        if !fronts.contains(front) {
            fronts.push(front.clone());
        }
    }
    let mut config = PeerConfig::new(random_id(), random_seed(), fronts.len());
    config.patience = network.patience();
    let blocking = Blocking::threads(cores().clamp(2, 8));
    let options = PeerOptions { config, fronts, disk, blocking };
    PeerNode::start(options, TokioNet, |sink| WebRtc::new(RtcConfig::default(), sink)).context("WebRTC")
}
