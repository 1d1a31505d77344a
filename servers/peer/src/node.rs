//! A peer on the real network, for the commands that need one.

use anyhow::Context as _;
use kollator_core::node::peer::{HttpUse, PeerConfig, PeerEvent};
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

/// The fronts that a share names, those first, and others.
pub(crate) fn fronts(named: &[String], others: Vec<FrontUrl>) -> anyhow::Result<Vec<FrontUrl>> {
    let named = named.iter().map(|url| FrontUrl::parse(url).context("the share's front"));
    let mut fronts: Vec<FrontUrl> = Vec::new();
    for front in named.chain(others.into_iter().map(Ok)) {
        let front = front?;
        if !fronts.contains(&front) {
            fronts.push(front);
        }
    }
    Ok(fronts)
}

/// Starts a peer that knows these fronts.
pub(crate) fn start(
    network: &Network,
    fronts: Vec<FrontUrl>,
    http: HttpUse,
    disk: Disk,
) -> anyhow::Result<(PeerNode, mpsc::UnboundedReceiver<PeerEvent>)> {
    let mut config = PeerConfig::new(random_id(), random_seed(), fronts.len());
    config.patience = network.patience();
    config.http = http;
    (config.upload.limit, config.download_limit) = network.limits();
    let blocking = Blocking::threads(cores().clamp(2, 8));
    let options = PeerOptions { config, fronts, disk, blocking };
    PeerNode::start(options, TokioNet, |sink| WebRtc::new(RtcConfig::default(), sink)).context("WebRTC")
}
