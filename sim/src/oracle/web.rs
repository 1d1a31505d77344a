//! Over HTTP a peer keeps its limits, asks nobody who lied to it, and blames whoever lied and nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kollator_core::id::ChunkId;
use kollator_core::machine::Instant;
use kollator_core::merkle::BLOCK_LEN;
use kollator_core::node::peer::{
    HttpUse, PeerEvent, PeerInput, PeerOutput, SourceName, WebAsk, WebCommand, WebEvent, WebId, WorkerUrl,
};

use super::{Fact, Oracle, WorldEvent};
use crate::world::Truth;

/// Most requests that a peer may have open with one worker.
const MAX_OPEN: usize = 4;
/// Most workers that a peer may be asking.
const MAX_WORKERS: usize = 8;
/// A `.ko` that takes no longer is still waited for.
const PROMPT: Duration = Duration::from_secs(3);
/// Who says nothing for so long has failed.
const SILENCE: Duration = Duration::from_secs(10);
/// A lie may have to wait for the leaf hashes that give it away, but not for ever.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);

struct Open {
    worker: WorkerUrl,
    ask: WebAsk,
    body: Vec<u8>,
    asked: Instant,
    heard: Instant,
}

impl Open {
    /// Bytes of the right answer; `None` if that is not for the request to say.
    fn expected(&self) -> Option<usize> {
        match self.ask {
            WebAsk::Blocks { chunk, first, count } => chunk.range_len(first, count).map(|length| length as usize),
            WebAsk::Leaves { chunk } => Some(usize::from(chunk.blocks()) * 32),
            WebAsk::Metainfo { .. } | WebAsk::Kept { .. } => None,
        }
    }
}

#[derive(Default)]
struct Peer {
    open: BTreeMap<WebId, Open>,
    newest: Option<WebId>,
    liars: BTreeSet<WorkerUrl>,
    /// Blocks that came: a second copy may be thrown away unseen.
    came: BTreeSet<(ChunkId, u16)>,
    /// When each worker told its first lie that nothing excuses the peer from noticing, and about which chunk.
    lies: BTreeMap<WorkerUrl, (Instant, ChunkId)>,
    /// Who has just given a wrong `.ko`: there is nothing to wait for.
    gave_wrong_ko: Option<WorkerUrl>,
}

#[derive(Default)]
pub(super) struct Web(BTreeMap<usize, Peer>);

