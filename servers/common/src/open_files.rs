//! Room for many connections, each of which is an open file.

use kollator_runtime::open_files;
use tracing::{info, warn};

/// Lets this process have as many files open as its hard limit allows, and logs how many that is. A server with less
/// room than that still serves.
pub fn raise_open_files() {
    match open_files::raise() {
        Ok(now) => info!(files = %now, "may be open at once"),
        Err(error) => warn!(%error, "the limit of open files (ulimit -n) stays as it is"),
    }
}
