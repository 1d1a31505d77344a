/**
 * What is said across the boundary of the machine: headers, as the crate `kollator-machine` documents them. Types only.
 * Info hashes, peer ids and roots are 64 lower-case hexadecimal digits; lengths and offsets are bytes, times milliseconds.
 */

import type { SourceKind } from './types.ts';

/** Settings of a machine. */
export interface MachineConfig {
  /** Peer id: 32 random bytes. */
  id: string;
  /** Decides among equals: a random number below 2^64 in decimal digits. */
  seed: string;
  /** How many fronts there are to connect to. */
  fronts: number;
  /** Whether workers are asked over HTTP (`helping`). */
  http?: 'helping' | 'only' | 'never';
  /** A download or upload without progress for so long fails (30 s). */
  patience?: number;
  /** Most WebRTC connections at once (64). */
  maxSessions?: number;
  /** Most members of a swarm that are dialled for one download (8). */
  maxSwarmDials?: number;
  /** How often the front is asked for more peers of what is being downloaded (30 s). */
  discoveryInterval?: number;
  /** Most bytes that a download holds in memory or has asked for (24 MiB). */
  maxBuffered?: number;
  /** Most bytes a second to send, 0: no limit (0). */
  uploadLimit?: number;
  /** Most bytes a second to ask for, 0: no limit (0). */
  downloadLimit?: number;
}

/** Where bytes of a share belong. */
export interface Place {
  /** Index into the share's files. */
  file: number;
  /** First byte in that file; but for `seek`, a multiple of 16 KiB. */
  offset: number;
}

/** What a `.ko` says. */
export interface MetainfoInfo {
  infoHash: string;
  /** Name of the share, safe as a file name. */
  name: string;
  pieceLength: number;
  /** Whether the share is one file rather than a folder. */
  single: boolean;
  totalLength: number;
  /** In the order of the share; `path` has its components below the share's folder, or the share's name alone. */
  files: Array<{ path: string[]; length: number }>;
}

/** A file of a share that is being made: the components of its path below the share's folder. */
export interface NewFile {
  path: readonly string[];
  length: number;
}

/** A file of a sealed share, as it is inside and outside. */
export interface SealedFile {
  path: string[];
  length: number;
  sealedPath: string[];
  sealedLength: number;
}

/** What happened, for {@link Machine.handle}. */
export type Input =
  /** Time passed. */
  | { t: 'wake' }
  /** Get a share. Payload: its `.ko`, if it is at hand. */
  | { t: 'download'; infoHash: string; sequential: boolean }
  /** Offer a share that the disk has, and with `upload` bring it to the worker. Payload: its `.ko`. */
  | { t: 'share'; upload: boolean }
  /** Get first what comes from here on: the user waits for it. Any offset; again as the user moves on. */
  | ({ t: 'seek'; infoHash: string } & Place)
  /** Nobody waits for anything in particular. */
  | { t: 'seek'; infoHash: string }
  /** Ask these workers over HTTP, too. */
  | { t: 'addWorkers'; infoHash: string; workers: string[] }
  /** Connect to this peer for a share, whoever else is there. Answered by the event `met`. */
  | { t: 'meet'; infoHash: string; peer: string }
  | { t: 'stop'; infoHash: string }
  /** How often to ask the front for more peers of what is being downloaded. */
  | { t: 'setDiscovery'; interval: number }
  /** Bytes a second, 0: no limit. */
  | { t: 'setLimits'; upload: number; download: number }
  /** Leave every swarm, close every connection. The machine does nothing any more after the outputs of this. */
  | { t: 'shutdown' }
  /** The WebSocket is open. */
  | { t: 'linkUp' }
  /** Payload: the text. */
  | { t: 'linkMessage' }
  | { t: 'linkDown'; reason: string }
  /** Our description, all candidates gathered. */
  | { t: 'rtcDescribed'; conn: number; sdp: string }
  /** The data channel is open. */
  | { t: 'rtcOpen'; conn: number }
  /** Payload: the message. */
  | { t: 'rtcMessage'; conn: number }
  /** The stack took so many bytes that `rtcSend` gave. */
  | { t: 'rtcSent'; conn: number; bytes: number }
  | { t: 'rtcClosed'; conn: number; reason: string }
  /** What is there already, as runs of blocks. Payload: `count` hashes of 32 bytes for each, in order. */
  | { t: 'diskPrepared'; infoHash: string; claims: Array<Place & { count: number }> }
  | { t: 'diskPrepared'; infoHash: string; error: string }
  /** Payload: the bytes. */
  | { t: 'diskRead'; ticket: number; error?: string }
  /** Payload: a hash of 32 bytes for each block. */
  | { t: 'diskLeaves'; ticket: number; error?: string }
  /** Payload: a hash of 32 bytes for each block. */
  | { t: 'diskHashed'; ticket: number }
  | { t: 'diskWritten'; ticket: number; error?: string }
  | { t: 'diskFinished'; infoHash: string; error?: string }
  /** The server answers; `retryAfter` in seconds. */
  | { t: 'webHead'; id: number; status: number; retryAfter?: number }
  /** Payload: the next bytes of the body, at least one, best cut at multiples of 16 KiB. */
  | { t: 'webData'; id: number }
  | { t: 'webEnd'; id: number }
  | { t: 'webFailed'; id: number; reason: string };

