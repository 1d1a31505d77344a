//! Whoever says that no worker can be reached has no session with the worker that its front named.

use std::collections::{BTreeMap, BTreeSet};

use kollator_core::id::PeerId;
use kollator_core::node::io::LinkEvent;
use kollator_core::node::peer::{PeerEvent, PeerInput, PeerOutput, SourceName};
use kollator_core::wire::signal::FromFront;

use super::{Fact, Oracle, WorldEvent};
use crate::world::Truth;

/// How a peer says it.
pub(crate) const EXCUSE: &str = "no worker can be reached";

#[derive(Default)]
struct Known {
    worker: Option<PeerId>,
    connected: BTreeSet<PeerId>,
}

#[derive(Default)]
pub(super) struct Excuses {
    peers: BTreeMap<usize, Known>,
}

impl Oracle for Excuses {
    fn name(&self) -> &'static str {
        "excuses"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, _: &Truth) -> Result<(), String> {
        match event.fact {
            Fact::Started { .. } | Fact::Crashed => {
                self.peers.remove(&event.node);
            }
            Fact::PeerHeard(PeerInput::Link(LinkEvent::Message { text })) => {
                let worker = match FromFront::parse(text) {
                    Ok(FromFront::Welcome(bootstrap)) => bootstrap.worker,
                    Ok(FromFront::Assign { worker }) => worker,
                    _ => return Ok(()),
                };
                self.peers.entry(event.node).or_default().worker = worker.map(|worker| worker.peer);
            }
            Fact::PeerSaid(PeerOutput::Event(said)) => return self.said(event.node, said),
            _ => {}
        }
        Ok(())
    }
}

impl Excuses {
    fn said(&mut self, node: usize, said: &PeerEvent) -> Result<(), String> {
        let known = self.peers.entry(node).or_default();
        match said {
            PeerEvent::SourceUp { source: SourceName::Node(peer), .. } => {
                known.connected.insert(*peer);
            }
            PeerEvent::SourceDown { source: SourceName::Node(peer), .. } => {
                known.connected.remove(peer);
            }
            PeerEvent::Failed { reason, .. } if reason == EXCUSE => {
                if let Some(worker) = known.worker.filter(|worker| known.connected.contains(worker)) {
                    return Err(format!("says that {EXCUSE}, and is connected to {worker}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
