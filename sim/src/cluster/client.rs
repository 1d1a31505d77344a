//! A client of the fronts: the real uplink, and around it somebody who announces, leaves and signals at random.

use std::collections::BTreeSet;

use kollator_core::auth::SharedKey;
use kollator_core::id::{Digest, InfoHash, PeerId};
use kollator_core::machine::{Instant, Rng};
use kollator_core::node::io::{LinkCommand, LinkEvent};
use kollator_core::uplink::{Uplink, UplinkConfig, UplinkOutput};
use kollator_core::wire::signal::{FromFront, Role, Signal, ToFront, VERSION, WorkerHello};

use super::plan::ClientPlan;

/// Shares that clients announce.
pub(super) const SHARES: u64 = 5;

/// One life of a client.
pub(super) struct Client {
    pub(super) id: PeerId,
    plan: ClientPlan,
    key: SharedKey,
    uplink: Uplink,
    born: Instant,
    /// Unix milliseconds when it was born.
    unix_ms: u64,
    /// Name of its worker, as it was told last.
    pub(super) worker: Option<String>,
    pub(super) shares: BTreeSet<InfoHash>,
}

/// What came of something that a client was told.
#[derive(Debug)]
pub(super) enum Said {
    Link(LinkCommand),
    /// It was handed a signal.
    Got {
        from: PeerId,
        body: Signal,
    },
}

impl Client {
    pub(super) fn new(
        plan: ClientPlan,
        key: SharedKey,
        fronts: usize,
        now: Instant,
        unix_ms: u64,
        rng: &mut Rng,
    ) -> Self {
        let mut id = [0; 32];
        id.as_chunks_mut::<8>().0.iter_mut().for_each(|part| *part = rng.next_u64().to_be_bytes());
        Self {
            id: PeerId(Digest(id)),
            plan,
            key,
            uplink: Uplink::new(UplinkConfig::new(fronts, rng.next_u64())),
            born: now,
            unix_ms,
            worker: None,
            shares: BTreeSet::new(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.uplink.is_up()
    }

    pub(super) fn wake(&mut self, now: Instant) -> Vec<Said> {
        self.uplink.wake(self.local(now));
        self.drain(now)
    }

    pub(super) fn hear(&mut self, now: Instant, event: LinkEvent) -> Vec<Said> {
        self.uplink.event(self.local(now), event);
        self.drain(now)
    }

    pub(super) fn send(&mut self, now: Instant, message: &ToFront) -> Vec<Said> {
        self.uplink.send(message);
        self.drain(now)
    }

    /// In the world's time.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        Some(self.born + self.uplink.next_wake()?.since(Instant::ZERO))
    }

    fn local(&self, now: Instant) -> Instant {
        Instant::ZERO + now.since(self.born)
    }

    fn drain(&mut self, now: Instant) -> Vec<Said> {
        let mut said = Vec::new();
        while let Some(output) = self.uplink.poll() {
            match output {
                UplinkOutput::Link(command) => said.push(Said::Link(command)),
                UplinkOutput::Greet => {
                    let hello = ToFront::Hello { version: VERSION, id: self.id, role: self.role(now) };
                    self.uplink.greet(&hello);
                }
                UplinkOutput::Welcome(bootstrap) => {
                    self.worker = bootstrap.worker.map(|worker| worker.name);
                    for info_hash in self.shares.clone() {
                        self.uplink.send(&ToFront::Announce { info_hash, complete: false });
                    }
                }
                UplinkOutput::Message(FromFront::Assign { worker }) => {
                    self.worker = worker.map(|worker| worker.name);
                }
                UplinkOutput::Message(FromFront::Signal { from, body, .. }) => {
                    said.push(Said::Got { from, body });
                }
                UplinkOutput::Message(_) | UplinkOutput::Lost { .. } => {}
            }
        }
        said
    }

    fn role(&self, now: Instant) -> Role {
        let Some(worker) = &self.plan.worker else { return Role::Peer {} };
        let timestamp_ms = self.unix_ms + now.since(self.born).as_millis() as u64;
        Role::Worker(WorkerHello {
            name: worker.name.clone(),
            capacity: worker.capacity,
            http: format!("http://{}:8081", self.plan.ip),
            region: String::new(),
            timestamp_ms,
            mac: self.key.token(&worker.name, timestamp_ms),
        })
    }
}
