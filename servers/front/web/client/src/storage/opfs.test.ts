/** Private files whose every change is remembered: what a browser that is killed after any of them finds next time. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pattern } from './contract.ts';
import type { Database } from './database.ts';
import { OpfsBackend } from './opfs.ts';
import { Shares } from './shares.ts';
import { BLOCK, temporaryName } from './storage.ts';

type Files = Map<string, Uint8Array>;

/** A folder of private files, and how it was after each change. */
class Folder {
  files: Files;
  history: Files[] = [];
  /** Lets writes to files whose name ends so fail. */
  refuse = 'nothing';

  constructor(files: Files = new Map()) {
    this.files = new Map([...files].map(([name, data]) => [name, data.slice()]));
  }

  change<T>(work: () => T): T {
    const result = work();
    this.history.push(new Map([...this.files].map(([name, data]) => [name, data.slice()])));
    return result;
  }

  asHandle(): FileSystemDirectoryHandle {
    const gone = (name: string): DOMException => new DOMException(`${name} is not there`, 'NotFoundError');
    return {
      getFileHandle: async (name: string, options?: { create?: boolean }) => {
        if (!this.files.has(name)) {
          if (!options?.create) throw gone(name);
          this.change(() => this.files.set(name, new Uint8Array()));
        }
        return {
          createSyncAccessHandle: async () => this.access(name),
          move: async (to: string) =>
            this.change(() => {
              this.files.set(to, this.files.get(name)!);
              this.files.delete(name);
            }),
        };
      },
      removeEntry: async (name: string) => {
        if (!this.files.has(name)) throw gone(name);
        this.change(() => this.files.delete(name));
      },
      keys: async function* (this: Folder) {
        yield* [...this.files.keys()];
      }.bind(this),
    } as unknown as FileSystemDirectoryHandle;
  }

  access(name: string): object {
    const resize = (size: number): void => {
      const data = new Uint8Array(size);
      data.set(this.files.get(name)!.subarray(0, size));
      this.files.set(name, data);
    };
    return {
      getSize: () => this.files.get(name)!.length,
      truncate: (size: number) => this.change(() => resize(size)),
      read: (buffer: Uint8Array, { at }: { at: number }) => {
        const data = this.files.get(name)!.subarray(at, at + buffer.length);
        buffer.set(data);
        return data.length;
      },
      write: (buffer: Uint8Array, { at }: { at: number }) => {
        if (name.endsWith(this.refuse)) throw new DOMException('full', 'QuotaExceededError');
        // Less than was asked for, as systems may: the rest has to be written by another call.
        const some = buffer.subarray(0, Math.max(1, buffer.length - 7));
        this.change(() => {
          if (this.files.get(name)!.length < at + some.length) resize(at + some.length);
          this.files.get(name)!.set(some, at);
        });
        return some.length;
      },
      flush: () => undefined,
      close: () => undefined,
    };
  }
}

const database = { records: async () => [] } as unknown as Database;
const sharesOf = (folder: Folder): Shares => new Shares(new OpfsBackend(folder.asHandle(), database));
const NAME = 'ab'.repeat(32);
const BYTES = 9 * BLOCK + 5;

/** Blocks said to be there; each must have the bytes that `expected` gives. */
async function there(files: Files, name: string, expected: (offset: number, length: number) => Uint8Array): Promise<number[]> {
  const store = await sharesOf(new Folder(files)).open(name, BYTES);
  const blocks: number[] = [];
  for (const [first, length] of store.present()) {
    for (let at = first; at < first + length; at += BLOCK) {
      const size = Math.min(BLOCK, BYTES - at);
      assert.deepEqual(await store.read(at, size), expected(at, size), `block ${at / BLOCK}`);
      blocks.push(at / BLOCK);
    }
  }
  await store.close();
  return blocks;
}

