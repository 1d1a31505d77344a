//! The election, checked exhaustively: three fronts run the real machine, and every order of events within the
//! bounds below is tried.
//!
//! The network keeps every message that was ever sent and may deliver any of them at any time, again and again, or
//! never: it loses, delays, repeats and reorders. Time is abstract: a front's clock stands still until the checker
//! wakes it, at any moment, so clocks drift without bound and time-outs strike whenever they like. Promises and
//! pre-votes only keep elections from being held: here nobody promises, and every pre-vote is granted at once.
//! Leases, which rely on clocks, are judged in the simulation. A crash forgets everything but the ballot on disk,
//! and a write under way may have reached the disk or not.

use std::collections::BTreeSet;
use std::time::{Duration, Instant as WallClock};

use kollator_core::cluster::FrontId;
use kollator_core::cluster::election::{Ballot, Election, ElectionConfig, ElectionOutput};
use kollator_core::cluster::saved::RecoveredBallot;
use kollator_core::machine::Instant;
use kollator_core::wire::sync::ElectionMessage;
use stateright::{Checker, Model, Property};

const FRONTS: u8 = 3;

/// A bug put into the world on purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plant {
    /// The driver says that a ballot is on disk when it has only begun to write.
    PersistedTooEarly,
    /// A crash loses the vote of the ballot.
    VoteForgotten,
}

/// The world and its bounds: without them there would be no end of terms.
#[derive(Clone, Copy)]
struct Cluster {
    /// No front goes beyond this term.
    terms: u64,
    /// How often all fronts together look for votes.
    time_outs: u8,
    /// How often fronts crash.
    crashes: u8,
    /// How often leaders wake: to send more heartbeats, or to step down.
    leader_wakes: u8,
    plant: Option<Plant>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Front {
    election: Election,
    disk: Ballot,
    writing: Option<Ballot>,
    /// Its clock: moved only by its own wake-ups.
    now: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    fronts: Vec<Front>,
    /// Every message that was ever sent, with its sender and receiver.
    sent: BTreeSet<(FrontId, FrontId, ElectionMessage)>,
    time_outs: u8,
    crashes: u8,
    leader_wakes: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Deliver(FrontId, FrontId, ElectionMessage),
    Wake(FrontId),
    Persisted(FrontId),
    Crash { front: FrontId, written: bool },
}

impl Cluster {
    fn start(id: FrontId, disk: Ballot) -> Election {
        let mut config = ElectionConfig::new(id, FRONTS, 1);
        // A time unit is a nanosecond, and no time-out is left to chance. Nobody promises anything: a promise only
        // keeps votes from being given.
        config.heartbeat = Duration::from_nanos(1);
        config.timeout = Duration::from_nanos(2)..Duration::from_nanos(3);
        (config.promise, config.lease) = (Duration::ZERO, Duration::ZERO);
        let Ballot { term, voted_for } = disk;
        let fresh = disk == Ballot::default();
        let kept = RecoveredBallot::Kept { term, voted_for };
        Election::new(config, if fresh { RecoveredBallot::Fresh } else { kept })
    }

    /// Whether delivering `message` could change what is judged: pre-votes are granted without messages, and an
    /// acknowledgement tells a leader only that it need not step down.
    const fn matters(&self, message: ElectionMessage) -> bool {
        match message {
            ElectionMessage::PreVote { .. } | ElectionMessage::PreVoteReply { .. } => false,
            ElectionMessage::HeartbeatReply { round, .. } => round == 0 || self.leader_wakes > 0,
            ElectionMessage::Vote { .. }
            | ElectionMessage::VoteReply { .. }
            | ElectionMessage::Heartbeat { .. } => true,
        }
    }

