//! Properties of sealed shares: what is sealed opens to what it was, with its own key alone and only as it was; names
//! and blocks are as computed elsewhere; what no honest sealer makes is refused by name.

use std::collections::{BTreeMap, BTreeSet};

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use bytes::Bytes;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use hmac::{Hmac, Mac as _};
use kollator_core::id::Digest;
use kollator_core::merkle::{BLOCK_LEN, sha256};
use kollator_core::metainfo::{MAX_PATH_DEPTH, Metainfo, MetainfoBuilder, piece_root};
use kollator_core::seal::{
    ContentKey, Identity, MAX_SEALED_PATH, OpenedShare, PLAIN_BLOCK_LEN, PublicKey, SEALED_NAME, SealError,
    ShareKey, WrappedKey, is_sealed, layout, open, open_with, plain_length, sealed_length,
};
use proptest::prelude::*;
use sha2::Sha256;

const PIECE: u32 = 32 * 1024;

fn hex<const N: usize>(text: &str) -> [u8; N] {
    HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

fn key(seed: u8) -> ShareKey {
    ShareKey::new([seed; 32])
}

/// Hashes of nothing in particular, one for each piece.
fn roots(length: u64) -> Vec<Digest> {
    (0..length.div_ceil(u64::from(PIECE))).map(|n| sha256(&n.to_be_bytes())).collect()
}

/// A metainfo of files with these paths and lengths, under the name of sealed shares.
fn metainfo<'a>(files: impl IntoIterator<Item = (&'a [String], u64)>) -> Metainfo {
    let mut builder = MetainfoBuilder::sealed(PIECE).unwrap();
    for (path, length) in files {
        builder.file(path, length, roots(length)).unwrap();
    }
    builder.build().unwrap()
}

fn metainfo_of(share: &OpenedShare) -> Metainfo {
    metainfo(share.files.iter().map(|file| (&file.sealed_path[..], file.sealed_length())))
}

fn path(text: &str) -> Vec<String> {
    text.split('/').map(str::to_owned).collect()
}

/// A full path as the format has it, sealed without the library: whatever it says.
fn sealed_path(key: &ShareKey, number: u32, padded: &[u8], nonce: Option<[u8; 12]>) -> Vec<String> {
    let mut names_key = [0; 32];
    hkdf::Hkdf::<Sha256>::new(None, key.as_bytes()).expand(b"kollator names 1", &mut names_key).unwrap();
    let end = padded.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut mac = Hmac::<Sha256>::new_from_slice(&names_key).unwrap();
    mac.update(&number.to_be_bytes());
    mac.update(&padded[..end]);
    let nonce = nonce.unwrap_or_else(|| mac.finalize().into_bytes()[..12].try_into().unwrap());
    let mut text = padded.to_vec();
    let cipher = Aes256Gcm::new(&names_key.into());
    let tag = cipher.encrypt_inout_detached(&nonce.into(), b"", (&mut text[..]).into()).unwrap();
    cut(number, &BASE64URL_NOPAD.encode(&[&nonce[..], &text, &tag].concat()))
}

fn cut(number: u32, text: &str) -> Vec<String> {
    let mut path: Vec<String> =
        text.as_bytes().chunks(200).map(|part| String::from_utf8(part.to_vec()).unwrap()).collect();
    path[0] = format!("{number:06x}.{}", path[0]);
    path
}

fn pad(text: &str) -> Vec<u8> {
    let mut padded = text.as_bytes().to_vec();
    padded.resize(text.len().next_multiple_of(32), 0);
    padded
}

