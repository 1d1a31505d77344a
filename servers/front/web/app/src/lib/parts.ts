/**
 * Puts a file together for saving where it can be streamed nowhere: from parts that the browser keeps outside of memory,
 * in IndexedDB, or in memory where pages may keep nothing. Nothing of it is found afterwards: a part is forgotten as
 * soon as the browser has given it back, and lives on only in the file that is made of it.
 */

import { bytes } from './format.ts';

/** Where parts are put; gives each back as something that takes no memory, if it can. */
export interface Shelf {
  /** Most bytes that it takes. */
  room: number;
  put(part: Blob): Promise<Blob>;
  close(): void;
}

/** Bytes in a part. */
const PART = 16 << 20;
/** Most bytes of a file that is put together in memory. */
const MEMORY_ROOM = 512 << 20;
const DATABASE = 'kollator-saving';
const STORE = 'parts';

/** All that comes, `length` bytes, as one file. Says in words how large it may be if it is too large. */
export async function gathered(
  from: ReadableStream<Uint8Array<ArrayBuffer>>,
  length: number,
  shelf: Shelf,
  onBytes: (done: number) => void,
): Promise<Blob> {
  if (length > shelf.room) {
    await from.cancel();
    throw new RangeError(`it has ${bytes(length)}, and this browser lets a page put together ${bytes(shelf.room)} at most. Another browser, or a window that is not private, may save it.`);
  }
  const parts: Blob[] = [];
  let waiting: Uint8Array<ArrayBuffer>[] = [];
  let [size, done] = [0, 0];
  const shelve = async (): Promise<void> => {
    parts.push(await shelf.put(new Blob(waiting)));
    [waiting, size] = [[], 0];
  };
  await from.pipeTo(
    new WritableStream({
      write: async (data) => {
        waiting.push(data);
        size += data.length;
        if (size >= PART) await shelve();
        done += data.length;
        onBytes(done);
      },
    }),
  );
  if (size > 0) await shelve();
  return new Blob(parts);
}

/** The best shelf that this browser has. */
export async function openShelf(): Promise<Shelf> {
  try {
    const { quota = 0, usage = 0 } = await navigator.storage.estimate();
    const database = await opened();
    return { room: quota - usage, put: (part) => shelved(database, part), close: () => database.close() };
  } catch {
    return { room: MEMORY_ROOM, put: (part) => Promise.resolve(part), close: () => undefined };
  }
}

function opened(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { autoIncrement: true });
  return result(request);
}

/** Writes a part, and gives what the browser has of it then, which it keeps for as long as somebody has it. */
async function shelved(database: IDBDatabase, part: Blob): Promise<Blob> {
  const writing = database.transaction(STORE, 'readwrite');
  const key = await result(writing.objectStore(STORE).add(part));
  await new Promise<void>((resolve, reject) => {
    writing.oncomplete = () => resolve();
    writing.onabort = () => reject(writing.error ?? new Error('the browser has no room for it'));
  });
  const store = database.transaction(STORE, 'readwrite').objectStore(STORE);
  const kept = (await result(store.get(key))) as Blob;
  await result(store.delete(key));
  return kept;
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('the browser refused it'));
  });
}
