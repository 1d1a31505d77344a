//! Single rules of an election, one front at a time. Whole elections are simulated, and checked exhaustively, in
//! the simulator's crate.

use proptest::prelude::*;

use super::*;

const ME: FrontId = FrontId(0);
const ONE: FrontId = FrontId(1);
const TWO: FrontId = FrontId(2);

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn config(fronts: u8) -> ElectionConfig {
    ElectionConfig::new(ME, fronts, 7)
}

/// A front, and the disk that answers at once unless told otherwise.
struct Front {
    election: Election,
    slow: bool,
    said: Vec<(FrontId, ElectionMessage)>,
    writes: Vec<Ballot>,
}

impl Front {
    fn new(fronts: u8, recovered: RecoveredBallot) -> Self {
        Self::with(config(fronts), recovered)
    }

    fn with(config: ElectionConfig, recovered: RecoveredBallot) -> Self {
        let election = Election::new(config, recovered);
        let mut front = Self { election, slow: false, said: Vec::new(), writes: Vec::new() };
        front.drain(at(0));
        front
    }

    fn drain(&mut self, now: Instant) {
        let mut news = None;
        while let Some(output) = self.election.poll() {
            match output {
                ElectionOutput::Persist(ballot) => {
                    self.writes.push(ballot);
                    if !self.slow {
                        self.election.persisted(now, ballot);
                    }
                }
                ElectionOutput::Send { to, message } => self.said.push((to, message)),
                ElectionOutput::Changed(standing) => news = Some(standing),
            }
        }
        assert!(news.is_none_or(|standing| standing == self.election.standing()));
    }

    /// What it says to `message`.
    fn hear(&mut self, ms: u64, from: FrontId, message: ElectionMessage) -> Vec<(FrontId, ElectionMessage)> {
        self.election.message(at(ms), from, message);
        self.drain(at(ms));
        std::mem::take(&mut self.said)
    }

    /// Lets time pass until `ms`; what it says meanwhile.
    fn wait(&mut self, ms: u64) -> Vec<(FrontId, ElectionMessage)> {
        while let Some(wake) = self.election.next_wake().filter(|&wake| wake <= at(ms)) {
            self.election.wake(wake);
            self.drain(wake);
        }
        std::mem::take(&mut self.said)
    }

    /// Makes it the leader of the next term at 800 ms.
    fn lead(&mut self) -> u64 {
        let term = self.election.standing().term + 1;
        self.wait(800);
        self.hear(800, ONE, ElectionMessage::PreVoteReply { term, granted: true });
        self.hear(800, ONE, ElectionMessage::VoteReply { term, granted: true });
        assert_eq!(self.election.standing(), Standing { role: Role::Leader, term, leader: Some(ME) });
        term
    }
}

#[test]
fn a_cluster_of_one_leads_at_once_and_for_ever() {
    for recovered in
        [RecoveredBallot::Fresh, RecoveredBallot::Kept { term: 8, voted_for: Some(ME) }, RecoveredBallot::Lost]
    {
        let floor = 5;
        let front = Front::with(ElectionConfig { floor, ..config(1) }, recovered);
        let standing = front.election.standing();
        assert_eq!((standing.role, standing.leader), (Role::Leader, Some(ME)));
        match recovered {
            RecoveredBallot::Fresh => assert_eq!(standing.term, 1),
            RecoveredBallot::Kept { term, .. } => assert_eq!(standing.term, term + 1),
            RecoveredBallot::Lost => assert_eq!(standing.term, floor + 1),
        }
        assert_eq!(front.writes.last().map(|ballot| ballot.term), Some(standing.term));
        assert!(front.election.has_lease(at(1_000_000_000)) && front.election.has_quorum(at(1_000_000_000)));
        assert_eq!(front.election.next_wake(), None);
    }
}

#[test]
fn a_vote_waits_for_the_disk() {
    let mut front = Front::new(3, RecoveredBallot::Fresh);
    front.slow = true;
    assert_eq!(front.hear(400, ONE, ElectionMessage::Vote { term: 1 }), []);
    let ballot = Ballot { term: 1, voted_for: Some(ONE) };
    assert_eq!(front.writes, [ballot]);
    assert_eq!(front.hear(401, ONE, ElectionMessage::Vote { term: 1 }), []);
    front.election.persisted(at(450), Ballot::default());
    front.election.persisted(at(450), ballot);
    front.drain(at(450));
    assert_eq!(front.said, [(ONE, ElectionMessage::VoteReply { term: 1, granted: true })]);
}

