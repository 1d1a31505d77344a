/**
 * SHA-256 of blocks by the browser's own implementation, many at once: it works on other threads and is three times as
 * fast as WebAssembly. The result is compared with nothing here.
 */

import { BLOCK } from '../storage/storage.ts';

/** Bytes in a hash. */
export const HASH = 32;

/**
 * The hashes of the blocks of `data`, one after another; the last block may be short and is not padded. `data` may change
 * once this returns its promise: the browser takes a copy of its own.
 */
export async function leavesOf(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const hashes: Array<Promise<ArrayBuffer>> = [];
  for (let at = 0; at < data.byteLength; at += BLOCK) {
    hashes.push(crypto.subtle.digest('SHA-256', data.subarray(at, at + BLOCK)));
  }
  const leaves = new Uint8Array(hashes.length * HASH);
  (await Promise.all(hashes)).forEach((hash, index) => leaves.set(new Uint8Array(hash), index * HASH));
  return leaves;
}