test('killed after any change, no block is said to be there that is not, and none is lost', async () => {
  const folder = new Folder();
  const acknowledged: Array<[changes: number, blocks: number]> = [];
  const store = await sharesOf(folder).open(NAME, BYTES);
  for (const [count, blocks] of [[0, 3], [4, 1], [9, 7]].map((blocks) => [blocks.length, blocks] as const)) {
    await Promise.all(blocks.map((block) => store.write(block * BLOCK, pattern(block * BLOCK, Math.min(BLOCK, BYTES - block * BLOCK)))));
    acknowledged.push([folder.history.length, count + (acknowledged.at(-1)?.[1] ?? 0)]);
  }
  await store.close();
  assert.ok(folder.history.length > 10);
  for (const [index, files] of folder.history.entries()) {
    const blocks = await there(files, NAME, pattern);
    const least = acknowledged.findLast(([changes]) => changes <= index + 1)?.[1] ?? 0;
    assert.ok(blocks.length >= least, `${blocks.length} of ${least} blocks after change ${index}`);
  }
});

test('killed while a new share gets its name, none of its blocks is taken for one of the other', async () => {
  const folder = new Folder();
  const shares = sharesOf(folder);
  const temporary = temporaryName();
  const other = (offset: number, length: number): Uint8Array<ArrayBuffer> => pattern(offset, length).map((byte) => ~byte);
  for (const [name, bytes, block] of [[NAME, other, 1], [temporary, pattern, 2]] as const) {
    const store = await shares.open(name, BYTES);
    await store.write(block * BLOCK, bytes(block * BLOCK, BLOCK));
    await store.close();
  }
  const before = folder.history.length;
  await shares.rename(temporary, NAME);
  for (const files of folder.history.slice(before)) {
    await there(files, NAME, (offset, length) => (offset === BLOCK ? other : pattern)(offset, length));
  }
  assert.deepEqual(await there(folder.files, NAME, pattern), [2]);
  assert.deepEqual([...folder.files.keys()].sort(), [`${NAME}.data`, `${NAME}.state`]);
});

test('a write that fails is told, and its blocks are not there', async () => {
  const folder = new Folder();
  const store = await sharesOf(folder).open(NAME, BYTES);
  await store.write(0, pattern(0, BLOCK));
  folder.refuse = '.data';
  await assert.rejects(store.write(BLOCK, pattern(BLOCK, BLOCK)), { code: 'storage-full' });
  folder.refuse = 'nothing';
  assert.deepEqual(store.present(), [[0, BLOCK]]);
  await store.close();
  assert.deepEqual(await there(folder.files, NAME, pattern), [0]);
});

test('a state that is torn, foreign or of another length counts for nothing', async () => {
  const folder = new Folder();
  const store = await sharesOf(folder).open(NAME, BYTES);
  await store.write(0, pattern(0, BLOCK));
  await store.close();
  const state = folder.files.get(`${NAME}.state`)!;
  for (const torn of [new Uint8Array(), state.slice(0, 10), state.slice(0, -1), state.map((byte, at) => (at === 3 ? 0 : byte)), state.map((byte, at) => (at === 16 ? byte ^ 1 : byte))]) {
    assert.deepEqual(await there(new Map(folder.files).set(`${NAME}.state`, torn), NAME, pattern), []);
  }
  assert.deepEqual(await there(new Map(folder.files).set(`${NAME}.data`, new Uint8Array(5)), NAME, pattern), []);
  for (const time of ['first', 'second']) {
    const longer = await sharesOf(folder).open(NAME, BYTES + 1);
    assert.deepEqual(longer.present(), [], `the ${time} time at another length`);
    await longer.close();
  }
});

test('what is no file of a share is removed when listing', async () => {
  const folder = new Folder(new Map(['notes.txt', `${NAME}.data`, 'new-0123456789abcdef.state', 'x.state'].map((name) => [name, new Uint8Array()])));
  await sharesOf(folder).list();
  assert.deepEqual([...folder.files.keys()], []);
});