/// Paths below a folder that fit together.
fn files() -> impl Strategy<Value = Vec<(Vec<String>, u64)>> {
    let component = prop_oneof![
        4 => proptest::sample::select(vec!["a", "b", "a-b", "a.b", "...", "файл", "文件"]).prop_map(str::to_owned),
        1 => "[^/\\\\\\pC]{1,60}".prop_filter("a relative name", |name| name != "." && name != ".."),
    ];
    let length = prop_oneof![Just(0u64), 1..=3u64 * 16_384, 1..=1u64 << 40];
    let length = length.prop_filter("few pieces", |length| *length < 1 << 30);
    proptest::collection::vec((proptest::collection::vec(component, 1..6), length), 1..20).prop_map(|files| {
        let mut known = BTreeMap::<Vec<String>, u64>::new();
        for (path, length) in files {
            if !known.keys().any(|other| path.starts_with(other) || other.starts_with(&path)) {
                known.insert(path, length);
            }
        }
        known.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn a_sealed_share_opens_to_what_was_sealed(
        files in files(), seed in any::<[u8; 32]>(), name in "[a-z ]{1,9}", shuffle in any::<u64>(),
    ) {
        let key = ShareKey::new(seed);
        let (share, order) = layout(&key, &name, &files).unwrap();
        let metainfo = metainfo_of(&share);
        prop_assert!(is_sealed(&metainfo) && !metainfo.is_single_file());
        prop_assert_eq!(&open(&metainfo, &key).unwrap(), &share);
        prop_assert_eq!(open_with(&metainfo, Some(&key)), Ok(Some(share.clone())));
        let single = files.len() == 1 && files[0].0 == [name.as_str()];
        prop_assert_eq!((share.single_file, &share.name), (single, &name));
        // Each file once, in the bytewise order of full paths, and nothing tells its name.
        prop_assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), files.len());
        let full: Vec<String> = share.files.iter().map(|file| file.path.join("/")).collect();
        prop_assert!(full.windows(2).all(|pair| pair[0].as_bytes() < pair[1].as_bytes()));
        for (file, index) in share.files.iter().zip(&order) {
            prop_assert_eq!((&file.path, file.length), (&files[*index].0, files[*index].1));
            prop_assert!(file.sealed_path.iter().all(|part| part.is_ascii() && part.len() <= 207));
        }
        let nonces: BTreeSet<[u8; 32]> = share.files.iter().map(|file| *file.key.as_bytes()).collect();
        prop_assert_eq!(nonces.len(), files.len(), "every file has a key of its own");
        // The order in which files are told makes no difference.
        let mut shuffled = files.clone();
        let turn = (shuffle % files.len() as u64) as usize;
        shuffled.rotate_left(turn);
        prop_assert_eq!(&layout(&key, &name, &shuffled).unwrap().0, &share);
    }

    #[test]
    fn no_other_key_opens_a_share(files in files(), seed in any::<[u8; 32]>(), bit in 0..256usize) {
        let key = ShareKey::new(seed);
        let metainfo = metainfo_of(&layout(&key, "share", &files).unwrap().0);
        let mut other = seed;
        other[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(open(&metainfo, &ShareKey::new(other)), Err(SealError::WrongKey));
    }

    #[test]
    fn a_changed_name_is_refused(
        files in files(), which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), to in "[0-9A-Za-z_.-]",
    ) {
        let share = layout(&key(1), "share", &files).unwrap().0;
        let mut paths: Vec<Vec<String>> = share.files.iter().map(|file| file.sealed_path.clone()).collect();
        let path = which.get_mut(&mut paths);
        let part = at.index(path.len());
        let byte = at.index(path[part].len());
        prop_assume!(path[part][byte..=byte] != to);
        path[part].replace_range(byte..=byte, &to);
        let lengths = share.files.iter().map(|file| file.sealed_length());
        let changed = metainfo(paths.iter().map(Vec::as_slice).zip(lengths));
        let refused = open(&changed, &key(1)).unwrap_err();
        prop_assert!(matches!(refused, SealError::WrongKey | SealError::Malformed { .. }), "{refused}");
    }

    #[test]
    fn blocks_open_to_what_was_sealed_and_only_as_they_were(
        length in 1..=4 * u64::from(PLAIN_BLOCK_LEN),
        seed in any::<[u8; 32]>(),
        first in any::<prop::sample::Index>(),
        flip in any::<prop::sample::Index>(),
    ) {
        let key = ContentKey::new(seed);
        let plain: Vec<u8> = (0..length).map(|n| (n * 31 % 251) as u8).collect();
        let sealed = key.seal_run(length, 0, &plain);
        prop_assert_eq!(sealed.len() as u64, sealed_length(length));
        prop_assert_eq!(&key.open_run(length, 0, &sealed).unwrap(), &plain);
        let blocks = length.div_ceil(u64::from(PLAIN_BLOCK_LEN));
        let first = first.index(blocks as usize);
        let (at, plain_at) = (first * BLOCK_LEN as usize, first * PLAIN_BLOCK_LEN as usize);
        prop_assert_eq!(&key.seal_run(length, first as u64, &plain[plain_at..]), &sealed[at..]);
        prop_assert_eq!(&key.open_run(length, first as u64, &sealed[at..]).unwrap(), &plain[plain_at..]);
        let last = first as u64 + 1 == blocks;
        let block = &sealed[at..][..(BLOCK_LEN as usize).min(sealed.len() - at)];
        let opened = key.open_block(first as u64, last, block).unwrap();
        prop_assert_eq!(&key.seal_block(first as u64, last, &opened), block);

        let refused = Err(SealError::Block { block: first as u64 });
        prop_assert_eq!(key.open_block(first as u64, !last, block), refused.clone(), "cut or grown");
        prop_assert!(key.open_block(first as u64 + 1, last, block).is_err(), "moved");
        prop_assert!(ContentKey::new(seed.map(|byte| !byte)).open_block(first as u64, last, block).is_err());
        for cut in [0, 1, 16, block.len() - 1] {
            prop_assert_eq!(key.open_block(first as u64, last, &block[..cut]), refused.clone());
        }
        let mut flipped = block.to_vec();
        let bit = flip.index(flipped.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(key.open_block(first as u64, last, &flipped), refused);
    }

    #[test]
    fn lengths_go_both_ways(plain in 0..=1u64 << 53, sealed in 0..=1u64 << 53) {
        prop_assert_eq!(plain_length(sealed_length(plain)), Some(plain));
        if let Some(plain) = plain_length(sealed) {
            prop_assert_eq!(sealed_length(plain), sealed);
        }
    }

    #[test]
    fn a_wrapped_key_is_for_one_person(
        share in any::<[u8; 32]>(), me in any::<[u8; 32]>(), other in any::<[u8; 32]>(), ephemeral in any::<[u8; 32]>(),
        bit in 0..80 * 8usize,
    ) {
        let (me, other) = (Identity::new(me), Identity::new(other));
        prop_assume!(me.public() != other.public());
        let wrapped = WrappedKey::wrap(&ShareKey::new(share), &me.public(), ephemeral).unwrap();
        prop_assert_eq!(me.unwrap(&wrapped), Ok(ShareKey::new(share)));
        prop_assert_eq!(other.unwrap(&wrapped), Err(SealError::NotForYou));
        let text = wrapped.to_string();
        prop_assert_eq!(text.parse(), Ok(wrapped));
        // The top bit of an X25519 public key means nothing to X25519, but counts for the wrapping key.
        let mut bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let changed: WrappedKey = BASE64URL_NOPAD.encode(&bytes).parse().unwrap();
        prop_assert_eq!(me.unwrap(&changed), Err(SealError::NotForYou));
    }
}

#[test]
fn arbitrary_metainfo_never_panics() {
    let prefix = |number: usize| format!("{number:06x}.");
    bolero::check!().with_type::<(bool, Vec<(Vec<u8>, u64)>)>().for_each(|(sealed, files)| {
        let mut builder = MetainfoBuilder::sealed(PIECE).unwrap();
        for (number, (bytes, length)) in files.iter().enumerate() {
            let length = length % (1 << 24);
            let path = if *sealed {
                sealed_path(&key(1), number as u32, bytes, None)
            } else {
                vec![prefix(number) + &BASE64URL_NOPAD.encode(bytes).chars().take(200).collect::<String>()]
            };
            if builder.file(&path, length, roots(length)).is_err() {
                return;
            }
        }
        if let Ok(metainfo) = builder.build()
            && let Ok(share) = open(&metainfo, &key(1))
        {
            let files: Vec<_> = share.files.iter().map(|file| (file.path.clone(), file.length)).collect();
            assert_eq!(layout(&key(1), &share.name, &files).unwrap().0.files, share.files);
        }
    });
}

#[test]
fn every_length_around_a_block_is_told_right() {
    let block = u64::from(PLAIN_BLOCK_LEN);
    for (plain, sealed) in [
        (0, 0),
        (1, 17),
        (block - 1, 16_383),
        (block, 16_384),
        (block + 1, 16_384 + 17),
        (2 * block, 32_768),
        (10 * block + 5, 163_840 + 21),
    ] {
        assert_eq!((sealed_length(plain), plain_length(sealed)), (sealed, Some(plain)));
    }
    for sealed in [1, 16, 16_384 + 1, 16_384 + 16] {
        assert_eq!(plain_length(sealed), None, "{sealed}: a block that is nothing but a tag");
    }
}

/// As computed by another implementation of HKDF, HMAC, AES-GCM, X25519 and bencode.
#[test]
fn a_sealed_share_is_as_documented() {
    let key: ShareKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".parse().unwrap();
    let long = "x".repeat(150);
    let content: BTreeMap<String, Vec<u8>> = BTreeMap::from([
        ("a.txt".to_owned(), b"hello\n".to_vec()),
        ("b.bin".to_owned(), (0..16_369u32).map(|n| (n % 251) as u8).collect()),
        (long.clone(), b"y".to_vec()),
        ("ünï/empty".to_owned(), Vec::new()),
    ]);
    let files: Vec<_> = content.iter().map(|(name, data)| (path(name), data.len() as u64)).collect();
    let (share, _) = layout(&key, "photos", &files).unwrap();
    let content_keys = [
        "6ffc104c2a21577dd5dfab387228de7063149889cb7309276cb7c9cf770798b7",
        "201e745ffa5c077f49363573767f9f5af8e7c20d07d81188c314899c240917df",
        "e9d4ed71d60fbcf1b178d2ffd7773ca02558d7751f521c91139df123ad87d22b",
        "462250979441e4a9d30881b0d7efd5c396e0bf7923ce021a1486b78840c87ec6",
    ];
    for (file, key) in share.files.iter().zip(content_keys) {
        assert_eq!(*file.key.as_bytes(), hex(key));
    }
    assert_eq!(
        share.files[0].sealed_path,
        ["000000.621ZAxI3bG9EHhM6PAwu1JGiqTLya1tGJYXeNdNF9zYRBC9q-J2E9KOLQMl56rW_Jp9pADrWx8WrknrC"]
    );
    assert_eq!(
        share.files[2].sealed_path,
        [
            "000002.dnslv0v2a8YJkU1bkGbUYFqJYr8N58ojXVdxIKBRZ9QlRJ3Lz4Na84-Q9GEZI5sLYraznWbkxESYGnwoj1FtdnR4KkMDLM_TjOSfhJTjY8v\
             rgwla1unTfwRuyJsuApZrTO4f3LIdqK3hWEhc4VGkcMrFCuvgTNawuPZ_BoqjdtYL0iVmEMwdVWMddph8Q56Ddm3TStqy",
            "3r1jI1F3pX9E7x0JdYdB5Fo_hArK5W-nt7tRyFiZRMgvsFFriwQ",
        ]
    );
    let mut builder = MetainfoBuilder::sealed(PIECE).unwrap();
    let mut sealed = Vec::new();
    for (file, data) in share.files.iter().zip(content.values()) {
        let data = file.key.seal_run(file.length, 0, data);
        let roots = data.chunks(PIECE as usize).map(|piece| piece_root(piece, data.len() as u64, PIECE)).collect();
        builder.file(&file.sealed_path, data.len() as u64, roots).unwrap();
        sealed.push(data);
    }
    assert_eq!(sealed[0], hex::<22>("c367832a042a1d6b8cc7ecb1237701521574515095fb"));
    let second = "ec7678f739d39ef0feb4023ece05da7779f969028e329142cf31f1bf8329a27d";
    assert_eq!(sha256(&sealed[1]).to_string(), second);
    let info_hash = "13381941b190b8f7ebed766822200e3d0236caae19680b5fc57383e9a514a4e6";
    assert_eq!(builder.build().unwrap().info_hash().to_string(), info_hash);

    let me = Identity::new([0x11; 32]);
    assert_eq!(me.public().to_string(), "e06Qm75__kTEZaIgA31gjuNYl9Me-XLwf3SJLLD3PxM");
    let wrapped = "D6poTtKIZ7l_Smot7l34zpdOdrcBjj8iocTPJnhXDyA_ROcuX5WxaEW7LO0UbxSTBIkbkfVmv41JjleJP1uU_vb0gX7SPbCtL16glpjz-hM";
    assert_eq!(WrappedKey::wrap(&key, &me.public(), [0x22; 32]).unwrap().to_string(), wrapped);
    assert_eq!(me.unwrap(&wrapped.parse().unwrap()), Ok(key));
}

#[test]
fn what_no_honest_sealer_makes_is_refused_by_name() {
    let key = key(1);
    let refused = |paths: &[Vec<String>], length| {
        open(&metainfo(paths.iter().map(|path| (&path[..], length))), &key).unwrap_err().to_string()
    };
    let sealed = |names: &[&str]| -> Vec<Vec<String>> {
        (0..).zip(names).map(|(number, name)| sealed_path(&key, number, &pad(name), None)).collect()
    };
    for (names, why) in [
        (&["share/../x"][..], "relative to another"),
        (&["../x"], "relative to another"),
        (&["/etc/x"], "it is empty"),
        (&["share//x"], "it is empty"),
        (&["share/"], "it is empty"),
        (&["share/a\\b"], "path separator"),
        (&["share/a\nb"], "control character"),
        (&["share/a", "share/a"], "there twice"),
        (&["share/b", "share/a"], "out of order"),
        (&["share/a", "share/a-b", "share/a/c"], "a file and a folder at once"),
        (&["share", "share/a"], "a file and a folder at once"),
        (&["share/a", "sharf/b"], "not in the folder of the others"),
        (&["share", "sharf"], "not in the folder of the others"),
    ] {
        let error = refused(&sealed(names), 17);
        assert!(error.contains(why), "{names:?}: {error}");
    }
    let long = format!("share/{}", "x".repeat(256));
    assert!(refused(&sealed(&[&long]), 17).contains("longer than 255"));
    let deep = format!("share{}", "/x".repeat(MAX_PATH_DEPTH + 1));
    assert!(refused(&sealed(&[&deep]), 17).contains("64 folders deep"));
    assert!(refused(&sealed(&["share/a"]), 16_384 + 16).contains("file 0: no file has its length"));

    let one = &sealed(&["share/a"])[0];
    let of = |padded: &[u8], nonce| refused(&[sealed_path(&key, 0, padded, nonce)], 17);
    assert!(of(&pad("share/a"), Some([7; 12])).contains("a nonce that is not its own"));
    assert!(of(&[&pad("share/a")[..], &[0; 32]].concat(), None).contains("not padded"));
    assert!(of(&[0; 32], None).contains("not padded"));
    assert!(of(&[b'a'; 31], None).contains("a length that no sealed path has"));
    assert!(of(&[0xff; 32], None).contains("not UTF-8"));
    assert!(of(&[], None).contains("a length that no sealed path has"));
    assert!(refused(&[vec![one[0].replacen("000000", "000001", 1)]], 17).contains("six hexadecimal digits"));
    assert!(refused(&[vec![one[0].replacen('.', "", 1)]], 17).contains("six hexadecimal digits"));
    assert!(refused(&[vec![format!("{}=", one[0])]], 17).contains("base64url"));
    assert!(refused(&[vec!["000000.".to_owned()]], 17).contains("cut into components"));
    let (head, tail) = one[0].split_at(40);
    assert!(refused(&[vec![head.to_owned(), tail.to_owned()]], 17).contains("cut into components"));
    assert!(refused(&[vec![format!("000000.{}", "A".repeat(204))]], 17).contains("cut into components"));
    let other = sealed_path(&self::key(2), 1, &pad("share/b"), None);
    assert!(
        refused(&[one.clone(), other], 17)
            .contains("file 1: its name does not open with the key that opens others")
    );
}

#[test]
fn what_cannot_be_sealed_is_named() {
    let refused = |name: &str, paths: &[Vec<String>]| {
        let files: Vec<_> = paths.iter().map(|path| (path.clone(), 1)).collect();
        layout(&key(1), name, &files).unwrap_err().to_string()
    };
    assert!(refused("..", &[path("a")]).contains("relative to another"));
    assert!(refused("share", &[path("a/../b")]).contains("relative to another"));
    assert!(refused("share", &[vec![]]).contains("it is empty"));
    assert!(refused("share", &[path("a"), path("a")]).contains("there twice"));
    assert!(refused("share", &[path("a/b"), path("a")]).contains("a file and a folder at once"));
    assert!(refused("share", &[vec!["x".to_owned(); MAX_PATH_DEPTH + 1]]).contains("64 folders deep"));
    let long = vec!["x".repeat(255); 38];
    assert!(refused("share", std::slice::from_ref(&long)).contains("9568"), "in the error");
    let name = "n".repeat(MAX_SEALED_PATH - 37 * 256);
    let files = [(long[..37].to_vec(), 1)];
    let (share, _) = layout(&key(1), &name, &files).unwrap();
    assert_eq!(share.files[0].sealed_path.len(), MAX_PATH_DEPTH, "the longest path there is room for");
    assert_eq!(open(&metainfo_of(&share), &key(1)).unwrap(), share);
}

#[test]
fn sealed_and_plain_shares_are_not_mistaken_for_each_other() {
    assert!(MetainfoBuilder::new(SEALED_NAME, PIECE).unwrap_err().to_string().contains("another name"));
    let mut plain = MetainfoBuilder::new("plain", PIECE).unwrap();
    let plain = plain.file(&["a"], 1, roots(1)).unwrap().build().unwrap();
    assert_eq!(open(&plain, &key(1)), Err(SealError::NotSealed));
    assert_eq!(open_with(&plain, Some(&key(1))), Err(SealError::NotSealed));
    assert_eq!(open_with(&plain, None), Ok(None));
    let sealed = metainfo_of(&layout(&key(1), "share", &[(path("a"), 1)]).unwrap().0);
    assert_eq!(open_with(&sealed, None), Err(SealError::NoKey));
    assert_eq!(open(&metainfo([(&path(SEALED_NAME)[..], 17)]), &key(1)), Err(SealError::NoFolder));
    // Another program's metainfo of that name is only malformed.
    assert!(matches!(open(&metainfo([(&path("a")[..], 17)]), &key(1)), Err(SealError::Malformed { file: 0, .. })));
    assert!(is_sealed(&Metainfo::parse(Bytes::copy_from_slice(sealed.raw())).unwrap()));
    let (single, _) = layout(&key(1), "a", &[(path("a"), 1)]).unwrap();
    assert!(single.single_file, "the file itself, not a folder of its name");
    assert_eq!(open(&metainfo_of(&single), &key(1)), Ok(single));
}

#[test]
fn keys_are_read_strictly_and_never_shown() {
    let secret = ShareKey::new([0xA5; 32]);
    let text = secret.to_text();
    assert_eq!((text.len(), text.parse()), (43, Ok(secret.clone())));
    for wrong in [
        "",
        &text[1..],
        &format!("{text}A"),
        &format!("{text}="),
        &text.replace('p', "+"),
        &text.replace('U', "V"),
    ] {
        let error = wrong.parse::<ShareKey>().unwrap_err().to_string();
        assert_eq!(error, "the key of an encrypted share must be 43 characters of base64url", "{wrong}");
    }
    let read: Identity = Identity::new([0x11; 32]).to_text().parse().unwrap();
    assert_eq!(read.public(), Identity::new([0x11; 32]).public());
    assert!("AA".parse::<Identity>().unwrap_err().to_string().contains("an identity must be 43"));
    assert!("AA".parse::<PublicKey>().unwrap_err().to_string().contains("a public key must be 43"));
    assert!("AA".parse::<WrappedKey>().unwrap_err().to_string().contains("a wrapped key must be 107"));
    let (share, _) = layout(&secret, "share", &[(path("a"), 1)]).unwrap();
    let identity = Identity::new([0xA5; 32]);
    let wrapped = WrappedKey::wrap(&secret, &identity.public(), [1; 32]).unwrap();
    assert_eq!(
        format!("{secret:?} {:?} {identity:?} {wrapped:?}", share.files[0].key),
        "ShareKey ContentKey Identity WrappedKey"
    );
}

#[test]
fn a_public_key_that_is_no_secret_s_is_refused() {
    let mut one = [0; 32];
    one[0] = 1;
    for low_order in [[0; 32], one] {
        let wrapped = WrappedKey::wrap(&key(1), &PublicKey::new(low_order), [3; 32]);
        assert_eq!(wrapped, Err(SealError::UnusablePublicKey));
        let text = BASE64URL_NOPAD.encode(&[&low_order[..], &[0; 48]].concat());
        assert_eq!(Identity::new([5; 32]).unwrap(&text.parse().unwrap()), Err(SealError::NotForYou));
    }
}
