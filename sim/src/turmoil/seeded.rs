//! Runs that are a function of their seed, and a hash of everything that happened in them.
//!
//! A repetition is to be compared across processes: some libraries seed themselves once a process.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::interpose;

/// FNV-1a, 64 bits.
const OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01B3;

thread_local! {
    static TRACE: Cell<Trace> = const { Cell::new(Trace { hash: OFFSET, records: 0 }) };
}

/// What happened in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Over every packet sent, delivered, received and dropped, with its time.
    pub hash: u64,
    /// How many records that were.
    pub records: u64,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.hash, self.records)
    }
}

/// Runs `world` on a thread of its own, on which randomness comes from `seed` and time from the simulation.
/// A panic in it is raised again here, after the seed was named.
pub fn run_seeded<R: Send + 'static>(seed: u64, world: impl FnOnce() -> R + Send + 'static) -> (R, Trace) {
    let run = move || {
        let _seeded = interpose::enter(seed);
        let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(Hasher));
        let result = world();
        (result, TRACE.get())
    };
    let thread = std::thread::Builder::new().name(format!("seed-{seed}")).stack_size(16 << 20).spawn(run);
    match thread.expect("the machine has room for a thread").join() {
        Ok(done) => done,
        Err(panic) => {
            tracing::error!(seed, "failed; set SIM_SEED to this to replay it");
            std::panic::resume_unwind(panic)
        }
    }
}

/// The seed in `SIM_SEED`, or all of `otherwise`.
///
/// # Panics
/// If `SIM_SEED` is not a number.
pub fn seeds(otherwise: impl Iterator<Item = u64>) -> Vec<u64> {
    match std::env::var("SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("SIM_SEED must be a number")],
        Err(_) => otherwise.collect(),
    }
}

/// A turmoil builder for a run with `seed`: its network, its scheduler and its calendar come from it.
#[must_use]
pub fn builder(seed: u64) -> ::turmoil::Builder {
    let mut builder = ::turmoil::Builder::new();
    builder
        .rng_seed(seed)
        .epoch(SystemTime::UNIX_EPOCH + Duration::from_nanos(interpose::EPOCH_NANOS))
        .udp_capacity(8192)
        .tcp_capacity(1024);
    builder
}

/// Mixes every turmoil event on this thread into the thread's trace.
struct Hasher;

impl<S: Subscriber> Layer<S> for Hasher {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == "turmoil"
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut mixer = Mixer;
        let at = ::turmoil::sim_elapsed().unwrap_or_default();
        // Writing to the mixer cannot fail.
        let _ = write!(mixer, "{};", at.as_nanos());
        event.record(&mut mixer);
        let trace = TRACE.get();
        TRACE.set(Trace { records: trace.records + 1, ..trace });
    }
}

struct Mixer;

impl Write for Mixer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let trace = TRACE.get();
        let hash = text.bytes().fold(trace.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
        TRACE.set(Trace { hash, ..trace });
        Ok(())
    }
}

impl Visit for Mixer {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self, "{}={value:?};", field.name());
    }
}
