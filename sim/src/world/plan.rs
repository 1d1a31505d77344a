//! What a seed decides before anything happens: who is there, what they want, which settings and faults rule.
//! Must draw everything from the seed and nothing else.

use std::ops::Range;
use std::time::Duration;

use kollator_core::machine::{Instant, Rng};
use kollator_core::node::peer::{HttpUse, Order};

use super::faults::FaultKind;
use super::share::{self, Share};
use crate::fault::FaultSet;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The front.
    Front,
    /// A worker.
    Worker,
    /// A peer.
    Peer,
}

/// A node, and how it will behave.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// What it is.
    pub kind: Kind,
    /// Whether it lies on the data channels. It still follows the protocol otherwise.
    pub liar: bool,
    /// A worker's share of the ring.
    pub capacity: u16,
    /// Most sessions of a worker.
    pub max_sessions: usize,
    /// Most bytes of a worker's cache.
    pub cache_bytes: u64,
    /// Most bytes a peer's downloads may have in flight, each.
    pub max_buffered: u64,
    /// Most bytes a second that it sends of chunks over data channels; 0: no limit.
    pub upload_limit: u64,
    /// Most bytes a second that a peer's downloads ask for, all together; 0: no limit.
    pub download_limit: u64,
    /// How many fronts a peer knows: none or the one there is.
    pub fronts: usize,
    /// Whether a peer asks workers over HTTP.
    pub http: HttpUse,
    /// Whether its user names all workers to a peer.
    pub(super) knows_workers: bool,
    /// Bytes a second its connections carry, each way.
    pub(super) bandwidth: u64,
}

/// Something a user wants of a peer, from `at` on, until it is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaskPlan {
    /// Index of the node.
    pub(super) peer: usize,
    /// Index of the share.
    pub(super) share: usize,
    pub(super) at: Duration,
    pub(super) want: Want,
    /// Whether its user goes from place to place in it while it comes.
    pub(super) is_watched: bool,
}

/// What a user wants with a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Offer it, having it on disk.
    Share { upload: bool },
    /// Get it.
    Download { order: Order, has_metainfo: bool },
}

impl NodePlan {
    /// Whether this peer has nothing but HTTP.
    #[must_use]
    pub const fn is_on_http_only(&self) -> bool {
        self.fronts == 0 || matches!(self.http, HttpUse::Only)
    }
}

impl Want {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Share { .. } => "its upload is not safe",
            Self::Download { .. } => "its download is not complete",
        }
    }
}

/// The settings of the surroundings.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) latency: Range<Duration>,
    /// A TCP connection whose data is not acknowledged for so long is dead.
    pub(super) tcp_timeout: Duration,
    /// A peer connection that cannot reach the other side for so long has failed.
    pub(super) rtc_timeout: Duration,
    /// Bytes a peer connection's send buffer takes.
    pub(super) send_buffer: usize,
    pub(super) disk_latency: Range<Duration>,
    pub(super) backing_latency: Range<Duration>,
    /// Fits of the disk, the store and the liars come once in so many occasions.
    pub(super) odds: u64,
    /// Mean time between two faults that come of themselves.
    pub(super) calm: Duration,
    /// When the faults end.
    pub(super) heal_at: Instant,
    /// How long after the end of the faults everything that can complete must have.
    pub(super) patience: Duration,
}

/// Everything a seed decides.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) nodes: Vec<NodePlan>,
    pub(super) shares: Vec<Share>,
    pub(super) tasks: Vec<TaskPlan>,
    pub(super) settings: Settings,
    pub(super) faults: FaultSet<FaultKind>,
}

/// The lies a node may tell.
const LIES: [FaultKind; 7] = [
    FaultKind::LieData,
    FaultKind::LieHashes,
    FaultKind::LieMetainfo,
    FaultKind::LieOther,
    FaultKind::LieJunk,
    FaultKind::LieStall,
    FaultKind::WebLie,
];

impl Plan {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let faults = faults(rng);
        let mut nodes = nodes(rng, &faults);
        let peers: Vec<usize> = (0..nodes.len()).filter(|node| nodes[*node].kind == Kind::Peer).collect();
        let (shares, tasks) = shares_and_tasks(rng, &nodes, &peers);
        let settings = settings(rng);
        for peer in peers {
            let only_fetches =
                tasks.iter().all(|task| task.peer != peer || !matches!(task.want, Want::Share { .. }));
            ways(rng, &mut nodes[peer], only_fetches);
        }
        Self { nodes, shares, tasks, settings, faults }
    }
}

/// None in one world of eight, else each kind with the same chance.
fn faults(rng: &mut Rng) -> FaultSet<FaultKind> {
    if rng.one_in(8) {
        return FaultSet::none();
    }
    let odds = 2 + rng.below(5);
    FaultSet::draw(rng, odds)
}

