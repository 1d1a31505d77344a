//! Properties of links: what is written reads back, junk never panics, each fault has its own error.

use kollator_core::id::{Digest, InfoHash};
use kollator_core::link::{LinkError, LinkKey, MAX_LINK, ShareRef};
use kollator_core::metainfo::MAX_URLS;
use kollator_core::seal::{PublicKey, ShareKey, WrappedKey};
use proptest::prelude::*;

const HASH: &str = "caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e";

fn parse(text: &str) -> Result<ShareRef, LinkError> {
    text.parse()
}

fn bare() -> ShareRef {
    ShareRef::new(HASH.parse().unwrap())
}

/// A name that is safe for a file.
fn name() -> impl Strategy<Value = String> {
    "[^/\\\\\\pC]{1,40}".prop_filter("a relative name", |name| name != "." && name != "..")
}

fn urls(pattern: &'static str) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set(pattern, 0..4).prop_map(|urls| urls.into_iter().collect())
}

fn key() -> impl Strategy<Value = LinkKey> {
    (any::<[u8; 32]>(), any::<bool>()).prop_map(|(bytes, wrapped)| {
        let key = ShareKey::new(bytes);
        if wrapped {
            let to = PublicKey::new([9; 32]);
            LinkKey::Wrapped(WrappedKey::wrap(&key, &to, bytes).unwrap())
        } else {
            LinkKey::Open(key)
        }
    })
}

fn share() -> impl Strategy<Value = ShareRef> {
    (
        any::<[u8; 32]>(),
        proptest::option::of(name()),
        urls("https?://[a-z0-9.]{1,20}(:[0-9]{1,5})?(/[a-z+%&=]{1,5})?"),
        urls("udp://[a-zé]{1,9}:[0-9]{1,5}/[a-z?&=+#%]{0,9}"),
        urls("https://[a-z]{1,9}/[a-z?&=+#%é]{0,9}"),
        proptest::option::of(key()),
    )
        .prop_map(|(hash, name, fronts, trackers, web_seeds, key)| ShareRef {
            info_hash: InfoHash(Digest(hash)),
            name,
            fronts,
            trackers,
            web_seeds,
            key,
        })
}

proptest! {
    #[test]
    fn a_magnet_link_reads_back_but_for_the_key(share in share()) {
        prop_assert_eq!(parse(&share.magnet()), Ok(ShareRef { key: None, ..share }));
    }

    #[test]
    fn a_share_link_reads_back_but_for_trackers_and_web_seeds(
        share in share(),
        front in "https?://[a-z]{1,9}(:[0-9]{1,5})?",
    ) {
        let mut fronts = vec![front.clone()];
        fronts.extend(share.fronts.iter().filter(|other| **other != front).cloned());
        let read = ShareRef { fronts, trackers: vec![], web_seeds: vec![], ..share.clone() };
        prop_assert_eq!(parse(&share.share_link(&front)), Ok(read.clone()));
        prop_assert_eq!(parse(&share.share_link(&format!("{front}/"))), Ok(read));
    }

    #[test]
    fn a_displayed_share_names_the_same_share(share in share()) {
        let read = parse(&share.to_string()).unwrap();
        prop_assert_eq!((read.info_hash, read.name, read.fronts), (share.info_hash, share.name, share.fronts));
    }

    #[test]
    fn any_name_survives_or_is_dropped_as_unsafe(name in any::<String>()) {
        let share = ShareRef { name: Some(name.clone()), ..bare() };
        for link in [share.magnet(), share.share_link("http://front")] {
            prop_assert!(link.is_ascii());
            let read = parse(&link).unwrap().name;
            prop_assert!(read.is_none() || read.as_ref() == Some(&name));
        }
    }
}

/// Whatever reads is a fixed point: it writes and reads as itself, with a name that is safe.
fn assert_settled(text: &str) {
    if let Ok(share) = parse(text) {
        assert_eq!(parse(&share.magnet()), Ok(ShareRef { key: None, ..share.clone() }), "{text:?}");
        if let Some(name) = &share.name {
            assert!(!name.contains(['/', '\\', '\0']) && !["", ".", ".."].contains(&name.as_str()), "{name:?}");
        }
    }
}

