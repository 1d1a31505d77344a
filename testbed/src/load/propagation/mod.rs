//! How long it takes until every front shows what changed at one: memberships in swarms and workers, timed where a
//! client of another front sees them. The table is as large as the plan says, and everyone in it does what the protocol
//! wants of a client meanwhile. Never leaves loopback.

mod change;
mod crowd;
mod pages;
mod report;

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use kollator_core::auth::SharedKey;
use kollator_core::machine::Rng;
use kollator_runtime::node::random_seed;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::change::{Group, Outcome};
use self::crowd::{Crowd, Trouble};
use self::pages::settled;
pub use self::report::Report;
use super::session::Pace;
use super::{OTHER_FILES, limits};

/// What to do, in this order: fill the table, change it, leave it alone.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The fronts, two or more, which know each other.
    pub fronts: Vec<SocketAddrV4>,
    /// The key that workers prove to hold.
    pub key: SharedKey,
    /// Workers in all.
    pub workers: usize,
    /// Peers in all that are members of swarms.
    pub peers: usize,
    /// Their memberships in all.
    pub memberships: usize,
    /// Groups of one more client at each front, which watch: each is in a swarm and a network of its own.
    pub groups: usize,
    /// How long the table changes.
    pub length: Duration,
    /// Peers that join or leave a watched swarm in each second of that time.
    pub member_changes_a_second: f64,
    /// Workers that drain or come (back) in each second of that time.
    pub worker_changes_a_second: f64,
    /// How long it is left alone afterwards.
    pub idle: Duration,
}

/// Carries out a plan. `rests` is called when nothing changes any more, [`Plan::idle`] before the end.
///
/// # Errors
/// A front refuses or ends a session, the fronts do not come to the same table, or changes come faster than they are
/// shown.
pub async fn run(plan: &Plan, rests: impl FnOnce()) -> anyhow::Result<Report> {
    ensure!(plan.fronts.len() >= 2, "changes pass between two fronts or more");
    ensure!(plan.fronts.iter().all(|front| front.ip().is_loopback()), "fronts must be on loopback");
    ensure!(plan.peers > 0 && plan.groups > 0, "somebody must change and somebody must watch");
    let sessions = plan.workers + plan.peers + plan.groups * plan.fronts.len();
    limits::raise_open_files(sessions as u64 + OTHER_FILES)?;
    let (trouble, mut troubles) = mpsc::unbounded_channel();
    // No session ends unless something went wrong.
    tokio::select! {
        report = phases(plan, trouble, rests) => report,
        Some(error) = troubles.recv() => Err(error),
    }
}

async fn phases(plan: &Plan, trouble: Trouble, rests: impl FnOnce()) -> anyhow::Result<Report> {
    let (crowd, groups) = crowd::gather(plan, trouble).await?;
    let rows = crowd.rows();
    settled(&plan.fronts, rows, plan.workers).await?;
    let mut report = Report {
        fronts: plan.fronts.len(),
        workers: plan.workers,
        memberships: plan.memberships,
        rows,
        ..Report::default()
    };

    let mut groups = change_steadily(plan, &crowd, groups, &mut report).await?;
    for group in &mut groups {
        group.restore(&crowd).await?;
    }
    settled(&plan.fronts, rows, plan.workers).await?;

    rests();
    sleep(plan.idle).await;
    settled(&plan.fronts, rows, plan.workers).await?;
    Ok(report)
}

/// What is to change next.
#[derive(Clone, Copy)]
enum Turn {
    Member,
    Worker,
}

async fn change_steadily(
    plan: &Plan,
    crowd: &Crowd,
    groups: Vec<Group>,
    report: &mut Report,
) -> anyhow::Result<VecDeque<Group>> {
    ensure!(
        plan.worker_changes_a_second <= 0.0 || groups.iter().any(Group::has_worker),
        "no worker serves the network of a group"
    );
    let mut free: VecDeque<Group> = groups.into();
    let mut rng = Rng::new(random_seed());
    let mut under_way = JoinSet::new();
    let mut members = Pace::new(plan.member_changes_a_second, plan.length);
    let mut workers = Pace::new(plan.worker_changes_a_second, plan.length);
    let mut is_over = false;
    while !is_over || !under_way.is_empty() {
        tokio::select! {
            // Both are over at the same time.
            turn = next(&mut members, &mut workers), if !is_over => {
                let Some(turn) = turn else {
                    is_over = true;
                    continue;
                };
                let fit = |group: &Group| matches!(turn, Turn::Member) || group.has_worker();
                let at = free.iter().position(fit);
                let Some(mut group) = at.and_then(|at| free.remove(at)) else {
                    bail!("changes come faster than they are shown: none of {} groups is free", plan.groups);
                };
                let (crowd, mover) = (crowd.clone(), rng.below(plan.peers as u64) as usize);
                under_way.spawn(async move {
                    let outcome = match turn {
                        Turn::Member => group.change_member(&crowd, mover).await,
                        Turn::Worker => group.change_worker(&crowd).await,
                    };
                    outcome.map(|outcome| (group, outcome))
                });
            }
            Some(done) = under_way.join_next() => {
                let (group, Outcome { kind, shown_after }) = done.context("a change failed")??;
                free.push_back(group);
                report.note(kind, shown_after);
            }
        }
    }
    report.finish();
    Ok(free)
}

/// Waits for the next change; `None` when there is none any more. Cancel safe.
async fn next(members: &mut Pace, workers: &mut Pace) -> Option<Turn> {
    tokio::select! {
        turn = members.turn() => turn.map(|_| Turn::Member),
        turn = workers.turn() => turn.map(|_| Turn::Worker),
    }
}
