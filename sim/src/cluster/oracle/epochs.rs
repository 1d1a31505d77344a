//! An epoch is published by the leader of its term, is one and the same everywhere, and is followed only by newer
//! ones.

use std::collections::BTreeMap;

use kollator_core::cluster::epoch::{Epoch, EpochNumber};
use kollator_core::cluster::saved::Saved;
use kollator_core::machine::Instant;
use kollator_core::node::front::{FrontEvent, FrontOutput, Role};

use super::{Fact, Oracle};

#[derive(Default)]
pub(super) struct Epochs {
    leaders: BTreeMap<u64, usize>,
    published: BTreeMap<EpochNumber, Epoch>,
    /// The epoch of each front in this life.
    current: BTreeMap<usize, EpochNumber>,
}

impl Oracle for Epochs {
    fn name(&self) -> &'static str {
        "epochs"
    }

    fn observe(&mut self, _: Instant, front: usize, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Started => _ = self.current.remove(&front),
            Fact::Said(FrontOutput::Event(FrontEvent::Standing { role: Role::Leader, term, .. })) => {
                self.leaders.insert(*term, front);
            }
            Fact::Said(FrontOutput::Save(saved)) => {
                for saved in saved {
                    if let Saved::Epoch(epoch) = saved {
                        self.takes(front, epoch)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Epochs {
    fn takes(&mut self, front: usize, epoch: &Epoch) -> Result<(), String> {
        let number = epoch.number;
        if self.current.get(&front).is_some_and(|current| *current >= number) {
            return Err(format!("went from epoch {:?} to {number:?}", self.current[&front]));
        }
        self.current.insert(front, number);
        match self.published.get(&number) {
            Some(known) if known != epoch => Err(format!("epoch {number:?} is not the same everywhere")),
            Some(_) => Ok(()),
            None if self.leaders.get(&number.term) == Some(&front) => {
                self.published.insert(number, epoch.clone());
                Ok(())
            }
            None => Err(format!("epoch {number:?} was published by none that led its term")),
        }
    }
}
