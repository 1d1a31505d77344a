//! Cutting a share anew: a file is the same file at any piece length, and every way to name it agrees.

use std::collections::BTreeMap;

use kollator_core::id::ChunkId;
use kollator_core::metainfo::{Metainfo, MetainfoBuilder, file_info_hash, piece_root};
use proptest::prelude::*;

/// The same files cut into pieces of `piece_length`, under a name of its own.
fn share(files: &[Vec<u8>], piece_length: u32) -> Metainfo {
    let mut builder = MetainfoBuilder::new(&format!("by {piece_length}"), piece_length).unwrap();
    for (number, file) in files.iter().enumerate() {
        let length = file.len() as u64;
        let roots = file.chunks(piece_length as usize).map(|piece| piece_root(piece, length, piece_length));
        builder.file(&[format!("{number}")], length, roots.collect()).unwrap();
    }
    builder.build().unwrap()
}

fn chunks(share: &Metainfo, file: usize) -> Vec<ChunkId> {
    let range = &share.files()[file].pieces;
    share.pieces()[range.start as usize..range.end as usize].iter().map(|piece| piece.chunk).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_share_cut_as_another_has_the_other_ones_pieces_and_its_own_name(
        lengths in prop::collection::vec(0..400_000usize, 1..5),
        ours in 0..4u32,
        theirs in 0..4u32,
        seed in any::<u8>(),
    ) {
        let bytes = |(n, length): (usize, &usize)| (0..*length).map(|i| (i * (n + 7) / 3) as u8 ^ seed).collect();
        let files: Vec<Vec<u8>> = lengths.iter().enumerate().map(bytes).collect();
        let (ours, theirs) = (share(&files, 16_384 << ours), share(&files, 16_384 << theirs));
        let mut cuts = BTreeMap::new();
        for (number, file) in theirs.files().iter().enumerate() {
            let alone = theirs.share_of_file(number as u32);
            prop_assert_eq!(alone.is_some(), file.length > 0);
            let Some((alone, root)) = alone.zip(file.pieces_root) else { continue };
            prop_assert_eq!(ours.files()[number].pieces_root, Some(root));
            prop_assert_eq!(alone.info_hash(), file_info_hash(root, file.length, theirs.piece_length()));
            prop_assert_eq!(chunks(&alone, 0), chunks(&theirs, number));
            prop_assert_eq!(Metainfo::parse(alone.raw().clone()).unwrap().total_length(), file.length);
            cuts.insert((root, file.length), chunks(&alone, 0));
        }
        let recut = ours.recut(&cuts).unwrap();
        prop_assert_eq!(recut.pieces(), theirs.pieces());
        prop_assert_eq!(recut.info_hash(), ours.info_hash());
        prop_assert_eq!((recut.name(), recut.raw()), (ours.name(), ours.raw()));
        prop_assert_eq!(ours.recut(&BTreeMap::new()).unwrap(), ours);
    }
}
