//! Whether an upload gets on: its body goes out piece by piece, so that one that stands still is noticed.
//!
//! The SDK hands a body that is in memory over as one piece, and says no more until there is an answer. Here it is cut
//! into pieces after it was signed; what goes over the wire is the same.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::timeout;

/// Bytes handed to the connection at once.
const PIECE: usize = 64 * 1024;
/// Bytes a second, at least, at which the system must get rid of what it took of a body before the answer can come.
const SLOWEST: u64 = 1 << 20;

/// One upload. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Upload(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    body: Bytes,
    /// Bytes that the connection took.
    taken: AtomicU64,
}

impl Upload {
    pub(super) fn new(body: Bytes) -> Self {
        Self(Arc::new(Inner { body, taken: AtomicU64::new(0) }))
    }

    /// Waits for the answer as long as the upload gets on: some of the body must be taken in each `idle` time. Once all
    /// of it is, the answer must come in that time too, and the time for what the system has taken and not sent yet. The
    /// error is how long nothing happened.
    pub(super) async fn answered<T>(
        &self,
        idle: Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T, Duration> {
        let mut answer = pin!(answer);
        let (length, mut before) = (self.0.body.len() as u64, 0);
        loop {
            let patience = match before == length {
                true => idle + Duration::from_millis(length * 1000 / SLOWEST),
                false => idle,
            };
            if let Ok(answer) = timeout(patience, &mut answer).await {
                return Ok(answer);
            }
            let taken = self.0.taken.load(Ordering::Relaxed);
            if taken == before {
                return Err(patience);
            }
            before = taken;
        }
    }
}

impl Intercept for Upload {
    fn name(&self) -> &'static str {
        "Upload"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.request_mut().body_mut();
        if body.bytes().map(<[u8]>::len) != Some(self.0.body.len()) {
            return Err("the body to be sent is not the one that was given".into());
        }
        *body = SdkBody::from_body_1_x(Pieces { rest: self.0.body.clone(), upload: self.clone() });
        Ok(())
    }
}

/// What is left of a body.
struct Pieces {
    rest: Bytes,
    upload: Upload,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.rest.len().min(PIECE);
        if length == 0 {
            return Poll::Ready(None);
        }
        self.upload.0.taken.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::time::{Instant, sleep};

    use super::*;

    const IDLE: Duration = Duration::from_secs(5);

    /// A connection that takes so many pieces, one each `pause`, and answers a `pause` later if it took all.
    async fn carry(upload: Upload, pieces: usize, pause: Duration) -> Bytes {
        let mut body = Pieces { rest: upload.0.body.clone(), upload: upload.clone() };
        let mut carried = Vec::new();
        for _ in 0..pieces {
            sleep(pause).await;
            let frame = body.frame().await.expect("there is more").expect("it never fails");
            carried.extend(frame.into_data().expect("nothing else comes"));
        }
        if carried.len() < upload.0.body.len() {
            std::future::pending::<()>().await;
        }
        sleep(pause).await;
        carried.into()
    }

    fn upload() -> Upload {
        Upload::new((0..10 * PIECE).map(|i| (i / 7) as u8).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_upload_is_waited_for() {
        let upload = upload();
        let pause = Duration::from_secs(4);
        let carried = upload.answered(IDLE, carry(upload.clone(), 10, pause)).await;
        assert_eq!(carried, Ok(upload.0.body.clone()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_stands_still_is_given_up() {
        for pieces in 0..10 {
            let upload = upload();
            let begun = Instant::now();
            let pause = Duration::from_millis(10);
            assert_eq!(upload.answered(IDLE, carry(upload.clone(), pieces, pause)).await, Err(IDLE));
            assert!(begun.elapsed() <= 2 * IDLE, "after {pieces} pieces");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_given_up() {
        let upload = upload();
        let carried = carry(upload.clone(), 10, Duration::from_millis(10));
        let silent = async {
            carried.await;
            std::future::pending::<()>().await;
        };
        let begun = Instant::now();
        assert!(upload.answered(IDLE, silent).await.is_err());
        assert!(begun.elapsed() <= 2 * IDLE + Duration::from_secs(1));
    }
}
