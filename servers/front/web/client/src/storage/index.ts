/** Chooses among the back ends what works in this browser, by trying. */

import { KollatorError } from '../errors.ts';
import type { StorageKind } from '../types.ts';
import { Database } from './database.ts';
import { IndexedDbBackend } from './indexeddb.ts';
import { MemoryBackend } from './memory.ts';
import { OpfsBackend } from './opfs.ts';
import { Shares } from './shares.ts';
import type { Storage, StorageOptions } from './storage.ts';

export * from './storage.ts';

/** Opens the storage of this origin; `auto` takes private files, else IndexedDB, else memory. Private files need a dedicated worker. */
export async function openStorage(kind: StorageKind | 'auto' = 'auto', options: StorageOptions = {}): Promise<Storage> {
  const kinds: StorageKind[] = kind === 'auto' ? ['opfs', 'indexeddb', 'memory'] : [kind];
  let why: unknown;
  for (const one of kinds) {
    try {
      return new Shares(await backend(one, options));
    } catch (error) {
      why = error;
    }
  }
  const reason = why instanceof Error ? why.message : String(why);
  throw new KollatorError('storage', `This browser can't keep shares (${kind}): ${reason}`, { cause: why });
}

async function backend(kind: StorageKind, options: StorageOptions): Promise<OpfsBackend | IndexedDbBackend | MemoryBackend> {
  switch (kind) {
    case 'opfs':
      return new OpfsBackend(await OpfsBackend.probe(), await Database.open());
    case 'indexeddb':
      return new IndexedDbBackend(await Database.open());
    case 'memory':
      return new MemoryBackend(options.memoryLimit);
  }
}
