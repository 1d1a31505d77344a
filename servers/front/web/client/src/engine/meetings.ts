/** Peers that the page wants to meet: each who waits for one hears once what came of it. */

import { KollatorError, aborted } from '../errors.ts';

interface Waiting {
  infoHash: string;
  peer: string;
  end(error?: KollatorError): void;
}

/** See the module's documentation. */
export class Meetings {
  #waiting = new Set<Waiting>();

  /** Waits until a peer is connected that is to be met for a share. Fails if it is not going to be. */
  met(infoHash: string, peer: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(aborted(signal));
      const abort = (): void => waiting.end(aborted(signal));
      const end = (error?: KollatorError): void => {
        this.#waiting.delete(waiting);
        signal.removeEventListener('abort', abort);
        if (error) reject(error);
        else resolve();
      };
      const waiting: Waiting = { infoHash, peer, end };
      this.#waiting.add(waiting);
      signal.addEventListener('abort', abort);
    });
  }

  /** The machine says what came of one; `reason` is why it is not connected, if it is not. */
  hear(infoHash: string, peer: string, reason: string | null): void {
    const error = reason === null ? undefined : new KollatorError('not-found', `This peer cannot be reached: ${reason}.`);
    for (const waiting of [...this.#waiting]) {
      if (waiting.infoHash === infoHash && waiting.peer === peer) waiting.end(error);
    }
  }

  /** Nobody is met any more. */
  leave(): void {
    for (const waiting of [...this.#waiting]) waiting.end(new KollatorError('offline', 'This browser left the network.'));
  }
}
