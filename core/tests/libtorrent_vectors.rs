//! What libtorrent 2.1 computed for files that both sides can make again: SplitMix64, seeded with the length.
//!
//! The constants came from `create_torrent` with `v2_only` and `set_piece_hashes`.

use bytes::Bytes;
use kollator_core::machine::Rng;
use kollator_core::merkle::{VerifiedChunk, leaves};
use kollator_core::metainfo::{Metainfo, MetainfoBuilder, piece_root};

/// (length, piece length, info hash of the share `data.bin`, its pieces root)
const FILES: &[(usize, u32, &str, &str)] = &[
    (
        1,
        16384,
        "e9718741877c5ed2fe5de52ffbee891a435e2de51b019d8f4aff65fd51da1246",
        "d1bbd73bb09190bfb883056771e22e997541ed20079793bf33975fe1654581c3",
    ),
    (
        64,
        16384,
        "55b41626d85e59a95d69cf93dca417495a634799bf720587f6bb336308962020",
        "49bd562a823a9725b1afb508286bebbc22411bdd598e378c5fe1b5d36953a06c",
    ),
    (
        16383,
        16384,
        "53db9eb0ae2bd8432f8ea8b6ed26ac8955e632de36d55260daa24f1fd4714ef3",
        "6556ec3d4c07d46d0363558b2f288cea1695526334346ba69af755789515758c",
    ),
    (
        16384,
        16384,
        "5497eb06e500a8c608d428a26b98177fed92f5139536e157615e910228cdbc92",
        "3c8ebaec404827a66cdb03688b528c1b086f4e051e15c90c60a26ad08d08f14b",
    ),
    (
        16385,
        16384,
        "cbcf247a4dd22161d58ba2b9ef7c2c167b7d968ae15ad5e9d86079c7de6e70ce",
        "c3c0609617587ef60a5bc387433aeb982aca420cabef60a5cd15f3400f31d515",
    ),
    (
        81913,
        16384,
        "0f9eeb2b03b4b756623e181bbc770b1783e87f5fc4eb7cb82a9e407da35ceb6f",
        "8f18409faa1e98bc6b9a54d4b9250608c92d43a956f8a89ceb2fe64e265fee12",
    ),
    (
        49153,
        65536,
        "63c4343a6247d786d3e5e0787235100103d77d8887f8083c60ce069355463a5d",
        "d6dc64213fcbdbd11614c08ede199052375ea803a2b17d382acbb5f044cfc74f",
    ),
    (
        65536,
        65536,
        "351f17c4be7cf0237efb91fdb280933a7cfa5b822c2e3acca0ac84148cb000f4",
        "486f26e8818a53975ba8aede22a47667012995869949e8d759a16419ddf8b03c",
    ),
    (
        65537,
        65536,
        "b1bf01c03a372b5a18a84f51b2e44dc8a81f249acc570415eb5bf6cf5d8011b6",
        "7088fc28b92893ccb27f414a6d9afcb04ea46f5bb98d161d3e1ad627d4db4d91",
    ),
    (
        344065,
        65536,
        "89a850e7fbe4b0aed5ff415e848895e4ee62bdabc39554da5197337f98ff607d",
        "06085e6244b7e07c883c03986bdd945b8232b04f217486a2b70a20292722df82",
    ),
    (
        1048577,
        1048576,
        "c2a14d5510fe954a9fa028a4a43365d5b01774ef064d3e50b2538e14c329f81b",
        "d4213d5e64963e3e8f980add809e9f522819164881d4e0059630cbbfde67c475",
    ),
    (
        3185728,
        1048576,
        "73fbd87313ecd2fc9e884895449be95dedb0906ab4b93436075bb2291f8633d4",
        "35046402c7533a3782b9862aad9aa6fc749d7195dceedee8a998134cafbb1af4",
    ),
    (
        4194303,
        4194304,
        "cb35fb1033c0a7ed3dc15369d3744d5a31fd88b9e71ee091fb6cf9d11091d9a8",
        "66d2c762a1a6597a476be33c265712230ea5e9243b70e1dcef1cf491d6913bd6",
    ),
    (
        4194304,
        4194304,
        "b7604fc37d3e2bdf2b3d4aa120024d070f50db66bbf1f46771e0e86863b0e4be",
        "c42addd741aa040160ff2971b0c63e0b979ffc9d4530a5f738ba58efbbbbe203",
    ),
    (
        4194305,
        4194304,
        "7039a1e0082090442c83659e5cd98e03589177b6b0cc85362b3b30899757d844",
        "37aa15ab5b95c7133f4ba360334dbf35a0dc78950a8a82620f15f72dec576cfb",
    ),
    (
        9437189,
        4194304,
        "3099827fdb0969f28d059ec84503a24b8212b0787ff9c68806db81c0787a921e",
        "ccd67ddec57c11a556e5063cda9cf9ced38153829d30b9e0d197b03892bbdf23",
    ),
    (
        17825793,
        16777216,
        "97e939e65908eb1f26f05958387d5d6994ffe5cfc893795083e504f79bd25a70",
        "da6a9666f14e5813652e73f30e7a5f44d62c17c6dbd85778a2150a597fe2194e",
    ),
    (
        5,
        4194304,
        "528530ae9cc1589442f7a593c355d8cf2f379803d3adca0dc06ec901badb8bb2",
        "cb9449c32a7793f6fead0c6bd2fea00a8ab69eceb63a71f311215263c101c3fd",
    ),
    (
        20000,
        4194304,
        "1e5cfa65385bc7177b88daa45a099cdb6ecba71624a625fbcc16893a18363f06",
        "cd89b7ed8cb45949d68c942fc12d18d70bb7629c18ef6906cf20df71fb23b104",
    ),
    (
        40000,
        1048576,
        "0d1f988c7004b2fb63b885e357f15d53e4b8215a3271c0f720a4a07831d7312a",
        "628b196ca055d908138c3bcbca74c08ef8773403f76c4f0d1fbd692d3c822a34",
    ),
    (
        49153,
        16777216,
        "a9cb818113fa6750f825f85a98d72e6316c3dbed3f22820993ec104c640be2b3",
        "d6dc64213fcbdbd11614c08ede199052375ea803a2b17d382acbb5f044cfc74f",
    ),
];

