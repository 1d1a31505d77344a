//! The chunks of a worker: a list of those that are cached, and any that is stored. Over HTTP a chunk's name is
//! `ROOT.LENGTH.HEIGHT`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{IntoResponse as _, Response};
use kollator_core::id::ChunkId;
use kollator_core::node::worker::{Ask, AskError, Told};
use serde_json::json;

use super::content::Content;
use super::{Refused, Shared, bad_request};
use crate::storage::{chunk_name, parse_chunk_name};

/// Most chunks on one page of the list.
const PAGE: usize = 1000;

/// What part of the list is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    after: Option<ChunkId>,
    limit: usize,
}

/// `GET /chunks?after=ID&limit=N`: cached chunks in the order of their ids, and where the next page begins.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, Refused> {
    let Page { after, limit } = page(uri.query().unwrap_or_default()).map_err(bad_request)?;
    let (chunks, more) = shared
        .asker
        .worker()
        .query(move |worker| first_after(worker.store().cached(), after, limit))
        .await
        .map_err(|_| AskError::Leaving)?;
    let next = chunks.last().filter(|_| more).map(|chunk| chunk_name(*chunk));
    let names: Vec<String> = chunks.into_iter().map(chunk_name).collect();
    Ok(Json(json!({"chunks": names, "next": next})).into_response())
}

/// `GET /chunks/{id}`: a chunk, or part of it.
pub(super) async fn chunk(
    State(shared): State<Arc<Shared>>,
    method: Method,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let chunk = parse(&id).map_err(bad_request)?;
    Ok(shared.bodies.answer(&method, &headers, Content::Chunk(chunk)).await?)
}

/// `GET /home/{id}`: a chunk, for another worker.
pub(super) async fn for_worker(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let chunk = parse(&id).map_err(bad_request)?;
    Ok(shared.bodies.for_worker(chunk).await?)
}

/// `GET /chunks/{id}/hashes`: the leaf hashes of a chunk, one after the other.
pub(super) async fn hashes(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let chunk = parse(&id).map_err(bad_request)?;
    let leaves = match shared.asker.ask(Ask::Leaves(chunk)).await? {
        Told::Leaves(leaves) => leaves,
        other => unreachable!("leaf hashes were asked for, not {other:?}"),
    };
    let head = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    let bytes: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0).collect();
    Ok((head, bytes).into_response())
}

pub(super) fn parse(id: &str) -> Result<ChunkId, String> {
    parse_chunk_name(id).ok_or_else(|| {
        let got: String = id.chars().take(100).collect();
        format!(
            "a chunk must be ROOT.LENGTH.HEIGHT: 64 hexadecimal digits, bytes, levels of its tree; got {got:?}"
        )
    })
}

fn page(query: &str) -> Result<Page, String> {
    let mut page = Page { after: None, limit: PAGE };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("after", id)) => page.after = Some(parse(id)?),
            Some(("limit", n)) => {
                let known = n.parse().ok().filter(|n| (1..=PAGE).contains(n));
                page.limit = known.ok_or_else(|| format!("limit must be a number from 1 to {PAGE}"))?;
            }
            _ => return Err("only `after` and `limit` can be given".to_owned()),
        }
    }
    Ok(page)
}

/// The first `limit` chunks above `after`, in order, and whether there are more.
fn first_after(
    chunks: impl Iterator<Item = ChunkId>,
    after: Option<ChunkId>,
    limit: usize,
) -> (Vec<ChunkId>, bool) {
    let mut found: Vec<ChunkId> = chunks.filter(|chunk| after.is_none_or(|after| *chunk > after)).collect();
    let more = found.len() > limit;
    if more {
        found.select_nth_unstable(limit);
        found.truncate(limit);
    }
    found.sort_unstable();
    (found, more)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kollator_core::merkle::sha256;
    use proptest::prelude::*;

    use super::*;

    fn chunk(n: u16) -> ChunkId {
        ChunkId::new(sha256(&n.to_be_bytes()), u32::from(n) + 1, 10).expect("legal")
    }

    proptest! {
        /// The pages together are all chunks, in order, each once.
        #[test]
        fn pages_are_the_whole_list(numbers in proptest::collection::btree_set(any::<u16>(), 0..200), limit in 1..50usize) {
            let chunks: Vec<ChunkId> = numbers.into_iter().map(chunk).collect();
            let mut listed = Vec::new();
            let mut after = None;
            loop {
                let (page, more) = first_after(chunks.iter().copied(), after, limit);
                prop_assert!(page.len() <= limit);
                after = page.last().copied();
                listed.extend(page);
                if !more {
                    break;
                }
            }
            let sorted: BTreeSet<ChunkId> = chunks.into_iter().collect();
            prop_assert_eq!(listed, sorted.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_page_is_asked_for_in_one_way() {
        let id = chunk_name(chunk(1));
        assert_eq!(page(""), Ok(Page { after: None, limit: PAGE }));
        assert_eq!(page(&format!("limit=7&after={id}")), Ok(Page { after: Some(chunk(1)), limit: 7 }));
        for query in ["limit=0", "limit=1001", "limit=", "limit=x", "after=", "after=x", "offset=1", "limit"] {
            assert!(page(query).is_err(), "{query}");
        }
    }
}
