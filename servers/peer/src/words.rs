//! What the user sees: lines on standard output, words and progress bars on standard error.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A result, alone on its line on standard output.
pub(crate) fn print(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("standard output")
}

/// A line for the user on standard error. One that cannot be written is nobody's loss.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A progress bar in bytes; invisible where standard error is no terminal.
pub(crate) fn bar(doing: &'static str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix:>11} [{bar:32}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} {msg}",
    );
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
    bar.set_style(style.expect("the template is right"));
    bar.set_prefix(doing);
    bar
}

/// Says something without tearing the bar apart.
pub(crate) fn say_beside(bar: &ProgressBar, line: &str) {
    bar.suspend(|| say(line));
}

/// Tells of a front that cannot be reached: once, not at every try.
#[derive(Debug, Default)]
pub(crate) struct Offline(Option<String>);

impl Offline {
    /// Says why there is no front, unless that was said last.
    pub(crate) fn say(&mut self, bar: &ProgressBar, reason: &str) {
        if self.0.as_deref() != Some(reason) {
            say_beside(bar, &format!("no front: {reason}; trying again"));
            self.0 = Some(reason.to_owned());
        }
    }

    /// A front is there again.
    pub(crate) fn over(&mut self) {
        self.0 = None;
    }
}

/// Bytes with a unit.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// How much in how long.
pub(crate) fn rate(count: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = if seconds > 0.0 { (count as f64 / seconds) as u64 } else { 0 };
    format!("{} in {seconds:.1} s, {}/s", bytes(count), bytes(rate))
}
