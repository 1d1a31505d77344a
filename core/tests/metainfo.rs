//! Properties of metainfo: what is built parses back to what was asked for; whatever parses is consistent and
//! safe; whatever is refused is refused by the name of its field.

mod support;

use std::collections::BTreeMap;
use std::path::{Component, Path};

use bytes::Bytes;
use kollator_core::id::Digest;
use kollator_core::merkle::{height_for, root, sha256, zero_root};
use kollator_core::metainfo::{
    MAX_FILES, MAX_PATH_DEPTH, MAX_TOTAL_LENGTH, MAX_URLS, Metainfo, MetainfoBuilder, Problem, piece_height,
    web_seed_url,
};
use kollator_core::wire::frame::MAX_METAINFO;
use proptest::prelude::*;
use support::{Value, dictionary, string};

const PIECE: u32 = 16 * 1024;

/// What must hold of anything that [`Metainfo::parse`] accepts, told without its code.
fn assert_consistent(share: &Metainfo) {
    let is_safe = |name: &str| {
        let mut components = Path::new(name).components();
        matches!(components.next(), Some(Component::Normal(only)) if only == name)
            && components.next().is_none()
            && !name.contains('\\')
            && !name.chars().any(char::is_control)
            && name.len() <= 255
    };
    assert!(is_safe(share.name()), "{:?}", share.name());
    let paths: Vec<&[String]> = share.files().iter().map(|file| file.path.as_slice()).collect();
    for pair in paths.windows(2) {
        assert!(pair[0] < pair[1] && !pair[1].starts_with(pair[0]), "{pair:?}");
    }
    assert!(paths.iter().all(|path| !path.is_empty() && path.iter().all(|name| is_safe(name))));
    assert_eq!(share.is_single_file(), paths == [[share.name()]]);
    assert_eq!(share.total_length(), share.files().iter().map(|file| file.length).sum::<u64>());

    let piece_length = u64::from(share.piece_length());
    assert!(piece_length.is_power_of_two() && (16 << 10..=16 << 20).contains(&piece_length));
    let mut next = 0;
    for (index, file) in share.files().iter().enumerate() {
        assert_eq!(file.pieces.start, next);
        next = file.pieces.end;
        let pieces = &share.pieces()[file.pieces.start as usize..file.pieces.end as usize];
        let mut offset = 0;
        for piece in pieces {
            assert_eq!((piece.file as usize, piece.offset), (index, offset));
            let left = file.length - offset;
            let padded = if file.length > piece_length { piece_length } else { left }.div_ceil(16 << 10);
            assert_eq!(u64::from(piece.chunk.length()), left.min(piece_length));
            assert_eq!(1u64 << piece.chunk.height(), padded.next_power_of_two());
            offset += piece_length.min(left);
        }
        assert_eq!(offset, file.length);
        let hashes: Vec<Digest> = pieces.iter().map(|piece| piece.chunk.root()).collect();
        let pad = zero_root(piece_length.trailing_zeros() as u8 - 14);
        let folded = (!hashes.is_empty()).then(|| root(&hashes, height_for(hashes.len() as u64), pad));
        assert_eq!(file.pieces_root, folded);
    }
    assert_eq!(next as usize, share.pieces().len());
    assert_eq!(Metainfo::parse(share.raw().clone()).as_ref(), Ok(share));
}

/// One hash for each piece, of nothing in particular.
fn hashes(seed: u64, length: u64, piece_length: u32) -> Vec<Digest> {
    let count = length.div_ceil(u64::from(piece_length));
    (0..count).map(|n| sha256(&[seed.to_be_bytes(), n.to_be_bytes()].concat())).collect()
}

fn component() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(vec!["a", "b", "c", "...", "C:", "文件", "файл.txt", "Ünï", "a b"])
            .prop_map(str::to_owned),
        1 => "[^/\\\\\\pC]{1,20}".prop_filter("a relative name", |name| name != "." && name != ".."),
        1 => proptest::sample::select(vec!["", ".", "..", "a/b", "a\\b", "\0", "a\nb"]).prop_map(str::to_owned),
    ]
}

type Files = Vec<(Vec<String>, u64)>;

fn files() -> impl Strategy<Value = Files> {
    let length = prop_oneof![Just(0u64), 1..=40_000u64, 1..=3_000_000u64];
    proptest::collection::vec((proptest::collection::vec(component(), 0..5), length), 0..12)
}

