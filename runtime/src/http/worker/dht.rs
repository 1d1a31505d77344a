//! `POST /dht/announce`: an operator has shares and cached chunks announced now, rather than at the next sweep.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use kollator_core::dht::Item;
use kollator_core::id::InfoHash;
use kollator_core::node::worker::{Announcement, Ask, Told};
use serde::{Deserialize, Serialize};

use super::chunks::parse;
use super::{Refused, Shared, bad_request};

/// Most things in one request.
const MOST: usize = 100;
/// Most bytes of a request's body.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// What is to be announced.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    shares: BTreeSet<InfoHash>,
    chunks: BTreeSet<String>,
}

/// What became of each.
#[derive(Debug, Default, Serialize)]
pub(super) struct Done {
    announced: Vec<String>,
    queued: Vec<String>,
    not_held: Vec<String>,
    no_room: Vec<String>,
}

pub(super) async fn announce(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Json<Done>, Refused> {
    let items = items(&body).map_err(bad_request)?;
    let mut done = Done::default();
    for (name, item) in items {
        let outcome = match shared.asker.ask(Ask::Announce(item)).await? {
            Told::Announcement(Announcement::Announced) => &mut done.announced,
            Told::Announcement(Announcement::Queued) => &mut done.queued,
            Told::Announcement(Announcement::NotHeld) => &mut done.not_held,
            Told::Announcement(Announcement::NoRoom) => &mut done.no_room,
            other => unreachable!("it was to be announced, not {other:?}"),
        };
        outcome.push(name);
    }
    Ok(Json(done))
}

/// What a body names, each thing with its name.
fn items(body: &[u8]) -> Result<Vec<(String, Item)>, String> {
    let Wanted { shares, chunks } = serde_json::from_slice(body).map_err(|error| {
        format!(r#"the body must be like {{"shares": ["INFO_HASH"], "chunks": ["ID"]}}: {error}"#)
    })?;
    let most = shares.len() + chunks.len();
    if !(1..=MOST).contains(&most) {
        return Err(format!("the body must name 1 to {MOST} shares and chunks, not {most}"));
    }
    let mut items: Vec<_> = shares.into_iter().map(|share| (share.to_string(), Item::Share(share))).collect();
    for name in chunks {
        let chunk = parse(&name)?;
        items.push((name, Item::Chunk(chunk)));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use kollator_core::id::ChunkId;
    use kollator_core::merkle::sha256;

    use super::*;
    use crate::storage::chunk_name;

    #[test]
    fn a_body_names_shares_and_chunks() {
        let share = InfoHash(sha256(b"share"));
        let chunk = ChunkId::new(sha256(b"chunk"), 100, 0).expect("legal");
        let (share_name, name) = (share.to_string(), chunk_name(chunk));
        let body = format!(r#"{{"shares": ["{share}", "{share}"], "chunks": ["{name}"]}}"#);
        let expected = vec![(share_name.clone(), Item::Share(share)), (name, Item::Chunk(chunk))];
        assert_eq!(items(body.as_bytes()), Ok(expected));
        let many: Vec<String> = (0..=MOST).map(|n| format!("\"{}\"", sha256(&n.to_be_bytes()))).collect();
        for (body, word) in [
            (String::new(), "the body must be like"),
            ("{}".into(), "1 to 100"),
            (r#"{"shares": []}"#.into(), "1 to 100"),
            (format!(r#"{{"shares": [{}]}}"#, many.join(",")), "1 to 100 shares and chunks, not 101"),
            (r#"{"shares": ["ab"]}"#.into(), "64 hexadecimal digits"),
            (r#"{"chunks": ["ab"]}"#.into(), "ROOT.LENGTH.HEIGHT"),
            (r#"{"files": []}"#.into(), "unknown field"),
            (format!(r#"{{"shares": "{share}"}}"#), "the body must be like"),
        ] {
            let error = items(body.as_bytes()).expect_err(&body);
            assert!(error.contains(word), "{body}: {error}");
        }
    }
}
