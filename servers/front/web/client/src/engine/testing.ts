/** What tests of the engine have in common: a clock that stands still, and waiting without time. */

import type { Clock } from './drive.ts';

/** A clock that moves when it is told to. */
export class TestClock implements Clock {
  #now = 0;
  #timers = new Map<number, { at: number; run: () => void }>();
  #next = 1;

  now(): number {
    return this.#now;
  }

  after(milliseconds: number, run: () => void): number {
    this.#timers.set(this.#next, { at: this.#now + milliseconds, run });
    return this.#next++;
  }

  cancel(timer: unknown): void {
    this.#timers.delete(timer as number);
  }

  /** Lets time pass, and timers go off in order. */
  pass(milliseconds: number): void {
    const until = this.#now + milliseconds;
    for (;;) {
      const [first] = [...this.#timers].filter(([, timer]) => timer.at <= until).sort(([, a], [, b]) => a.at - b.at);
      if (!first) break;
      this.#timers.delete(first[0]);
      this.#now = first[1].at;
      first[1].run();
    }
    this.#now = until;
  }
}

/** Lets everything that waits for nothing but promises and immediate timers happen. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 5; round += 1) await new Promise((resolve) => setImmediate(resolve));
}
