/**
 * Tells of shares that changed: at once when the phase is another, otherwise twice a second at most, and until
 * what was moving is told to stand still.
 */

import type { ShareState } from '../types.ts';

/** Shortest time between two tellings of a share in the same phase, in milliseconds: each has the page painted anew. */
const BETWEEN = 500;
/** While something moves it is told this often, so that speeds fall when nothing comes any more. */
const MOVING = 1000;

interface Told {
  at: number;
  phase: string;
  timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer goes off. */
  due: number;
}

/** See the module's documentation. */
export class Announcer {
  #state: (infoHash: string) => ShareState | undefined;
  #tell: (state: ShareState) => void;
  #now: () => number;
  #told = new Map<string, Told>();

  constructor(state: (infoHash: string) => ShareState | undefined, tell: (state: ShareState) => void, now: () => number) {
    this.#state = state;
    this.#tell = tell;
    this.#now = now;
  }

  /** A share looks different; `phase` is what it is at now. */
  changed(infoHash: string, phase: string): void {
    const told = this.#told.get(infoHash);
    const wait = told && told.phase === phase ? told.at + BETWEEN - this.#now() : 0;
    if (wait <= 0) this.#announce(infoHash);
    else this.#later(infoHash, wait);
  }

  /** Nothing is told of it any more. */
  forget(infoHash: string): void {
    clearTimeout(this.#told.get(infoHash)?.timer);
    this.#told.delete(infoHash);
  }

  #later(infoHash: string, wait: number): void {
    const told = this.#told.get(infoHash);
    const due = this.#now() + wait;
    if (!told || (told.timer !== undefined && told.due <= due)) return;
    clearTimeout(told.timer);
    told.due = due;
    told.timer = setTimeout(() => this.#announce(infoHash), wait);
  }

  #announce(infoHash: string): void {
    const state = this.#state(infoHash);
    clearTimeout(this.#told.get(infoHash)?.timer);
    if (!state) return this.forget(infoHash);
    this.#told.set(infoHash, { at: this.#now(), phase: state.phase, timer: undefined, due: 0 });
    this.#tell(state);
    const isMoving = state.phase === 'downloading' || state.phase === 'uploading' || state.speedDown > 0 || state.speedUp > 0;
    if (isMoving) this.#later(infoHash, MOVING);
  }
}
