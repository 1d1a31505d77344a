//! Offers and answers between random sessions, at a fixed rate or as many as fit in flight. Knows whom each message
//! was for: one that reaches another session, or comes back changed, is an error.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use kollator_core::machine::Rng;
use kollator_core::wire::signal::{FromFront, Signal};
use kollator_runtime::node::random_seed;
use serde_json::json;
use tokio::time::sleep;

use super::session::{Pace, Session, TICK};
use super::socket::Reader;

/// Longest wait for what is under way when a phase ends.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// The sessions and what is under way between them.
pub(super) struct Exchanges {
    sessions: Vec<Session>,
    sdp: String,
    wire: Wire,
    book: Mutex<Book>,
}

/// What is under way, and what came of it in this phase.
struct Book {
    rng: Rng,
    next: u32,
    open: HashMap<u32, Exchange>,
    /// Whether each exchange that ends is followed by another.
    flooding: bool,
    result: Outcome,
}

struct Exchange {
    from: usize,
    to: usize,
    sent: Instant,
}

/// What came of the exchanges of one phase.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Offers and answers that arrived.
    pub(super) relayed: u64,
    /// Exchanges that the front said it could not bring to the other session.
    pub(super) unreachable: u64,
    /// Exchanges of which nothing more was heard.
    pub(super) lost: u64,
    /// From sending an offer to its arrival, between sessions on one front.
    pub(super) inside: Vec<Duration>,
    /// The same between sessions on two fronts.
    pub(super) across: Vec<Duration>,
}

impl Exchanges {
    pub(super) fn new(sessions: Vec<Session>, sdp_bytes: usize) -> Self {
        let book = Book {
            rng: Rng::new(random_seed()),
            next: 0,
            open: HashMap::new(),
            flooding: false,
            result: Outcome::default(),
        };
        let sdp = description(sdp_bytes);
        Self { sessions, wire: Wire::new(&sdp), sdp, book: Mutex::new(book) }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn session(&self, index: usize) -> &Session {
        &self.sessions[index]
    }

    /// How many sessions each front has.
    pub(super) fn sessions_by_front(&self, fronts: usize) -> Vec<usize> {
        (0..fronts).map(|front| self.sessions.iter().filter(|session| session.front == front).count()).collect()
    }

    /// Begins so many exchanges a second between random pairs.
    pub(super) async fn steadily(&self, a_second: u32, length: Duration) -> anyhow::Result<Outcome> {
        self.book().result = Outcome::default();
        let mut pace = Pace::new(f64::from(a_second), length);
        while pace.turn().await.is_some() {
            self.offer().await?;
        }
        Ok(self.finish().await)
    }

    /// Keeps so many exchanges under way. What arrives after `length` does not count.
    pub(super) async fn flood(&self, in_flight: usize, length: Duration) -> anyhow::Result<Outcome> {
        {
            let mut book = self.book();
            book.result = Outcome::default();
            book.flooding = true;
        }
        for _ in 0..in_flight {
            self.offer().await?;
        }
        sleep(length).await;
        let result = {
            let mut book = self.book();
            book.flooding = false;
            book.result.clone()
        };
        let lost = self.finish().await.lost;
        Ok(Outcome { lost, ..result })
    }

    /// Waits for what is under way. What does not come is lost.
    async fn finish(&self) -> Outcome {
        let begun = Instant::now();
        while !self.book().open.is_empty() && begun.elapsed() < LAST_ANSWERS_WITHIN {
            sleep(10 * TICK).await;
        }
        let mut book = self.book();
        let lost = book.open.drain().count() as u64;
        Outcome { lost, ..std::mem::take(&mut book.result) }
    }

    async fn offer(&self) -> anyhow::Result<()> {
        let (number, from, to) = {
            let mut book = self.book();
            let count = self.sessions.len() as u64;
            let from = book.rng.below(count);
            let to = (from + 1 + book.rng.below(count - 1)) % count;
            book.next += 1;
            (book.next, from as usize, to as usize)
        };
        let text = Wire::signal(&self.sessions[to].name, number, &self.wire.offer);
        self.book().open.insert(number, Exchange { from, to, sent: Instant::now() });
        self.sessions[from].send(&text).await
    }

    /// Answers what session `index` is offered, and takes in what it is answered.
    pub(super) async fn serve(&self, index: usize, mut reader: Reader) -> anyhow::Result<Infallible> {
        loop {
            let text = reader.next().await.with_context(|| format!("session {index}"))?;
            if let Some((from, number)) = Wire::read(&text, &self.wire.offer) {
                self.offered(index, number)?;
                self.sessions[index].send(&Wire::signal(from, number, &self.wire.answer)).await?;
                continue;
            }
            if let Some((_, number)) = Wire::read(&text, &self.wire.answer) {
                if self.ended(index, number, 1)? {
                    self.offer().await?;
                }
                continue;
            }
            match FromFront::parse(&text).context("a front sent what it must not")? {
                FromFront::Signal { from, session, body: Signal::Offer { sdp } } => {
                    ensure!(sdp == self.sdp, "an offer arrived changed");
                    self.offered(index, session)?;
                    let answer = Wire::signal(&from.to_string(), session, &self.wire.answer);
                    self.sessions[index].send(&answer).await?;
                }
                FromFront::Signal { session, body: Signal::Answer { sdp }, .. } => {
                    ensure!(sdp == self.sdp, "an answer arrived changed");
                    if self.ended(index, session, 1)? {
                        self.offer().await?;
                    }
                }
                FromFront::Signal { session, body: Signal::Unreachable {}, .. } => {
                    if self.ended(index, session, 0)? {
                        self.offer().await?;
                    }
                }
                FromFront::Pong {} | FromFront::Assign { .. } => {}
                FromFront::Error { code, message } => {
                    bail!("a front refused what session {index} sent: {code:?}, {message}");
                }
                other => bail!("session {index} did not ask for {other:?}"),
            }
        }
    }

    fn offered(&self, index: usize, number: u32) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut book = self.book();
        // One that was given up may still come.
        let Some(exchange) = book.open.get(&number) else { return Ok(()) };
        ensure!(exchange.to == index, "session {index} got what was for session {}", exchange.to);
        let took = now - exchange.sent;
        let across = self.sessions[exchange.from].front != self.sessions[exchange.to].front;
        book.result.relayed += 1;
        if across { &mut book.result.across } else { &mut book.result.inside }.push(took);
        Ok(())
    }