const FOLDER_PIECE_LENGTH: u32 = 16 * 1024;
const FOLDER_INFO_HASH: &str = "b3c90f80c100f3ed493da063c0d3fdd907156f57a8b3e0cf1f2d3771bd51a0f4";
const HYBRID_INFO_HASH: &str = "e9463a7b0205763ee4415a914cdaef2b3140247e4d40e5a09e9aed39aed38065";
/// (path, length), in the order of the file tree: by the bytes of the names.
const FOLDER: &[(&[&str], usize)] = &[
    (&["a", "b", "c.txt"], 20_000),
    (&["a", "empty"], 0),
    (&["same"], 100_000),
    (&["z"], 1),
    (&["مرحبا.txt"], 65_536),
    (&["文件", "файл.bin"], 100_000),
];

fn data(length: usize) -> Bytes {
    let mut rng = Rng::new(length as u64);
    let words = (0..length.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes());
    Bytes::from(words.take(length).collect::<Vec<u8>>())
}

fn share(name: &str, piece_length: u32, files: &[(&[&str], usize)]) -> Metainfo {
    let mut builder = MetainfoBuilder::new(name, piece_length).unwrap();
    for (path, length) in files {
        let data = data(*length);
        let roots =
            data.chunks(piece_length as usize).map(|piece| piece_root(piece, *length as u64, piece_length));
        builder.file(path, *length as u64, roots.collect()).unwrap();
    }
    builder.build().unwrap()
}

/// Every piece of `share` verifies against the data it was made of, so a chunk's tree is as high as libtorrent's.
fn assert_pieces_verify(share: &Metainfo) {
    for piece in share.pieces() {
        let file = &share.files()[piece.file as usize];
        let data = data(file.length as usize);
        let start = piece.offset as usize;
        let part = data.slice(start..start + piece.chunk.length() as usize);
        assert_eq!(leaves(&part).len(), usize::from(piece.chunk.blocks()));
        assert!(VerifiedChunk::verify(piece.chunk, part).is_some(), "{:?} at {start}", file.path);
    }
    let covered: u64 = share.pieces().iter().map(|piece| u64::from(piece.chunk.length())).sum();
    assert_eq!(covered, share.total_length());
}

#[test]
fn single_files_have_libtorrents_info_hash_and_root() {
    for (length, piece_length, info_hash, root) in FILES {
        let share = share("data.bin", *piece_length, &[(&["data.bin"], *length)]);
        assert_eq!(share.info_hash().to_string(), *info_hash, "{length} bytes in pieces of {piece_length}");
        assert_eq!(share.files()[0].pieces_root.unwrap().to_string(), *root);
        assert!(share.is_single_file());
        assert_pieces_verify(&share);
    }
}

#[test]
fn a_folder_has_libtorrents_info_hash() {
    let share = share("folder", FOLDER_PIECE_LENGTH, FOLDER);
    assert_eq!(share.info_hash().to_string(), FOLDER_INFO_HASH);
    assert!(!share.is_single_file());
    assert_pieces_verify(&share);
}

#[test]
fn libtorrents_hybrid_torrent_of_the_folder_has_the_same_files_and_pieces() {
    let hybrid = Metainfo::parse(Bytes::from_static(include_bytes!("data/hybrid.torrent"))).unwrap();
    let ours = share("folder", FOLDER_PIECE_LENGTH, FOLDER);
    assert_eq!(hybrid.info_hash().to_string(), HYBRID_INFO_HASH);
    assert_eq!((hybrid.files(), hybrid.pieces()), (ours.files(), ours.pieces()));
    let paths: Vec<_> = hybrid.files().iter().map(|file| file.path.clone()).collect();
    assert_eq!(paths, FOLDER.iter().map(|(path, _)| path.to_vec()).collect::<Vec<_>>());
}
