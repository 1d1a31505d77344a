//! The kinds of fault a world can have.

use crate::fault::Fault;
use crate::kinds::kinds;

kinds! {
    /// A way in which a world can be broken.
    pub enum FaultKind: Fault, text -> &'static str {
        /// A WebSocket is reset; both ends hear of it.
        LinkCut = "WebSocket reset",
        /// A WebSocket goes silent; an end hears of it only after it has sent something.
        LinkSilent = "WebSocket half open",
        /// Two nodes cannot reach each other.
        Partition = "partition both ways",
        /// One node cannot reach another, the other way works.
        OneWay = "partition one way",
        /// A partition comes and goes several times.
        Flap = "flapping partition",
        /// A peer connection fails; both ends hear of it after a while.
        ConnLost = "peer connection lost",
        /// A peer connection swallows everything and never says so.
        ConnBlackHole = "peer connection black hole",
        /// A peer's process is killed and started again.
        PeerCrash = "peer crash",
        /// A worker's process is killed and started again.
        WorkerCrash = "worker crash",
        /// The front's process is killed and started again.
        FrontCrash = "front crash",
        /// A machine loses power: nobody is told.
        PowerCut = "power cut",
        /// A process stops for a while, then goes on with everything that arrived.
        Pause = "process paused",
        /// A machine is woken though it did not ask.
        SpuriousWake = "spurious wake-up",
        /// A crash loses what a peer's disk held of a download.
        DiskWiped = "peer disk wiped",
        /// Bytes of a download rot on a peer's disk.
        DiskCorrupt = "peer disk corrupted",
        /// A peer's disk fails to read.
        DiskReadError = "peer disk read error",
        /// A peer's disk has no room for a write.
        DiskFull = "peer disk full",
        /// A crash leaves data on a peer's disk that the resume state does not know.
        DiskTorn = "peer disk write torn",
        /// A peer's disk takes long.
        DiskSlow = "peer disk slow",
        /// A worker comes back with an empty cache.
        CacheWiped = "worker cache wiped",
        /// A worker's cache returns other bytes than were written.
        CacheCorrupt = "worker cache corrupted",
        /// A worker's cache fails to read or write.
        CacheError = "worker cache error",
        /// The backing store fails and did nothing.
        BackingError = "backing store error",
        /// The backing store did what was asked and reports a failure.
        BackingUnknown = "backing store applied, reported failed",
        /// The backing store takes long.
        BackingSlow = "backing store slow",
        /// A liar flips a byte of the blocks it sends.
        LieData = "lie: wrong bytes",
        /// A liar flips a byte of the leaf hashes it sends.
        LieHashes = "lie: wrong hashes",
        /// A liar flips a byte of the metainfo it sends.
        LieMetainfo = "lie: wrong metainfo",
        /// A liar answers a request with what belongs to another.
        LieOther = "lie: answer to another request",
        /// A liar sends bytes that are no frame.
        LieJunk = "lie: junk frame",
        /// A lying worker sends another one other bytes than it asked for.
        LieHome = "lie: wrong chunk to a worker",
        /// A liar takes a request and never answers.
        LieStall = "lie: never answers",
        /// An answer over HTTP is reset in the middle.
        WebReset = "HTTP: reset",
        /// An answer over HTTP ends too early, and well.
        WebTruncated = "HTTP: body too short",
        /// An answer over HTTP goes on after its end.
        WebTooLong = "HTTP: body too long",
        /// An answer over HTTP never ends.
        WebStall = "HTTP: stalled",
        /// A worker has no time for a request over HTTP.
        WebBusy = "HTTP: busy",
        /// A worker does not find what it has, over HTTP.
        WebMissing = "HTTP: not found",
        /// A liar flips a byte of what it sends over HTTP.
        WebLie = "HTTP: wrong bytes",
        /// A node's connections are slow.
        SlowNode = "slow node",
        /// A stranger sends junk to the front.
        RogueJunk = "stranger: junk signaling",
        /// A stranger signals to clients, with session descriptions that lead nowhere.
        RogueSignal = "stranger: bogus offers",
        /// A stranger claims to be a worker without the key.
        RogueWorker = "stranger: worker without the key",
    }
}
