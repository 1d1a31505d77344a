//! A signal arrives once, at the one it was for, in the name of the one who sent it, and in order along a path.

use std::collections::BTreeMap;

use kollator_core::id::PeerId;
use kollator_core::machine::Instant;

use super::{Fact, Oracle};

#[derive(Debug)]
struct Sent {
    from: PeerId,
    to: PeerId,
    conn: Option<u64>,
    arrived: bool,
}

#[derive(Default)]
pub(super) struct Delivery {
    sent: BTreeMap<u64, Sent>,
    /// The newest signal that went from one connection to another.
    newest: BTreeMap<(Option<u64>, Option<u64>), u64>,
}

impl Oracle for Delivery {
    fn name(&self) -> &'static str {
        "delivery"
    }

    fn observe(&mut self, _: Instant, _: usize, fact: &Fact<'_>) -> Result<(), String> {
        match *fact {
            Fact::Signalled { number, from, to, conn } => {
                self.sent.insert(number, Sent { from, to, conn, arrived: false });
            }
            Fact::Got { number, from, me, conn } => {
                let sent = self.sent.get_mut(&number).ok_or("handed over a signal that nobody sent")?;
                if sent.to != me {
                    return Err(format!("signal {number} arrived at another than it was for"));
                }
                if sent.from != from {
                    return Err(format!("signal {number} arrived in a wrong name"));
                }
                if std::mem::replace(&mut sent.arrived, true) {
                    return Err(format!("signal {number} arrived twice"));
                }
                let newest = self.newest.entry((sent.conn, conn)).or_default();
                if *newest > number {
                    return Err(format!("signal {number} arrived after {newest}, which was sent later"));
                }
                *newest = number;
            }
            _ => {}
        }
        Ok(())
    }
}
