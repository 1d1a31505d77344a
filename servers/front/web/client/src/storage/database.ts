/**
 * The database of a browser profile: records of shares and, for the IndexedDB back end, their bytes. A transaction is
 * kept as a whole or not at all, whatever ends the browser.
 */

import { type KeyPair, type KeyPairStore, asKeyPair } from '../person.ts';
import { asRecord, storageError, type ShareRecord } from './storage.ts';

/** Tables of the database. */
export type Table = (typeof TABLES)[number];

const TABLES = ['records', 'shares', 'rows', 'maps', 'keys'] as const;
/** Under which the one key pair is. */
const OWN = 'own';

/** The open database. */
export class Database {
  #database: IDBDatabase;
  /** The key pair of this browser profile. */
  readonly keyPair: KeyPairStore = {
    get: async () => asKeyPair(await this.ask('keys', 'read your key', (keys) => keys.get(OWN))),
    keep: (fresh) => this.#keepKeyPair(fresh),
  };

  constructor(database: IDBDatabase) {
    this.#database = database;
  }

  static async open(): Promise<Database> {
    const request = indexedDB.open('kollator', 2);
    request.onupgradeneeded = () => {
      const { objectStoreNames } = request.result;
      for (const table of TABLES) if (!objectStoreNames.contains(table)) request.result.createObjectStore(table);
    };
    const database = await asked(request, 'open its database');
    // Another tab with newer code may change the tables: it must not wait for this one.
    database.onversionchange = () => database.close();
    return new Database(database);
  }

  close(): void {
    this.#database.close();
  }

  /** Runs `work` in one transaction over `tables`, and waits until it is kept. `needed`: bytes it adds. */
  async change<T>(tables: Table[], doing: string, work: (transaction: IDBTransaction) => T, needed = 0): Promise<T> {
    try {
      const transaction = this.#database.transaction(tables, 'readwrite');
      const kept = new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error ?? new Error('the transaction was given up'));
      });
      const result = work(transaction);
      await kept;
      return result;
    } catch (error) {
      throw await storageError(error, doing, needed);
    }
  }

  /** What `query` asks of `table`. */
  async ask<T>(table: Table, doing: string, query: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    try {
      return await asked(query(this.#database.transaction(table, 'readonly').objectStore(table)), doing);
    } catch (error) {
      throw await storageError(error, doing, 0);
    }
  }

  /** All records; those that make no sense are removed. */
  async records(): Promise<ShareRecord[]> {
    const whole: ShareRecord[] = [];
    for (const key of await this.ask('records', 'list its shares', (store) => store.getAllKeys())) {
      const record = asRecord(await this.ask('records', 'list its shares', (store) => store.get(key)));
      if (record && record.infoHash === key) whole.push(record);
      else await this.change(['records'], 'forget a share', (transaction) => transaction.objectStore('records').delete(key));
    }
    return whole;
  }

  async putRecord(record: ShareRecord): Promise<void> {
    await this.change(
      ['records'],
      'note a share',
      (transaction) => transaction.objectStore('records').put(record, record.infoHash),
      record.ko?.length ?? 0,
    );
  }

  async deleteRecord(infoHash: string): Promise<void> {
    await this.change(['records'], 'forget a share', (transaction) => transaction.objectStore('records').delete(infoHash));
  }

  /** In one transaction, so that tabs that make one at the same moment agree on which. */
  async #keepKeyPair(fresh: KeyPair): Promise<KeyPair> {
    const kept = { pair: fresh };
    await this.change(['keys'], 'keep your key', (transaction) => {
      const keys = transaction.objectStore('keys');
      const there = keys.get(OWN);
      there.onsuccess = () => {
        const pair = asKeyPair(there.result);
        if (pair) kept.pair = pair;
        else keys.put({ publicKey: fresh.publicKey, privateKey: fresh.privateKey }, OWN);
      };
    });
    return kept.pair;
  }
}

async function asked<T>(request: IDBRequest<T>, doing: string): Promise<T> {
  try {
    return await new Promise<T>((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error ?? new Error('no reason given'));
    });
  } catch (error) {
    throw await storageError(error, doing, 0);
  }
}
