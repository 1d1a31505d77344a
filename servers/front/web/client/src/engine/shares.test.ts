/** Tests of what happens to shares, over real storage in memory and a machine that is played by the test. */

import assert from 'node:assert/strict';
import { afterEach, mock, test } from 'node:test';

import { KollatorError } from '../errors.ts';
import type { Input, MachineEvent, MetainfoInfo } from '../machine-types.ts';
import { BLOCK, ElsewhereError, type Storage, openStorage } from '../storage/index.ts';
import type { Kept } from './active.ts';
import type { ShareSettings } from './lifecycle.ts';
import { Shares } from './shares.ts';
import { settle } from './testing.ts';

const KO = new Uint8Array([1, 2, 3]);
const BYTES = 3 * BLOCK + 5;
const SETTINGS: ShareSettings = { concurrentDownloads: 2, concurrentUploads: 1, seedingTime: 3600_000 };

function hash(digit: string): string {
  return digit.repeat(64);
}

function info(infoHash: string, name = 'a file'): MetainfoInfo {
  return { infoHash, name, pieceLength: 2 * BLOCK, single: true, totalLength: BYTES, files: [{ path: [name], length: BYTES }] };
}

function received(digit: string, more: Partial<Kept> = {}): Kept {
  const rest = { name: '', link: 'http://f/#', addedAt: 5, seeding: true, bytesStored: 0 };
  return { infoHash: hash(digit), role: 'received', phase: 'finding', ...rest, ...more };
}

function sent(digit: string, more: Partial<Kept> = {}): Kept {
  return received(digit, { role: 'sent', phase: 'uploading', ko: KO, ...more });
}

/** Stages whose timers are still running. */
const stages: Stage[] = [];

afterEach(async () => {
  for (const stage of stages.splice(0)) await stage.shares.rest();
});

class Stage {
  inputs: Input[] = [];
  removed: string[] = [];
  time = 1000;
  sealedName: string | undefined;
  readonly storage: Storage;
  shares: Shares;

  constructor(storage: Storage, settings = SETTINGS) {
    this.storage = storage;
    const ports = {
      storage,
      input: (input: Input) => void this.inputs.push(input),
      metainfoInfo: () => info(hash('a'), this.sealedName),
      openMetainfo: (key: string) => {
        if (key !== 'right') throw new KollatorError('key-wrong', 'wrong key');
        return { name: 'secret', files: [{ path: 'secret', length: 3 * (BLOCK - 16) }] };
      },
      changed: () => {},
      removed: (infoHash: string) => void this.removed.push(infoHash),
      now: () => this.time,
    };
    this.shares = new Shares(ports, settings);
    stages.push(this);
  }

  static async of(storage?: Storage, settings = SETTINGS): Promise<Stage> {
    const stage = new Stage(storage ?? (await openStorage('memory')), settings);
    await stage.shares.load();
    stage.shares.go();
    stage.hear({ kind: 'online', worker: 'w' });
    await settle();
    return stage;
  }

  hear(event: MachineEvent, payload: Uint8Array = new Uint8Array()): void {
    this.shares.hear(event, payload, this.time);
  }

  /** What was asked of the machine since the last time. */
  asked(): string[] {
    return this.inputs.splice(0).map((input) => {
      const name = 'infoHash' in input ? ` ${input.infoHash[0]}` : '';
      return `${input.t}${input.t === 'share' ? ` ${input.upload}` : name}`;
    });
  }

  phase(digit: string): string | undefined {
    return this.shares.get(hash(digit))?.phase;
  }

  /** A share of which all bytes are stored. */
  async store(record: Kept): Promise<void> {
    const store = await this.storage.open(record.infoHash, BYTES);
    await store.write(0, new Uint8Array(BYTES));
    await store.close();
    await this.storage.putRecord(record);
  }
}

test('a download goes from finding to complete, and is kept', async () => {
  const stage = await Stage.of();
  stage.shares.addDownload(received('a'));
  assert.deepEqual(stage.asked(), ['download a']);
  stage.hear({ kind: 'metainfo', ...info(hash('a')) }, KO);
  assert.equal(stage.phase('a'), 'downloading');
  assert.equal((await stage.shares.opened(hash('a')))?.store.bytes, BYTES);
  stage.hear({ kind: 'gained', infoHash: hash('a'), places: [{ file: 0, offset: 0 }], length: BLOCK, source: 'p', sourceKind: 'peer' });
  assert.deepEqual(stage.shares.get(hash('a'))?.pieces?.map().pieces, new Uint8Array([2, 0]));
  const from = { disk: 0, worker: 0, peer: BYTES, http: 0 };
  stage.hear({ kind: 'completed', infoHash: hash('a'), totals: { bytesTotal: BYTES, from } });
  assert.equal(stage.phase('a'), 'complete');
  await settle();
  const [record] = (await stage.storage.list()) as Kept[];
  assert.deepEqual([record?.phase, record?.name, record?.ko, record?.settledAt], ['complete', 'a file', KO, 1000]);
  assert.equal(stage.shares.get(hash('a'))?.isOffered, true);
});

