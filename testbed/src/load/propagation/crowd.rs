//! Everyone whom the fronts have to know of, and what keeps them there: workers answer probes, members announce
//! themselves again and again. Changes nothing by itself.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use kollator_core::id::{InfoHash, PeerId};
use kollator_core::wire::signal::{FromFront, Role, ToFront, WorkerHello};
use kollator_runtime::http::front::system_clock;
use kollator_runtime::node::random_id;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::Plan;
use super::change::{Group, Watcher};
use super::pages::settled;
use crate::load::session::{Opened, Pace, Session, open};
use crate::load::socket::Reader;
use crate::load::{OPENING, PING_EVERY};

/// Members of a swarm that nobody watches.
const MEMBERS: usize = 5;
/// How often a member announces itself, as fronts ask for.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Where it is told what must not happen.
pub(super) type Trouble = mpsc::UnboundedSender<anyhow::Error>;

/// Everyone but the groups. Cloneable.
#[derive(Clone)]
pub(super) struct Crowd {
    plan: Arc<Plan>,
    trouble: Trouble,
    rows: usize,
    pub(super) members: Arc<[Member]>,
    /// Those that no group changes.
    _workers: Arc<[Worker]>,
    _upkeep: Arc<[Task]>,
}

impl Crowd {
    /// Rows in the table of everyone: workers, clients and memberships.
    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// Lets a worker come (back); when it said hello.
    pub(super) async fn connect(&self, worker: &mut Worker) -> anyhow::Result<Instant> {
        connect(&self.plan, &self.trouble, worker).await
    }
}

/// A task that ends with this.
pub(super) struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A peer in some swarms.
pub(super) struct Member {
    pub(super) id: PeerId,
    pub(super) session: Arc<Session>,
    swarms: Vec<InfoHash>,
    _hears: Task,
}

/// A worker, as far as fronts can tell.
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) front: usize,
    source: Ipv4Addr,
    pub(super) connection: Option<Connection>,
}

/// A worker's connection; closed when it is dropped.
pub(super) struct Connection {
    pub(super) id: PeerId,
    pub(super) session: Arc<Session>,
    _hears: Task,
}

/// Connects everyone, and announces every membership.
pub(super) async fn gather(plan: &Plan, trouble: Trouble) -> anyhow::Result<(Crowd, Vec<Group>)> {
    let fronts = plan.fronts.len();
    let workers: Vec<Worker> = stream::iter(0..plan.workers)
        .map(|index| {
            let trouble = &trouble;
            async move {
                let (name, front, source) = (format!("w{index}"), index % fronts, address_in(index)?);
                let mut worker = Worker { name, front, source, connection: None };
                connect(plan, trouble, &mut worker).await?;
                anyhow::Ok(worker)
            }
        })
        .buffered(OPENING)
        .try_collect()
        .await?;
    // Whoever comes now is given the worker that will stay.
    settled(&plan.fronts, 2 * plan.workers, plan.workers).await?;

    let swarms: Vec<InfoHash> = (0..plan.memberships.div_ceil(MEMBERS)).map(|_| InfoHash(random_id().0)).collect();
    let members: Vec<Member> = stream::iter(0..plan.peers)
        .map(|index| {
            // Of all memberships every so many-th: those of a swarm are of several peers.
            let memberships = (index..plan.memberships).step_by(plan.peers);
            let swarms = memberships.map(|membership| swarms[membership / MEMBERS]).collect();
            member(plan, &trouble, index, swarms)
        })
        .buffered(OPENING)
        .try_collect()
        .await?;
    let mut groups: Vec<Group> = stream::iter(0..plan.groups)
        .map(|index| {
            let (swarm, trouble) = (InfoHash(random_id().0), &trouble);
            async move {
                let watchers = (0..fronts).map(|front| watcher(plan, trouble, index, front, swarm));
                anyhow::Ok(Group::new(swarm, try_join_all(watchers).await?))
            }
        })
        .buffered(OPENING)
        .try_collect()
        .await?;
    let members: Arc<[Member]> = members.into();
    let upkeep = [
        task(&trouble, renew(members.clone())),
        task(&trouble, keep_watchers(groups.iter().flat_map(Group::sessions).collect())),
    ];

    let rows = 2 * plan.workers + plan.peers + plan.memberships + 2 * plan.groups * fronts;
    settled(&plan.fronts, rows, plan.workers).await?;
    let mut served: BTreeSet<String> = BTreeSet::new();
    let mut workers: Vec<Option<Worker>> = workers.into_iter().map(Some).collect();
    for group in &mut groups {
        let name = group.served_by()?;
        if served.insert(name.clone()) {
            let is_it = |worker: &&mut Option<Worker>| worker.as_ref().is_some_and(|worker| worker.name == name);
            group.set_worker(workers.iter_mut().find(is_it).and_then(Option::take).context("an unknown worker")?);
        }
    }

    let crowd = Crowd {
        plan: Arc::new(plan.clone()),
        trouble,
        rows,
        members,
        _workers: workers.into_iter().flatten().collect(),
        _upkeep: upkeep.into(),
    };
    Ok((crowd, groups))
}

/// What a client says to be counted in a swarm.
pub(super) fn announce(info_hash: InfoHash) -> String {
    ToFront::Announce { info_hash, complete: false }.to_text()
}

