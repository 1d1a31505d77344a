/** What comes in from outside: drops, stored choices, names, errors, addresses of scripts. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { dropped, fromDrop, fromInput, titleOf, type Entry } from '../src/lib/drop.ts';
import { kindOf, playable } from '../src/lib/media.ts';
import { failureOf } from '../src/lib/network.ts';
import { DEFAULTS, limitFrom, limitText, ownStorage, remember, remembered } from '../src/lib/preferences.ts';
import { ownScript } from '../src/lib/trusted.ts';

function file(name: string): Entry {
  return { isFile: true, isDirectory: false, name, file: (then) => then(new File(['x'], name)) };
}

function folder(name: string, children: Entry[], portion = 2): Entry {
  return {
    isFile: false,
    isDirectory: true,
    name,
    createReader: () => {
      let at = 0;
      return { readEntries: (then) => then(children.slice(at, (at += portion))) };
    },
  };
}

test('a dropped folder is walked to its end, portion by portion, with paths', async () => {
  const items = await fromDrop([folder('trip', [file('a'), folder('b', [file('c')]), file('d'), file('e'), file('f')]), file('g')]);
  assert.deepEqual(items.map(({ path, file: { name } }) => path ?? name), ['trip/a', 'trip/b/c', 'trip/d', 'trip/e', 'trip/f', 'g']);
});

test('a browser without entries gives files', async () => {
  const item = { kind: 'file', webkitGetAsEntry: () => null, getAsFile: () => new File(['x'], 'a') };
  const text = { ...item, kind: 'string' };
  const items = await fromDrop(dropped([item, text] as unknown as DataTransferItem[]));
  assert.deepEqual(items.map(({ file: { name } }) => name), ['a']);
});

test('folders without end are refused', async () => {
  let deep = folder('leaf', []);
  for (let level = 0; level < 40; level += 1) deep = folder('level', [deep]);
  await assert.rejects(fromDrop([deep]), /deeper than 32/);
});

test('more files than a page can hold are refused', () => {
  const one = new File(['x'], 'x');
  assert.throws(() => fromInput(Array.from({ length: 20_001 }, () => one)), /more than 20000 files/);
});

test('a choice has a title before it is a share', () => {
  const one = new File(['x'], 'x.txt');
  assert.equal(titleOf([{ file: one }]), 'x.txt');
  assert.equal(titleOf([{ file: one, path: 'trip/a' }, { file: one, path: 'trip/b' }]), 'trip');
  assert.equal(titleOf([{ file: one, path: 'trip/a' }, { file: one, path: 'walk/b' }]), '2 files');
  assert.equal(titleOf([{ file: one }, { file: one }]), '2 files');
});

test('stored choices that make no sense are passed over one by one', () => {
  const memory = (text: string | null) => ({ getItem: () => text, setItem: () => {} });
  assert.deepEqual(remembered(memory(null)), DEFAULTS);
  assert.deepEqual(remembered(memory('{"theme":')), DEFAULTS);
  assert.deepEqual(remembered(memory('[1]')), DEFAULTS);
  assert.deepEqual(remembered(memory('{"theme":"pink","uploadLimit":-5,"downloadLimit":1e99,"relayOnly":"yes","seedingTime":0}')), { ...DEFAULTS, seedingTime: 0 });
  let kept = '';
  remember({ getItem: () => null, setItem: (_key, value) => void (kept = value) }, { ...DEFAULTS, theme: 'dark', uploadLimit: 2_500_000 });
  assert.deepEqual(remembered(memory(kept)), { ...DEFAULTS, theme: 'dark', uploadLimit: 2_500_000 });
});

test('a browser that keeps nothing is no error', () => {
  const refusing = {
    getItem: () => null,
    setItem: () => {
      throw new DOMException('full', 'QuotaExceededError');
    },
  };
  assert.doesNotThrow(() => remember(refusing, DEFAULTS));
  // Where pages may keep nothing, they may not even ask.
  const closed = {
    get localStorage(): never {
      throw new DOMException('The operation is insecure.', 'SecurityError');
    },
  };
  assert.equal(ownStorage(closed), undefined);
  assert.deepEqual(remembered(ownStorage(closed)), DEFAULTS);
  assert.doesNotThrow(() => remember(ownStorage(closed), DEFAULTS));
});

test('limits are typed in megabytes, with a point or a comma', () => {
  assert.equal(limitFrom(''), 0);
  assert.equal(limitFrom(' 2.5 '), 2_500_000);
  assert.equal(limitFrom('0,5'), 500_000);
  for (const nonsense of ['-1', 'fast', '1e3', '1.2.3', '99999999999']) assert.equal(limitFrom(nonsense), undefined);
  assert.equal(limitText(2_500_000), '2.5');
  assert.equal(limitText(0), '');
});

test('names tell what can be played, whatever else is in them', () => {
  assert.equal(kindOf('a/b.tar.gz'), 'archive');
  assert.equal(kindOf('film.WEBM'), 'video');
  assert.equal(kindOf('.mp4'), 'other');
  assert.equal(kindOf('dir.mp3/readme'), 'other');
  assert.ok(playable('song.flac') && !playable('photo.png'));
});

test('only known codes are taken from an error', () => {
  assert.deepEqual(failureOf(Object.assign(new Error('no'), { code: 'key-wrong' })), { code: 'key-wrong', message: 'no' });
  assert.deepEqual(failureOf(Object.assign(new Error('no'), { code: 'ENOENT' })), { message: 'no' });
  assert.deepEqual(failureOf('text'), { message: 'text' });
});

test('only scripts of the page itself are let through', () => {
  const origin = 'https://front.example';
  assert.equal(ownScript('/sw.js', origin), '/sw.js');
  assert.equal(ownScript('https://front.example/assets/worker.js', origin), 'https://front.example/assets/worker.js');
  for (const url of ['https://evil.example/x.js', '//evil.example/x.js', 'data:text/javascript,1', 'blob:https://front.example/1', 'http://[']) {
    assert.equal(ownScript(url, origin), null);
  }
});
