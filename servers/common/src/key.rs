//! The key that the servers of a network share.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use kollator_core::auth::SharedKey;

/// Where the key is.
#[derive(Clone, Debug, Args)]
pub struct KeySettings {
    /// File with the key that fronts and workers of a network share, at least 16 bytes
    #[arg(long, env = "WORKER_SHARED_KEY_PATH")]
    worker_shared_key_path: PathBuf,
}

impl KeySettings {
    /// Reads it.
    ///
    /// # Errors
    /// Why it cannot be used, and what it must be.
    pub fn read(&self) -> Result<SharedKey, String> {
        let path = &self.worker_shared_key_path;
        let fault = |what: String| {
            format!(
                "--worker-shared-key-path (WORKER_SHARED_KEY_PATH): {}: {what}; it must be a file of at least {} \
                 bytes, the same for every front and worker",
                path.display(),
                SharedKey::MIN_LEN
            )
        };
        let content = fs::read(path).map_err(|e| fault(e.to_string()))?;
        SharedKey::new(&content).map_err(|e| fault(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_named_when_it_cannot_be_used() {
        let read = |path: PathBuf| KeySettings { worker_shared_key_path: path }.read();
        let missing = read("/nonexistent/key".into()).expect_err("refused");
        assert!(missing.contains("/nonexistent/key") && missing.contains("WORKER_SHARED_KEY_PATH"), "{missing}");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        fs::write(&path, "short\n").expect("written");
        assert!(read(path.clone()).expect_err("refused").contains("at least 16 bytes, this one has 5"));
        fs::write(&path, "sixteen bytes ok\n").expect("written");
        read(path).expect("usable");
    }
}
