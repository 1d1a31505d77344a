//! Carries out what a worker's machine asks of the DHT. Every request ends, whatever the DHT does.

use std::sync::Arc;
use std::time::Duration;

use kollator_core::dht::DhtName;
use kollator_core::node::worker::{DhtCommand, DhtEvent};
use kollator_core::wire::frame::MAX_DHT_PEERS;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{Dht, DhtError};
use crate::storage::StoreDriver;

/// Longest announcement.
const ANNOUNCE_LIMIT: Duration = Duration::from_secs(60);
/// Longest look-up.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(30);

/// Asks a DHT, and the backing store for what there is to announce.
pub(crate) struct DhtDriver {
    dht: Arc<dyn Dht>,
    port: u16,
    store: StoreDriver,
}

impl DhtDriver {
    /// Announces `port`, and lists what `store` has.
    pub(crate) const fn new(dht: Arc<dyn Dht>, port: u16, store: StoreDriver) -> Self {
        Self { dht, port, store }
    }

    /// Does one command. The future is to be spawned: it ends when the command is done, with the machine's answer.
    pub(crate) fn execute(&self, command: DhtCommand) -> impl Future<Output = DhtEvent> + Send + 'static {
        let (dht, port, store) = (Arc::clone(&self.dht), self.port, self.store.clone());
        async move {
            match command {
                DhtCommand::List { after, most } => match store.shares(after, most).await {
                    Ok(shares) => DhtEvent::Listed(Some(shares)),
                    Err(error) => {
                        warn!(%error, "cannot find out what there is to announce");
                        DhtEvent::Listed(None)
                    }
                },
                DhtCommand::Announce(name) => {
                    let heard = within(ANNOUNCE_LIMIT, dht.announce(name, port)).await;
                    DhtEvent::Announced { name, heard: said("an announcement", name, heard).is_some() }
                }
                DhtCommand::LookUp(name) => {
                    let peers = within(LOOK_UP_LIMIT, dht.peers(name, MAX_DHT_PEERS)).await;
                    DhtEvent::Found { name, peers: said("a look-up", name, peers) }
                }
            }
        }
    }
}

async fn within<T>(limit: Duration, ask: impl Future<Output = Result<T, DhtError>>) -> Result<T, DhtError> {
    timeout(limit, ask).await.unwrap_or_else(|_| Err(DhtError(format!("no answer within {} s", limit.as_secs()))))
}

fn said<T>(what: &str, name: DhtName, result: Result<T, DhtError>) -> Option<T> {
    result.inspect_err(|error| debug!(%name, %error, "{what} on the DHT failed")).ok()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::*;
    use crate::blocking::Blocking;
    use crate::storage::{Backing as _, CacheDir, DirBacking, PutMode};
    use kollator_core::id::InfoHash;
    use kollator_core::merkle::sha256;
    use kollator_core::store::Key;

    /// Answers with nothing, ever, or with whatever it was told.
    struct StandIn(Option<Result<Vec<SocketAddrV4>, DhtError>>);

    #[async_trait::async_trait]
    impl Dht for StandIn {
        async fn announce(&self, _name: DhtName, port: u16) -> Result<(), DhtError> {
            assert_eq!(port, 8181);
            self.peers(DhtName([0; 20]), 0).await.map(|_| ())
        }

        async fn peers(&self, _name: DhtName, _most: usize) -> Result<Vec<SocketAddrV4>, DhtError> {
            match &self.0 {
                Some(answer) => answer.clone(),
                None => std::future::pending().await,
            }
        }
    }

    struct Stage {
        folder: tempfile::TempDir,
        backing: Arc<DirBacking>,
        store: StoreDriver,
    }

    impl Stage {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let blocking = Blocking::threads(1);
            let (cache, _) = CacheDir::open(folder.path().join("cache")).expect("an empty folder");
            let backing =
                Arc::new(DirBacking::open(folder.path().join("store"), blocking.clone()).expect("a folder"));
            let store = StoreDriver::new(cache, backing.clone(), blocking);
            Self { folder, backing, store }
        }

        async fn ask(&self, answer: Option<Result<Vec<SocketAddrV4>, DhtError>>, command: DhtCommand) -> DhtEvent {
            DhtDriver::new(Arc::new(StandIn(answer)), 8181, self.store.clone()).execute(command).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_command_has_its_answer_whatever_the_dht_does() {
        let stage = Stage::new();
        let name = DhtName([7; 20]);
        let peers = vec![SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1)];
        for (answer, found) in
            [(Some(Ok(peers.clone())), Some(peers)), (Some(Err(DhtError("no".into()))), None), (None, None)]
        {
            let heard = found.is_some();
            let announced = stage.ask(answer.clone(), DhtCommand::Announce(name)).await;
            assert_eq!(announced, DhtEvent::Announced { name, heard });
            assert_eq!(stage.ask(answer, DhtCommand::LookUp(name)).await, DhtEvent::Found { name, peers: found });
        }
    }

    #[tokio::test]
    async fn shares_are_listed_in_order_and_page_by_page() {
        let stage = Stage::new();
        let mut shares: Vec<InfoHash> = (0..20u8).map(|n| InfoHash(sha256(&[n]))).collect();
        for share in &shares {
            stage.backing.put(Key::Torrent(*share), "ko".into(), PutMode::Create).await.expect("a folder");
        }
        for junk in ["00", "ab.ko", "zz.ko", "READ ME"] {
            std::fs::write(stage.folder.path().join("store/torrents").join(junk), "x").expect("a folder");
        }
        shares.sort_unstable();
        for most in [1, 7, 20, 21] {
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let DhtEvent::Listed(Some(page)) = stage.ask(None, DhtCommand::List { after, most }).await else {
                    panic!("the folder can be read")
                };
                assert!(page.len() <= most);
                let is_last = page.len() < most;
                after = page.last().copied().or(after);
                listed.extend(page);
                if is_last {
                    break;
                }
            }
            assert_eq!(listed, shares, "by {most}");
        }
        std::fs::remove_dir_all(stage.folder.path().join("store")).expect("it is there");
        assert_eq!(stage.ask(None, DhtCommand::List { after: None, most: 1 }).await, DhtEvent::Listed(None));
    }
}