/// An address in the `n`-th of many networks, each of which a worker serves.
fn address_in(n: usize) -> anyhow::Result<Ipv4Addr> {
    let offset = u32::try_from(n).ok().and_then(|n| n.checked_mul(256));
    let bits = offset.and_then(|offset| Ipv4Addr::new(127, 1, 0, 2).to_bits().checked_add(offset));
    bits.map(Ipv4Addr::from_bits).filter(Ipv4Addr::is_loopback).context("there are not so many loopback networks")
}

fn task(trouble: &Trouble, run: impl Future<Output = anyhow::Result<Infallible>> + Send + 'static) -> Task {
    let trouble = trouble.clone();
    let task = tokio::spawn(async move {
        let Err(error) = run.await;
        // Nobody listens any more once something else went wrong.
        let _ = trouble.send(error);
    });
    Task(task.abort_handle())
}

async fn connect(plan: &Plan, trouble: &Trouble, worker: &mut Worker) -> anyhow::Result<Instant> {
    let (id, timestamp_ms) = (random_id(), system_clock());
    let hello = WorkerHello {
        name: worker.name.clone(),
        capacity: 100,
        http: format!("http://{}:8081", worker.source),
        region: String::new(),
        timestamp_ms,
        mac: plan.key.token(&worker.name, timestamp_ms),
    };
    let Opened { session, mut reader, said_hello, .. } =
        open(&plan.fronts, worker.front, worker.source, id, Role::Worker(hello)).await?;
    let session = Arc::new(session);
    let hears = task(trouble, {
        let (session, name) = (session.clone(), worker.name.clone());
        async move {
            let alive = ToFront::Alive {}.to_text();
            loop {
                match hear(&mut reader).await.with_context(|| format!("worker {name}"))? {
                    FromFront::Probe {} => session.send(&alive).await?,
                    FromFront::Workers(_) => {}
                    other => bail!("worker {name} did not ask for {other:?}"),
                }
            }
        }
    });
    worker.connection = Some(Connection { id, session, _hears: hears });
    Ok(said_hello)
}

async fn member(plan: &Plan, trouble: &Trouble, index: usize, swarms: Vec<InfoHash>) -> anyhow::Result<Member> {
    let id = random_id();
    let source = address_in(plan.groups + index)?;
    let Opened { session, mut reader, .. } =
        open(&plan.fronts, index % plan.fronts.len(), source, id, Role::Peer {}).await?;
    let hears = task(trouble, async move {
        loop {
            match hear(&mut reader).await.with_context(|| format!("peer {index}"))? {
                FromFront::Peers { .. } | FromFront::Assign { .. } => {}
                other => bail!("peer {index} did not ask for {other:?}"),
            }
        }
    });
    for swarm in &swarms {
        session.send(&announce(*swarm)).await.with_context(|| format!("peer {index}"))?;
    }
    Ok(Member { id, session: session.into(), swarms, _hears: hears })
}

async fn watcher(
    plan: &Plan,
    trouble: &Trouble,
    group: usize,
    front: usize,
    swarm: InfoHash,
) -> anyhow::Result<Watcher> {
    let source = address_in(group)?;
    let Opened { session, mut reader, welcome, .. } =
        open(&plan.fronts, front, source, random_id(), Role::Peer {}).await?;
    let (told_swarm, others) = watch::channel((Instant::now(), Vec::new()));
    let (told_worker, worker) = watch::channel((Instant::now(), welcome.worker));
    let hears = task(trouble, async move {
        loop {
            let message = hear(&mut reader).await.with_context(|| format!("a watcher of group {group}"))?;
            let now = Instant::now();
            match message {
                FromFront::Peers { info_hash, peers } if info_hash == swarm => {
                    told_swarm.send_replace((now, peers));
                }
                FromFront::Assign { worker } => {
                    told_worker.send_replace((now, worker));
                }
                other => bail!("a watcher of group {group} did not ask for {other:?}"),
            }
        }
    });
    session.send(&announce(swarm)).await?;
    Ok(Watcher::new(session.into(), others, worker, hears))
}

async fn hear(reader: &mut Reader) -> anyhow::Result<FromFront> {
    match FromFront::parse(&reader.next().await?).context("a front sent what it must not")? {
        FromFront::Error { code, message } => bail!("a front refused what was sent: {code:?}, {message}"),
        message => Ok(message),
    }
}

/// Announces every membership again and again, none of which is news.
async fn renew(members: Arc<[Member]>) -> anyhow::Result<Infallible> {
    let of = |member: usize| members[member].swarms.iter().map(move |swarm| (member, *swarm));
    let all: Vec<(usize, InfoHash)> = (0..members.len()).flat_map(of).collect();
    loop {
        let mut pace = Pace::new(all.len() as f64 / HEARTBEAT.as_secs_f64(), HEARTBEAT);
        while let Some(turn) = pace.turn().await {
            let (member, swarm) = all[turn % all.len()];
            members[member].session.send(&announce(swarm)).await?;
        }
    }
}

/// Keeps watchers from being taken for silent ones, and in their swarms.
async fn keep_watchers(watchers: Vec<(Arc<Session>, String)>) -> anyhow::Result<Infallible> {
    loop {
        let mut pace = Pace::new(watchers.len() as f64 / PING_EVERY.as_secs_f64(), PING_EVERY);
        while let Some(turn) = pace.turn().await {
            let (session, announce) = &watchers[turn % watchers.len()];
            session.send(announce).await?;
        }
    }
}
