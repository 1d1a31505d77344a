//! From names, lengths and piece hashes to the bytes of a `.ko`: the same `info` that libtorrent writes for a
//! v2-only torrent, so that the info hash is the same. Reads no file and hashes no data.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::bencode::{write_string, write_unsigned};
use super::error::{MetainfoError, Problem};
use super::parse::{MAX_FILES, MAX_PATH_DEPTH, MAX_URLS};
use super::{Metainfo, check_piece_length, name, piece_height};
use crate::id::Digest;
use crate::link::{front_url, url};
use crate::merkle::{height_for, root, zero_root};
use crate::seal::SEALED_NAME;

/// Collects a share's files and makes its metainfo. An error leaves the builder as it was.
#[derive(Clone, Debug)]
pub struct MetainfoBuilder {
    name: String,
    piece_length: u32,
    tree: BTreeMap<String, Node>,
    files: usize,
    layers: BTreeMap<Digest, Vec<Digest>>,
    fronts: Vec<String>,
    trackers: Vec<String>,
    url_list: Vec<String>,
    created_by: Option<String>,
}

#[derive(Clone, Debug)]
enum Node {
    Directory(BTreeMap<String, Node>),
    File { length: u64, root: Option<Digest> },
}

impl MetainfoBuilder {
    /// A share called `name`, without files yet, cut into pieces of `piece_length` bytes.
    ///
    /// # Errors
    /// If the name is no safe path component or that of sealed shares, or the length no power of two from 16 KiB to
    /// 16 MiB.
    pub fn new(name: &str, piece_length: u32) -> Result<Self, MetainfoError> {
        name::checked(name.as_bytes()).map_err(|problem| MetainfoError::new("info.name", problem))?;
        if name == SEALED_NAME {
            let expected = "another name, as this one marks encrypted shares";
            return Err(MetainfoError::new("info.name", Problem::Value { expected, got: name::shortened(name) }));
        }
        Self::named(name, piece_length)
    }

    /// A sealed share, without files yet, cut into pieces of `piece_length` bytes; its files are those that
    /// [`crate::seal::layout`] says.
    ///
    /// # Errors
    /// If the length is no power of two from 16 KiB to 16 MiB.
    pub fn sealed(piece_length: u32) -> Result<Self, MetainfoError> {
        Self::named(SEALED_NAME, piece_length)
    }

    fn named(name: &str, piece_length: u32) -> Result<Self, MetainfoError> {
        Ok(Self {
            name: name.to_owned(),
            piece_length: check_piece_length(u64::from(piece_length))?,
            tree: BTreeMap::new(),
            files: 0,
            layers: BTreeMap::new(),
            fronts: Vec::new(),
            trackers: Vec::new(),
            url_list: Vec::new(),
            created_by: None,
        })
    }

    /// Adds a file: its path below the share's folder, its length in bytes and the [`super::piece_root`] of
    /// each of its pieces in order.
    ///
    /// A share of one file alone is that file under the share's own name as its path. BEP 52 cannot tell it
    /// from a folder that holds nothing but a file of the folder's name.
    ///
    /// # Errors
    /// If a path component is unsafe, the path is deeper than [`MAX_PATH_DEPTH`] or clashes with another file,
    /// there are [`MAX_FILES`] already, or there is not one hash for each piece.
    pub fn file<S: AsRef<str>>(
        &mut self,
        path: &[S],
        length: u64,
        piece_roots: Vec<Digest>,
    ) -> Result<&mut Self, MetainfoError> {
        let path: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
        let refused = |problem| MetainfoError::new(format!("file {}", name::shortened(&path.join("/"))), problem);
        let Some((leaf, folders)) = path.split_last() else {
            return Err(refused(Problem::UnsafeName { why: "it is empty" }));
        };
        if path.len() > MAX_PATH_DEPTH {
            return Err(refused(Problem::Limit { limit: MAX_PATH_DEPTH as u64, what: "path components" }));
        }
        for component in &path {
            name::checked(component.as_bytes()).map_err(refused)?;
        }
        if self.files == MAX_FILES {
            return Err(refused(Problem::Limit { limit: MAX_FILES as u64, what: "files" }));
        }
        let expected = length.div_ceil(u64::from(self.piece_length));
        if piece_roots.len() as u64 != expected {
            return Err(refused(Problem::LayerLength { expected, got: piece_roots.len() * 32 }));
        }
        if !self.is_free(&path) {
            return Err(refused(Problem::Clash));
        }

        let root = self.file_root(length, &piece_roots);
        let mut directory = &mut self.tree;
        for folder in folders {
            let node = directory.entry((*folder).to_owned()).or_insert_with(|| Node::Directory(BTreeMap::new()));
            let Node::Directory(inner) = node else { unreachable!("the path was free") };
            directory = inner;
        }
        directory.insert((*leaf).to_owned(), Node::File { length, root });
        if let (Some(root), 2..) = (root, piece_roots.len()) {
            self.layers.insert(root, piece_roots);
        }
        self.files += 1;
        Ok(self)
    }

    fn is_free(&self, path: &[&str]) -> bool {
        let mut directory = &self.tree;
        for component in path {
            match directory.get(*component) {
                None => return true,
                Some(Node::Directory(inner)) => directory = inner,
                Some(Node::File { .. }) => return false,
            }
        }
        false
    }

