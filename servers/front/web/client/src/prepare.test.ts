import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { entriesOf, prepare, type PrepareOptions, type Prepared, type ShareMachine } from './prepare.ts';
import { Seal, openRange, sealedLength } from './seal.ts';
import { openStorage } from './storage/index.ts';
import { BLOCK, type Storage } from './storage/storage.ts';
import type { UploadItem } from './types.ts';

const storage = await openStorage('memory', { memoryLimit: 64 * 1024 * 1024 });
const CHUNK = 64 * 1024;

/** Stands for the machine: notes what it is asked; its roots are hashes of the leaves, its `.ko` is what it was given. */
class FakeMachine implements ShareMachine {
  pieces: Array<{ length: number; fileLength: number; leaves: number }> = [];
  call(header: { t: string; length?: number; fileLength?: number }, payload: Uint8Array): { ok: { infoHash: string }; payload: Uint8Array } {
    if (header.t === 'pieceRoot') {
      this.pieces.push({ length: header.length!, fileLength: header.fileLength!, leaves: payload.length / 32 });
      return { ok: { infoHash: '' }, payload: createHash('sha256').update(payload).digest() };
    }
    const ko = Buffer.concat([Buffer.from(JSON.stringify(header)), payload]);
    return { ok: { infoHash: createHash('sha256').update(ko).digest('hex') }, payload: ko };
  }
}

function item(path: string, content: Uint8Array<ArrayBuffer> | string): UploadItem {
  return { file: new File([content], path.split('/').at(-1)!), path };
}

function make(items: UploadItem[], more: Partial<PrepareOptions> = {}): Promise<Prepared> {
  return prepare(items, { storage, machine: new FakeMachine(), fronts: ['https://front.example'], chunkSize: CHUNK, ...more });
}

async function kept(prepared: Prepared, lengths: number[], where: Storage = storage): Promise<Uint8Array<ArrayBuffer>[]> {
  const bytes = lengths.slice(0, -1).reduce((sum, length) => sum + Math.ceil(length / BLOCK) * BLOCK, 0) + lengths.at(-1)!;
  const store = await where.open(prepared.infoHash, bytes);
  const files: Uint8Array<ArrayBuffer>[] = [];
  let offset = 0;
  for (const length of lengths) {
    files.push(await store.read(offset, length));
    offset += Math.ceil(length / BLOCK) * BLOCK;
  }
  await store.close();
  return files;
}

function leavesOf(files: Uint8Array[]): Buffer {
  const blocks = files.flatMap((file) => Array.from({ length: Math.ceil(file.length / BLOCK) }, (_, at) => file.subarray(at * BLOCK, (at + 1) * BLOCK)));
  return Buffer.concat(blocks.map((block) => createHash('sha256').update(block).digest()));
}

test('a plain folder is kept, hashed and described as it is, in the order of a file tree', async () => {
  const [large, small] = [new Uint8Array(randomBytes(3 * CHUNK + 5)), new Uint8Array(randomBytes(100))];
  const machine = new FakeMachine();
  const told: number[] = [];
  const prepared = await make([item('d/b', large), item('d/a-b', 'x'), item('d/empty', ''), item('d/a/z', small)], {
    encrypt: false,
    machine,
    onProgress: (done, total) => told.push(done, total),
  });
  assert.deepEqual(prepared.files.map(({ path }) => path.join('/')), ['a/z', 'a-b', 'b', 'empty']);
  assert.equal(prepared.name, 'd');
  assert.equal(prepared.key, undefined);
  const expected = [small, Uint8Array.of(120), large];
  assert.deepEqual(await kept(prepared, [100, 1, large.length]), expected);
  assert.deepEqual(Buffer.from(prepared.leaves), leavesOf(expected));
  assert.deepEqual(machine.pieces.map(({ length, leaves }) => [length, leaves]), [[100, 1], [1, 1], [CHUNK, 4], [CHUNK, 4], [CHUNK, 4], [5, 1]]);
  assert.deepEqual(told.slice(0, 2), [0, large.length + 101]);
  assert.equal(told.at(-2), large.length + 101);
  assert.match(Buffer.from(prepared.ko).toString('latin1'), /"fronts":\["https:\/\/front\.example"\]/);
});

test('a sealed share holds nothing readable, and opens with its key', async () => {
  const secret = new TextEncoder().encode('a secret that must not be seen '.repeat(3000));
  const prepared = await make([item('plans/secret plan.txt', secret), item('plans/other.txt', 'other')]);
  const seal = await Seal.of(prepared.key!);
  const files = JSON.parse(Buffer.from(prepared.ko).toString('latin1').replace(/\}\].*$/s, '}]}')) as { name: string; files: Array<{ path: string[]; length: number }> };
  assert.equal(files.name, 'kollator-sealed-1');
  const opened = await seal.open(files.files);
  assert.deepEqual(opened.files.map(({ path }) => path), [['other.txt'], ['secret plan.txt']]);
  assert.deepEqual(prepared.files, opened.files.map(({ path, length }) => ({ path, length })));
  const data = await kept(prepared, opened.files.map(({ length }) => sealedLength(length)));
  assert.deepEqual(Buffer.from(prepared.leaves), leavesOf(data));
  assert.ok(!Buffer.concat([...data, prepared.ko]).includes('secret'));
  const plain = await openRange(await seal.content(opened.files[1]!), secret.length, async (at, length) => data[1]!.slice(at, at + length), 0, secret.length);
  assert.deepEqual(plain, secret);
});

