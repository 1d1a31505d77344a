/**
 * Sealed shares: end-to-end encryption as docs/protocol.md has it, by WebCrypto. A sealed share is an ordinary share of
 * ciphertext; the key of its names and contents travels in the link and must never be sent, logged or put into an error.
 *
 * All of it is a function of the key, the names and the bytes: the same files under the same key are the same share.
 */

import { fromBase64url, toBase64url } from './base64url.ts';
import { KollatorError } from './errors.ts';
import { checkPaths, compareBytes, shortened } from './paths.ts';

/** What every sealed share is called in its metainfo, and no other share may be. */
export const SEALED_NAME = 'kollator-sealed-1';
/** Bytes in a sealed block: one leaf. */
export const SEALED_BLOCK = 16384;
/** Bytes that sealing adds to a block. */
const TAG = 16;
/** Plain bytes in a block. */
export const PLAIN_BLOCK = SEALED_BLOCK - TAG;

const NONCE = 12;
/** Paths are padded to a multiple of this. */
const STEP = 32;
/** Characters of base64url in a path component. */
const COMPONENT = 200;
/** Most bytes in a path that is sealed: what fits into 64 components. */
const MAX_PATH = Math.floor((COMPONENT * 64 * 3) / 4 / STEP - 1) * STEP;

type Bytes = Uint8Array<ArrayBuffer>;

/** A file of a share: its path below the share's name (for a share of one file, that name alone) and its bytes. */
export interface FileEntry {
  path: string[];
  length: number;
}

/** A file of a sealed share, as it is inside and outside. */
export interface SealedFile extends FileEntry {
  /** Its path in the metainfo. */
  sealedPath: string[];
  /** What the key of its contents comes of. */
  nonce: Bytes;
}

/** What a sealed share holds, in the order of its metainfo. */
export interface OpenedShare {
  name: string;
  /** Whether it is one file rather than a folder. */
  single: boolean;
  files: SealedFile[];
}

/** Bytes in a file of `plain` bytes once it is sealed. */
export function sealedLength(plain: number): number {
  return plain + TAG * Math.ceil(plain / PLAIN_BLOCK);
}

/** Bytes in the file that has `sealed` bytes once it is sealed; none if there is no such file. */
export function plainLength(sealed: number): number | undefined {
  const short = sealed % SEALED_BLOCK;
  return short > 0 && short <= TAG ? undefined : sealed - TAG * Math.ceil(sealed / SEALED_BLOCK);
}

/** A new key of a share, as links have it. To be kept secret. */
export function newKey(): string {
  return toBase64url(crypto.getRandomValues(new Uint8Array(32)));
}

/** Seals and opens one share. */
export class Seal {
  #key: CryptoKey;
  #mac: CryptoKey;
  #cipher: CryptoKey;

  private constructor(key: CryptoKey, mac: CryptoKey, cipher: CryptoKey) {
    this.#key = key;
    this.#mac = mac;
    this.#cipher = cipher;
  }

