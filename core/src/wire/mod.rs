//! What travels: frames on a data channel, messages to and from a front. Parsed once into types that cannot
//! hold nonsense; nothing here decides anything.

pub mod codec;
pub mod frame;
pub(crate) mod passing;
pub mod signal;
pub mod signal_codec;
pub mod sync;
pub mod sync_codec;
