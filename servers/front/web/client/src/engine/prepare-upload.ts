/** Makes a share of the files that a page gives, and the record by which it goes on after a reload. */

import type { Machine } from '../machine.ts';
import { prepare } from '../prepare.ts';
import type { Storage } from '../storage/index.ts';
import type { UploadItem } from '../types.ts';
import { shareLink } from './link-of.ts';
import type { Kept } from './active.ts';

/** What a share is made with. */
export interface UploadSettings {
  name?: string;
  encrypt?: boolean;
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
  const { machine, storage, isKnown, ...options } = settings;
  let infoHash = '';
  let record: Kept | undefined;
  try {
    await prepare(items, {
      ...options,
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
          link: shareLink(machine, { infoHash, name: made.name, fronts: settings.fronts, key: made.key ?? null }),
          ...(made.key === undefined ? {} : { key: made.key }),
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