  /** By the key that the link has, 43 characters of base64url. */
  static async of(key: string): Promise<Seal> {
    const bytes = fromBase64url(key);
    if (bytes?.length !== 32) throw new KollatorError('key-wrong', "The link's key is cut short or changed: ask for the whole link.");
    const share = await crypto.subtle.importKey('raw', bytes, 'HKDF', false, ['deriveBits']);
    const names = await derive(share, 'kollator names 1');
    const mac = await crypto.subtle.importKey('raw', names, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
    const cipher = await crypto.subtle.importKey('raw', names, 'AES-GCM', false, ['encrypt', 'decrypt']);
    return new Seal(share, mac, cipher);
  }

  /**
   * How files become a sealed share; `order[i]` says which of `files` the i-th of it is. Names that are unsafe, too long
   * or there twice are refused.
   */
  async layout(name: string, files: readonly FileEntry[]): Promise<{ share: OpenedShare; order: number[] }> {
    checkPaths(name, files.map((file) => file.path), 'refused');
    const single = files.length === 1 && files[0]!.path.length === 1 && files[0]!.path[0] === name;
    const full = files.map((file) => (single ? name : [name, ...file.path].join('/')));
    const order = files.map((_, index) => index).sort((a, b) => compareBytes(full[a]!, full[b]!));
    const sealed: SealedFile[] = [];
    for (const [number, index] of order.entries()) {
      const { nonce, text } = await this.#sealName(number, full[index]!);
      sealed.push({ ...files[index]!, nonce, sealedPath: cut(number, text) });
    }
    return { share: { name, single, files: sealed }, order };
  }

  /** What the sealed share of these files holds; everything that its maker could have put there is checked. */
  async open(files: readonly FileEntry[]): Promise<OpenedShare> {
    let name: string | undefined;
    let last: string | undefined;
    const opened: SealedFile[] = [];
    for (const [number, file] of files.entries()) {
      const sealed = uncut(number, file.path) ?? malformed(number, 'its path is not that of an encrypted file');
      const full = await this.#openName(number, sealed);
      if (last !== undefined && compareBytes(last, full) >= 0) malformed(number, 'its name is out of order');
      last = full;
      const [first = '', ...below] = full.split('/');
      name ??= first;
      if (first !== name || (below.length === 0 && files.length > 1)) malformed(number, 'it is not in the folder of the others');
      const length = plainLength(file.length) ?? malformed(number, 'no file has its length when encrypted');
      const path = below.length === 0 ? [name] : below;
      opened.push({ path, length, sealedPath: [...file.path], nonce: sealed.slice(0, NONCE) });
    }
    if (name === undefined) throw new KollatorError('broken', 'The encrypted share is malformed: it has no files.');
    checkPaths(name, opened.map((file) => file.path), 'broken');
    return { name, single: opened.length === 1 && last === name, files: opened };
  }

  /** The key of a file's contents. */
  async content(file: { nonce: Bytes }): Promise<ContentKey> {
    const bytes = await derive(this.#key, 'kollator file 1', file.nonce);
    return new ContentKey(await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt']));
  }

  async #sealName(number: number, path: string): Promise<{ nonce: Bytes; text: Bytes }> {
    const bytes = new TextEncoder().encode(path);
    if (bytes.length > MAX_PATH) {
      throw new KollatorError('refused', `${shortened(path)} has ${bytes.length} bytes; an encrypted share has room for paths of ${MAX_PATH}.`);
    }
    const nonce = await this.#nonce(number, bytes);
    const padded = new Uint8Array(Math.ceil(bytes.length / STEP) * STEP);
    padded.set(bytes);
    const text = await crypto.subtle.encrypt({ name: 'AES-GCM', iv: nonce }, this.#cipher, padded);
    return { nonce, text: joined(nonce, new Uint8Array(text)) };
  }

  async #openName(number: number, sealed: Bytes): Promise<string> {
    const nonce = sealed.slice(0, NONCE);
    const padded = await crypto.subtle.decrypt({ name: 'AES-GCM', iv: nonce }, this.#cipher, sealed.slice(NONCE)).then(
      (plain) => new Uint8Array(plain),
      () => {
        // A key that opens one name is the right one: what fails then is the share.
        if (number > 0) malformed(number, 'its name does not open with the key that opens others');
        throw new KollatorError('key-wrong', "The link's key does not open this share: it is that of another one, or was changed on the way.");
      },
    );
    let length = padded.length;
    while (length > 0 && padded[length - 1] === 0) length -= 1;
    if (Math.ceil(length / STEP) * STEP !== padded.length) malformed(number, 'its name is not padded as it must be');
    const bytes = padded.slice(0, length);
    const expected = await this.#nonce(number, bytes);
    if (!expected.every((byte, at) => byte === nonce[at])) malformed(number, 'its name has a nonce that is not its own');
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      return malformed(number, 'its name is not UTF-8');
    }
  }

  /** Made of the path itself: no two paths of a share have the same. */
  async #nonce(number: number, path: Bytes): Promise<Bytes> {
    const rank = new Uint8Array(4);
    new DataView(rank.buffer).setUint32(0, number);
    const mac = await crypto.subtle.sign('HMAC', this.#mac, joined(rank, path));
    return new Uint8Array(mac, 0, NONCE).slice();
  }
}

/** Seals and opens the blocks of one file. */
export class ContentKey {
  #key: CryptoKey;

  /** `key` is one for AES-GCM. */
  constructor(key: CryptoKey) {
    this.#key = key;
  }

  /** Seals one block of at most {@link PLAIN_BLOCK} bytes; `last` if the file ends with it. */
  async seal(block: number, last: boolean, plain: Bytes): Promise<Bytes> {
    if (plain.length === 0 || plain.length > PLAIN_BLOCK) throw new RangeError(`a block of ${plain.length} bytes`);
    return new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv: nonceOf(block, last) }, this.#key, plain));
  }

