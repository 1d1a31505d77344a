//! The connections between fronts: this front dials every other and sends only there; it accepts every other and
//! reads only there. Carries bytes that `kollator_core::cluster::channel` proves, and knows nothing of what they
//! mean. A message may be lost with its connection: what fronts say to each other makes up for that.

mod accept;
mod dial;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kollator_core::auth::SharedKey;
use kollator_core::cluster::FrontId;
use kollator_core::cluster::channel::Nonce;
use kollator_core::cluster::roster::Roster;
use tokio::task::JoinSet;

pub use self::accept::Acceptor;
use self::queue::Queue;
use crate::event::EventSink;
use crate::link::FrontUrl;
use crate::net::Net;

/// Where a front accepts the others.
pub const PATH: &str = "/worker-sync";

/// Longest wait for a connection, and again for its handshake.
const SETUP_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection on which nothing came for so long is dead: fronts have something to say many times a second.
const SILENCE: Duration = Duration::from_secs(5);

/// What happened on the connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncEvent {
    /// The connection to that front is open, and its end proved itself: [`Links::send`] reaches it.
    Up {
        /// Which front.
        front: FrontId,
    },
    /// It is gone. What was sent and did not arrive is lost.
    Down {
        /// Which front.
        front: FrontId,
        /// Why, in words.
        reason: String,
    },
    /// That front said something, on the connection that it opened.
    Message {
        /// Which front.
        front: FrontId,
        /// What it said: at most `kollator_core::wire::sync::MAX_MESSAGE` bytes.
        data: Bytes,
    },
}

/// The connections that this front opens. Dropping it closes them.
#[derive(Debug)]
pub struct Links {
    queues: BTreeMap<FrontId, Arc<Queue>>,
    /// Ends with this: a dropped set aborts its tasks.
    _tasks: JoinSet<()>,
}

impl Links {
    /// Begins to dial every other front of `roster`, and goes on for as long as this lives.
    ///
    /// # Panics
    /// If `urls` lacks one of them, or outside a tokio runtime.
    pub fn start<N: Net>(
        net: &N,
        key: &SharedKey,
        roster: &Roster,
        urls: &BTreeMap<FrontId, FrontUrl>,
        sink: &EventSink<SyncEvent>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let queues = roster.others().map(|front| {
            let queue = Arc::new(Queue::default());
            let link = dial::Link {
                net: net.clone(),
                key: key.clone(),
                roster: roster.clone(),
                front,
                url: urls.get(&front).cloned().unwrap_or_else(|| panic!("no URL of {}", roster.name(front))),
                queue: queue.clone(),
                sink: sink.clone(),
            };
            tasks.spawn(link.run());
            (front, queue)
        });
        Self { queues: queues.collect(), _tasks: tasks }
    }

    /// Queues a message for that front and returns at once. Dropped if its connection is not open; if too much
    /// waits already, the connection goes down and everything that waits is dropped.
    ///
    /// # Panics
    /// If it is none of the other fronts, or the message is longer than `kollator_core::wire::sync::MAX_MESSAGE`.
    pub fn send(&self, front: FrontId, message: Bytes) {
        self.queues.get(&front).unwrap_or_else(|| panic!("{front} is no other front")).push(message);
    }
}

/// Bytes that nobody can guess.
fn nonce() -> Nonce {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).expect("the operating system gives random numbers");
    nonce
}
