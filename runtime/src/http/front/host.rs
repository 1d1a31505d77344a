//! Carries out what a front's machine says: to clients, to other fronts, to its disk and to the log.

use std::ops::ControlFlow;

use kollator_core::cluster::saved::{Record, Saved};
use kollator_core::node::front::{Front, FrontEvent, FrontOutput};
use kollator_core::node::io::Ticket;
use tracing::{info, warn};

use super::Sockets;
use super::events::Events;
use crate::driver::Host;
use crate::event::EventSink;
use crate::state::{Keeper, State};
use crate::sync::Links;

/// The driver's half of a front.
pub(super) struct FrontHost {
    pub(super) sockets: Sockets,
    pub(super) links: Links,
    pub(super) kept: Kept,
    pub(super) events: Events,
}

/// Where a front keeps things.
pub(super) enum Kept {
    OnDisk(Keeper<Ticket>),
    /// Nowhere: what is forgotten with the process needs no waiting.
    Nowhere(EventSink<Ticket>),
}

impl Kept {
    pub(super) fn start(state: Option<State>, persisted: EventSink<Ticket>) -> Self {
        match state {
            Some(state) => Self::OnDisk(Keeper::start(state, persisted)),
            None => Self::Nowhere(persisted),
        }
    }

    fn persist(&self, ticket: Ticket, record: Record) {
        match self {
            Self::OnDisk(keeper) => keeper.persist(ticket, record),
            Self::Nowhere(persisted) => {
                let persisted = persisted.clone();
                // An error says that the machine has stopped.
                tokio::spawn(async move { _ = persisted.send(ticket).await });
            }
        }
    }

    fn save(&self, saved: Vec<Saved>) {
        if let Self::OnDisk(keeper) = self {
            keeper.save(saved);
        }
    }

    /// Returns once everything is on disk.
    pub(super) async fn finish(self) {
        if let Self::OnDisk(keeper) = self {
            keeper.finish().await;
        }
    }
}

impl Host<Front> for FrontHost {
    fn execute(&mut self, output: FrontOutput) -> ControlFlow<()> {
        match output {
            FrontOutput::Send { client, text } => {
                // A client that is gone is told to the machine by its own task.
                if let Some(outbox) = self.sockets.with(|sockets| sockets.get(&client).cloned()) {
                    outbox.push(text);
                }
            }
            FrontOutput::Close { client, reason } => {
                if let Some(outbox) = self.sockets.with(|sockets| sockets.remove(&client)) {
                    outbox.close(reason);
                }
            }
            FrontOutput::PeerSend { front, data } => self.links.send(front, data),
            FrontOutput::Persist { ticket, record } => self.kept.persist(ticket, record),
            FrontOutput::Save(saved) => self.kept.save(saved),
            FrontOutput::Event(event) => {
                self.events.tell(&event);
                log(event);
            }
        }
        ControlFlow::Continue(())
    }
}

fn log(event: FrontEvent) {
    match event {
        FrontEvent::WorkerUp { name } => info!(worker = name, "worker up"),
        FrontEvent::WorkerDown { name, reason } => warn!(worker = name, reason, "worker down"),
        FrontEvent::WorkerHealth { name, alive: true } => info!(worker = name, "worker answers again"),
        FrontEvent::WorkerHealth { name, alive: false } => warn!(worker = name, "worker does not answer"),
        FrontEvent::WorkerDraining { name } => info!(worker = name, "worker drains"),
        FrontEvent::Standing { role, term, leader } => info!(?role, term, leader, "standing among the fronts"),
        FrontEvent::Epoch { term, n, workers } => info!(term, n, workers, "epoch"),
        FrontEvent::Front { name, live: true } => info!(front = name, "front within hearing"),
        FrontEvent::Front { name, live: false } => warn!(front = name, "front silent"),
        FrontEvent::FrontFault { name, offence } => warn!(front = name, offence, "front breaks the protocol"),
        FrontEvent::Audit { ip, offence } => warn!(target: "kollator::audit", %ip, offence, "audit"),
    }
}
