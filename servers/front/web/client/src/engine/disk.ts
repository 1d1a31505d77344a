/**
 * Carries out what the machine asks of its disk, on the stores of shares. It trusts nothing that is stored: what an
 * earlier run left is hashed again, and the machine compares it with the share's own hashes.
 */

import { KollatorError } from '../errors.ts';
import type { Input, Output, Place } from '../machine-types.ts';
import type { ShareStore } from '../storage/storage.ts';
import { BLOCK } from '../storage/storage.ts';
import { leavesOf } from './hashing.ts';
import type { Layout } from './layout.ts';

/** What the machine asks. */
export type DiskCommand = Extract<Output, { t: `disk${string}` }>;

/** What the machine hears. */
export type DiskInput = Extract<Input, { t: `disk${string}` }>;

/** A share that can be read and written. */
export interface OpenShare {
  layout: Layout;
  store: ShareStore;
}

/** Most bytes that are read and hashed at once to find what is there. */
const CLAIM_READ = 4 << 20;

/** See the module's documentation. */
export class Disk {
  #shares: (infoHash: string) => OpenShare | Promise<OpenShare> | undefined;
  #input: (input: DiskInput, payload?: Uint8Array) => void;
  #failed: (infoHash: string, error: KollatorError) => void;

  /** `failed` hears why a share could not be stored, before the machine does. */
  constructor(
    shares: (infoHash: string) => OpenShare | Promise<OpenShare> | undefined,
    input: (input: DiskInput, payload?: Uint8Array) => void,
    failed: (infoHash: string, error: KollatorError) => void,
  ) {
    this.#shares = shares;
    this.#input = input;
    this.#failed = failed;
  }

  /** Carries out `command`, and tells the machine what came of it. `payload` may change once this returns its promise. */
  async execute(command: DiskCommand, payload: Uint8Array<ArrayBuffer>): Promise<void> {
    if (command.t === 'diskHash') {
      this.#input({ t: 'diskHashed', ticket: command.ticket }, await leavesOf(payload));
      return;
    }
    const { infoHash } = command;
    try {
      const known = this.#shares(infoHash);
      if (!known) throw new KollatorError('storage', 'The share is not open.');
      // An open one takes what is to be written before anybody waits for anything.
      const data = known instanceof Promise ? payload.slice() : payload;
      const share = known instanceof Promise ? await known : known;
      switch (command.t) {
        case 'diskPrepare':
          await this.#prepare(infoHash, share);
          break;
        case 'diskRead':
          this.#input({ t: 'diskRead', ticket: command.ticket }, await read(share, command));
          break;
        case 'diskReadLeaves':
          this.#input({ t: 'diskLeaves', ticket: command.ticket }, await leavesOf(await read(share, command)));
          break;
        case 'diskWrite': {
          const { layout, store } = share;
          const offsets = command.places.map((place) => layout.offset(place, data.byteLength));
          await Promise.all(offsets.map((offset) => store.write(offset, data)));
          this.#input({ t: 'diskWritten', ticket: command.ticket });
          break;
        }
        case 'diskFinish':
          this.#input({ t: 'diskFinished', infoHash });
          break;
      }
    } catch (error) {
      this.#fail(command, error);
    }
  }

  async #prepare(infoHash: string, { layout, store }: OpenShare): Promise<void> {
    const claims: Array<Place & { count: number }> = [];
    const hashes: Uint8Array[] = [];
    for (const [first, bytes] of store.present()) {
      for (const part of layout.parts(first, bytes)) {
        for (let at = 0; at < part.length; at += CLAIM_READ) {
          const offset = part.offset + at;
          const length = Math.min(CLAIM_READ, part.length - at);
          claims.push({ file: part.file, offset, count: Math.ceil(length / BLOCK) });
          hashes.push(await leavesOf(await read({ layout, store }, { file: part.file, offset, length })));
        }
      }
    }
    const payload = new Uint8Array(hashes.reduce((sum, part) => sum + part.byteLength, 0));
    let at = 0;
    for (const part of hashes) {
      payload.set(part, at);
      at += part.byteLength;
    }
    this.#input({ t: 'diskPrepared', infoHash, claims }, payload);
  }

  #fail(command: Exclude<DiskCommand, { t: 'diskHash' }>, cause: unknown): void {
    const words = cause instanceof Error ? cause.message : String(cause);
    const isReading = command.t === 'diskRead' || command.t === 'diskReadLeaves';
    if (!isReading) {
      this.#failed(command.infoHash, cause instanceof KollatorError ? cause : new KollatorError('storage', words, { cause }));
    }
    switch (command.t) {
      case 'diskPrepare':
        return this.#input({ t: 'diskPrepared', infoHash: command.infoHash, error: words });
      case 'diskRead':
        return this.#input({ t: 'diskRead', ticket: command.ticket, error: words });
      case 'diskReadLeaves':
        return this.#input({ t: 'diskLeaves', ticket: command.ticket, error: words });
      case 'diskWrite':
        return this.#input({ t: 'diskWritten', ticket: command.ticket, error: words });
      case 'diskFinish':
        return this.#input({ t: 'diskFinished', infoHash: command.infoHash, error: words });
    }
  }
}

function read({ layout, store }: OpenShare, place: Place & { length: number }): Promise<Uint8Array<ArrayBuffer>> {
  return store.read(layout.offset(place, place.length), place.length);
}