#[test]
fn arbitrary_text_never_panics() {
    bolero::check!().with_type::<(u8, String)>().for_each(|(form, text)| match form % 4 {
        0 => assert_settled(text),
        1 => assert_settled(&format!("magnet:?xt=urn:btmh:1220{HASH}&{text}")),
        2 => assert_settled(&format!("http://front/#{HASH}&{text}")),
        _ => assert_settled(&format!("https://{text}#{HASH}")),
    });
}

#[test]
fn every_form_names_the_share() {
    let upper = HASH.to_uppercase();
    for text in [
        HASH,
        &upper,
        &format!("1220{HASH}"),
        &format!("  {HASH}\n"),
        &format!("magnet:?xt=urn:btmh:1220{HASH}"),
        &format!("MAGNET:?xt=URN:BTMH:1220{upper}"),
        &format!("magnet:?xt=urn%3Abtmh%3A1220{HASH}"),
        &format!("magnet:?xt=urn:btih:{}&xt=urn:btmh:1220{HASH}&x.pe=1.2.3.4:5&so=0", &HASH[..40]),
        &format!("magnet:?xt.1=urn:btih:{}&xt.2=urn:btmh:1220{HASH}", &HASH[..40]),
        &format!("magnet:?&&xt=urn:btmh:1220{HASH}&dn=..%2Fup"),
    ] {
        assert_eq!(parse(text), Ok(bare()), "{text}");
    }
    for front in ["http://localhost:8080", "https://front.example", "https://[::1]:8443/some/path"] {
        let at = ShareRef { fronts: vec![front.to_owned()], ..bare() };
        for slash in ["", "/", "//"] {
            assert_eq!(parse(&format!("{front}{slash}#{HASH}")), Ok(at.clone()), "{front}{slash}");
        }
    }
}

#[test]
fn fields_are_read() {
    let tracker = "http://tracker/announce?a=b&c=d";
    let text = format!(
        "magnet:?xt=urn:btmh:1220{HASH}&dn=two+words&tr=http%3A%2F%2Ftracker%2Fannounce%3Fa%3Db%26c%3Dd\
         &tr.1=udp://t:1&ws=https://seed/&x.front=https://front/&dn=ignored"
    );
    let share = parse(&text).unwrap();
    assert_eq!(share.name.as_deref(), Some("two words"));
    assert_eq!(share.trackers, [tracker, "udp://t:1"]);
    assert_eq!(share.web_seeds, ["https://seed/"]);
    assert_eq!(share.fronts, ["https://front"]);

    let share = parse(&format!("https://front/#{HASH}&dn=a+b%20%D1%84&front=http://other:1/")).unwrap();
    assert_eq!(share.name.as_deref(), Some("a+b ф"));
    assert_eq!(share.fronts, ["https://front", "http://other:1"]);
}

#[test]
fn a_share_link_is_written_as_documented() {
    let share = ShareRef { name: Some("ü &.txt".to_owned()), ..bare() };
    assert_eq!(share.share_link("https://front/"), format!("https://front/#{HASH}&dn=%C3%BC%20%26.txt"));
    assert_eq!(share.magnet(), format!("magnet:?xt=urn:btmh:1220{HASH}&dn=%C3%BC%20%26.txt"));
}

#[test]
fn the_key_is_in_the_link_and_nowhere_else() {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let share = ShareRef { key: Some(LinkKey::Open(key.parse().unwrap())), ..bare() };
    let link = format!("https://front/#{HASH}&k={key}");
    assert_eq!(share.share_link("https://front"), link);
    let wrapped = WrappedKey::wrap(&key.parse().unwrap(), &PublicKey::new([9; 32]), [1; 32]).unwrap();
    let to = ShareRef { key: Some(LinkKey::Wrapped(wrapped)), ..bare() };
    assert_eq!(to.share_link("https://front"), format!("https://front/#{HASH}&to={wrapped}"));
    for text in [share.magnet(), to.magnet(), format!("{share:?} {to:?}")] {
        assert!(
            !text.contains(key) && !text.contains(&wrapped.to_string()) && !text.contains("1, 2, 3"),
            "{text}"
        );
    }
}

