//! A running peer: core's machine with its link to a front, its WebRTC connections and its disk.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kollator_core::id::InfoHash;
use kollator_core::node::io::DiskCommand;
use kollator_core::node::peer::{
    Command, Peer, PeerConfig, PeerEvent, PeerInput, PeerOutput, Progress, SourceStatus,
};
use kollator_core::rtc::RtcEvent;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::lanes;
use super::tasks::Tasks;
use super::web::WebClient;
use crate::blocking::Blocking;
use crate::disk::Disk;
use crate::driver::{self, Handle, Host};
use crate::event::{EventSink, Stopped};
use crate::link::{FrontUrl, Link};
use crate::net::Net;
use crate::rtc::Transport;

/// Longest wait at shutdown for connections to send what is queued and close.
const GRACE: Duration = Duration::from_secs(3);

/// What a peer is made of.
#[derive(Debug)]
pub struct PeerOptions {
    /// The machine's settings; its number of fronts is that of `fronts`.
    pub config: PeerConfig,
    /// Where its fronts are. With none, it asks only workers that are named to it, over HTTP.
    pub fronts: Vec<FrontUrl>,
    /// Its shares and downloads.
    pub disk: Disk,
    /// Where disk work and hashing run.
    pub blocking: Blocking,
}

/// A running peer. Dropped, it stops at once without a word to anyone; see [`PeerNode::shutdown`].
pub struct PeerNode {
    handle: Handle<Peer>,
    idle: BoxFuture<'static, ()>,
    task: JoinHandle<()>,
}

impl fmt::Debug for PeerNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerNode").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Drop for PeerNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PeerNode {
    /// Starts a peer on `net`. `transport` makes its WebRTC transport around the sink of its events. What the
    /// peer says comes out of the receiver, which is to be read or dropped; it ends if the peer breaks down.
    ///
    /// # Errors
    /// What `transport` says.
    pub fn start<N: Net, T: Transport + 'static, E>(
        options: PeerOptions,
        net: N,
        transport: impl FnOnce(EventSink<RtcEvent>) -> Result<T, E>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<PeerEvent>), E> {
        let PeerOptions { mut config, fronts, disk, blocking } = options;
        config.fronts = fronts.len();
        let (handle, mailbox) = driver::mailbox();
        let transport = transport(handle.sink(PeerInput::Rtc))?;
        let idle = transport.idle();
        let (tasks, panics) = Tasks::new();
        let (events, told) = mpsc::unbounded_channel();
        let execute = move |command| disk.execute(command);
        let host = PeerHost {
            web: WebClient::new(net.clone(), tasks.clone(), handle.sink(PeerInput::Web)),
            link: Link::new(net, fronts, handle.sink(PeerInput::Link)),
            transport,
            disk: lanes::start(&tasks, &blocking, execute, &handle.sink(PeerInput::Disk)),
            events,
        };
        let machine = driver::run(Peer::new(config), mailbox, || PeerInput::Wake, host);
        let task = tokio::spawn(async move {
            panics.watch(machine).await;
        });
        Ok((Self { handle, idle, task }, told))
    }

    /// Asks something of the peer.
    ///
    /// # Errors
    /// It broke down.
    pub async fn command(&self, command: Command) -> Result<(), Stopped> {
        self.handle.send(PeerInput::Command(command)).await
    }

    /// How a download stands; `None` if there is none of that name.
    ///
    /// # Errors
    /// It broke down.
    pub async fn progress(&self, info_hash: InfoHash) -> Result<Option<Progress>, Stopped> {
        self.handle.query(move |peer| peer.progress(info_hash)).await
    }

    /// How each connected source of a download stands.
    ///
    /// # Errors
    /// It broke down.
    pub async fn sources(&self, info_hash: InfoHash) -> Result<Vec<SourceStatus>, Stopped> {
        self.handle.query(move |peer| peer.sources(info_hash)).await
    }

    /// Bytes of blocks served to others so far.
    ///
    /// # Errors
    /// It broke down.
    pub async fn bytes_served(&self) -> Result<u64, Stopped> {
        self.handle.query(|peer| peer.bytes_served()).await
    }

    /// Leaves every swarm, sends what is queued for at most three seconds, closes every connection and stops.
    pub async fn shutdown(mut self) {
        let leave = async {
            self.handle.send(PeerInput::Command(Command::Shutdown)).await?;
            // Answered once the outputs of the shutdown have been carried out.
            self.handle.query(|_| ()).await?;
            (&mut self.idle).await;
            Ok::<_, Stopped>(())
        };
        // Too late or broken down: there is nothing left to wait for either way.
        let _ = timeout(GRACE, leave).await;
    }
}

struct PeerHost<N: Net, T> {
    link: Link<N>,
    transport: T,
    web: WebClient<N>,
    disk: mpsc::UnboundedSender<DiskCommand>,
    events: mpsc::UnboundedSender<PeerEvent>,
}

impl<N: Net, T: Transport> Host<Peer> for PeerHost<N, T> {
    fn execute(&mut self, output: PeerOutput) -> ControlFlow<()> {
        match output {
            PeerOutput::Link(command) => self.link.execute(command),
            PeerOutput::Rtc(command) => self.transport.execute(command),
            PeerOutput::Disk(command) => {
                if self.disk.send(command).is_err() {
                    return ControlFlow::Break(());
                }
            }
            PeerOutput::Web(command) => self.web.execute(command),
            PeerOutput::Event(event) => {
                tracing::debug!(?event);
                // Nobody has to listen.
                let _ = self.events.send(event);
            }
        }
        ControlFlow::Continue(())
    }
}
