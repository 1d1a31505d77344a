/** Shares as they are made here, before the machine that others read them with. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Machine } from './machine.ts';
import { prepare } from './prepare.ts';
import { openStorage } from './storage/index.ts';

const machine = await Machine.load(readFileSync(new URL('../../dist-wasm/kollator_machine.wasm', import.meta.url)));
const storage = await openStorage('memory');
const items = ['d/b', 'd/a/c', 'd/a-b', 'd/ü', 'd/empty'].map((path, index) => ({
  path,
  file: new File([new Uint8Array(randomBytes(index === 4 ? 0 : 50_000 * index + 1))], path),
}));

test('the machine reads a plain share as it was made', async () => {
  const made = await prepare(items, { storage, machine, fronts: ['https://front.example'], chunkSize: 65536, encrypt: false });
  const info = machine.call({ t: 'metainfoInfo' }, made.ko).ok;
  assert.equal(info.infoHash, made.infoHash);
  assert.equal(info.name, 'd');
  assert.deepEqual(info.files.map(({ path, length }) => ({ path, length })), made.files);
});

test('the machine opens a sealed share with its key', async () => {
  const made = await prepare(items, { storage, machine, fronts: [], chunkSize: 65536 });
  assert.equal(machine.call({ t: 'metainfoInfo' }, made.ko).ok.infoHash, made.infoHash);
  const opened = machine.call({ t: 'openMetainfo', key: made.key! }, made.ko).ok;
  assert.equal(opened.name, 'd');
  assert.deepEqual(opened.files.map(({ path, length }) => ({ path, length })), made.files);
});
