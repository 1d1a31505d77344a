//! Faults that come of themselves, and their end: a majority of the fronts is healed, the rest stays broken.

use std::time::Duration;

use super::{Event, FaultKind, World};

/// The faults that strike on their own rather than on the occasion of something.
const SPONTANEOUS: [FaultKind; 14] = [
    FaultKind::FrontCrash,
    FaultKind::PowerCut,
    FaultKind::LeaderCrash,
    FaultKind::FrontPause,
    FaultKind::Partition,
    FaultKind::OneWay,
    FaultKind::Flap,
    FaultKind::Isolated,
    FaultKind::LinkLost,
    FaultKind::ClientCut,
    FaultKind::WorkerCrash,
    FaultKind::WorkerPause,
    FaultKind::PeerCrash,
    FaultKind::DiskLost,
];

impl World {
    /// Whether a fault that comes on occasions comes on this one. Counts it if so.
    pub(super) fn strikes(&mut self, kind: FaultKind) -> bool {
        let strikes = !self.healed && self.plan.faults.strikes(kind, 8, &mut self.rng);
        if strikes {
            self.journal.fault(self.now, kind);
        }
        strikes
    }

    /// The next spontaneous fault.
    pub(super) fn chaos(&mut self) {
        let kinds: Vec<FaultKind> =
            SPONTANEOUS.iter().copied().filter(|kind| self.plan.faults.has(*kind)).collect();
        if self.healed || kinds.is_empty() {
            return;
        }
        let kind = kinds[self.rng.below(kinds.len() as u64) as usize];
        if self.strike(kind) {
            self.journal.fault(self.now, kind);
        }
        let calm = self.plan.calm.as_nanos() as u64;
        let wait = Duration::from_nanos(1 + self.rng.below(2 * calm));
        self.after(wait, Event::Chaos);
    }

    /// Makes a fault happen; false if there was nothing it could happen to.
    fn strike(&mut self, kind: FaultKind) -> bool {
        let fronts = self.fronts.len() as u64;
        let (one, other) = (self.rng.below(fronts) as usize, self.rng.below(fronts) as usize);
        let lasts = Duration::from_millis(50 + self.rng.below(4_000));
        let client = self.rng.below(self.clients.len() as u64) as usize;
        let is_worker = self.plan.clients[client].worker.is_some();
        match kind {
            FaultKind::FrontCrash => self.front_ends(one, false, false),
            FaultKind::PowerCut => self.front_ends(one, true, false),
            FaultKind::LeaderCrash => {
                let leader = self.a_leader();
                leader.is_some_and(|leader| self.front_ends(leader, false, false))
            }
            // Of several that lost their ballots at once, nobody can say who voted for whom.
            FaultKind::DiskLost => {
                fronts > 1 && self.fronts.iter().all(|front| !front.lost) && self.front_ends(one, false, true)
            }
            FaultKind::FrontPause => {
                let until = self.now + lasts;
                let node = &mut self.fronts[one];
                let free = node.machine.is_some() && node.paused_until <= self.now;
                if free {
                    node.paused_until = until;
                    let life = node.life;
                    self.heap.push(until, Event::FrontResume { front: one, life });
                }
                free
            }
            FaultKind::Partition | FaultKind::OneWay => {
                if one != other {
                    self.shut_link(one, other, lasts);
                    if kind == FaultKind::Partition {
                        self.shut_link(other, one, lasts);
                    }
                }
                one != other
            }
            FaultKind::Flap => {
                if one != other {
                    let brief = Duration::from_millis(50 + self.rng.below(600));
                    self.shut_link(one, other, brief);
                    self.shut_link(other, one, brief);
                }
                one != other
            }
            FaultKind::Isolated => {
                let leader = self.a_leader();
                if let Some(leader) = leader {
                    self.isolate(leader, lasts);
                }
                leader.is_some() && fronts > 1
            }
            FaultKind::LinkLost => one != other && self.lose_link(one, other),
            FaultKind::ClientCut => {
                let node = self.fronts.len() + client;
                let Some(front) = self.clients[client].conn.map(|conn| self.conns[&conn].front) else {
                    return false;
                };
                self.shut(node, front, lasts);
                self.shut(front, node, lasts);
                true
            }
            FaultKind::WorkerCrash | FaultKind::PeerCrash => {
                let fits = is_worker == (kind == FaultKind::WorkerCrash) && self.clients[client].client.is_some();
                if fits {
                    self.client_ends(client);
                }
                fits
            }
            FaultKind::WorkerPause => {
                let free = is_worker && self.clients[client].paused_until <= self.now;
                if free {
                    self.clients[client].paused_until = self.now + lasts;
                }
                free
            }
            _ => false,
        }
    }

    /// A front that believes to lead, if there is one.
    fn a_leader(&self) -> Option<usize> {
        (0..self.fronts.len()).find(|front| self.is_leader(*front))
    }

    /// A front's process ends and comes back later.
    pub(super) fn front_ends(&mut self, front: usize, silent: bool, lose_disk: bool) -> bool {
        if self.fronts[front].machine.is_none() {
            return false;
        }
        self.front_dies(front, silent);
        if lose_disk {
            self.fronts[front].disk.lose();
            self.fronts[front].lost = true;
            self.observe(front, &super::Fact::DiskLost);
        }
        let life = self.fronts[front].life;
        let back = Duration::from_millis(20 + self.rng.below(5_000));
        self.after(back, Event::FrontStart { front, life });
        true
    }

    fn front_dies(&mut self, front: usize, silent: bool) {
        self.tear(front);
        let node = &mut self.fronts[front];
        node.machine = None;
        node.life += 1;
        node.armed = None;
        node.paused_until = super::Instant::ZERO;
        node.backlog.clear();
        self.observe(front, &super::Fact::Ended);
        self.links_of_dead(front, silent);
        self.conns_of_dead(front, silent);
    }

    fn isolate(&mut self, front: usize, lasts: Duration) {
        for other in (0..self.fronts.len()).filter(|other| *other != front) {
            self.shut_link(front, other, lasts);
            self.shut_link(other, front, lasts);
        }
    }

    /// The faults end, but for a minority of the fronts.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        self.shut.clear();
        let count = self.fronts.len();
        // One that lost its ballot votes only once it has heard every other.
        let spare = if self.plan.faults.is_empty() || self.fronts.iter().any(|front| front.lost) {
            0
        } else {
            self.rng.below((count as u64).div_ceil(2))
        };
        while (self.broken.len() as u64) < spare {
            let front = self.rng.below(count as u64) as usize;
            if self.broken.insert(front) {
                if self.rng.one_in(2) {
                    let silent = self.rng.one_in(2);
                    self.front_dies(front, silent);
                } else {
                    self.isolate(front, Duration::from_secs(10_000));
                }
            }
        }
        let healthy: Vec<usize> = (0..count).filter(|front| !self.broken.contains(front)).collect();
        for front in healthy {
            self.fronts[front].paused_until = self.fronts[front].paused_until.min(self.now);
            let life = self.fronts[front].life;
            self.front_resumes(front, life);
            self.after(Duration::from_millis(20), Event::FrontStart { front, life });
        }
        for node in &mut self.clients {
            node.paused_until = node.paused_until.min(self.now);
        }
        self.end_stale_connections();
        self.note(|| "HEALED".into());
        self.observe(0, &super::Fact::Healed);
    }
}
