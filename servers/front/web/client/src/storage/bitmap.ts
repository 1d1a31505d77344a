/** Which blocks of a share are there: a bit for each. */

import { BLOCK } from './storage.ts';

/** The bits, the lowest of a byte first. */
export class Bitmap {
  /** Bytes of the share. */
  readonly bytes: number;
  /** The bits as they are kept. */
  readonly bits: Uint8Array<ArrayBuffer>;

  constructor(bytes: number, bits = new Uint8Array(Bitmap.size(bytes))) {
    this.bytes = bytes;
    this.bits = bits;
  }

  /** Bytes that the bits of a share of `bytes` bytes take. */
  static size(bytes: number): number {
    return Math.ceil(Math.ceil(bytes / BLOCK) / 8);
  }

  has(block: number): boolean {
    return ((this.bits[Math.floor(block / 8)] ?? 0) & (1 << block % 8)) !== 0;
  }

  /** Sets or clears the bits of the blocks in `length` bytes from `offset` on; tells which bytes of bits it touched. */
  mark(offset: number, length: number, there = true): [first: number, end: number] {
    const first = Math.floor(offset / BLOCK);
    const end = Math.ceil((offset + length) / BLOCK);
    for (let block = first; block < end; block += 1) {
      const byte = Math.floor(block / 8);
      const bit = 1 << block % 8;
      this.bits[byte] = there ? this.bits[byte]! | bit : this.bits[byte]! & ~bit;
    }
    return [Math.floor(first / 8), Math.ceil(end / 8)];
  }

  /** How many of `length` bytes from `offset` on are there without a gap. */
  available(offset: number, length: number): number {
    const end = Math.min(offset + length, this.bytes);
    let at = offset;
    while (at < end && this.has(Math.floor(at / BLOCK))) at = (Math.floor(at / BLOCK) + 1) * BLOCK;
    return Math.max(0, Math.min(at, end) - offset);
  }

  /** What is there, as [first byte, bytes]. */
  runs(): Array<[number, number]> {
    const blocks = Math.ceil(this.bytes / BLOCK);
    const runs: Array<[number, number]> = [];
    for (let block = 0; block < blocks; ) {
      if (block % 8 === 0 && this.bits[block / 8] === 0) {
        block += 8;
        continue;
      }
      if (!this.has(block)) {
        block += 1;
        continue;
      }
      const first = block;
      while (block < blocks && this.has(block)) block += 1;
      runs.push([first * BLOCK, Math.min(block * BLOCK, this.bytes) - first * BLOCK]);
    }
    return runs;
  }
}
