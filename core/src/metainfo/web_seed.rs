//! Web seeds: where BitTorrent clients fetch a share's files over HTTP (BEP 19). They stand outside `info`, so a `.ko` can
//! be given other ones without becoming another share's.

use bytes::Bytes;

use super::bencode::{Malformed, Reader, write_string};
use super::build::{checked_urls, write_strings};
use super::error::MetainfoError;
use super::{MAX_URLS, Metainfo, Problem};
use crate::id::InfoHash;
use crate::link::url;
use crate::wire::frame::MAX_METAINFO;

const KEY: &[u8] = b"url-list";

/// The web seed of a share at the worker that serves HTTP at `http`. It ends with a slash: clients append the share's
/// name and, in a folder, the path of each file.
#[must_use]
pub fn web_seed_url(http: &str, info_hash: InfoHash) -> String {
    format!("{}/files/{info_hash}/", http.trim_end_matches('/'))
}

/// Where the worker serves HTTP whose web seed of this share that is, as [`web_seed_url`] writes it; `None` if it has
/// another form.
#[must_use]
pub fn worker_of_web_seed(web_seed: &str, info_hash: InfoHash) -> Option<&str> {
    web_seed.strip_suffix(&format!("/files/{info_hash}/"))
}

impl Metainfo {
    /// The bytes of the same `.ko` with `web_seed` after the web seeds that it has. All else is as it was, unknown keys
    /// included.
    ///
    /// # Errors
    /// If it is no URL, there are [`MAX_URLS`] already, or the `.ko` would be too long.
    ///
    /// # Panics
    /// Never: what was parsed can be read again.
    pub fn with_web_seed(&self, web_seed: &str) -> Result<Bytes, MetainfoError> {
        let [web_seed] = checked_urls("url-list", &[web_seed], url)?.try_into().expect("one URL");
        let mut web_seeds = self.url_list().to_vec();
        if web_seeds.contains(&web_seed) {
            return Ok(self.raw().clone());
        }
        if web_seeds.len() >= MAX_URLS {
            return Err(MetainfoError::new("url-list", Problem::Limit { limit: MAX_URLS as u64, what: "URLs" }));
        }
        web_seeds.push(web_seed);

        let raw = self.raw();
        let mut out =
            Vec::with_capacity(raw.len() + web_seeds.iter().map(|url| url.len() + 8).sum::<usize>() + 16);
        let mut is_written = false;
        let mut write_list = |out: &mut Vec<u8>| {
            if !is_written {
                write_string(out, KEY);
                write_strings(out, &web_seeds);
                is_written = true;
            }
        };
        out.push(b'd');
        let mut reader = Reader::new(raw);
        let read = reader.dictionary::<Malformed>(|key, reader| {
            let start = reader.position();
            reader.skip()?;
            if key >= KEY {
                write_list(&mut out);
            }
            if key != KEY {
                write_string(&mut out, key);
                out.extend_from_slice(&raw[start..reader.position()]);
            }
            Ok(())
        });
        read.expect("it was parsed before");
        write_list(&mut out);
        out.push(b'e');
        if out.len() > MAX_METAINFO as usize {
            let problem = Problem::Limit { limit: u64::from(MAX_METAINFO), what: "bytes" };
            return Err(MetainfoError::new("metainfo", problem));
        }
        Ok(out.into())
    }
}