#[test]
fn a_vote_that_was_overtaken_is_never_given() {
    let mut front = Front::new(3, RecoveredBallot::Fresh);
    front.slow = true;
    front.hear(400, ONE, ElectionMessage::Vote { term: 1 });
    assert_eq!(front.hear(401, TWO, ElectionMessage::Vote { term: 2 }), []);
    assert_eq!(front.writes.len(), 1, "one write at a time");
    for ballot in [Ballot { term: 1, voted_for: Some(ONE) }, Ballot { term: 2, voted_for: Some(TWO) }] {
        assert_eq!(front.said, []);
        assert_eq!(front.writes.last(), Some(&ballot));
        front.election.persisted(at(500), ballot);
        front.drain(at(500));
    }
    assert_eq!(front.said, [(TWO, ElectionMessage::VoteReply { term: 2, granted: true })]);
}

#[test]
fn a_kept_vote_is_not_given_to_another() {
    let mut front = Front::new(3, RecoveredBallot::Kept { term: 4, voted_for: Some(ONE) });
    let refused = ElectionMessage::VoteReply { term: 4, granted: false };
    assert_eq!(front.hear(400, TWO, ElectionMessage::Vote { term: 4 }), [(TWO, refused)]);
    assert_eq!(front.hear(400, TWO, ElectionMessage::Vote { term: 3 }), [(TWO, refused)]);
    let granted = ElectionMessage::VoteReply { term: 4, granted: true };
    assert_eq!(front.hear(400, ONE, ElectionMessage::Vote { term: 4 }), [(ONE, granted)]);
}

#[test]
fn nobody_gets_a_vote_while_a_leader_may_have_its_lease() {
    let mut front = Front::new(3, RecoveredBallot::Fresh);
    let refused = |term| [(TWO, ElectionMessage::VoteReply { term, granted: false })];
    let pre_refused = |term| [(TWO, ElectionMessage::PreVoteReply { term, granted: false })];
    assert_eq!(front.hear(399, TWO, ElectionMessage::Vote { term: 9 }), refused(0));
    front.hear(399, ONE, ElectionMessage::Heartbeat { term: 3, round: 1 });
    assert_eq!(front.hear(798, TWO, ElectionMessage::Vote { term: 9 }), refused(3));
    assert_eq!(front.hear(798, TWO, ElectionMessage::PreVote { term: 9 }), pre_refused(3));
    assert_eq!(front.election.standing().term, 3, "the request of one that gets no vote changes nothing");
    let granted = ElectionMessage::PreVoteReply { term: 9, granted: true };
    assert_eq!(front.hear(799, TWO, ElectionMessage::PreVote { term: 9 }), [(TWO, granted)]);
}

#[test]
fn a_lease_runs_from_the_sending_of_the_round() {
    let mut front = Front::new(3, RecoveredBallot::Fresh);
    let term = front.lead();
    assert!(!front.election.has_lease(at(800)));
    front.wait(1_000); // Rounds 2 and 3, at 900 and 1000 ms.
    front.hear(1_050, TWO, ElectionMessage::HeartbeatReply { term, round: 2 });
    assert_eq!(front.election.lease_until(), Some(at(900 + 390)));
    front.hear(1_060, ONE, ElectionMessage::HeartbeatReply { term, round: 1 });
    front.hear(1_060, ONE, ElectionMessage::HeartbeatReply { term, round: 77 });
    assert_eq!(front.election.lease_until(), Some(at(900 + 390)));
    assert!(front.election.has_lease(at(1_289)) && !front.election.has_lease(at(1_290)));
}

#[test]
fn a_leader_without_a_majority_steps_down() {
    let mut front = Front::new(5, RecoveredBallot::Fresh);
    front.wait(800);
    for other in [ONE, TWO] {
        front.hear(800, other, ElectionMessage::PreVoteReply { term: 1, granted: true });
    }
    for other in [ONE, TWO] {
        front.hear(800, other, ElectionMessage::VoteReply { term: 1, granted: true });
    }
    for ms in (900..1_500).step_by(100) {
        front.wait(ms);
        let round = (ms - 800) / 100 + 1;
        front.hear(ms, ONE, ElectionMessage::HeartbeatReply { term: 1, round });
    }
    assert!(front.election.has_quorum(at(1_599)));
    front.wait(1_599);
    assert_eq!(front.election.standing().role, Role::Leader);
    front.wait(1_600);
    assert_eq!(front.election.standing(), Standing { role: Role::Follower, term: 1, leader: None });
    assert!(!front.election.has_quorum(at(1_600)));
}

