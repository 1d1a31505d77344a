//! The transport over the `webrtc` crate: its settings, and the table of connections.
//!
//! A connection is set up, fed and torn down by tasks of its own ([`super::connection`]); nothing here waits.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kollator_core::rtc::{ConnId, RtcCommand, RtcEvent};
use kollator_core::wire::codec::MAX_MESSAGE;
use kollator_core::wire::signal::IceServer;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::ice::url::{SchemeType, Url};
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use tokio::sync::watch;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceServer,
    SettingEngineBuilder,
};
use webrtc::runtime::{Runtime, TokioRuntime};

use super::Transport;
use super::connection::{Connection, Role};
use super::socket::{Base, ConnectionRuntime};
use crate::event::EventSink;

/// Bytes of the send buffer of a connection. Without a limit a send never waits, and memory grows without bound. A path
/// carries at most so much in each round trip.
const SEND_BUFFER: (usize, usize) = (128 << 10, 1 << 20);
/// Bytes of send buffers of all connections together, shared evenly as far as the range above goes.
const SEND_BUFFERS: usize = 128 << 20;
/// Between two rounds of connectivity checks. Set-up takes three rounds whatever the network's speed, and the
/// stack's own 200 ms would be nearly all of the time it takes between neighbours.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// More than the rounds that fit between the first check and the time-out of all of them.
const MAX_CHECKS: u16 = 250;
/// How long a path through a NAT waits for a direct one to turn out to work; four times that for a relay.
const BETTER_PATH_WAIT: Duration = Duration::from_millis(200);
/// Longest message of a data channel: a frame. The stack keeps a buffer of this length for each connection.
const MAX_SCTP_MESSAGE: u32 = MAX_MESSAGE as u32;

/// What to bind for each connection: one UDP socket an address, each one a host candidate.
#[derive(Clone)]
pub struct Binding(Arc<dyn Fn() -> Vec<SocketAddr> + Send + Sync>);

impl Binding {
    /// Every interface that is up, and 127.0.0.1, so that two nodes on one machine without a network find
    /// each other.
    #[must_use]
    pub fn interfaces() -> Self {
        // The stack expands a wildcard to the addresses of all interfaces but loopback ones.
        Self::addrs(vec![
            (Ipv4Addr::UNSPECIFIED, 0).into(),
            (Ipv6Addr::UNSPECIFIED, 0).into(),
            (Ipv4Addr::LOCALHOST, 0).into(),
        ])
    }

    /// These addresses; port 0 chooses one.
    #[must_use]
    pub fn addrs(addrs: Vec<SocketAddr>) -> Self {
        Self::each(move || addrs.clone())
    }

    /// What `choose` says, asked once for each connection.
    #[must_use]
    pub fn each(choose: impl Fn() -> Vec<SocketAddr> + Send + Sync + 'static) -> Self {
        Self(Arc::new(choose))
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Binding").field(&(self.0)()).finish()
    }
}

/// Settings of the transport.
#[derive(Clone, Debug)]
pub struct RtcConfig {
    /// Tasks, timers and sockets.
    pub runtime: Arc<dyn Runtime>,
    /// Addresses of our candidates.
    pub binding: Binding,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// Bytes of buffer asked of the kernel for each UDP socket and direction.
    pub socket_buffer: usize,
    /// Longest wait for STUN and TURN servers before describing ourselves with the candidates we have.
    pub gather_timeout: Duration,
}

impl Default for RtcConfig {
    fn default() -> Self {
        Self {
            runtime: Arc::new(TokioRuntime),
            binding: Binding::interfaces(),
            ice_servers: Vec::new(),
            socket_buffer: 4 << 20,
            gather_timeout: Duration::from_secs(2),
        }
    }
}

/// A STUN or TURN server that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ICE server {url:?}: {reason}")]
pub struct BadIceServer {
    /// As it was given.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What every connection shares.
#[derive(Debug)]
pub(super) struct Shared {
    base: Arc<Base>,
    binding: Binding,
    ice_servers: Mutex<Vec<RTCIceServer>>,
    pub(super) gather_timeout: Duration,
    /// Connections that still hold anything.
    pub(super) live: watch::Sender<usize>,
}

impl Shared {
    fn ice_servers(&self) -> Vec<RTCIceServer> {
        self.ice_servers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn use_ice_servers(&self, servers: Vec<IceServer>) {
        let usable = servers.into_iter().filter_map(|server| {
            ice_server(server).inspect_err(|error| tracing::warn!(%error, "the front names a useless server")).ok()
        });
        *self.ice_servers.lock().unwrap_or_else(PoisonError::into_inner) = usable.collect();
    }

    pub(super) async fn connect(
        &self,
        handler: Arc<dyn PeerConnectionEventHandler>,
    ) -> Result<(Arc<dyn PeerConnection>, Arc<ConnectionRuntime>), webrtc::error::Error> {
        let runtime = Arc::new(ConnectionRuntime::new(self.base.clone()));
        let settings = SettingEngineBuilder::new()
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_include_loopback_candidate(true)
            .with_ice_timeouts(
                Some(Duration::from_millis(1500)),
                Some(Duration::from_millis(2500)),
                Some(Duration::from_millis(500)),
            )
            .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(MAX_CHECKS))
            .with_srflx_acceptance_min_wait(Some(BETTER_PATH_WAIT))
            .with_prflx_acceptance_min_wait(Some(BETTER_PATH_WAIT))
            .with_relay_acceptance_min_wait(Some(4 * BETTER_PATH_WAIT))
            .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_SCTP_MESSAGE))
            .build();
        let configuration = RTCConfigurationBuilder::new().with_ice_servers(self.ice_servers()).build();
        let send_buffer = send_buffer(*self.live.borrow());
        let connection = PeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_setting_engine(settings)
            .with_handler(handler)
            .with_runtime(runtime.clone())
            .with_udp_addrs((self.binding.0)())
            .with_data_channel_send_buffer_limit(send_buffer)
            .build()
            .await?;
        Ok((Arc::new(connection), runtime))
    }
}

