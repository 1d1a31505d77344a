/**
 * Which pieces of a share are here, how much of each, and where they came from: what a chunk map shows. Also how many
 * bytes of each file are here.
 */

import type { Place } from '../machine-types.ts';
import type { ChunkMap } from '../types.ts';
import type { Layout } from './layout.ts';

/** In a chunk map: from disk, or this machine. */
export const FROM_DISK = 1;
/** The greatest source index that a chunk map can tell; later sources share it. */
const MAX_INDEX = 255;

/** See the module's documentation. */
export class Pieces {
  #layout: Layout;
  #bytes: Uint32Array;
  #from: Uint8Array;
  #files: number[];

  constructor(layout: Layout) {
    this.#layout = layout;
    this.#bytes = new Uint32Array(layout.pieces);
    this.#from = new Uint8Array(layout.pieces);
    this.#files = layout.lengths.map(() => 0);
  }

  /** Notes that `length` verified bytes came from the source of this index to `place`; they may reach over pieces. */
  gain(place: Place, length: number, source: number): void {
    const lengths = this.#layout.lengths;
    const end = Math.min(place.offset + length, lengths[place.file] ?? 0);
    for (let offset = place.offset; offset < end; ) {
      const { index, length: whole } = this.#layout.piece({ file: place.file, offset });
      const stop = Math.min(end, (Math.floor(offset / this.#layout.pieceLength) + 1) * this.#layout.pieceLength);
      const held = this.#bytes[index] ?? 0;
      const gained = Math.min(whole - held, stop - offset);
      this.#bytes[index] = held + gained;
      this.#files[place.file] = (this.#files[place.file] ?? 0) + gained;
      this.#from[index] = Math.min(source, MAX_INDEX);
      offset = stop;
    }
  }

  /** Everything is here; what no source gave was here before. */
  fill(): void {
    this.#layout.lengths.forEach((length, file) => {
      for (let offset = 0; offset < length; offset += this.#layout.pieceLength) {
        const { index, length: whole } = this.#layout.piece({ file, offset });
        this.#bytes[index] = whole;
        this.#from[index] ||= FROM_DISK;
      }
      this.#files[file] = length;
    });
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
