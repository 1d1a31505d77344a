//! Faults that come of themselves, and their end: a quorum of what is needed is healed, the rest stays broken.

use std::time::Duration;

use kollator_core::machine::Instant;
use kollator_core::store::Key;

use super::plan::{Kind, Want};
use super::{Event, FRONT, Fact, FaultKind, Input, World};

/// The faults that strike on their own rather than on the occasion of something.
const SPONTANEOUS: [FaultKind; 17] = [
    FaultKind::LinkCut,
    FaultKind::LinkSilent,
    FaultKind::Partition,
    FaultKind::OneWay,
    FaultKind::Flap,
    FaultKind::ConnLost,
    FaultKind::ConnBlackHole,
    FaultKind::PeerCrash,
    FaultKind::WorkerCrash,
    FaultKind::FrontCrash,
    FaultKind::PowerCut,
    FaultKind::Pause,
    FaultKind::SpuriousWake,
    FaultKind::DiskCorrupt,
    FaultKind::RogueJunk,
    FaultKind::RogueSignal,
    FaultKind::RogueWorker,
];

impl World {
    /// Whether a fault that comes on occasions comes on this one. Counts it if so.
    pub(super) fn strikes(&mut self, kind: FaultKind) -> bool {
        let strikes = !self.healed && self.faults.strikes(kind, self.settings.odds, &mut self.rng);
        if strikes {
            self.journal.fault(self.now, kind);
        }
        strikes
    }

    /// Whether a liar tells this lie now; liars never heal. Counts it if so.
    pub(super) fn lies(&mut self, kind: FaultKind) -> bool {
        let strikes = self.faults.strikes(kind, 1 + self.settings.odds / 3, &mut self.rng);
        if strikes {
            self.journal.fault(self.now, kind);
        }
        strikes
    }

    /// The next spontaneous fault.
    pub(super) fn chaos(&mut self) {
        if self.healed {
            return;
        }
        let enabled: Vec<FaultKind> = SPONTANEOUS.iter().copied().filter(|kind| self.faults.has(*kind)).collect();
        if enabled.is_empty() {
            return;
        }
        let kind = enabled[self.dice(enabled.len())];
        if self.strike(kind) {
            self.journal.fault(self.now, kind);
        }
        let calm = self.settings.calm.as_nanos() as u64;
        let next = Duration::from_nanos(1 + self.rng.below(2 * calm));
        self.after(next, Event::Chaos);
    }

    /// Makes a fault happen; false if there was nothing it could happen to.
    fn strike(&mut self, kind: FaultKind) -> bool {
        let nodes = self.nodes.len();
        let (one, other) = (self.dice(nodes), self.dice(nodes));
        match kind {
            FaultKind::LinkCut | FaultKind::LinkSilent => {
                let open: Vec<u64> = self
                    .links
                    .iter()
                    .filter(|(_, link)| link.alive() && !link.silent)
                    .map(|(id, _)| *id)
                    .collect();
                let Some(id) = self.pick(&open) else { return false };
                if kind == FaultKind::LinkCut {
                    self.link_cut(id);
                } else if let Some(link) = self.links.get_mut(&id) {
                    link.silent = true;
                }
                true
            }
            FaultKind::Partition | FaultKind::OneWay => {
                let lasts = Duration::from_millis(100 + self.rng.below(12_000));
                if one != other {
                    self.shut(one, other, lasts);
                    if kind == FaultKind::Partition {
                        self.shut(other, one, lasts);
                    }
                }
                one != other
            }
            FaultKind::Flap => {
                if one != other {
                    for round in 0..2 + self.rng.below(5) {
                        let wait = Duration::from_millis(round * 700 + self.rng.below(300));
                        self.after(wait, Event::Shut { from: one, to: other });
                        self.after(wait, Event::Shut { from: other, to: one });
                    }
                }
                one != other
            }
            FaultKind::ConnLost | FaultKind::ConnBlackHole => {
                let open: Vec<u64> = self
                    .pairs
                    .iter()
                    .filter(|(_, pair)| pair.open && !pair.black_hole)
                    .map(|(id, _)| *id)
                    .collect();
                let Some(id) = self.pick(&open) else { return false };
                if kind == FaultKind::ConnLost {
                    self.rtc_lose(id);
                } else if let Some(pair) = self.pairs.get_mut(&id) {
                    pair.black_hole = true;
                }
                true
            }
            FaultKind::PeerCrash => self.crash_one(Some(Kind::Peer), false),
            FaultKind::WorkerCrash => self.crash_one(Some(Kind::Worker), false),
            FaultKind::FrontCrash => self.crash_one(Some(Kind::Front), false),
            FaultKind::PowerCut => self.crash_one(None, true),
            FaultKind::Pause => {
                let lasts = Duration::from_millis(1 + self.rng.below(3_000));
                self.pause(one, lasts)
            }
            FaultKind::SpuriousWake => {
                let up = self.nodes[one].up();
                self.hear(one, Input::wake(self.truth.nodes[one].kind));
                up
            }
            FaultKind::DiskCorrupt => {
                let shares = self.nodes[one].disk.shares();
                let Some(share) = self.pick(&shares) else { return false };
                let dice = self.rng.next_u64();
                if !self.nodes[one].disk.rot(share, dice) {
                    return false;
                }
                self.nodes[one].spoilt = true;
                self.observe(one, &Fact::DiskSpoilt);
                true
            }
            FaultKind::RogueJunk => self.rogue_junk(),
            FaultKind::RogueSignal => self.rogue_signal(),
            FaultKind::RogueWorker => self.rogue_worker(),
            _ => false,
        }
    }

