//! The WebRTC runtime of one connection: larger socket buffers, and no idle waits while it is set up.
//! Everything else is the inner runtime's.
//!
//! The kernel's default of about 200 KiB loses datagrams as soon as one burst meets a busy receiver, and
//! SCTP takes each loss for congestion: enlarging it is worth a factor of twenty on a fast path.
//!
//! The stack's loop writes what is due, then handles what has arrived, then sleeps. What handling leaves to be
//! written (the first message of DTLS, of SCTP, of the data channel) waits for the next timer: three waits
//! that add 400 ms to the 5 ms that setting up takes between neighbours. So while a connection is set up,
//! every second sleep is only a yield.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::SockRef;
use webrtc::runtime::{AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the connections of a transport share.
#[derive(Debug)]
pub(super) struct Base {
    inner: Arc<dyn Runtime>,
    /// Bytes for each direction of a socket.
    buffer: usize,
    warned: AtomicBool,
}

impl Base {
    pub(super) fn new(inner: Arc<dyn Runtime>, buffer: usize) -> Self {
        Self { inner, buffer, warned: AtomicBool::new(false) }
    }

    fn enlarge(&self, socket: &std::net::UdpSocket) -> io::Result<()> {
        let socket = SockRef::from(socket);
        socket.set_recv_buffer_size(self.buffer)?;
        socket.set_send_buffer_size(self.buffer)?;
        // Linux reports twice what it grants.
        let granted = socket.recv_buffer_size()?.min(socket.send_buffer_size()?);
        if granted < self.buffer && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                asked = self.buffer,
                granted,
                "the kernel capped UDP socket buffers, which slows transfers: raise net.core.rmem_max and \
                 net.core.wmem_max"
            );
        }
        Ok(())
    }
}

/// The runtime of one connection.
#[derive(Debug)]
pub(super) struct ConnectionRuntime {
    base: Arc<Base>,
    settled: AtomicBool,
    /// Whether the next sleep of a connection in set-up is a yield.
    yield_next: AtomicBool,
}

impl ConnectionRuntime {
    pub(super) fn new(base: Arc<Base>) -> Self {
        Self { base, settled: AtomicBool::new(false), yield_next: AtomicBool::new(false) }
    }

    /// It is set up, or given up: sleeps are sleeps from now on.
    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }
}

impl Runtime for ConnectionRuntime {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if !self.settled.load(Ordering::Relaxed) && self.yield_next.fetch_xor(true, Ordering::Relaxed) {
            return self.base.inner.yield_now();
        }
        self.base.inner.sleep(duration)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        self.base.enlarge(&socket)?;
        self.base.inner.wrap_udp_socket(socket)
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) -> Box<dyn JoinHandle> {
        self.base.inner.spawn(future)
    }

    fn spawn_reactor(&self, size: usize, future: BoxFuture<'static, ()>) -> Box<dyn JoinHandle> {
        self.base.inner.spawn_reactor(size, future)
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.base.inner.wrap_tcp_listener(listener)
    }

    fn connect_tcp(&self, remote: SocketAddr) -> BoxFuture<'_, io::Result<Arc<dyn AsyncTcpStream>>> {
        self.base.inner.connect_tcp(remote)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.base.inner.resolve_host(host)
    }

    fn now(&self) -> Instant {
        self.base.inner.now()
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.base.inner.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.base.inner.block_on(future);
    }

    fn yield_now(&self) -> BoxFuture<'static, ()> {
        self.base.inner.yield_now()
    }

    fn name(&self) -> &'static str {
        self.base.inner.name()
    }
}
