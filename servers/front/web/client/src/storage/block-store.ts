/** A share's bytes over any back end: checks what is asked, brings writes together, knows which blocks are there. */

import { KollatorError } from '../errors.ts';
import type { Bitmap } from './bitmap.ts';
import { BLOCK, checkRange, storageError, type ShareStore } from './storage.ts';
import { WriteQueue, type Run } from './write-queue.ts';

/** Where a back end keeps the bytes of one share that is open. */
export interface Files {
  /** `length` bytes from `offset` on, all of them written before. */
  read(offset: number, length: number): Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Keeps `runs` and then, or together with them, the bits of `bitmap` that say so, and marks them. Whatever ends the
   * browser in between, no bit may be kept of a block that is not.
   */
  write(runs: Run[], bitmap: Bitmap): void | Promise<void>;
  close(): void | Promise<void>;
}

/** An open share. */
export class BlockStore implements ShareStore {
  readonly name: string;
  #bitmap: Bitmap;
  #files: Files;
  #queue: WriteQueue;
  #release: () => void;
  #closing: Promise<void> | undefined;

  /** `release` is called once it is closed. */
  constructor(name: string, bitmap: Bitmap, files: Files, release: () => void) {
    this.name = name;
    this.#bitmap = bitmap;
    this.#files = files;
    this.#release = release;
    this.#queue = new WriteQueue((runs) => this.#write(runs));
  }

  get bytes(): number {
    return this.#bitmap.bytes;
  }

  async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    this.#checkOpen();
    checkRange(this.bytes, offset, length);
    if (this.available(offset, length) < length) {
      throw new KollatorError('storage', `The bytes from ${offset} on are not here yet.`);
    }
    try {
      return await this.#files.read(offset, length);
    } catch (error) {
      throw await storageError(error, 'read a share', 0);
    }
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    this.#checkOpen();
    checkRange(this.bytes, offset, data.length);
    if (offset % BLOCK !== 0) throw new KollatorError('storage', `Byte ${offset} is not the first of a block.`);
    if (data.length > 0) await this.#queue.write(offset, data);
  }

  present(): Array<[number, number]> {
    return this.#bitmap.runs();
  }

  available(offset: number, length: number): number {
    return this.#bitmap.available(offset, length);
  }

  close(): Promise<void> {
    this.#closing ??= this.#queue
      .drain()
      .then(() => this.#files.close())
      .finally(() => this.#release());
    return this.#closing;
  }

  async #write(runs: Run[]): Promise<void> {
    try {
      await this.#files.write(runs, this.#bitmap);
    } catch (error) {
      throw await storageError(
        error,
        'write a share',
        runs.reduce((sum, run) => sum + run.data.length, 0),
      );
    }
  }

  #checkOpen(): void {
    if (this.#closing) throw new KollatorError('storage', 'The share is closed.');
  }
}
