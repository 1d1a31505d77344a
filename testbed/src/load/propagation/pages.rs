//! What fronts say of their tables on `GET /metrics`, and waiting until all of them say what is expected.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Longest wait for fronts to come to the same table.
const WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Most bytes of a page.
const MAX_PAGE: u64 = 4 << 20;

/// What a front knows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Knowledge {
    /// Rows of all fronts.
    rows: usize,
    /// Workers that its clients can be given.
    workers: usize,
    /// Own changes that some other front has not yet said to know.
    behind: usize,
}

/// Waits until every front knows so many rows and workers, and that the others know what it knows.
pub(super) async fn settled(fronts: &[SocketAddrV4], rows: usize, workers: usize) -> anyhow::Result<()> {
    let expected = Knowledge { rows, workers, behind: 0 };
    let until = Instant::now() + WITHIN;
    loop {
        let known = try_join_all(fronts.iter().map(|front| knowledge(*front))).await?;
        if known.iter().all(|known| *known == expected) {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("after {} s fronts know {known:?}, and each should know {expected:?}", WITHIN.as_secs());
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn knowledge(front: SocketAddrV4) -> anyhow::Result<Knowledge> {
    let page = get(front, "/metrics").await.with_context(|| format!("http://{front}/metrics"))?;
    parse(&page).with_context(|| format!("http://{front}/metrics lacks a number"))
}

fn parse(page: &str) -> Option<Knowledge> {
    let values = |name: &'static str| {
        let named = page.lines().filter_map(move |line| line.strip_prefix(name));
        named.filter_map(|rest| rest.split_whitespace().next_back()?.parse::<usize>().ok())
    };
    Some(Knowledge {
        rows: values("kollator_front_rows ").next()?,
        workers: values("kollator_front_usable_workers ").next()?,
        behind: values("kollator_front_peer_behind{").sum(),
    })
}

async fn get(front: SocketAddrV4, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(front).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {front}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    stream.take(MAX_PAGE).read_to_string(&mut page).await?;
    if !page.starts_with("HTTP/1.1 200 ") {
        bail!("the answer is {:?}", page.lines().next().unwrap_or_default());
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_among_others() {
        let page = "kollator_front_rows 7\nkollator_front_rows_total 9\nkollator_front_usable_workers 3\n\
                    kollator_front_peer_behind{front=\"a\"} 2\nkollator_front_peer_behind{front=\"b\"} 4\n";
        assert_eq!(parse(page), Some(Knowledge { rows: 7, workers: 3, behind: 6 }));
        assert_eq!(parse("kollator_front_rows 7\n"), None);
    }
}