/// Whether `path` may join `known`, told from BEP 52 and not from the builder's code.
fn fits(known: &BTreeMap<Vec<String>, u64>, path: &[String]) -> bool {
    let bad = |name: &String| {
        ["", ".", ".."].contains(&name.as_str()) || name.contains(['/', '\\']) || name.contains(char::is_control)
    };
    !path.is_empty()
        && !path.iter().any(bad)
        && !known.keys().any(|other| path.starts_with(other) || other.starts_with(path))
}

proptest! {
    #[test]
    fn what_is_built_parses_back(
        name in "[^/\\\\\\pC.][^/\\\\\\pC]{0,30}",
        exponent in 14..=24u32,
        files in files(),
        fronts in proptest::collection::vec("https?://[a-z]{1,9}(:[0-9]{1,4})?", 0..3),
        trackers in proptest::collection::vec("udp://[a-z]{1,9}:[0-9]{1,4}/announce", 0..3),
        web_seeds in proptest::collection::vec("http://[a-z]{1,9}/f/", 0..3),
    ) {
        let piece_length = 1 << exponent;
        let mut builder = MetainfoBuilder::new(&name, piece_length).unwrap();
        builder.fronts(&fronts).unwrap().trackers(&trackers).unwrap().url_list(&web_seeds).unwrap();
        builder.created_by("a test");
        let mut accepted = BTreeMap::new();
        for (n, (path, length)) in files.into_iter().enumerate() {
            let added = builder.file(&path, length, hashes(n as u64, length, piece_length)).is_ok();
            prop_assert_eq!(added, fits(&accepted, &path), "{:?}", path);
            if added {
                accepted.insert(path, length);
            }
        }
        let built = builder.build();
        prop_assert_eq!(built.is_ok(), !accepted.is_empty());
        if let Ok(share) = built {
            assert_consistent(&share);
            prop_assert_eq!(share.name(), name);
            prop_assert_eq!(share.piece_length(), piece_length);
            let mut in_order: Files = accepted.into_iter().collect();
            in_order.sort();
            let got: Files = share.files().iter().map(|file| (file.path.clone(), file.length)).collect();
            prop_assert_eq!(got, in_order);
            let unique = |mut urls: Vec<String>| {
                let all = urls.clone();
                let mut n = 0;
                urls.retain(|url| { n += 1; !all[..n - 1].contains(url) });
                urls
            };
            prop_assert_eq!(share.fronts(), unique(fronts));
            prop_assert_eq!(share.trackers(), unique(trackers));
            prop_assert_eq!(share.url_list(), unique(web_seeds));
        }
    }

    #[test]
    fn keys_outside_info_leave_the_info_hash_alone(fronts in proptest::collection::vec("http://[a-z]{1,9}", 1..3)) {
        let mut builder = MetainfoBuilder::new("a", PIECE).unwrap();
        let bare = builder.file(&["a"], 1, hashes(0, 1, PIECE)).unwrap().build().unwrap();
        let full = builder.fronts(&fronts).unwrap().build().unwrap();
        prop_assert_ne!(bare.raw(), full.raw());
        prop_assert_eq!(bare.info_hash(), full.info_hash());
    }

    /// Whatever keys are around it, and whether there is a list already, one URL or none.
    #[test]
    fn a_web_seed_is_added_and_nothing_else_is_changed(
        keys in proptest::collection::btree_set("[a-z]{1,12}", 0..6), before in 0..4usize,
    ) {
        let mut torrent = folder();
        for key in &keys {
            if let value @ Value::Dictionary(_) = torrent.at(&[key]) && *value == dictionary([]) {
                *value = string(key);
            }
        }
        let old: Vec<String> = (0..before).map(|n| format!("http://old/{n}")).collect();
        torrent.remove("url-list");
        match before {
            0 => {}
            1 => *torrent.at(&["url-list"]) = string(&old[0]),
            _ => *torrent.at(&["url-list"]) = Value::List(old.iter().map(string).collect()),
        }
        let Ok(share) = Metainfo::parse(torrent.encode().into()) else { return Ok(()) };
        let seed = web_seed_url("http://worker:8081", share.info_hash());
        let seeded = share.with_web_seed(&seed).unwrap();
        let all: Vec<Value> = old.iter().chain([&seed]).map(string).collect();
        *torrent.at(&["url-list"]) = Value::List(all);
        prop_assert_eq!(&seeded[..], &torrent.encode()[..]);
        let seeded = Metainfo::parse(seeded).unwrap();
        prop_assert_eq!(seeded.info_hash(), share.info_hash());
        prop_assert_eq!(seeded.with_web_seed(&seed).unwrap(), seeded.raw().clone());
    }

    #[test]
    fn a_share_with_any_value_replaced_is_refused_or_consistent(
        places in proptest::collection::vec((any::<proptest::sample::Index>(), value()), 1..4),
    ) {
        let mut ko = folder();
        for (place, value) in places {
            *ko.nth(place.index(ko.count())) = value;
        }
        if let Ok(share) = Metainfo::parse(ko.encode().into()) {
            assert_consistent(&share);
        }
    }

    #[test]
    fn a_share_with_any_bytes_changed_is_refused_or_consistent(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let mut ko = folder().encode();
        for (place, byte) in changes {
            let place = place.index(ko.len());
            ko[place] = byte;
        }
        if let Some(cut) = cut {
            ko.truncate(cut.index(ko.len()));
            prop_assert!(Metainfo::parse(ko.into()).is_err());
        } else if let Ok(share) = Metainfo::parse(ko.into()) {
            assert_consistent(&share);
        }
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(share) = Metainfo::parse(Bytes::copy_from_slice(bytes)) {
            assert_consistent(&share);
        }
    });
}

