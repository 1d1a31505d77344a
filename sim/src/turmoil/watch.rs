//! What fronts say of themselves, as an outsider hears it on `GET /health`, and what their disks say when they start.
//! [`Watch`] refuses what no front may ever say, over all lives of all fronts; it never looks into a front.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use kollator_core::cluster::FrontId;
use kollator_core::cluster::epoch::EpochNumber;
use kollator_core::cluster::saved::{Recovered, RecoveredBallot};
use kollator_runtime::net::http::{Limits, get};
use serde::Deserialize;

use super::SimNet;
use super::hosts::{Failure, url};

/// From an answer to the next question.
const PAUSE: Duration = Duration::from_millis(50);
/// A front that does not answer in this time says nothing.
const LIMITS: Limits = Limits { body: 64 << 10, time: Duration::from_secs(1) };

/// What a front said.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Health {
    /// `leader`, `follower` or `candidate`.
    pub role: String,
    /// The newest term it knows.
    pub term: u64,
    /// The leader of that term, if it knows one.
    pub leader: Option<String>,
    /// The epoch it goes by: term and number.
    pub epoch: (u64, u64),
    /// Whether it is in touch with a majority.
    pub quorum: bool,
    /// How many workers its clients can be given.
    pub workers: usize,
}

impl Health {
    /// Whether it says that it leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.role == "leader"
    }
}

/// What no front may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence(String);

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Offence {}

/// All that was heard.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Who led each term, by the word of anyone.
    leaders: BTreeMap<u64, String>,
    /// The newest term and epoch that each front spoke of, in all its lives.
    newest: BTreeMap<String, (u64, (u64, u64))>,
    /// What each front's disk kept of its vote when it started last.
    ballots: BTreeMap<String, (u64, Option<FrontId>)>,
    /// What those said that answered last time.
    now: BTreeMap<String, Health>,
}

impl Watch {
    /// A front answered.
    ///
    /// # Errors
    /// If another front led that term, or the front knew a later term or epoch before.
    pub fn hear(&mut self, front: &str, health: Health) -> Result<(), Offence> {
        let own = health.leads().then(|| front.to_owned());
        for leader in own.into_iter().chain(health.leader.clone()) {
            let first = self.leaders.entry(health.term).or_insert_with(|| leader.clone());
            if *first != leader {
                let term = health.term;
                return Err(Offence(format!("{first} and {leader} both led term {term}, says {front}")));
            }
        }
        let said = (health.term, health.epoch);
        let newest = self.newest.entry(front.to_owned()).or_insert(said);
        if said.0 < newest.0 || said.1 < newest.1 {
            return Err(Offence(format!("{front} went back from term and epoch {newest:?} to {said:?}")));
        }
        *newest = said;
        self.now.insert(front.to_owned(), health);
        Ok(())
    }

    /// A front did not answer.
    pub fn silence(&mut self, front: &str) {
        self.now.remove(front);
    }

    /// A front started, with what its disk kept.
    ///
    /// # Errors
    /// If the disk kept less than the front has said, or another vote than it kept before in that term.
    pub fn started(&mut self, front: &str, kept: &Recovered) -> Result<(), Offence> {
        let newest = self.newest.get(front).copied();
        let (term, vote) = match kept.ballot {
            RecoveredBallot::Kept { term, voted_for } => (term, voted_for),
            RecoveredBallot::Fresh if newest.is_none() => return Ok(()),
            forgotten => return Err(Offence(format!("{front} ran before and its ballot is {forgotten:?}"))),
        };
        let EpochNumber { term: of, n } = kept.epoch.number;
        if newest.is_some_and(|newest| term < newest.0 || (of, n) < newest.1) {
            let kept = (term, (of, n));
            return Err(Offence(format!("{front} said term and epoch {newest:?} and kept {kept:?}")));
        }
        match self.ballots.insert(front.to_owned(), (term, vote)) {
            Some((before, Some(first))) if before == term && vote != Some(first) => {
                Err(Offence(format!("{front} voted in term {term} for {first} and then for {vote:?}")))
            }
            _ => Ok(()),
        }
    }

    /// What a front said when it was asked last; `None` if it did not answer.
    #[must_use]
    pub fn of(&self, front: &str) -> Option<&Health> {
        self.now.get(front)
    }