test('a liar that was caught at its first block is named where it may have been asked', async () => {
  const stage = await Stage.of();
  await stage.store(sent('b', { phase: 'safe', settledAt: 900 }));
  await stage.shares.load();
  stage.shares.addDownload(received('a'));
  stage.hear({ kind: 'sourceUp', source: 'liar', sourceKind: 'peer' });
  stage.hear({ kind: 'blamed', source: 'liar', offence: 'sent a wrong block' });
  stage.hear({ kind: 'sourceDown', source: 'liar', reason: 'sent a wrong block' });
  stage.hear({ kind: 'blamed', source: 'stranger', offence: 'sent a wrong block' });
  const sources = (digit: string) => stage.shares.get(hash(digit))?.sources.list(stage.shares.connected, 0);
  assert.deepEqual(
    sources('a')?.map(({ name, bytes, connected, offence }) => [name, bytes, connected, offence]),
    [['liar', 0, false, 'sent a wrong block']],
  );
  assert.deepEqual(sources('b'), []);
});

test('after a reload everything goes on by itself', async () => {
  const before = await Stage.of();
  await before.store(sent('a'));
  await before.storage.putRecord(received('b'));
  await before.storage.putRecord(received('c', { paused: true }));
  await before.storage.putRecord(received('d', { phase: 'failed', failure: { code: 'not-found', message: 'nobody has it' } }));
  await before.store(sent('e', { phase: 'safe', settledAt: 500 }));
  await before.store(sent('f', { phase: 'safe', settledAt: 1000 - 3600_000 }));
  const stage = await Stage.of(before.storage);
  assert.deepEqual(stage.asked().sort(), ['download b', 'share false', 'share true']);
  assert.deepEqual(['a', 'b', 'c', 'd', 'e', 'f'].map((digit) => stage.phase(digit)), ['uploading', 'finding', 'paused', 'failed', 'safe', 'safe']);
  assert.equal(stage.shares.get(hash('d'))?.error?.message, 'nobody has it');
  assert.deepEqual(['e', 'f'].map((digit) => stage.shares.get(hash(digit))?.isOffered), [true, false]);
});

test('a share whose bytes are gone is not offered', async () => {
  const before = await Stage.of();
  await before.storage.putRecord(sent('a'));
  const stage = await Stage.of(before.storage);
  assert.deepEqual(stage.asked(), ['stop a']);
  assert.equal(stage.phase('a'), 'failed');
  assert.match(stage.shares.get(hash('a'))?.error?.message ?? '', /not stored in this browser any more/);
});

test('an upload is offered until it is safe, and says so only then', async () => {
  const stage = await Stage.of();
  await stage.store(sent('a'));
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    stage.shares.addUpload(sent('a'));
    await settle();
    assert.deepEqual(stage.asked(), ['share true']);
    stage.hear({ kind: 'stored', infoHash: hash('a'), bytes: 2 * BLOCK });
    stage.hear({ kind: 'failed', infoHash: hash('a'), reason: 'no worker can be reached' });
    assert.equal(stage.phase('a'), 'uploading');
    assert.equal(stage.shares.get(hash('a'))?.error?.message, 'no worker can be reached');
    mock.timers.tick(5000);
    await settle();
    assert.deepEqual(stage.asked(), ['stop a', 'share true']);
    assert.equal(stage.shares.get(hash('a'))?.error?.message, 'no worker can be reached');
    stage.hear({ kind: 'safe', infoHash: hash('a'), http: null });
    assert.equal(stage.phase('a'), 'safe');
    assert.equal(stage.shares.get(hash('a'))?.error, undefined);
    assert.equal(stage.shares.get(hash('a'))?.record.bytesStored, BYTES);
  } finally {
    mock.timers.reset();
  }
});

test('what nobody has fails, but not while there is no front', async () => {
  const stage = await Stage.of();
  stage.shares.addDownload(received('a'));
  stage.hear({ kind: 'offline', reason: 'gone' });
  stage.hear({ kind: 'failed', infoHash: hash('a'), reason: 'no front can be reached' });
  assert.deepEqual([stage.phase('a'), stage.shares.get(hash('a'))?.error?.code], ['finding', 'offline']);
  stage.asked();
  stage.hear({ kind: 'online', worker: null });
  assert.deepEqual(stage.asked(), ['stop a', 'download a']);
  stage.hear({ kind: 'failed', infoHash: hash('a'), reason: 'nobody online knows this share' });
  assert.deepEqual([stage.phase('a'), stage.shares.get(hash('a'))?.error?.code], ['failed', 'not-found']);
  stage.shares.resume(hash('a'));
  assert.deepEqual([stage.phase('a'), stage.shares.get(hash('a'))?.error], ['finding', undefined]);
});

