/**
 * Keeps shares in IndexedDB, for browsers without synchronous access to private files. Bytes lie in rows of
 * {@link ROW}, bits in pages of {@link PAGE} bytes; rows and the bits that speak of them are kept in one transaction.
 * Both go by a number, which a share has beside its name, so that a name can change in a moment.
 */

import { KollatorError } from '../errors.ts';
import type { KeyPairStore } from '../person.ts';
import { Bitmap } from './bitmap.ts';
import type { Files } from './block-store.ts';
import { Database } from './database.ts';
import type { Backend } from './shares.ts';
import { BLOCK, estimate, full, type ShareRecord } from './storage.ts';
import type { Run } from './write-queue.ts';

/** Bytes in a row. */
const ROW = 256 * 1024;
/** Bytes in a page of bits. */
const PAGE = 4096;
/** Bytes of a share that a page of bits is about. */
const PAGE_BYTES = PAGE * 8 * BLOCK;

interface Share {
  id: number;
  bytes: number;
}

/** Part of a row: bytes from `from` on in it. */
interface Part {
  from: number;
  data: Uint8Array;
}

/** Shares in IndexedDB. */
export class IndexedDbBackend implements Backend {
  readonly kind = 'indexeddb';
  readonly shared = true;
  readonly keyPair: KeyPairStore;
  #database: Database;

  constructor(database: Database) {
    this.#database = database;
    this.keyPair = database.keyPair;
  }

  async open(name: string, bytes: number): Promise<{ bitmap: Bitmap; files: Files }> {
    let share = await this.#share(name);
    if (share?.bytes !== bytes) {
      await this.remove(name);
      const { available } = await estimate();
      if (available !== undefined && bytes > available) throw full(bytes, available);
      share = await this.#create(name, bytes);
    }
    const { id } = share;
    const bitmap = await this.#bitmap(id, bytes);
    return {
      bitmap,
      files: {
        read: (offset, length) => this.#read(id, offset, length),
        write: (runs, marked) => this.#write(id, runs, marked),
        close: () => undefined,
      },
    };
  }

