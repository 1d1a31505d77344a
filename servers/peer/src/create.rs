//! `kollator create`, and the hashing that `share` does too.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kollator_core::seal::ShareKey;
use kollator_runtime::disk::{HashedShare, ShareOptions, hash_share};

use crate::Ended;
use crate::node::cores;
use crate::settings::{Create, Making};
use crate::signals::Signals;
use crate::words;

pub(crate) async fn run(create: Create) -> anyhow::Result<Ended> {
    let mut signals = Signals::listen()?;
    let hashed = tokio::select! {
        hashed = hash(create.path, create.making, Vec::new(), None) => hashed?,
        signal = signals.next() => return Ok(Ended::Stopped(signal)),
    };
    write_ko(&create.ko, hashed.metainfo.raw())?;
    words::say(&format!("{}: info hash {}", create.ko.display(), hashed.metainfo.info_hash()));
    Ok(Ended::Done)
}

/// Hashes a file or folder, encrypted if there is a key, with a progress bar.
pub(crate) async fn hash(
    path: PathBuf,
    making: Making,
    fronts: Vec<String>,
    key: Option<ShareKey>,
) -> anyhow::Result<HashedShare> {
    let Making { piece_length, name } = making;
    let options = ShareOptions { piece_length, name, fronts, key, threads: cores() };
    let bar = words::bar("hashing", 0);
    let shown = bar.clone();
    let hashing = tokio::task::spawn_blocking(move || {
        hash_share(&path, &options, &|done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })
    });
    let hashed = hashing.await.context("hashing broke down")?;
    shown.finish_and_clear();
    let hashed = hashed?;
    for path in &hashed.skipped {
        words::say(&format!("left out: {} is a symbolic link or a special file", path.display()));
    }
    Ok(hashed)
}

/// Writes a `.ko`.
pub(crate) fn write_ko(path: &Path, ko: &[u8]) -> anyhow::Result<()> {
    fs::write(path, ko).with_context(|| path.display().to_string())
}
