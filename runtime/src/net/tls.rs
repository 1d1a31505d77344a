//! TLS to servers, over any stream. Trust is the operating system's, or what `SSL_CERT_FILE` and
//! `SSL_CERT_DIR` name.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Net;
use super::origin::Origin;

/// A stream to a server, in TLS or not.
#[derive(Debug)]
pub enum Stream<S> {
    /// As it is.
    Plain(S),
    /// In TLS.
    Tls(Box<TlsStream<S>>),
}

/// Connects to `origin` over `net`, in TLS if its scheme asks for that.
///
/// # Errors
/// The connection or the handshake failed, or there is no certificate to trust.
pub async fn connect<N: Net>(net: &N, origin: &Origin) -> io::Result<Stream<N::Stream>> {
    let stream = net.connect(&origin.host, origin.port).await?;
    if !origin.secure {
        return Ok(Stream::Plain(stream));
    }
    let name = ServerName::try_from(origin.host.clone()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{:?} cannot have a certificate", origin.host))
    })?;
    let connector = TlsConnector::from(client_config()?);
    Ok(Stream::Tls(Box::new(connector.connect(name, stream).await?)))
}

/// Read once: the files do not change under a running process in a way that should matter to it.
fn client_config() -> io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    CONFIG.get_or_init(load).clone().map_err(io::Error::other)
}

fn load() -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, refused) = roots.add_parsable_certificates(found.certs);
    for error in &found.errors {
        tracing::warn!(%error, "a trusted certificate cannot be read");
    }
    if added == 0 {
        return Err(format!(
            "no trusted certificates found ({refused} unusable, {} unreadable): set SSL_CERT_FILE",
            found.errors.len()
        ));
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|config| Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
        .map_err(|error| error.to_string())
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
