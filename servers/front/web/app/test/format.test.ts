/** Numbers as people read them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ago, bytes, count, duration, percent, rate } from '../src/lib/format.ts';

test('sizes keep three digits and never show a thousand of a unit', () => {
  const cases: Array<[number, string]> = [
    [0, '0 B'], [1, '1 B'], [999, '999 B'], [1000, '1.0 KB'], [1500, '1.5 KB'], [99_940, '99.9 KB'], [99_960, '100 KB'],
    [999_499, '999 KB'], [999_500, '1.0 MB'], [214_300_000, '214 MB'], [2_685_318_000, '2.7 GB'], [9e18, '9000 PB'],
  ];
  for (const [number, text] of cases) assert.equal(bytes(number), text);
  for (const nonsense of [NaN, -1, Infinity]) assert.equal(bytes(nonsense), '–');
});

test('a rate below a byte a second is none', () => {
  assert.equal(rate(0.4), '0 B/s');
  assert.equal(rate(2_300_000), '2.3 MB/s');
});

test('times are coarser the longer they are', () => {
  const cases: Array<[number, string]> = [
    [0, 'a few seconds'], [4_900, 'a few seconds'], [5_000, '5 s'], [36_000, '40 s'], [59_900, '60 s'], [60_000, '1 min'], [720_000, '12 min'],
    [3_590_000, '1 h'], [12_000_000, '3 h 20 min'], [7_200_000, '2 h'], [86_400_000, '1 day'], [190_000_000, '2 days'],
  ];
  for (const [time, text] of cases) assert.equal(duration(time), text);
  assert.equal(duration(Infinity), '–');
});

test('it is 100% only when nothing is missing', () => {
  assert.equal(percent(999_999, 1_000_000), 99);
  assert.equal(percent(1_000_000, 1_000_000), 100);
  assert.equal(percent(7, 0), 0);
  assert.equal(percent(3, 2), 100);
});

test('one is not many', () => {
  assert.equal(count(1, 'file'), '1 file');
  assert.equal(count(1204, 'chunk'), '1,204 chunks');
});

test('moments are as far away as they are', () => {
  const now = 1e12;
  assert.equal(ago(now, now), 'just now');
  assert.equal(ago(now - 5 * 60_000, now), '5 min ago');
  assert.equal(ago(now - 3 * 3_600_000, now), '3 h ago');
  assert.equal(ago(now - 30 * 3_600_000, now), 'yesterday');
  assert.equal(ago(now - 50 * 3_600_000, now), '2 days ago');
});
