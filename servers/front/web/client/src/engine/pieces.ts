/**
 * Which blocks of a share are here, verified, and where its pieces came from: what a chunk map shows, and what may be
 * read while the rest is still coming.
 */

import type { Place } from '../machine-types.ts';
import { BLOCK } from '../storage/storage.ts';
import type { ChunkMap } from '../types.ts';
import type { Layout } from './layout.ts';

/** In a chunk map: from disk, or this machine. */
export const FROM_DISK = 1;
/** The greatest source index that a chunk map can tell; later sources share it. */
const MAX_INDEX = 255;

/** See the module's documentation. */
export class Pieces {
  #layout: Layout;
  /** Of each block of the store, whether it is here. */
  #blocks: Uint8Array;
  /** Of each piece, bytes that are here, and the source of the last of them. */
  #bytes: Uint32Array;
  #from: Uint8Array;
  #files: number[];

  constructor(layout: Layout) {
    this.#layout = layout;
    this.#blocks = new Uint8Array(Math.ceil(layout.bytes / BLOCK));
    this.#bytes = new Uint32Array(layout.pieces);
    this.#from = new Uint8Array(layout.pieces);
    this.#files = layout.lengths.map(() => 0);
  }

  /** Notes that verified blocks, `length` bytes in all, came from the source of this index to `place`. */
  gain({ file, offset }: Place, length: number, source: number): void {
    const whole = this.#layout.lengths[file] ?? 0;
    const end = Math.min(offset + length, whole);
    for (let at = offset; at < end; at += BLOCK) {
      const block = this.#layout.offset({ file, offset: at }, 0) / BLOCK;
      if (this.#blocks[block]) continue;
      this.#blocks[block] = 1;
      const gained = Math.min(BLOCK, whole - at);
      const { index } = this.#layout.piece({ file, offset: at });
      this.#bytes[index] = (this.#bytes[index] ?? 0) + gained;
      this.#files[file] = (this.#files[file] ?? 0) + gained;
      this.#from[index] = Math.min(source, MAX_INDEX);
    }
  }

  /** Everything is here; what no source gave was here before. */
  fill(): void {
    this.#layout.lengths.forEach((length, file) => this.gain({ file, offset: 0 }, length, FROM_DISK));
  }

  /** Whether `length` bytes of a file from `offset` on are here. */
  has(file: number, offset: number, length: number): boolean {
    if (length === 0) return true;
    const first = Math.floor(this.#layout.offset({ file, offset }, length) / BLOCK);
    const last = Math.floor(this.#layout.offset({ file, offset: offset + length - 1 }, 1) / BLOCK);
    return this.#blocks.subarray(first, last + 1).every((here) => here === 1);
  }

  /** Bytes of a file that are here. */
  ofFile(file: number): number {
    return this.#files[file] ?? 0;
  }

  /** As the user sees it. */
  map(): ChunkMap {
    const filled = new Uint8Array(this.#bytes.length);
    this.#layout.lengths.forEach((length, file) => {
      for (let offset = 0; offset < length; offset += this.#layout.pieceLength) {
        const { index, length: whole } = this.#layout.piece({ file, offset });
        const held = this.#bytes[index] ?? 0;
        // A little is not nothing, and nearly all is not all.
        filled[index] = held === whole ? 255 : Math.min(254, Math.ceil((held * 254) / whole));
      }
    });
    return { pieces: this.#from.slice(), filled };
  }
}
