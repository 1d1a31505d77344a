//! A file's identity does not depend on how it is cut into pieces: its `pieces root` is the same at any piece
//! length (BEP 52). So each file of a share is also a share of its own, under a name that root, length and piece
//! length decide; and a share can be cut anew where somebody holds its files in other pieces.

use std::collections::BTreeMap;

use super::bencode::{write_string, write_unsigned};
use super::parse::MAX_PIECES;
use super::{Metainfo, MetainfoBuilder, Piece};
use crate::id::{ChunkId, Digest, InfoHash};
use crate::merkle::sha256;

/// The name that every file has in its own share.
const NAME: &str = "file";

/// The info hash of the share of one file alone, cut into pieces of `piece_length`: the one that
/// [`Metainfo::share_of_file`] has. It takes no piece layer to compute it.
#[must_use]
pub fn file_info_hash(root: Digest, length: u64, piece_length: u32) -> InfoHash {
    let mut info = b"d9:file treed4:filed0:d6:length".to_vec();
    write_unsigned(&mut info, length);
    write_string(&mut info, b"pieces root");
    write_string(&mut info, &root.0);
    info.extend_from_slice(b"eee12:meta versioni2e4:name4:file12:piece length");
    write_unsigned(&mut info, u64::from(piece_length));
    info.push(b'e');
    InfoHash(sha256(&info))
}

impl Metainfo {
    /// The share of one of its files alone, cut as here. Two shares of the same file in the same pieces give the
    /// same, whatever the file is called in them. `None` for an empty file.
    ///
    /// # Panics
    /// If there is no such file.
    #[must_use]
    pub fn share_of_file(&self, file: u32) -> Option<Self> {
        let file = &self.files()[file as usize];
        file.pieces_root?;
        let pieces = &self.pieces()[file.pieces.start as usize..file.pieces.end as usize];
        let roots = pieces.iter().map(|piece| piece.chunk.root()).collect();
        let mut builder = MetainfoBuilder::new(NAME, self.piece_length()).expect("a legal name and piece length");
        builder.file(&[NAME], file.length, roots).expect("one file, cut as it was here");
        Some(builder.build().expect("one file of a share is within every limit of the share"))
    }

    /// The same share, with files that are cut into other chunks: those whose root and length are a key of `cuts`.
    /// `None` if that makes more than [`MAX_PIECES`] pieces.
    ///
    /// # Panics
    /// If the chunks of a file do not add up to its length.
    #[must_use]
    pub fn recut(&self, cuts: &BTreeMap<(Digest, u64), Vec<ChunkId>>) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut files = self.files().to_vec();
        for (index, file) in (0..).zip(&mut files) {
            let start = pieces.len() as u32;
            let own = &self.pieces()[file.pieces.start as usize..file.pieces.end as usize];
            match file.pieces_root.and_then(|root| cuts.get(&(root, file.length))) {
                None => pieces.extend_from_slice(own),
                Some(chunks) => {
                    let mut offset = 0;
                    for chunk in chunks {
                        pieces.push(Piece { chunk: *chunk, file: index, offset });
                        offset += u64::from(chunk.length());
                    }
                    assert_eq!(offset, file.length, "the chunks of a file add up to its length");
                }
            }
            if pieces.len() as u64 > MAX_PIECES {
                return None;
            }
            file.pieces = start..pieces.len() as u32;
        }
        Some(Self { files, pieces, ..self.clone() })
    }
}