/// A value that could be mistaken for one that belongs there.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        proptest::sample::select(vec![0, 1, 2, -1, 16_384, 16_385, 1 << 53, i64::MAX]).prop_map(Value::Integer),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::String),
        Just(string([7; 32])),
        Just(string([7; 64])),
        Just(file(5)),
    ];
    let key = proptest::sample::select(vec!["", "..", "a", "length", "pieces root", "info", "name"]);
    leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            proptest::collection::btree_map(key.clone(), inner, 0..4).prop_map(|entries| {
                Value::Dictionary(
                    entries.into_iter().map(|(key, value)| (key.as_bytes().to_vec(), value)).collect(),
                )
            }),
        ]
    })
}

fn file(length: i64) -> Value {
    let root = string([3; 32]);
    dictionary([("", dictionary([("length", Value::Integer(length)), ("pieces root", root)]))])
}

/// A share as some other program might write it: two pieces in `a/long`, an unknown key, trackers.
fn folder() -> Value {
    let layer = hashes(1, 20_000, PIECE);
    let whole = root(&layer, 1, zero_root(piece_height(20_000, PIECE)));
    let long = dictionary([("length", Value::Integer(20_000)), ("pieces root", string(whole.0))]);
    let empty = dictionary([("", dictionary([("length", Value::Integer(0))]))]);
    let tree =
        dictionary([("a", dictionary([("empty", empty), ("long", dictionary([("", long)]))])), ("b", file(7))]);
    let mut ko = dictionary([
        ("announce", string("http://tracker/announce")),
        ("announce-list", Value::List(vec![Value::List(vec![string("udp://tracker:1")])])),
        (
            "info",
            dictionary([
                ("file tree", tree),
                ("meta version", Value::Integer(2)),
                ("name", string("folder")),
                ("piece length", Value::Integer(i64::from(PIECE))),
                ("private", Value::Integer(0)),
            ]),
        ),
        ("kollator", dictionary([("fronts", Value::List(vec![string("https://front/")]))])),
        ("piece layers", dictionary([])),
        ("url-list", string("http://seed/")),
    ]);
    *ko.at(&["piece layers"]) = Value::Dictionary(vec![(
        whole.0.to_vec(),
        string(layer.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>()),
    )]);
    ko
}

#[test]
fn the_example_is_accepted_as_it_is() {
    let share = Metainfo::parse(folder().encode().into()).unwrap();
    assert_consistent(&share);
    assert_eq!(share.fronts(), ["https://front"]);
    assert_eq!(share.trackers(), ["http://tracker/announce", "udp://tracker:1"]);
    assert_eq!(share.url_list(), ["http://seed/"]);
    assert_eq!(share.pieces().len(), 3);
}

#[test]
fn every_truncation_is_refused() {
    let ko = Bytes::from(folder().encode());
    for end in 0..ko.len() {
        assert!(Metainfo::parse(ko.slice(..end)).is_err(), "cut at {end}");
    }
}

/// The error for the example after `change`.
fn refusal(change: impl FnOnce(&mut Value)) -> String {
    let mut ko = folder();
    change(&mut ko);
    Metainfo::parse(ko.encode().into()).unwrap_err().to_string()
}

