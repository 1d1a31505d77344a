/**
 * Chunks by hand, for programs that move or keep them by means of their own: cut files into chunks, name each by its
 * Merkle root, check what came, encrypt, decrypt, and put files together again. The same chunks, roots and ciphertext as
 * in shares; nothing here needs a {@link Kollator}, a worker or storage.
 *
 * ```ts
 * const size = 4 * 1024 * 1024;
 * for await (const chunk of split(file, size)) {
 *   const root = await rootOf(chunk.data, { index: chunk.index, chunkSize: size, fileLength: file.size });
 *   await send(chunk.index, root, chunk.data);
 * }
 * ```
 */

import { KollatorError } from './errors.ts';
import { PLAIN_BLOCK, SEALED_BLOCK, sealedLength, type ContentKey } from './seal.ts';

export { ContentKey, Seal, newKey } from './seal.ts';

type Bytes = Uint8Array<ArrayBuffer>;

const BLOCK = SEALED_BLOCK;
const HASH = 32;

/** A part of a file. */
export interface Chunk {
  /** Its number in the file, from 0. */
  index: number;
  data: Bytes;
}

/** Where a chunk belongs. Lengths are those of what is hashed: of the ciphertext, for an encrypted file. */
export interface Place {
  index: number;
  /** Bytes in a chunk, the last but for: a power of two from 16 KiB to 16 MiB. */
  chunkSize: number;
  fileLength: number;
}

/** Cuts `source` into chunks of `chunkSize` bytes, the last one shorter, read one at a time. */
export async function* split(source: Blob | Bytes, chunkSize: number): AsyncGenerator<Chunk, void, undefined> {
  if (!Number.isSafeInteger(chunkSize) || chunkSize < 1) throw new RangeError(`chunks of ${chunkSize} bytes`);
  const length = source instanceof Blob ? source.size : source.length;
  for (let index = 0; index * chunkSize < length; index += 1) {
    const part = source.slice(index * chunkSize, (index + 1) * chunkSize);
    yield { index, data: part instanceof Blob ? new Uint8Array(await part.arrayBuffer()) : part };
  }
}

/** Puts a file of `length` bytes together from chunks in any order. Throws a {@link KollatorError} `broken` unless each is there once, at its length. */
export async function reassemble(chunks: Iterable<Chunk> | AsyncIterable<Chunk>, chunkSize: number, length: number): Promise<Blob> {
  const count = Math.ceil(length / chunkSize);
  const parts: Array<Bytes | undefined> = Array.from({ length: count });
  for await (const { index, data } of chunks) {
    const expected = Math.min(chunkSize, length - index * chunkSize);
    if (!Number.isInteger(index) || index < 0 || index >= count) throw broken(`there is no chunk ${index} in a file of ${count}`);
    if (parts[index]) throw broken(`chunk ${index} is there twice`);
    if (data.length !== expected) throw broken(`chunk ${index} has ${data.length} bytes, not ${expected}`);
    parts[index] = data;
  }
  const whole = parts.filter((part) => part !== undefined);
  if (whole.length < count) throw broken(`${count - whole.length} of ${count} chunks are missing`);
  return new Blob(whole);
}

/** The Merkle root of a chunk, in hexadecimal: the hash of its tree of 16 KiB blocks, as BitTorrent v2 has it. */
export async function rootOf(data: Bytes, place: Place): Promise<string> {
  checkLength(data, place);
  const blocks = Array.from({ length: Math.ceil(data.length / BLOCK) }, (_, at) => data.subarray(at * BLOCK, (at + 1) * BLOCK));
  let level = await Promise.all(blocks.map(sha256));
  // A file of one chunk has a tree of its own height; the chunks of a larger one have all the same.
  const isOnly = place.fileLength <= place.chunkSize;
  const width = isOnly ? 2 ** Math.ceil(Math.log2(level.length)) : place.chunkSize / BLOCK;
  let padding: Bytes = new Uint8Array(HASH);
  for (let left = width; left > 1; left /= 2) {
    if (level.length % 2 === 1) level.push(padding);
    const pairs = Array.from({ length: level.length / 2 }, (_, at) => pair(level[2 * at]!, level[2 * at + 1]!));
    [level, padding] = await Promise.all([Promise.all(pairs.map(sha256)), sha256(pair(padding, padding))]);
  }
  return Array.from(level[0]!, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Whether `data` is the chunk that has `root` at that place. */
export async function verify(data: Bytes, root: string, place: Place): Promise<boolean> {
  return data.length === lengthAt(place) && (await rootOf(data, place)) === root.toLowerCase();
}

/** Plain bytes that go into an encrypted chunk of `chunkSize` bytes: what to {@link split} a file into before {@link encrypt}. */
export function plainChunkSize(chunkSize: number): number {
  return (chunkSize / BLOCK) * PLAIN_BLOCK;
}

/** Encrypts a chunk of {@link plainChunkSize} bytes, the last of the file but for. `fileLength` and `chunkSize` are those of the ciphertext. */
export function encrypt(data: Bytes, key: ContentKey, place: Place): Promise<Bytes> {
  if (sealedLength(data.length) !== lengthAt(place)) {
    throw new RangeError(`${data.length} bytes are no chunk ${place.index} of a file that has ${place.fileLength} bytes when encrypted`);
  }
  return key.sealRun(plainOf(place.fileLength), firstBlock(place), data);
}

/** Decrypts what {@link encrypt} gave. Throws a {@link KollatorError} `broken` unless it is that, unchanged, at the same place. */
export function decrypt(data: Bytes, key: ContentKey, place: Place): Promise<Bytes> {
  checkLength(data, place);
  return key.openRun(plainOf(place.fileLength), firstBlock(place), data);
}

function firstBlock({ index, chunkSize }: Place): number {
  return (index * chunkSize) / BLOCK;
}

function plainOf(fileLength: number): number {
  return fileLength - (BLOCK - PLAIN_BLOCK) * Math.ceil(fileLength / BLOCK);
}

/** Bytes of the chunk at `place`. */
function lengthAt({ index, chunkSize, fileLength }: Place): number {
  const isSize = Number.isInteger(Math.log2(chunkSize)) && chunkSize >= BLOCK && chunkSize <= 16 * 1024 * 1024;
  if (!isSize) throw new RangeError(`chunks can't have ${chunkSize} bytes: it must be a power of two from 16 KiB to 16 MiB`);
  return Math.max(0, Math.min(chunkSize, fileLength - index * chunkSize));
}

function checkLength(data: Bytes, place: Place): void {
  const expected = lengthAt(place);
  if (data.length === 0 || data.length !== expected) throw broken(`chunk ${place.index} has ${data.length} bytes, not ${expected}`);
}

async function sha256(data: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', data));
}

function pair(left: Bytes, right: Bytes): Bytes {
  const both = new Uint8Array(2 * HASH);
  both.set(left);
  both.set(right, HASH);
  return both;
}

function broken(what: string): KollatorError {
  return new KollatorError('broken', `The file can't be put together: ${what}.`);
}