/** What an {@link Output} tells the user. */
export type MachineEvent =
  | { kind: 'online'; worker: string | null }
  | { kind: 'offline'; reason: string }
  /** Payload: the `.ko`. */
  | ({ kind: 'metainfo' } & MetainfoInfo)
  | { kind: 'frontComplained'; message: string }
  /** Verified bytes are written, at each of the places; `source` is `null` if they were on disk. */
  | {
      kind: 'gained';
      infoHash: string;
      places: Place[];
      length: number;
      source: string | null;
      sourceKind: SourceKind | null;
    }
  | { kind: 'sourceUp'; source: string; sourceKind: SourceKind }
  | { kind: 'sourceDown'; source: string; reason: string }
  /** A peer that was to be met is connected, or `error` says why not. */
  | { kind: 'met'; infoHash: string; source: string; error: string | null }
  | { kind: 'blamed'; source: string; offence: string }
  /** So many bytes of the share the worker keeps for good. */
  | { kind: 'stored'; infoHash: string; bytes: number }
  /** It keeps all of it; `http` is where it serves HTTP. */
  | { kind: 'safe'; infoHash: string; http: string | null }
  | { kind: 'completed'; infoHash: string; totals: Totals }
  | { kind: 'failed'; infoHash: string; reason: string };

/** Where a share's verified bytes came from. */
export interface Totals {
  bytesTotal: number;
  from: { disk: number; worker: number; peer: number; http: number };
}

/** How a download stands. */
export interface Progress extends Totals {
  /** Verified bytes on disk. */
  bytesDone: number;
  /** Connected sources. */
  sources: number;
}

/** How a connected source of a download stands. */
export interface SourceStatus {
  source: string;
  sourceKind: SourceKind;
  /** Verified bytes that it gave. */
  bytes: number;
  /** Bytes a second of late. */
  rate: number;
  /** Bytes asked for and not yet come. */
  inFlight: number;
  /** Times that it stalled or turned a request down for a passing reason. */
  failures: number;
  /** It owes something and gave nothing for a while. */
  stalled: boolean;
  /** It said that it is busy. */
  paused: boolean;
}

