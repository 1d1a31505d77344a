/**
 * Keeps shares in files of the origin private file system, through the synchronous access that only a dedicated worker
 * has. `kollator/NAME.data` holds a share's bytes at its full length, sparse where nothing is yet; `NAME.state` says
 * its length and which blocks are there.
 *
 * A block's bits are written after its bytes, by the same thread through the same system: when the browser is killed,
 * the system has either both or the bytes alone. Only when the machine itself stops may bits outlive their bytes;
 * whoever goes on with a share hashes its blocks first, so they are then fetched again.
 */

import { KollatorError } from '../errors.ts';
import type { KeyPairStore } from '../person.ts';
import { Bitmap } from './bitmap.ts';
import type { Files } from './block-store.ts';
import type { Database } from './database.ts';
import type { Backend } from './shares.ts';
import { estimate, isShareName, storageError, type ShareRecord } from './storage.ts';
import type { Run } from './write-queue.ts';

/** Synchronous access to a file, as dedicated workers have it. */
interface SyncHandle {
  read(buffer: Uint8Array, options: { at: number }): number;
  write(buffer: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

/** What TypeScript's library does not list of a file's handle outside its library for workers. */
interface FileHandle extends FileSystemFileHandle {
  createSyncAccessHandle?(): Promise<SyncHandle>;
  move?(name: string): Promise<void>;
}

const FOLDER = 'kollator';
const MAGIC = new TextEncoder().encode('kollator state 1');
/** Magic, then the share's length as eight bytes, the lowest first. */
const HEADER = 24;
/** How often, and after how many milliseconds, to try again for a file that a worker that has just ended may still have. */
const TRIES = 20;
const PAUSE = 50;

/** Shares in private files; their records in IndexedDB, which keeps a record as a whole or not at all. */
export class OpfsBackend implements Backend {
  readonly kind = 'opfs';
  readonly shared = true;
  readonly keyPair: KeyPairStore;
  #folder: FileSystemDirectoryHandle;
  #database: Database;

  constructor(folder: FileSystemDirectoryHandle, database: Database) {
    this.#folder = folder;
    this.#database = database;
    this.keyPair = database.keyPair;
  }

  /** The folder of all shares, if this browser and this thread can work with it. Throws whatever the browser throws if not. */
  static async probe(): Promise<FileSystemDirectoryHandle> {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle(FOLDER, { create: true });
    // Outside the folder, where nobody tidies up, and never removed: another tab may be at it in the same moment.
    const file: FileHandle = await root.getFileHandle('kollator-probe', { create: true });
    if (!file.createSyncAccessHandle || !file.move) throw new Error('no synchronous access to private files');
    try {
      (await file.createSyncAccessHandle()).close();
    } catch (error) {
      // Another tab has it open: so it can be opened.
      if (!isTaken(error)) throw error;
    }
    return folder;
  }

  async open(name: string, bytes: number): Promise<{ bitmap: Bitmap; files: Files }> {
    const data = await this.#access(`${name}.data`);
    const state = await this.#access(`${name}.state`).catch((error: unknown) => {
      data.close();
      throw error;
    });
    const kept = data.getSize() === bytes ? readState(state, bytes) : undefined;
    if (kept) return { bitmap: kept, files: new OpfsFiles(data, state) };
    try {
      return { bitmap: begin(data, state, bytes), files: new OpfsFiles(data, state) };
    } catch (error) {
      data.close();
      state.close();
      await this.remove(name).catch(() => undefined);
      throw await storageError(error, 'make room for a share', bytes);
    }
  }

  async rename(temporary: string, infoHash: string): Promise<void> {
    try {
      // The old state goes first and the new one comes last, so that none ever speaks of another share's bytes.
      await this.remove(infoHash);
      for (const part of ['data', 'state']) {
        const file: FileHandle = await this.#folder.getFileHandle(`${temporary}.${part}`);
        await file.move?.(`${infoHash}.${part}`);
      }
    } catch (error) {
      throw await storageError(error, 'name a share', 0);
    }
  }

