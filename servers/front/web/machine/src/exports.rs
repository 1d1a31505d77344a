//! The module's exports: numbers in, numbers out, around a [`Boundary`]. A module has one thread and one machine, so its
//! state is the thread's. Nothing here decides anything.

use std::cell::{Cell, RefCell};
use std::panic::{self, PanicHookInfo};
use std::ptr;
use std::sync::Once;

use bytes::Bytes;

use crate::Boundary;

/// Most bytes in an input. The largest that makes sense is a `.ko` (32 MiB), or the hashes of what a disk holds.
const MAX_INPUT: usize = 128 << 20;

static HOOK: Once = Once::new();

thread_local! {
    static BOUNDARY: RefCell<Boundary> = RefCell::default();
    /// Room that the host fills.
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The last error.
    static ERROR: RefCell<String> = const { RefCell::new(String::new()) };
    /// Where the host finds what it was last told of.
    static OUTPUT: Cell<*const u8> = const { Cell::new(ptr::null()) };
    /// What the module died of; what a host does to it afterwards does not count.
    static PANIC: Cell<&'static str> = const { Cell::new("") };
}

/// Room for an input of so many bytes: the host writes there, then gives it to one other export. 0: it is too long.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn reserve(len: usize) -> *mut u8 {
    HOOK.call_once(|| panic::set_hook(Box::new(keep_message)));
    if len > MAX_INPUT {
        return ptr::null_mut();
    }
    INPUT.with_borrow_mut(|input| {
        *input = vec![0; len];
        input.as_mut_ptr()
    })
}

/// Starts the machine: see [`Boundary::start`]. 0: done; else the length of an error text at [`output`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn start(len: usize) -> usize {
    let config = take(len);
    done(config.and_then(|config| BOUNDARY.with_borrow_mut(|boundary| boundary.start(&config))))
}

/// Tells the machine what happened: see [`Boundary::handle`]. 0: done; else the length of an error text at [`output`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn handle(now_ms: f64, header_len: usize, total_len: usize) -> usize {
    let input = take(total_len);
    done(input.and_then(|input| BOUNDARY.with_borrow_mut(|boundary| boundary.handle(now_ms, &input, header_len))))
}

/// The next output: its length, at [`output`]; 0: there is none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn poll() -> usize {
    BOUNDARY.with_borrow_mut(|boundary| boundary.poll().map_or(0, show))
}

/// Answers a question: the length of the answer, at [`output`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn call(header_len: usize, total_len: usize) -> usize {
    match take(total_len) {
        Ok(input) => BOUNDARY.with_borrow_mut(|boundary| show(boundary.call(&input, header_len))),
        Err(error) => done(Err(error)),
    }
}

/// Where the last output, answer or error text is, until the next call of anything.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn output() -> *const u8 {
    OUTPUT.get()
}

/// When to give the input `wake`: milliseconds since the start; -1: never.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn next_wake() -> f64 {
    BOUNDARY.with_borrow(|boundary| boundary.next_wake().unwrap_or(-1.0))
}

/// After a trap: the length of a text, at [`output`], that says what the module died of; 0 if nobody knows.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn panic_message() -> usize {
    show(PANIC.get().as_bytes())
}

/// The module can print nothing, so whoever wants to know what it died of asks for it.
fn keep_message(info: &PanicHookInfo<'_>) {
    if PANIC.get().is_empty() {
        PANIC.set(info.to_string().leak());
    }
}

/// What the host wrote into the room it reserved, which must have been this long. Copies nothing.
fn take(len: usize) -> Result<Bytes, String> {
    let input = INPUT.take();
    if input.len() != len {
        return Err(format!("{} bytes were reserved for the input, and {len} are given", input.len()));
    }
    Ok(Bytes::from(input))
}

fn done(result: Result<(), String>) -> usize {
    let Err(message) = result else { return 0 };
    ERROR.with_borrow_mut(|error| {
        *error = message;
        show(error.as_bytes())
    })
}

fn show(bytes: &[u8]) -> usize {
    OUTPUT.set(bytes.as_ptr());
    bytes.len()
}
