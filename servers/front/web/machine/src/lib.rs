//! A peer's machine as a WebAssembly module.

mod boundary;
mod calls;
#[cfg(target_arch = "wasm32")]
mod exports;
mod inputs;
mod outputs;
mod sealing;

pub use boundary::Boundary;