    fn crash_one(&mut self, kind: Option<Kind>, power_cut: bool) -> bool {
        let up: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.nodes[*node].up())
            .filter(|node| kind.is_none_or(|kind| self.truth.nodes[*node].kind == kind))
            .collect();
        let Some(node) = self.pick(&up) else { return false };
        self.crash_for_a_while(node, power_cut);
        true
    }

    pub(super) fn crash_for_a_while(&mut self, node: usize, power_cut: bool) {
        self.crash(node, power_cut);
        let down = Duration::from_millis(20 + self.rng.below(4_000));
        let life = self.nodes[node].life;
        self.after(down, Event::Start { node, life });
    }

    /// Ends a process; what its disk holds stays, unless a fault takes that too.
    pub(super) fn crash(&mut self, node: usize, power_cut: bool) {
        if self.nodes[node].stop() {
            self.observe(node, &Fact::Crashed);
            self.link_crash(node, power_cut);
            self.rtc_crash(node);
            self.web_crash(node, power_cut);
        }
        if self.truth.nodes[node].kind == Kind::Peer && self.strikes(FaultKind::DiskWiped) {
            self.disk_wipe(node);
        }
        if self.truth.nodes[node].kind == Kind::Worker && self.strikes(FaultKind::CacheWiped) {
            self.nodes[node].cache.clear();
        }
    }

    fn shut(&mut self, from: usize, to: usize, lasts: Duration) {
        self.net.shut(from, to);
        self.rtc_shut(from, to);
        self.after(lasts, Event::Reopen { from, to });
    }

    /// One closing of a flapping way.
    pub(super) fn flap(&mut self, from: usize, to: usize) {
        if !self.healed {
            let lasts = Duration::from_millis(50 + self.rng.below(400));
            self.shut(from, to, lasts);
        }
    }

    /// A fault that shut a way is over.
    pub(super) fn reopen(&mut self, from: usize, to: usize) {
        let broken = self.truth.broken[from] || self.truth.broken[to];
        if !broken && self.net.open(from, to) {
            self.link_resume(from, to);
            self.rtc_resume(from, to);
        }
    }

    /// The faults end: for the front, for whoever has what somebody wants, and for some of the others.
    pub(super) fn heal(&mut self) {
        self.choose_broken();
        self.healed = true;
        self.kept = (0..self.truth.shares.len()).map(|share| self.is_to_be_kept(share)).collect();
        let nodes = self.nodes.len();
        let broken = self.truth.broken.clone();
        self.net.heal(|node| !broken[node]);
        for node in (0..nodes).filter(|node| broken[*node]) {
            if self.rng.one_in(2) {
                self.crash(node, true);
            } else {
                for other in (0..nodes).filter(|other| *other != node) {
                    self.shut(node, other, Duration::from_secs(100_000));
                    self.shut(other, node, Duration::from_secs(100_000));
                }
            }
        }
        self.observe(FRONT, &Fact::Healed);
        for node in (0..nodes).filter(|node| !broken[*node]) {
            self.heal_node(node);
        }
        for from in 0..nodes {
            for to in 0..nodes {
                if self.net.reaches(from, to) {
                    self.link_resume(from, to);
                    self.rtc_resume(from, to);
                }
            }
        }
    }

    fn heal_node(&mut self, node: usize) {
        for share in 0..self.truth.shares.len() {
            if self.owns(node, share) {
                let truth = &self.truth.shares[share];
                self.nodes[node].disk.fill(share, truth);
            }
        }
        if std::mem::take(&mut self.nodes[node].spoilt) {
            // What rotted is thrown away, but for what is its own, which is good again. Others may shun it for the
            // life of its name: it comes back under a new one.
            self.disk_wipe(node);
            self.crash(node, false);
        }
        let life = self.nodes[node].life;
        if !self.nodes[node].up() {
            self.after(Duration::from_millis(10), Event::Start { node, life });
        }
    }

    fn choose_broken(&mut self) {
        if self.faults.is_empty() {
            return;
        }
        let (workers, peers) = (self.truth.of(Kind::Worker), self.truth.of(Kind::Peer));
        for node in &workers[1..] {
            self.truth.broken[*node] = self.rng.one_in(3);
        }
        // A share that is safe does without its owner, if the workers can be relied upon.
        let honest = workers.iter().all(|node| self.truth.broken[*node] || !self.truth.nodes[*node].liar);
        for node in peers {
            let needed = (0..self.truth.shares.len())
                .any(|share| self.owns(node, share) && !(honest && self.is_backed(share)));
            self.truth.broken[node] = !needed && self.rng.one_in(4);
        }
    }

    /// Whether the backing store has all of a share.
    pub(super) fn is_backed(&self, share: usize) -> bool {
        let metainfo = &self.truth.shares[share].metainfo;
        self.backing.has(Key::Torrent(metainfo.info_hash()))
            && metainfo.pieces().iter().all(|piece| self.backing.has(Key::Chunk(piece.chunk)))
    }

    /// Whether a node has a share of its own, rather than from others.
    pub(super) fn owns(&self, node: usize, share: usize) -> bool {
        self.users.iter().any(|task| {
            task.plan.peer == node && task.plan.share == share && matches!(task.plan.want, Want::Share { .. })
        })
    }

    fn pause(&mut self, node: usize, lasts: Duration) -> bool {
        let free = self.nodes[node].up() && self.nodes[node].paused_until <= self.now;
        if free {
            let until: Instant = self.now + lasts;
            self.nodes[node].paused_until = until;
            let life = self.nodes[node].life;
            self.heap.push(until, Event::Resume { node, life });
        }
        free
    }
}
