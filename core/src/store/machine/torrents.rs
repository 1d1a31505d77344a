//! The `.ko`s of shares: kept in memory as long as there is room, fetched once for many, stored for good.

use bytes::Bytes;

use super::{Pending, Store};
use crate::id::InfoHash;
use crate::machine::Instant;
use crate::node::io::Ticket;
use crate::store::MAX_KO_LEN;
use crate::store::answer::{Answer, StoreError};
use crate::store::effect::{Effect, Key, Outcome};

impl Store {
    /// Asks for the `.ko` of a share: [`Answer::Torrent`].
    pub fn torrent(&mut self, now: Instant, ticket: Ticket, info_hash: InfoHash) {
        if let Some(ko) = self.torrents.get(&info_hash) {
            return self.answer(Answer::Torrent { ticket, result: Ok(Some(ko)) });
        }
        if self.waiting >= self.config.max_waiting {
            return self.answer(Answer::Torrent { ticket, result: Err(StoreError::Busy) });
        }
        self.waiting += 1;
        let readers = self.torrent_readers.entry(info_hash).or_default();
        readers.push(ticket);
        if readers.len() == 1 {
            self.lookup_queue.push_back(Pending::FetchTorrent(info_hash));
        }
        self.tidy(now);
    }

    /// Asks for a `.ko`, which must have this info hash, to be stored for good: [`Answer::Stored`].
    pub fn put_torrent(&mut self, now: Instant, ticket: Ticket, info_hash: InfoHash, ko: Bytes) {
        let length = ko.len() as u64;
        if length > MAX_KO_LEN.min(self.config.max_memory) {
            let why = format!("a .ko of {length} bytes is too long");
            return self.answer(Answer::Stored { ticket, result: Err(StoreError::Failed(why)) });
        }
        if self.waiting >= self.config.max_waiting || !self.has_room_for(length) {
            return self.answer(Answer::Stored { ticket, result: Err(StoreError::Busy) });
        }
        self.waiting += 1;
        self.make_room_for(length);
        self.held_bytes += length;
        let pending = Pending::PutTorrent { ticket, info_hash, ko: ko.clone() };
        self.start(pending, |ticket| Effect::PutTorrent { ticket, info_hash, ko });
        self.tidy(now);
    }

    pub(super) fn torrent_fetched(&mut self, info_hash: InfoHash, outcome: Outcome) {
        self.lookups -= 1;
        self.stats.backing_corrupt += u64::from(matches!(outcome, Outcome::Corrupt(_)));
        let result = match outcome {
            Outcome::Torrent(ko) => {
                if let Some(ko) = &ko {
                    self.torrents.insert(info_hash, ko.clone());
                }
                Ok(ko)
            }
            Outcome::Failed(why) | Outcome::Corrupt(why) => {
                let error = StoreError::Failed(why.0.clone());
                self.fault("fetch", Key::Torrent(info_hash), why);
                Err(error)
            }
            other => panic!("a fetch of a .ko ended in {other:?}"),
        };
        for ticket in self.torrent_readers.remove(&info_hash).expect("fetched for someone") {
            self.settle(Answer::Torrent { ticket, result: result.clone() });
        }
    }

    pub(super) fn torrent_put(&mut self, ticket: Ticket, info_hash: InfoHash, ko: Bytes, outcome: Outcome) {
        self.held_bytes -= ko.len() as u64;
        let result = match outcome {
            Outcome::Done => {
                self.torrents.insert(info_hash, ko);
                Ok(())
            }
            Outcome::Failed(why) => {
                let error = StoreError::Failed(why.0.clone());
                self.fault("store", Key::Torrent(info_hash), why);
                Err(error)
            }
            other => panic!("a put of a .ko ended in {other:?}"),
        };
        self.settle(Answer::Stored { ticket, result });
    }
}