  async names(): Promise<string[]> {
    const names = new Set<string>();
    const foreign: string[] = [];
    try {
      for await (const entry of this.#folder.keys()) {
        const [, name] = /^(.+)\.(?:data|state)$/.exec(entry) ?? [];
        if (name !== undefined && isShareName(name)) names.add(name);
        else foreign.push(entry);
      }
      for (const entry of foreign) await this.#folder.removeEntry(entry, { recursive: true });
    } catch (error) {
      throw await storageError(error, 'list its shares', 0);
    }
    return [...names];
  }

  async remove(name: string): Promise<void> {
    for (const part of ['state', 'data']) {
      try {
        await this.#folder.removeEntry(`${name}.${part}`);
      } catch (error) {
        if (!(error instanceof DOMException && error.name === 'NotFoundError')) throw await storageError(error, 'delete a share', 0);
      }
    }
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

  async #access(entry: string): Promise<SyncHandle> {
    for (let tries = 1; ; tries += 1) {
      try {
        const file: FileHandle = await this.#folder.getFileHandle(entry, { create: true });
        if (!file.createSyncAccessHandle) throw new Error('it has no synchronous access to private files');
        return await file.createSyncAccessHandle();
      } catch (error) {
        if (!isTaken(error) || tries === TRIES) throw await storageError(error, 'open a share', 0);
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
      }
    }
  }
}

/** The two files of an open share. */
class OpfsFiles implements Files {
  #data: SyncHandle;
  #state: SyncHandle;

  constructor(data: SyncHandle, state: SyncHandle) {
    this.#data = data;
    this.#state = state;
  }

  read(offset: number, length: number): Uint8Array<ArrayBuffer> {
    const data = new Uint8Array(length);
    const got = this.#data.read(data, { at: offset });
    if (got !== length) throw new KollatorError('storage', 'The browser has lost a part of the share.');
    return data;
  }

  write(runs: Run[], bitmap: Bitmap): void {
    for (const { offset, data } of runs) writeAll(this.#data, data, offset);
    for (const { offset, data } of runs) {
      const [first, end] = bitmap.mark(offset, data.length);
      writeAll(this.#state, bitmap.bits.subarray(first, end), HEADER + first);
    }
  }

  close(): void {
    try {
      this.#data.flush();
      this.#state.flush();
    } finally {
      this.#data.close();
      this.#state.close();
    }
  }
}

/** The blocks that are there by a share's state, if it is one of a share of `bytes` bytes. */
function readState(state: SyncHandle, bytes: number): Bitmap | undefined {
  const size = HEADER + Bitmap.size(bytes);
  if (state.getSize() !== size) return undefined;
  const whole = new Uint8Array(size);
  if (state.read(whole, { at: 0 }) !== size) return undefined;
  const expected = header(bytes);
  if (!expected.every((byte, at) => whole[at] === byte)) return undefined;
  return new Bitmap(bytes, whole.slice(HEADER));
}

/** Makes the files of a share of `bytes` bytes that has no block yet. Asks for all the room at once. */
function begin(data: SyncHandle, state: SyncHandle, bytes: number): Bitmap {
  state.truncate(0);
  data.truncate(bytes);
  // In a private window Chromium gives what there is, and no error.
  if (data.getSize() !== bytes) throw new DOMException('there is less room', 'QuotaExceededError');
  state.truncate(HEADER + Bitmap.size(bytes));
  writeAll(state, header(bytes), 0);
  return new Bitmap(bytes);
}

function header(bytes: number): Uint8Array {
  const header = new Uint8Array(HEADER);
  header.set(MAGIC);
  new DataView(header.buffer).setBigUint64(MAGIC.length, BigInt(bytes), true);
  return header;
}

function writeAll(file: SyncHandle, data: Uint8Array, offset: number): void {
  for (let at = 0; at < data.length; ) {
    const wrote = file.write(data.subarray(at), { at: offset + at });
    if (wrote === 0) throw new DOMException('nothing could be written', 'QuotaExceededError');
    at += wrote;
  }
}

function isTaken(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'NoModificationAllowedError';
}
