//! Who leads the fronts: at most one of them in any term, and at most one at any time that holds a lease.
//!
//! The rules and their reasons are in `docs/election.md`; E1 to E20 below are its numbers. There is no log to
//! agree on, as there is in Raft: what the leader publishes is fenced by its term. This machine never says
//! anything that relies on a ballot before that ballot is on disk.

mod config;
mod lead;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

pub use config::ElectionConfig;
use lead::Lead;

use crate::cluster::FrontId;
use crate::cluster::saved::RecoveredBallot;
use crate::machine::{Instant, Outbox, Rng, earliest};
use crate::wire::sync::ElectionMessage;

/// E4: terms that are further ahead than this are not believed. At ten elections a second it is 13 years.
pub const MAX_TERM_JUMP: u64 = 1 << 32;
/// E9: what stands in place of a round that is not acknowledged.
const NO_ROUND: u64 = 0;
/// E18: a bit that makes a question's number one that no round of heartbeats reaches.
const NOT_A_ROUND: u64 = 1 << 61;

/// The durable part of a front's opinion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// The newest term this front has been in; 0 before the first.
    pub term: u64,
    /// For whom it voted in that term. After a lost ballot its own name stands for a vote nobody may have.
    pub voted_for: Option<FrontId>,
}

/// What a front is in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A majority voted for it.
    Leader,
    /// It waits for a leader's word.
    Follower,
    /// It looks for a majority: asks who would vote for it, or asks for votes.
    Candidate,
}

/// Where a front stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// What it is.
    pub role: Role,
    /// The term it is in.
    pub term: u64,
    /// Who leads that term, as far as it knows.
    pub leader: Option<FrontId>,
}

/// What an election wants done, and what it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElectionOutput {
    /// Make this ballot durable in place of any earlier one, then call [`Election::persisted`]. There is never a
    /// second one before that answer. If writing fails, do not answer: the front goes on without votes.
    Persist(Ballot),
    /// Tell a front, if it can be reached. Losing, delaying, repeating or reordering does no harm.
    Send {
        /// Whom.
        to: FrontId,
        /// What.
        message: ElectionMessage,
    },
    /// The front stands elsewhere than before.
    Changed(Standing),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Follower(Option<Following>),
    /// Asks who would vote for it in the next term.
    PreCandidate {
        granted: BTreeSet<FrontId>,
    },
    /// Asks for votes in this term.
    Candidate {
        votes: BTreeSet<FrontId>,
    },
    Leader(Lead),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Following {
    leader: FrontId,
    heard: Instant,
    /// The round of heartbeats to acknowledge once the ballot is on disk.
    owed: Option<u64>,
}

/// E17: the time of a front that does not know how it voted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Abstention {
    /// Tells answers to this life's question from those to an earlier one's.
    question: u64,
    ask_at: Instant,
    /// Which fronts said in which term they are.
    answered: BTreeSet<FrontId>,
}

/// The machine. See the module's documentation.
///
/// It begins at [`Instant::ZERO`], which must not be before the process that drives it began: promises of an
/// earlier process are kept by counting from there (E14).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Election {
    config: ElectionConfig,
    /// The newest ballot, on disk or on its way.
    ballot: Ballot,
    /// The ballot that is on disk.
    durable: Ballot,
    /// The ballot that is being written.
    writing: Option<Ballot>,
    state: State,
    abstention: Option<Abstention>,
    promised_until: Instant,
    /// When to look for votes, unless a leader is heard before.
    election_at: Instant,
    told: Standing,
    out: Outbox<ElectionOutput>,
}

impl Election {
    /// A front that begins with what an earlier run left. After [`RecoveredBallot::Lost`], the driver must report
    /// the loss again at the next start unless a ballot became durable before.
    ///
    /// # Panics
    /// If a setting is out of range, or the lease is not safe at the stated drift of clocks.
    #[must_use]
    pub fn new(config: ElectionConfig, recovered: RecoveredBallot) -> Self {
        config.check();
        let (durable, abstention) = match recovered {
            RecoveredBallot::Fresh => (Ballot::default(), None),
            RecoveredBallot::Kept { term, voted_for } => (Ballot { term, voted_for }, None),
            RecoveredBallot::Lost => {
                let question = Rng::new(config.seed).next_u64() >> 3 | NOT_A_ROUND;
                let abstention = Abstention { question, ask_at: Instant::ZERO, answered: BTreeSet::new() };
                (Ballot::default(), Some(abstention))
            }
        };
        let standing = Standing { role: Role::Follower, term: durable.term, leader: None };
        let mut election = Self {
            ballot: durable,
            durable,
            writing: None,
            state: State::Follower(None),
            abstention,
            promised_until: Instant::ZERO,
            election_at: Instant::ZERO,
            told: standing,
            out: Outbox::default(),
            config,
        };
        if election.abstention.is_some() {
            let spent = Some(election.config.id);
            election.ballot = Ballot { term: election.config.floor, voted_for: spent };
            election.end_abstention();
        }
        if election.config.fronts == 1 {
            election.stand(Instant::ZERO); // E16
        } else {
            election.promised_until = Instant::ZERO + election.config.promise; // E14
            election.rest(Instant::ZERO);
        }
        election.tell();
        election
    }

