//! What of an event goes into the hash of a run.

use kollator_core::node::front::FrontInput;

use crate::trace::Trace;

impl Trace {
    pub(super) fn heard(&mut self, input: &FrontInput) {
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
}
