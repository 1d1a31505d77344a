//! A WebRTC runtime whose UDP sockets have buffers of a chosen size; everything else is the inner runtime's.
//!
//! The kernel's default of about 200 KiB loses datagrams as soon as one burst meets a busy receiver, and
//! SCTP takes each loss for congestion: enlarging it is worth a factor of twenty on a fast path.

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

/// See the module.
#[derive(Debug)]
pub(super) struct Buffered {
    inner: Arc<dyn Runtime>,
    /// Bytes for each direction.
    buffer: usize,
    warned: AtomicBool,
}

impl Buffered {
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

impl Runtime for Buffered {
    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        self.enlarge(&socket)?;
        self.inner.wrap_udp_socket(socket)
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) -> Box<dyn JoinHandle> {
        self.inner.spawn(future)
    }

    fn spawn_reactor(&self, size: usize, future: BoxFuture<'static, ()>) -> Box<dyn JoinHandle> {
        self.inner.spawn_reactor(size, future)
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.inner.wrap_tcp_listener(listener)
    }

    fn connect_tcp(&self, remote: SocketAddr) -> BoxFuture<'_, io::Result<Arc<dyn AsyncTcpStream>>> {
        self.inner.connect_tcp(remote)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.inner.resolve_host(host)
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.inner.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.inner.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.inner.block_on(future);
    }

    fn yield_now(&self) -> BoxFuture<'static, ()> {
        self.inner.yield_now()
    }

    fn name(&self) -> &'static str {
        self.inner.name()
    }
}
