/**
 * Brings writes together. A browser takes about as long over 16 KiB as over 256 KiB, so blocks wait a moment for their
 * neighbours and go out in one piece.
 *
 * At most {@link MOST} bytes wait while nothing is being written. While something is, more may come; whoever writes
 * bounds that by waiting for its promises.
 */

import { BLOCK } from './storage.ts';

/** Most bytes in one piece, and to wait for before writing. */
export const MOST = 1024 * 1024;
/** How long blocks wait for neighbours, in milliseconds. */
const PATIENCE = 10;
/** Stages kept for the next queue that needs one: making new ones all the time costs more than filling them. */
const MOST_SPARE = 4;

/** Bytes to be written in one go, at a block's beginning. */
export interface Run {
  offset: number;
  data: Uint8Array;
}

/** {@link MOST} bytes in which blocks lie one after another as they come. */
type Stage = Uint8Array<ArrayBuffer>;

/** Stages that no queue uses. */
const spare: Stage[] = [];

interface Waiting extends Run {
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** Writes of one share that wait for their neighbours. */
export class WriteQueue {
  #flush: (runs: Run[]) => void | Promise<void>;
  #waiting: Waiting[] = [];
  #bytes = 0;
  #stage: Stage | undefined;
  #staged = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writing: Promise<void> | undefined;

  /** `flush` writes `runs`, all or none. It is called once at a time. */
  constructor(flush: (runs: Run[]) => void | Promise<void>) {
    this.#flush = flush;
  }

  /** Done when `data` was written; takes a copy of it at once. */
  write(offset: number, data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ offset, data: this.#keep(data), resolve, reject });
      this.#bytes += data.length;
      if (this.#writing) return;
      if (this.#bytes >= MOST) this.#start();
      else this.#timer ??= setTimeout(() => this.#start(), PATIENCE);
    });
  }

  /** Writes all that waits. Never fails: whoever wrote hears of errors. */
  async drain(): Promise<void> {
    while (this.#writing || this.#waiting.length > 0) {
      if (!this.#writing) this.#start();
      await this.#writing;
    }
  }

  #keep(data: Uint8Array): Uint8Array {
    const end = this.#staged + data.length;
    if (end > MOST) return data.slice();
    this.#stage ??= spare.pop() ?? new Uint8Array(MOST);
    const kept = this.#stage.subarray(this.#staged, end);
    kept.set(data);
    this.#staged = end;
    return kept;
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#write().finally(() => {
      this.#writing = undefined;
      if (this.#bytes >= MOST) this.#start();
      else if (this.#bytes > 0) this.#timer ??= setTimeout(() => this.#start(), PATIENCE);
    });
  }

  async #write(): Promise<void> {
    const batch = this.#waiting;
    const stage = this.#stage;
    this.#waiting = [];
    this.#bytes = 0;
    this.#stage = undefined;
    this.#staged = 0;
    try {
      await this.#flush(together(batch));
      for (const one of batch) one.resolve();
    } catch (error) {
      for (const one of batch) one.reject(error);
    }
    if (stage && spare.length < MOST_SPARE) spare.push(stage);
  }
}

/**
 * Lays neighbours together, up to {@link MOST} bytes. A file's last block may be short: what is between it and the next
 * file is filled with zeros, which nobody reads.
 */
export function together(writes: Run[]): Run[] {
  const sorted = [...writes].sort((a, b) => a.offset - b.offset);
  const runs: Run[] = [];
  for (let first = 0; first < sorted.length; ) {
    const { offset } = sorted[first]!;
    let end = first + 1;
    let length = sorted[first]!.data.length;
    for (let next = sorted[end]; next; next = sorted[end]) {
      const start = Math.ceil(length / BLOCK) * BLOCK;
      if (next.offset !== offset + start || start + next.data.length > MOST) break;
      length = start + next.data.length;
      end += 1;
    }
    runs.push({ offset, data: inOnePiece(sorted.slice(first, end), length) });
    first = end;
  }
  return runs;
}

/** The bytes of `parts`, which are neighbours, `length` in all. Copies none if they lie side by side in memory too. */
function inOnePiece(parts: Run[], length: number): Uint8Array {
  const { offset, data: first } = parts[0]!;
  const isOne = parts.every(({ offset: at, data }) => data.buffer === first.buffer && data.byteOffset - first.byteOffset === at - offset);
  if (isOne) return new Uint8Array(first.buffer, first.byteOffset, length);
  const data = new Uint8Array(length);
  for (const part of parts) data.set(part.data, part.offset - offset);
  return data;
}
