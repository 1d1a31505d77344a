//! `kollator key`, and the file with one's identity: the X25519 secret that opens what others share to one's public key.
//!
//! The file is made for its owner alone, is never replaced, and what is in it is never printed.

use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use kollator_core::seal::Identity;
use kollator_runtime::node::random_secret;

use crate::settings::Key;
use crate::words;

/// What the text in an identity file begins with.
const LABEL: &str = "kollator-identity-1 ";

#[derive(Debug, Args)]
pub(crate) struct IdentityArgs {
    /// The file with one's identity [default: kollator/identity in $XDG_CONFIG_HOME or ~/.config].
    #[arg(long, env = "KOLLATOR_IDENTITY", value_name = "FILE")]
    identity: Option<PathBuf>,
}

impl IdentityArgs {
    /// The identity, which must be there.
    pub(crate) fn read(&self) -> anyhow::Result<Identity> {
        let path = self.path()?;
        match read(&path)? {
            Some(identity) => Ok(identity),
            None => bail!(
                "there is no identity at {}; `kollator key` makes one and prints the public key to give to others",
                path.display()
            ),
        }
    }

    fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.identity {
            return Ok(path.clone());
        }
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
        let config = config
            .context("neither XDG_CONFIG_HOME nor HOME says where an identity is; name one with --identity")?;
        Ok(config.join("kollator/identity"))
    }
}

/// Prints one's public key; makes the identity first, if there is none.
pub(crate) fn run(key: &Key) -> anyhow::Result<()> {
    let path = key.identity.path()?;
    let identity = match read(&path)? {
        Some(identity) => identity,
        None => {
            let identity = create(&path).with_context(|| path.display().to_string())?;
            words::say(&format!(
                "made an identity: {}; whoever has this file can open what is shared to it",
                path.display()
            ));
            identity
        }
    };
    words::print(&identity.public().to_string())
}

/// The identity in a file; `None` if there is no file.
fn read(path: &Path) -> anyhow::Result<Option<Identity>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let identity = text.trim_end().strip_prefix(LABEL).and_then(|text| text.parse().ok());
    identity.map(Some).with_context(|| format!("{} holds no identity", path.display()))
}

/// Makes an identity in a new file that only its owner can read.
fn create(path: &Path) -> io::Result<Identity> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let identity = Identity::new(random_secret());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{LABEL}{}", identity.to_text())?;
    file.sync_all()?;
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_identity_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let args = IdentityArgs { identity: Some(dir.path().join("a/b/identity")) };
        let path = args.path().unwrap();
        assert!(args.read().unwrap_err().to_string().contains("`kollator key` makes one"));
        let made = create(&path).unwrap();
        assert_eq!(args.read().unwrap().public(), made.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "it is never replaced");
        assert_eq!(args.read().unwrap().public(), made.public());
        for wrong in ["", "kollator-identity-1 AA", &made.to_text()] {
            fs::write(&path, wrong).unwrap();
            assert!(args.read().unwrap_err().to_string().ends_with("holds no identity"), "{wrong}");
        }
    }
}
