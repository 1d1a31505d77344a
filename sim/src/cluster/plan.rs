//! What a seed decides before anything happens: how many there are of each, how clocks and networks behave, which
//! faults rule. Must draw everything from the seed and nothing else.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::time::Duration;

use kollator_core::machine::{Instant, Rng};

use super::faults::FaultKind;
use crate::fault::FaultSet;

/// A front.
#[derive(Clone, Debug)]
pub(super) struct FrontPlan {
    /// How much faster than true its clock runs, in parts per million.
    pub(super) drift_ppm: i64,
    /// How far its wall clock is off, in milliseconds.
    pub(super) skew_ms: i64,
    pub(super) region: String,
}

/// A client: a worker if it has a name, else a peer.
#[derive(Clone, Debug)]
pub(super) struct ClientPlan {
    pub(super) worker: Option<WorkerPlan>,
    pub(super) ip: IpAddr,
    pub(super) begins: Instant,
}

#[derive(Clone, Debug)]
pub(super) struct WorkerPlan {
    pub(super) name: String,
    pub(super) capacity: u16,
}

/// Everything a seed decides.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) fronts: Vec<FrontPlan>,
    pub(super) clients: Vec<ClientPlan>,
    pub(super) faults: FaultSet<FaultKind>,
    /// Whether workers say how much they have to do, at random.
    pub(super) loads: bool,
    pub(super) latency: Range<Duration>,
    pub(super) disk: Range<Duration>,
    /// Mean time between two things that a client does.
    pub(super) pace: Duration,
    /// Mean time between two faults.
    pub(super) calm: Duration,
    pub(super) heal_at: Instant,
}

impl Plan {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        // None at all in one world of eight.
        let faults = if rng.one_in(8) { FaultSet::none() } else { FaultSet::draw(rng, 3) };
        let fronts = if rng.one_in(12) { 1 } else { 3 + rng.below(5) as usize };
        let drift = if faults.has(FaultKind::Drift) { 10_000 } else { 0 };
        let skew = if faults.has(FaultKind::Skew) { 20_000 } else { 0 };
        let regions = rng.one_in(3);
        let front = |rng: &mut Rng| FrontPlan {
            drift_ppm: rng.below(2 * drift + 1) as i64 - drift as i64,
            skew_ms: rng.below(2 * skew + 1) as i64 - skew as i64,
            region: if regions { ["north", "south", ""][rng.below(3) as usize].into() } else { String::new() },
        };
        let many = if rng.one_in(4) { 20 } else { 6 };
        let workers = 1 + rng.below(many) as usize;
        let many = if rng.one_in(16) { 200 } else { 24 };
        let peers = 2 + rng.below(many) as usize;
        let clients = (0..workers + peers).map(|number| {
            let worker = (number < workers).then(|| WorkerPlan {
                name: format!("worker-{number}"),
                capacity: if rng.one_in(2) { 100 } else { 20 + rng.below(300) as u16 },
            });
            let ip = IpAddr::V4(Ipv4Addr::new(10, rng.below(4) as u8, number as u8, 7));
            ClientPlan { worker, ip, begins: Instant::ZERO + Duration::from_millis(rng.below(3_000)) }
        });
        let clients = clients.collect();
        let loads = rng.one_in(3);
        let far = 1 + rng.below(40);
        let seek = 1 + rng.below(60);
        Self {
            fronts: (0..fronts).map(|_| front(rng)).collect(),
            clients,
            loads,
            latency: Duration::from_micros(100)..Duration::from_millis(far),
            disk: Duration::from_micros(200)..Duration::from_millis(seek),
            pace: Duration::from_millis(200 + rng.below(2_000)),
            calm: Duration::from_millis(50 + rng.below(1_500)),
            heal_at: Instant::ZERO + Duration::from_millis(5_000 + rng.below(10_000)),
            faults,
        }
    }
}
