//! A peer's disk: hashes what is shared, reads what is offered, writes what is downloaded.
//!
//! [`Disk`] answers the machine's [`DiskCommand`]s. It decides nothing: which blocks are right is the machine's
//! to say, and only verified ones reach [`DiskCommand::Write`].

mod form;
mod handles;
mod output;
mod parallel;
mod path;
mod scan;
mod share;
mod source;
mod state;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kollator_core::id::{Digest, InfoHash};
use kollator_core::merkle::HashedBlocks;
use kollator_core::metainfo::Metainfo;
use kollator_core::node::io::{Claim, DiskCommand, DiskError, DiskEvent, Place};

use form::Form;
use output::Output;
use parallel::Buffer;
use path::failed;

pub use output::OutputOptions;
pub use scan::ShareError;
pub use share::{HashedShare, ShareOptions, hash_share};
pub use source::Source;

/// The files of every share this process offers or downloads. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    shares: Arc<Mutex<BTreeMap<InfoHash, Share>>>,
}

#[derive(Clone, Debug)]
enum Share {
    /// To be downloaded, not prepared yet.
    Wanted(OutputOptions),
    /// Being read, and written if it is a download.
    Open(Arc<Content>),
}

/// Where the files of a share are.
#[derive(Debug)]
enum Content {
    Shared(Source),
    Downloaded(Output),
}

impl Disk {
    /// Makes the content of a hashed share readable.
    pub fn offer(&self, source: Source) {
        let info_hash = source.form().metainfo().info_hash();
        self.shares().insert(info_hash, Share::Open(Arc::new(Content::Shared(source))));
    }

    /// Says where the download of a share is to go, before its [`DiskCommand::Prepare`].
    pub fn expect(&self, info_hash: InfoHash, options: OutputOptions) {
        self.shares().insert(info_hash, Share::Wanted(options));
    }

    /// Where the download of a share is, or will be once it is finished; `None` before it is prepared.
    #[must_use]
    pub fn output_path(&self, info_hash: InfoHash) -> Option<PathBuf> {
        let content = self.content(info_hash).ok()?;
        content.output().ok().map(|output| output.path().to_owned())
    }

    /// Carries out one command. Blocks.
    #[must_use]
    pub fn execute(&self, command: DiskCommand) -> DiskEvent {
        match command {
            DiskCommand::Prepare { metainfo } => {
                let info_hash = metainfo.info_hash();
                DiskEvent::Prepared { info_hash, found: self.prepare(metainfo) }
            }
            DiskCommand::Read { ticket, info_hash, place, length } => {
                let data = self.content(info_hash).and_then(|content| content.read(place, length));
                DiskEvent::Read { ticket, data }
            }
            DiskCommand::ReadLeaves { ticket, info_hash, place, length } => {
                let leaves = self.content(info_hash).and_then(|content| content.leaves(place, length));
                DiskEvent::Leaves { ticket, leaves }
            }
            DiskCommand::Hash { ticket, data } => {
                DiskEvent::Hashed { ticket, blocks: HashedBlocks::compute(data) }
            }
            DiskCommand::Write { ticket, info_hash, places, blocks } => {
                let content = self.content(info_hash);
                let result = content.and_then(|content| content.output()?.write(&places, &blocks));
                DiskEvent::Written { ticket, result }
            }
            DiskCommand::Finish { info_hash } => {
                let result = self.content(info_hash).and_then(|content| content.output()?.finish());
                DiskEvent::Finished { info_hash, result }
            }
        }
    }

    fn prepare(&self, metainfo: Arc<Metainfo>) -> Result<Vec<Claim>, DiskError> {
        let info_hash = metainfo.info_hash();
        let Some(Share::Wanted(options)) = self.shares().get(&info_hash).cloned() else {
            return Err(DiskError(format!("nothing says where the download of {info_hash} is to go")));
        };
        let (output, claims) = Output::prepare(metainfo, &options)?;
        self.shares().insert(info_hash, Share::Open(Arc::new(Content::Downloaded(output))));
        Ok(claims)
    }

    fn content(&self, info_hash: InfoHash) -> Result<Arc<Content>, DiskError> {
        match self.shares().get(&info_hash) {
            Some(Share::Open(content)) => Ok(Arc::clone(content)),
            _ => Err(DiskError(format!("the content of {info_hash} is not here"))),
        }
    }

    fn shares(&self) -> std::sync::MutexGuard<'_, BTreeMap<InfoHash, Share>> {
        self.shares.lock().expect("nothing panics while it holds the shares")
    }
}

impl Content {
    fn read(&self, place: Place, length: u32) -> Result<Bytes, DiskError> {
        self.check(place, length)?;
        let file = self.file(place.file)?;
        let data = self.form().file(place.file).read(&file, place.offset, length as usize);
        data.map(Bytes::from).map_err(|error| failed(&self.file_path(place.file), &error))
    }

    fn leaves(&self, place: Place, length: u32) -> Result<Vec<Digest>, DiskError> {
        self.check(place, length)?;
        let file = self.file(place.file)?;
        let hashed = Buffer::default().hash(self.form().file(place.file), &file, place.offset, length, |_| {});
        hashed.map_err(|error| failed(&self.file_path(place.file), &error))
    }

    /// Refuses what lies outside the share.
    fn check(&self, Place { file, offset }: Place, length: u32) -> Result<(), DiskError> {
        let files = self.form().metainfo().files();
        let end = offset.checked_add(u64::from(length));
        let inside = files.get(file as usize).zip(end).is_some_and(|(about, end)| end <= about.length);
        inside
            .then_some(())
            .ok_or_else(|| DiskError(format!("the share has no {length} bytes from {offset} on in file {file}")))
    }

    fn form(&self) -> &Form {
        match self {
            Self::Shared(source) => source.form(),
            Self::Downloaded(output) => output.form(),
        }
    }

    fn file(&self, index: u32) -> Result<Arc<File>, DiskError> {
        match self {
            Self::Shared(source) => source.file(index),
            Self::Downloaded(output) => output.file(index),
        }
    }

    fn file_path(&self, index: u32) -> PathBuf {
        match self {
            Self::Shared(source) => source.path(index),
            Self::Downloaded(output) => output.file_path(index),
        }
    }

    fn output(&self) -> Result<&Output, DiskError> {
        match self {
            Self::Downloaded(output) => Ok(output),
            Self::Shared(source) => {
                Err(DiskError(format!("{} is shared from here, it is not written", source.path(0).display())))
            }
        }
    }
}

#[cfg(test)]
mod tests;
