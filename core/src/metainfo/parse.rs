//! From the bytes of a `.ko` or `.torrent` to a [`Metainfo`] whose trees are consistent and whose paths are safe.
//!
//! One pass over the bytes, then the pieces. What it makes is bounded by the limits here, however few bytes
//! ask for it.

use std::ops::Range;

use bytes::Bytes;

use super::bencode::{Malformed, Reader};
use super::error::{MetainfoError, Problem};
use super::{File, Metainfo, Piece, check_piece_length, name, piece_height};
use crate::id::{ChunkId, Digest, InfoHash};
use crate::link::{front_url, url};
use crate::merkle::{height_for, root, sha256, zero_root};
use crate::wire::frame::MAX_METAINFO;

/// Most path components below the share's name.
pub const MAX_PATH_DEPTH: usize = 64;
/// Most files in a share.
pub const MAX_FILES: usize = 1_000_000;
/// Most pieces in a share.
pub const MAX_PIECES: u64 = 4_194_304;
/// Most bytes in a share: what a JSON number can tell exactly.
pub const MAX_TOTAL_LENGTH: u64 = 1 << 53;
/// Most fronts, trackers or web seeds in a metainfo, each.
pub const MAX_URLS: usize = 256;
/// Most bytes in all paths together, each component counted with [`COMPONENT_COST`] more: a deep folder with
/// a long name costs its path again for each file in it.
const MAX_PATHS: u64 = 128 * 1024 * 1024;
const COMPONENT_COST: u64 = 32;

type Result<T> = std::result::Result<T, MetainfoError>;

pub(super) fn parse(ko: Bytes) -> Result<Metainfo> {
    if ko.len() > MAX_METAINFO as usize {
        return Err(limit("metainfo", u64::from(MAX_METAINFO), "bytes"));
    }
    let (top, span) = Top::read(&ko)?;
    let Top { info, layers, trackers, url_list, fronts } = top;
    let Some(Info { tree, version, name, piece_length, version_one }) = info else {
        return Err(missing("info"));
    };
    match version {
        Some(2) => {}
        Some(other) => return Err(value("info.meta version", "2", other.to_string())),
        None if version_one => return Err(MetainfoError::new("metainfo", Problem::VersionOne)),
        None => return Err(missing("info.meta version")),
    }
    let Some(Tree { entries, total_length, .. }) = tree else { return Err(missing("info.file tree")) };
    let name = name.ok_or_else(|| missing("info.name"))?.to_owned();
    let piece_length = piece_length.ok_or_else(|| missing("info.piece length"))?;
    let (files, pieces) = Layers::new(piece_length, layers).assemble(entries)?;
    let single_file = matches!(&files[..], [file] if file.path == [name.as_str()]);
    Ok(Metainfo {
        info_hash: InfoHash(sha256(&ko[span])),
        raw: ko,
        name,
        single_file,
        piece_length,
        files,
        pieces,
        total_length,
        fronts,
        trackers,
        url_list,
    })
}

/// The outermost dictionary.
#[derive(Default)]
struct Top<'a> {
    info: Option<Info<'a>>,
    layers: Vec<(Digest, &'a [u8])>,
    trackers: Vec<String>,
    url_list: Vec<String>,
    fronts: Vec<String>,
}

impl<'a> Top<'a> {
    /// Reads all of `data`; the range is that of the raw `info`.
    fn read(data: &'a [u8]) -> Result<(Self, Range<usize>)> {
        let mut top = Self::default();
        let mut span = 0..0;
        let mut reader = Reader::new(data);
        reader.dictionary::<MetainfoError>(|key, reader| match key {
            b"info" => {
                let start = reader.position();
                top.info = Some(Info::read(reader).map_err(|e| e.located(|| "info".to_owned()))?);
                span = start..reader.position();
                Ok(())
            }
            b"piece layers" => reader.dictionary(|root, reader| {
                let root = digest(root, || "piece layers".to_owned())?;
                let hashes = reader.string().map_err(|e| within(layer_field(&root), e))?;
                top.layers.push((root, hashes));
                Ok(())
            }),
            b"announce" => push_url("announce", reader, &mut top.trackers),
            b"announce-list" => {
                reader.list(|tier| tier.list(|reader| push_url("announce-list", reader, &mut top.trackers)))
            }
            b"url-list" if reader.is_string() => push_url("url-list", reader, &mut top.url_list),
            b"url-list" => reader.list(|reader| push_url("url-list", reader, &mut top.url_list)),
            b"kollator" => reader.dictionary(|key, reader| match key {
                b"fronts" => reader.list(|reader| {
                    let front = reader.string().map_err(|e| within("kollator.fronts", e))?;
                    push(&mut top.fronts, "kollator.fronts", front, front_url)
                }),
                _ => Ok(reader.skip()?),
            }),
            _ => Ok(reader.skip()?),
        })?;
        reader.finish()?;
        Ok((top, span))
    }
}

