//! Hashing on several cores: numbered jobs, a reused buffer for each thread, results in order.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use kollator_core::id::Digest;
use kollator_core::merkle::{BLOCK_LEN, leaves};

use super::form::FileForm;

/// Bytes read at once: small enough to be hashed while they are still in the core's cache.
const READ: usize = 4 * BLOCK_LEN as usize;

/// A thread's buffer.
pub(super) struct Buffer(Vec<u8>);

impl Default for Buffer {
    fn default() -> Self {
        Self(vec![0; READ])
    }
}

impl Buffer {
    /// Leaf hashes of `length` bytes that the share has of `file` from `offset` on, which must be the start of a
    /// block. Tells `progress` of bytes as they are hashed.
    pub(super) fn hash(
        &mut self,
        form: FileForm<'_>,
        file: &File,
        mut offset: u64,
        length: u32,
        progress: impl Fn(u64),
    ) -> io::Result<Vec<Digest>> {
        let mut hashes = Vec::with_capacity(length.div_ceil(BLOCK_LEN) as usize);
        let mut left = length as usize;
        while left > 0 {
            let part = &mut self.0[..left.min(READ)];
            form.read_into(file, offset, part)?;
            hashes.extend(leaves(part));
            left -= part.len();
            offset += part.len() as u64;
            progress(part.len() as u64);
        }
        Ok(hashes)
    }
}

/// Runs `job` for every number below `count` on up to `threads` threads, each with its own `S`; the results in
/// order. After an error no further job is begun.
///
/// # Errors
/// One of the jobs' errors.
pub(super) fn run<S: Default, T: Send, E: Send>(
    count: usize,
    threads: usize,
    job: impl Fn(&mut S, usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let stopped = AtomicBool::new(false);
    let work = || {
        let mut state = S::default();
        let mut done = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            match job(&mut state, number) {
                Ok(result) => done.push((number, result)),
                Err(error) => {
                    stopped.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(done)
    };
    let helpers = threads.min(count).saturating_sub(1);
    let parts = thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = helpers.into_iter().map(|helper| match helper.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        [own].into_iter().chain(others).collect::<Result<Vec<_>, E>>()
    })?;
    let mut results: Vec<_> = parts.into_iter().flatten().collect();
    results.sort_unstable_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_on_any_number_of_threads() {
        for threads in [0, 1, 2, 7, 300] {
            let squares = run(200, threads, |(): &mut (), n| Ok::<_, ()>(n * n));
            assert_eq!(squares, Ok((0..200).map(|n| n * n).collect()));
        }
        assert_eq!(run(0, 4, |(): &mut (), _| Ok::<_, ()>(())), Ok(vec![]));
    }

    #[test]
    fn an_error_ends_the_work() {
        let begun = AtomicUsize::new(0);
        let result = run(1_000_000, 2, |(): &mut (), n| {
            begun.fetch_add(1, Ordering::Relaxed);
            if n == 10 { Err(n) } else { Ok(()) }
        });
        assert_eq!(result, Err(10));
        assert!(begun.into_inner() < 1_000_000);
    }

    #[test]
    fn parts_are_hashed_as_the_whole_is() {
        let data: Vec<u8> = (0..3 * READ + 5).map(|n| (n * 7 % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &data).unwrap();
        let told = AtomicUsize::new(0);
        let progress = |bytes| _ = told.fetch_add(bytes as usize, Ordering::Relaxed);
        let start = BLOCK_LEN as usize;
        let length = data.len() - start;
        let form = FileForm::new(None);
        let hashes = Buffer::default().hash(form, &file, start as u64, length as u32, progress).unwrap();
        assert_eq!(hashes, leaves(&data[start..]));
        assert_eq!(told.into_inner(), length);
        let short = Buffer::default().hash(form, &file, start as u64, length as u32 + 1, |_| {});
        assert!(short.is_err(), "a short read");
    }
}
