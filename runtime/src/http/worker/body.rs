//! Answering with bytes that are stored, block batch by block batch: the next are read only as fast as the client takes
//! them. The head is sent once the first bytes are there, so that a status of success is never a mere hope.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::response::Builder;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use kollator_core::id::ChunkId;
use kollator_core::node::worker::{Ask, AskError, MAX_ASK_BLOCKS, Told, WorkerInput};
use kollator_core::store::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::content::{Content, Read, Reads};
use super::range::{Wanted, wanted};
use crate::node::asker::Asker;

/// Most bodies on their way at once; more are turned down as busy.
const MAX_BODIES: usize = 128;
/// The same for other workers.
const MAX_BODIES_FOR_WORKERS: usize = 64;
/// Most `.ko`s on their way at once, each of which is in memory as a whole.
const MAX_KOS: usize = 8;
/// Batches of blocks that each body asks for ahead of the client; under a limit only one, so that a body gets what a data
/// channel gets.
const AHEAD: usize = 2;
/// Chunks that the machine is told of ahead of a body that goes through several.
const CHUNKS_AHEAD: usize = 2;
/// Bytes of a `.ko` handed over at once.
const KO_STEP: usize = 65_536;
/// A client that takes nothing for so long loses its place.
const STALL: Duration = Duration::from_secs(60);
/// How long a body that was begun waits before it asks a busy store again.
const PATIENCE: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1600), Duration::from_secs(5)];

/// Makes answers of what a worker stores.
#[derive(Debug)]
pub(super) struct Bodies {
    asker: Asker,
    places: Arc<Semaphore>,
    ko_places: Arc<Semaphore>,
    worker_places: Arc<Semaphore>,
    /// Number of the next body whose reader is told of.
    next: AtomicU64,
}

/// Who is answered.
#[derive(Clone, Copy, Debug)]
enum Reader {
    Anyone,
    /// Another worker: nobody else is asked for its sake.
    Worker,
}

/// Why there is no answer: the status to say it with.
#[derive(Debug)]
pub(super) struct Unavailable(AskError);

impl Bodies {
    pub(super) fn new(asker: Asker) -> Self {
        let places = Arc::new(Semaphore::new(MAX_BODIES));
        let worker_places = Arc::new(Semaphore::new(MAX_BODIES_FOR_WORKERS));
        Self {
            asker,
            places,
            ko_places: Arc::new(Semaphore::new(MAX_KOS)),
            worker_places,
            next: AtomicU64::new(0),
        }
    }

    /// Bodies on their way.
    pub(super) fn open(&self) -> usize {
        let most = MAX_BODIES + MAX_BODIES_FOR_WORKERS + MAX_KOS;
        let all = [&self.places, &self.worker_places, &self.ko_places];
        most - all.iter().map(|places| places.available_permits()).sum::<usize>()
    }

    /// Answers a GET or HEAD for `content`.
    pub(super) async fn answer(
        &self,
        method: &Method,
        headers: &HeaderMap,
        content: Content,
    ) -> Result<Response, Unavailable> {
        let (length, etag) = (content.length(), content.etag());
        let wanted = wanted(headers, method == Method::GET, &etag, length);
        let head = Response::builder()
            .header(header::ETAG, etag)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::CACHE_CONTROL, "public, max-age=31536000, immutable");
        let (head, range) = match wanted {
            Wanted::Whole => (head, 0..length),
            Wanted::Part(range) => {
                let said = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                (head.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, said), range)
            }
            Wanted::Known => {
                self.check(&content).await?;
                return Ok(finish(head.status(StatusCode::NOT_MODIFIED), Body::empty()));
            }
            Wanted::Nothing => {
                self.check(&content).await?;
                let head = head.status(StatusCode::RANGE_NOT_SATISFIABLE);
                let said = format!("there are {length} bytes\n");
                return Ok(finish(head.header(header::CONTENT_RANGE, format!("bytes */{length}")), said.into()));
            }
        };
        let head = head
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .header(header::CONTENT_LENGTH, range.end - range.start);
        if method == Method::HEAD || range.is_empty() {
            self.check(&content).await?;
            return Ok(finish(head, Body::empty()));
        }
        let place = take(&self.places)?;
        let body = self.read(Reader::Anyone, content.reads(range, self.asker.most_blocks()), place).await?;
        Ok(finish(head, body))
    }

    /// Answers another worker, which has proven itself, with a whole chunk.
    pub(super) async fn for_worker(&self, chunk: ChunkId) -> Result<Response, Unavailable> {
        let place = take(&self.worker_places)?;
        let reads = Content::Chunk(chunk).reads(0..u64::from(chunk.length()), MAX_ASK_BLOCKS);
        let body = match self.read(Reader::Worker, reads, place).await {
            // It has a way to the backing store of its own.
            Err(AskError::Store(StoreError::Failed(_))) => return Err(StoreError::NotFound.into()),
            body => body?,
        };
        let head = Response::builder()
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, chunk.length());
        Ok(finish(head, body))
    }

    /// A body whose first bytes are there.
    async fn read(&self, reader: Reader, mut reads: Reads, place: OwnedSemaphorePermit) -> Result<Body, AskError> {
        let first = reads.next().expect("there are bytes to read");
        let mut current = first.chunk;
        let begin = bytes_of(&self.asker, reader, first).await?;
        let body = self.next.fetch_add(1, Ordering::Relaxed);
        // Whoever comes to a second chunk goes through them in order: what follows is asked for next.
        let with_foresight = std::iter::from_fn(move || {
            let read = reads.next()?;
            let is_new = std::mem::replace(&mut current, read.chunk) != read.chunk;
            Some((read, is_new.then(|| reads.chunks_ahead(CHUNKS_AHEAD))))
        });
        let asker = self.asker.clone();
        let rest = stream::iter(with_foresight)
            .map(move |(read, next)| {
                let asker = asker.clone();
                async move {
                    if let Some(next) = next {
                        foretell(&asker, body, next).await;
                    }
                    patiently(&asker, reader, read).await
                }
            })
            .buffered(if self.asker.is_limited() { 1 } else { AHEAD });
        let asker = self.asker.clone();
        let end = async move { foretell(&asker, body, Vec::new()).await };
        Ok(sent(stream::iter([Ok(begin)]).chain(rest), place, end))
    }

    /// Answers with a `.ko`.
    pub(super) fn ko(&self, ko: Bytes) -> Result<Response, Unavailable> {
        let place = take(&self.ko_places)?;
        let head = Response::builder()
            .header(header::CONTENT_TYPE, "application/x-bittorrent")
            .header(header::CONTENT_LENGTH, ko.len());
        let steps = (0..ko.len()).step_by(KO_STEP);
        let parts = steps.map(move |at| Ok(ko.slice(at..ko.len().min(at + KO_STEP))));
        Ok(finish(head, sent(stream::iter(parts), place, async {})))
    }

    /// Whether a content is there, for answers that do not read it. A `.ko` that is stored says so of its files.
    async fn check(&self, content: &Content) -> Result<(), Unavailable> {
        let Content::Chunk(chunk) = content else { return Ok(()) };
        match self.asker.ask(Ask::Has(*chunk)).await? {
            Told::Has(true) => Ok(()),
            Told::Has(false) => Err(StoreError::NotFound.into()),
            other => unreachable!("existence was asked for, not {other:?}"),
        }
    }
}