    /// The leader, if all `fronts` say the same of leader, term and epoch, are in touch with a majority, and count
    /// on all `workers`.
    #[must_use]
    pub fn agreed(&self, fronts: &[&str], workers: usize) -> Option<String> {
        let first = self.of(fronts[0])?;
        let leader = first.leader.as_deref()?;
        let agrees = |front: &&str| {
            self.of(front).is_some_and(|health| {
                health.quorum
                    && health.workers == workers
                    && health.leads() == (*front == leader)
                    && (health.term, health.epoch) == (first.term, first.epoch)
                    && health.leader.as_deref() == Some(leader)
            })
        };
        fronts.iter().all(agrees).then(|| leader.to_owned())
    }
}

/// Asks a front again and again how it is; for a host of its own.
///
/// # Errors
/// At the first offence, or if the answer is none.
pub async fn attend(watch: Rc<RefCell<Watch>>, front: &str) -> Result<(), Failure> {
    let page = format!("{}/health", url(front));
    loop {
        match get(&SimNet, &page, LIMITS).await {
            Ok(answer) => watch.borrow_mut().hear(front, serde_json::from_slice(&answer.body)?)?,
            Err(_) => watch.borrow_mut().silence(front),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use kollator_core::cluster::epoch::Epoch;

    use super::*;

    fn health(role: &str, term: u64, leader: &str, epoch: (u64, u64)) -> Health {
        let leader = Some(leader.to_owned());
        Health { role: role.to_owned(), term, leader, epoch, quorum: true, workers: 1 }
    }

    fn kept(term: u64, voted_for: Option<FrontId>, (of, n): (u64, u64)) -> Recovered {
        let epoch = Epoch { number: EpochNumber { term: of, n }, members: Vec::new() };
        Recovered { ballot: RecoveredBallot::Kept { term, voted_for }, epoch, ..Recovered::default() }
    }

    #[test]
    fn a_term_has_one_leader_whoever_says_so() {
        let mut watch = Watch::default();
        watch.hear("a", health("leader", 1, "a", (1, 1))).expect("the first");
        watch.hear("a", health("leader", 3, "a", (1, 1))).expect("another term");
        assert!(watch.clone().hear("b", health("leader", 1, "b", (1, 1))).is_err());
        assert!(watch.hear("b", health("follower", 3, "c", (1, 1))).is_err());
    }

    #[test]
    fn a_front_goes_back_neither_in_term_nor_in_epoch() {
        let mut watch = Watch::default();
        watch.hear("a", health("leader", 2, "a", (2, 1))).expect("the first");
        watch.silence("a");
        assert!(watch.clone().hear("a", health("follower", 1, "b", (2, 1))).is_err());
        assert!(watch.clone().hear("a", health("leader", 2, "a", (1, 9))).is_err());
        watch.hear("b", health("follower", 1, "b", (0, 0))).expect("it knew nothing later");
    }

    #[test]
    fn a_disk_keeps_what_its_front_said_and_whom_it_voted_for() {
        let (mut watch, [a, b]) = (Watch::default(), [FrontId(0), FrontId(1)]);
        watch.started("a", &Recovered::default()).expect("it never ran");
        watch.hear("a", health("leader", 2, "a", (2, 1))).expect("the first");
        assert!(watch.clone().started("a", &Recovered::default()).is_err());
        assert!(watch.clone().started("a", &kept(1, None, (2, 1))).is_err());
        assert!(watch.clone().started("a", &kept(2, None, (1, 1))).is_err());
        watch.started("a", &kept(2, Some(a), (2, 1))).expect("all of it");
        assert!(watch.clone().started("a", &kept(2, Some(b), (2, 1))).is_err());
        watch.started("a", &kept(3, Some(b), (2, 1))).expect("another term");
    }

    #[test]
    fn agreement_is_of_all() {
        let mut watch = Watch::default();
        watch.hear("a", health("leader", 2, "a", (2, 1))).expect("the first");
        assert_eq!(watch.agreed(&["a", "b"], 1), None);
        watch.hear("b", health("follower", 2, "a", (1, 1))).expect("an older epoch");
        assert_eq!(watch.agreed(&["a", "b"], 1), None);
        watch.hear("b", health("follower", 2, "a", (2, 1))).expect("the same");
        assert_eq!((watch.agreed(&["a", "b"], 1).as_deref(), watch.agreed(&["a", "b"], 2)), (Some("a"), None));
    }
}
