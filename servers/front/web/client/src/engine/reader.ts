/**
 * Reads files of shares as their users know them, also while they are still coming: it waits for what is not here, has
 * the machine get that first, and decrypts. It gives out verified bytes only.
 */

import { KollatorError } from '../errors.ts';
import { ContentKey, SEALED_NAME, openRange } from '../seal.ts';
import type { OpenShare } from './disk.ts';
import type { Bytes } from './drive.ts';
import type { Part } from './protocol.ts';
import type { Share } from './share.ts';

/** Most bytes in one reading. */
export const MAX_READ = 4 << 20;
/** Bytes after which the machine is told again where the reader is. */
const MOVED = 256 << 10;
/** A share that nobody reads for so long is not read any more. */
const IDLE = 15_000;

/** Whom a reader asks. */
export interface ReaderPorts {
  share(infoHash: string): Share | undefined;
  open(infoHash: string): Promise<OpenShare>;
  /** The 32-byte keys of an encrypted share's files, in their order. */
  contentKeys(share: Share): Uint8Array;
  /** Somebody wants a file from there on. */
  seek(infoHash: string, file: number, offset: number): void;
  /** Nobody reads the share any more. */
  idle(infoHash: string): void;
}

/** See the module's documentation. */
export class Reader {
  #ports: ReaderPorts;
  #keys = new Map<string, Promise<ContentKey>>();
  #idle = new Map<string, ReturnType<typeof setTimeout>>();
  #sought = new Map<string, { file: number; offset: number }>();

  constructor(ports: ReaderPorts) {
    this.#ports = ports;
  }

  /** A file of a share, once it is known. */
  async file(infoHash: string, file: number, signal: AbortSignal): Promise<{ path: string; length: number }> {
    const found = (await this.#known(infoHash, signal)).readable?.files[file];
    if (!found) throw new KollatorError('not-found', `The share has no file ${file}.`);
    return found;
  }

  /** The bytes of a part of a readable file. */
  async read({ infoHash, file, offset, length }: Part, signal: AbortSignal): Promise<Bytes> {
    const { length: whole } = await this.file(infoHash, file, signal);
    const share = this.#going(infoHash);
    const isInside = offset >= 0 && length >= 0 && length <= MAX_READ && offset + length <= whole;
    if (!isInside) throw new RangeError(`${length} bytes at ${offset} are not inside a file of ${whole}, or more than ${MAX_READ}`);
    clearTimeout(this.#idle.get(infoHash));
    try {
      const onWire = (at: number, bytes: number): Promise<Bytes> => this.#onWire(share, file, at, bytes, signal);
      if (share.info?.name !== SEALED_NAME) return await onWire(offset, length);
      return await openRange(await this.#key(share, file), whole, onWire, offset, offset + length);
    } finally {
      this.#idleLater(infoHash);
    }
  }

  /** The share is gone: nothing of it is remembered. */
  forget(infoHash: string): void {
    clearTimeout(this.#idle.get(infoHash));
    this.#idle.delete(infoHash);
    this.#sought.delete(infoHash);
    for (const name of [...this.#keys.keys()]) if (name.startsWith(infoHash)) this.#keys.delete(name);
  }

  /** The share, once it is known what it holds. */
  async #known(infoHash: string, signal: AbortSignal): Promise<Share> {
    for (;;) {
      const share = this.#going(infoHash);
      if (share.readable) return share;
      await share.news.next(signal);
    }
  }

  async #onWire(share: Share, file: number, offset: number, length: number, signal: AbortSignal): Promise<Bytes> {
    this.#seek(share, file, offset, length);
    while (!share.pieces?.has(file, offset, length)) {
      this.#going(share.infoHash);
      await share.news.next(signal);
    }
    const { layout, store } = await this.#ports.open(share.infoHash);
    return store.read(layout.offset({ file, offset }, length), length);
  }

  /** Tells the machine where the reader is, if that helps. */
  #seek({ infoHash, phase }: Share, file: number, offset: number, length: number): void {
    if (phase === 'complete' || phase === 'safe') return;
    const last = this.#sought.get(infoHash);
    const hasMoved = last?.file !== file || offset < last.offset || offset + length > last.offset + MOVED;
    if (!hasMoved) return;
    this.#sought.set(infoHash, { file, offset });
    this.#ports.seek(infoHash, file, offset);
  }

  /** The share, if waiting for it makes sense. */
  #going(infoHash: string): Share {
    const share = this.#ports.share(infoHash);
    if (!share) throw new KollatorError('not-found', 'There is no such share here.');
    if (share.phase === 'failed') throw new KollatorError(share.error?.code ?? 'broken', share.error?.message ?? 'It failed.');
    return share;
  }

  #key(share: Share, file: number): Promise<ContentKey> {
    const name = `${share.infoHash}/${file}`;
    let key = this.#keys.get(name);
    if (!key) {
      const bytes = this.#ports.contentKeys(share).slice(file * 32, file * 32 + 32);
      key = crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['decrypt']).then((imported) => new ContentKey(imported));
      this.#keys.set(name, key);
    }
    return key;
  }

  #idleLater(infoHash: string): void {
    clearTimeout(this.#idle.get(infoHash));
    this.#idle.set(
      infoHash,
      setTimeout(() => {
        this.#idle.delete(infoHash);
        this.#sought.delete(infoHash);
        this.#ports.idle(infoHash);
      }, IDLE),
    );
  }
}