    /// Takes what a machine wants done.
    fn drain(&self, state: &mut State, id: FrontId) {
        let front = &mut state.fronts[usize::from(id.0)];
        while let Some(output) = front.election.poll() {
            match output {
                ElectionOutput::Persist(ballot) => {
                    front.writing = Some(ballot);
                    if self.plant == Some(Plant::PersistedTooEarly) {
                        front.election.persisted(front.now, ballot);
                    }
                }
                ElectionOutput::Send { to, message } if self.matters(message) => {
                    state.sent.insert((id, to, message));
                }
                ElectionOutput::Send { .. } => {}
                ElectionOutput::Changed(_) => {}
            }
        }
    }
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let front = |id| {
            let disk = Ballot::default();
            Front { election: Self::start(FrontId(id), disk), disk, writing: None, now: Instant::ZERO }
        };
        let fronts = (0..FRONTS).map(front).collect();
        vec![State { fronts, sent: BTreeSet::new(), time_outs: 0, crashes: 0, leader_wakes: 0 }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.time_outs == 0 {
            // All fronts are alike until the first of them wakes.
            actions.push(Action::Wake(FrontId(0)));
            return;
        }
        actions.extend(state.sent.iter().map(|&(from, to, message)| Action::Deliver(from, to, message)));
        for (id, front) in (0..FRONTS).map(FrontId).zip(&state.fronts) {
            if front.election.next_wake().is_some() {
                actions.push(Action::Wake(id));
            }
            if front.writing.is_some() {
                actions.push(Action::Persisted(id));
            }
            if state.crashes < self.crashes {
                actions.push(Action::Crash { front: id, written: false });
                if front.writing.is_some() {
                    actions.push(Action::Crash { front: id, written: true });
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let id = match action {
            Action::Deliver(_, id, _) | Action::Wake(id) | Action::Persisted(id) => id,
            Action::Crash { front, .. } => front,
        };
        let front = &mut state.fronts[usize::from(id.0)];
        match action {
            Action::Deliver(from, _, message) => front.election.message(front.now, from, message),
            Action::Wake(_) => {
                let leads = front.election.standing().leader == Some(id);
                let (count, most) = match leads {
                    true => (&mut state.leader_wakes, self.leader_wakes),
                    false => (&mut state.time_outs, self.time_outs),
                };
                if *count == most {
                    return None;
                }
                *count += 1;
                front.now = front.election.next_wake()?;
                front.election.wake(front.now);
                if !leads {
                    let (other, term) = (FrontId((id.0 + 1) % FRONTS), front.election.standing().term + 1);
                    let granted = ElectionMessage::PreVoteReply { term, granted: true };
                    front.election.message(front.now, other, granted);
                }
            }
            Action::Persisted(_) => {
                front.disk = front.writing.take()?;
                front.election.persisted(front.now, front.disk);
            }
            Action::Crash { written, .. } => {
                if written {
                    front.disk = front.writing?;
                }
                if self.plant == Some(Plant::VoteForgotten) {
                    front.disk.voted_for = None;
                }
                let election = Self::start(id, front.disk);
                *front = Front { election, disk: front.disk, writing: None, now: Instant::ZERO };
                state.crashes += 1;
            }
        }
        self.drain(&mut state, id);
        (state != *last).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        let terms = state.fronts.iter().map(|front| front.election.standing().term);
        terms.max() <= Some(self.terms)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one leader a term", |_, state: &State| {
                let mut leaders = BTreeSet::new();
                // Whoever leads says so at once, and what was said is never forgotten.
                leaders.extend(state.sent.iter().filter_map(|&(from, _, message)| match message {
                    ElectionMessage::Heartbeat { term, .. } => Some((term, from)),
                    _ => None,
                }));
                unique(&leaders)
            }),
            Property::always("one vote a term", |_, state: &State| {
                (0..FRONTS).map(FrontId).all(|voter| {
                    let votes = state.sent.iter().filter_map(|&(from, to, message)| match message {
                        ElectionMessage::Vote { term } if from == voter => Some((term, voter)),
                        ElectionMessage::VoteReply { term, granted: true } if from == voter => Some((term, to)),
                        _ => None,
                    });
                    unique(&votes.collect())
                })
            }),
            Property::sometimes("a second leader is elected", |_, state: &State| {
                let second = ElectionMessage::Heartbeat { term: 2, round: 1 };
                state.sent.iter().any(|&(.., message)| message == second)
            }),
        ]
    }
}

/// Whether no term occurs with two fronts.
fn unique(pairs: &BTreeSet<(u64, FrontId)>) -> bool {
    pairs.iter().zip(pairs.iter().skip(1)).all(|(one, next)| one.0 != next.0)
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of states is what this test is read for")]
fn no_order_of_events_elects_two_leaders_in_a_term() {
    let worlds = [
        ("a crash between terms", Cluster { terms: 2, time_outs: 2, crashes: 1, leader_wakes: 0, plant: None }),
        ("a crash, and leaders that step down", {
            Cluster { terms: 1, time_outs: 2, crashes: 1, leader_wakes: 1, plant: None }
        }),
        ("all stand at once", Cluster { terms: 1, time_outs: 3, crashes: 1, leader_wakes: 0, plant: None }),
    ];
    for (name, cluster) in worlds {
        let began = WallClock::now();
        let checker = cluster.checker().threads(2).spawn_bfs().join();
        println!(
            "{name}: {} states, {} of them different, {} steps deep, {:.1} s",
            checker.state_count(),
            checker.unique_state_count(),
            checker.max_depth(),
            began.elapsed().as_secs_f64()
        );
        assert!(checker.is_done());
        checker.assert_no_discovery("one leader a term");
        checker.assert_no_discovery("one vote a term");
        if cluster.terms > 1 {
            checker.assert_any_discovery("a second leader is elected");
        }
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of states is what this test is read for")]
fn the_checker_sees_a_bug() {
    for (plant, seen) in [
        (Plant::VoteForgotten, "one vote a term"),
        (Plant::VoteForgotten, "one leader a term"),
        (Plant::PersistedTooEarly, "one vote a term"),
        (Plant::PersistedTooEarly, "one leader a term"),
    ] {
        let cluster = Cluster { terms: 1, time_outs: 2, crashes: 1, leader_wakes: 0, plant: Some(plant) };
        let checker = cluster.checker().spawn_bfs().join();
        let path = checker.discovery(seen).unwrap_or_else(|| panic!("{seen} is not seen to be broken"));
        println!(
            "{seen}: broken after {} steps, {} states",
            path.into_actions().len(),
            checker.unique_state_count()
        );
    }
}
