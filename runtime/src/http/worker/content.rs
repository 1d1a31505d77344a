//! What can be fetched over HTTP, a chunk or a file of a share, and which blocks of which chunks make up its bytes.

use std::ops::Range;
use std::sync::Arc;

use kollator_core::id::ChunkId;
use kollator_core::merkle::BLOCK_LEN;
use kollator_core::metainfo::Metainfo;

/// Bytes that never change under their name.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Chunk(ChunkId),
    /// A file of a share, by its index.
    File(Arc<Metainfo>, usize),
}

/// One read of blocks, and which of their bytes are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) chunk: ChunkId,
    pub(super) first: u16,
    pub(super) count: u16,
    pub(super) bytes: Range<usize>,
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Chunk(chunk) => u64::from(chunk.length()),
            Self::File(metainfo, file) => metainfo.files()[*file].length,
        }
    }

    /// A strong entity tag: root and length decide every byte.
    pub(super) fn etag(&self) -> String {
        match self {
            Self::Chunk(chunk) => format!("\"{}.{}\"", chunk.root(), chunk.length()),
            Self::File(metainfo, file) => {
                let file = &metainfo.files()[*file];
                file.pieces_root
                    .map_or_else(|| "\"empty\"".to_owned(), |root| format!("\"{root}.{}\"", file.length))
            }
        }
    }

    /// The reads that give the bytes of `range`, in order, of so many blocks at most.
    pub(super) fn reads(self, range: Range<u64>, most_blocks: u16) -> Reads {
        Reads { content: self, range, most_blocks }
    }

    /// The chunk that byte `at` is in, and where that chunk begins.
    fn chunk_at(&self, at: u64) -> (ChunkId, u64) {
        match self {
            Self::Chunk(chunk) => (*chunk, 0),
            Self::File(metainfo, file) => {
                let pieces = &metainfo.files()[*file].pieces;
                let index = (at / u64::from(metainfo.piece_length())) as usize;
                let piece = &metainfo.pieces()[pieces.start as usize..pieces.end as usize][index];
                (piece.chunk, piece.offset)
            }
        }
    }
}

/// See [`Content::reads`].
#[derive(Clone, Debug)]
pub(super) struct Reads {
    content: Content,
    /// Bytes not yet given.
    range: Range<u64>,
    /// In one read.
    most_blocks: u16,
}

impl Reads {
    /// The chunks of which nothing was read yet, the next first; at most so many.
    pub(super) fn chunks_ahead(&self, most: usize) -> Vec<ChunkId> {
        let mut at = self.range.start;
        let mut chunks = Vec::new();
        while at < self.range.end && chunks.len() < most {
            let (chunk, begin) = self.content.chunk_at(at);
            if begin >= self.range.start {
                chunks.push(chunk);
            }
            at = begin + u64::from(chunk.length());
        }
        chunks
    }
}

impl Iterator for Reads {
    type Item = Read;

