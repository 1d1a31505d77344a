//! A front tells every client the worker that the ring's definition names, computed here without a ring: among
//! the workers that are counted in, the one with the nearest virtual node at or after the client's network. Once a worker
//! has said that it has much to do, or no room, clients may be elsewhere, but only at a worker that is counted in, and a
//! newcomer never at one without room while there is another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use kollator_core::node::front::{ClientId, FrontEvent, FrontInput, FrontOutput};
use kollator_core::ring::{DEFAULT_REPLICAS, Key};
use kollator_core::wire::signal::{FULL, FromFront, Role, Signal, ToFront, WorkerInfo};

use super::{Fact, Oracle, WorldEvent};
use crate::world::{FRONT, Truth};

struct Client {
    ip: IpAddr,
    /// What its first hello said.
    hello: Option<ToFront>,
    /// Once it is welcomed as a peer: the worker it was told last.
    told: Option<Option<WorkerInfo>>,
}

struct Member {
    client: ClientId,
    info: WorkerInfo,
    capacity: u16,
    /// Whether it answers, as the front says.
    alive: bool,
    draining: bool,
    /// As it told the front, in percent.
    load: u8,
}

#[derive(Default)]
pub(super) struct Assignment {
    clients: BTreeMap<ClientId, Client>,
    members: BTreeMap<String, Member>,
    /// Workers that do not answer, as the front says.
    dead: BTreeSet<String>,
    /// Virtual nodes by name and capacity, computed once.
    points: BTreeMap<(String, u16), Vec<u64>>,
    /// Something changed since every client's worker was compared.
    changed: bool,
    /// A worker said that it has something to do, or no room, since the front began.
    loaded: bool,
    /// A newcomer was sent to a worker without room.
    misled: Option<String>,
}

impl Oracle for Assignment {
    fn name(&self) -> &'static str {
        "ring"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, _: &Truth) -> Result<(), String> {
        match event.fact {
            Fact::Crashed if event.node == FRONT => {
                self.clients.clear();
                self.members.clear();
                self.dead.clear();
                self.loaded = false;
            }
            Fact::FrontHeard(FrontInput::Connected { client, ip }) => {
                self.clients.insert(*client, Client { ip: *ip, hello: None, told: None });
            }
            Fact::FrontHeard(FrontInput::Disconnected { client })
            | Fact::FrontSaid(FrontOutput::Close { client, .. }) => {
                self.clients.remove(client);
                self.members.retain(|_, member| member.client != *client);
                self.changed = true;
            }
            Fact::FrontHeard(FrontInput::Message { client, text }) => {
                let Some(sender) = self.clients.get_mut(client) else { return Ok(()) };
                match ToFront::parse(text) {
                    Ok(hello @ ToFront::Hello { .. }) => _ = sender.hello.get_or_insert(hello),
                    Ok(ToFront::Signal { body: Signal::Full {}, .. }) => self.loaded = true,
                    Ok(ToFront::Load { percent }) => {
                        self.loaded = true;
                        let member = self.members.values_mut().find(|member| member.client == *client);
                        if let Some(member) = member {
                            member.load = percent;
                        }
                    }
                    _ => {}
                }
            }
            Fact::FrontSaid(FrontOutput::Event(event)) => {
                self.changed = true;
                match event {
                    FrontEvent::WorkerUp { name } => _ = self.dead.remove(name),
                    FrontEvent::WorkerHealth { name, alive } => self.health(name, *alive),
                    FrontEvent::WorkerDraining { name } => {
                        if let Some(member) = self.members.get_mut(name) {
                            member.draining = true;
                        }
                    }
                    _ => {}
                }
            }
            Fact::FrontSaid(FrontOutput::Send { client, text }) => {
                match FromFront::parse(text.as_bytes()) {
                    Ok(FromFront::Welcome(bootstrap)) => self.welcomed(*client, bootstrap.worker),
                    Ok(FromFront::Assign { worker }) => self.told(*client, worker),
                    _ => {}
                }
                self.changed = true;
            }
            Fact::Rested { .. } if event.node == FRONT && self.changed => {
                self.changed = false;
                return self.compare();
            }
            _ => {}
        }
        Ok(())
    }
}

impl Assignment {
    fn welcomed(&mut self, client: ClientId, worker: Option<WorkerInfo>) {
        let hello = self.clients.get(&client).and_then(|client| client.hello.clone());
        match hello {
            Some(ToFront::Hello { id, role: Role::Worker(hello), .. }) => {
                let alive = !self.dead.contains(&hello.name);
                let info = WorkerInfo { name: hello.name.clone(), peer: id, http: hello.http };
                self.members.insert(
                    hello.name,
                    Member { client, info, capacity: hello.capacity, alive, draining: false, load: 0 },
                );
            }
            _ => {
                let load = |name: &str| self.members.get(name).map_or(0, |member| member.load);
                let is_open = |member: &&Member| member.load < FULL;
                if let Some(given) = worker.as_ref().filter(|given| load(&given.name) == FULL)
                    && let Some(other) = self.usable().into_iter().find(is_open)
                {
                    let what = format!(
                        "sent {client:?} to {}, which has no room, while {} has",
                        given.name, other.info.name
                    );
                    self.misled.get_or_insert(what);
                }
                self.told(client, worker);
            }
        }
    }

    fn health(&mut self, name: &str, alive: bool) {
        if let Some(member) = self.members.get_mut(name) {
            member.alive = alive;
        }
        if alive {
            self.dead.remove(name);
        } else {
            self.dead.insert(name.to_owned());
        }
    }

    fn told(&mut self, client: ClientId, worker: Option<WorkerInfo>) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.told = Some(worker);
        }
    }

    fn compare(&mut self) -> Result<(), String> {
        if let Some(misled) = self.misled.take() {
            return Err(misled);
        }
        for (name, member) in &self.members {
            self.points.entry((name.clone(), member.capacity)).or_insert_with(|| points(name, member.capacity));
        }
        for (id, client) in &self.clients {
            let Some(told) = &client.told else { continue };
            let right = self.owner(client.ip);
            let is_elsewhere =
                self.loaded && self.usable().iter().any(|member| Some(&member.info) == told.as_ref());
            if told.as_ref() != right && !is_elsewhere {
                return Err(format!("told {id:?} that its worker is {told:?}; by the ring it is {right:?}"));
            }
        }
        Ok(())
    }

    fn owner(&self, ip: IpAddr) -> Option<&WorkerInfo> {
        let key = Key::of_client(ip).0;
        let distance = |member: &&Member| {
            let points = &self.points[&(member.info.name.clone(), member.capacity)];
            points.iter().map(|point| point.wrapping_sub(key)).min()
        };
        self.usable().into_iter().min_by_key(distance).map(|member| &member.info)
    }

    /// Where none is alive, one that is connected is better than none.
    fn usable(&self) -> Vec<&Member> {
        let stays = || self.members.values().filter(|member| !member.draining);
        let alive: Vec<&Member> = stays().filter(|member| member.alive).collect();
        if alive.is_empty() { stays().collect() } else { alive }
    }
}

fn points(name: &str, capacity: u16) -> Vec<u64> {
    let count = (u64::from(DEFAULT_REPLICAS) * u64::from(capacity) / 100).max(1);
    (0..count).map(|i| Key::of(format!("{name}:{i}").as_bytes()).0).collect()
}
