//! `kollator-worker verify`: checks a whole store and prints what is wrong and what is missing.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use kollator_runtime::blocking::Blocking;
use kollator_runtime::node::random_seed;
use kollator_runtime::storage::{Backing, DirBacking, Finding, S3Backing, Verified, verify_backing, verify_cache};
use serde_json::{Value, json};

use crate::refuse;
use crate::settings::{Storage, VerifySettings};

/// Prints one line for each thing that is wrong and one for each side of the store.
pub(crate) fn run(settings: VerifySettings) -> anyhow::Result<ExitCode> {
    let storage = settings.store.storage().unwrap_or_else(|fault| refuse::<VerifySettings>(&fault));
    settings.log.start().unwrap_or_else(|fault| refuse::<VerifySettings>(&fault));
    let json = settings.json;
    let wrong = |place: &'static str, name: &str, why: &str| match json {
        true => say(&json!({"event": "wrong", "in": place, "name": name, "why": why})),
        false => say(&format_args!("wrong in the {place}: {name}: {why}")),
    };
    let report = |finding: Finding<'_>| match finding {
        Finding::Wrong { name, why } => wrong("store", name, why),
        Finding::Missing { ko, chunk } if json => say(&json!({"event": "missing", "ko": ko, "name": chunk})),
        Finding::Missing { ko, chunk } => say(&format_args!("missing in the store: {chunk} of {ko}")),
    };
    let cache = verify_cache(&settings.store.cache_path, |name, why| wrong("cache", name, why));
    let cache = cache.context("--cache-path (CACHE_PATH)")?;
    let blocking = Blocking::threads(std::thread::available_parallelism().map_or(1, Into::into));
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let _inside = runtime.enter();
    let backing: Box<dyn Backing> = match storage {
        Storage::S3(s3) => Box::new(S3Backing::of_existing(s3, random_seed()).context("S3 (S3_ENDPOINT)")?),
        Storage::Folder(path) => Box::new(DirBacking::of_existing(path, blocking.clone())),
    };
    let verified = runtime.block_on(verify_backing(&*backing, &blocking, report));
    let store = verified.context("the backing store (S3_ENDPOINT, S3_BUCKET and keys, or DATA_PATH)")?;
    if json {
        say(&json!({"event": "done", "cache": told(&cache), "store": told(&store)}));
    } else {
        let Verified { right, bytes, wrong, .. } = cache;
        say(&format_args!("cache: {right} right, {bytes} bytes; {wrong} wrong"));
        let Verified { right, bytes, wrong, missing } = store;
        say(&format_args!("store: {right} right, {bytes} bytes; {wrong} wrong, {missing} missing"));
    }
    Ok(if cache.wrong + store.wrong + store.missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(verified: &Verified) -> Value {
    let Verified { right, bytes, wrong, missing } = verified;
    json!({"right": right, "bytes": bytes, "wrong": wrong, "missing": missing})
}

/// A line on standard output. That it cannot be written changes nothing about the store: the exit code still tells.
fn say(line: &dyn std::fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}
