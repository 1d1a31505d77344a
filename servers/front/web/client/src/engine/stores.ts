/**
 * The open stores of shares: each is opened once, whoever asks for it, and let go of in good order. A share that another
 * tab has open is reported with a way to wait for it.
 */

import type { Storage } from '../storage/storage.ts';
import type { OpenShare } from './disk.ts';
import type { Layout } from './layout.ts';

/** See the module's documentation. */
export class Stores {
  #storage: Storage;
  #opening = new Map<string, Promise<OpenShare>>();
  /** Those of them that are open. */
  #open = new Map<string, OpenShare>();
  /** Closings under way: the next to open the share waits for them. */
  #closing = new Map<string, Promise<void>>();

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** The store of a share, if it was opened and not closed; a promise only while it is being opened. */
  get(infoHash: string): OpenShare | Promise<OpenShare> | undefined {
    return this.#open.get(infoHash) ?? this.#opening.get(infoHash);
  }

  /** Opens the store of a share, unless it is open. Throws an `ElsewhereError` if another tab has it. */
  open(infoHash: string, layout: Layout): Promise<OpenShare> {
    const known = this.#opening.get(infoHash);
    if (known) return known;
    const opening = this.#begin(infoHash, layout);
    this.#opening.set(infoHash, opening);
    const isCurrent = (): boolean => this.#opening.get(infoHash) === opening;
    opening.then(
      (share) => isCurrent() && this.#open.set(infoHash, share),
      // Who could not open it may try again.
      () => isCurrent() && this.#opening.delete(infoHash),
    );
    return opening;
  }

  /** Closes the store of a share, if it is open. */
  close(infoHash: string): Promise<void> {
    const opening = this.#opening.get(infoHash);
    if (!opening) return this.#closing.get(infoHash) ?? Promise.resolve();
    this.#opening.delete(infoHash);
    this.#open.delete(infoHash);
    // One that could not be opened is closed.
    const closing = opening.then(({ store }) => store.close()).catch(() => {});
    this.#closing.set(infoHash, closing);
    return closing.finally(() => {
      if (this.#closing.get(infoHash) === closing) this.#closing.delete(infoHash);
    });
  }

  /** Closes all of them. */
  async closeAll(): Promise<void> {
    await Promise.all([...this.#opening.keys()].map((infoHash) => this.close(infoHash)));
  }

  async #begin(infoHash: string, layout: Layout): Promise<OpenShare> {
    await this.#closing.get(infoHash);
    return { layout, store: await this.#storage.open(infoHash, layout.bytes) };
  }
}