/// Trackers and web seeds of other programs: empty strings are common and mean nothing.
fn push_url(field: &'static str, reader: &mut Reader<'_>, urls: &mut Vec<String>) -> Result<()> {
    match reader.string().map_err(|e| within(field, e))? {
        [] => Ok(()),
        bytes => push(urls, field, bytes, url),
    }
}

fn push(
    urls: &mut Vec<String>,
    field: &'static str,
    bytes: &[u8],
    checked: impl Fn(&str) -> std::result::Result<String, &'static str>,
) -> Result<()> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(value(field, "UTF-8", name::shortened(&String::from_utf8_lossy(bytes))));
    };
    let url = checked(text).map_err(|expected| value(field, expected, name::shortened(text)))?;
    if urls.contains(&url) {
        return Ok(());
    }
    if urls.len() == MAX_URLS {
        return Err(limit(field, MAX_URLS as u64, "URLs"));
    }
    urls.push(url);
    Ok(())
}

/// The `info` dictionary.
#[derive(Default)]
struct Info<'a> {
    tree: Option<Tree<'a>>,
    version: Option<u64>,
    name: Option<&'a str>,
    piece_length: Option<u32>,
    version_one: bool,
}

impl<'a> Info<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let mut info = Self::default();
        reader.dictionary::<MetainfoError>(|key, reader| {
            match key {
                b"file tree" => info.tree = Some(Tree::read(reader).map_err(|e| e.located(|| tree_field(&[])))?),
                b"meta version" => {
                    info.version = Some(reader.unsigned().map_err(|e| within("info.meta version", e))?)
                }
                b"name" => {
                    let bytes = reader.string().map_err(|e| within("info.name", e))?;
                    info.name = Some(name::checked(bytes).map_err(|e| MetainfoError::new("info.name", e))?);
                }
                b"piece length" => {
                    let length = reader.unsigned().map_err(|e| within("info.piece length", e))?;
                    info.piece_length = Some(check_piece_length(length)?);
                }
                b"pieces" => {
                    info.version_one = true;
                    reader.skip()?;
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(info)
    }
}

/// A file as the file tree has it.
struct Entry {
    path: Vec<String>,
    length: u64,
    root: Option<Digest>,
}

/// The file tree, flattened in its order.
#[derive(Default)]
struct Tree<'a> {
    entries: Vec<Entry>,
    total_length: u64,
    path: Vec<&'a str>,
    path_bytes: u64,
}

impl<'a> Tree<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let mut tree = Self::default();
        tree.node(reader)?;
        if tree.entries.is_empty() {
            return Err(value("info.file tree", "at least one file", "none".to_owned()));
        }
        Ok(tree)
    }

    /// A file, if its only key is empty, else a directory. A directory without files makes nothing.
    fn node(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        let mut is_file = false;
        reader.dictionary::<MetainfoError>(|key, reader| {
            if is_file || (key.is_empty() && self.path.is_empty()) {
                return Err(MetainfoError::new(tree_field(&self.path), Problem::Clash));
            }
            if key.is_empty() {
                is_file = true;
                return self.file(reader);
            }
            if self.path.len() == MAX_PATH_DEPTH {
                return Err(limit(tree_field(&self.path), MAX_PATH_DEPTH as u64, "path components"));
            }
            let component = name::checked(key).map_err(|problem| {
                let field =
                    format!("{}/{}", tree_field(&self.path), name::shortened(&String::from_utf8_lossy(key)));
                MetainfoError::new(field, problem)
            })?;
            self.path.push(component);
            self.node(reader).map_err(|e| e.located(|| tree_field(&self.path)))?;
            self.path.pop();
            Ok(())
        })
    }

    fn file(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let field = |key: &str| format!("{}.{key}", tree_field(&self.path));
        let (mut length, mut root) = (None, None);
        reader.dictionary::<MetainfoError>(|key, reader| {
            match key {
                b"length" => length = Some(reader.unsigned().map_err(|e| within(field("length"), e))?),
                b"pieces root" => {
                    let bytes = reader.string().map_err(|e| within(field("pieces root"), e))?;
                    root = Some(digest(bytes, || field("pieces root"))?);
                }
                b"attr" if reader.is_string() => {
                    if reader.string()?.contains(&b'l') {
                        return Err(MetainfoError::new(tree_field(&self.path), Problem::SymbolicLink));
                    }
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let length = length.ok_or_else(|| missing(field("length")))?;
        match root {
            None if length > 0 => return Err(missing(field("pieces root"))),
            Some(_) if length == 0 => {
                return Err(MetainfoError::new(field("pieces root"), Problem::RootOfNothing));
            }
            _ => {}
        }
        self.add(length, root)
    }

    fn add(&mut self, length: u64, root: Option<Digest>) -> Result<()> {
        let tree = "info.file tree";
        self.total_length = self
            .total_length
            .checked_add(length)
            .filter(|total| *total <= MAX_TOTAL_LENGTH)
            .ok_or_else(|| limit(tree, MAX_TOTAL_LENGTH, "bytes in all files"))?;
        self.path_bytes += self.path.iter().map(|name| name.len() as u64 + COMPONENT_COST).sum::<u64>();
        if self.path_bytes > MAX_PATHS {
            return Err(limit(tree, MAX_PATHS, "bytes in all paths"));
        }
        if self.entries.len() == MAX_FILES {
            return Err(limit(tree, MAX_FILES as u64, "files"));
        }
        let path = self.path.iter().map(|&name| name.to_owned()).collect();
        self.entries.push(Entry { path, length, root });
        Ok(())
    }
}

/// The piece layers, sorted by root, each checked once however many files share it.
struct Layers<'a> {
    piece_length: u32,
    layers: Vec<(Digest, &'a [u8])>,
    used: Vec<bool>,
}

impl<'a> Layers<'a> {
    fn new(piece_length: u32, layers: Vec<(Digest, &'a [u8])>) -> Self {
        Self { piece_length, used: vec![false; layers.len()], layers }
    }

    fn assemble(mut self, entries: Vec<Entry>) -> Result<(Vec<File>, Vec<Piece>)> {
        let piece_length = u64::from(self.piece_length);
        let count = entries.iter().map(|entry| entry.length.div_ceil(piece_length)).sum::<u64>();
        if count > MAX_PIECES {
            return Err(limit("info.file tree", MAX_PIECES, "pieces"));
        }
        let mut files = Vec::with_capacity(entries.len());
        let mut pieces = Vec::new();
        for (index, Entry { path, length, root }) in entries.into_iter().enumerate() {
            let start = pieces.len() as u32;
            let hashes = match root {
                None => Vec::new(),
                Some(root) if length <= piece_length => vec![root],
                Some(root) => self.layer(root, length)?,
            };
            let height = piece_height(length, self.piece_length);
            pieces.extend(hashes.into_iter().zip((0..length).step_by(self.piece_length as usize)).map(
                |(root, offset)| {
                    Piece {
                        chunk: ChunkId::new(root, (length - offset).min(piece_length) as u32, height)
                            .expect("a piece is 1 byte to 16 MiB long and its tree high enough for it"),
                        file: index as u32,
                        offset,
                    }
                },
            ));
            files.push(File { path, length, pieces_root: root, pieces: start..pieces.len() as u32 });
        }
        if let Some(unused) = self.used.iter().position(|used| !used) {
            return Err(MetainfoError::new(layer_field(&self.layers[unused].0), Problem::LayerUnused));
        }
        Ok((files, pieces))
    }

    /// The hashes of the pieces of a file of `length` bytes, more than a piece, under `file_root`.
    fn layer(&mut self, file_root: Digest, length: u64) -> Result<Vec<Digest>> {
        let count = length.div_ceil(u64::from(self.piece_length));
        let refused = |problem| Err(MetainfoError::new(layer_field(&file_root), problem));
        let Ok(index) = self.layers.binary_search_by_key(&file_root, |(root, _)| *root) else {
            return refused(Problem::Missing);
        };
        let bytes = self.layers[index].1;
        if bytes.len() as u64 != count * 32 {
            return refused(Problem::LayerLength { expected: count, got: bytes.len() });
        }
        let hashes: Vec<Digest> =
            bytes.chunks_exact(32).map(|hash| Digest(hash.try_into().expect("chunks of 32 bytes"))).collect();
        if !self.used[index] {
            let pad = zero_root(piece_height(length, self.piece_length));
            if root(&hashes, height_for(count), pad) != file_root {
                return refused(Problem::LayerRoot);
            }
            self.used[index] = true;
        }
        Ok(hashes)
    }
}

fn within(field: impl Into<String>, malformed: Malformed) -> MetainfoError {
    MetainfoError::new(field, malformed.into())
}

fn digest(bytes: &[u8], field: impl FnOnce() -> String) -> Result<Digest> {
    let digest = bytes.try_into().map(Digest);
    digest.map_err(|_| value(field(), "32 bytes long", format!("{} bytes", bytes.len())))
}

/// The tree's path for an error message, shortened.
fn tree_field(path: &[&str]) -> String {
    let mut field = "info.file tree".to_owned();
    for component in path {
        field.push('/');
        field.extend(component.chars().take(40));
        if field.len() > 200 {
            field.push('…');
            break;
        }
    }
    field
}

fn layer_field(root: &Digest) -> String {
    format!("piece layers.{root}")
}

fn missing(field: impl Into<String>) -> MetainfoError {
    MetainfoError::new(field, Problem::Missing)
}

fn value(field: impl Into<String>, expected: &'static str, got: String) -> MetainfoError {
    MetainfoError::new(field, Problem::Value { expected, got })
}

fn limit(field: impl Into<String>, limit: u64, what: &'static str) -> MetainfoError {
    MetainfoError::new(field, Problem::Limit { limit, what })
}
