//! `kollator download`: get a share, say how it goes, end when every byte is verified and on disk.

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use kollator_core::id::InfoHash;
use kollator_core::link::LinkKey;
use kollator_core::metainfo::Metainfo;
use kollator_core::node::peer::{Command, Order, PeerEvent, Progress, SourceKind, Totals};
use kollator_core::seal::{ShareKey, is_sealed, open_with};
use kollator_runtime::disk::{Disk, OutputOptions};
use kollator_runtime::node::peer::PeerNode;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::Ended;
use crate::identity::IdentityArgs;
use crate::node;
use crate::settings::{Download, Network};
use crate::signals::{Signal, Signals};
use crate::target::Target;
use crate::words;

/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// A line of `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    /// A front answered.
    Online { worker: Option<&'a str> },
    /// No front answers; trying again.
    Offline { reason: &'a str },
    /// What the share holds is known. Bytes of an encrypted one are counted as they are shared.
    Metainfo { info_hash: InfoHash, name: &'a str, encrypted: bool, bytes_total: u64, files: usize, chunks: usize },
    /// A source is connected.
    SourceUp { peer: String, kind: &'static str },
    /// A source is gone.
    SourceDown { peer: String, reason: &'a str },
    /// A source lied or broke the protocol; it gets no more requests.
    Blamed { peer: String, offence: &'a str },
    /// How it stands.
    Progress { bytes_done: u64, bytes_total: u64, bytes_from_disk: u64, bytes_from: BytesFrom, sources: usize },
    /// All of it is verified and on disk.
    Done { info_hash: InfoHash, bytes_total: u64, bytes_from_disk: u64, bytes_from: BytesFrom, seconds: f64 },
    /// It cannot be had.
    Failed { info_hash: InfoHash, reason: &'a str },
}

/// Verified bytes by kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct BytesFrom {
    worker: u64,
    peer: u64,
    http: u64,
}

impl BytesFrom {
    fn new(from: &BTreeMap<SourceKind, u64>) -> Self {
        let of = |kind| from.get(&kind).copied().unwrap_or_default();
        Self { worker: of(SourceKind::Worker), peer: of(SourceKind::Peer), http: of(SourceKind::Http) }
    }
}

/// Where what happens is shown.
struct Show {
    json: bool,
    key: Option<ShareKey>,
    bar: ProgressBar,
    begun: Instant,
    offline: words::Offline,
}

pub(crate) async fn run(network: &Network, download: Download) -> anyhow::Result<Ended> {
    let begun = Instant::now();
    let mut signals = Signals::listen()?;
    let target = Target::read(&download.target)?;
    let info_hash = target.info_hash();
    let (http, mut workers, dht) = (download.http(), download.workers, download.dht);
    let bar = words::bar("downloading", 0);
    let mut show = Show { json: download.json, key: None, bar, begun, offline: words::Offline::default() };
    show.key = show.or_failed(info_hash, unlock(target.key(), &download.identity))?;
    let disk = Disk::default();
    let options = OutputOptions {
        path: download.output,
        overwrite: download.overwrite,
        sync: download.sync,
        key: show.key.clone(),
        threads: node::cores(),
    };
    disk.expect(info_hash, options);
    let is_led = !workers.is_empty() || dht.is_wanted();
    let others = if is_led { network.given_fronts().to_vec() } else { network.fronts() };
    let fronts = node::fronts(target.fronts(), others)?;
    workers.extend(target.workers());
    let mut finding = pin!(dht.workers(info_hash, network.patience()));
    let is_alone = dht.is_wanted() && fronts.is_empty() && workers.is_empty();
    if is_alone {
        // There is nothing to do before, so nothing is to fail for want of progress.
        workers = tokio::select! {
            found = &mut finding => show.or_failed(info_hash, found)?,
            signal = signals.next() => return Ok(Ended::Stopped(signal)),
        };
    }
    let (peer, mut events) = node::start(network, fronts, http, disk.clone())?;
    let order = if download.sequential { Order::Sequential } else { Order::RarestFirst };
    peer.command(Command::Download { info_hash, metainfo: target.metainfo(), order }).await?;
    peer.command(Command::AddWorkers { info_hash, workers }).await?;

    let lead = async {
        if dht.is_wanted() && !is_alone {
            match finding.await {
                Ok(workers) => peer.command(Command::AddWorkers { info_hash, workers }).await?,
                Err(error) => words::say(&format!("{error:#}")),
            }
        }
        pending().await
    };
    let ended = tokio::select! {
        ended = follow(&peer, info_hash, &mut events, &mut show) => ended,
        broken = lead => broken,
        signal = signals.next() => Ok(Followed::Stopped(signal)),
    };
    peer.shutdown().await;
    show.bar.finish_and_clear();
    match ended? {
        Followed::Completed(totals) => {
            show.completed(&disk, info_hash, &totals)?;
            Ok(Ended::Done)
        }
        Followed::Stopped(signal) => {
            words::say("stopped; the same command goes on from here");
            Ok(Ended::Stopped(signal))
        }
    }
}

/// The key that opens the share, if the link has one.
fn unlock(key: Option<&LinkKey>, identity: &IdentityArgs) -> anyhow::Result<Option<ShareKey>> {
    match key {
        None => Ok(None),
        Some(LinkKey::Open(key)) => Ok(Some(key.clone())),
        Some(LinkKey::Wrapped(wrapped)) => {
            let identity = identity.read().context("the link is for one person only")?;
            Ok(Some(identity.unwrap(wrapped)?))
        }
    }
}

enum Followed {
    Completed(Totals),
    Stopped(Signal),
}

/// Shows what the peer says until the download is over.
async fn follow(
    peer: &PeerNode,
    info_hash: InfoHash,
    events: &mut mpsc::UnboundedReceiver<PeerEvent>,
    show: &mut Show,
) -> anyhow::Result<Followed> {
    let mut ticks = interval(SHOW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = None;
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(PeerEvent::Completed { totals, .. }) => return Ok(Followed::Completed(totals)),
                Some(PeerEvent::Failed { reason, .. }) => {
                    show.line(&Line::Failed { info_hash, reason: &reason })?;
                    bail!("could not download {info_hash}: {reason}");
                }
                Some(event) => show.event(&event)?,
                None => bail!("the peer broke down"),
            },
            _ = ticks.tick() => {
                let progress = peer.progress(info_hash).await?;
                if progress.is_some() && progress != shown {
                    show.progress(progress.as_ref())?;
                    shown = progress;
                }
            }
        }
    }
}

impl Show {
    /// What came of something without which there is no way to the share.
    fn or_failed<T>(&self, info_hash: InfoHash, result: anyhow::Result<T>) -> anyhow::Result<T> {
        if let Err(error) = &result {
            self.bar.finish_and_clear();
            self.line(&Line::Failed { info_hash, reason: &format!("{error:#}") })?;
        }
        result.with_context(|| format!("could not download {info_hash}"))
    }

    fn line(&self, line: &Line<'_>) -> anyhow::Result<()> {
        if self.json { words::print(&serde_json::to_string(line)?) } else { Ok(()) }
    }

    fn say(&self, words: &str) {
        words::say_beside(&self.bar, words);
    }

    fn event(&mut self, event: &PeerEvent) -> anyhow::Result<()> {
        match event {
            PeerEvent::Online { worker } => {
                self.offline.over();
                if worker.is_none() {
                    self.say("the front has no worker; looking for peers");
                }
                self.line(&Line::Online { worker: worker.as_deref() })
            }
            PeerEvent::Offline { reason } => {
                self.offline.say(&self.bar, reason);
                self.line(&Line::Offline { reason })
            }
            PeerEvent::Metainfo { metainfo } => self.metainfo(metainfo),
            PeerEvent::SourceUp { source, kind } => {
                let kind = match kind {
                    SourceKind::Worker => "worker",
                    SourceKind::Peer => "peer",
                    SourceKind::Http => "http",
                };
                self.line(&Line::SourceUp { peer: source.to_string(), kind })
            }
            PeerEvent::SourceDown { source, reason } => {
                self.line(&Line::SourceDown { peer: source.to_string(), reason })
            }
            PeerEvent::Blamed { source, offence } => {
                self.say(&format!("cut off {source}: {offence}"));
                self.line(&Line::Blamed { peer: source.to_string(), offence })
            }
            PeerEvent::FrontComplained { message } => {
                self.say(&format!("the front says: {message}"));
                Ok(())
            }
            PeerEvent::Gained { .. }
            | PeerEvent::Met { .. }
            | PeerEvent::Stored { .. }
            | PeerEvent::Safe { .. }
            | PeerEvent::Completed { .. }
            | PeerEvent::Failed { .. } => Ok(()),
        }
    }

    fn metainfo(&self, metainfo: &Metainfo) -> anyhow::Result<()> {
        self.bar.set_length(metainfo.total_length());
        // A share that does not open fails next, with the reason.
        let opened = open_with(metainfo, self.key.as_ref()).ok().flatten();
        let name = opened.as_ref().map_or(metainfo.name(), |share| &share.name);
        self.bar.set_message(name.to_owned());
        self.line(&Line::Metainfo {
            info_hash: metainfo.info_hash(),
            name,
            encrypted: is_sealed(metainfo),
            bytes_total: metainfo.total_length(),
            files: metainfo.files().len(),
            chunks: metainfo.pieces().len(),
        })
    }

    fn progress(&self, progress: Option<&Progress>) -> anyhow::Result<()> {
        let Some(Progress { totals, bytes_done, sources }) = progress else { return Ok(()) };
        self.bar.set_position(*bytes_done);
        self.line(&Line::Progress {
            bytes_done: *bytes_done,
            bytes_total: totals.bytes_total,
            bytes_from_disk: totals.from_disk,
            bytes_from: BytesFrom::new(&totals.from),
            sources: *sources,
        })
    }

    fn completed(&self, disk: &Disk, info_hash: InfoHash, totals: &Totals) -> anyhow::Result<()> {
        let time = self.begun.elapsed();
        let from = BytesFrom::new(&totals.from);
        let path = disk.output_path(info_hash).unwrap_or_default();
        words::say(&format!(
            "{}: {} ({} from disk, {} from workers, {} from peers, {} over HTTP)",
            path.display(),
            words::rate(totals.bytes_total, time),
            words::bytes(totals.from_disk),
            words::bytes(from.worker),
            words::bytes(from.peer),
            words::bytes(from.http),
        ));
        self.line(&Line::Done {
            info_hash,
            bytes_total: totals.bytes_total,
            bytes_from_disk: totals.from_disk,
            bytes_from: from,
            seconds: time.as_secs_f64(),
        })
    }
}