#[test]
fn a_refusal_names_the_field_and_its_fault() {
    const TREE: &[&str] = &["info", "file tree"];
    let set = |path: &'static [&'static str], value: Value| refusal(move |ko| *ko.at(path) = value);
    let without = |path: &'static [&'static str], key: &'static str| refusal(move |ko| ko.at(path).remove(key));

    assert_eq!(without(&[], "info"), "info is missing");
    assert_eq!(without(&["info"], "name"), "info.name is missing");
    assert_eq!(without(&["info"], "file tree"), "info.file tree is missing");
    assert_eq!(without(&["info"], "piece length"), "info.piece length is missing");
    assert_eq!(without(&["info"], "meta version"), "info.meta version is missing");
    assert_eq!(
        refusal(|ko| *ko.at(&["info"]) = dictionary([("length", Value::Integer(1)), ("pieces", string([0; 20]))])),
        "metainfo is BitTorrent v1 only; a share needs BitTorrent v2 (BEP 52)"
    );
    assert_eq!(set(&["info", "meta version"], Value::Integer(3)), "info.meta version must be 2, got 3");
    for length in [0, 1, 8192, 16_385, 49_152, 1 << 25, i64::MAX] {
        assert_eq!(
            set(&["info", "piece length"], Value::Integer(length)),
            format!(
                "info.piece length must be a power of two from 16384 (16 KiB) to 16777216 (16 MiB), got {length}"
            )
        );
    }
    assert!(
        set(&["info", "piece length"], Value::Integer(-16_384))
            .starts_with("info.piece length is malformed at byte")
    );
    assert!(set(&["info", "name"], Value::Integer(1)).starts_with("info.name is malformed at byte"));
    assert!(set(&["info"], Value::Integer(1)).starts_with("info is malformed at byte"));
    assert!(
        set(&["info", "file tree", "a"], Value::Integer(1)).starts_with("info.file tree/a is malformed at byte")
    );
    assert_eq!(set(TREE, dictionary([])), "info.file tree must be at least one file, got none");

    let b = &["info", "file tree", "b", ""];
    assert_eq!(without(b, "length"), "info.file tree/b.length is missing");
    assert_eq!(without(b, "pieces root"), "info.file tree/b.pieces root is missing");
    assert!(
        set(&["info", "file tree", "b", "", "length"], Value::Integer(-1))
            .starts_with("info.file tree/b.length is malformed at byte")
    );
    assert_eq!(
        set(&["info", "file tree", "b", "", "pieces root"], string([0; 31])),
        "info.file tree/b.pieces root must be 32 bytes long, got 31 bytes"
    );
    assert_eq!(
        set(&["info", "file tree", "b", "", "length"], Value::Integer(0)),
        "info.file tree/b.pieces root must not be there for an empty file"
    );
    assert_eq!(
        set(&["info", "file tree", "b", "", "attr"], string("xl")),
        "info.file tree/b is a symbolic link, which is not supported"
    );
    assert_eq!(
        set(&["info", "file tree", "b", "c"], file(1)),
        "info.file tree/b is there twice, or is a file and a directory at once"
    );
    assert_eq!(
        set(&["info", "file tree", ""], dictionary([("length", Value::Integer(0))])),
        "info.file tree is there twice, or is a file and a directory at once"
    );
    assert_eq!(
        set(&["info", "file tree", "b", "", "length"], Value::Integer(1 << 53)),
        format!("info.file tree is over the limit of {MAX_TOTAL_LENGTH} bytes in all files")
    );
    assert_eq!(
        set(&["announce"], string("tracker")),
        "announce must be a URL of at most 2048 bytes, without spaces, got \"tracker\""
    );
    assert!(
        refusal(|ko| *ko.at(&["kollator", "fronts"]) = Value::List(vec![string("ftp://front")]))
            .starts_with("kollator.fronts must be an http")
    );
}

