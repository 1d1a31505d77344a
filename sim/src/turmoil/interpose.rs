//! The operating system's randomness and clocks, replaced at link time for threads that ask for it.
//!
//! turmoil seeds its own choices, but a WebRTC stack asks the operating system: `ring` for entropy by a raw
//! system call, DTLS for the calendar. These definitions of libc's functions win over libc's in whatever binary
//! this crate is linked into, which is tests alone. A thread that has not called [`enter`] gets the real thing,
//! by system call. Linux on x86-64 and 64-bit ARM; elsewhere runs work but do not repeat.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use kollator_core::machine::Rng;

/// The calendar's time at which every run begins, 2026-01-01, in nanoseconds since 1970.
pub const EPOCH_NANOS: u64 = 1_767_225_600 * NANOS;
const NANOS: u64 = 1_000_000_000;
/// The monotonic clock's value at which every run begins: far from zero, so that what is subtracted fits.
const START_NANOS: u64 = 1_000_000 * NANOS;

thread_local! {
    static RNG: RefCell<Option<Rng>> = const { RefCell::new(None) };
    /// The last value of the thread's monotonic clock, in nanoseconds.
    static CLOCK: Cell<Option<u64>> = const { Cell::new(None) };
    /// What the monotonic clock said when it began.
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Ends the replacement for this thread when dropped.
#[derive(Debug)]
pub struct Seeded(());

/// From now on this thread's randomness comes from `seed` and its clocks from tokio's.
///
/// # Panics
/// Inside a tokio runtime: its clock has begun already.
#[must_use]
pub fn enter(seed: u64) -> Seeded {
    assert!(tokio::runtime::Handle::try_current().is_err(), "a seeded thread begins outside tokio");
    RNG.set(Some(Rng::new(seed)));
    CLOCK.set(Some(START_NANOS));
    START.set(Some(Instant::now()));
    Seeded(())
}

impl Drop for Seeded {
    fn drop(&mut self) {
        RNG.set(None);
        CLOCK.set(None);
    }
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod overrides {
    use std::cell::Cell;
    use std::time::Duration;

    use super::{CLOCK, EPOCH_NANOS, NANOS, RNG, START, START_NANOS};

    /// Fills `buf` from the thread's seed; `false` if it has none.
    ///
    /// # Safety
    /// `buf` must be valid for writing `len` bytes.
    unsafe fn fill(buf: *mut u8, len: usize) -> bool {
        let filled = RNG.try_with(|rng| {
            let Ok(mut rng) = rng.try_borrow_mut() else { return false };
            let Some(rng) = rng.as_mut() else { return false };
            let mut done = 0;
            while done < len {
                let bytes = rng.next_u64().to_ne_bytes();
                let count = bytes.len().min(len - done);
                // SAFETY: the caller vouches for `len` bytes, and `done + count <= len`.
                unsafe { buf.add(done).copy_from_nonoverlapping(bytes.as_ptr(), count) };
                done += count;
            }
            true
        });
        filled.unwrap_or(false)
    }

    /// The system call `number`, with errno set as libc does.
    ///
    /// # Safety
    /// As the system call demands.
    unsafe fn system(number: i64, args: [i64; 6]) -> i64 {
        let result: i64;
        // SAFETY: the kernel's calling convention; the rest is the caller's promise.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::asm!(
                "syscall",
                inlateout("rax") number => result,
                in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
                in("r10") args[3], in("r8") args[4], in("r9") args[5],
                lateout("rcx") _, lateout("r11") _, options(nostack),
            );
        }
        // SAFETY: the kernel's calling convention; the rest is the caller's promise.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            std::arch::asm!(
                "svc 0",
                in("x8") number, inlateout("x0") args[0] => result,
                in("x1") args[1], in("x2") args[2], in("x3") args[3],
                in("x4") args[4], in("x5") args[5], options(nostack),
            );
        }
        if (-4095..0).contains(&result) {
            // SAFETY: libc's errno is always writable by its own thread.
            unsafe { *libc::__errno_location() = -result as i32 };
            -1
        } else {
            result
        }
    }

    // SAFETY: signature and meaning of getrandom(2).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn getrandom(buf: *mut u8, len: usize, flags: u32) -> isize {
        // SAFETY: the caller vouches for the buffer, as getrandom(2) demands.
        unsafe {
            if fill(buf, len) {
                return len as isize;
            }
            system(libc::SYS_getrandom, [buf as i64, len as i64, i64::from(flags), 0, 0, 0]) as isize
        }
    }

    // SAFETY: signature and meaning of getentropy(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn getentropy(buf: *mut u8, len: usize) -> i32 {
        // SAFETY: the caller vouches for the buffer, as getentropy(3) demands.
        let filled = len <= 256 && unsafe { getrandom(buf, len, 0) } == len as isize;
        if filled { 0 } else { -1 }
    }

    // SAFETY: libc's is variadic; on these architectures a variadic function finds up to six integers where
    // this one does.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn syscall(number: i64, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64) -> i64 {
        // SAFETY: the caller vouches for the arguments, as syscall(2) demands.
        unsafe {
            if number == libc::SYS_getrandom && fill(a as *mut u8, b as usize) {
                return b;
            }
            system(number, [a, b, c, d, e, f])
        }
    }

    // SAFETY: signature and meaning of clock_gettime(2).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn clock_gettime(id: libc::clockid_t, at: *mut libc::timespec) -> i32 {
        let nanos = match id {
            libc::CLOCK_THREAD_CPUTIME_ID | libc::CLOCK_PROCESS_CPUTIME_ID => None,
            libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => {
                monotonic().map(|nanos| nanos - START_NANOS + EPOCH_NANOS)
            }
            _ => monotonic(),
        };
        let Some(nanos) = nanos else {
            // SAFETY: the caller vouches for `at`, as clock_gettime(2) demands.
            return unsafe { system(libc::SYS_clock_gettime, [i64::from(id), at as i64, 0, 0, 0, 0]) as i32 };
        };
        let time = libc::timespec { tv_sec: (nanos / NANOS) as i64, tv_nsec: (nanos % NANOS) as i64 };
        // SAFETY: the caller vouches for `at`, as clock_gettime(2) demands.
        unsafe { at.write(time) };
        0
    }

    // SAFETY: signature and meaning of bind(2).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn bind(fd: i32, addr: *const libc::sockaddr, len: libc::socklen_t) -> i32 {
        // The WebRTC stack binds a socket for a moment before it is replaced. The address is the simulated
        // host's, so simulations that run side by side would collide.
        if CLOCK.try_with(|clock| clock.get().is_some()).unwrap_or(false) {
            let on: i32 = 1;
            let size = size_of::<i32>() as libc::socklen_t;
            // SAFETY: `on` outlives the call and has the size given.
            unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, (&raw const on).cast(), size) };
        }
        // SAFETY: the caller vouches for the arguments, as bind(2) demands.
        unsafe { system(libc::SYS_bind, [i64::from(fd), addr as i64, i64::from(len), 0, 0, 0]) as i32 }
    }

    /// The thread's own monotonic clock: tokio's, where tokio runs, and otherwise the last value it had.
    fn monotonic() -> Option<u64> {
        // Taken out meanwhile: a clock that is not paused would ask the system, which must not end here again.
        let last = CLOCK.try_with(Cell::take).ok().flatten()?;
        let elapsed = match (START.get(), tokio::runtime::Handle::try_current()) {
            (Some(start), Ok(_)) => tokio::time::Instant::now().into_std().saturating_duration_since(start),
            _ => Duration::ZERO,
        };
        let nanos = (START_NANOS + elapsed.as_nanos() as u64).max(last);
        CLOCK.set(Some(nanos));
        Some(nanos)
    }
}
