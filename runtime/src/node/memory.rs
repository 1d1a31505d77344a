//! How much memory this process takes. Says nothing where the system does not.

use std::fs;

/// Bytes of memory that this process takes now (resident set), where the system tells: on Linux.
#[must_use]
pub fn resident_memory() -> Option<u64> {
    resident(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_set_is_found() {
        assert_eq!(resident("Name:\tx\nVmHWM:\t 90 kB\nVmRSS:\t  1234 kB\nRssAnon:\t 1 kB\n"), Some(1234 * 1024));
        for odd in ["", "VmRSS:", "VmRSS: -1 kB", "VmRSS: 5", "VmRSS: 99999999999999999999 kB"] {
            assert_eq!(resident(odd), None, "{odd:?}");
        }
        #[cfg(target_os = "linux")]
        assert!(resident_memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
