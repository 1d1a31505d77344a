//! The kinds of fault that fronts, their clients and what lies between them can have.

use crate::fault::Fault;
use crate::kinds::kinds;

kinds! {
    /// A kind of fault.
    pub enum FaultKind: Fault, text -> &'static str {
        /// A front's process ends; its system closes its connections.
        FrontCrash = "front crash",
        /// A front's machine ends: nobody is told.
        PowerCut = "front power cut",
        /// The leader, whoever it is, ends.
        LeaderCrash = "leader crash",
        /// A front stands still for a while.
        FrontPause = "front pause",
        /// Two fronts do not reach each other.
        Partition = "partition between fronts",
        /// One front does not reach another.
        OneWay = "one-way partition between fronts",
        /// A way between fronts shuts and opens, again and again.
        Flap = "flapping way between fronts",
        /// The leader reaches no other front, and none reaches it.
        Isolated = "leader isolated",
        /// A connection between fronts breaks.
        LinkLost = "link between fronts lost",
        /// A client does not reach the front it is connected to.
        ClientCut = "client cut off",
        /// A worker's process ends.
        WorkerCrash = "worker crash",
        /// A worker stands still for a while.
        WorkerPause = "worker pause",
        /// A peer's process ends.
        PeerCrash = "peer crash",
        /// What a front kept is gone, or cannot be read.
        DiskLost = "front disk lost",
        /// A crash in the middle of a durable write: it may have been applied.
        TornWrite = "torn ballot",
        /// What was to be kept when convenient was not kept.
        SaveLost = "saved rows lost",
        /// A durable write takes long.
        SlowDisk = "slow disk",
        /// Clocks of fronts run at different speeds.
        Drift = "clock drift",
        /// Wall clocks of fronts differ.
        Skew = "wall clock skew",
        /// Another front sends nonsense.
        Nonsense = "nonsense from a front",
    }
}
