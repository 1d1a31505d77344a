//! The same seed in two processes must be the same run: some libraries seed themselves once a process, so one
//! process cannot tell. A test binary runs itself again for each run and compares what came out.

use std::process::Command;

use super::seeded::run_seeded;

/// Set in a child process: the seed to run, and the story's name after a colon.
const CHILD: &str = "SIM_CHILD";
/// Before the trace in what a child says.
const ANSWER: &str = "TRACE ";

/// The whole of a test that must be called `child_process`. In a child process of [`assert_repeats`] it runs
/// `world` with the name of a story and a seed, and says what came out; elsewhere it does nothing.
///
/// # Panics
/// If `world` does.
#[expect(clippy::print_stdout, reason = "how a child process answers")]
pub fn child_process(world: impl FnOnce(&str, u64) + Send + 'static) {
    let Ok(run) = std::env::var(CHILD) else { return };
    let (seed, story) = run.split_once(':').expect("a seed and a story");
    let (seed, story) = (seed.parse().expect("a seed"), story.to_owned());
    let ((), trace) = run_seeded(seed, move || world(&story, seed));
    println!("\n{ANSWER}{trace}");
}

/// Runs a story twice with each seed, each time in a process of its own, and returns the trace of each seed.
///
/// # Panics
/// If a run fails, or two runs of one seed differ.
pub fn assert_repeats(story: &str, seeds: &[u64]) -> Vec<String> {
    let twice = |seed: &u64| {
        let (first, second) = (trace(story, *seed), trace(story, *seed));
        assert_eq!(first, second, "SIM_SEED={seed}, {story}: two different runs");
        first
    };
    seeds.iter().map(twice).collect()
}

/// The trace of one run in a process of its own.
fn trace(story: &str, seed: u64) -> String {
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child_process", "--nocapture"])
        .env(CHILD, format!("{seed}:{story}"))
        .output()
        .expect("this test runs again");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let trace = stdout.lines().find_map(|line| line.strip_prefix(ANSWER));
    trace.map_or_else(
        || panic!("SIM_SEED={seed}, {story}:\n{stdout}{}", String::from_utf8_lossy(&output.stderr)),
        str::to_owned,
    )
}
