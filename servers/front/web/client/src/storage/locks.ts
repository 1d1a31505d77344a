/**
 * Who holds which share, over all tabs of this browser: Web Locks, which the browser takes back from a tab that is
 * gone, however it went. A page without them (one that is not from a secure origin) goes on unguarded.
 */

import { aborted } from '../errors.ts';

/** Takes the lock of a share if no tab has it; call the result to let go of it. */
export async function tryHold(name: string): Promise<(() => void) | undefined> {
  const locks = globalThis.navigator?.locks;
  if (!locks) return () => undefined;
  return new Promise((resolve, reject) => {
    locks
      .request(lockName(name), { ifAvailable: true }, (lock) => {
        if (!lock) return resolve(undefined);
        return new Promise<void>((release) => resolve(release));
      })
      .catch(reject);
  });
}

/** Waits until no tab holds the share. */
export async function freed(name: string, signal?: AbortSignal): Promise<void> {
  try {
    await globalThis.navigator.locks.request(lockName(name), signal ? { signal } : {}, () => undefined);
  } catch (error) {
    throw signal?.aborted ? aborted() : error;
  }
}

function lockName(name: string): string {
  return `kollator/${name}`;
}