impl Oracle for Web {
    fn name(&self) -> &'static str {
        "web"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, truth: &Truth) -> Result<(), String> {
        let peer = self.0.entry(event.node).or_default();
        match event.fact {
            Fact::Crashed => *peer = Peer::default(),
            Fact::PeerSaid(PeerOutput::Web(WebCommand::Request { id, worker, ask })) => {
                if truth.nodes[event.node].http == HttpUse::Never {
                    return Err(format!("asks {worker}, and was told to do without HTTP"));
                }
                peer.ask(event.at, *id, worker, *ask)?;
            }
            Fact::PeerSaid(PeerOutput::Web(WebCommand::Cancel { id })) => {
                let given_up = peer.open.remove(id).ok_or("gives up what is not open")?;
                if event.at.since(given_up.heard) >= SILENCE {
                    peer.lies.remove(&given_up.worker);
                }
            }
            Fact::PeerSaid(PeerOutput::Event(said)) => peer.said(said, truth)?,
            Fact::PeerHeard(PeerInput::Web(heard)) => {
                // Only where nothing comes over other ways is it known here what came before.
                let is_known = truth.nodes[event.node].is_on_http_only();
                peer.heard(event.at, heard, truth, is_known);
            }
            Fact::Rested { .. } => {
                if let Some(worker) = peer.gave_wrong_ko.take() {
                    return Err(format!("took a wrong .ko from {worker} and blamed nobody"));
                }
                let late = |(at, _): &(Instant, ChunkId)| event.at.since(*at) > NOTICED_WITHIN;
                if let Some((worker, _)) = peer.lies.iter().find(|(_, lie)| late(lie)) {
                    return Err(format!("never noticed that {worker} lied"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Peer {
    fn ask(&mut self, at: Instant, id: WebId, worker: &WorkerUrl, ask: WebAsk) -> Result<(), String> {
        if self.newest.replace(id).is_some_and(|newest| newest >= id) {
            return Err(format!("uses {id:?} again"));
        }
        if self.liars.contains(worker) {
            return Err(format!("asks {worker}, which it has blamed"));
        }
        self.open.insert(id, Open { worker: worker.clone(), ask, body: Vec::new(), asked: at, heard: at });
        let open = self.open.values().filter(|open| open.worker == *worker).count();
        let workers: BTreeSet<&WorkerUrl> = self.open.values().map(|open| &open.worker).collect();
        if open > MAX_OPEN || workers.len() > MAX_WORKERS {
            return Err(format!("has {open} requests to {worker} open, and asks {} workers", workers.len()));
        }
        Ok(())
    }

    fn said(&mut self, said: &PeerEvent, truth: &Truth) -> Result<(), String> {
        match said {
            PeerEvent::Blamed { source: SourceName::Web(url), offence } => {
                let worker = truth.worker_at(url);
                if !worker.is_some_and(|worker| truth.nodes[worker].liar) {
                    return Err(format!("blamed {url}, which is honest: it {offence}"));
                }
                self.lies.remove(url);
                self.gave_wrong_ko = None;
                self.liars.insert(url.clone());
            }
            // What came from whoever failed is nobody's any more.
            PeerEvent::SourceDown { source: SourceName::Web(url), .. } => _ = self.lies.remove(url),
            PeerEvent::Completed { info_hash, .. } => {
                // A wrong block keeps its chunk from being complete until it is noticed.
                let holders = |chunk| truth.shares.iter().filter(move |share| share.has(chunk));
                let own = |chunk| holders(chunk).all(|share| share.info_hash() == *info_hash);
                if let Some((worker, _)) = self.lies.iter().find(|(_, (_, chunk))| own(*chunk)) {
                    return Err(format!("has all of a share, and never noticed that {worker} lied"));
                }
                self.forget();
            }
            PeerEvent::Failed { .. } => self.forget(),
            _ => {}
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.lies.clear();
        self.came.clear();
    }

    /// What a worker whose answer was a fault said before may be thrown away unseen.
    fn heard(&mut self, at: Instant, event: &WebEvent, truth: &Truth, is_known: bool) {
        let id = event.id();
        match event {
            WebEvent::Head { status, .. } => {
                let Some(open) = self.open.get_mut(&id) else { return };
                open.heard = at;
                let is_over = *status >= 300 || matches!(open.ask, WebAsk::Kept { .. });
                if is_over && let Some(open) = self.open.remove(&id) {
                    self.lies.remove(&open.worker);
                }
            }
            WebEvent::Data { data, .. } => {
                let Some(open) = self.open.get_mut(&id) else { return };
                let before = open.body.len() / BLOCK_LEN as usize;
                open.body.extend_from_slice(data);
                open.heard = at;
                if open.expected().is_some_and(|expected| open.body.len() > expected) {
                    self.lies.remove(&open.worker);
                    return;
                }
                let WebAsk::Blocks { chunk, first, count } = open.ask else { return };
                for block in before as u16..count {
                    let begin = usize::from(block) * BLOCK_LEN as usize;
                    let Some(right) = truth.range_of(chunk, first + block, 1) else { return };
                    let Some(got) = open.body.get(begin..begin + right.len()) else { return };
                    if self.came.insert((chunk, first + block)) && right != got && is_known {
                        self.lies.entry(open.worker.clone()).or_insert((at, chunk));
                    }
                }
            }
            WebEvent::End { .. } => {
                let Some(open) = self.open.remove(&id) else { return };
                if open.expected().is_some_and(|expected| open.body.len() < expected) {
                    self.lies.remove(&open.worker);
                }
                if let WebAsk::Metainfo { info_hash } = open.ask
                    && let Some((_, share)) = truth.share(info_hash)
                    && at.since(open.asked) < PROMPT
                    && *share.metainfo.raw() != open.body
                {
                    self.gave_wrong_ko = Some(open.worker);
                }
            }
            WebEvent::Failed { .. } => {
                if let Some(open) = self.open.remove(&id) {
                    self.lies.remove(&open.worker);
                }
            }
        }
    }
}