/** What the machine wants done, from {@link Machine.poll}. */
export type Output =
  /** Connect to the front of this index, giving any other connection up. */
  | { t: 'linkConnect'; front: number }
  /** Payload: the text. */
  | { t: 'linkSend' }
  | { t: 'rtcIceServers'; servers: Array<{ urls: string[]; username?: string; credential?: string }> }
  /** Make a connection with one ordered data channel and describe it. */
  | { t: 'rtcOffer'; conn: number }
  /** The same for the other side's offer. */
  | { t: 'rtcAccept'; conn: number; sdp: string }
  | { t: 'rtcSetAnswer'; conn: number; sdp: string }
  | { t: 'rtcCandidate'; conn: number; candidate: string }
  /** Payload: the message. Answered by `rtcSent` once the stack took it. */
  | { t: 'rtcSend'; conn: number }
  /** Close and forget; with `flush` after what was given before is out. */
  | { t: 'rtcClose'; conn: number; flush: boolean }
  /** Make room for a download. Payload: the `.ko`. */
  | ({ t: 'diskPrepare' } & MetainfoInfo)
  | ({ t: 'diskRead'; ticket: number; infoHash: string; length: number } & Place)
  /** Read and hash. Answered by `diskLeaves`. */
  | ({ t: 'diskReadLeaves'; ticket: number; infoHash: string; length: number } & Place)
  /** Payload: the blocks. */
  | { t: 'diskHash'; ticket: number }
  /** Payload: verified blocks. They belong at each of the places. */
  | { t: 'diskWrite'; ticket: number; infoHash: string; places: Place[] }
  /** Everything is written. */
  | { t: 'diskFinish'; infoHash: string }
  /** GET, or HEAD; `range` has the first and the last byte to ask for. Redirects are not followed. */
  | { t: 'webRequest'; id: number; url: string; head: boolean; range: [number, number] | null }
  | { t: 'webCancel'; id: number }
  | { t: 'event'; event: MachineEvent };

/**
 * What can be asked with {@link Machine.call}: of each, what it takes and what it answers. Keys are 43 characters of
 * base64url, wrapped ones 107.
 */
export interface Calls {
  parseLink: {
    takes: { text: string };
    ok: { infoHash: string; name: string | null; fronts: string[]; key: string | null; to: string | null };
  };
  shareLink: {
    takes: { infoHash: string; name?: string; fronts: readonly string[]; key?: string; to?: string };
    ok: { link: string };
  };
  /** Payload: a `.ko`. */
  metainfoInfo: { takes: object; ok: MetainfoInfo };
  /** Payload: all piece roots in order. Answer's payload: the `.ko`. */
  buildMetainfo: {
    takes: {
      name: string;
      /** Whether it is a sealed share, which has a name that no other may have. */
      sealed?: boolean;
      pieceLength: number;
      fronts: readonly string[];
      files: readonly NewFile[];
    };
    ok: { infoHash: string };
  };
  /** Payload: the leaves of a piece of `length` bytes. Answer's payload: its root. */
  pieceRoot: { takes: { length: number; pieceLength: number; fileLength: number }; ok: object };
  /** Payload: bytes. Answer's payload: the hash of each block of 16 KiB. */
  leaves: { takes: object; ok: object };
  /** How files become a sealed share, in the order of that. Answer's payload: their content keys, 32 bytes each. */
  sealLayout: {
    takes: { key: string; name: string; files: readonly NewFile[] };
    /** `index` says which of the given files it is. */
    ok: { name: string; single: boolean; files: Array<SealedFile & { index: number }> };
  };
  /** Payload: the `.ko` of a sealed share. Answer's payload: its files' content keys, 32 bytes each. */
  openMetainfo: { takes: { key: string }; ok: { name: string; single: boolean; files: SealedFile[] } };
  /**
   * Payload: blocks of 16,368 bytes from `first` on, of a file of `length` bytes; the file's last may be short. `key` is
   * a content key in base64url. Answer's payload: the same sealed, 16 KiB each.
   */
  sealBlocks: { takes: { key: string; length: number; first: number }; ok: object };
  /** The other way round; `length` is that of the plain file. */
  openBlocks: { takes: { key: string; length: number; first: number }; ok: object };
  /** Payload: a person's X25519 secret. */
  publicKey: { takes: object; ok: { key: string } };
  /** Payload: 32 random bytes. Wraps a share's key so that only who has the secret of the public key `to` unwraps it. */
  wrapKey: { takes: { key: string; to: string }; ok: { key: string } };
  /** Payload: a person's X25519 secret. */
  unwrapKey: { takes: { wrapped: string }; ok: { key: string } };
  /** `null`: there is no such share. */
  progress: { takes: { infoHash: string }; ok: Progress | null };
  /** The connected sources of a download. */
  sources: { takes: { infoHash: string }; ok: SourceStatus[] };
  /** Nodes with which there is a session; bytes since it began. */
  connected: { takes: object; ok: Array<{ source: string; sourceKind: SourceKind; bytesSent: number }> };
  counters: { takes: object; ok: { connections: number; channels: number; bytesServed: number } };
}
