/** A share that this browser keeps, with what is being done for it just now. */

import type { ShareRecord } from '../storage/storage.ts';
import type { ErrorCode } from '../types.ts';
import { Share } from './share.ts';

/** What is kept of a share, besides what every storage needs. Its phase is never `paused`, `elsewhere` or `preparing`. */
export interface Kept extends ShareRecord {
  /** Stopped by the user; `phase` says where. */
  paused?: boolean;
  /** When it became safe or complete, or serving others was switched on again. */
  settledAt?: number;
  sequential?: boolean;
  /** Why it failed, if it did. */
  failure?: { code: ErrorCode; message: string };
}

/** Longest delay of a timer. */
const LONGEST_DELAY = 2 ** 31 - 1;

/** See the module's documentation. */
export class Active {
  readonly share: Share;
  record: Kept;
  /** When its record was last kept. */
  keptAt = 0;
  #run: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(record: Kept) {
    this.record = record;
    this.share = new Share(record);
    if (record.paused) this.share.phase = 'paused';
    this.share.error = record.failure;
  }

  get infoHash(): string {
    return this.record.infoHash;
  }

  /** Whether anything is being done for it. */
  get isRunning(): boolean {
    return this.#run !== undefined;
  }

  /** Something is being done for it from now on, until the signal is aborted. */
  start(): AbortSignal {
    this.stop();
    this.#run = new AbortController();
    return this.#run.signal;
  }

  /** Nothing is being done for it any more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#run?.abort();
    this.#run = undefined;
  }

  /** Calls `run` later, unless it is stopped or this is called again before. */
  later(milliseconds: number, run: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(run, Math.min(Math.max(milliseconds, 0), LONGEST_DELAY));
  }

  /** Another tab has changed its record. */
  replace(record: Kept): void {
    this.record = record;
    this.share.record = record;
  }

  /** Milliseconds for which others may still be served. */
  seedingLeft(seedingTime: number, now: number): number {
    return this.record.seeding ? (this.record.settledAt ?? this.record.addedAt) + seedingTime - now : 0;
  }
}
