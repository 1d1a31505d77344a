//! `kollator share`: hash, bring to the worker, print the link.

use anyhow::bail;
use kollator_core::link::{LinkKey, ShareRef};
use kollator_core::metainfo::{Metainfo, web_seed_url};
use kollator_core::node::peer::{Command, HttpUse, PeerEvent};
use kollator_core::seal::{SealError, ShareKey, WrappedKey};
use kollator_runtime::disk::Disk;
use kollator_runtime::node::peer::PeerNode;
use kollator_runtime::node::random_secret;
use tokio::sync::mpsc;

use crate::Ended;
use crate::create::{hash, write_ko};
use crate::node;
use crate::settings::{Network, Share};
use crate::signals::Signals;
use crate::words;

pub(crate) async fn run(network: &Network, share: Share) -> anyhow::Result<Ended> {
    let mut signals = Signals::listen()?;
    let fronts = network.base_urls();
    let (key, link_key) = keys(&share)?.unzip();
    let hashed = tokio::select! {
        hashed = hash(share.path, share.making, fronts.clone(), key) => hashed?,
        signal = signals.next() => return Ok(Ended::Stopped(signal)),
    };
    let metainfo = hashed.metainfo;
    if let Some(ko) = &share.ko {
        write_ko(ko, metainfo.raw())?;
    }
    let disk = Disk::default();
    disk.offer(hashed.source);
    let (peer, mut events) = node::start(network, network.fronts(), HttpUse::Never, disk)?;
    peer.command(Command::Share { metainfo: metainfo.clone(), upload: true }).await?;
    let stored = tokio::select! {
        stored = until_stored(&hashed.name, &metainfo, &mut events) => stored,
        signal = signals.next() => {
            peer.shutdown().await;
            return Ok(Ended::Stopped(signal));
        }
    };
    let http = match stored {
        Ok(http) => http,
        Err(error) => {
            peer.shutdown().await;
            return Err(error);
        }
    };
    // Which worker keeps it is known only now.
    if let (Some(ko), Some(http)) = (&share.ko, http) {
        write_ko(ko, &metainfo.with_web_seed(&web_seed_url(&http, metainfo.info_hash()))?)?;
    }
    let named = ShareRef {
        name: Some(hashed.name),
        fronts: fronts.clone(),
        key: link_key,
        ..ShareRef::new(metainfo.info_hash())
    };
    words::print(&named.share_link(&fronts[0]))?;
    if share.seed {
        return seed(peer, events, signals).await;
    }
    peer.shutdown().await;
    Ok(Ended::Done)
}

/// What to encrypt the share with and what its link has for that, if it is to be encrypted.
fn keys(share: &Share) -> Result<Option<(ShareKey, LinkKey)>, SealError> {
    let key = ShareKey::new(random_secret());
    let link_key = match &share.to {
        Some(person) => LinkKey::Wrapped(WrappedKey::wrap(&key, person, random_secret())?),
        None if share.encrypt => LinkKey::Open(key.clone()),
        None => return Ok(None),
    };
    Ok(Some((key, link_key)))
}

/// Follows the upload until the worker has all of it; where that serves HTTP.
async fn until_stored(
    name: &str,
    metainfo: &Metainfo,
    events: &mut mpsc::UnboundedReceiver<PeerEvent>,
) -> anyhow::Result<Option<String>> {
    let bar = words::bar("uploading", metainfo.total_length());
    let mut offline = words::Offline::default();
    while let Some(event) = events.recv().await {
        match event {
            PeerEvent::Online { worker } => {
                offline.over();
                match worker {
                    Some(worker) => bar.set_message(format!("to {worker}")),
                    None => words::say_beside(&bar, "the front has no worker yet; waiting"),
                }
            }
            PeerEvent::Offline { reason } => offline.say(&bar, &reason),
            PeerEvent::FrontComplained { message } => {
                words::say_beside(&bar, &format!("the front says: {message}"))
            }
            PeerEvent::Blamed { source, offence } => {
                words::say_beside(&bar, &format!("cut off {source}: {offence}"));
            }
            PeerEvent::Stored { bytes, .. } => bar.set_position(bytes),
            PeerEvent::Safe { http, .. } => {
                bar.finish_and_clear();
                return Ok(http);
            }
            PeerEvent::Failed { reason, .. } => {
                bar.finish_and_clear();
                bail!("could not share {name}: {reason}");
            }
            PeerEvent::SourceUp { .. }
            | PeerEvent::SourceDown { .. }
            | PeerEvent::Met { .. }
            | PeerEvent::Metainfo { .. }
            | PeerEvent::Gained { .. }
            | PeerEvent::Completed { .. } => {}
        }
    }
    bail!("the peer broke down")
}

/// Serves others until a signal comes, which is how seeding is meant to end.
async fn seed(
    peer: PeerNode,
    mut events: mpsc::UnboundedReceiver<PeerEvent>,
    mut signals: Signals,
) -> anyhow::Result<Ended> {
    words::say("stored; seeding until interrupted");
    let hidden = indicatif::ProgressBar::hidden();
    let mut offline = words::Offline::default();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(PeerEvent::Online { .. }) => offline.over(),
                Some(PeerEvent::Offline { reason }) => offline.say(&hidden, &reason),
                Some(PeerEvent::Blamed { source, offence }) => words::say(&format!("cut off {source}: {offence}")),
                Some(PeerEvent::Failed { reason, .. }) => bail!("cannot go on seeding: {reason}"),
                Some(_) => {}
                None => bail!("the peer broke down"),
            },
            _ = signals.next() => break,
        }
    }
    let served = peer.bytes_served().await.unwrap_or_default();
    peer.shutdown().await;
    words::say(&format!("served {}", words::bytes(served)));
    Ok(Ended::Done)
}