    fn file_root(&self, length: u64, piece_roots: &[Digest]) -> Option<Digest> {
        match piece_roots {
            [] => None,
            [only] => Some(*only),
            many => {
                let pad = zero_root(piece_height(length, self.piece_length));
                Some(root(many, height_for(many.len() as u64), pad))
            }
        }
    }

    /// Base URLs of fronts that know the share; written outside `info`, under `kollator`.
    ///
    /// # Errors
    /// If one is not an `http` or `https` URL, or there are more than [`MAX_URLS`].
    pub fn fronts<S: AsRef<str>>(&mut self, fronts: &[S]) -> Result<&mut Self, MetainfoError> {
        self.fronts = checked_urls("kollator.fronts", fronts, front_url)?;
        Ok(self)
    }

    /// Announce URLs of BitTorrent trackers, one tier each (BEP 12).
    ///
    /// # Errors
    /// If one is not a URL, or there are more than [`MAX_URLS`].
    pub fn trackers<S: AsRef<str>>(&mut self, trackers: &[S]) -> Result<&mut Self, MetainfoError> {
        self.trackers = checked_urls("announce-list", trackers, url)?;
        Ok(self)
    }

    /// Web seeds (BEP 19).
    ///
    /// # Errors
    /// If one is not a URL, or there are more than [`MAX_URLS`].
    pub fn url_list<S: AsRef<str>>(&mut self, web_seeds: &[S]) -> Result<&mut Self, MetainfoError> {
        self.url_list = checked_urls("url-list", web_seeds, url)?;
        Ok(self)
    }

    /// The program that made the metainfo.
    pub fn created_by(&mut self, program: &str) -> &mut Self {
        self.created_by = Some(program.to_owned());
        self
    }

    /// The metainfo.
    ///
    /// # Errors
    /// If there is no file, or one of [`Metainfo::parse`]'s limits is exceeded.
    pub fn build(&self) -> Result<Metainfo, MetainfoError> {
        Metainfo::parse(Bytes::from(self.encode()))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![b'd'];
        if let Some(first) = self.trackers.first() {
            write_string(&mut out, b"announce");
            write_string(&mut out, first.as_bytes());
            write_string(&mut out, b"announce-list");
            out.push(b'l');
            for tracker in &self.trackers {
                write_strings(&mut out, std::slice::from_ref(tracker));
            }
            out.push(b'e');
        }
        if let Some(program) = &self.created_by {
            write_string(&mut out, b"created by");
            write_string(&mut out, program.as_bytes());
        }
        write_string(&mut out, b"info");
        self.encode_info(&mut out);
        if !self.fronts.is_empty() {
            write_string(&mut out, b"kollator");
            out.push(b'd');
            write_string(&mut out, b"fronts");
            write_strings(&mut out, &self.fronts);
            out.push(b'e');
        }
        write_string(&mut out, b"piece layers");
        out.push(b'd');
        for (root, hashes) in &self.layers {
            write_string(&mut out, &root.0);
            write_string(&mut out, &hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>());
        }
        out.push(b'e');
        if !self.url_list.is_empty() {
            write_string(&mut out, b"url-list");
            write_strings(&mut out, &self.url_list);
        }
        out.push(b'e');
        out
    }

    fn encode_info(&self, out: &mut Vec<u8>) {
        out.push(b'd');
        write_string(out, b"file tree");
        write_directory(out, &self.tree);
        write_string(out, b"meta version");
        write_unsigned(out, 2);
        write_string(out, b"name");
        write_string(out, self.name.as_bytes());
        write_string(out, b"piece length");
        write_unsigned(out, u64::from(self.piece_length));
        out.push(b'e');
    }
}

pub(super) fn checked_urls<S: AsRef<str>>(
    field: &'static str,
    texts: &[S],
    checked: impl Fn(&str) -> Result<String, &'static str>,
) -> Result<Vec<String>, MetainfoError> {
    if texts.len() > MAX_URLS {
        return Err(MetainfoError::new(field, Problem::Limit { limit: MAX_URLS as u64, what: "URLs" }));
    }
    let refused =
        |text: &str, expected| MetainfoError::new(field, Problem::Value { expected, got: name::shortened(text) });
    texts.iter().map(AsRef::as_ref).map(|text| checked(text).map_err(|expected| refused(text, expected))).collect()
}

fn write_directory(out: &mut Vec<u8>, directory: &BTreeMap<String, Node>) {
    out.push(b'd');
    for (name, node) in directory {
        write_string(out, name.as_bytes());
        match node {
            Node::Directory(inner) => write_directory(out, inner),
            Node::File { length, root } => write_file(out, *length, root.as_ref()),
        }
    }
    out.push(b'e');
}

fn write_file(out: &mut Vec<u8>, length: u64, root: Option<&Digest>) {
    out.extend_from_slice(b"d0:d");
    write_string(out, b"length");
    write_unsigned(out, length);
    if let Some(root) = root {
        write_string(out, b"pieces root");
        write_string(out, &root.0);
    }
    out.extend_from_slice(b"ee");
}

pub(super) fn write_strings(out: &mut Vec<u8>, strings: &[String]) {
    out.push(b'l');
    for string in strings {
        write_string(out, string.as_bytes());
    }
    out.push(b'e');
}
