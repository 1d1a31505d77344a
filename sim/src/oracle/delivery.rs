//! Every signal that a front delivers is one that a welcomed client sent to the receiver, delivered once, in the
//! order of sending, and never to a client that is gone. What says that a client is unreachable answers a signal.

use std::collections::{BTreeMap, VecDeque};

use kollator_core::id::PeerId;
use kollator_core::node::front::{ClientId, FrontInput, FrontOutput};
use kollator_core::wire::signal::{FromFront, Signal, ToFront};

use super::{Fact, Oracle, WorldEvent};
use crate::world::Truth;

#[derive(Default)]
struct Client {
    /// As its first hello said.
    claims: Option<PeerId>,
    welcomed: bool,
}

#[derive(Default)]
pub(super) struct Delivery {
    clients: BTreeMap<ClientId, Client>,
    /// Signals not delivered yet, by sender and receiver.
    sent: BTreeMap<(ClientId, PeerId), VecDeque<(u32, Signal)>>,
}

impl Oracle for Delivery {
    fn name(&self) -> &'static str {
        "delivery"
    }

    fn observe(&mut self, event: &WorldEvent<'_>, _: &Truth) -> Result<(), String> {
        match event.fact {
            Fact::Crashed if event.node == crate::world::FRONT => *self = Self::default(),
            Fact::FrontHeard(FrontInput::Connected { client, .. }) => {
                self.clients.insert(*client, Client::default());
            }
            Fact::FrontHeard(FrontInput::Disconnected { client }) => self.forget(*client),
            Fact::FrontHeard(FrontInput::Message { client, text }) => self.heard(*client, text),
            Fact::FrontSaid(FrontOutput::Close { client, .. }) => {
                if !self.clients.contains_key(client) {
                    return Err(format!("closed {client:?}, which is gone"));
                }
                self.forget(*client);
            }
            Fact::FrontSaid(FrontOutput::Send { client, text }) => {
                let message = FromFront::parse(text.as_bytes()).map_err(|error| format!("sent junk: {error}"))?;
                self.said(*client, message)?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Delivery {
    fn heard(&mut self, client: ClientId, text: &[u8]) {
        let Some(sender) = self.clients.get_mut(&client) else { return };
        match ToFront::parse(text) {
            Ok(ToFront::Hello { id, .. }) if !sender.welcomed => sender.claims = Some(id),
            Ok(ToFront::Signal { to, session, body }) if sender.welcomed => {
                self.sent.entry((client, to)).or_default().push_back((session, body));
            }
            _ => {}
        }
    }

    fn said(&mut self, client: ClientId, message: FromFront) -> Result<(), String> {
        let Some(receiver) = self.clients.get_mut(&client) else {
            return Err(format!("sent to {client:?}, which is gone"));
        };
        match message {
            FromFront::Welcome(_) if receiver.claims.is_none() => {
                Err(format!("welcomed {client:?} before its hello"))
            }
            FromFront::Welcome(_) => {
                receiver.welcomed = true;
                Ok(())
            }
            FromFront::Signal { from, session, body: Signal::Unreachable {} } => self
                .take(client, from, |sent| sent.0 == session)
                .map_err(|()| format!("told {client:?} that a client it did not write to is unreachable")),
            FromFront::Signal { from, session, body } => {
                let Some(to) = receiver.claims.filter(|_| receiver.welcomed) else {
                    return Err(format!("delivered a signal to {client:?}, which is not welcomed"));
                };
                let is_from = |client: &Client| client.welcomed && client.claims == Some(from);
                let senders = self.clients.iter().filter(|(_, client)| is_from(client)).map(|(id, _)| *id);
                let senders: Vec<ClientId> = senders.collect();
                let matches = |sent: &(u32, Signal)| sent.0 == session && sent.1 == body;
                let found = senders.into_iter().any(|sender| self.take(sender, to, matches).is_ok());
                if found { Ok(()) } else { Err(format!("delivered to {client:?} what {from} did not send")) }
            }
            _ => Ok(()),
        }
    }

    /// Takes the oldest signal that matches, and those before it: they were dropped for good.
    fn take(&mut self, from: ClientId, to: PeerId, matches: impl Fn(&(u32, Signal)) -> bool) -> Result<(), ()> {
        let sent = self.sent.get_mut(&(from, to)).ok_or(())?;
        let at = sent.iter().position(matches).ok_or(())?;
        sent.drain(..=at);
        Ok(())
    }

    fn forget(&mut self, client: ClientId) {
        self.clients.remove(&client);
        self.sent.retain(|(from, _), _| *from != client);
    }
}
