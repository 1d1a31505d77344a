/** In a browser's worker: runs the storage contract, or fills a share until it is killed, or looks at what is left. */

import { contract, pattern } from '../../src/storage/contract.ts';
import { openStorage } from '../../src/storage/index.ts';
import { BLOCK, type Storage } from '../../src/storage/storage.ts';
import type { StorageKind } from '../../src/types.ts';

type Task =
  | { task: 'contract'; kind: StorageKind }
  | { task: 'auto' }
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
    case 'contract':
      return checkAll(await openStorage(task.kind), () => openStorage(task.kind));
    case 'fill':
      return fill(await openStorage(task.kind), task.name, task.blocks);
    case 'look':
      return look(await openStorage(task.kind), task.name, task.blocks);
    case 'full':
      return beFull(await openStorage(task.kind), task.name, task.blocks);
  }
}

async function checkAll(storage: Storage, reopened: () => Promise<Storage>): Promise<Record<string, string>> {
  const results: Record<string, string> = {};
  for (const [name, check] of Object.entries(contract)) {
    results[name] = await check(storage, reopened).then(
      () => 'ok',
      (error: unknown) => String(error),
    );
  }
  return results;
}

/** Writes blocks in an order that jumps about, telling how many were said to be there, until killed or done. */
async function fill(storage: Storage, name: string, blocks: number): Promise<void> {
  const store = await storage.open(name, blocks * BLOCK);
  let written = store.present().reduce((sum, [, length]) => sum + length, 0) / BLOCK;
  for (let first = 0; first < blocks; first += 16) {
    const some = Array.from({ length: 16 }, (_, index) => ((first + index) * 1021) % blocks);
    await Promise.all(some.map((block) => store.write(block * BLOCK, pattern(block * BLOCK, BLOCK))));
    written += 16;
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

/** What is said of a share that the browser grants no room for. */
async function beFull(storage: Storage, name: string, blocks: number): Promise<unknown> {
  try {
    await storage.open(name, blocks * BLOCK);
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    const listed = await storage.list();
    return { code, message, listed: listed.length, used: (await storage.usage()).used };
  }
  return 'opened';
}
