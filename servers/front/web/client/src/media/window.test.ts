/** What a player does next. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { type Reach, droppable, nextStep, overHole } from './window.ts';

const reach = (from: number, until: number, ended = false): Reach => ({ from, until, ended });

test('whichever track was fed least is fed next, until all are far enough ahead', () => {
  assert.deepEqual(nextStep(0, 0, [reach(0, 4), reach(0, 2)], 30), { feed: 1 });
  assert.deepEqual(nextStep(0, 0, [reach(0, 4), reach(0, 6)], 30), { feed: 0 });
  assert.equal(nextStep(0, 0, [reach(0, 31), reach(0, 30)], 30), 'wait');
  assert.deepEqual(nextStep(2, 0, [reach(0, 31), reach(0, 30)], 30), { feed: 1 });
  assert.deepEqual(nextStep(0, 0, [reach(0, 4)], 3), 'wait');
});

test('a place that feeding does not lead to is jumped to', () => {
  const reaches = [reach(10, 40), reach(11, 41)];
  assert.equal(nextStep(9, 12, reaches, 30), 'jump');
  assert.equal(nextStep(40.5, 12, reaches, 30), 'jump');
  assert.equal(nextStep(39, 12, reaches, 0.5), 'wait');
});

test('the place that was jumped to is fed up to, from the picture before it, or from the first that there is', () => {
  assert.deepEqual(nextStep(57, 57, [reach(50, 50), reach(57, 57)], 30), { feed: 0 });
  assert.deepEqual(nextStep(0, 0, [reach(0, 0), reach(0, 3)], 30), { feed: 0 });
  assert.deepEqual(nextStep(0, 0, [reach(0, 4), reach(0, 3)], 30), { feed: 1 });
});

test('it is finished when no track has more, and fed to the end once one has none', () => {
  assert.equal(nextStep(58, 0, [reach(40, 60, true), reach(40, 60.1, true)], 30), 'finish');
  assert.equal(nextStep(60.1, 0, [reach(40, 60, true), reach(40, 60.1, true)], 30), 'finish');
  assert.equal(nextStep(2, 0, [reach(40, 60, true)], 30), 'jump');
  assert.deepEqual(nextStep(10, 0, [reach(0, 20, true), reach(0, 60)], 30), { feed: 1 });
});

test('a hole is only what was fed and is not there', () => {
  assert.equal(overHole(5, reach(0, 20), [[0, 20]]), 'here');
  assert.equal(overHole(5, reach(0, 5.5), []), 'here', 'it is only just being fed');
  assert.equal(overHole(0, reach(0, 20), [[0.08, 20]]), 'here', 'it is smaller than what browsers see');
  assert.equal(overHole(5, reach(0, 20), [[0, 5], [9, 20], [7, 8]]), 7);
  assert.equal(overHole(5, reach(0, 20), [[0, 5]]), undefined);
  assert.equal(overHole(5, reach(0, 20), []), undefined);
});

test('what is dropped ends where a segment begins that is far enough behind', () => {
  const starts = [0, 10, 20, 30];
  assert.equal(droppable(32, starts, 15), 10);
  assert.equal(droppable(32, starts, 0), 30);
  assert.equal(droppable(9, starts, 0), undefined, 'that is the segment which plays');
  assert.equal(droppable(12, starts, 15), undefined);
  assert.equal(droppable(12, [], 0), undefined);
});
