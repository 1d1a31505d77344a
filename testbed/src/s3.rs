//! An S3 server over a folder, for tests and for the network on one machine. Not for anything that matters: it
//! does not promise that what it acknowledged survives a power cut.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long open requests may take to finish when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// The one pair of keys that a server accepts.
#[derive(Clone)]
pub struct Keys {
    /// Access key id.
    pub access: String,
    /// Secret access key.
    pub secret: String,
}

/// Serves `root`, created if it is missing, on `listener` until `stop` is done; then open requests finish.
///
/// # Errors
/// If the folder or the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    root: PathBuf,
    keys: Keys,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let service = service(root, keys)?;
    tracing::info!(endpoint = %format_args!("http://{}", listener.local_addr()?), "serving S3");
    let http = Builder::new(TokioExecutor::new());
    let (stopping, _) = watch::channel(());
    let mut open = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = open.join_next() => continue,
            () = &mut stop => break,
        };
        let connection = http.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
        let mut stopped = stopping.subscribe();
        open.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let result = tokio::select! {
                result = &mut connection => result,
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                tracing::debug!(%error, "a connection broke");
            }
        });
    }
    // Nobody listens any more if no connection is open.
    let _ = stopping.send(());
    let drained = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        tracing::warn!("requests were still open when the server stopped");
    }
    Ok(())
}

fn service(root: PathBuf, keys: Keys) -> anyhow::Result<S3Service> {
    std::fs::create_dir_all(&root).with_context(|| format!("could not create {}", root.display()))?;
    let files = FileSystem::new(&root).map_err(|error| anyhow::anyhow!("{error:?}"));
    let files = files.with_context(|| format!("could not serve {}", root.display()))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(keys.access, keys.secret));
    Ok(builder.build())
}