    /// The next thing to do or to know.
    pub fn poll(&mut self) -> Option<ElectionOutput> {
        self.out.pop()
    }

    /// Where this front stands.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        let (role, leader) = match &self.state {
            State::Leader(_) => (Role::Leader, Some(self.config.id)),
            State::PreCandidate { .. } | State::Candidate { .. } => (Role::Candidate, None),
            State::Follower(Some(following)) => (Role::Follower, Some(following.leader)),
            State::Follower(None) => (Role::Follower, None),
        };
        Standing { role, term: self.ballot.term, leader }
    }

    /// Whether this front leads and no other front can lead at `now`.
    #[must_use]
    pub fn has_lease(&self, now: Instant) -> bool {
        self.lease_until().is_some_and(|end| now < end)
    }

    /// When this leader's lease ends unless it is renewed; it may have ended already. `None` without one, and the
    /// end of time in a cluster of one.
    #[must_use]
    pub fn lease_until(&self) -> Option<Instant> {
        match &self.state {
            State::Leader(lead) => lead.lease_until(&self.config),
            _ => None,
        }
    }

    /// Whether this front was lately in touch with a majority: as a leader whom one acknowledged, or as a follower
    /// of a leader that it hears.
    #[must_use]
    pub fn has_quorum(&self, now: Instant) -> bool {
        match &self.state {
            State::Leader(lead) => lead.quorum_until(&self.config).is_none_or(|end| now < end),
            State::Follower(Some(following)) => now < following.heard + self.config.timeout.end,
            _ => false,
        }
    }

    /// A front said something. A `from` that is no other front of this network is ignored.
    pub fn message(&mut self, now: Instant, from: FrontId, message: ElectionMessage) {
        let believed = term_of(message) <= self.ballot.term.saturating_add(MAX_TERM_JUMP); // E4
        if !believed || !self.config.is_other(from) {
            return;
        }
        match message {
            ElectionMessage::PreVote { term } => self.asked_pre_vote(now, from, term),
            ElectionMessage::PreVoteReply { term, granted } => self.told_pre_vote(now, from, term, granted),
            ElectionMessage::Vote { term } => self.asked_vote(now, from, term),
            ElectionMessage::VoteReply { term, granted } => self.told_vote(now, from, term, granted),
            ElectionMessage::Heartbeat { term, round } => self.heartbeat(now, from, term, round),
            ElectionMessage::HeartbeatReply { term, round } => self.acknowledged(now, from, term, round),
        }
        self.tell();
    }

    /// `ballot` is on disk, whatever crashes. Ignored if it was not the one being written.
    pub fn persisted(&mut self, now: Instant, ballot: Ballot) {
        if self.writing != Some(ballot) {
            return;
        }
        self.writing = None;
        self.durable = ballot;
        if self.is_settled() {
            self.speak(now);
        } else {
            self.write();
        }
        self.tell();
    }

    /// Time passed.
    pub fn wake(&mut self, now: Instant) {
        match &self.state {
            State::Leader(lead) if lead.quorum_until(&self.config).is_some_and(|end| now >= end) => {
                self.step_down(now); // E15
            }
            State::Leader(lead) if lead.next_round(&self.config).is_some_and(|at| now >= at) => self.beat(now),
            State::Leader(_) => {}
            _ => {
                self.ask_terms(now);
                if self.may_look_for_votes() && now >= self.election_at {
                    self.look_for_votes(now);
                }
            }
        }
        self.tell();
    }

    /// When to call [`Election::wake`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        match &self.state {
            State::Leader(lead) => earliest([lead.next_round(&self.config), lead.quorum_until(&self.config)]),
            _ => earliest([
                self.abstention.as_ref().map(|abstention| abstention.ask_at),
                self.may_look_for_votes().then_some(self.election_at),
            ]),
        }
    }

    // Ballots

    /// Whether what this front thinks is on disk. While abstaining nothing is.
    fn is_settled(&self) -> bool {
        self.abstention.is_none() && self.ballot == self.durable
    }

    /// E1: a new ballot goes to disk, and what relies on it waits for [`Self::speak`].
    fn cast(&mut self, term: u64, voted_for: Option<FrontId>) {
        assert!(term >= self.ballot.term, "terms never go back");
        let changes = term > self.ballot.term || self.ballot.voted_for.is_none();
        assert!(changes || self.ballot.voted_for == voted_for, "a term has one vote");
        self.ballot = Ballot { term, voted_for };
        self.write();
    }

    /// E17: nothing is written while abstaining, or the next start would not know of the loss.
    fn write(&mut self) {
        if self.abstention.is_none() && self.writing.is_none() && self.ballot != self.durable {
            self.writing = Some(self.ballot);
            self.out.push(ElectionOutput::Persist(self.ballot));
        }
    }

    /// E1: the ballot is on disk: says what relies on it.
    fn speak(&mut self, now: Instant) {
        let Ballot { term, voted_for } = self.ballot;
        match &mut self.state {
            State::Candidate { .. } => {
                self.tell_others(ElectionMessage::Vote { term });
                self.count_votes(now);
            }
            State::Follower(following) => {
                let owed = following.as_mut().and_then(|f| Some((f.leader, f.owed.take()?)));
                if let Some((leader, round)) = owed {
                    self.send(leader, ElectionMessage::HeartbeatReply { term, round });
                }
                if let Some(candidate) = voted_for.filter(|&front| front != self.config.id) {
                    self.send(candidate, ElectionMessage::VoteReply { term, granted: true });
                }
            }
            State::PreCandidate { .. } | State::Leader(_) => {
                unreachable!("nobody looks for votes or leads while a ballot is on its way")
            }
        }
        if !matches!(self.state, State::Leader(_)) {
            self.rest(now); // E5
        }
    }

    /// E3: a later term begins, of which nothing is known yet.
    fn adopt(&mut self, now: Instant, term: u64) {
        if term <= self.ballot.term {
            return;
        }
        let led = matches!(self.state, State::Leader(_));
        self.state = State::Follower(None);
        // E17: a front that does not know how it voted has no vote in any term that it hears of.
        let spent = self.abstention.is_some().then_some(self.config.id);
        self.cast(term, spent);
        if led {
            self.rest(now);
        }
    }

    /// E13, E14: whether a leader was heard, or may have been heard by an earlier life, so lately that its lease
    /// may run. A leader hears itself.
    fn is_promised(&self, now: Instant) -> bool {
        now < self.promised_until || matches!(self.state, State::Leader(_))
    }

    // Elections

    /// E5: the time to wait for a leader begins anew. Its length is decided by seed and moment alone, so that a
    /// repeated message leaves no trace and the states of this machine can be enumerated.
    fn rest(&mut self, now: Instant) {
        let range = &self.config.timeout;
        let spread = u64::try_from((range.end - range.start).as_nanos()).unwrap_or(u64::MAX);
        let chance = Rng::new(self.config.seed.wrapping_add(now.as_nanos())).below(spread);
        self.election_at = now + range.start + Duration::from_nanos(chance);
    }

    fn may_look_for_votes(&self) -> bool {
        self.config.fronts > 1 && self.is_settled()
    }

    /// E5, E10: no leader was heard, or the votes did not suffice.
    fn look_for_votes(&mut self, now: Instant) {
        self.rest(now);
        let Some(term) = self.ballot.term.checked_add(1) else { return };
        self.state = State::PreCandidate { granted: BTreeSet::new() };
        self.tell_others(ElectionMessage::PreVote { term });
    }

    /// E6
    fn asked_pre_vote(&mut self, now: Instant, from: FrontId, term: u64) {
        if self.abstention.is_some() {
            return; // E17
        }
        let granted = term > self.ballot.term && !self.is_promised(now);
        let term = if granted { term } else { self.ballot.term };
        self.send(from, ElectionMessage::PreVoteReply { term, granted });
    }

    /// E7: a majority would vote for this front.
    fn told_pre_vote(&mut self, now: Instant, from: FrontId, term: u64, granted: bool) {
        if !granted {
            return self.adopt(now, term);
        }
        let State::PreCandidate { granted } = &mut self.state else { return };
        if self.ballot.term.checked_add(1) == Some(term) {
            granted.insert(from);
            if granted.len() + 1 >= self.config.majority() {
                self.stand(now);
            }
        }
    }

    /// E7: votes for itself, which like any vote must be on disk before anybody hears of it.
    fn stand(&mut self, now: Instant) {
        let Some(term) = self.ballot.term.checked_add(1) else { return };
        assert!(now >= self.promised_until, "a front would break its promise by standing itself");
        self.state = State::Candidate { votes: BTreeSet::new() };
        self.cast(term, Some(self.config.id));
    }

    /// E2
    fn asked_vote(&mut self, now: Instant, from: FrontId, term: u64) {
        if self.abstention.is_some() {
            return; // E17
        }
        let own = self.ballot;
        let free = term > own.term || (term == own.term && own.voted_for.is_none_or(|front| front == from));
        if !free || self.is_promised(now) {
            return self.send(from, ElectionMessage::VoteReply { term: own.term, granted: false });
        }
        let vote = Ballot { term, voted_for: Some(from) };
        if vote != own {
            self.state = State::Follower(None);
            self.cast(vote.term, vote.voted_for);
        } else if self.is_settled() {
            self.send(from, ElectionMessage::VoteReply { term, granted: true });
        }
    }

    fn told_vote(&mut self, now: Instant, from: FrontId, term: u64, granted: bool) {
        self.adopt(now, term);
        if let State::Candidate { votes } = &mut self.state
            && granted
            && term == self.ballot.term
        {
            votes.insert(from);
            self.count_votes(now);
        }
    }

    /// E8: a majority voted for this front.
    fn count_votes(&mut self, now: Instant) {
        let State::Candidate { votes } = &self.state else { return };
        if votes.len() + 1 >= self.config.majority() && self.is_settled() {
            self.state = State::Leader(Lead::new(now));
            self.beat(now);
        }
    }

    // Leading and following

    /// E11: sends a round of heartbeats.
    fn beat(&mut self, now: Instant) {
        let State::Leader(lead) = &mut self.state else { return };
        if self.config.fronts > 1 {
            let round = lead.begin(now, &self.config);
            self.tell_others(ElectionMessage::Heartbeat { term: self.ballot.term, round });
        }
    }

    /// E9
    fn heartbeat(&mut self, now: Instant, from: FrontId, term: u64, round: u64) {
        let own = self.ballot.term;
        if term == 0 {
            if self.abstention.is_none() {
                self.send(from, ElectionMessage::HeartbeatReply { term: own, round }); // E18
            }
            return;
        }
        if term < own {
            // Its sender may lead our term by now, with a round of that number.
            return self.send(from, ElectionMessage::HeartbeatReply { term: own, round: NO_ROUND });
        }
        self.adopt(now, term);
        match &self.state {
            State::Leader(_) => return,                                             // E20
            State::Follower(Some(following)) if following.leader != from => return, // E20
            _ => {}
        }
        self.promised_until = now + self.config.promise; // E13
        self.rest(now);
        // E1, E17: a front that may forget this term would acknowledge the leader of an earlier one next.
        let owed = (!self.is_settled()).then_some(round);
        self.state = State::Follower(Some(Following { leader: from, heard: now, owed }));
        if owed.is_none() {
            self.send(from, ElectionMessage::HeartbeatReply { term, round });
        }
    }

    fn acknowledged(&mut self, now: Instant, from: FrontId, term: u64, round: u64) {
        self.adopt(now, term);
        if let Some(abstention) = &mut self.abstention {
            if round == abstention.question {
                abstention.answered.insert(from);
                self.end_abstention();
            }
        } else if let State::Leader(lead) = &mut self.state
            && term == self.ballot.term
        {
            lead.acknowledge(from, round);
        }
    }

    fn step_down(&mut self, now: Instant) {
        self.state = State::Follower(None);
        self.rest(now);
    }

    // Abstention

    /// E18: asks those in which term they are that have not said so.
    fn ask_terms(&mut self, now: Instant) {
        let Some(abstention) = self.abstention.as_mut().filter(|abstention| now >= abstention.ask_at) else {
            return;
        };
        abstention.ask_at = now + self.config.timeout.start;
        let message = ElectionMessage::Heartbeat { term: 0, round: abstention.question };
        let silent: Vec<_> = self.config.others().filter(|front| !abstention.answered.contains(front)).collect();
        for front in silent {
            self.send(front, message);
        }
    }

    /// E19: once every other front has said its term, no vote of an earlier life can be above the highest.
    fn end_abstention(&mut self) {
        let Some(abstention) = &self.abstention else { return };
        if abstention.answered.len() + 1 == usize::from(self.config.fronts) {
            self.abstention = None;
            self.write();
        }
    }

    // Talking

    fn tell_others(&mut self, message: ElectionMessage) {
        for to in self.config.others() {
            self.send(to, message);
        }
    }

    fn send(&mut self, to: FrontId, message: ElectionMessage) {
        self.out.push(ElectionOutput::Send { to, message });
    }

    /// Reports where this front stands if that is news.
    fn tell(&mut self) {
        let standing = self.standing();
        if standing != self.told {
            self.told = standing;
            self.out.push(ElectionOutput::Changed(standing));
        }
    }
}

const fn term_of(message: ElectionMessage) -> u64 {
    match message {
        ElectionMessage::PreVote { term }
        | ElectionMessage::PreVoteReply { term, .. }
        | ElectionMessage::Vote { term }
        | ElectionMessage::VoteReply { term, .. }
        | ElectionMessage::Heartbeat { term, .. }
        | ElectionMessage::HeartbeatReply { term, .. } => term,
    }
}
