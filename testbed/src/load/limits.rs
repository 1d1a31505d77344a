//! How many files this process may have open: as many as the load takes, or a clear word about why not.

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sees that this process may have `needed` files open at once.
pub(super) fn raise_open_files(needed: u64) -> anyhow::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    // The system's administrator may raise the hard limit, too.
    let raised = Rlimit { current: Some(needed), maximum: maximum.map(|maximum| maximum.max(needed)) };
    setrlimit(Resource::Nofile, raised).with_context(|| {
        let hard = maximum.map_or("unlimited".to_owned(), |maximum| maximum.to_string());
        format!(
            "{needed} files must be open at once and the system allows this process {hard}: ask for fewer --sessions, \
             or raise the hard limit (ulimit -Hn, limits.conf, or LimitNOFILE of the service)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_granted_and_the_impossible_refused_with_both_numbers() {
        raise_open_files(64).expect("every system allows as much");
        let refusal = format!("{:#}", raise_open_files(1 << 60).expect_err("more than any kernel has"));
        assert!(refusal.contains(&(1u64 << 60).to_string()) && refusal.contains("--sessions"), "{refusal}");
    }
}