    /// An exchange is over, with so many more messages relayed; whether another is to begin.
    fn ended(&self, index: usize, number: u32, relayed: u64) -> anyhow::Result<bool> {
        let mut book = self.book();
        let Some(exchange) = book.open.get(&number) else { return Ok(false) };
        let ends = if relayed > 0 { vec![exchange.from] } else { vec![exchange.from, exchange.to] };
        ensure!(ends.contains(&index), "session {index} got what was for session {}", exchange.from);
        book.open.remove(&number);
        book.result.relayed += relayed;
        book.result.unreachable += u64::from(relayed == 0);
        Ok(book.flooding)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no holder of this lock can panic")
    }
}

/// Signals as text, without serde: what the load costs itself must not slow the fronts down.
struct Wire {
    /// What follows the number in an offer.
    offer: String,
    /// The same in an answer.
    answer: String,
}

impl Wire {
    fn new(sdp: &str) -> Self {
        let tail = |kind: &str| format!(",{}", &json!({"body": {"kind": kind, "sdp": sdp}}).to_string()[1..]);
        Self { offer: tail("offer"), answer: tail("answer") }
    }

    fn signal(to: &str, number: u32, tail: &str) -> String {
        format!(r#"{{"type":"signal","to":"{to}","session":{number}{tail}"#)
    }

    /// From whom, and the number, if this is a front's usual text of a signal that ends so.
    fn read<'a>(text: &'a [u8], tail: &str) -> Option<(&'a str, u32)> {
        let head = str::from_utf8(text.strip_suffix(tail.as_bytes())?).ok()?;
        let (from, number) = head.strip_prefix(r#"{"type":"signal","from":""#)?.split_once(r#"","session":"#)?;
        Some((from, number.parse().ok()?))
    }
}

/// Text of so many bytes that looks like a session description: lines of candidates, with the line ends that JSON has
/// to escape.
fn description(bytes: usize) -> String {
    const HEAD: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
                        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n";
    const CANDIDATE: &str = "a=candidate:2530867371 1 udp 2113937151 192.0.2.17 51472 typ host generation 0\r\n";
    let mut text: String =
        std::iter::once(HEAD).chain(std::iter::repeat_n(CANDIDATE, bytes / CANDIDATE.len() + 1)).collect();
    text.truncate(bytes);
    text
}

#[cfg(test)]
mod tests {
    use kollator_core::id::{Digest, PeerId};
    use kollator_core::wire::signal::ToFront;

    use super::*;

    #[test]
    fn texts_are_those_of_the_protocol() {
        let (sdp, id) = (description(1200), PeerId(Digest([0xab; 32])));
        assert_eq!(sdp.len(), 1200);
        let wire = Wire::new(&sdp);
        let answer = Wire::signal(&id.to_string(), 7, &wire.answer);
        let body = Signal::Answer { sdp: sdp.clone() };
        assert_eq!(ToFront::parse(answer.as_bytes()), Ok(ToFront::Signal { to: id, session: 7, body }));
        let offer = FromFront::Signal { from: id, session: 9, body: Signal::Offer { sdp } }.to_text();
        assert_eq!(Wire::read(offer.as_bytes(), &wire.offer), Some((id.to_string().as_str(), 9)));
        assert_eq!(Wire::read(offer.as_bytes(), &wire.answer), None);
        let changed = offer.replace("candidate", "kandidate");
        assert_eq!(Wire::read(changed.as_bytes(), &wire.offer), None);
    }
}
