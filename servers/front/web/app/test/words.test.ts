/** What the page says: never safer, and never surer, than it is. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { announcement, holdsTab, progressOf, troubleFor, wordsFor } from '../src/lib/words.ts';
import type { ErrorCode, Phase, ShareState, Source } from '../../client/src/types.ts';

function share(changes: Partial<ShareState>): ShareState {
  return {
    infoHash: '', name: 'a.bin', role: 'sent', phase: 'uploading', link: '', encrypted: true, personal: false, files: [], bytesTotal: 100, bytesPrepared: 0,
    bytesStored: 0, bytesDone: 0, from: { disk: 0, worker: 0, peer: 0, http: 0 }, bytesServed: 0, speedDown: 0, speedUp: 0, sources: [],
    seeding: true, addedAt: 0, ...changes,
  };
}

const PHASES: Phase[] = ['preparing', 'uploading', 'safe', 'finding', 'downloading', 'complete', 'paused', 'elsewhere', 'failed'];

test('only a share that workers hold is called safe', () => {
  for (const phase of PHASES) {
    const words = wordsFor(share({ phase, bytesStored: 100, bytesPrepared: 100 }));
    assert.equal(/safe/i.test(words.title + words.detail), phase === 'safe', phase);
  }
});

test('the tab is held while it prepares or uploads, and the page says so', () => {
  for (const phase of PHASES) assert.equal(holdsTab(share({ phase })), phase === 'preparing' || phase === 'uploading');
  assert.equal(wordsFor(share({ phase: 'uploading' })).title, 'Keep this tab open');
});

test('a bar counts what its phase is about', () => {
  const state = share({ bytesPrepared: 10, bytesStored: 20, bytesDone: 30 });
  assert.equal(progressOf({ ...state, phase: 'preparing' }).done, 10);
  assert.equal(progressOf({ ...state, phase: 'uploading' }).done, 20);
  assert.equal(progressOf({ ...state, phase: 'safe' }).done, 100);
  assert.equal(progressOf({ ...state, phase: 'paused' }).done, 20);
  assert.equal(progressOf({ ...state, phase: 'paused', role: 'received' }).done, 30);
  assert.equal(progressOf({ ...state, phase: 'downloading', role: 'received' }).done, 30);
});

test('after a while of nothing the page says that it waits, and for whom', () => {
  assert.equal(wordsFor(share({ role: 'received', phase: 'finding' }), 11_000).title, 'Looking for it');
  assert.equal(wordsFor(share({ role: 'received', phase: 'finding' }), 13_000).title, 'Nobody has it right now');
  const coming = share({ role: 'received', phase: 'downloading', bytesDone: 40 });
  assert.match(wordsFor(coming, 13_000).detail, /^40 B of 100 B\. Nobody who has the rest/);
  const source: Source = { index: 2, name: '', kind: 'worker', connected: true, bytes: 0, speed: 0 };
  assert.equal(wordsFor({ ...coming, sources: [source] }, 13_000).title, '40% here');
});

test('nearly all is not all', () => {
  assert.equal(wordsFor(share({ role: 'received', phase: 'downloading', bytesTotal: 1000, bytesDone: 999 })).title, '99% here');
});

test('a failure is told in the words it came with', () => {
  assert.equal(wordsFor(share({ phase: 'failed', error: 'the disk is full' })).detail, 'the disk is full');
});

test('every error has a title and advice, and keys missing and wrong are told apart', () => {
  const codes: ErrorCode[] = ['link', 'key-missing', 'key-wrong', 'not-found', 'storage-full', 'storage', 'offline', 'refused', 'aborted', 'unplayable', 'broken'];
  const titles = new Set(codes.map((code) => troubleFor(code).title));
  assert.equal(titles.size, codes.length);
  assert.equal(troubleFor(undefined).title, troubleFor('broken').title);
});

test('that a link is for somebody else is no fault of its key', () => {
  assert.match(troubleFor('key-wrong', true).title, /somebody else/);
  assert.deepEqual(troubleFor('not-found', true), troubleFor('not-found'));
});

test('a screen reader hears each change of phase and each quarter, once', () => {
  let said = announcement(share({ role: 'received', phase: 'downloading' }), { quarter: 0, text: '' });
  const heard = [said.text];
  for (let done = 0; done <= 99; done += 1) {
    const next = announcement(share({ role: 'received', phase: 'downloading', bytesDone: done }), said);
    if (next !== said) heard.push(next.text);
    said = next;
  }
  said = announcement(share({ role: 'received', phase: 'complete', bytesDone: 100 }), said);
  heard.push(said.text);
  assert.deepEqual(heard, ['0% of a.bin', '25% of a.bin', '50% of a.bin', '75% of a.bin', 'All here: a.bin']);
});
