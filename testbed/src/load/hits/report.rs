//! What was found, as JSON and as a table. Numbers only, and which of two promises were kept.

use std::fmt;

use serde_json::{Value, json};

/// What the cache must have of a Zipf trace.
const WANTED: Share = Share(0.7);

/// Part of all requests. Displays as percent.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", 100.0 * self.0)
    }
}

/// What was found with one workload, one number a seed.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was asked for.
    pub name: &'static str,
    /// Whether nothing but Zipf's law decided that.
    pub is_zipf: bool,
    /// How many there were.
    pub objects: usize,
    /// Requests that the store answered from its cache.
    pub store: Vec<Share>,
    /// Those that plain LRU would have.
    pub lru: Vec<Share>,
    /// Those that SIEVE would have.
    pub sieve: Vec<Share>,
    /// Those that S3-FIFO would have.
    pub s3_fifo: Vec<Share>,
    /// Those that who knows the future would have.
    pub offline: Vec<Share>,
    /// Requests for what was never asked for before: misses for all of them.
    pub first: Vec<Share>,
}

impl Row {
    pub(super) const fn new(name: &'static str, is_zipf: bool, objects: usize) -> Self {
        Self {
            name,
            is_zipf,
            objects,
            store: Vec::new(),
            lru: Vec::new(),
            sieve: Vec::new(),
            s3_fifo: Vec::new(),
            offline: Vec::new(),
            first: Vec::new(),
        }
    }

    /// Whether, with every seed, the cache had what it must have and no less than plain LRU. Only Zipf's law promises.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        !self.is_zipf || self.store.iter().zip(&self.lru).all(|(store, lru)| *store > WANTED && store >= lru)
    }

    fn columns(&self) -> [(&'static str, &[Share]); 6] {
        [
            ("Kollator", &self.store),
            ("LRU", &self.lru),
            ("SIEVE", &self.sieve),
            ("S3-FIFO", &self.s3_fifo),
            ("offline", &self.offline),
            ("first requests", &self.first),
        ]
    }
}

/// What was found with all workloads.
#[derive(Clone, Debug)]
pub struct Report {
    /// One for each.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether each row kept its promise.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.rows.iter().all(Row::is_kept)
    }

    /// Everything, for programs: shares of 1.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            let shares = row.columns().map(|(name, shares)| {
                (name.to_owned(), json!(shares.iter().map(|share| share.0).collect::<Vec<_>>()))
            });
            let kept = row.is_kept();
            json!({"name": row.name, "objects": row.objects, "shares": Value::from_iter(shares), "kept": kept})
        };
        json!(self.rows.iter().map(row).collect::<Vec<_>>())
    }

    /// Everything, for people: a table in Markdown, in percent of all requests, median and range of the seeds.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut text = String::from("| requests |");
        let Some(first) = self.rows.first() else { return text };
        for (name, _) in first.columns() {
            text += &format!(" {name} |");
        }
        text += "\n|---|";
        text += &"---:|".repeat(first.columns().len());
        for row in &self.rows {
            text += &format!("\n| {} |", row.name);
            for (_, shares) in row.columns() {
                text += &format!(" {} |", spread(shares));
            }
            if !row.is_kept() {
                text += &format!(" MISSED: more than {WANTED} and no less than LRU");
            }
        }
        text.push('\n');
        text
    }
}

/// The median, and the range where it is not the same.
fn spread(shares: &[Share]) -> String {
    let mut sorted = shares.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return String::new() };
    let median = sorted[sorted.len() / 2];
    match least == most {
        true => median.to_string(),
        false => format!("{median} ({least}..{most})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_is_named() {
        let shares = |share: f64| vec![Share(share), Share(share + 0.02), Share(share + 0.01)];
        let mut row = Row { store: shares(0.71), lru: shares(0.7), ..Row::new("all", true, 3) };
        assert!(row.is_kept());
        let report = Report { rows: vec![row.clone()] };
        assert!(report.to_table().contains("| 72.0 (71.0..73.0) | 71.0 (70.0..72.0) |"), "{}", report.to_table());
        row.lru = shares(0.72);
        assert!(!row.is_kept());
        row.is_zipf = false;
        assert!(row.is_kept());
    }
}
