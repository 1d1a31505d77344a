//! What a download knows of one chunk that it wants: which blocks it has, who was asked for the rest.

use crate::id::{ChunkId, Digest};
use crate::machine::Instant;
use crate::merkle::ChunkLeaves;
use crate::rtc::ConnId;

/// Most sources asked for one block at the same time, in the end game.
pub(crate) const MAX_ASKED: usize = 3;

/// Where a block stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Missing,
    /// Asked of these.
    Asked(Vec<ConnId>),
    /// Came, being hashed, or waiting for the chunk's leaves, or being written.
    Here,
    /// Written.
    Done,
}

/// A chunk that is wanted and not complete.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) id: ChunkId,
    /// Sources that have it, those with everything not counted.
    pub(crate) holders: u32,
    /// What an earlier run left, believed once the leaves say so.
    pub(crate) claims: Option<Vec<Option<Digest>>>,
    /// Present while it is being fetched.
    pub(crate) open: Option<Open>,
}

/// The state of a chunk that is being fetched.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) leaves: Option<ChunkLeaves>,
    /// Who was asked for the leaves, and when.
    pub(crate) leaves_asked: Option<(ConnId, Instant)>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) missing: u16,
    pub(crate) done: u16,
}

impl Open {
    pub(crate) fn new(id: ChunkId) -> Self {
        let blocks = id.blocks();
        // A lone block whose hash is the root needs no one to tell its leaf.
        let leaves = ChunkLeaves::prove(id, [id.root()]);
        Self {
            leaves,
            leaves_asked: None,
            blocks: vec![Block::Missing; usize::from(blocks)],
            missing: blocks,
            done: 0,
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        usize::from(self.done) == self.blocks.len()
    }

    /// The first run of missing blocks, at most `most` of them.
    pub(crate) fn missing_run(&self, most: u16) -> Option<(u16, u16)> {
        self.missing_run_in(0, self.blocks.len() as u16, most)
    }

    /// The first run of missing blocks from block `from` to before `end`, at most `most` of them.
    pub(crate) fn missing_run_in(&self, from: u16, end: u16, most: u16) -> Option<(u16, u16)> {
        if self.missing == 0 {
            return None;
        }
        let part = &self.blocks[usize::from(from)..usize::from(end)];
        let first = part.iter().position(|b| *b == Block::Missing)?;
        let run = part[first..].iter().take(usize::from(most)).take_while(|b| **b == Block::Missing);
        Some((from + first as u16, run.count() as u16))
    }

    /// The first run of blocks that others owe and `source` was not asked for, at most `most` of them.
    pub(crate) fn owed_run(&self, source: ConnId, most: u16) -> Option<(u16, u16)> {
        let owed = |b: &Block| matches!(b, Block::Asked(by) if by.len() < MAX_ASKED && !by.contains(&source));
        let first = self.blocks.iter().position(owed)?;
        let run = self.blocks[first..].iter().take(usize::from(most)).take_while(|b| owed(b));
        Some((first as u16, run.count() as u16))
    }

    /// Notes that `source` is asked for these blocks.
    pub(crate) fn ask(&mut self, source: ConnId, first: u16, count: u16) {
        for block in &mut self.blocks[usize::from(first)..usize::from(first + count)] {
            match block {
                Block::Missing => {
                    *block = Block::Asked(vec![source]);
                    self.missing -= 1;
                }
                Block::Asked(by) if by.contains(&source) => {}
                Block::Asked(by) => by.push(source),
                Block::Here | Block::Done => unreachable!("a block that is here is not asked for"),
            }
        }
    }

    /// Notes that `source` will not give these blocks after all.
    pub(crate) fn unask(&mut self, source: ConnId, first: u16, end: u16) {
        for block in &mut self.blocks[usize::from(first)..usize::from(end)] {
            if let Block::Asked(by) = block {
                by.retain(|conn| *conn != source);
                if by.is_empty() {
                    *block = Block::Missing;
                    self.missing += 1;
                }
            }
        }
    }

    /// Puts blocks that were here back among the missing.
    pub(crate) fn lose(&mut self, first: u16, end: u16) {
        for block in &mut self.blocks[usize::from(first)..usize::from(end)] {
            if *block == Block::Here {
                *block = Block::Missing;
                self.missing += 1;
            }
        }
    }

    /// Notes that blocks came; gives the runs that were still needed as (first, count).
    pub(crate) fn arrive(&mut self, first: u16, count: u16) -> Vec<(u16, u16)> {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for index in first..first + count {
            let block = &mut self.blocks[usize::from(index)];
            match block {
                Block::Here | Block::Done => continue,
                Block::Missing => self.missing -= 1,
                Block::Asked(_) => {}
            }
            *block = Block::Here;
            match runs.last_mut() {
                Some((start, len)) if *start + *len == index => *len += 1,
                _ => runs.push((index, 1)),
            }
        }
        runs
    }

    /// Notes that blocks are written.
    pub(crate) fn finish(&mut self, first: u16, count: u16) {
        for block in &mut self.blocks[usize::from(first)..usize::from(first + count)] {
            assert_eq!(*block, Block::Here, "only a block that came can be written");
            *block = Block::Done;
            self.done += 1;
        }
    }

    /// Takes claims whose hashes are the proven leaves as done; gives their runs.
    pub(crate) fn believe(&mut self, claims: &[Option<Digest>]) -> Vec<(u16, u16)> {
        let Some(leaves) = &self.leaves else { return Vec::new() };
        let right: Vec<u16> = (0..)
            .zip(claims.iter().zip(leaves.hashes()))
            .filter(|(_, (claim, leaf))| claim.as_ref() == Some(leaf))
            .map(|(index, _)| index)
            .collect();
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for index in right {
            if self.arrive(index, 1).is_empty() {
                continue;
            }
            self.finish(index, 1);
            match runs.last_mut() {
                Some((first, count)) if *first + *count == index => *count += 1,
                _ => runs.push((index, 1)),
            }
        }
        runs
    }
}
