//! Memory and CPU time of other processes, as Linux tells them under `/proc`. Reads only.

use std::fs;

use anyhow::Context as _;

/// Clock ticks in a second, as `/proc/PID/stat` counts them: fixed for user space on every Linux.
const TICKS: f64 = 100.0;

/// A process of this machine, by its id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process(pub(super) u32);

impl Process {
    fn resident_bytes(self) -> anyhow::Result<u64> {
        let status = self.read("status")?;
        let kib =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        kib.map(|kib: u64| kib * 1024).with_context(|| format!("process {} has no memory", self.0))
    }

    /// User and system time of all its threads.
    fn cpu_seconds(self) -> anyhow::Result<f64> {
        let stat = self.read("stat")?;
        // The second field is the program's name, which may hold spaces; user and system time are the 14th and 15th.
        let ticks: Option<u64> = stat.rsplit_once(')').and_then(|(_, rest)| {
            let fields: Vec<&str> = rest.split_whitespace().skip(11).take(2).collect();
            fields.iter().map(|field| field.parse::<u64>().ok()).sum()
        });
        Ok(ticks.with_context(|| format!("process {} has no CPU time", self.0))? as f64 / TICKS)
    }

    fn read(self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).with_context(|| format!("{path} cannot be read: is --pid a running front?"))
    }
}

/// The resident set of each.
pub(super) fn resident_bytes(processes: &[Process]) -> anyhow::Result<Vec<u64>> {
    processes.iter().map(|process| process.resident_bytes()).collect()
}

/// What all of them have used so far; `None` if there are none.
pub(super) fn cpu_seconds(processes: &[Process]) -> anyhow::Result<Option<f64>> {
    if processes.is_empty() {
        return Ok(None);
    }
    processes.iter().map(|process| process.cpu_seconds()).sum::<anyhow::Result<f64>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_time_and_a_missing_one_is_named() {
        let own = [Process(std::process::id())];
        assert!(resident_bytes(&own).expect("readable")[0] > 100_000);
        assert!(cpu_seconds(&own).expect("readable").expect("one process") >= 0.0);
        assert_eq!(cpu_seconds(&[]).expect("nothing to read"), None);
        let missing = format!("{:#}", resident_bytes(&[Process(u32::MAX)]).expect_err("no such process"));
        assert!(missing.contains("/proc/4294967295/status"), "{missing}");
    }
}
