//! How many files this process may have open: as many as the load takes, or a clear word about why not.

use anyhow::Context as _;
use kollator_runtime::open_files;

/// Sees that this process may have `needed` files open at once.
pub(super) fn raise_open_files(needed: u64) -> anyhow::Result<()> {
    open_files::raise_to(needed).with_context(|| {
        format!(
            "{needed} files must be open at once and the system allows fewer: ask for fewer sessions, or raise the \
             hard limit (ulimit -Hn, limits.conf, or LimitNOFILE of the service)"
        )
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_impossible_is_refused_with_the_number_and_a_way_out() {
        let refusal = format!("{:#}", raise_open_files(1 << 60).expect_err("more than any kernel has"));
        assert!(refusal.contains(&(1u64 << 60).to_string()) && refusal.contains("fewer sessions"), "{refusal}");
    }
}
