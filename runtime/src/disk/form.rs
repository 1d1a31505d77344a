//! The form in which a share's files are on this disk: the bytes of the share themselves or, for a sealed share, plain
//! files that are sealed whenever they are read and opened before they are written.
//!
//! Places and lengths are always those of the share. Nothing is written that does not open with the share's key.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use kollator_core::merkle::BLOCK_LEN;
use kollator_core::metainfo::Metainfo;
use kollator_core::node::io::DiskError;
use kollator_core::seal::{OpenedShare, PLAIN_BLOCK_LEN, SealError, SealedFile, ShareKey, open_with};

use crate::pread::read_exact_at;

/// A share, and what its files are here.
#[derive(Debug)]
pub(super) struct Form {
    metainfo: Arc<Metainfo>,
    opened: Option<OpenedShare>,
}

impl Form {
    /// The form of a share that is opened with `key`, if it is sealed.
    pub(super) fn new(metainfo: Arc<Metainfo>, key: Option<&ShareKey>) -> Result<Self, DiskError> {
        let opened = open_with(&metainfo, key).map_err(|error| DiskError(error.to_string()))?;
        Ok(Self { metainfo, opened })
    }

    /// As it is shared.
    pub(super) fn metainfo(&self) -> &Arc<Metainfo> {
        &self.metainfo
    }

    /// Name of the file or folder.
    pub(super) fn name(&self) -> &str {
        self.opened.as_ref().map_or(self.metainfo.name(), |share| &share.name)
    }

    /// Whether it is one file rather than a folder.
    pub(super) fn is_single_file(&self) -> bool {
        self.opened.as_ref().map_or(self.metainfo.is_single_file(), |share| share.single_file)
    }

    /// The path of a file below the output; none for a single file, which is the output.
    pub(super) fn components(&self, index: u32) -> &[String] {
        match &self.opened {
            _ if self.is_single_file() => &[],
            Some(share) => &share.files[index as usize].path,
            None => &self.metainfo.files()[index as usize].path,
        }
    }

    /// Bytes that a file has on disk.
    pub(super) fn length(&self, index: u32) -> u64 {
        match &self.opened {
            Some(share) => share.files[index as usize].length,
            None => self.metainfo.files()[index as usize].length,
        }
    }

    /// How a file's bytes in the share come of those on disk.
    pub(super) fn file(&self, index: u32) -> FileForm<'_> {
        FileForm(self.opened.as_ref().map(|share| &share.files[index as usize]))
    }
}

/// How the bytes of one file in a share come of those on disk: by sealing, if it has a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileForm<'a>(Option<&'a SealedFile>);

impl<'a> FileForm<'a> {
    /// A file that is sealed, if there is something to seal it with.
    pub(super) const fn new(sealed: Option<&'a SealedFile>) -> Self {
        Self(sealed)
    }

    /// The `length` bytes that the share has of this file from `offset` on.
    pub(super) fn read(self, file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let Some(sealed) = self.0 else { return read_exact_at(file, length, offset) };
        let end = offset + length as u64;
        let (first, last) = (offset / u64::from(BLOCK_LEN), end.div_ceil(u64::from(BLOCK_LEN)));
        let start = first * u64::from(PLAIN_BLOCK_LEN);
        let plain = (last * u64::from(PLAIN_BLOCK_LEN)).min(sealed.length).saturating_sub(start);
        let plain = read_exact_at(file, plain as usize, start)?;
        let mut data = sealed.key.seal_run(sealed.length, first, &plain);
        data.drain(..(offset % u64::from(BLOCK_LEN)) as usize);
        data.truncate(length);
        if data.len() == length { Ok(data) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Fills `part` with the bytes that the share has of this file from `offset` on.
    pub(super) fn read_into(self, file: &File, offset: u64, part: &mut [u8]) -> io::Result<()> {
        if self.0.is_none() {
            return file.read_exact_at(part, offset);
        }
        self.read(file, offset, part.len()).map(|data| part.copy_from_slice(&data))
    }

    /// Writes blocks of the share, which begin at `offset`.
    pub(super) fn write(self, file: &File, offset: u64, blocks: &[u8]) -> io::Result<()> {
        let Some(sealed) = self.0 else { return file.write_all_at(blocks, offset) };
        let first = offset / u64::from(BLOCK_LEN);
        let plain = sealed.key.open_run(sealed.length, first, blocks);
        let plain = plain.map_err(|error: SealError| io::Error::new(io::ErrorKind::InvalidData, error))?;
        file.write_all_at(&plain, first * u64::from(PLAIN_BLOCK_LEN))
    }
}

#[cfg(test)]
mod tests {
    use kollator_core::seal::{layout, sealed_length};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_part_reads_as_in_the_whole(
            length in 0..4 * u64::from(PLAIN_BLOCK_LEN), at in any::<prop::sample::Index>(), most in 0..70_000usize,
        ) {
            let plain: Vec<u8> = (0..length).map(|n| (n * 7 % 251) as u8).collect();
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&plain, 0).unwrap();
            let (share, _) = layout(&ShareKey::new([1; 32]), "share", &[(vec!["a".to_owned()], length)]).unwrap();
            let form = FileForm::new(Some(&share.files[0]));
            let whole = share.files[0].key.seal_run(length, 0, &plain);
            prop_assert_eq!(whole.len() as u64, sealed_length(length));
            let start = at.index(whole.len() + 1);
            let end = whole.len().min(start + most);
            prop_assert_eq!(&form.read(&file, start as u64, end - start).unwrap()[..], &whole[start..end]);
            prop_assert!(form.read(&file, start as u64, whole.len() + 1 - start).is_err(), "beyond the end");

            let copy = tempfile::tempfile().unwrap();
            let block = start / BLOCK_LEN as usize * BLOCK_LEN as usize;
            form.write(&copy, block as u64, &whole[block..]).unwrap();
            form.write(&copy, 0, &whole[..block]).unwrap();
            prop_assert_eq!(read_exact_at(&copy, length as usize, 0).unwrap(), plain);
        }
    }

    #[test]
    fn a_block_that_does_not_open_is_not_written() {
        let (share, _) = layout(&ShareKey::new([1; 32]), "share", &[(vec!["a".to_owned()], 100)]).unwrap();
        let file = tempfile::tempfile().unwrap();
        let error = FileForm::new(Some(&share.files[0])).write(&file, 0, &[7; 116]).unwrap_err();
        assert!(error.to_string().contains("block 0 does not open"), "{error}");
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
