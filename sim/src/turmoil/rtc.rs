//! A WebRTC runtime over turmoil's UDP.
//!
//! The stack binds a real socket, makes a candidate of its address and hands it to the runtime. So it is given
//! 127.A.B.C (all of 127/8 is the machine's own) on behalf of the simulated host 192.A.B.C; the real socket is
//! dropped unused, turmoil's takes its place, and addresses are mapped on each datagram. Nothing ever leaves
//! the process.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ::turmoil::net::UdpSocket;
use kollator_runtime::rtc::{Binding, RtcConfig};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, Transmit,
};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// First octet of turmoil's addresses, and of those that stand for them.
const SIMULATED: u8 = 192;
const ALIAS: u8 = 127;
/// Ports of a host's peer connections count up from here.
const FIRST_PORT: u16 = 20_000;

/// What becomes of a host's datagrams, to be changed while it runs. Nothing is lost at first.
#[derive(Clone, Debug, Default)]
pub struct Udp(Arc<Loss>);

#[derive(Debug, Default)]
struct Loss {
    /// One datagram in so many is lost; 0: none.
    one_in: AtomicU32,
    passed: AtomicU32,
}

impl Udp {
    /// From now on one datagram in `n` is lost, either way; with 1, all of them.
    pub fn lose_one_in(&self, n: u32) {
        self.0.one_in.store(n, Ordering::Relaxed);
    }

    fn loses(&self) -> bool {
        let one_in = self.0.one_in.load(Ordering::Relaxed);
        one_in > 0 && self.0.passed.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_in)
    }
}

/// Transport settings for the simulated host named `host`, one port after the other. `udp` has its datagrams.
///
/// # Panics
/// If the simulation has no IPv4 host of that name.
#[must_use]
pub fn rtc_config(host: &str, udp: Udp) -> RtcConfig {
    let IpAddr::V4(ip) = ::turmoil::lookup(host) else { panic!("{host} must be an IPv4 host") };
    let ports = AtomicU16::new(FIRST_PORT);
    let binding = Binding::each(move || {
        let port = ports.fetch_add(1, Ordering::Relaxed);
        vec![alias(SocketAddr::new(ip.into(), port))]
    });
    RtcConfig { runtime: Arc::new(SimRuntime { udp }), binding, ..RtcConfig::default() }
}

/// Tasks, timers and sockets of the simulated host that uses it.
#[derive(Clone, Debug, Default)]
pub struct SimRuntime {
    udp: Udp,
}

impl Runtime for SimRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Box<dyn JoinHandle> {
        Box::new(Task(tokio::spawn(future)))
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let local = socket.local_addr()?;
        drop(socket);
        let bind = pin!(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, local.port())));
        let Poll::Ready(bound) = bind.poll(&mut Context::from_waker(Waker::noop())) else {
            return Err(io::Error::other("turmoil binds at once"));
        };
        let udp = self.udp.clone();
        Ok(Arc::new(SimUdp { local, socket: Arc::new(bound?), readable: Mutex::new(None), udp }))
    }

    fn wrap_tcp_listener(&self, _: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect_tcp(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { host.parse().map(|addr| vec![addr]).map_err(io::Error::other) })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        Box::new(Ticks(tokio::time::interval(period)))
    }

    /// # Panics
    /// Always: a simulated host cannot block.
    fn block_on(&self, _: Pin<Box<dyn Future<Output = ()> + '_>>) {
        panic!("a simulated host cannot block");
    }

    fn yield_now(&self) -> BoxFuture<'static, ()> {
        Box::pin(tokio::task::yield_now())
    }

    fn name(&self) -> &'static str {
        "turmoil"
    }
}

struct Task(tokio::task::JoinHandle<()>);

impl JoinHandle for Task {
    fn detach(&self) {}

    fn abort(&self) {
        self.0.abort();
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

struct Ticks(tokio::time::Interval);

impl AsyncInterval for Ticks {
    fn tick(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.0.tick().await;
        })
    }
}

struct SimUdp {
    /// As the stack knows it.
    local: SocketAddr,
    socket: Arc<UdpSocket>,
    readable: Mutex<Option<BoxFuture<'static, io::Result<()>>>>,
    udp: Udp,
}

impl fmt::Debug for SimUdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimUdp").field(&self.local).finish()
    }
}

impl AsyncUdpSocket for SimUdp {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        if !self.udp.loses() {
            // What cannot be delivered is lost without a word, as on any network.
            let _ = self.socket.try_send_to(transmit.contents, unalias(transmit.destination));
        }
        Poll::Ready(Ok(transmit.contents.len()))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buf), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        let mut readable = self.readable.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(wait) = readable.as_mut() {
                if wait.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                *readable = None;
            }
            if let Ok((len, from)) = self.socket.try_recv_from(buf) {
                if self.udp.loses() {
                    continue;
                }
                *meta = RecvMeta::default();
                meta.addr = alias(from);
                meta.len = len;
                meta.stride = len.max(1);
                meta.dst_ip = Some(self.local.ip());
                return Poll::Ready(Ok(1));
            }
            let socket = self.socket.clone();
            *readable = Some(Box::pin(async move { socket.readable().await }));
        }
    }
}

fn alias(addr: SocketAddr) -> SocketAddr {
    map(addr, SIMULATED, ALIAS)
}

fn unalias(addr: SocketAddr) -> SocketAddr {
    map(addr, ALIAS, SIMULATED)
}

fn map(addr: SocketAddr, from: u8, to: u8) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.octets()[0] == from => {
            let [_, b, c, d] = ip.octets();
            SocketAddr::new(Ipv4Addr::new(to, b, c, d).into(), addr.port())
        }
        _ => addr,
    }
}
