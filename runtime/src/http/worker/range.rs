//! What part of a file a request wants: `Range`, `If-Range` and `If-None-Match` (RFC 9110, 13 and 14). One range of
//! bytes is served; anything else that is asked for is answered with the whole, as the RFC allows.

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: 200.
    Whole,
    /// These bytes, at least one: 206.
    Part(Range<u64>),
    /// Bytes where there are none: 416.
    Nothing,
    /// It is what the client has already: 304.
    Known,
}

/// What a GET or HEAD with these headers wants of `length` bytes whose entity tag is `etag`, a strong one in its quotes.
pub(super) fn wanted(headers: &HeaderMap, is_get: bool, etag: &str, length: u64) -> Wanted {
    let text = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let known = text(header::IF_NONE_MATCH).flat_map(|line| line.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    });
    if known {
        return Wanted::Known;
    }
    // A range means something for GET alone, and only if it is of the same bytes as what the client has.
    let mut ranges = text(header::RANGE);
    let same = headers.get(header::IF_RANGE).is_none_or(|tag| tag == etag);
    match (ranges.next(), ranges.next()) {
        (Some(range), None) if is_get && same => part(range, length).unwrap_or(Wanted::Whole),
        _ => Wanted::Whole,
    }
}

/// The part that a `Range` names; `None` if it is to be ignored.
fn part(range: &str, length: u64) -> Option<Wanted> {
    let (unit, range) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let range = match (first.trim_end(), last.trim_start()) {
        ("", suffix) => length.saturating_sub(number(suffix)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some(if range.is_empty() { Wanted::Nothing } else { Wanted::Part(range) })
}

/// Digits as a number, as great as can be where they say more.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const TAG: &str = "\"tag\"";

    fn ask(is_get: bool, headers: &[(HeaderName, &str)], length: u64) -> Wanted {
        let pairs = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            map.append(name, value);
        });
        wanted(&map, is_get, TAG, length)
    }

    fn range(value: &str, length: u64) -> Wanted {
        ask(true, &[(header::RANGE, value)], length)
    }

    proptest! {
        /// Against the bytes picked one by one.
        #[test]
        fn a_range_picks_the_bytes_it_names(first in any::<Option<u8>>(), last in any::<Option<u8>>(), length in 0..200u64) {
            let all = 0..length;
            let show = |n: Option<u8>| n.map_or(String::new(), |n| n.to_string());
            let picked: Vec<u64> = match (first, last) {
                (Some(first), Some(last)) => all.filter(|n| (u64::from(first)..=u64::from(last)).contains(n)).collect(),
                (Some(first), None) => all.filter(|n| *n >= u64::from(first)).collect(),
                (None, Some(count)) => all.filter(|n| n + u64::from(count) >= length).collect(),
                (None, None) => all.collect(),
            };
            let found = range(&format!("bytes={}-{}", show(first), show(last)), length);
            match (first, last) {
                (None, None) => prop_assert_eq!(found, Wanted::Whole),
                (Some(first), Some(last)) if first > last => prop_assert_eq!(found, Wanted::Whole),
                _ => match found {
                    Wanted::Part(range) => prop_assert_eq!(range.collect::<Vec<_>>(), picked),
                    Wanted::Nothing => prop_assert_eq!(picked, Vec::<u64>::new()),
                    other => prop_assert!(false, "{:?}", other),
                },
            }
        }

        #[test]
        fn whatever_is_asked_for_is_inside(value in "(bytes ?= ?)?[-0-9, ]{0,30}", length in any::<u64>()) {
            if let Wanted::Part(range) = range(&value, length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }
    }

    #[test]
    fn what_is_no_single_range_of_bytes_gets_the_whole() {
        for value in [
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "lines=0-1",
            "bytes=2-1",
            "0-1",
        ] {
            assert_eq!(range(value, 10), Wanted::Whole, "{value}");
        }
        assert_eq!(ask(true, &[(header::RANGE, "bytes=0-1"), (header::RANGE, "bytes=2-3")], 10), Wanted::Whole);
        assert_eq!(ask(false, &[(header::RANGE, "bytes=0-1")], 10), Wanted::Whole);
    }

    #[test]
    fn numbers_beyond_all_measure_are_beyond_the_end() {
        let huge = "9".repeat(50);
        assert_eq!(range(&format!("bytes=3-{huge}"), 10), Wanted::Part(3..10));
        assert_eq!(range(&format!("bytes={huge}-"), 10), Wanted::Nothing);
        assert_eq!(range(&format!("bytes=-{huge}"), 10), Wanted::Part(0..10));
        assert_eq!(range("bytes=-0", 10), Wanted::Nothing);
        assert_eq!(range("bytes=0-", 0), Wanted::Nothing);
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for tags in [TAG, "*", "W/\"tag\"", "\"other\", \"tag\""] {
            assert_eq!(ask(true, &[(header::IF_NONE_MATCH, tags)], 10), Wanted::Known, "{tags}");
            let both = [(header::IF_NONE_MATCH, tags), (header::RANGE, "bytes=0-1")];
            assert_eq!(ask(true, &both, 10), Wanted::Known);
            assert_eq!(ask(false, &both, 10), Wanted::Known);
        }
        assert_eq!(ask(true, &[(header::IF_NONE_MATCH, "\"other\"")], 10), Wanted::Whole);
    }

    #[test]
    fn a_part_is_sent_only_of_what_the_client_has() {
        let asked = |tag| ask(true, &[(header::RANGE, "bytes=0-1"), (header::IF_RANGE, tag)], 10);
        assert_eq!(asked(TAG), Wanted::Part(0..2));
        for tag in ["\"other\"", "W/\"tag\"", "Sat, 29 Oct 1994 19:43:31 GMT"] {
            assert_eq!(asked(tag), Wanted::Whole, "{tag}");
        }
    }
}
