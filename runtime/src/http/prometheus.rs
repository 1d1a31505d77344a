//! Numbers in Prometheus' text format, version 0.0.4. Names and labels are not escaped: those of metrics, workers and
//! fronts have nothing that the format gives a meaning to.

use std::fmt::{Display, Write as _};

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// A page of metrics whose names have one prefix.
#[derive(Debug)]
pub(crate) struct Metrics {
    prefix: &'static str,
    text: String,
}

impl Metrics {
    pub(crate) const fn new(prefix: &'static str) -> Self {
        Self { prefix, text: String::new() }
    }

    /// A metric with one value.
    pub(crate) fn value(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        let prefix = self.prefix;
        self.line(format_args!("{prefix}{name} {value}"));
    }

    /// What a metric is; its values follow.
    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let prefix = self.prefix;
        self.line(format_args!("# HELP {prefix}{name} {help}"));
        self.line(format_args!("# TYPE {prefix}{name} {kind}"));
    }

    /// One value of a metric that has several.
    pub(crate) fn labelled(&mut self, name: &str, (label, is): (&str, &str), value: impl Display) {
        let prefix = self.prefix;
        self.line(format_args!("{prefix}{name}{{{label}=\"{is}\"}} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a String takes everything");
    }
}

impl IntoResponse for Metrics {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], self.text).into_response()
    }
}
