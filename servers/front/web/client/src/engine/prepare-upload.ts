import type { Machine } from '../machine.ts';
import { BLOCK, type Storage, temporaryName } from '../storage/index.ts';
import type { UploadItem } from '../types.ts';
import { leavesOf } from './hashing.ts';
import { shareLink } from './engine.ts';
import type { Kept } from './shares.ts';

export async function prepareUpload(
  items: UploadItem[],
  options: { name?: string; encrypt?: boolean },
  { fronts, chunkSize, storage, machine }: { fronts: string[]; chunkSize: number; storage: Storage; machine: Machine; signal: AbortSignal; note(note: unknown): void },
): Promise<Kept> {
  const file = items[0]!.file;
  const temporary = temporaryName();
  const store = await storage.open(temporary, file.size);
  const roots: Uint8Array[] = [];
  for (let at = 0; at < file.size; at += chunkSize) {
    const data = new Uint8Array(await file.slice(at, at + chunkSize).arrayBuffer());
    await store.write(at, data);
    const leaves = await leavesOf(data);
    roots.push(machine.call({ t: 'pieceRoot', length: data.byteLength, pieceLength: chunkSize, fileLength: file.size }, leaves).payload.slice());
  }
  const payload = new Uint8Array(roots.length * 32);
  roots.forEach((root, i) => payload.set(root, i * 32));
  const made = machine.call({ t: 'buildMetainfo', name: options.name ?? file.name, pieceLength: chunkSize, fronts, files: [{ path: [file.name], length: file.size }] }, payload);
  const infoHash = made.ok.infoHash;
  const ko = made.payload.slice();
  await store.close();
  await storage.rename(temporary, infoHash);
  void BLOCK;
  return { infoHash, role: 'sent', phase: 'uploading', name: file.name, link: shareLink(machine, { infoHash, name: file.name, fronts, key: null }), ko, addedAt: Date.now(), seeding: true, bytesStored: 0 };
}