#[test]
fn each_fault_has_its_error() {
    let short = &HASH[1..];
    let refused = |text: &str| parse(text).unwrap_err().to_string();
    for text in ["", " ", "hello", "ftp://front/#x", "magnet:xt=1", "share.ko", "ф"] {
        assert!(refused(text).contains("is neither a share link"), "{text}");
    }
    for text in [
        short.to_owned(),
        format!("{HASH}00"),
        format!("1221{HASH}"),
        format!("https://front/#{short}"),
        format!("https://front/#{short}é"),
        format!("magnet:?xt=urn:btmh:{HASH}"),
        format!("magnet:?xt=urn:btmh:1220{short}"),
    ] {
        assert!(refused(&text).starts_with("an info hash must be 64 hexadecimal digits"), "{text}");
    }
    for text in ["https://front", "https://front/", "https://front/#", "https://front/#&dn=x"] {
        assert_eq!(parse(text), Err(LinkError::NoFragment), "{text}");
    }
    for front in
        ["https://", "https:///path", "https://:80", "https://a b", "https://front?q", "https://user@front"]
    {
        let error = refused(&format!("{front}#{HASH}"));
        assert!(error.starts_with("the share link's front must be an http or https URL"), "{error}");
    }
    let link = |rest: &str| refused(&format!("https://front/#{HASH}&{rest}"));
    assert_eq!(link("q=1"), "the share link has an unknown field \"q\"");
    assert_eq!(link("tr=udp://t:1"), "the share link has an unknown field \"tr\"");
    let key = ShareKey::new([7; 32]).to_text();
    assert!(parse(&format!("https://front/#{HASH}&k={key}")).is_ok());
    for wrong in [&key[1..], &format!("{key}A"), &format!("{}%2", &key[..41]), &key.replace('c', "+"), "", "%ff"] {
        let error = link(&format!("k={wrong}"));
        assert_eq!(error, "the link's field k is not a key of 43 characters: copy the whole link");
        assert_eq!(link(&format!("to={wrong}")), error.replacen("field k", "field to", 1).replace("43", "107"));
    }
    assert_eq!(link(&format!("k={key}&k={key}")), "the link has the field k or to twice");
    assert_eq!(link("dn=a&dn=b"), "the link has the field dn twice");
    assert!(link("dn=%F").starts_with("the link's field dn must be percent-encoded"));
    assert!(link("dn=%ff").starts_with("the link's field dn must be UTF-8"));
    assert!(link("front=x").starts_with("the link's field front must be an http"));

    let magnet = |rest: &str| parse(&format!("magnet:?{rest}")).unwrap_err();
    assert_eq!(magnet(&format!("xt=urn:btih:{}", &HASH[..40])), LinkError::VersionOne);
    assert_eq!(magnet("dn=x"), LinkError::NoTopic);
    let twice = format!("xt=urn:btmh:1220{HASH}");
    assert_eq!(magnet(&format!("{twice}&{twice}")), LinkError::Repeated("xt=urn:btmh"));
}

#[test]
fn links_are_limited() {
    let many: String = (0..=MAX_URLS).map(|n| format!("&tr=udp://t:{n}")).collect();
    assert_eq!(parse(&format!("magnet:?xt=urn:btmh:1220{HASH}{many}")), Err(LinkError::TooMany("tr")));
    let long = format!("https://front/#{HASH}&dn={}", "x".repeat(MAX_LINK));
    assert_eq!(parse(&long), Err(LinkError::TooLong(long.len())));
    let url = format!("magnet:?xt=urn:btmh:1220{HASH}&tr=udp://{}", "x".repeat(3000));
    assert!(matches!(parse(&url), Err(LinkError::Value { field: "tr", .. })));
}
