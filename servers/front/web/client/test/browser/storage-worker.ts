/** In a browser's worker: runs the storage contract, or fills a share until it is killed, or looks at what is left. */

import { newKeyPair } from '../../src/person.ts';
import { contract, pattern } from '../../src/storage/contract.ts';
import { openStorage } from '../../src/storage/index.ts';
import { BLOCK, type ShareStore, type Storage } from '../../src/storage/storage.ts';
import type { StorageKind } from '../../src/types.ts';

type Task =
  | { task: 'contract'; kind: StorageKind }
  | { task: 'auto' }
  | { task: 'upgrade' }
  | { task: 'fill'; kind: StorageKind; name: string; blocks: number }
  | { task: 'look'; kind: StorageKind; name: string; blocks: number }
  | { task: 'full'; kind: StorageKind; name: string; blocks: number };

addEventListener('message', (event: MessageEvent<Task>) => {
  perform(event.data).then(
    (done) => postMessage({ done }),
    (error: unknown) => postMessage({ failed: error instanceof Error ? error.stack : String(error) }),
  );
});

async function perform(task: Task): Promise<unknown> {
  switch (task.task) {
    case 'auto':
      return (await openStorage()).kind;
    case 'upgrade':
      return upgrade(await openStorage('indexeddb'));
    case 'contract':
      return checkAll(task.kind);
    case 'fill':
      return fill(await openStorage(task.kind), task.name, task.blocks);
    case 'look':
      return look(await openStorage(task.kind), task.name, task.blocks);
    case 'full':
      return beFull(await openStorage(task.kind), task.name, task.blocks);
  }
}

/** The names of the shares that are there, and whether a key pair is kept. */
async function upgrade(storage: Storage): Promise<{ names: string[]; isKept: boolean }> {
  await storage.keyPair.keep(await newKeyPair());
  const records = await storage.list();
  return { names: records.map(({ name }) => name), isKept: (await storage.keyPair.get()) !== undefined };
}

async function checkAll(kind: StorageKind): Promise<Record<string, string>> {
  const storage = await openStorage(kind);
  const reopened = async (): Promise<Storage> => (kind === 'memory' ? storage : openStorage(kind));
  const results: Record<string, string> = {};
  for (const [name, check] of Object.entries(contract)) {
    results[name] = await check(storage, reopened).then(
      () => 'ok',
      (error: unknown) => String(error),
    );
  }
  return results;
}

/** Writes the blocks that are missing, in an order that jumps about, and tells how many are there; until killed or done. */
async function fill(storage: Storage, name: string, blocks: number): Promise<void> {
  const store = await storage.open(name, blocks * BLOCK);
  let written = store.present().reduce((sum, [, length]) => sum + length, 0) / BLOCK;
  for (let first = 0; first < blocks; first += 16) {
    const some = Array.from({ length: 16 }, (_, index) => ((first + index) * 1021) % blocks);
    const missing = some.filter((block) => store.available(block * BLOCK, BLOCK) === 0);
    await Promise.all(missing.map((block) => store.write(block * BLOCK, pattern(block * BLOCK, BLOCK))));
    written += missing.length;
    postMessage({ written });
  }
}

/** How many blocks are said to be there, and which of these are not. */
async function look(storage: Storage, name: string, blocks: number): Promise<{ there: number; wrong: number[] }> {
  const store = await storage.open(name, blocks * BLOCK);
  const wrong: number[] = [];
  let there = 0;
  for (const [first, length] of store.present()) {
    for (let at = first; at < first + length; at += BLOCK) {
      there += 1;
      const expected = pattern(at, BLOCK);
      const got = await store.read(at, BLOCK);
      if (!got.every((byte, index) => byte === expected[index])) wrong.push(at / BLOCK);
    }
  }
  await store.close();
  return { there, wrong };
}

/** What is said when the browser grants no room for a share, on opening or on writing it. */
async function beFull(storage: Storage, name: string, blocks: number): Promise<unknown> {
  const said = await storage.open(name, blocks * BLOCK).then(
    async (store) => {
      const error = await writeAll(store).then(() => undefined, asPlain);
      await store.close();
      return { ...error, at: 'write' };
    },
    (error: unknown) => ({ ...asPlain(error), at: 'open' }),
  );
  return { ...said, wrong: said.at === 'write' ? (await look(storage, name, blocks)).wrong : [] };
}

async function writeAll(store: ShareStore): Promise<void> {
  for (let at = 0; at < store.bytes; at += 16 * BLOCK) await store.write(at, pattern(at, 16 * BLOCK));
}

function asPlain(error: unknown): { code?: string; message: string } {
  const { code, message } = error as Error & { code?: string };
  return code === undefined ? { message } : { code, message };
}
