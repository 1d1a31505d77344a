//! `kollator info`: what a link or file names, for people and for programs.

use kollator_core::id::InfoHash;
use kollator_core::link::{LinkKey, ShareRef};
use kollator_core::metainfo::Metainfo;
use kollator_core::seal::is_sealed;
use serde::Serialize;

use crate::settings::Info;
use crate::target::Target;
use crate::words;

/// The object of `--json`. What a link does not say is absent.
#[derive(Serialize)]
struct Description<'a> {
    info_hash: InfoHash,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypted: Option<Encrypted>,
    #[serde(flatten)]
    content: Option<Content>,
    fronts: &'a [String],
    trackers: &'a [String],
    web_seeds: &'a [String],
}

/// What is known of what opens an encrypted share. The key itself is never told.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Encrypted {
    /// Whoever has the link.
    ForAnyoneWithTheLink,
    /// The owner of one public key.
    ForOnePerson,
    /// Whoever has the key, which a `.ko` never holds.
    KeyNotHere,
}

#[derive(Serialize)]
struct Content {
    piece_length: u32,
    total_length: u64,
    chunks: usize,
    single_file: bool,
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    path: String,
    length: u64,
}

pub(crate) fn run(info: &Info) -> anyhow::Result<()> {
    let target = Target::read(&info.target)?;
    let description = match &target {
        Target::Link(share) => of_link(share),
        Target::File(metainfo) => of_metainfo(metainfo),
    };
    if info.json {
        return words::print(&serde_json::to_string(&description)?);
    }
    description.lines().iter().try_for_each(|line| words::print(line))
}

fn of_link(share: &ShareRef) -> Description<'_> {
    Description {
        info_hash: share.info_hash,
        name: share.name.as_deref(),
        encrypted: share.key.as_ref().map(|key| match key {
            LinkKey::Open(_) => Encrypted::ForAnyoneWithTheLink,
            LinkKey::Wrapped(_) => Encrypted::ForOnePerson,
        }),
        content: None,
        fronts: &share.fronts,
        trackers: &share.trackers,
        web_seeds: &share.web_seeds,
    }
}

fn of_metainfo(metainfo: &Metainfo) -> Description<'_> {
    let files = metainfo.files().iter().map(|file| File { path: file.path.join("/"), length: file.length });
    Description {
        info_hash: metainfo.info_hash(),
        name: Some(metainfo.name()),
        encrypted: is_sealed(metainfo).then_some(Encrypted::KeyNotHere),
        content: Some(Content {
            piece_length: metainfo.piece_length(),
            total_length: metainfo.total_length(),
            chunks: metainfo.pieces().len(),
            single_file: metainfo.is_single_file(),
            files: files.collect(),
        }),
        fronts: metainfo.fronts(),
        trackers: metainfo.trackers(),
        web_seeds: metainfo.url_list(),
    }
}

impl Encrypted {
    const fn words(self) -> &'static str {
        match self {
            Self::ForAnyoneWithTheLink => "yes; the link has the key",
            Self::ForOnePerson => "yes; the link is for the owner of one public key",
            Self::KeyNotHere => "yes; only the whole link opens names and content, which are shown sealed",
        }
    }
}

impl Description<'_> {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("info hash     {}", self.info_hash)];
        lines.extend(self.name.map(|name| format!("name          {name}")));
        lines.extend(self.encrypted.map(|encrypted| format!("encrypted     {}", encrypted.words())));
        if let Some(content) = &self.content {
            lines.push(format!(
                "size          {} ({} bytes)",
                words::bytes(content.total_length),
                content.total_length
            ));
            lines.push(format!("piece length  {}", words::bytes(content.piece_length.into())));
            lines.push(format!("chunks        {}", content.chunks));
        }
        for (what, urls) in [("front", self.fronts), ("tracker", self.trackers), ("web seed", self.web_seeds)] {
            lines.extend(urls.iter().map(|url| format!("{what:<13} {url}")));
        }
        if let Some(content) = &self.content {
            lines.push(format!("files         {}", content.files.len()));
            lines.extend(content.files.iter().map(|file| format!("{:>15}  {}", file.length, file.path)));
        }
        lines
    }
}
