//! One session with a front: opened from an address of its own, welcomed, written to. And what keeps thousands of them
//! busy at an even pace.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use kollator_core::id::PeerId;
use kollator_core::wire::signal::{Bootstrap, FromFront, Role, ToFront, VERSION};
use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::socket::{Reader, Writer, connect};

/// Longest wait for one session to be open and welcomed.
const WELCOME_WITHIN: Duration = Duration::from_secs(20);
/// What is due is looked for this often.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// A welcomed session's way to its front.
pub(super) struct Session {
    /// Its peer id as text.
    pub(super) name: String,
    /// Which front it is connected to.
    pub(super) front: usize,
    writer: Mutex<Writer>,
}

impl Session {
    pub(super) async fn send(&self, text: &str) -> anyhow::Result<()> {
        let sent = self.writer.lock().await.send(text).await;
        sent.context("a front does not take what is sent to it")
    }
}

/// A session that has just been welcomed.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) reader: Reader,
    /// When its hello was sent.
    pub(super) said_hello: Instant,
    pub(super) welcome: Bootstrap,
}

/// Opens a session of this name and role with one of the fronts, from the address `source`.
pub(super) async fn open(
    fronts: &[SocketAddrV4],
    front: usize,
    source: Ipv4Addr,
    id: PeerId,
    role: Role,
) -> anyhow::Result<Opened> {
    let opening = async {
        let (mut reader, mut writer) = connect(fronts[front], source).await?;
        let hello = ToFront::Hello { version: VERSION, id, role }.to_text();
        let said_hello = Instant::now();
        writer.send(&hello).await?;
        match FromFront::parse(&reader.next().await?)? {
            FromFront::Welcome(welcome) => {
                let session = Session { name: id.to_string(), front, writer: writer.into() };
                Ok(Opened { session, reader, said_hello, welcome })
            }
            other => bail!("expected a welcome, not {other:?}"),
        }
    };
    timeout(WELCOME_WITHIN, opening)
        .await
        .unwrap_or_else(|_| bail!("no welcome within {} s", WELCOME_WITHIN.as_secs()))
        .with_context(|| format!("a session from {source} to {}", fronts[front]))
}

/// 127.0.0.2 and those that follow it.
pub(super) fn source_address(index: usize) -> anyhow::Result<Ipv4Addr> {
    let bits =
        u32::try_from(index).ok().and_then(|index| Ipv4Addr::new(127, 0, 0, 2).to_bits().checked_add(index));
    let address = bits.map(Ipv4Addr::from_bits).filter(Ipv4Addr::is_loopback);
    address.context("there are not so many loopback addresses; put more sessions on each")
}

/// So many turns a second, evenly, for so long.
pub(super) struct Pace {
    ticks: Interval,
    begun: Instant,
    a_second: f64,
    length: Duration,
    taken: usize,
}

impl Pace {
    pub(super) fn new(a_second: f64, length: Duration) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self { ticks, begun: Instant::now(), a_second, length, taken: 0 }
    }

    /// Waits for the next turn: which it is, from 0. `None` when the time is over. Cancel safe.
    pub(super) async fn turn(&mut self) -> Option<usize> {
        loop {
            let passed = self.begun.elapsed();
            if passed >= self.length {
                return None;
            }
            let turn = self.taken;
            if (turn as f64) < passed.as_secs_f64() * self.a_second {
                self.taken += 1;
                return Some(turn);
            }
            self.ticks.tick().await;
        }
    }
}
