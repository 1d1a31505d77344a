/** Tests of the disk, open stores, the reader, and who is told of what, over real storage in memory. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import { KollatorError } from '../errors.ts';
import type { MetainfoInfo } from '../machine-types.ts';
import { BLOCK, ElsewhereError, openStorage } from '../storage/index.ts';
import type { ShareState } from '../types.ts';
import { Announcer } from './announcer.ts';
import { Disk, type DiskInput } from './disk.ts';
import { Layout } from './layout.ts';
import { FROM_DISK } from './pieces.ts';
import { Reader } from './reader.ts';
import { Share } from './share.ts';
import { Stores } from './stores.ts';
import { settle } from './testing.ts';
import { Watchers } from './watchers.ts';

const HASH = 'a'.repeat(64);
const LENGTHS = [2 * BLOCK + 100, BLOCK];
const INFO: MetainfoInfo = {
  infoHash: HASH,
  name: 'folder',
  pieceLength: 4 * BLOCK,
  single: false,
  totalLength: 3 * BLOCK + 100,
  files: LENGTHS.map((length, index) => ({ path: [`${index}`], length })),
};
const LAYOUT = new Layout(INFO);

function content(length: number, seed: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, index) => (index * seed) % 251);
}

function leaf(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

async function stage(): Promise<{ stores: Stores; disk: Disk; heard: Array<[DiskInput, Uint8Array | undefined]>; failed: KollatorError[] }> {
  const stores = new Stores(await openStorage('memory'));
  await stores.open(HASH, LAYOUT);
  const heard: Array<[DiskInput, Uint8Array | undefined]> = [];
  const failed: KollatorError[] = [];
  const disk = new Disk((infoHash) => stores.get(infoHash), (input, payload) => heard.push([input, payload]), (_infoHash, error) => failed.push(error));
  return { stores, disk, heard, failed };
}

test('what was written is read, and claimed after a reload by its hashes', async () => {
  const { disk, heard } = await stage();
  const [a, b] = [content(BLOCK + 100, 3), content(BLOCK, 5)];
  await disk.execute({ t: 'diskWrite', ticket: 1, infoHash: HASH, places: [{ file: 0, offset: BLOCK }] }, a);
  await disk.execute({ t: 'diskWrite', ticket: 2, infoHash: HASH, places: [{ file: 1, offset: 0 }] }, b);
  await disk.execute({ t: 'diskRead', ticket: 3, infoHash: HASH, file: 0, offset: 2 * BLOCK, length: 100 }, new Uint8Array());
  await disk.execute({ t: 'diskReadLeaves', ticket: 4, infoHash: HASH, file: 1, offset: 0, length: BLOCK }, new Uint8Array());
  await disk.execute({ t: 'diskPrepare', ...INFO }, new Uint8Array());
  assert.deepEqual(heard.map(([input]) => input), [
    { t: 'diskWritten', ticket: 1 },
    { t: 'diskWritten', ticket: 2 },
    { t: 'diskRead', ticket: 3 },
    { t: 'diskLeaves', ticket: 4 },
    {
      t: 'diskPrepared',
      infoHash: HASH,
      claims: [
        { file: 0, offset: BLOCK, count: 2 },
        { file: 1, offset: 0, count: 1 },
      ],
    },
  ]);
  assert.equal(Buffer.compare(heard[2]?.[1] ?? a, a.subarray(BLOCK)), 0);
  assert.equal(Buffer.from(heard[3]?.[1] ?? []).toString('hex'), leaf(b));
  const hashes = leaf(a.subarray(0, BLOCK)) + leaf(a.subarray(BLOCK)) + leaf(b);
  assert.equal(Buffer.from(heard[4]?.[1] ?? []).toString('hex'), hashes);
});

test('blocks are hashed one by one, the last as short as it is', async () => {
  const { disk, heard } = await stage();
  const data = content(BLOCK + 7, 7);
  await disk.execute({ t: 'diskHash', ticket: 9 }, data);
  assert.deepEqual(heard[0]?.[0], { t: 'diskHashed', ticket: 9 });
  assert.equal(Buffer.from(heard[0]?.[1] ?? []).toString('hex'), leaf(data.subarray(0, BLOCK)) + leaf(data.subarray(BLOCK)));
});

test('what the machine hands over may change at once', async () => {
  const stores = new Stores(await openStorage('memory'));
  const heard: Array<Uint8Array | undefined> = [];
  const disk = new Disk((infoHash) => stores.get(infoHash), (_input, payload) => heard.push(payload), assert.fail);
  const opening = stores.open(HASH, LAYOUT);
  const memory = content(BLOCK, 3);
  const write = (file: number, offset: number): Promise<void> => {
    const written = disk.execute({ t: 'diskWrite', ticket: 1, infoHash: HASH, places: [{ file, offset }] }, memory);
    memory.fill(memory[1]! + 1);
    return written;
  };
  // While the share is being opened, and when it is open.
  const early = write(0, 0);
  const { store } = await opening;
  await Promise.all([early, write(0, BLOCK), write(1, 0)]);
  assert.deepEqual(await store.read(0, BLOCK), content(BLOCK, 3));
  assert.deepEqual((await store.read(BLOCK, BLOCK))[0], 4);
  assert.deepEqual((await store.read(LAYOUT.offset({ file: 1, offset: 0 }, 1), BLOCK))[0], 5);
  const hashed = disk.execute({ t: 'diskHash', ticket: 2 }, memory);
  memory.fill(0);
  await hashed;
  assert.equal(Buffer.from(heard.at(-1) ?? []).toString('hex'), leaf(new Uint8Array(BLOCK).fill(6)));
});

test('every ticket is answered, also when the disk cannot', async () => {
  const { stores, disk, heard, failed } = await stage();
  await disk.execute({ t: 'diskRead', ticket: 1, infoHash: HASH, file: 0, offset: 0, length: BLOCK }, new Uint8Array());
  await disk.execute({ t: 'diskWrite', ticket: 2, infoHash: HASH, places: [{ file: 7, offset: 0 }] }, content(BLOCK, 1));
  assert.deepEqual(failed.map(({ code }) => code), ['storage']);
  await stores.close(HASH);
  await disk.execute({ t: 'diskReadLeaves', ticket: 3, infoHash: HASH, file: 0, offset: 0, length: BLOCK }, new Uint8Array());
  await disk.execute({ t: 'diskFinish', infoHash: HASH }, new Uint8Array());
  const said = heard.map(([input]) => [input.t, 'ticket' in input ? input.ticket : 0, 'error' in input]);
  assert.deepEqual(said, [['diskRead', 1, true], ['diskWritten', 2, true], ['diskLeaves', 3, true], ['diskFinished', 0, true]]);
});

test('a store is opened once, and again only when it is closed', async () => {
  const storage = await openStorage('memory');
  const stores = new Stores(storage);
  const [one, other] = await Promise.all([stores.open(HASH, LAYOUT), stores.open(HASH, LAYOUT)]);
  assert.equal(one, other);
  await assert.rejects(storage.open(HASH, LAYOUT.bytes), ElsewhereError);
  const closing = stores.close(HASH);
  const again = await stores.open(HASH, LAYOUT);
  await closing;
  assert.notEqual(again, one);
  await stores.closeAll();
  await (await storage.open(HASH, LAYOUT.bytes)).close();
});

async function reading(): Promise<{ share: Share; reader: Reader; sought: string[] }> {
  const stores = new Stores(await openStorage('memory'));
  const { store } = await stores.open(HASH, LAYOUT);
  await store.write(0, content(LENGTHS[0] ?? 0, 3));
  const share = new Share({ infoHash: HASH, role: 'received', phase: 'finding', name: '', link: '', addedAt: 0, seeding: true, bytesStored: 0 });
  const sought: string[] = [];
  const reader = new Reader({
    share: (infoHash) => (infoHash === HASH ? share : undefined),
    open: () => stores.open(HASH, LAYOUT),
    contentKeys: () => new Uint8Array(),
    seek: (_infoHash, file, offset) => sought.push(`${file} ${offset}`),
    idle: () => {},
  });
  return { share, reader, sought };
}

test('a reader waits for verified bytes, and has them got first', async () => {
  const { share, reader, sought } = await reading();
  let got: Uint8Array | undefined;
  const { signal } = new AbortController();
  const wanted = reader.read({ infoHash: HASH, file: 0, offset: BLOCK - 1, length: 2 }, signal).then((bytes) => (got = bytes));
  await settle();
  share.phase = 'downloading';
  share.learn(INFO, { name: 'folder', files: LENGTHS.map((length, index) => ({ path: `${index}`, length })) });
  share.news.tell();
  await settle();
  assert.deepEqual(sought, [`0 ${BLOCK - 1}`]);
  // It is on disk, but nobody has verified it yet.
  share.pieces?.gain({ file: 0, offset: 0 }, BLOCK, FROM_DISK);
  share.news.tell();
  await settle();
  assert.equal(got, undefined);
  share.pieces?.gain({ file: 0, offset: BLOCK }, BLOCK, 2);
  share.news.tell();
  await wanted;
  assert.deepEqual(got, content(BLOCK + 1, 3).slice(BLOCK - 1));
  reader.forget(HASH);
});

test('a reader fails with its share, and refuses what is outside the file', async () => {
  const { share, reader } = await reading();
  const { signal } = new AbortController();
  share.learn(INFO, { name: 'folder', files: LENGTHS.map((length, index) => ({ path: `${index}`, length })) });
  await assert.rejects(reader.read({ infoHash: HASH, file: 0, offset: 0, length: 2 * BLOCK + 101 }, signal), RangeError);
  await assert.rejects(reader.read({ infoHash: HASH, file: 2, offset: 0, length: 1 }, signal), { code: 'not-found' });
  await assert.rejects(reader.read({ infoHash: 'b'.repeat(64), file: 0, offset: 0, length: 1 }, signal), { code: 'not-found' });
  const stopped = new AbortController();
  const waiting = reader.read({ infoHash: HASH, file: 1, offset: 0, length: 1 }, stopped.signal);
  stopped.abort();
  await assert.rejects(waiting, { code: 'aborted' });
  const failing = reader.read({ infoHash: HASH, file: 1, offset: 0, length: 1 }, signal);
  await settle();
  [share.phase, share.error] = ['failed', { code: 'storage-full', message: 'no room' }];
  share.news.tell();
  await assert.rejects(failing, { code: 'storage-full', message: 'no room' });
  reader.forget(HASH);
});

function state(phase: ShareState['phase'], more: Partial<ShareState> = {}): ShareState {
  return { infoHash: HASH, phase, speedDown: 0, speedUp: 0, ...more } as ShareState;
}

test('a share is told of at once in a new phase, otherwise twice a second', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let [now, phase]: [number, ShareState['phase']] = [1000, 'finding'];
  const told: string[] = [];
  const announcer = new Announcer(() => state(phase), ({ phase: at }) => told.push(`${now} ${at}`), () => now);
  const pass = (milliseconds: number): void => {
    // In one step: whatever goes off in between sees the time at its end.
    now += milliseconds;
    context.mock.timers.tick(milliseconds);
  };
  for (let count = 0; count < 20; count += 1) {
    announcer.changed(HASH, phase);
    pass(30);
  }
  phase = 'complete';
  announcer.changed(HASH, phase);
  pass(5000);
  assert.deepEqual(told, ['1000 finding', '1510 finding', '1600 complete']);
  announcer.changed(HASH, phase);
  announcer.forget(HASH);
  pass(5000);
  assert.equal(told.length, 4);
});

test('who waits for a share hears of it until it is settled', async () => {
  const watchers = new Watchers();
  const heard: string[] = [];
  const { signal } = new AbortController();
  const safe = watchers.settled(HASH, ({ phase }) => heard.push(phase), signal);
  watchers.tell(state('uploading'), undefined);
  watchers.tell(state('safe'), undefined);
  watchers.tell(state('paused'), undefined);
  assert.equal((await safe).phase, 'safe');
  assert.deepEqual(heard, ['uploading', 'safe']);
  const failing = watchers.settled(HASH, () => {}, signal);
  watchers.tell(state('failed', { error: 'nobody has it' }), 'not-found');
  await assert.rejects(failing, { code: 'not-found', message: 'nobody has it' });
  const deleted = watchers.settled(HASH, () => {}, signal);
  watchers.removed(HASH);
  await assert.rejects(deleted, { code: 'aborted' });
  const stopped = new AbortController();
  const waiting = watchers.settled(HASH, () => {}, stopped.signal);
  stopped.abort();
  await assert.rejects(waiting, { code: 'aborted' });
});
