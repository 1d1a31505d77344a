//! What is logged, and how it looks.

use std::io::{IsTerminal as _, stderr};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Logs to standard error from now on what `filter` lets through.
    ///
    /// # Panics
    /// If the process logs already.
    pub fn start(self, filter: EnvFilter) {
        let log = tracing_subscriber::fmt().with_writer(stderr).with_ansi(stderr().is_terminal());
        match self {
            Self::Text => log.with_env_filter(filter).init(),
            Self::Json => log.json().with_env_filter(filter).init(),
        }
    }
}

/// The WebRTC stack tells several lines of each connection at `info`, and at `warn` what is no trouble.
const DEFAULT: &str = "info,rtc=error,rtc_dtls=error,rtc_ice=error,rtc_sctp=error";

/// The settings of a server's log.
#[derive(Clone, Debug, Args)]
pub struct LogSettings {
    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, or directives as tracing-subscriber has them
    #[arg(long, env = "RUST_LOG", default_value = DEFAULT)]
    log: String,
}

impl LogSettings {
    /// Logs from now on as is set.
    ///
    /// # Errors
    /// Which setting is wrong, and what would be right. Then nothing is logged.
    ///
    /// # Panics
    /// If the process logs already.
    pub fn start(&self) -> Result<(), String> {
        let filter = EnvFilter::try_new(&self.log)
            .map_err(|e| format!("--log (RUST_LOG): {:?}: {e}; such as info or kollator=debug", self.log))?;
        self.log_format.start(filter);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_named() {
        let settings = LogSettings { log_format: LogFormat::Text, log: "kollator=loud".to_owned() };
        let fault = settings.start().expect_err("refused");
        assert!(fault.contains("RUST_LOG") && fault.contains("kollator=loud"), "{fault}");
    }
}
