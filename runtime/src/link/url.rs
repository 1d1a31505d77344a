//! The URL of a front, as a setting gives it.

use std::fmt;
use std::str::FromStr;

use crate::net::origin::{BadUrl, Origin};

/// Where a front is: `http://`, `https://`, `ws://` or `wss://`, a host, perhaps a port, and no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontUrl(Origin);

impl FrontUrl {
    /// Reads a setting.
    ///
    /// # Errors
    /// Says what about the URL cannot be used.
    pub fn parse(url: &str) -> Result<Self, BadUrl> {
        let (origin, path) = Origin::parse(url)?;
        if path == "/" {
            Ok(Self(origin))
        } else {
            Err(BadUrl { url: url.chars().take(200).collect(), reason: "a front's URL has no path" })
        }
    }

    /// Scheme, host and port.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.0
    }

    /// Where its WebSocket for clients is.
    #[must_use]
    pub fn signaling(&self) -> String {
        format!("{}://{}/signaling", if self.0.secure { "wss" } else { "ws" }, self.0.authority())
    }
}

impl FromStr for FrontUrl {
    type Err = BadUrl;

    fn from_str(url: &str) -> Result<Self, BadUrl> {
        Self::parse(url)
    }
}

impl fmt::Display for FrontUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
