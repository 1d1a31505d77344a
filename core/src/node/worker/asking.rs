//! What is asked of a worker other than over a data channel, over HTTP that is, by anyone or by another worker: answered
//! out of the same store, within a limit of its own for each, so that no kind of reader keeps another out. What anyone reads
//! waits for its turn under the limit on all that is sent; what another worker reads does not, for it would go to the
//! backing store instead. It never verifies: what the store hands out was verified when it was read.

use std::collections::BTreeMap;

use super::{Ask, AskError, AskId, AskKind, MAX_ASK_BLOCKS, Question, Told, Worker, WorkerOutput};
use crate::machine::Instant;
use crate::node::io::Ticket;
use crate::store::{Part, PartData, StoreError};

/// What is open, and what was done.
#[derive(Debug, Default)]
pub(super) struct Asking {
    open: usize,
    open_reads: usize,
    /// Of these, read and waiting for their turn.
    held: BTreeMap<Ticket, (AskId, Told)>,
    bytes: u64,
    open_for_workers: usize,
    bytes_for_workers: u64,
}

impl Asking {
    /// Whether nothing waits for its turn.
    pub(super) fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }
}

impl Worker {
    /// Bytes of blocks given to those who asked other than over a data channel.
    #[must_use]
    pub const fn bytes_told(&self) -> u64 {
        self.asking.bytes
    }

    /// Most blocks that one [`Ask::Blocks`] may ask for.
    #[must_use]
    pub fn ask_blocks(&self) -> u16 {
        self.config.ask_blocks()
    }

    /// Bytes of blocks given to other workers.
    #[must_use]
    pub const fn bytes_told_to_workers(&self) -> u64 {
        self.asking.bytes_for_workers
    }

    /// Asks waiting for their answer, those of other workers included.
    #[must_use]
    pub const fn open_asks(&self) -> usize {
        self.asking.open + self.asking.open_reads + self.asking.open_for_workers
    }

    pub(super) fn ask(&mut self, now: Instant, id: AskId, ask: Ask) {
        if let Err(error) = self.may_ask(ask) {
            return self.out.push(WorkerOutput::Told { id, result: Err(error) });
        }
        if let Ask::BlocksForWorker { chunk, first, count } = ask {
            self.asking.open_for_workers += 1;
            let ticket = self.question(Question::AskedByWorker(id));
            return self.store.read_for_worker(now, ticket, chunk, Part::Blocks { first, count });
        }
        match ask.kind() {
            AskKind::Read => self.asking.open_reads += 1,
            _ => self.asking.open += 1,
        }
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
            Ask::BlocksForWorker { .. } | Ask::ClearCache | Ask::Announce(_) => unreachable!("dealt with above"),
        }
    }

    fn may_ask(&self, ask: Ask) -> Result<(), AskError> {
        if self.draining {
            return Err(AskError::Leaving);
        }
        let is_full = match ask.kind() {
            AskKind::ForWorker => self.asking.open_for_workers >= self.config.max_worker_asks,
            AskKind::Read => self.asking.open_reads >= self.config.max_asks,
            AskKind::Other => self.asking.open >= self.config.max_asks,
        };
        if is_full {
            return Err(AskError::Store(StoreError::Busy));
        }
        match ask {
            Ask::Blocks { count, .. } if count > self.config.ask_blocks() => Err(AskError::TooMuch),
            Ask::BlocksForWorker { count, .. } if count > MAX_ASK_BLOCKS => Err(AskError::TooMuch),
            Ask::Announce(_) if !self.has_dht() => Err(AskError::NoDht),
            _ => Ok(()),
        }
    }

    /// The store has read what was asked for, or would not.
    pub(super) fn read_for(&mut self, ticket: Ticket, id: AskId, result: Result<PartData, StoreError>) {
        let (told, bytes) = match result {
            Ok(PartData::Blocks(data)) => {
                let bytes = data.len();
                (Told::Blocks(data), bytes)
            }
            Ok(PartData::Leaves(leaves)) => {
                let bytes = leaves.len() * 32;
                (Told::Leaves(leaves), bytes)
            }
            Err(error) => {
                self.asking.open_reads -= 1;
                return self.out.push(WorkerOutput::Told { id, result: Err(AskError::Store(error)) });
            }
        };
        self.asking.held.insert(ticket, (id, told));
        self.upload.wait(ticket, bytes as u32);
    }

    /// It is the turn of what was read.
    pub(super) fn tell_held(&mut self, ticket: Ticket) {
        let (id, told) = self.asking.held.remove(&ticket).expect("what waits is held");
        if let Told::Blocks(data) = &told {
            self.asking.bytes += data.len() as u64;
        }
        self.asking.open_reads -= 1;
        self.out.push(WorkerOutput::Told { id, result: Ok(told) });
    }

    /// The store has read what another worker asked for, or would not.
    pub(super) fn read_for_worker(&mut self, id: AskId, result: Result<PartData, StoreError>) {
        self.asking.open_for_workers -= 1;
        let result = result.map(|data| match data {
            PartData::Blocks(data) => {
                self.asking.bytes_for_workers += data.len() as u64;
                Told::Blocks(data)
            }
            PartData::Leaves(_) => unreachable!("only blocks can be asked for"),
        });
        self.out.push(WorkerOutput::Told { id, result: result.map_err(AskError::Store) });
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
