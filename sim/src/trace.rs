//! The hash of a run: every event that happened, in order. Two runs are the same run if their hashes are.
//! Must never depend on an address, a hasher's seed or the time of day.

use kollator_core::machine::Instant;
use kollator_core::node::front::FrontInput;

/// FNV-1a over 64-bit words.
pub(crate) struct Trace(u64);

impl Trace {
    pub(crate) const fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    pub(crate) const fn value(&self) -> u64 {
        self.0
    }

    pub(crate) fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01B3);
        self.0 ^= self.0 >> 29;
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.word(u64::from(*byte));
        }
    }

    /// Something that happened at `at` to the `node`th machine.
    pub(crate) fn step(&mut self, at: Instant, node: usize) {
        self.word(at.as_nanos());
        self.word(node as u64);
    }

    /// What a front is told.
    pub(crate) fn front(&mut self, input: &FrontInput) {
        match input {
            FrontInput::Wake => self.word(1),
            FrontInput::Message { client, text } => {
                self.word(client.0);
                self.bytes(text);
            }
            FrontInput::PeerMessage { front, data } => {
                self.word(u64::from(front.0));
                self.bytes(data);
            }
            other => self.text(other),
        }
    }

    /// Small things, by their debug text.
    pub(crate) fn text(&mut self, thing: &impl std::fmt::Debug) {
        self.bytes(format!("{thing:?}").as_bytes());
    }
}
