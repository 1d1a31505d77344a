//! Cuts the power after every change that was written down, and has somebody judge each disk that may be left. It knows
//! what may be under each path at that moment, and nothing of what the files are for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::disks::{Disk, Room, disks};
use super::journal::{Change, Event};

/// What may be there, under each path of which something is known.
pub(super) type Allowed = BTreeMap<PathBuf, BTreeSet<Option<Vec<u8>>>>;

/// Lays out every disk that a power cut after some event may leave, and has `judge` start on each; a cut is left out
/// after a change that `skips` says is much like another, by the number of its event. What was wrong first, or how many
/// disks there were.
pub(super) fn cut_everywhere(
    events: &[Event],
    skips: impl Fn(usize, &Change) -> bool,
    mut judge: impl FnMut(&Path, &Allowed) -> Result<(), String>,
) -> Result<usize, String> {
    let (mut changes, mut allowed) = (Vec::new(), Allowed::new());
    let mut seen: BTreeSet<(Disk, Allowed)> = BTreeSet::new();
    let mut room = Room::default();
    for (number, event) in events.iter().enumerate() {
        match event {
            Event::Changed(change) => {
                changes.push(change.clone());
                if skips(number, change) {
                    continue;
                }
            }
            Event::Begun(path, content) => {
                let contents = allowed.entry(path.clone()).or_insert_with(|| [None].into());
                contents.insert(content.clone());
            }
            Event::Done(path, content) => {
                allowed.insert(path.clone(), [content.clone()].into());
            }
        }
        for disk in disks(&changes) {
            if seen.insert((disk.clone(), allowed.clone())) {
                let judged = judge(room.lay_out(&disk), &allowed);
                judged.map_err(|why| format!("power cut after {:?}: {why}", changes.last()))?;
            }
        }
    }
    Ok(seen.len())
}
