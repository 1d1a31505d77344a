/** Lets whoever wants to know wait for the next news of something. */

import { aborted } from '../errors.ts';

/** See the module's documentation. */
export class News {
  #waiting = new Set<() => void>();

  /** There is news: nobody waits any more. */
  tell(): void {
    for (const go of [...this.#waiting]) go();
  }

  /** Waits for news. */
  next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(go);
        signal.removeEventListener('abort', stop);
      };
      const go = (): void => (leave(), resolve());
      const stop = (): void => (leave(), reject(aborted(signal)));
      if (signal.aborted) return stop();
      this.#waiting.add(go);
      signal.addEventListener('abort', stop);
    });
  }
}