fn take(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Unavailable> {
    Arc::clone(places).try_acquire_owned().map_err(|_| StoreError::Busy.into())
}

fn finish(head: Builder, body: Body) -> Response {
    head.body(body).expect("every header is plain ASCII")
}

async fn bytes_of(asker: &Asker, reader: Reader, read: Read) -> Result<Bytes, AskError> {
    let Read { chunk, first, count, bytes } = read;
    let ask = match reader {
        Reader::Anyone => Ask::Blocks { chunk, first, count },
        Reader::Worker => Ask::BlocksForWorker { chunk, first, count },
    };
    match asker.ask(ask).await? {
        Told::Blocks(data) => Ok(data.slice(bytes)),
        other => unreachable!("blocks were asked for, not {other:?}"),
    }
}

/// Tells the machine what a body's reader will ask for next.
async fn foretell(asker: &Asker, body: u64, next: Vec<ChunkId>) {
    // A worker that has stopped reads nothing ahead.
    let _ = asker.worker().send(WorkerInput::Ahead { body, next }).await;
}

/// The same for a body that was begun: a store that is busy is asked again.
async fn patiently(asker: &Asker, reader: Reader, read: Read) -> Result<Bytes, AskError> {
    for wait in PATIENCE {
        match bytes_of(asker, reader, read.clone()).await {
            Err(AskError::Store(StoreError::Busy)) => sleep(wait).await,
            result => return result,
        }
    }
    bytes_of(asker, reader, read).await
}

/// A body of these parts. They are asked for by a task of their own, which gives its place back when the client has
/// taken all, is gone, or takes nothing for too long; the body is then cut short, as it is by a part that fails.
fn sent(
    parts: impl Stream<Item = Result<Bytes, AskError>> + Send + 'static,
    place: OwnedSemaphorePermit,
    end: impl Future<Output = ()> + Send + 'static,
) -> Body {
    let (tx, mut rx) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        send_all(parts, tx).await;
        end.await;
    });
    Body::from_stream(stream::poll_fn(move |context| rx.poll_recv(context)))
}

/// Until the client has all or takes no more, or a part fails.
async fn send_all(parts: impl Stream<Item = Result<Bytes, AskError>> + Send, tx: mpsc::Sender<io::Result<Bytes>>) {
    let mut parts = pin!(parts);
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| {
            debug!(%error, "a body is cut short");
            io::Error::other(error)
        });
        let is_last = part.is_err();
        match timeout(STALL, tx.send(part)).await {
            Ok(Ok(())) if !is_last => {}
            _ => return,
        }
    }
}

impl From<AskError> for Unavailable {
    fn from(error: AskError) -> Self {
        Self(error)
    }
}

impl From<StoreError> for Unavailable {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        let again = [(header::RETRY_AFTER, "1")];
        match self.0 {
            AskError::Store(StoreError::NotFound) => {
                (StatusCode::NOT_FOUND, "this is not stored here\n").into_response()
            }
            AskError::Store(StoreError::Failed(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, again, "the storage failed; try again later\n").into_response()
            }
            error @ AskError::NoDht => (StatusCode::NOT_IMPLEMENTED, format!("{error}\n")).into_response(),
            error @ (AskError::Store(StoreError::Busy) | AskError::Leaving | AskError::TooMuch) => {
                (StatusCode::SERVICE_UNAVAILABLE, again, format!("{error}; try again later\n")).into_response()
            }
        }
    }
}