  async rename(temporary: string, infoHash: string): Promise<void> {
    const share = await this.#share(temporary);
    if (!share) throw new KollatorError('storage', 'The new share is not there any more.');
    await this.remove(infoHash);
    await this.#database.change(['shares'], 'name a share', (transaction) => {
      const shares = transaction.objectStore('shares');
      shares.delete(temporary);
      shares.put(share, infoHash);
    });
  }

  async names(): Promise<string[]> {
    return (await this.#database.ask('shares', 'list its shares', (shares) => shares.getAllKeys())).map(String);
  }

  async remove(name: string): Promise<void> {
    const share = await this.#share(name);
    if (!share) return;
    const all = IDBKeyRange.bound([share.id], [share.id, []]);
    await this.#database.change(['shares', 'rows', 'maps'], 'delete a share', (transaction) => {
      transaction.objectStore('shares').delete(name);
      transaction.objectStore('rows').delete(all);
      transaction.objectStore('maps').delete(all);
    });
  }

  records(): Promise<ShareRecord[]> {
    return this.#database.records();
  }

  putRecord(record: ShareRecord): Promise<void> {
    return this.#database.putRecord(record);
  }

  deleteRecord(infoHash: string): Promise<void> {
    return this.#database.deleteRecord(infoHash);
  }

  usage(): Promise<{ used: number; available?: number }> {
    return estimate();
  }

  #share(name: string): Promise<Share | undefined> {
    return this.#database.ask('shares', 'find a share', (shares) => shares.get(name) as IDBRequest<Share | undefined>);
  }

  async #create(name: string, bytes: number): Promise<Share> {
    // 48 random bits: tabs that create shares at the same moment need not agree on the next number.
    const [low, high] = crypto.getRandomValues(new Uint32Array(2));
    const share = { id: low! * 65536 + (high! & 0xffff), bytes };
    await this.#database.change(['shares'], 'begin a share', (transaction) => transaction.objectStore('shares').put(share, name));
    return share;
  }

  async #bitmap(id: number, bytes: number): Promise<Bitmap> {
    const bitmap = new Bitmap(bytes);
    for (let first = 0; first < bitmap.bits.length; first += PAGE) {
      const page = await this.#database.ask('maps', 'read a share', (maps) => maps.get([id, first / PAGE]));
      if (page instanceof Uint8Array) bitmap.bits.set(page.subarray(0, bitmap.bits.length - first), first);
    }
    return bitmap;
  }

  async #read(id: number, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const data = new Uint8Array(length);
    const indices: number[] = [];
    for (let row = Math.floor(offset / ROW); row * ROW < offset + length; row += 1) indices.push(row);
    await Promise.all(
      indices.map(async (index) => {
        const row: unknown = await this.#database.ask('rows', 'read a share', (rows) => rows.get([id, index]));
        if (!(row instanceof Uint8Array)) throw new KollatorError('storage', 'The browser has lost a part of the share.');
        const from = Math.max(0, offset - index * ROW);
        const end = Math.min(row.length, offset + length - index * ROW);
        data.set(row.subarray(from, end), index * ROW + from - offset);
      }),
    );
    return data;
  }

  async #write(id: number, runs: Run[], bitmap: Bitmap): Promise<void> {
    const parts = intoRows(runs);
    const needed = runs.reduce((sum, run) => sum + run.data.length, 0);
    await this.#database.change(
      ['rows', 'maps'],
      'write a share',
      (transaction) => {
        const rows = transaction.objectStore('rows');
        for (const [index, ofRow] of parts) putParts(rows, [id, index], Math.min(ROW, bitmap.bytes - index * ROW), ofRow);
        const maps = transaction.objectStore('maps');
        for (const [page, bits] of pagesWith(runs, bitmap)) maps.put(bits, [id, page]);
      },
      needed,
    );
    for (const { offset, data } of runs) bitmap.mark(offset, data.length);
  }
}

/** Cuts `runs` at the borders of rows. */
function intoRows(runs: Run[]): Map<number, Part[]> {
  const parts = new Map<number, Part[]>();
  for (const { offset, data } of runs) {
    for (let at = 0; at < data.length; ) {
      const index = Math.floor((offset + at) / ROW);
      const from = offset + at - index * ROW;
      const part = { from, data: data.subarray(at, at + ROW - from) };
      parts.set(index, [...(parts.get(index) ?? []), part]);
      at += part.data.length;
    }
  }
  return parts;
}

/** Puts `parts` into a row of `length` bytes, beside what is there already. */
function putParts(rows: IDBObjectStore, key: [number, number], length: number, parts: Part[]): void {
  const put = (row: Uint8Array): void => {
    for (const { from, data } of parts) row.set(data, from);
    rows.put(row, key);
  };
  if (parts.length === 1 && parts[0]!.data.length === length) {
    put(new Uint8Array(length));
    return;
  }
  const there = rows.get(key);
  there.onsuccess = () => put(there.result instanceof Uint8Array ? there.result : new Uint8Array(length));
}

/** The pages of bits as they will be once `runs` are there. */
function pagesWith(runs: Run[], bitmap: Bitmap): Map<number, Uint8Array> {
  const pages = new Map<number, Bitmap>();
  for (const { offset, data } of runs) {
    for (let at = offset; at < offset + data.length; at += BLOCK) {
      const index = Math.floor(at / PAGE_BYTES);
      let page = pages.get(index);
      if (!page) {
        const bits = new Uint8Array(PAGE);
        bits.set(bitmap.bits.subarray(index * PAGE, (index + 1) * PAGE));
        page = new Bitmap(PAGE_BYTES, bits);
        pages.set(index, page);
      }
      page.mark(at - index * PAGE_BYTES, 1);
    }
  }
  return new Map([...pages].map(([index, page]) => [index, page.bits]));
}
