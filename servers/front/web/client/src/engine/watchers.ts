/** Those who wait for a share to be safe or complete, and want to hear of it meanwhile. */

import { KollatorError, aborted } from '../errors.ts';
import type { ErrorCode, ShareState } from '../types.ts';

interface Watcher {
  onState(state: ShareState): void;
  resolve(state: ShareState): void;
  reject(error: KollatorError): void;
}

/** See the module's documentation. */
export class Watchers {
  #watchers = new Map<string, Set<Watcher>>();

  /** Waits until a share is safe or complete; fails as the share does. */
  settled(infoHash: string, onState: (state: ShareState) => void, signal: AbortSignal): Promise<ShareState> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(aborted(signal));
      const all = this.#watchers.get(infoHash) ?? new Set();
      this.#watchers.set(infoHash, all);
      const abort = (): void => watcher.reject(aborted(signal));
      const leave = (): void => {
        all.delete(watcher);
        if (all.size === 0 && this.#watchers.get(infoHash) === all) this.#watchers.delete(infoHash);
        signal.removeEventListener('abort', abort);
      };
      const watcher: Watcher = {
        onState,
        resolve: (state) => (leave(), resolve(state)),
        reject: (error) => (leave(), reject(error)),
      };
      all.add(watcher);
      signal.addEventListener('abort', abort);
    });
  }

  /** A share stands like this; `code` says what it failed of, if it failed. */
  tell(state: ShareState, code: ErrorCode | undefined): void {
    for (const watcher of [...(this.#watchers.get(state.infoHash) ?? [])]) {
      watcher.onState(state);
      if (state.phase === 'safe' || state.phase === 'complete') watcher.resolve(state);
      if (state.phase === 'failed') watcher.reject(new KollatorError(code ?? 'broken', state.error ?? 'It failed.'));
    }
  }

  /** A share was deleted. */
  removed(infoHash: string): void {
    for (const watcher of [...(this.#watchers.get(infoHash) ?? [])]) {
      watcher.reject(new KollatorError('aborted', 'The share was deleted.'));
    }
  }
}