#[test]
fn piece_layers_are_there_exactly_for_files_larger_than_a_piece_and_fold() {
    let layer = |ko: &mut Value, change: &dyn Fn(&mut Vec<u8>)| {
        let Value::Dictionary(layers) = ko.at(&["piece layers"]) else { panic!("layers are a dictionary") };
        let Value::String(bytes) = &mut layers[0].1 else { panic!("a layer is a string") };
        change(bytes);
    };
    let ends =
        |error: String, end: &str| assert!(error.starts_with("piece layers.") && error.ends_with(end), "{error}");
    ends(refusal(|ko| ko.remove("piece layers")), " is missing");
    ends(refusal(|ko| layer(ko, &|bytes| bytes[40] ^= 1)), " does not fold to its pieces root");
    ends(refusal(|ko| layer(ko, &|bytes| bytes.truncate(32))), " must hold 2 piece hashes, got 32 bytes");
    ends(refusal(|ko| layer(ko, &|bytes| bytes.extend([0; 32]))), " must hold 2 piece hashes, got 96 bytes");
    ends(
        refusal(|ko| {
            let Value::Dictionary(layers) = ko.at(&["piece layers"]) else { panic!("layers are a dictionary") };
            layers.insert(0, (vec![0; 32], string([0; 64])));
        }),
        " belongs to no file larger than one piece",
    );
}

#[test]
fn paths_that_lead_out_of_the_share_are_refused() {
    let long = "x".repeat(256);
    for name in [".", "..", "/", "/etc/passwd", "../x", "a/../../x", "..\\x", "\\\\host\\x", "a\0", "a\r", &long] {
        for place in [vec!["info", "file tree", name], vec!["info", "file tree", "a", name]] {
            let error = refusal(|ko| *ko.at(&place) = file(1));
            assert!(error.starts_with("info.file tree/") && error.contains("is not a safe file name"), "{error}");
        }
        let error = refusal(|ko| *ko.at(&["info", "name"]) = string(name));
        assert!(error.starts_with("info.name is not a safe file name"), "{error}");
    }
    let error = refusal(|ko| {
        let Value::Dictionary(tree) = ko.at(&["info", "file tree"]) else { panic!("the tree is a dictionary") };
        tree.push((vec![0xff, 0xfe], file(1)));
    });
    assert!(error.ends_with("is not a safe file name: it is not UTF-8"), "{error}");
}

