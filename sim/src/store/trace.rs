//! What of an output goes into the hash of a run.

use kollator_core::store::{Answer, Effect, Output, PartData};

use crate::trace::Trace;

impl Trace {
    pub(super) fn said(&mut self, output: &Output) {
        match output {
            Output::Effect(Effect::CacheWrite { ticket, chunk }) => {
                self.word(1);
                self.word(ticket.0);
                self.bytes(chunk.data());
            }
            Output::Effect(Effect::PutChunk { ticket, chunk }) => {
                self.word(2);
                self.word(ticket.0);
                self.bytes(chunk.data());
            }
            Output::Answer(Answer::Data { ticket, result: Ok(PartData::Blocks(data)) }) => {
                self.word(3);
                self.word(ticket.0);
                self.bytes(data);
            }
            other => self.text(other),
        }
    }
}