#[test]
fn a_leader_hears_of_a_later_term() {
    let mut front = Front::new(3, RecoveredBallot::Fresh);
    let term = front.lead();
    front.hear(801, ONE, ElectionMessage::HeartbeatReply { term: term + 1, round: 1 });
    assert_eq!(front.election.standing(), Standing { role: Role::Follower, term: term + 1, leader: None });
    assert_eq!(front.election.lease_until(), None);
}

#[test]
fn a_heartbeat_of_an_earlier_term_is_not_acknowledged() {
    let mut front = Front::new(3, RecoveredBallot::Kept { term: 3, voted_for: Some(ONE) });
    let said = front.hear(500, ONE, ElectionMessage::Heartbeat { term: 2, round: 4 });
    assert_eq!(said, [(ONE, ElectionMessage::HeartbeatReply { term: 3, round: 0 })]);
    assert_eq!(front.election.standing().leader, None);
}

#[test]
fn a_candidate_follows_the_leader_of_its_term() {
    let mut front = Front::new(3, RecoveredBallot::Fresh);
    front.wait(800);
    front.hear(800, ONE, ElectionMessage::PreVoteReply { term: 1, granted: true });
    assert_eq!(front.election.standing().role, Role::Candidate);
    let said = front.hear(801, TWO, ElectionMessage::Heartbeat { term: 1, round: 5 });
    assert_eq!(said, [(TWO, ElectionMessage::HeartbeatReply { term: 1, round: 5 })]);
    assert_eq!(front.election.standing(), Standing { role: Role::Follower, term: 1, leader: Some(TWO) });
}

#[test]
fn a_lost_ballot_abstains_until_all_others_said_their_term() {
    let mut front = Front::new(3, RecoveredBallot::Lost);
    let said = front.wait(0);
    let (_, ElectionMessage::Heartbeat { term: 0, round }) = said[0] else { panic!("{said:?}") };
    assert_eq!(said.iter().map(|&(to, _)| to).collect::<Vec<_>>(), [ONE, TWO]);
    for message in [
        ElectionMessage::Vote { term: 9 },
        ElectionMessage::PreVote { term: 9 },
        ElectionMessage::Heartbeat { term: 2, round: 4 },
        ElectionMessage::Heartbeat { term: 0, round: 4 },
        ElectionMessage::HeartbeatReply { term: 6, round },
    ] {
        assert_eq!(front.hear(2_000, ONE, message), []);
    }
    // An answer to another life's question, then a question to the one that was silent.
    front.hear(2_000, TWO, ElectionMessage::HeartbeatReply { term: 5, round: round ^ 1 });
    assert_eq!(front.wait(2_000).last(), Some(&(TWO, ElectionMessage::Heartbeat { term: 0, round })));
    assert_eq!(front.writes, []);
    front.hear(2_001, TWO, ElectionMessage::HeartbeatReply { term: 5, round });
    assert_eq!(front.writes, [Ballot { term: 6, voted_for: Some(ME) }]);
    let refused = ElectionMessage::VoteReply { term: 6, granted: false };
    assert_eq!(front.hear(3_000, ONE, ElectionMessage::Vote { term: 6 }), [(ONE, refused)]);
    let granted = ElectionMessage::VoteReply { term: 7, granted: true };
    assert_eq!(front.hear(3_000, ONE, ElectionMessage::Vote { term: 7 }), [(ONE, granted)]);
}

#[test]
fn strangers_and_impossible_terms_are_ignored() {
    let mut front = Front::new(3, RecoveredBallot::Kept { term: 1, voted_for: None });
    for from in [ME, FrontId(3), FrontId(255)] {
        assert_eq!(front.hear(500, from, ElectionMessage::Vote { term: 2 }), []);
    }
    for term in [u64::MAX, 2 + MAX_TERM_JUMP] {
        assert_eq!(front.hear(500, ONE, ElectionMessage::Heartbeat { term, round: 1 }), []);
        assert_eq!(front.hear(500, ONE, ElectionMessage::PreVoteReply { term, granted: false }), []);
    }
    assert_eq!(front.election.standing().term, 1);
    front.hear(500, ONE, ElectionMessage::Heartbeat { term: 1 + MAX_TERM_JUMP, round: 1 });
    assert_eq!(front.election.standing().term, 1 + MAX_TERM_JUMP);
}

