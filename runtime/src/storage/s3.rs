//! Any S3-compatible service as backing store.
//!
//! Every request is tried again after what may pass (no answer, a broken one, 5xx, 429), with growing, jittered
//! pauses, until a deadline. Bodies come back as they are: the driver verifies them.

mod upload;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, ChecksumAlgorithm, CreateBucketConfiguration};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use bytes::{Bytes, BytesMut};
use kollator_core::machine::Rng;
use kollator_core::node::io::DiskError;
use kollator_core::store::{Key, MAX_KO_LEN};
use tokio::time::{Instant, sleep, timeout};

use self::upload::Upload;
use super::backing::{Backing, Found, PutMode, allows_length};

/// The first pause before a request is tried again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Which bucket of which service, and how patient to be with it.
#[derive(Clone)]
pub struct S3Settings {
    /// `http://` or `https://` and host; `None` is Amazon's own for the region.
    pub endpoint: Option<String>,
    /// Region, such as `us-east-1`.
    pub region: String,
    /// Bucket; created if it is missing.
    pub bucket: String,
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: String,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`: what most services other than Amazon's want.
    pub path_style: bool,
    /// Longest time for one try of one request, its body included.
    pub attempt_timeout: Duration,
    /// Longest time that a read waits for its first or next bytes, and a put for the connection to take some, before it
    /// is tried again. For the answer to a put it waits a second a MiB longer.
    pub idle_timeout: Duration,
    /// Longest time for a request with all its tries.
    pub deadline: Duration,
}

impl fmt::Debug for S3Settings {
    /// Without the keys: it ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Settings")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("bucket", &self.bucket)
            .field("path_style", &self.path_style)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Objects in an S3 bucket: `chunks/<root>.<length>`, `torrents/<info hash>.ko`.
#[derive(Debug)]
pub struct S3Backing {
    client: Client,
    settings: S3Settings,
    /// Whether the service knows `If-None-Match` on a put; found out by the first that is refused.
    conditional: AtomicBool,
    jitter: Mutex<Rng>,
}

/// Why one try failed.
struct Trouble {
    status: Option<u16>,
    /// Whether another try may go better.
    may_pass: bool,
    why: String,
}

impl S3Backing {
    /// Connects, and creates the bucket if it is missing. `seed` spreads the pauses between tries.
    ///
    /// # Errors
    /// If a setting is wrong, the service cannot be reached before the deadline, or refuses the keys.
    pub async fn connect(settings: S3Settings, seed: u64) -> Result<Self, DiskError> {
        let backing = Self::of_existing(settings, seed)?;
        backing.ensure_bucket().await?;
        Ok(backing)
    }

    /// A bucket that is there, as requests will show. `seed` spreads the pauses between tries.
    ///
    /// # Errors
    /// If a setting is wrong.
    pub fn of_existing(settings: S3Settings, seed: u64) -> Result<Self, DiskError> {
        check(&settings)?;
        Ok(Self {
            client: client(&settings),
            settings,
            conditional: AtomicBool::new(true),
            jitter: Mutex::new(Rng::new(seed)),
        })
    }

    async fn ensure_bucket(&self) -> Result<(), DiskError> {
        let bucket = &self.settings.bucket;
        let location = BucketLocationConstraint::from(self.settings.region.as_str());
        let location = CreateBucketConfiguration::builder().location_constraint(location).build();
        let location = (!matches!(self.settings.region.as_str(), "us-east-1" | "auto")).then_some(location);
        let attempt = || async {
            match self.client.head_bucket().bucket(bucket).send().await.map_err(Trouble::from) {
                Err(trouble) if trouble.status == Some(404) => {}
                other => return other.map(|_| ()),
            }
            let create = self.client.create_bucket().bucket(bucket);
            let created = create.set_create_bucket_configuration(location.clone()).send().await;
            match created.map_err(Trouble::from) {
                // Somebody else created it since: look again.
                Err(trouble) if trouble.status == Some(409) => Err(Trouble { may_pass: true, ..trouble }),
                other => other.map(|_| ()),
            }
        };
        self.retry(&format!("use the bucket {bucket:?}"), attempt).await
    }

    /// One try to get an object.
    async fn try_get(&self, key: Key) -> Result<Found, Trouble> {
        let request = self.client.get_object().bucket(&self.settings.bucket).key(key.to_string());
        let object = match self.patiently(request.send()).await?.map_err(Trouble::from) {
            Ok(object) => object,
            Err(trouble) if trouble.status == Some(404) => return Ok(Found::Nothing),
            Err(trouble) => return Err(trouble),
        };
        let claimed = object.content_length().and_then(|length| u64::try_from(length).ok());
        let most = match key {
            Key::Chunk(chunk) => u64::from(chunk.length()),
            Key::Torrent(_) => MAX_KO_LEN,
        };
        if let Some(length) = claimed.filter(|&length| !allows_length(key, length)) {
            return Ok(Found::WrongLength(length));
        }
        let mut body = object.body;
        let mut bytes = BytesMut::with_capacity(claimed.unwrap_or(0) as usize);
        while let Some(part) = self.patiently(body.try_next()).await?.map_err(|error| Trouble::passing(&error))? {
            let length = (bytes.len() + part.len()) as u64;
            if length > most {
                return Ok(Found::WrongLength(length));
            }
            bytes.extend_from_slice(&part);
        }
        let length = bytes.len() as u64;
        if claimed.is_some_and(|claimed| claimed != length) {
            return Err(Trouble::passing(&std::io::Error::other(format!("only {length} bytes arrived"))));
        }
        if !allows_length(key, length) {
            return Ok(Found::WrongLength(length));
        }
        Ok(Found::Body(bytes.freeze()))
    }

    /// Waits as long as a read may wait for bytes.
    async fn patiently<T>(&self, coming: impl Future<Output = T>) -> Result<T, Trouble> {
        let patience = self.settings.idle_timeout;
        timeout(patience, coming).await.map_err(|_| Trouble::slow(patience))
    }

    /// One try to put an object.
    async fn try_put(&self, key: Key, body: Bytes, mode: PutMode) -> Result<(), Trouble> {
        let create = mode == PutMode::Create && self.conditional.load(Ordering::Relaxed);
        let put = async |create: bool| {
            let request = self.client.put_object().bucket(&self.settings.bucket).key(key.to_string());
            let request =
                request.checksum_algorithm(ChecksumAlgorithm::Crc32).body(ByteStream::from(body.clone()));
            let request = request.set_if_none_match(create.then(|| "*".to_owned()));
            let upload = Upload::new(body.clone());
            let answer = request.customize().interceptor(upload.clone()).send();
            let answer = upload.answered(self.settings.idle_timeout, answer).await.map_err(Trouble::slow)?;
            answer.map(|_| ()).map_err(Trouble::from)
        };
        let refused = match put(create).await {
            Err(trouble) if create => trouble,
            other => return other,
        };
        match refused.status {
            Some(412) if self.try_compare(key, &body).await? => Ok(()),
            // It is there and not what its name says.
            Some(412) => put(false).await,
            Some(501) => {
                self.conditional.store(false, Ordering::Relaxed);
                put(false).await
            }
            _ => Err(refused),
        }
    }

    /// One try to find out whether an object has these very bytes. They are compared while they arrive: nothing is
    /// hashed and nothing kept.
    async fn try_compare(&self, key: Key, bytes: &[u8]) -> Result<bool, Trouble> {
        let request = self.client.get_object().bucket(&self.settings.bucket).key(key.to_string());
        let object = match self.patiently(request.send()).await?.map_err(Trouble::from) {
            Ok(object) => object,
            Err(trouble) if trouble.status == Some(404) => return Ok(false),
            Err(trouble) => return Err(trouble),
        };
        let claimed = object.content_length().and_then(|length| u64::try_from(length).ok());
        if claimed.is_some_and(|claimed| claimed != bytes.len() as u64) {
            return Ok(false);
        }
        let (mut body, mut rest) = (object.body, bytes);
        while let Some(part) = self.patiently(body.try_next()).await?.map_err(|error| Trouble::passing(&error))? {
            match rest.strip_prefix(&part[..]) {
                Some(after) => rest = after,
                None => return Ok(false),
            }
        }
        if claimed.is_some() && !rest.is_empty() {
            let arrived = bytes.len() - rest.len();
            return Err(Trouble::passing(&std::io::Error::other(format!("only {arrived} bytes arrived"))));
        }
        Ok(rest.is_empty())
    }

    /// One try to get the length of an object; `None` if there is none.
    async fn try_length(&self, key: Key) -> Result<Option<u64>, Trouble> {
        let request = self.client.head_object().bucket(&self.settings.bucket).key(key.to_string());
        match request.send().await.map_err(Trouble::from) {
            Ok(head) => Ok(head.content_length().and_then(|length| u64::try_from(length).ok())),
            Err(trouble) if trouble.status == Some(404) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// One try to list a page of names.
    async fn try_list(&self, prefix: &str, after: &str) -> Result<Vec<String>, Trouble> {
        let request = self.client.list_objects_v2().bucket(&self.settings.bucket).prefix(prefix);
        let request = request.set_start_after((!after.is_empty()).then(|| after.to_owned()));
        let page = request.send().await.map_err(Trouble::from)?;
        Ok(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key).collect())
    }

    /// Tries until it works, fails for good, or the deadline has come.
    async fn retry<T, F: Future<Output = Result<T, Trouble>>>(
        &self,
        doing: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, DiskError> {
        let end = Instant::now() + self.settings.deadline;
        let mut pause = FIRST_PAUSE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let patience = self.settings.attempt_timeout.min(left);
            let trouble = match timeout(patience, attempt()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::slow(patience),
            };
            let jittered = pause.mul_f64(0.5 + self.dice() / 2.0);
            if !trouble.may_pass || Instant::now() + jittered >= end {
                return Err(DiskError(format!("S3: could not {doing}: {}", trouble.why)));
            }
            tracing::debug!(doing, why = trouble.why, "S3 failed, trying again");
            sleep(jittered).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A number from 0 to 1.
    fn dice(&self) -> f64 {
        let mut jitter = self.jitter.lock().unwrap_or_else(PoisonError::into_inner);
        jitter.below(1 << 20) as f64 / f64::from(1 << 20)
    }
}

#[async_trait::async_trait]
impl Backing for S3Backing {
    async fn get(&self, key: Key) -> Result<Found, DiskError> {
        self.retry(&format!("get {key}"), || self.try_get(key)).await
    }

    async fn put(&self, key: Key, body: Bytes, mode: PutMode) -> Result<(), DiskError> {
        self.retry(&format!("put {key}"), || self.try_put(key, body.clone(), mode)).await
    }

    async fn has(&self, key: Key) -> Result<bool, DiskError> {
        let length = self.retry(&format!("look up {key}"), || self.try_length(key)).await?;
        Ok(length.is_some_and(|length| allows_length(key, length)))
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, DiskError> {
        self.retry(&format!("list {prefix}"), || self.try_list(prefix, after)).await
    }
}

impl Trouble {
    fn passing(error: &(dyn std::error::Error + 'static)) -> Self {
        Self { status: None, may_pass: true, why: DisplayErrorContext(error).to_string() }
    }

    fn slow(patience: Duration) -> Self {
        Self { status: None, may_pass: true, why: format!("no answer within {} ms", patience.as_millis()) }
    }
}

impl<E: std::error::Error + ProvideErrorMetadata + 'static> From<SdkError<E, HttpResponse>> for Trouble {
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let may_pass = match (&error, status) {
            (SdkError::ConstructionFailure(_), _) => false,
            // 409: two conditional puts at once. 501 is said for good.
            (SdkError::ServiceError(_), Some(status)) => {
                matches!(status, 408 | 409 | 429) || (status >= 500 && status != 501)
            }
            _ => true,
        };
        let why = match (status, error.code(), error.message()) {
            (Some(status), code, message) => {
                format!("status {status} {}: {}", code.unwrap_or("(no code)"), message.unwrap_or("(no message)"))
            }
            (None, ..) => DisplayErrorContext(&error).to_string(),
        };
        Self { status, may_pass, why }
    }
}

/// Refuses settings that could not work, naming the one that is wrong.
fn check(settings: &S3Settings) -> Result<(), DiskError> {
    let complain = |what: String| Err(DiskError(what));
    if let Some(endpoint) = &settings.endpoint {
        let host = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
        if host.is_none_or(|host| host.is_empty() || host.contains(char::is_whitespace)) {
            return complain(format!("the S3 endpoint must be http:// or https:// and a host, not {endpoint:?}"));
        }
    }
    let bucket = settings.bucket.as_bytes();
    let right = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(byte);
    if !(3..=63).contains(&bucket.len()) || !bucket.iter().all(right) {
        let bucket = &settings.bucket;
        return complain(format!("the S3 bucket must be 3 to 63 of a-z, 0-9, '.' and '-', not {bucket:?}"));
    }
    for (name, value) in [("region", &settings.region), ("access key", &settings.access_key)] {
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return complain(format!("the S3 {name} must be printable ASCII without spaces, not {value:?}"));
        }
    }
    if settings.secret_key.is_empty() {
        return complain("the S3 secret key must not be empty".into());
    }
    Ok(())
}

fn client(settings: &S3Settings) -> Client {
    let http = aws_smithy_http_client::Builder::new();
    let is_plain = settings.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let http = match is_plain {
        true => http.build_http(),
        false => http.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https(),
    };
    let keys = Credentials::new(&settings.access_key, &settings.secret_key, None, None, "settings");
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new(settings.region.clone()))
        .credentials_provider(keys)
        .force_path_style(settings.path_style)
        .retry_config(RetryConfig::disabled())
        // Both ways are watched here, more closely.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    config.set_endpoint_url(settings.endpoint.clone());
    Client::from_conf(config.build())
}
