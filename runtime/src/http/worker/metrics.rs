//! A worker's numbers for Prometheus.

use super::stats::Known;
use crate::http::prometheus::Metrics;

/// What the server counts besides its machine.
pub(super) struct Counted {
    pub(super) uptime_seconds: u64,
    pub(super) bodies: usize,
    pub(super) requests_refused: u64,
    pub(super) proofs_refused: u64,
}

/// The body of `GET /metrics`.
pub(super) fn render(known: &Known, counted: &Counted) -> Metrics {
    let mut metrics = Metrics::new("kollator_worker_");
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let (store, cache, homes) = (&known.store, &known.store.cache, &known.store.homes);
    for (name, kind, help, value) in [
        ("uptime_seconds", "gauge", "Time since its HTTP began.", counted.uptime_seconds),
        ("online", "gauge", "Whether a front counts it in.", u64::from(known.online)),
        ("connections", "gauge", "Data channels that are up.", count(known.sessions)),
        ("connections_total", "counter", "Data channels that ever were up.", known.sessions_total),
        (
            "load_percent",
            "gauge",
            "How much is being done; at 100 newcomers are turned away.",
            u64::from(known.load),
        ),
        ("turned_away_total", "counter", "Newcomers that found no room.", known.turned_away),
        ("send_queue_bytes", "gauge", "Bytes read for data channels and not yet sent.", known.send_queue),
        ("bytes_served_total", "counter", "Bytes of blocks served over data channels.", known.bytes_served),
        ("http_bytes_served_total", "counter", "Bytes of blocks read for HTTP.", known.bytes_told),
        ("http_bodies", "gauge", "HTTP bodies on their way.", count(counted.bodies)),
        (
            "requests_refused_total",
            "counter",
            "HTTP requests above an address's budget.",
            counted.requests_refused,
        ),
        ("proofs_refused_total", "counter", "HTTP requests whose proof was refused.", counted.proofs_refused),
        ("cache_hits_total", "counter", "Reads answered without the backing store.", cache.hits),
        ("cache_misses_total", "counter", "Reads that waited for the backing store.", cache.misses),
        ("cache_evictions_total", "counter", "Chunks removed to make room.", cache.evictions),
        ("cache_expirations_total", "counter", "Chunks removed because nobody read them.", cache.expirations),
        ("cache_corrupt_total", "counter", "Reads that found cached bytes changed.", store.cache_corrupt),
        ("cache_chunks", "gauge", "Chunks that can be read from the cache.", count(cache.chunks)),
        ("cache_bytes", "gauge", "Bytes of the cache on disk.", cache.bytes),
        ("cache_limit_bytes", "gauge", "Most bytes of the cache on disk.", cache.limit),
        ("storage_requests_total", "counter", "Requests to the backing store.", store.backing_requests),
        ("storage_errors_total", "counter", "Those of them that failed.", store.backing_errors),
        ("storage_corrupt_total", "counter", "Objects found not to be what they must be.", store.backing_corrupt),
        ("chunks_fetched_total", "counter", "Chunks fetched from the backing store.", store.fetched),
        ("bytes_fetched_total", "counter", "Bytes of them.", store.fetched_bytes),
        ("chunks_stored_total", "counter", "Chunks put into the backing store.", store.stored),
        ("bytes_stored_total", "counter", "Bytes of them.", store.stored_bytes),
        ("workers_known", "gauge", "Workers on the ring of chunks.", count(homes.workers)),
        ("home_asks_total", "counter", "Chunks asked of their home.", homes.asked),
        ("home_hits_total", "counter", "Chunks that their home sent.", homes.hits),
        ("home_bytes_total", "counter", "Bytes of them.", homes.bytes),
        ("home_missing_total", "counter", "Chunks that their home did not have at hand.", homes.missing),
        ("home_busy_total", "counter", "Chunks for which their home was too busy.", homes.busy),
        ("home_failures_total", "counter", "Chunks whose home did not answer as it should.", homes.failures),
        ("home_lies_total", "counter", "Chunks in whose place their home sent something else.", homes.lies),
        ("workers_served_total", "counter", "Parts of chunks that other workers got.", homes.served),
        ("workers_unserved_total", "counter", "Parts of chunks that they did not get.", homes.unserved),
        ("workers_bytes_served_total", "counter", "Bytes of blocks read for them.", known.bytes_told_to_workers),
        ("prefetch_begun_total", "counter", "Chunks fetched before anyone asked for them.", store.ahead.begun),
        ("prefetch_used_total", "counter", "Those that somebody asked for afterwards.", store.ahead.used),
        ("prefetch_wasted_total", "counter", "Those that went before anyone did.", store.ahead.wasted),
        ("faults_total", "counter", "Effects of the store that failed.", store.faults),
        ("memory_bytes", "gauge", "Bytes of chunks and metainfo in memory.", store.memory),
        ("dht_announcements_total", "counter", "Announcements that the DHT heard.", known.dht.announcements),
        (
            "dht_announcements_failed_total",
            "counter",
            "Announcements that it did not hear.",
            known.dht.announcements_failed,
        ),
        ("dht_items", "gauge", "Things that are announced again and again.", count(known.dht.items)),
        ("dht_queries_total", "counter", "Look-ups that the DHT answered.", known.dht.queries),
        ("dht_queries_failed_total", "counter", "Look-ups that it did not answer.", known.dht.queries_failed),
        ("dht_peers_total", "counter", "Addresses that look-ups found.", known.dht.peers),
        ("waiting", "gauge", "Questions to the store that wait for an answer.", count(store.waiting)),
    ] {
        metrics.value(name, kind, help, value);
    }
    metrics
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use http_body_util::BodyExt as _;

    use super::*;

    /// Every line is a comment on the metric that follows, or that metric with one number; none is there twice.
    #[tokio::test]
    async fn the_page_is_in_prometheus_format() {
        let counted = Counted { uptime_seconds: 7, bodies: 1, requests_refused: 2, proofs_refused: 3 };
        let body = render(&Known::default(), &counted).into_response().into_body();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let mut names = std::collections::BTreeSet::new();
        for lines in text.lines().collect::<Vec<_>>().chunks(3) {
            let [help, kind, value] = lines else { panic!("{lines:?}") };
            let (name, number) = value.split_once(' ').unwrap();
            assert!(number.parse::<u64>().is_ok() && names.insert(name.to_owned()), "{value}");
            assert!(help.starts_with(&format!("# HELP {name} ")), "{help}");
            let is_counter = name.ends_with("_total");
            assert_eq!(*kind, format!("# TYPE {name} {}", if is_counter { "counter" } else { "gauge" }));
        }
        assert!(names.contains("kollator_worker_cache_corrupt_total"));
        assert!(text.contains("kollator_worker_uptime_seconds 7\n"));
    }
}
