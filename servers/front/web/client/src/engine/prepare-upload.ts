/** Makes a share of the files that a page gives, and the record by which it goes on after a reload. */

import type { Machine } from '../machine.ts';
import { prepare } from '../prepare.ts';
import { newKey } from '../seal.ts';
import type { Storage } from '../storage/index.ts';
import type { UploadItem } from '../types.ts';
import { shareLink } from './link-of.ts';
import type { Kept } from './active.ts';

/** What a share is made with. */
export interface UploadSettings {
  name?: string;
  encrypt?: boolean;
  /** The public key of the one person who can open it. */
  to?: string;
  fronts: string[];
  chunkSize: number;
  storage: Storage;
  machine: Machine;
  /** Whether a share is known already. */
  isKnown(infoHash: string): boolean;
  onProgress(done: number, total: number): void;
  signal: AbortSignal;
}

/** The same files were shared before. */
class AlreadyShared extends Error {}

/** Makes a share; it is in the storage then, and its record too. Answers with the info hash alone if it is known already. */
export async function prepareUpload(items: readonly UploadItem[], settings: UploadSettings): Promise<Kept | string> {
  const { machine, storage, isKnown, to, ...options } = settings;
  // Wrapped before anything is read: a key that nobody can have is found out at once.
  const personal = to === undefined ? undefined : wrapped(machine, to);
  let infoHash = '';
  let record: Kept | undefined;
  try {
    await prepare(items, {
      ...options,
      ...(personal ? { encrypt: true, key: personal.key } : {}),
      storage,
      machine,
      onMade: async (made) => {
        infoHash = made.infoHash;
        if (isKnown(infoHash)) throw new AlreadyShared();
        record = {
          infoHash,
          role: 'sent',
          phase: 'uploading',
          name: made.name,
          link: shareLink(machine, { infoHash, name: made.name, fronts: settings.fronts, key: made.key ?? null, to: personal?.to ?? null }),
          ...(made.key === undefined ? {} : { key: made.key }),
          ...(personal ? { personal: true } : {}),
          ko: made.ko,
          addedAt: Date.now(),
          seeding: true,
          bytesStored: 0,
        };
        await storage.putRecord(record);
      },
    });
    return record ?? infoHash;
  } catch (error) {
    if (error instanceof AlreadyShared) return infoHash;
    // A record without its bytes would promise what is not there.
    if (record) await storage.delete(infoHash).catch(() => {});
    throw error;
  }
}

/** A new key, and the same wrapped to the person of this public key. */
function wrapped(machine: Machine, person: string): { key: string; to: string } {
  const key = newKey();
  const ephemeral = crypto.getRandomValues(new Uint8Array(32));
  return { key, to: machine.call({ t: 'wrapKey', key, to: person }, ephemeral).ok.key };
}
