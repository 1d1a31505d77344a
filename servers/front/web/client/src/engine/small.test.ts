/** Tests of the engine's small parts: turns, speeds, layouts, chunk maps, sources. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BLOCK } from '../storage/storage.ts';
import { Layout } from './layout.ts';
import { Meter } from './meter.ts';
import { Pieces } from './pieces.ts';
import { plainBytes } from './share.ts';
import { Connected, Sources } from './sources.ts';
import { Turns } from './turns.ts';

test('so many go at once, and the next in order when one is done', () => {
  const turns = new Turns(2);
  const begun: string[] = [];
  for (const name of ['a', 'b', 'c', 'd']) turns.ask(name, () => begun.push(name));
  assert.deepEqual(begun, ['a', 'b']);
  assert.equal(turns.isWaiting('c'), true);
  turns.done('c');
  turns.done('a');
  assert.deepEqual(begun, ['a', 'b', 'd']);
  turns.setLimit(3);
  turns.ask('e', () => begun.push('e'));
  assert.deepEqual(begun, ['a', 'b', 'd', 'e']);
});

test('whoever has a turn does not wait for another', () => {
  const turns = new Turns(1);
  let begun = 0;
  turns.ask('a', () => (begun += 1));
  turns.ask('a', () => (begun += 1));
  assert.equal(begun, 2);
  turns.done('a');
  turns.ask('b', () => (begun += 1));
  assert.equal(begun, 3);
});

test('a speed is that of late', () => {
  const meter = new Meter();
  for (let at = 0; at <= 10_000; at += 100) meter.add(100, at);
  assert.ok(Math.abs(meter.speed(10_000) - 1000) < 100, String(meter.speed(10_000)));
  assert.equal(meter.speed(15_000), 0);
  assert.equal(meter.total, 10_100);
});

test('what has just begun is no flood', () => {
  const meter = new Meter();
  meter.add(5000, 100);
  assert.equal(meter.speed(101), 5000);
});

const LAYOUT = new Layout({
  pieceLength: 4 * BLOCK,
  files: [
    { path: ['a'], length: 5 * BLOCK + 7 },
    { path: ['empty'], length: 0 },
    { path: ['b'], length: BLOCK },
  ],
});

test('files lie end to end, each at a multiple of a block', () => {
  assert.equal(LAYOUT.bytes, 7 * BLOCK);
  assert.equal(LAYOUT.pieces, 3);
  assert.equal(LAYOUT.offset({ file: 0, offset: 5 * BLOCK }, 7), 5 * BLOCK);
  assert.equal(LAYOUT.offset({ file: 2, offset: 0 }, BLOCK), 6 * BLOCK);
  assert.throws(() => LAYOUT.offset({ file: 0, offset: 5 * BLOCK }, 8), /file 0 has no 8 bytes/);
  assert.throws(() => LAYOUT.offset({ file: 3, offset: 0 }, 0), /file 3/);
});

test('a store ends where the last file does', () => {
  const files = [{ path: ['a'], length: 3 }, { path: ['b'], length: 9 }, { path: ['empty'], length: 0 }];
  assert.equal(new Layout({ pieceLength: BLOCK, files }).bytes, BLOCK + 9);
});

test('a run of the store is cut into parts of files', () => {
  assert.deepEqual([...LAYOUT.parts(4 * BLOCK, 3 * BLOCK)], [
    { file: 0, offset: 4 * BLOCK, length: BLOCK + 7 },
    { file: 2, offset: 0, length: BLOCK },
  ]);
});

test('a chunk map tells how much of each piece is here, and from whom', () => {
  const pieces = new Pieces(LAYOUT);
  pieces.gain({ file: 0, offset: 3 * BLOCK }, 2 * BLOCK, 2);
  assert.deepEqual([...pieces.map().pieces], [2, 2, 0]);
  assert.deepEqual([...pieces.map().filled], [64, 254, 0]);
  pieces.gain({ file: 0, offset: 5 * BLOCK }, 7, 700);
  assert.deepEqual([...pieces.map().pieces], [2, 255, 0]);
  assert.deepEqual([...pieces.map().filled], [64, 255, 0]);
  assert.equal(pieces.ofFile(0), 2 * BLOCK + 7);
  pieces.fill();
  assert.deepEqual([...pieces.map().pieces], [1, 255, 1]);
  assert.deepEqual([...pieces.map().filled], [255, 255, 255]);
  assert.deepEqual([0, 1, 2].map((file) => pieces.ofFile(file)), LAYOUT.lengths);
});

test('what was counted is not counted beyond the piece', () => {
  const pieces = new Pieces(LAYOUT);
  for (let again = 0; again < 3; again += 1) pieces.gain({ file: 2, offset: 0 }, BLOCK, 2);
  assert.equal(pieces.ofFile(2), BLOCK);
});

test('readable bytes of a sealed file are fewer than those on the wire', () => {
  assert.equal(plainBytes(BLOCK, 1e6, true), BLOCK - 16);
  assert.equal(plainBytes(BLOCK + 116, 1e6, true), BLOCK - 16 + 100);
  assert.equal(plainBytes(BLOCK + 116, BLOCK, true), BLOCK);
  assert.equal(plainBytes(BLOCK, 100, false), 100);
});

test('a source keeps its index, and its offence', () => {
  const sources = new Sources();
  const connected = new Connected();
  connected.up('w', 'worker');
  assert.equal(sources.gain('w', 'worker', 10, 0), 2);
  assert.equal(sources.gain('p', 'peer', 5, 0), 3);
  assert.equal(sources.gain('w', 'worker', 10, 0), 2);
  assert.equal(sources.blame('p', 'lied'), true);
  assert.equal(sources.blame('q', 'lied'), false);
  const [w, p] = sources.list(connected, 1);
  assert.deepEqual([w?.index, w?.bytes, w?.connected, w?.offence], [2, 20, true, undefined]);
  assert.deepEqual([p?.index, p?.bytes, p?.connected, p?.offence], [3, 5, false, 'lied']);
});