#[test]
fn a_name_twice_is_refused() {
    for place in [&[][..], &["info"], &["info", "file tree"], &["info", "file tree", "a"]] {
        let error = refusal(|ko| {
            let Value::Dictionary(entries) = ko.at(place) else { panic!("{place:?} is a dictionary") };
            let last = entries.last().unwrap().clone();
            entries.push(last);
        });
        assert!(error.contains("keys are not sorted or not unique"), "{error}");
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let ko = [folder().encode(), vec![b'e']].concat();
    assert!(Metainfo::parse(ko.into()).unwrap_err().to_string().contains("bytes after the end"));
}

#[test]
fn a_single_file_is_one_whose_name_is_the_shares() {
    for (name, path, single) in
        [("a", &["a"][..], true), ("a", &["b"], false), ("a", &["a", "a"], false), ("a", &["a", "b"], false)]
    {
        let mut builder = MetainfoBuilder::new(name, PIECE).unwrap();
        let share = builder.file(path, 1, hashes(0, 1, PIECE)).unwrap().build().unwrap();
        assert_eq!(share.is_single_file(), single, "{path:?}");
    }
}

#[test]
fn directories_are_limited_in_depth() {
    let deep = |depth: usize| {
        let path = vec!["a"; depth];
        let tree = path
            .iter()
            .rev()
            .skip(1)
            .fold(dictionary([("a", file(1))]), |inner, name| dictionary([(*name, inner)]));
        let mut ko = folder();
        *ko.at(&["info", "file tree"]) = tree;
        *ko.at(&["piece layers"]) = dictionary([]);
        (
            MetainfoBuilder::new("s", PIECE).unwrap().file(&path, 1, hashes(0, 1, PIECE)).map(drop),
            Metainfo::parse(ko.encode().into()),
        )
    };
    let (built, parsed) = deep(MAX_PATH_DEPTH);
    assert_eq!(built, Ok(()));
    assert_eq!(parsed.unwrap().files()[0].path.len(), MAX_PATH_DEPTH);
    let too_deep = Problem::Limit { limit: MAX_PATH_DEPTH as u64, what: "path components" };
    let (built, parsed) = deep(MAX_PATH_DEPTH + 1);
    assert_eq!(built.unwrap_err().problem, too_deep);
    assert_eq!(parsed.unwrap_err().problem, too_deep);
    assert!(deep(1000).1.unwrap_err().to_string().contains("over the limit of 64 path components"));
}

/// A tree of empty files below `folders`, and nothing else.
fn many_files(folders: &[&str], count: usize) -> Bytes {
    let mut ko = b"d4:infod9:file tree".to_vec();
    for folder in folders {
        ko.extend(format!("d{}:{folder}", folder.len()).bytes());
    }
    ko.push(b'd');
    for n in 0..count {
        ko.extend(format!("7:{n:07}d0:d6:lengthi0eee").bytes());
    }
    ko.extend(vec![b'e'; folders.len() + 1]);
    ko.extend(b"12:meta versioni2e4:name1:n12:piece lengthi16384eee");
    ko.into()
}

#[test]
fn files_are_limited_in_number_and_in_the_memory_their_paths_take() {
    assert_eq!(Metainfo::parse(many_files(&[], MAX_FILES)).unwrap().files().len(), MAX_FILES);
    let problem = |ko| Metainfo::parse(ko).unwrap_err().problem;
    assert_eq!(problem(many_files(&[], MAX_FILES + 1)), Problem::Limit { limit: MAX_FILES as u64, what: "files" });
    let long = "x".repeat(255);
    let expanded = problem(many_files(&vec![long.as_str(); MAX_PATH_DEPTH - 1], MAX_FILES / 2));
    assert!(matches!(expanded, Problem::Limit { what: "bytes in all paths", .. }), "{expanded}");
}

#[test]
fn pieces_are_limited_in_number_before_any_is_made() {
    let error = refusal(|ko| *ko.at(&["info", "file tree", "b", "", "length"]) = Value::Integer(1 << 40));
    assert_eq!(error, "info.file tree is over the limit of 4194304 pieces");
}

#[test]
fn an_oversized_metainfo_is_refused_unread() {
    let ko = Bytes::from(vec![b'x'; MAX_METAINFO as usize + 1]);
    assert_eq!(
        Metainfo::parse(ko).unwrap_err().to_string(),
        format!("metainfo is over the limit of {MAX_METAINFO} bytes")
    );
}

#[test]
fn the_builder_refuses_what_could_not_be_right_and_stays_as_it_was() {
    let mut builder = MetainfoBuilder::new("s", PIECE).unwrap();
    let one = builder.file(&["a", "b"], 1, hashes(0, 1, PIECE)).unwrap().build().unwrap();
    for (path, length, count, error) in [
        (&["a"][..], 1, 1, "file \"a\" is there twice, or is a file and a directory at once"),
        (&["a", "b", "c"], 1, 1, "file \"a/b/c\" is there twice, or is a file and a directory at once"),
        (&["a", "b"], 1, 1, "file \"a/b\" is there twice, or is a file and a directory at once"),
        (&["c", ".."], 1, 1, "file \"c/..\" is not a safe file name: it names a folder relative to another"),
        (&[], 1, 1, "file \"\" is not a safe file name: it is empty"),
        (&["d"], 16_385, 1, "file \"d\" must hold 2 piece hashes, got 32 bytes"),
        (&["d"], 0, 1, "file \"d\" must hold 0 piece hashes, got 32 bytes"),
    ] {
        let added = builder.file(path, length, vec![Digest([1; 32]); count]);
        assert_eq!(added.unwrap_err().to_string(), error);
    }
    assert!(builder.fronts(&["front"]).is_err() && builder.trackers(&["a b"]).is_err());
    assert_eq!(builder.build().unwrap(), one);
    assert!(MetainfoBuilder::new("..", PIECE).is_err());
    assert!(MetainfoBuilder::new("a", PIECE + 1).is_err());
    assert_eq!(MetainfoBuilder::new("a", PIECE).unwrap().build().unwrap_err().field, "info.file tree");
}

#[test]
fn a_web_seed_that_is_none_or_one_too_many_is_refused() {
    let mut builder = MetainfoBuilder::new("a", PIECE).unwrap();
    let share = builder.file(&["a"], 1, hashes(0, 1, PIECE)).unwrap().build().unwrap();
    assert_eq!(share.with_web_seed("no URL").unwrap_err().field, "url-list");
    let urls: Vec<String> = (0..MAX_URLS).map(|n| format!("http://old/{n}")).collect();
    let full = builder.url_list(&urls).unwrap().build().unwrap();
    assert!(matches!(full.with_web_seed("http://new/").unwrap_err().problem, Problem::Limit { .. }));
    let known = web_seed_url("http://w:1/", share.info_hash());
    assert_eq!(known, format!("http://w:1/files/{}/", share.info_hash()));
}
