/**
 * How the files of a share lie in its store, and its pieces in a chunk map: files end to end, each beginning at a
 * multiple of a block. It knows lengths only.
 */

import type { MetainfoInfo, Place } from '../machine-types.ts';
import { BLOCK } from '../storage/storage.ts';

/** See the module's documentation. */
export class Layout {
  readonly pieceLength: number;
  readonly lengths: number[];
  /** Bytes in the store. */
  readonly bytes: number;
  /** Number of pieces of all files. */
  readonly pieces: number;
  #starts: number[] = [];
  #firstPieces: number[] = [];

  constructor(info: Pick<MetainfoInfo, 'pieceLength' | 'files'>) {
    this.pieceLength = info.pieceLength;
    this.lengths = info.files.map((file) => file.length);
    let [start, end, piece] = [0, 0, 0];
    for (const length of this.lengths) {
      this.#starts.push(start);
      this.#firstPieces.push(piece);
      if (length > 0) end = start + length;
      start += Math.ceil(length / BLOCK) * BLOCK;
      piece += Math.ceil(length / this.pieceLength);
    }
    this.bytes = end;
    this.pieces = piece;
  }

  /** Where a place is in the store. Throws if `length` bytes from there on are not inside the file. */
  offset({ file, offset }: Place, length: number): number {
    const start = this.#starts[file];
    if (start === undefined || offset + length > (this.lengths[file] ?? 0)) {
      throw new Error(`file ${file} has no ${length} bytes at ${offset}`);
    }
    return start + offset;
  }

  /** The parts of files that lie in `length` bytes of the store from `offset` on. */
  *parts(offset: number, length: number): Generator<Place & { length: number }> {
    for (const [file, start] of this.#starts.entries()) {
      const from = Math.max(offset, start);
      const to = Math.min(offset + length, start + (this.lengths[file] ?? 0));
      if (from < to) yield { file, offset: from - start, length: to - from };
    }
  }

  /** The piece that a place is in, and how many bytes that piece has. */
  piece({ file, offset }: Place): { index: number; length: number } {
    const inFile = Math.floor(offset / this.pieceLength);
    const left = (this.lengths[file] ?? 0) - inFile * this.pieceLength;
    return { index: (this.#firstPieces[file] ?? 0) + inFile, length: Math.min(this.pieceLength, left) };
  }
}
