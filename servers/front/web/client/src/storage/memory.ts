/** Keeps shares in this tab's memory: for browsers that have nothing better. Gone with the tab. */

import { KollatorError } from '../errors.ts';
import type { KeyPair, KeyPairStore } from '../person.ts';
import { Bitmap } from './bitmap.ts';
import type { Files } from './block-store.ts';
import type { Backend } from './shares.ts';
import { BLOCK, full, type ShareRecord } from './storage.ts';
import type { Run } from './write-queue.ts';

/** Most bytes kept, unless told otherwise. */
export const MEMORY_LIMIT = 512 * 1024 * 1024;

type Blocks = Map<number, Uint8Array<ArrayBuffer>>;

/** Shares in memory, a limited number of bytes in all. */
export class MemoryBackend implements Backend {
  readonly kind = 'memory';
  readonly shared = false;
  readonly keyPair: KeyPairStore = {
    get: async () => this.#keyPair,
    keep: async (fresh) => (this.#keyPair ??= fresh),
  };
  #limit: number;
  #used = 0;
  #keyPair: KeyPair | undefined;
  #records = new Map<string, ShareRecord>();
  #kept = new Map<string, { bitmap: Bitmap; blocks: Blocks }>();

  constructor(limit = MEMORY_LIMIT) {
    this.#limit = limit;
  }

  async open(name: string, bytes: number): Promise<{ bitmap: Bitmap; files: Files }> {
    let kept = this.#kept.get(name);
    if (kept?.bitmap.bytes !== bytes) {
      await this.remove(name);
      this.#checkRoom(bytes);
      kept = { bitmap: new Bitmap(bytes), blocks: new Map() };
      this.#kept.set(name, kept);
    }
    const { bitmap, blocks } = kept;
    return {
      bitmap,
      files: {
        read: (offset, length) => readBlocks(blocks, offset, length),
        write: (runs) => this.#write(runs, bitmap, blocks),
        close: () => undefined,
      },
    };
  }

  async rename(temporary: string, infoHash: string): Promise<void> {
    const kept = this.#kept.get(temporary);
    if (!kept) throw new KollatorError('storage', 'The new share is not there any more.');
    await this.remove(infoHash);
    this.#kept.delete(temporary);
    this.#kept.set(infoHash, kept);
  }

  async names(): Promise<string[]> {
    return [...this.#kept.keys()];
  }

  async remove(name: string): Promise<void> {
    for (const block of this.#kept.get(name)?.blocks.values() ?? []) this.#used -= block.length;
    this.#kept.delete(name);
  }

  async records(): Promise<ShareRecord[]> {
    return structuredClone([...this.#records.values()]);
  }

  async putRecord(record: ShareRecord): Promise<void> {
    this.#records.set(record.infoHash, structuredClone(record));
  }

  async deleteRecord(infoHash: string): Promise<void> {
    this.#records.delete(infoHash);
  }

  async usage(): Promise<{ used: number; available: number }> {
    return { used: this.#used, available: this.#limit - this.#used };
  }

  #write(runs: Run[], bitmap: Bitmap, blocks: Blocks): void {
    this.#checkRoom(runs.reduce((sum, run) => sum + run.data.length, 0));
    for (const { offset, data } of runs) {
      for (let at = 0; at < data.length; at += BLOCK) {
        const index = (offset + at) / BLOCK;
        const block = data.slice(at, at + BLOCK);
        this.#used += block.length - (blocks.get(index)?.length ?? 0);
        blocks.set(index, block);
      }
      bitmap.mark(offset, data.length);
    }
  }

  #checkRoom(bytes: number): void {
    const available = this.#limit - this.#used;
    if (bytes > available) throw full(bytes, available);
  }
}

function readBlocks(blocks: Blocks, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(length);
  for (let at = offset; at < offset + length; ) {
    const from = at % BLOCK;
    const take = Math.min(BLOCK - from, offset + length - at);
    const block = blocks.get(Math.floor(at / BLOCK));
    if (block) data.set(block.subarray(from, from + take), at - offset);
    at += take;
  }
  return data;
}