    fn next(&mut self) -> Option<Read> {
        if self.range.is_empty() {
            return None;
        }
        let block = u64::from(BLOCK_LEN);
        let (chunk, begin) = self.content.chunk_at(self.range.start);
        let (from, upto) = (self.range.start - begin, (self.range.end - begin).min(u64::from(chunk.length())));
        let first = from / block;
        let end = upto.div_ceil(block).min(first + u64::from(self.most_blocks));
        let upto = upto.min(end * block);
        self.range.start = begin + upto;
        let bytes = (from - first * block) as usize..(upto - first * block) as usize;
        Some(Read { chunk, first: first as u16, count: (end - first) as u16, bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kollator_core::metainfo::{MetainfoBuilder, piece_root};
    use proptest::prelude::*;

    use super::*;

    /// The bytes of each chunk.
    type Chunks = BTreeMap<ChunkId, Vec<u8>>;

    /// A folder of three files whose bytes differ everywhere, and the chunks they are cut into.
    fn folder(lengths: [usize; 3], piece_length: u32) -> (Arc<Metainfo>, Vec<Vec<u8>>, Chunks) {
        let mut builder = MetainfoBuilder::new("folder", piece_length).unwrap();
        let mut files = Vec::new();
        for (name, length) in ["a", "b", "c"].iter().zip(lengths) {
            let data: Vec<u8> = (0..length).map(|i| (i / 7 + i * name.len() + files.len() * 91) as u8).collect();
            let roots =
                data.chunks(piece_length as usize).map(|piece| piece_root(piece, length as u64, piece_length));
            builder.file(&[name], length as u64, roots.collect()).unwrap();
            files.push(data);
        }
        let metainfo = builder.build().unwrap();
        let mut chunks = Chunks::new();
        for piece in metainfo.pieces() {
            let data = &files[piece.file as usize][piece.offset as usize..][..piece.chunk.length() as usize];
            chunks.insert(piece.chunk, data.to_vec());
        }
        (Arc::new(metainfo), files, chunks)
    }

    fn fetch(content: Content, range: Range<u64>, most: u16, chunks: &Chunks) -> Vec<u8> {
        let mut out = Vec::new();
        for read in content.reads(range, most) {
            assert!((1..=most).contains(&read.count) && !read.bytes.is_empty(), "{read:?}");
            let length = read.chunk.range_len(read.first, read.count).expect("inside the chunk") as usize;
            let start = usize::from(read.first) * BLOCK_LEN as usize;
            out.extend_from_slice(&chunks[&read.chunk][start..start + length][read.bytes]);
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against the files themselves.
        #[test]
        fn reads_give_the_bytes_of_any_range(
            lengths in [0..400_000usize, 0..70_000usize, 0..40_000usize], shift in 0..6u32, most in 1..=16u16,
            picks in proptest::collection::vec((any::<u64>(), any::<u64>()), 1..6),
        ) {
            let (metainfo, files, chunks) = folder(lengths, 16_384 << shift);
            for (file, data) in files.iter().enumerate() {
                let content = Content::File(metainfo.clone(), file);
                prop_assert_eq!(content.length(), data.len() as u64);
                for (from, to) in &picks {
                    let from = from % (data.len() as u64 + 1);
                    let to = from + to % (data.len() as u64 - from + 1);
                    let expected = &data[from as usize..to as usize];
                    prop_assert!(fetch(content.clone(), from..to, most, &chunks) == expected, "{from}..{to}");
                    // What is ahead is what comes: after each read, the chunks of all that follow.
                    let mut reads = content.clone().reads(from..to, most);
                    while let Some(read) = reads.next() {
                        let mut later: Vec<ChunkId> = reads.clone().map(|read| read.chunk).collect();
                        later.dedup();
                        let begun = usize::from(later.first() == Some(&read.chunk));
                        let ahead = reads.chunks_ahead(usize::MAX);
                        prop_assert!(ahead == later || ahead == later[begun..], "{:?} {:?}", ahead, later);
                        prop_assert!(reads.chunks_ahead(1).len() <= 1);
                    }
                }
            }
            for (chunk, data) in &chunks {
                prop_assert!(&fetch(Content::Chunk(*chunk), 0..data.len() as u64, most, &chunks) == data);
            }
        }
    }

    #[test]
    fn a_tag_is_that_of_the_content_whatever_it_is_part_of() {
        let (one, ..) = folder([70_000, 5, 0], 16_384);
        let (other, ..) = folder([70_000, 6, 0], 32_768);
        let tag = |metainfo: &Arc<Metainfo>, file| Content::File(metainfo.clone(), file).etag();
        assert_eq!(tag(&one, 0), tag(&other, 0));
        assert_ne!(tag(&one, 1), tag(&other, 1));
        assert_eq!(tag(&one, 2), "\"empty\"");
        let only = one.pieces()[one.files()[1].pieces.start as usize].chunk;
        assert_eq!(tag(&one, 1), Content::Chunk(only).etag(), "a file of one piece is that chunk");
    }
}
