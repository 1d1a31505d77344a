//! While S3 is gone, a chunk that its home has in its cache is read everywhere, and in time.

use super::{Happening, Oracle, View};

/// Looks at the reads that need no S3.
#[derive(Debug)]
pub struct ReadsGoOnWithoutS3;

impl Oracle for ReadsGoOnWithoutS3 {
    fn name(&self) -> &'static str {
        "reads go on without S3"
    }

    fn watch(&mut self, happening: Happening<'_>, _: &View<'_>) -> Result<(), String> {
        match happening {
            Happening::WithoutS3 { worker, chunk, holders, expected: true, found } if found != (true, false) => {
                Err(format!(
                    "{chunk:?} is cached at {holders:?} and was not read at {worker} without S3: {found:?}"
                ))
            }
            _ => Ok(()),
        }
    }
}
