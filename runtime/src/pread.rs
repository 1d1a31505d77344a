//! Positioned reads into fresh memory, which is not filled with zeros first.

use std::fs::File;
use std::io;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

/// The `length` bytes of `file` from `offset` on.
///
/// # Errors
/// What the disk says; `UnexpectedEof` if the file is too short.
pub(crate) fn read_exact_at(file: &File, length: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut data = Vec::with_capacity(length);
    while data.len() < length {
        let at = offset + data.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut data), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The allocator may have given more room than was asked for.
    data.truncate(length);
    Ok(data)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn exactly_what_was_asked_for_or_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        let data: Vec<u8> = (0..100_000u32).map(|n| (n * 7 % 251) as u8).collect();
        file.write_all(&data).unwrap();
        for (offset, length) in [(0, 100_000), (1, 99_999), (5_000, 1), (99_999, 1), (100_000, 0)] {
            let read = read_exact_at(&file, length, offset as u64).unwrap();
            assert_eq!(read, data[offset..offset + length]);
        }
        for (offset, length) in [(0, 100_001), (100_000, 1), (200_000, 5)] {
            let error = read_exact_at(&file, length, offset).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
