//! Workers that ask each other for chunks. A question and its answer take the network's time each, and are lost where
//! there is no way; who asks gives up after a while. What a lying worker sends is noticed, as production notices it.

use std::time::Duration;

use bytes::BytesMut;
use kollator_core::id::ChunkId;
use kollator_core::merkle::VerifiedChunk;
use kollator_core::node::io::{DiskError, Ticket};
use kollator_core::node::worker::{Ask, AskError, AskId, MAX_ASK_BLOCKS, Told, WorkerInput};
use kollator_core::store::{Home, HomeAnswer, StoreError};

use super::{Event, FaultKind, Input, World};

/// How long who asks waits.
const PATIENCE: Duration = Duration::from_millis(500);

/// A question on its way.
#[derive(Debug)]
pub(super) struct Question {
    asker: usize,
    life: u32,
    ticket: Ticket,
    chunk: ChunkId,
    home: usize,
    data: BytesMut,
}

/// What happens to a question.
#[derive(Debug)]
pub(super) enum Step {
    /// It comes to the home.
    Arrive(AskId),
    /// The answer comes back.
    Answer(AskId, HomeAnswer),
    /// Patience ends.
    GiveUp(AskId),
}

impl World {
    pub(super) fn ask_home(&mut self, node: usize, ticket: Ticket, chunk: ChunkId, home: &Home) {
        let number = home.name.strip_prefix("worker-").and_then(|number| number.parse().ok());
        let home = number.expect("workers are called by their number");
        let id = AskId(self.next_question);
        self.next_question += 1;
        let life = self.nodes[node].life;
        let question = Question { asker: node, life, ticket, chunk, home, data: BytesMut::new() };
        self.questions.insert(id, question);
        let wait = self.latency();
        self.after(wait, Event::Home(Step::Arrive(id)));
        self.after(PATIENCE, Event::Home(Step::GiveUp(id)));
    }

    pub(super) fn home_step(&mut self, step: Step) {
        match step {
            Step::Arrive(id) => self.ask_on(id),
            Step::GiveUp(id) => self.home_answers(id, failed("no answer in time")),
            Step::Answer(id, answer) => self.home_answers(id, answer),
        }
    }

    /// A worker answers what another asked.
    pub(super) fn told(&mut self, id: AskId, result: Result<Told, AskError>) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        let (chunk, home, asker) = (question.chunk, question.home, question.asker);
        let answer = match result {
            Ok(Told::Blocks(data)) => {
                question.data.extend_from_slice(&data);
                if (question.data.len() as u64) < u64::from(chunk.length()) {
                    return self.ask_on(id);
                }
                let mut data = std::mem::take(&mut question.data);
                if self.truth.nodes[home].liar && self.lies(FaultKind::LieHome) {
                    data[0] ^= 1;
                }
                match VerifiedChunk::verify(chunk, data.freeze()) {
                    Some(chunk) => HomeAnswer::Chunk(chunk),
                    None => HomeAnswer::Lie(DiskError("other bytes".into())),
                }
            }
            Ok(other) => panic!("blocks were asked for, not {other:?}"),
            Err(AskError::Store(StoreError::NotFound | StoreError::Failed(_))) => HomeAnswer::NotThere,
            Err(_) => HomeAnswer::Busy,
        };
        if self.net.reaches(home, asker) {
            let wait = self.latency();
            self.after(wait, Event::Home(Step::Answer(id, answer)));
        }
    }

    /// Asks the home for what is not there yet.
    fn ask_on(&mut self, id: AskId) {
        let Some(question) = self.questions.get(&id) else { return };
        let (asker, home, chunk) = (question.asker, question.home, question.chunk);
        if !self.net.reaches(asker, home) {
            return;
        }
        if !self.nodes[home].up() {
            let wait = self.latency();
            return self.after(wait, Event::Home(Step::Answer(id, failed("connection refused"))));
        }
        let first = (question.data.len() / 16_384) as u16;
        let count = (chunk.blocks() - first).min(MAX_ASK_BLOCKS);
        let ask = Ask::BlocksForWorker { chunk, first, count };
        self.hear(home, Input::Worker(WorkerInput::Ask { id, ask }));
    }

    fn home_answers(&mut self, id: AskId, answer: HomeAnswer) {
        let Some(question) = self.questions.remove(&id) else { return };
        if self.nodes[question.asker].life == question.life {
            let ticket = question.ticket;
            self.hear(question.asker, Input::Worker(WorkerInput::HomeAnswered { ticket, answer }));
        }
    }
}

fn failed(why: &str) -> HomeAnswer {
    HomeAnswer::Failed(DiskError(why.into()))
}
