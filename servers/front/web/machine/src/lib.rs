//! A peer's machine as a WebAssembly module: what a browser tab runs is what the terminal program runs. Bytes go in,
//! bytes come out, and the module imports nothing: no clock, no network, no disk, no entropy. Its host (a Web Worker; see
//! `servers/front/web/client/src/machine.ts`) has all of these, and tells it what happened.
//!
//! One instance is one [`Boundary`] around one machine. Whatever the host says that makes no sense is refused in words and
//! changes nothing; whatever a remote says is the machine's business. A trap is a fault of ours: the instance is of no use
//! afterwards, but `panic_message` says why.
//!
//! # Exports
//!
//! Lengths and pointers are `i32`, times `f64`, in milliseconds since `start`.
//!
//! | export | what it does |
//! |---|---|
//! | `memory` | the module's memory, which may grow, and then moves, whenever the module is called |
//! | `reserve(len) -> ptr` | room for one input of `len` bytes, at most 128 MiB (else 0); the host fills it and calls one of the next three, once |
//! | `start(len) -> len` | starts the machine with settings; 0, or the length of an error text |
//! | `handle(now, header_len, total_len) -> len` | an input: a header of `header_len` bytes, then its payload; 0, or the length of an error text |
//! | `call(header_len, total_len) -> len` | a question, in the same form; the length of its answer |
//! | `poll() -> len` | the next output; 0: there is none before the next input |
//! | `output() -> ptr` | where the last output, answer or error text is, until anything else is called |
//! | `next_wake() -> now` | when to give the input `wake` if nothing happens before; -1: never |
//! | `panic_message() -> len` | after a trap: the length of a text at `output()` |
//!
//! An output or answer is the length of its header (four bytes, little endian), the header, and the payload. Headers are
//! JSON objects. Unknown fields, and a payload where there is none to be, are refused. Info hashes and ids are 64
//! hexadecimal digits, lengths and offsets bytes; an optional field is absent in inputs, and `null` in outputs. A payload
//! of hashes has 32 bytes for each. The host's loop is that of every driver: one input, then outputs until there are none;
//! outputs are carried out in their order.
//!
//! # Settings
//!
//! `{"id", "seed", "fronts"}`: the peer's id, a random 64-bit number in decimal digits, and how many fronts there are to
//! connect to. Optional: `http` (`"helping"`, `"only"`, `"never"`), `patience` (milliseconds), `maxSessions`,
//! `maxSwarmDials`, `discoveryInterval` (milliseconds), `maxBuffered` (bytes), `uploadLimit`, `downloadLimit` (bytes a second; 0: none), as `kollator_core::node::peer::PeerConfig` has them.
//!
//! # Inputs
//!
//! | `t` | fields | payload |
//! |---|---|---|
//! | `wake` | | |
//! | `download` | `infoHash`, `sequential` | the `.ko`, if it is at hand |
//! | `share` | `upload` | the `.ko` |
//! | `seek` | `infoHash`, `file` and `offset`: what the user waits for comes first; without them, nothing does | |
//! | `addWorkers` | `infoHash`, `workers` (URLs) | |
//! | `meet` | `infoHash`, `peer`: connect to it for this share | |
//! | `stop` | `infoHash` | |
//! | `setDiscovery` | `interval` (milliseconds): how often to ask the front for more peers | |
//! | `setLimits` | `upload`, `download` (bytes a second; 0: none) | |
//! | `shutdown` | | |
//! | `linkUp` | | |
//! | `linkMessage` | | the text |
//! | `linkDown` | `reason` | |
//! | `rtcDescribed` | `conn`, `sdp` | |
//! | `rtcOpen` | `conn` | |
//! | `rtcMessage` | `conn` | the message |
//! | `rtcSent` | `conn`, `bytes` | |
//! | `rtcClosed` | `conn`, `reason` | |
//! | `diskPrepared` | `infoHash`, `claims` (`[{file, offset, count}]`) or `error` | `count` hashes for each claim, in order |
//! | `diskRead` | `ticket`, `error`? | the bytes |
//! | `diskLeaves` | `ticket`, `error`? | a hash for each block |
//! | `diskHashed` | `ticket` | a hash for each block; the module kept the blocks themselves |
//! | `diskWritten` | `ticket`, `error`? | |
//! | `diskFinished` | `infoHash`, `error`? | |
//! | `webHead` | `id`, `status`, `retryAfter`? (seconds) | |
//! | `webData` | `id` | bytes of the body, at least one |
//! | `webEnd` | `id` | |
//! | `webFailed` | `id`, `reason` | |
//!
//! Every ticket wants one answer, of the kind and length that was asked for, even if its share was stopped meanwhile.
//!
//! # Outputs
//!
//! | `t` | fields | payload |
//! |---|---|---|
//! | `linkConnect` | `front` (index) | |
//! | `linkSend` | | the text |
//! | `rtcIceServers` | `servers` (as `RTCIceServer`) | |
//! | `rtcOffer` | `conn` | |
//! | `rtcAccept` | `conn`, `sdp` | |
//! | `rtcSetAnswer` | `conn`, `sdp` | |
//! | `rtcCandidate` | `conn`, `candidate` | |
//! | `rtcSend` | `conn` | the message |
//! | `rtcClose` | `conn`, `flush` | |
//! | `diskPrepare` | `infoHash`, `name`, `pieceLength`, `single`, `totalLength`, `files` (`[{path, length}]`) | the `.ko` |
//! | `diskRead` | `ticket`, `infoHash`, `file`, `offset`, `length` | |
//! | `diskReadLeaves` | the same | |
//! | `diskHash` | `ticket` | the blocks |
//! | `diskWrite` | `ticket`, `infoHash`, `places` (`[{file, offset}]`: where these blocks belong, each of them) | the blocks |
//! | `diskFinish` | `infoHash` | |
//! | `webRequest` | `id`, `url`, `head`, `range` (first and last byte) | |
//! | `webCancel` | `id` | |
//! | `event` | `event` | of `metainfo`: the `.ko` |
//!
//! `event.kind` is `online` (`worker`), `offline` (`reason`), `metainfo` (the fields of `diskPrepare`), `frontComplained`
//! (`message`), `gained` (`infoHash`, `places`, `length`, `source`, `sourceKind`: `null` if it was on disk), `sourceUp` (`source`, `sourceKind`), `sourceDown` (`source`, `reason`), `met` (`infoHash`, `source`, `error`: `null` if it is connected), `blamed` (`source`, `offence`),
//! `stored` (`infoHash`, `bytes`), `safe` (`infoHash`, `http`), `completed` (`infoHash`, `totals`) or `failed` (`infoHash`,
//! `reason`). `totals` is `{bytesTotal, from: {disk, worker, peer, http}}`.
//!
//! # Calls
//!
//! The answer's header is `{"ok": …}`, or `{"error": {"code", "message"}}` with a code that the library's users know. Only
//! `progress`, `sources`, `connected` and `counters` need a machine that was started. Keys are text: 43 characters of base64url.
//!
//! | `t` | fields | payload | `ok` | payload of the answer |
//! |---|---|---|---|---|
//! | `parseLink` | `text` | | `{infoHash, name, fronts, key, to}` | |
//! | `shareLink` | `infoHash`, `name`?, `fronts`, `key`? or `to`? | | `{link}` | |
//! | `metainfoInfo` | | a `.ko` | the fields of `diskPrepare` | |
//! | `buildMetainfo` | `name`, `sealed`?, `pieceLength`, `fronts`, `files` | piece roots of all files in order | `{infoHash}` | the `.ko` |
//! | `pieceRoot` | `length`, `pieceLength`, `fileLength` | the leaves of the piece | | its root |
//! | `leaves` | | bytes | | the hash of each block |
//! | `sealLayout` | `key`, `name`, `files` | | `{name, single, files}` | content keys, 32 bytes a file |
//! | `openMetainfo` | `key` | the `.ko` of a sealed share | `{name, single, files}` | content keys, 32 bytes a file |
//! | `sealBlocks` | `key` (a content key), `length` (of the plain file), `first` | plain blocks | | sealed blocks |
//! | `openBlocks` | the same | sealed blocks | | plain blocks |
//! | `publicKey` | | a person's secret | `{key}` | |
//! | `wrapKey` | `key`, `to` | 32 random bytes | `{key}` | |
//! | `unwrapKey` | `wrapped` | a person's secret | `{key}` | |
//! | `progress` | `infoHash` | | `totals` and `bytesDone`, `sources`; `null` if there is none | |
//! | `sources` | `infoHash` | | `[{source, sourceKind, bytes, rate, inFlight, failures, stalled, paused}]`: those of a download | |
//! | `connected` | | | `[{source, sourceKind, bytesSent}]`: nodes with which there is a session | |
//! | `counters` | | | `{connections, channels, bytesServed}` | |
//!
//! A file of a sealed share is `{path, length, sealedPath, sealedLength}`, and from `sealLayout`, which puts them into the
//! order of the share, `index` says which of the given ones it is.

mod boundary;
mod calls;
#[cfg(target_arch = "wasm32")]
mod exports;
mod inputs;
mod outputs;
mod sealing;

pub use boundary::Boundary;
