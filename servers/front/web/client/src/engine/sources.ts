/** Who gives, or gave, parts of a share: numbered in the order in which they came up, and never numbered anew. */

import type { Source, SourceKind } from '../types.ts';
import { Meter } from './meter.ts';

/** Index of the first source: 0 and 1 mean "not here" and "from disk" in a chunk map. */
const FIRST = 2;

interface Entry {
  index: number;
  kind: SourceKind;
  meter: Meter;
  offence?: string;
}

/** Nodes and servers that are connected, whatever for. */
export class Connected {
  #kinds = new Map<string, SourceKind>();

  up(name: string, kind: SourceKind): void {
    this.#kinds.set(name, kind);
  }

  down(name: string): void {
    this.#kinds.delete(name);
  }

  clear(): void {
    this.#kinds.clear();
  }

  has(name: string): boolean {
    return this.#kinds.has(name);
  }

  kind(name: string): SourceKind | undefined {
    return this.#kinds.get(name);
  }

  entries(): Iterable<[string, SourceKind]> {
    return this.#kinds;
  }
}

/** See the module's documentation. */
export class Sources {
  #entries = new Map<string, Entry>();

  /** Notes that a source may give something. Returns its index. */
  meet(name: string, kind: SourceKind): number {
    const entry = this.#entries.get(name) ?? { index: FIRST + this.#entries.size, kind, meter: new Meter() };
    this.#entries.set(name, entry);
    return entry.index;
  }

  /** Notes verified bytes from a source. Returns its index. */
  gain(name: string, kind: SourceKind, bytes: number, now: number): number {
    const index = this.meet(name, kind);
    this.#entries.get(name)?.meter.add(bytes, now);
    return index;
  }

  /** Notes what a source did wrong, if it is one of these. */
  blame(name: string, offence: string): boolean {
    const entry = this.#entries.get(name);
    if (entry) entry.offence = offence;
    return entry !== undefined;
  }

  /** Whether it is one of these. */
  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** As the user sees them. */
  list(connected: Connected, now: number): Source[] {
    return [...this.#entries].map(([name, { index, kind, meter, offence }]) => ({
      index,
      name,
      kind,
      connected: connected.has(name),
      bytes: meter.total,
      speed: meter.speed(now),
      ...(offence === undefined ? {} : { offence }),
    }));
  }
}
