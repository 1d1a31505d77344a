//! URLs that an operator gives.

use kollator_core::wire::signal_codec::is_http_url;

/// Reads the base URL of a server as others reach it; a slash at its end is left out.
///
/// # Errors
/// What it must be.
pub fn public_url(url: &str) -> Result<String, String> {
    let url = url.trim_end_matches('/');
    if is_http_url(url) {
        Ok(url.to_owned())
    } else {
        Err("must be http://HOST[:PORT] or https://HOST[:PORT]".into())
    }
}
