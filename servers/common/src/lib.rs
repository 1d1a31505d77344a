//! What Kollator's servers have in common: the settings that all of them take, and how they are told to stop.
//! Nothing here knows what a front or a worker does.

mod ice;
mod key;
mod log;
mod open_files;
mod signals;
mod url;

pub use ice::IceSettings;
pub use key::KeySettings;
pub use log::{LogFormat, LogSettings};
pub use open_files::raise_open_files;
pub use signals::Signals;
pub use url::public_url;
