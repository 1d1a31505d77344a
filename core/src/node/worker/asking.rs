//! What is asked of a worker other than over a data channel, over HTTP that is: answered out of the same store, within
//! a limit of its own, so that neither kind of reader keeps the other out. It never verifies: what the store hands out
//! was verified when it was read.

use super::{Ask, AskError, AskId, MAX_ASK_BLOCKS, Question, Told, Worker, WorkerOutput};
use crate::machine::Instant;
use crate::store::{Part, PartData, StoreError};

/// What is open, and what was done.
#[derive(Debug, Default)]
pub(super) struct Asking {
    open: usize,
    bytes: u64,
}

impl Worker {
    /// Bytes of blocks given to those who asked other than over a data channel.
    #[must_use]
    pub const fn bytes_told(&self) -> u64 {
        self.asking.bytes
    }

    /// Asks waiting for their answer.
    #[must_use]
    pub const fn open_asks(&self) -> usize {
        self.asking.open
    }

    pub(super) fn ask(&mut self, now: Instant, id: AskId, ask: Ask) {
        if let Err(error) = self.may_ask(ask) {
            return self.out.push(WorkerOutput::Told { id, result: Err(error) });
        }
        self.asking.open += 1;
        if ask == Ask::ClearCache {
            let chunks = self.store.clear_cache(now);
            return self.tell(id, Ok(Told::Cleared { chunks }));
        }
        if let Ask::Announce(item) = ask {
            return self.announce_asked(now, id, item);
        }
        let ticket = self.question(Question::Asked(id));
        match ask {
            Ask::Torrent(info_hash) => self.store.torrent(now, ticket, info_hash),
            Ask::Has(chunk) => self.store.contains(now, ticket, chunk),
            Ask::Blocks { chunk, first, count } => {
                self.store.read(now, ticket, chunk, Part::Blocks { first, count });
            }
            Ask::Leaves(chunk) => self.store.read(now, ticket, chunk, Part::Leaves),
            Ask::ClearCache | Ask::Announce(_) => unreachable!("dealt with above"),
        }
    }

    const fn may_ask(&self, ask: Ask) -> Result<(), AskError> {
        if self.draining {
            return Err(AskError::Leaving);
        }
        if self.asking.open >= self.config.max_asks {
            return Err(AskError::Store(StoreError::Busy));
        }
        match ask {
            Ask::Blocks { count, .. } if count > MAX_ASK_BLOCKS => Err(AskError::TooMuch),
            Ask::Announce(_) if !self.has_dht() => Err(AskError::NoDht),
            _ => Ok(()),
        }
    }

    /// The store has read what was asked for.
    pub(super) fn read_for(&mut self, id: AskId, result: Result<PartData, StoreError>) {
        let result = result.map(|data| match data {
            PartData::Blocks(data) => {
                self.asking.bytes += data.len() as u64;
                Told::Blocks(data)
            }
            PartData::Leaves(leaves) => Told::Leaves(leaves),
        });
        self.tell(id, result);
    }

    /// Answers an ask that was counted as open.
    pub(super) fn tell(&mut self, id: AskId, result: Result<Told, StoreError>) {
        self.settle_ask(id, result.map_err(AskError::Store));
    }

    /// The same, where it is not the store that refuses.
    pub(super) fn settle_ask(&mut self, id: AskId, result: Result<Told, AskError>) {
        self.asking.open -= 1;
        self.out.push(WorkerOutput::Told { id, result });
    }
}
