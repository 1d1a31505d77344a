//! At most one leader in a term, in all history.

use std::collections::BTreeMap;

use kollator_core::machine::Instant;
use kollator_core::node::front::{FrontEvent, FrontOutput, Role};

use super::{Fact, Oracle};

#[derive(Default)]
pub(super) struct Leaders(BTreeMap<u64, usize>);

impl Oracle for Leaders {
    fn name(&self) -> &'static str {
        "leaders"
    }

    fn observe(&mut self, _: Instant, front: usize, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Said(FrontOutput::Event(FrontEvent::Standing { role: Role::Leader, term, .. })) = fact else {
            return Ok(());
        };
        let first = *self.0.entry(*term).or_insert(front);
        if first == front { Ok(()) } else { Err(format!("fronts {first} and {front} both lead term {term}")) }
    }
}