fn nodes(rng: &mut Rng, faults: &FaultSet<FaultKind>) -> Vec<NodePlan> {
    let workers = 1 + rng.below(3);
    let peers = 2 + rng.below(4);
    let crowded = rng.one_in(4);
    let lies = LIES.iter().any(|lie| faults.has(*lie));
    let full = millis_up_to(rng, 1, 4) * 1_000_000;
    let kinds = std::iter::once(Kind::Front)
        .chain((0..workers).map(|_| Kind::Worker))
        .chain((0..peers).map(|_| Kind::Peer));
    kinds
        .enumerate()
        .map(|(at, kind)| {
            // The first peer always tells the truth: somebody must have what everybody wants.
            let may_lie = lies && kind != Kind::Front && at as u64 != 1 + workers;
            let slow = faults.has(FaultKind::SlowNode) && rng.one_in(3);
            NodePlan {
                kind,
                liar: may_lie && rng.one_in(3),
                capacity: if rng.one_in(2) { 100 } else { 20 + rng.below(300) as u16 },
                max_sessions: if crowded { (peers as usize).div_ceil(workers as usize) + 1 } else { 1200 },
                cache_bytes: [40 << 10, 200 << 10, 300 << 20][rng.below(3) as usize],
                max_buffered: [64 << 10, 256 << 10, 24 << 20][rng.below(3) as usize],
                upload_limit: limit(rng),
                download_limit: if kind == Kind::Peer { limit(rng) } else { 0 },
                fronts: 1,
                http: HttpUse::Helping,
                knows_workers: false,
                bandwidth: if slow { full / 40 } else { full },
            }
        })
        .collect()
}

/// A limit in bytes a second, mostly none.
fn limit(rng: &mut Rng) -> u64 {
    if rng.one_in(5) { 40_000 + rng.below(400_000) } else { 0 }
}

/// Which ways a peer has to others.
fn ways(rng: &mut Rng, peer: &mut NodePlan, only_fetches: bool) {
    (peer.http, peer.knows_workers, peer.fronts) = match rng.below(8) {
        0 if only_fetches => (HttpUse::Helping, true, 0),
        1 if only_fetches => (HttpUse::Only, rng.one_in(2), 1),
        2 => (HttpUse::Helping, true, 1),
        3 => (HttpUse::Never, false, 1),
        _ => (HttpUse::Helping, false, 1),
    };
}

fn shares_and_tasks(rng: &mut Rng, nodes: &[NodePlan], peers: &[usize]) -> (Vec<Share>, Vec<TaskPlan>) {
    let mut shares: Vec<Share> = Vec::new();
    let mut tasks = Vec::new();
    for share in 0..1 + rng.below(2) as usize {
        shares.push(share::draw(rng, shares.first()));
        let honest: Vec<usize> = peers.iter().copied().filter(|peer| !nodes[*peer].liar).collect();
        let origin = honest[rng.below(honest.len() as u64) as usize];
        let upload = !rng.one_in(3);
        let at = Duration::from_millis(rng.below(500));
        tasks.push(TaskPlan { peer: origin, share, at, want: Want::Share { upload }, is_watched: false });
        for peer in peers.iter().copied().filter(|peer| *peer != origin) {
            let at = Duration::from_millis(rng.below(6_000));
            let order = if rng.one_in(3) { Order::Sequential } else { Order::RarestFirst };
            // A liar needs something to lie about: it has the content and offers it.
            let want = if nodes[peer].liar && !rng.one_in(4) {
                Want::Share { upload: rng.one_in(4) }
            } else {
                Want::Download { order, has_metainfo: rng.one_in(2) }
            };
            tasks.push(TaskPlan { peer, share, at, want, is_watched: rng.one_in(3) });
        }
    }
    if rng.one_in(3) {
        let original = rng.below(shares.len() as u64) as usize;
        share::recut(rng, &mut shares, original);
        for peer in peers.iter().copied().filter(|peer| !nodes[*peer].liar) {
            if rng.one_in(2) {
                continue;
            }
            let at = Duration::from_millis(rng.below(8_000));
            let want = Want::Download { order: Order::RarestFirst, has_metainfo: true };
            tasks.push(TaskPlan { peer, share: shares.len() - 1, at, want, is_watched: rng.one_in(3) });
        }
    }
    (shares, tasks)
}

fn settings(rng: &mut Rng) -> Settings {
    let far = millis_up_to(rng, 1, 120);
    let seek = millis_up_to(rng, 0, 20);
    let backing = millis_up_to(rng, 1, 150);
    Settings {
        latency: Duration::from_micros(100)..Duration::from_millis(far) + Duration::from_micros(200),
        tcp_timeout: Duration::from_secs(5 + rng.below(15)),
        rtc_timeout: Duration::from_secs(3 + rng.below(25)),
        send_buffer: (64 << rng.below(5)) * 1024,
        disk_latency: Duration::from_micros(20)..Duration::from_millis(seek) + Duration::from_micros(40),
        backing_latency: Duration::from_micros(500)..Duration::from_millis(backing) + Duration::from_millis(1),
        odds: 3 + rng.below(30),
        calm: Duration::from_millis(100 + rng.below(2_000)),
        heal_at: Instant::ZERO + Duration::from_millis(4_000 + rng.below(12_000)),
        patience: Duration::from_secs(240),
    }
}

/// A number from `least` to `most`, small ones more often.
fn millis_up_to(rng: &mut Rng, least: u64, most: u64) -> u64 {
    let top = least + rng.below(most - least + 1);
    least + rng.below(top - least + 1)
}
