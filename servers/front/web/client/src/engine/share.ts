/**
 * What is known of one share, and how it looks to the user. Data only: what is done for a share is decided elsewhere.
 */

import type { MetainfoInfo, Totals } from '../machine-types.ts';
import { PLAIN_BLOCK, SEALED_BLOCK, SEALED_NAME } from '../seal.ts';
import type { ShareRecord } from '../storage/storage.ts';
import type { ErrorCode, Phase, ShareState, SharedFile } from '../types.ts';
import { Layout } from './layout.ts';
import { Meter } from './meter.ts';
import { News } from './news.ts';
import { Pieces } from './pieces.ts';
import { type Connected, Sources } from './sources.ts';

/** What an opened `.ko` says to its reader. */
export interface ReadableInfo {
  name: string;
  files: Array<{ path: string; length: number }>;
}

/** Readable bytes among the first `sealed` bytes of a file of `length` readable bytes. */
export function plainBytes(sealed: number, length: number, isSealed: boolean): number {
  if (!isSealed) return Math.min(sealed, length);
  const whole = Math.floor(sealed / SEALED_BLOCK) * PLAIN_BLOCK;
  const rest = (sealed % SEALED_BLOCK) - (SEALED_BLOCK - PLAIN_BLOCK);
  return Math.min(length, whole + Math.max(0, rest));
}

/** See the module's documentation. */
export class Share {
  record: ShareRecord;
  phase: Phase;
  /** What its `.ko` says, once that is known. */
  info: MetainfoInfo | undefined;
  layout: Layout | undefined;
  pieces: Pieces | undefined;
  /** What it holds for its reader: of an encrypted share only with the key. */
  readable: ReadableInfo | undefined;
  progress: (Totals & { bytesDone: number }) | undefined;
  error: { code: ErrorCode; message: string } | undefined;
  /** Whether what is on the wire is ciphertext. */
  isSealed: boolean;
  bytesPrepared = 0;
  bytesToPrepare = 0;
  /** Whether the machine has it, so that others may take it from here. */
  isOffered = false;
  /** Told whenever more of it is here, or something became of it. */
  readonly news = new News();
  readonly sources = new Sources();
  readonly down = new Meter();
  readonly up = new Meter();
  #fetched = 0;

  constructor(record: ShareRecord) {
    this.record = record;
    this.phase = record.phase;
    this.isSealed = record.key !== undefined;
  }

  get infoHash(): string {
    return this.record.infoHash;
  }

  /** Notes what its `.ko` says. */
  learn(info: MetainfoInfo, readable: ReadableInfo): void {
    this.info = info;
    this.isSealed = info.name === SEALED_NAME;
    this.layout ??= new Layout(info);
    this.pieces ??= new Pieces(this.layout);
    this.readable = readable;
    this.record.name = readable.name;
  }

  /** Notes that all of it is here. */
  fill(): void {
    this.pieces?.fill();
    const bytes = this.info?.totalLength ?? 0;
    this.progress ??= { bytesTotal: bytes, bytesDone: bytes, from: { disk: bytes, worker: 0, peer: 0, http: 0 } };
  }

  /** Notes how its download stands. A run of the machine counts from nothing: what came before is on disk for it. */
  note(progress: Totals & { bytesDone: number }, now: number): void {
    this.progress = progress;
    const fetched = progress.from.worker + progress.from.peer + progress.from.http;
    this.down.add(fetched >= this.#fetched ? fetched - this.#fetched : fetched, now);
    this.#fetched = fetched;
  }

  /** As it looks to the user. */
  state(connected: Connected, now: number): ShareState {
    const { record, readable, isSealed } = this;
    const files = (readable?.files ?? []).map((file, index): SharedFile => {
      const bytesDone = plainBytes(this.pieces?.ofFile(index) ?? 0, file.length, isSealed);
      return { index, path: file.path, length: file.length, bytesDone };
    });
    const bytesTotal = readable ? files.reduce((sum, file) => sum + file.length, 0) : this.bytesToPrepare;
    // What is on the wire is a little longer than what the user reads; he is told of the latter.
    const wire = this.info?.totalLength ?? 0;
    const plain = (bytes: number): number => (wire > 0 ? Math.round((bytes * bytesTotal) / wire) : 0);
    const from = this.progress?.from ?? { disk: 0, worker: 0, peer: 0, http: 0 };
    const bytesDone = plain(this.progress?.bytesDone ?? 0);
    const speedDown = this.down.speed(now);
    const speedUp = this.up.speed(now);
    const left = record.role === 'sent' ? bytesTotal - plain(record.bytesStored) : bytesTotal - bytesDone;
    const speed = record.role === 'sent' ? speedUp : speedDown;
    const isGoing = this.phase === 'uploading' || this.phase === 'downloading';
    return {
      infoHash: record.infoHash,
      name: record.name || record.infoHash.slice(0, 8),
      role: record.role,
      phase: this.phase,
      link: record.link,
      encrypted: isSealed,
      personal: record.personal ?? false,
      files,
      bytesTotal,
      bytesPrepared: record.role === 'sent' && this.phase !== 'preparing' ? bytesTotal : this.bytesPrepared,
      bytesStored: record.role === 'sent' ? plain(record.bytesStored) : 0,
      bytesDone,
      from: { disk: plain(from.disk), worker: plain(from.worker), peer: plain(from.peer), http: plain(from.http) },
      bytesServed: this.up.total,
      speedDown,
      speedUp,
      ...(isGoing && speed > 0 && left > 0 ? { remaining: Math.round((left * 1000) / speed) } : {}),
      sources: this.sources.list(connected, now),
      seeding: this.isOffered || this.phase === 'downloading',
      addedAt: record.addedAt,
      ...(this.error ? { error: this.error.message } : {}),
    };
  }
}