  /** Opens one block; `last` if the file ends with it. Whatever was not sealed for this very place is refused. */
  async open(block: number, last: boolean, sealed: Bytes): Promise<Bytes> {
    try {
      if (sealed.length <= TAG) throw new RangeError('too short');
      return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv: nonceOf(block, last) }, this.#key, sealed));
    } catch (error) {
      const why = `Block ${block} does not open: it was not encrypted with this share's key for this place.`;
      throw new KollatorError('broken', why, { cause: error });
    }
  }

  /** Seals successive blocks, from number `first` on, of a file of `length` plain bytes; all at once. */
  async sealRun(length: number, first: number, plain: Bytes): Promise<Bytes> {
    const blocks = Math.ceil(length / PLAIN_BLOCK);
    return together(plain, PLAIN_BLOCK, sealedLength(plain.length), (part, index) =>
      this.seal(first + index, first + index + 1 === blocks, part),
    );
  }

  /** Opens successive blocks, from number `first` on, of a file of `length` plain bytes; all at once. */
  async openRun(length: number, first: number, sealed: Bytes): Promise<Bytes> {
    const blocks = Math.ceil(length / PLAIN_BLOCK);
    return together(sealed, SEALED_BLOCK, plainLength(sealed.length) ?? 0, (part, index) =>
      this.open(first + index, first + index + 1 === blocks, part),
    );
  }
}

/** The plain bytes from `start` to before `end` of a sealed file of `length` plain bytes, read with `read` from its ciphertext. */
export async function openRange(
  key: ContentKey,
  length: number,
  read: (offset: number, length: number) => Promise<Bytes>,
  start: number,
  end: number,
): Promise<Bytes> {
  if (start < 0 || end > length || start > end) throw new RangeError(`bytes ${start} to ${end} of ${length}`);
  if (start === end) return new Uint8Array();
  const first = Math.floor(start / PLAIN_BLOCK);
  const after = Math.min(Math.ceil(end / PLAIN_BLOCK) * SEALED_BLOCK, sealedLength(length));
  const plain = await key.openRun(length, first, await read(first * SEALED_BLOCK, after - first * SEALED_BLOCK));
  return plain.subarray(start - first * PLAIN_BLOCK, end - first * PLAIN_BLOCK);
}

/** HKDF-SHA256 without salt: 32 bytes of `key` for what `label` and `more` name. */
export async function derive(key: CryptoKey, label: string, more: Bytes = new Uint8Array()): Promise<ArrayBuffer> {
  const info = joined(new TextEncoder().encode(label), more);
  return crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info }, key, 256);
}

/** A block's number, and whether the file ends with it, so that no cut goes unnoticed. */
function nonceOf(block: number, last: boolean): Bytes {
  const nonce = new Uint8Array(NONCE);
  const view = new DataView(nonce.buffer);
  view.setBigUint64(0, BigInt(block));
  view.setUint32(8, last ? 1 : 0);
  return nonce;
}

/** Works on all parts of `bytes` at once and lays the results end to end. */
async function together(bytes: Bytes, size: number, total: number, work: (part: Bytes, index: number) => Promise<Bytes>): Promise<Bytes> {
  const parts: Promise<Bytes>[] = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(work(bytes.subarray(at, at + size), at / size));
  const out = new Uint8Array(total);
  let at = 0;
  for (const part of await Promise.all(parts)) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** The path in a metainfo of file `number` whose sealed name is `sealed`. */
function cut(number: number, sealed: Bytes): string[] {
  const [first = '', ...rest] = toBase64url(sealed).match(/.{1,200}/g) ?? [];
  return [prefix(number) + first, ...rest];
}

/** The sealed name in file `number`'s path in a metainfo, if that is cut as it must be. */
function uncut(number: number, path: readonly string[]): Bytes | undefined {
  const [first = ''] = path;
  if (!first.startsWith(prefix(number))) return undefined;
  const parts = [first.slice(prefix(number).length), ...path.slice(1)];
  const whole = parts.every((part, index) => (index < parts.length - 1 ? part.length === COMPONENT : part.length > 0 && part.length <= COMPONENT));
  const sealed = whole ? fromBase64url(parts.join('')) : undefined;
  const padded = (sealed?.length ?? 0) - NONCE - TAG;
  return padded > 0 && padded % STEP === 0 ? sealed : undefined;
}

/** What a path in a metainfo begins with, so that its files are in order. */
function prefix(number: number): string {
  return `${number.toString(16).padStart(6, '0')}.`;
}

/** One after the other. */
export function joined(one: Uint8Array, other: Uint8Array): Bytes {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

function malformed(file: number, problem: string): never {
  throw new KollatorError('broken', `The encrypted share is malformed: file ${file}: ${problem}.`);
}
