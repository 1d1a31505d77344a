/**
 * What `@kollator/client` takes and tells: types only. Lengths and offsets are bytes, times are milliseconds,
 * rates are bytes a second; info hashes and roots are 64 lower-case hexadecimal digits.
 */

/** Where a peer keeps what it shares and downloads. `auto` takes the first of the others that works here. */
export type StorageKind = 'opfs' | 'indexeddb' | 'memory';

/** Settings of a {@link Kollator}. */
export interface KollatorOptions {
  /** Base URLs of fronts; that of the page by default. */
  fronts?: string[];
  /** Most downloads at once (10); others wait for their turn. */
  concurrentDownloads?: number;
  /** Most uploads at once (20). */
  concurrentUploads?: number;
  /** Bytes in a chunk of a new share: a power of two from 16 KiB to 16 MiB (4 MiB). */
  chunkSize?: number;
  /** How long to serve others after a share is complete (1 h); 0: not at all. */
  seedingTime?: number;
  /** How often to look for more peers of a share that is not complete (30 s); at least 1 s. */
  discoveryInterval?: number;
  /** Where to keep shares (`auto`). */
  storage?: StorageKind | 'auto';
  /** Never reveal this machine's addresses: connect through TURN servers only (false). */
  relayOnly?: boolean;
  /** Most bytes a second to send to others, 0: no limit (0). */
  uploadLimit?: number;
  /** Most bytes a second to take from others, 0: no limit (0). */
  downloadLimit?: number;
}

/** How a share got here. */
export type Role = 'sent' | 'received';

/** What a share is at. */
export type Phase =
  /** Being read, sealed, hashed and copied; it can't go on after a reload. */
  | 'preparing'
  /** Has a link; workers do not have all of it yet. Goes on by itself after a reload. */
  | 'uploading'
  /** Workers keep it for good: the link needs this browser no more. */
  | 'safe'
  /** Looking for what the link names. */
  | 'finding'
  /** Coming in. */
  | 'downloading'
  /** All of it is here, verified. */
  | 'complete'
  /** Stopped by the user; goes on where it was. */
  | 'paused'
  /** Another tab of this browser works on it; goes on here when that tab is closed. */
  | 'elsewhere'
  /** It ended; `error` says why. */
  | 'failed';

/** What a source is. */
export type SourceKind = 'worker' | 'peer' | 'http';

/** Whoever gives, or gave, parts of a share. */
export interface Source {
  /** Tells sources of a share apart; never reused for another. Small numbers from 2 on, as in a chunk map. */
  index: number;
  /** Peer id, or URL. */
  name: string;
  kind: SourceKind;
  connected: boolean;
  /** Verified bytes from it. */
  bytes: number;
  /** Bytes a second of late. */
  speed: number;
  /** What it did wrong, if it was cut off for it. */
  offence?: string;
}

/** Whoever is connected, whatever for, with what it gave to all shares together. */
export interface ConnectedSource extends Source {
  /** Bytes of shares given to it since it was connected. */
  sent: number;
}

/** A file of a share. */
export interface SharedFile {
  /** Place in the share, from 0. */
  index: number;
  /** Path below the share's folder; the share's name for a share of one file. Any script; never trusted as HTML. */
  path: string;
  /** Bytes, of the readable file. */
  length: number;
  /** Verified bytes of it that are here. */
  bytesDone: number;
}

/** A share as it stands; a snapshot, made anew at every change. */
export interface ShareState {
  infoHash: string;
  /** As the share or its link names it; the info hash's first digits until either is known. */
  name: string;
  role: Role;
  phase: Phase;
  /** The link to hand on; empty until it is known. Holds the key of an encrypted share. */
  link: string;
  encrypted: boolean;
  /** Whether its link is for one person only, who opens it with a key that the link has not. */
  personal: boolean;
  files: SharedFile[];
  /** Bytes of all readable files; 0 until known. */
  bytesTotal: number;
  /** Of a new share: bytes read and hashed so far. */
  bytesPrepared: number;
  /** Of a share of ours: bytes that workers keep for good. */
  bytesStored: number;
  /** Verified bytes that are here. */
  bytesDone: number;
  /** Verified bytes by where they came from. */
  from: { disk: number; worker: number; peer: number; http: number };
  /** Bytes served to others. */
  bytesServed: number;
  speedDown: number;
  speedUp: number;
  /** Milliseconds until it is complete at this speed, if that can be told. */
  remaining?: number;
  sources: Source[];
  /** Whether others may take it from here. */
  seeding: boolean;
  addedAt: number;
  /** Why it failed, or waits, in words for the user. */
  error?: string;
}

/** Where each piece of a share came from: 0 not here, 1 here from disk or this machine, otherwise a {@link Source.index}. */
export interface ChunkMap {
  pieces: Uint8Array;
  /** Of each piece, how much is here: 0 to 255. */
  filled: Uint8Array;
}

/** What may be uploaded: files with their paths below the share's folder. */
export interface UploadItem {
  file: File;
  /** Such as `holiday/beach/1.jpg`; the file's own name by default. */
  path?: string;
}

/** Options of {@link Kollator.upload}. */
export interface UploadOptions {
  /** Name of the share; that of the file or the common folder by default. */
  name?: string;
  /** Whether only who has the whole link can read it (true). */
  encrypt?: boolean;
  /** Public key of the one person who can open the share with its link. Such a share is always encrypted. */
  to?: string;
  onProgress?: (state: ShareState) => void;
  signal?: AbortSignal;
}

/** Options of {@link Kollator.download}. */
export interface DownloadOptions {
  /** From the first byte to the last rather than the rarest first (false). */
  sequential?: boolean;
  onProgress?: (state: ShareState) => void;
  signal?: AbortSignal;
}

/** Options of {@link Kollator.stream}. */
export interface StreamOptions {
  /** Which file of the share, by index (0). */
  file?: number;
  /** First byte (0). */
  start?: number;
  /** One past the last byte (the file's length). */
  end?: number;
  signal?: AbortSignal;
}

/** Options of {@link Kollator.play}. */
export interface PlayOptions {
  /** Which file of the share, by index (0). */
  file?: number;
  /** Ends the playing. */
  signal?: AbortSignal;
}

/** What {@link Kollator.getStats} tells. */
export interface Stats {
  peerId: string;
  online: boolean;
  /** Name of the assigned worker. */
  worker?: string;
  /** Why no front is there, if none is. */
  offline?: string;
  storage: StorageKind;
  bytesUsed: number;
  /** What the browser grants, if it says. */
  bytesAvailable?: number;
  speedDown: number;
  speedUp: number;
  bytesDown: number;
  bytesUp: number;
  connections: number;
}

/** Events of a {@link Kollator}. */
export interface KollatorEvents {
  /** A share is new or changed. At most twice a second for each, but for a new phase. */
  share: ShareState;
  /** A share was deleted. */
  removed: { infoHash: string };
  /** A front was found, lost, or the worker changed. */
  network: Stats;
}

/** What went wrong, in words for the user, with a name that code can rely on. */
export type ErrorCode =
  | 'link'
  | 'key-missing'
  | 'key-wrong'
  | 'not-found'
  | 'storage-full'
  | 'storage'
  | 'offline'
  | 'refused'
  | 'aborted'
  | 'unplayable'
  | 'broken';
