/**
 * Puts a file together for saving where it can be streamed nowhere. What is put together is in memory, or wherever the
 * browser has its blobs, so that only files of a limited size can be saved in this way; larger ones are refused in words.
 * (Parts that IndexedDB holds would take no memory, but Firefox's download of a file made of those stops after 192 MiB.)
 */

import { bytes } from './format.ts';

/** Bytes in a part: of what is not yet handed to the browser. */
const PART = 16 << 20;
/** Most bytes of a file. */
export const MOST = 512 << 20;

/** All that comes, `length` bytes, as one file. */
export async function gathered(from: ReadableStream<Uint8Array<ArrayBuffer>>, length: number, onBytes: (done: number) => void): Promise<Blob> {
  if (length > MOST) {
    await from.cancel();
    throw new RangeError(`it has ${bytes(length)}, and here a page can save ${bytes(MOST)} at most. Another browser, or a window that is not private, may save it.`);
  }
  const parts: Blob[] = [];
  let waiting: Uint8Array<ArrayBuffer>[] = [];
  let [size, done] = [0, 0];
  const write = (data: Uint8Array<ArrayBuffer>): void => {
    waiting.push(data);
    size += data.length;
    if (size >= PART) {
      parts.push(new Blob(waiting));
      [waiting, size] = [[], 0];
    }
    done += data.length;
    onBytes(done);
  };
  await from.pipeTo(new WritableStream({ write }));
  return new Blob([...parts, ...waiting]);
}
