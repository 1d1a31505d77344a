/** The shares of one back end: who holds which, which are left over, and their records. */

import type { KeyPairStore } from '../person.ts';
import type { StorageKind } from '../types.ts';
import type { Bitmap } from './bitmap.ts';
import { BlockStore, type Files } from './block-store.ts';
import { freed, tryHold } from './locks.ts';
import { ElsewhereError, checkShare, type ShareRecord, type ShareStore, type Storage } from './storage.ts';

/** What a back end does; {@link Shares} sees to it that it does one thing at a time with a share. */
export interface Backend {
  readonly kind: StorageKind;
  /** Whether other tabs see the same shares. */
  readonly shared: boolean;
  readonly keyPair: KeyPairStore;
  /** Opens a share; with no block there, unless it was kept at that length. */
  open(name: string, bytes: number): Promise<{ bitmap: Bitmap; files: Files }>;
  rename(temporary: string, infoHash: string): Promise<void>;
  /** Names of all shares that take room. What is none is removed. */
  names(): Promise<string[]>;
  /** Removes a share's bytes, if there are any. */
  remove(name: string): Promise<void>;
  records(): Promise<ShareRecord[]>;
  putRecord(record: ShareRecord): Promise<void>;
  deleteRecord(infoHash: string): Promise<void>;
  usage(): Promise<{ used: number; available?: number }>;
}

interface Held {
  freed: Promise<void>;
  store?: ShareStore;
}

/** A {@link Storage} over a back end. */
export class Shares implements Storage {
  readonly kind: StorageKind;
  readonly keyPair: KeyPairStore;
  #backend: Backend;
  #held = new Map<string, Held>();

  constructor(backend: Backend) {
    this.kind = backend.kind;
    this.keyPair = backend.keyPair;
    this.#backend = backend;
  }

  async open(infoHash: string, bytes: number): Promise<ShareStore> {
    checkShare(infoHash, bytes);
    const release = await this.#hold(infoHash);
    try {
      const { bitmap, files } = await this.#backend.open(infoHash, bytes);
      const store = new BlockStore(infoHash, bitmap, files, release);
      this.#held.get(infoHash)!.store = store;
      return store;
    } catch (error) {
      release();
      throw error;
    }
  }

  async rename(temporary: string, infoHash: string): Promise<void> {
    checkShare(temporary);
    checkShare(infoHash);
    await this.#alone(temporary, () => this.#alone(infoHash, () => this.#backend.rename(temporary, infoHash)));
  }

  async list(): Promise<ShareRecord[]> {
    // Names first: a record that is put meanwhile then counts, and its bytes stay.
    const names = await this.#backend.names();
    const records = await this.#backend.records();
    const recorded = new Set(records.map((record) => record.infoHash));
    for (const name of names) {
      if (recorded.has(name)) continue;
      await this.#alone(name, () => this.#backend.remove(name)).catch((error: unknown) => {
        if (!(error instanceof ElsewhereError)) throw error;
      });
    }
    return records;
  }

  async putRecord(record: ShareRecord): Promise<void> {
    checkShare(record.infoHash);
    await this.#backend.putRecord(record);
  }

  async delete(infoHash: string): Promise<void> {
    checkShare(infoHash);
    await this.#held.get(infoHash)?.store?.close();
    await this.#alone(infoHash, async () => {
      await this.#backend.deleteRecord(infoHash);
      await this.#backend.remove(infoHash);
    });
  }

  usage(): Promise<{ used: number; available?: number }> {
    return this.#backend.usage();
  }

  async #alone<T>(name: string, work: () => Promise<T>): Promise<T> {
    const release = await this.#hold(name);
    try {
      return await work();
    } finally {
      release();
    }
  }

  /** Takes a share for this tab alone, and in it for whoever calls. */
  async #hold(name: string): Promise<() => void> {
    const holder = this.#held.get(name);
    if (holder) throw new ElsewhereError(name, () => holder.freed);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held.set(name, { freed: promise });
    const letGo = (): void => {
      this.#held.delete(name);
      resolve();
    };
    if (!this.#backend.shared) return letGo;
    const release = await tryHold(name).catch((error: unknown) => {
      letGo();
      throw error;
    });
    if (!release) {
      letGo();
      throw new ElsewhereError(name, (signal) => freed(name, signal));
    }
    return () => {
      letGo();
      release();
    };
  }
}
