/** Where an address leads, and what a pasted text is. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { pasted, routeOf, shareHref } from '../src/lib/route.ts';

const ORIGIN = 'https://front.example';
const HASH = '7d0c9f2c'.repeat(8);
const KEY = 'pT4mWq0s9xLr2vBn7cYkE6hJ1dGfUaZo3iSb5NtQwXM';

test('pages have addresses', () => {
  assert.deepEqual(routeOf('', ORIGIN), { page: 'home' });
  assert.deepEqual(routeOf('#/', ORIGIN), { page: 'home' });
  assert.deepEqual(routeOf('#/files', ORIGIN), { page: 'files' });
  assert.deepEqual(routeOf('#/settings', ORIGIN), { page: 'settings' });
  assert.deepEqual(routeOf(shareHref(HASH), ORIGIN), { page: 'share', infoHash: HASH });
});

test('a link keeps every field, the key too', () => {
  const fragment = `${HASH}&dn=a%20b&k=${KEY}`;
  assert.deepEqual(routeOf(`#${fragment}`, ORIGIN), { page: 'link', infoHash: HASH, link: `${ORIGIN}/#${fragment}` });
  assert.equal((routeOf(`#${HASH.toUpperCase()}`, ORIGIN) as { infoHash: string }).infoHash, HASH);
});

test('a magnet link is passed on as it is', () => {
  const magnet = `magnet:?xt=urn:btmh:1220${HASH}&dn=x`;
  assert.deepEqual(routeOf(`#${magnet}`, ORIGIN), { page: 'link', infoHash: HASH, link: magnet });
});

test('a link cut short is told from nonsense', () => {
  assert.match((routeOf('#7d0c9f2c71d8', ORIGIN) as { reason: string }).reason, /12 digits instead of 64: its end is missing/);
  assert.match((routeOf(`#${HASH}ab`, ORIGIN) as { reason: string }).reason, /66 digits/);
  assert.equal(routeOf('#hello', ORIGIN).page, 'broken');
  assert.equal(routeOf('#/share/7d0c', ORIGIN).page, 'broken');
});

test('what is pasted may be a link of this front, of another, a magnet link or an info hash', () => {
  assert.deepEqual(pasted(`  ${ORIGIN}/#${HASH}&k=${KEY}\n`, ORIGIN), { fragment: `${HASH}&k=${KEY}` });
  assert.deepEqual(pasted(`https://other.example:8443/#${HASH}`, ORIGIN), {
    fragment: `${HASH}&front=https%3A%2F%2Fother.example%3A8443`,
  });
  assert.deepEqual(pasted(HASH, ORIGIN), { fragment: HASH });
  assert.deepEqual(pasted(`1220${HASH}`, ORIGIN), { fragment: HASH });
  const magnet = `magnet:?xt=urn:btmh:1220${HASH}`;
  assert.deepEqual(pasted(magnet, ORIGIN), { fragment: magnet });
});

test('what is no link says what is the matter', () => {
  const cases: Array<[string, RegExp]> = [
    ['', /Paste a link/],
    ['hello', /not a link/],
    [`${ORIGIN}/`, /after # is missing/],
    [`${ORIGIN}/#`, /after # is missing/],
    [`${ORIGIN}/#7d0c`, /not whole/],
    ['magnet:?xt=urn:btih:abcdef', /not of a Kollator/],
    ['javascript:alert(1)#x', /not a link/],
  ];
  for (const [text, problem] of cases) assert.match((pasted(text, ORIGIN) as { problem: string }).problem, problem);
});