#[test]
fn after_the_last_term_nobody_stands() {
    let mut front = Front::new(3, RecoveredBallot::Kept { term: u64::MAX, voted_for: None });
    assert_eq!(front.wait(10_000), []);
    front.hear(10_000, ONE, ElectionMessage::PreVoteReply { term: 0, granted: true });
    front.hear(10_000, ONE, ElectionMessage::Heartbeat { term: u64::MAX, round: u64::MAX });
    assert_eq!(front.election.standing().leader, Some(ONE));
    let mut front = Front::new(1, RecoveredBallot::Kept { term: u64::MAX, voted_for: None });
    assert_eq!(front.wait(10_000), []);
    assert_eq!(front.election.standing().role, Role::Follower);
}

#[test]
#[should_panic(expected = "the lease outlives the promise if clocks drift")]
fn a_lease_that_ignores_drift_is_refused() {
    let settings = config(3);
    let lease = settings.promise;
    drop(Election::new(ElectionConfig { lease, ..settings }, RecoveredBallot::Fresh));
}

fn any_message() -> impl Strategy<Value = ElectionMessage> {
    let term = prop_oneof![0..5_u64, any::<u64>(), Just(u64::MAX), Just(MAX_TERM_JUMP)];
    (0..6, term, prop_oneof![0..20_u64, any::<u64>()], any::<bool>()).prop_map(|(kind, term, round, granted)| {
        match kind {
            0 => ElectionMessage::PreVote { term },
            1 => ElectionMessage::PreVoteReply { term, granted },
            2 => ElectionMessage::Vote { term },
            3 => ElectionMessage::VoteReply { term, granted },
            4 => ElectionMessage::Heartbeat { term, round },
            _ => ElectionMessage::HeartbeatReply { term, round },
        }
    })
}

fn any_recovered() -> impl Strategy<Value = RecoveredBallot> {
    let term = prop_oneof![0..5_u64, u64::MAX - 3..=u64::MAX];
    prop_oneof![
        Just(RecoveredBallot::Fresh),
        Just(RecoveredBallot::Lost),
        (term, proptest::option::of(0..4_u8))
            .prop_map(|(term, front)| { RecoveredBallot::Kept { term, voted_for: front.map(FrontId) } }),
    ]
}

proptest! {
    /// Whatever liars send in whatever order: no panic, terms never go back, a term has one vote, and no vote is
    /// given that is not on disk.
    #[test]
    fn liars_cannot_break_a_front(
        fronts in 1..5_u8,
        recovered in any_recovered(),
        steps in proptest::collection::vec((0..300_u64, 0..6_u8, any_message(), 0..6_u8), 0..200),
    ) {
        let mut election = Election::new(config(fronts), recovered);
        let mut now = 0;
        let mut disk = match recovered {
            RecoveredBallot::Kept { term, voted_for } => Ballot { term, voted_for },
            _ => Ballot::default(),
        };
        let mut writing = None;
        for (pause, from, message, what) in steps {
            now += pause;
            match what {
                0 => election.wake(at(now)),
                1 => if let Some(ballot) = writing.take() {
                    disk = ballot;
                    election.persisted(at(now), ballot);
                },
                _ => election.message(at(now), FrontId(from), message),
            }
            while let Some(output) = election.poll() {
                match output {
                    ElectionOutput::Persist(ballot) => {
                        prop_assert_eq!(writing, None);
                        prop_assert!(ballot.term >= disk.term);
                        prop_assert!(ballot.term > disk.term || disk.voted_for.is_none() || disk == Ballot::default());
                        writing = Some(ballot);
                    }
                    ElectionOutput::Send { to, message: ElectionMessage::VoteReply { term, granted: true } } => {
                        prop_assert_eq!(disk, Ballot { term, voted_for: Some(to) });
                    }
                    ElectionOutput::Send { message: ElectionMessage::Vote { term }, .. } => {
                        prop_assert_eq!(disk, Ballot { term, voted_for: Some(ME) });
                    }
                    ElectionOutput::Send { to, .. } => prop_assert!(to != ME && to.0 < fronts),
                    ElectionOutput::Changed(_) => {}
                }
            }
            prop_assert!(election.next_wake().is_none_or(|wake| wake > at(now)) || what != 0);
        }
    }
}