test('names: of a file, of a folder, given', () => {
  const named = (paths: string[], name?: string): [string, string[]] => {
    const entries = entriesOf(paths.map((path) => item(path, '')), name);
    return [entries.name, entries.files.map(({ path }) => path.join('/'))];
  };
  assert.deepEqual(named(['a.txt']), ['a.txt', ['a.txt']]);
  assert.deepEqual(named(['a.txt'], 'b.txt'), ['b.txt', ['b.txt']]);
  assert.deepEqual(named(['d/a', 'd/e/b']), ['d', ['a', 'e/b']]);
  assert.deepEqual(named(['d/a'], 'x'), ['x', ['d/a']]);
  assert.deepEqual(named(['a', 'b']), ['2 files', ['a', 'b']]);
  assert.throws(() => named([]), { code: 'refused' });
});

test('what is refused says why and leaves nothing', async () => {
  const { used } = await storage.usage();
  const cases: Array<[UploadItem[], Partial<PrepareOptions>, string, RegExp]> = [
    [[item('d/a', 'x'), item('d/a', 'y')], {}, 'refused', /same name/],
    [[item('d/../x', 'x'), item('d/b', 'y')], {}, 'refused', /"\.\.".*relative/],
    [[item('d/a\\b', 'x')], { encrypt: false }, 'refused', /separator/],
    [[item('kollator-sealed-1', 'x')], { encrypt: false }, 'refused', /encrypted/],
    [[item('a', 'x')], { chunkSize: 5_000_000 }, 'refused', /power of two/],
    [[item('a', new Uint8Array(70 * 1024 * 1024))], {}, 'storage-full', /73\.\d MB/],
    [[item('d/good', new Uint8Array(CHUNK)), { file: broken(), path: 'd/bad' }], {}, 'refused', /"bad" can't be read/],
    [[{ file: shrunken(), path: 'short' }], {}, 'refused', /has not the 100 bytes/],
  ];
  for (const [items, options, code, why] of cases) {
    await assert.rejects(make(items, options), (error: Error & { code: string }) => error.code === code && why.test(error.message), String(why));
  }
  await assert.rejects(make([item('a', 'x')], { machine: { call: () => assert.fail('no') } as unknown as ShareMachine }));
  assert.equal((await storage.usage()).used, used);
});

test('after a failure nothing more is read', async () => {
  let done = 0;
  const items = [{ file: broken(), path: 'd/a' }, item('d/b', new Uint8Array(32 * 1024 * 1024))];
  await assert.rejects(make(items, { encrypt: false, onProgress: (bytes) => (done = bytes) }), { code: 'refused' });
  assert.ok(done < 16 * 1024 * 1024, `${done} bytes were read`);
});

test('its record can be put before other tabs see it', async () => {
  const order: string[] = [];
  const watched: Storage = Object.assign(Object.create(storage) as Storage, {
    kind: storage.kind,
    open: (name: string, bytes: number) => storage.open(name, bytes),
    rename: (from: string, to: string) => {
      order.push(`rename ${to}`);
      return storage.rename(from, to);
    },
  });
  const { infoHash } = await make([item('a', 'made')], { storage: watched, onMade: (made) => void order.push(`made ${made.infoHash}`) });
  assert.deepEqual(order, [`made ${infoHash}`, `rename ${infoHash}`]);
});

test('it can be stopped', async () => {
  const { used } = await storage.usage();
  const stop = new AbortController();
  const making = make([item('a', new Uint8Array(16 * 1024 * 1024))], {
    signal: stop.signal,
    onProgress: (done) => {
      if (done > 0) stop.abort();
    },
  });
  await assert.rejects(making, { code: 'aborted' });
  assert.equal((await storage.usage()).used, used);
});

test('the same plain share made twice is there once, and stays while it is open', async () => {
  const once = await make([item('same', 'content')], { encrypt: false });
  const store = await storage.open(once.infoHash, 7);
  const twice = await make([item('same', 'content')], { encrypt: false });
  assert.equal(twice.infoHash, once.infoHash);
  assert.deepEqual(await store.read(0, 7), new TextEncoder().encode('content'));
  await store.close();
});

/** A file that was deleted since it was chosen. */
function broken(): File {
  const file = new File([new Uint8Array(10)], 'bad');
  file.slice = () => ({ arrayBuffer: () => Promise.reject(new DOMException('gone', 'NotReadableError')) }) as Blob;
  return file;
}

/** A file that became shorter. */
function shrunken(): File {
  const file = new File([new Uint8Array(100)], 'short');
  file.slice = () => new Blob([new Uint8Array(90)]);
  return file;
}
