//! `kollator`: share, download and seed from the terminal. Settings, wiring and words only.
//!
//! Results go to standard output and nothing else does; words, progress and logs go to standard error.

mod create;
mod dht;
mod download;
mod identity;
mod info;
mod node;
mod settings;
mod share;
mod signals;
mod target;
mod words;

use std::process::ExitCode;

use clap::Parser as _;
use settings::{Settings, Verb};
use signals::Signal;

/// A download allocates and frees several times for each packet, on different threads: this allocator takes a tenth
/// off the processor time of receiving. A worker keeps the system's, which gives memory back sooner.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How a command that did not fail ended.
enum Ended {
    /// It did what it was told.
    Done,
    /// The user or the system stopped it.
    Stopped(Signal),
}

fn main() -> ExitCode {
    let settings = Settings::parse();
    let runtime = match settings.network.start_logging().and_then(|()| Ok(tokio::runtime::Runtime::new()?)) {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let ended = runtime.block_on(run(settings));
    // Hashing that was interrupted goes on in its threads: nobody waits for it.
    runtime.shutdown_background();
    match ended {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Stopped(signal)) => ExitCode::from(signal.exit_code()),
        Err(error) => failed(&error),
    }
}

async fn run(settings: Settings) -> anyhow::Result<Ended> {
    let Settings { network, verb } = settings;
    match verb {
        Verb::Share(share) => share::run(&network, share).await,
        Verb::Download(download) => download::run(&network, download).await,
        Verb::Create(create) => create::run(create).await,
        Verb::Info(info) => info::run(&info).map(|()| Ended::Done),
        Verb::Key(key) => identity::run(&key).map(|()| Ended::Done),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    words::say(&format!("kollator: {error:#}"));
    ExitCode::FAILURE
}