test('others wait for their turn', async () => {
  const stage = await Stage.of();
  for (const digit of ['a', 'b', 'c']) stage.shares.addDownload(received(digit));
  assert.deepEqual(stage.asked(), ['download a', 'download b']);
  stage.shares.pause(hash('a'));
  assert.deepEqual(stage.asked(), ['stop a', 'download c']);
  stage.shares.resume(hash('a'));
  assert.deepEqual(stage.asked(), []);
  await stage.shares.delete(hash('b'));
  assert.deepEqual(stage.asked(), ['stop b', 'download a']);
  assert.deepEqual(stage.removed, [hash('b')]);
  assert.deepEqual((await stage.storage.list()).map(({ infoHash }) => infoHash[0]).sort(), ['a', 'c']);
});

test('an encrypted share without its key, or with another, fails in words', async () => {
  const stage = await Stage.of();
  stage.sealedName = 'kollator-sealed-1';
  stage.shares.addDownload(received('a'));
  stage.hear({ kind: 'metainfo', ...info(hash('a')) }, KO);
  assert.deepEqual([stage.phase('a'), stage.shares.get(hash('a'))?.error?.code], ['failed', 'key-missing']);
  assert.deepEqual(stage.asked(), ['download a', 'stop a']);
  stage.shares.addDownload(received('a', { key: 'wrong' }));
  stage.hear({ kind: 'metainfo', ...info(hash('a')) }, KO);
  assert.equal(stage.shares.get(hash('a'))?.error?.code, 'key-wrong');
  stage.shares.addDownload(received('a', { key: 'right', personal: true }));
  stage.hear({ kind: 'metainfo', ...info(hash('a')) }, KO);
  assert.equal(stage.shares.get(hash('a'))?.record.personal, true);
  assert.deepEqual([stage.phase('a'), stage.shares.get(hash('a'))?.record.name], ['downloading', 'secret']);
});

test('a share that another tab has waits for it, and takes over what that did', async () => {
  const storage = await openStorage('memory');
  const before = await Stage.of(storage);
  await before.store(sent('a'));
  let free = (): void => {};
  const freed = new Promise<void>((resolve) => (free = resolve));
  const other = Object.create(storage) as Storage;
  let isHeld = true;
  other.open = (name, bytes) => (isHeld ? Promise.reject(new ElsewhereError(name, () => freed)) : storage.open(name, bytes));
  other.list = () => storage.list();
  other.putRecord = (record) => storage.putRecord(record);
  const stage = await Stage.of(other);
  assert.equal(stage.phase('a'), 'elsewhere');
  assert.equal(stage.asked().includes('share true'), false);
  await storage.putRecord(sent('a', { phase: 'safe', settledAt: 900, bytesStored: BYTES }));
  isHeld = false;
  free();
  await settle();
  assert.equal(stage.phase('a'), 'safe');
  assert.deepEqual(stage.asked(), ['stop a', 'share false']);
});

test('a full disk is said in words, and the download can go on later', async () => {
  const stage = await Stage.of();
  stage.shares.addDownload(received('a'));
  stage.hear({ kind: 'metainfo', ...info(hash('a')) }, KO);
  stage.shares.diskFailed(hash('a'), new KollatorError('storage-full', 'no room'));
  assert.deepEqual([stage.phase('a'), stage.shares.get(hash('a'))?.error?.code], ['failed', 'storage-full']);
  stage.hear({ kind: 'failed', infoHash: hash('a'), reason: 'late' });
  assert.equal(stage.shares.get(hash('a'))?.error?.message, 'no room');
  stage.asked();
  stage.shares.resume(hash('a'));
  await settle();
  assert.deepEqual(stage.asked(), ['download a']);
});

test('serving ends with the seeding time, or when it is switched off', async () => {
  const stage = await Stage.of();
  await stage.store(sent('a', { phase: 'safe', settledAt: 1000 }));
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    await stage.shares.load();
    stage.shares.go();
    await settle();
    assert.deepEqual(stage.asked(), ['share false']);
    stage.time += 3600_000;
    mock.timers.tick(3600_000);
    assert.deepEqual(stage.asked(), ['stop a']);
    stage.shares.setSeeding(hash('a'), true);
    await settle();
    assert.deepEqual(stage.asked(), ['share false']);
    stage.shares.setSeeding(hash('a'), false);
    assert.deepEqual(stage.asked(), ['stop a']);
    stage.shares.setSettings({ ...SETTINGS, seedingTime: 0 });
    await settle();
    assert.deepEqual(stage.asked(), []);
  } finally {
    mock.timers.reset();
  }
});

test('resting stops everything and keeps it; going goes on', async () => {
  const stage = await Stage.of();
  stage.shares.addDownload(received('a'));
  stage.hear({ kind: 'metainfo', ...info(hash('a')) }, KO);
  await stage.shares.rest();
  stage.asked();
  assert.equal(stage.shares.opened(hash('a')), undefined);
  stage.shares.go();
  await settle();
  assert.deepEqual(stage.asked(), ['download a']);
  assert.ok(await stage.shares.opened(hash('a')));
});