/// Bytes of the send buffer of a connection where there are so many.
fn send_buffer(connections: usize) -> usize {
    (SEND_BUFFERS / connections.max(1)).clamp(SEND_BUFFER.0, SEND_BUFFER.1)
}

/// The real thing.
#[derive(Debug)]
pub struct WebRtc {
    shared: Arc<Shared>,
    sink: EventSink<RtcEvent>,
    connections: BTreeMap<ConnId, Connection>,
}

impl WebRtc {
    /// A transport without connections yet.
    ///
    /// # Errors
    /// An ICE server's URL cannot be used.
    pub fn new(config: RtcConfig, sink: EventSink<RtcEvent>) -> Result<Self, BadIceServer> {
        let shared = Shared {
            base: Arc::new(Base::new(config.runtime, config.socket_buffer)),
            binding: config.binding,
            ice_servers: Mutex::new(config.ice_servers.into_iter().map(ice_server).collect::<Result<_, _>>()?),
            gather_timeout: config.gather_timeout,
            live: watch::Sender::new(0),
        };
        Ok(Self { shared: Arc::new(shared), sink, connections: BTreeMap::new() })
    }

    fn begin(&mut self, conn: ConnId, role: Role) {
        // Connections that ended by themselves leave their entries behind.
        self.connections.retain(|_, connection| !connection.is_over());
        self.connections.insert(conn, Connection::spawn(conn, role, self.shared.clone(), &self.sink));
    }
}

impl Transport for WebRtc {
    fn execute(&mut self, command: RtcCommand) {
        match command {
            RtcCommand::UseIceServers { servers } => self.shared.use_ice_servers(servers),
            RtcCommand::Offer { conn } => self.begin(conn, Role::Offer),
            RtcCommand::Accept { conn, sdp } => self.begin(conn, Role::Accept { sdp }),
            RtcCommand::SetAnswer { conn, sdp } => {
                if let Some(connection) = self.connections.get(&conn) {
                    connection.set_answer(sdp);
                }
            }
            RtcCommand::AddCandidate { conn, candidate } => {
                if let Some(connection) = self.connections.get(&conn) {
                    connection.add_candidate(candidate);
                }
            }
            RtcCommand::Send { conn, frame } => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.send(frame);
                }
            }
            RtcCommand::Close { conn, flush } => {
                if let Some(connection) = self.connections.remove(&conn) {
                    connection.close(flush);
                }
            }
        }
    }

    fn idle(&self) -> BoxFuture<'static, ()> {
        let mut live = self.shared.live.subscribe();
        Box::pin(async move {
            // An error says that the last holder of the count is gone, and with it the last connection.
            let _ = live.wait_for(|live| *live == 0).await;
        })
    }
}

fn ice_server(server: IceServer) -> Result<RTCIceServer, BadIceServer> {
    for url in &server.urls {
        let bad = |reason: String| BadIceServer { url: url.clone(), reason };
        let parsed = Url::parse_url(url).map_err(|error| bad(error.to_string()))?;
        let turn = matches!(parsed.scheme, SchemeType::Turn | SchemeType::Turns);
        if turn && (server.username.is_none() || server.credential.is_none()) {
            return Err(bad("a TURN server needs a username and a credential".into()));
        }
    }
    Ok(RTCIceServer {
        urls: server.urls,
        username: server.username.unwrap_or_default(),
        credential: server.credential.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn send_buffers_shrink_as_connections_become_many() {
        let (least, most) = SEND_BUFFER;
        assert_eq!((send_buffer(0), send_buffer(1), send_buffer(1_000_000)), (most, most, least));
        for connections in [128, 500, 1000, 1024] {
            assert!(send_buffer(connections) * connections <= SEND_BUFFERS);
        }
    }
}
