//! How many files this process may have open at once: every connection is one. Shells and services mostly begin with
//! a soft limit of 1024, far below what the hard limit lets a process give itself.

use std::fmt;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files may be open at once; `None` is any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// What this process may have.
    pub soft: Option<u64>,
    /// What it may give itself.
    pub hard: Option<u64>,
}

impl OpenFiles {
    /// Whether so many can be open.
    #[must_use]
    pub fn allow(&self, needed: u64) -> bool {
        self.soft.is_none_or(|soft| soft >= needed)
    }
}

impl fmt::Display for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.soft {
            Some(soft) => write!(f, "{soft}"),
            None => f.write_str("unlimited"),
        }
    }
}

/// Raises the soft limit to the hard one; what holds now.
///
/// # Errors
/// If the system refuses. Nothing changed then.
pub fn raise() -> io::Result<OpenFiles> {
    let Rlimit { maximum: hard, .. } = getrlimit(Resource::Nofile);
    set(OpenFiles { soft: hard, hard })
}

/// Gives this process room for `needed` files, above the hard limit if need be, which only an administrator may;
/// what holds now.
///
/// # Errors
/// If the system refuses. Nothing changed then.
pub fn raise_to(needed: u64) -> io::Result<OpenFiles> {
    let Rlimit { current: soft, maximum: hard } = getrlimit(Resource::Nofile);
    let now = OpenFiles { soft, hard };
    if now.allow(needed) {
        return Ok(now);
    }
    set(OpenFiles { soft: Some(needed), hard: hard.map(|hard| hard.max(needed)) })
}

fn set(limits: OpenFiles) -> io::Result<OpenFiles> {
    setrlimit(Resource::Nofile, Rlimit { current: limits.soft, maximum: limits.hard })?;
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one_and_the_impossible_is_refused() {
        let raised = raise().expect("every process may");
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!((raised.soft, raised.hard), (maximum, maximum));
        assert_eq!(current, maximum);
        assert_eq!(raise_to(64).expect("as much as there is"), raised);
        assert!(raised.soft.is_none() || raise_to(1 << 60).is_err(), "more than any kernel has");
        assert_eq!(raise().expect("nothing changed"), raised);
    }

    #[test]
    fn any_number_allows_everything() {
        let some = OpenFiles { soft: Some(1024), hard: None };
        assert!(some.allow(1024) && !some.allow(1025));
        assert_eq!(some.to_string(), "1024");
        let any = OpenFiles { soft: None, hard: None };
        assert!(any.allow(u64::MAX));
        assert_eq!(any.to_string(), "unlimited");
    }
}
