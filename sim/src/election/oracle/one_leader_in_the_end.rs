//! When a majority works again, whatever the rest does: one leader in bounded time, whom all of them know, and
//! then no more elections.

use kollator_core::cluster::election::{Role, Standing};

use super::{Happening, Oracle, View};

/// Remembers where everybody stood when there had been time enough.
#[derive(Debug, Default)]
pub struct OneLeaderInTheEnd {
    settled: Option<Vec<Standing>>,
}

impl Oracle for OneLeaderInTheEnd {
    fn name(&self) -> &'static str {
        "one leader in the end"
    }

    fn watch(&mut self, happening: Happening, view: &View<'_>) -> Result<(), String> {
        if happening.is_message() {
            return Ok(());
        }
        match &self.settled {
            Some(settled) if *settled != standings(view) => {
                Err(format!("it was settled that {settled:?}, and now {:?}", standings(view)))
            }
            _ => Ok(()),
        }
    }

    fn settled(&mut self, view: &View<'_>) -> Result<(), String> {
        let standings = standings(view);
        let leaders = view.nodes.iter().filter(|node| node.leads()).count();
        let leased = view.nodes.iter().filter(|node| node.claims_lease(view.now)).count();
        let Standing { term, leader, .. } = standings[0];
        let agreed = standings.iter().all(|standing| (standing.term, standing.leader) == (term, leader));
        let led = standings.iter().filter(|standing| standing.role == Role::Leader).count();
        if !agreed || leader.is_none() || (leaders, leased, led) != (1, 1, 1) {
            return Err(format!("{leaders} lead, {leased} have a lease, and those that work are {standings:?}"));
        }
        self.settled = Some(standings);
        Ok(())
    }
}

/// Of those that work.
fn standings(view: &View<'_>) -> Vec<Standing> {
    let elections = view.healed.iter().filter_map(|&front| view.node(front).election.as_ref());
    elections.map(|election| election.standing()).collect()
}
