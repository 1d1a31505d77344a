//! Hands signals from one connected client to another by name. Only those who are plugged in send and receive;
//! never keeps a message, so order is the order of calls and nothing is left over when a client goes.

use std::collections::BTreeMap;

use crate::id::PeerId;
use crate::node::front::ClientId;
use crate::wire::signal::{FromFront, Signal};

/// Who is reachable here.
#[derive(Debug, Default)]
pub struct Switchboard {
    names: BTreeMap<ClientId, PeerId>,
    clients: BTreeMap<PeerId, ClientId>,
}

/// What to do with a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Hand it to the client it is for.
    Deliver {
        /// To whom.
        client: ClientId,
        /// What.
        message: FromFront,
    },
    /// Tell the sender that nobody of that name is here.
    Return {
        /// What.
        message: FromFront,
    },
}

impl Switchboard {
    /// Plugs a client in under a name.
    ///
    /// # Panics
    /// If the client is plugged in or the name is taken; ask [`Self::client`] first.
    pub fn plug(&mut self, client: ClientId, name: PeerId) {
        assert!(self.names.insert(client, name).is_none(), "{client:?} has a name");
        assert!(self.clients.insert(name, client).is_none(), "{name} is taken");
    }

    /// Unplugs a client; its name, if it was plugged in.
    pub fn unplug(&mut self, client: ClientId) -> Option<PeerId> {
        let name = self.names.remove(&client)?;
        self.clients.remove(&name);
        Some(name)
    }

    /// The client of that name.
    #[must_use]
    pub fn client(&self, name: PeerId) -> Option<ClientId> {
        self.clients.get(&name).copied()
    }

    /// Clients that are plugged in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nobody is plugged in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Where a signal from `from` to `to` goes; `None` if the sender is not plugged in.
    #[must_use]
    pub fn route(&self, from: ClientId, to: PeerId, session: u32, body: Signal) -> Option<Route> {
        let sender = *self.names.get(&from)?;
        Some(match self.client(to) {
            Some(client) => Route::Deliver { client, message: FromFront::Signal { from: sender, session, body } },
            None => {
                let message = FromFront::Signal { from: to, session, body: Signal::Unreachable {} };
                Route::Return { message }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::id::Digest;

    fn name(n: u8) -> PeerId {
        PeerId(Digest([n; 32]))
    }

    proptest! {
        #[test]
        fn a_signal_goes_to_its_name_or_back(ops in vec((0..3u8, 0..5u64, 0..5u8), 0..60)) {
            let mut board = Switchboard::default();
            let mut plugged: Vec<(ClientId, PeerId)> = Vec::new();
            for (op, client, n) in ops {
                let (client, n) = (ClientId(client), name(n));
                match op {
                    0 if plugged.iter().all(|p| p.0 != client && p.1 != n) => {
                        board.plug(client, n);
                        plugged.push((client, n));
                    }
                    1 => {
                        let was = plugged.iter().position(|p| p.0 == client).map(|i| plugged.remove(i).1);
                        prop_assert_eq!(board.unplug(client), was);
                    }
                    _ => {
                        let body = Signal::bye("x");
                        let sender = plugged.iter().find(|p| p.0 == client);
                        let target = plugged.iter().find(|p| p.1 == n);
                        let expected = sender.map(|(_, from)| match target {
                            Some((client, _)) => Route::Deliver {
                                client: *client,
                                message: FromFront::Signal { from: *from, session: 1, body: body.clone() },
                            },
                            None => Route::Return {
                                message: FromFront::Signal {
                                    from: n,
                                    session: 1,
                                    body: Signal::Unreachable {},
                                },
                            },
                        });
                        prop_assert_eq!(board.route(client, n, 1, body), expected);
                    }
                }
                prop_assert_eq!(board.names.len(), plugged.len());
                prop_assert_eq!(board.clients.len(), plugged.len());
            }
        }
    }
}
