/** The arithmetic of the chunk map. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { binned, cellAt, described, layOut, legendOf } from '../src/lib/chunks.ts';
import type { Source } from '../../client/src/types.ts';

function source(changes: Partial<Source> & Pick<Source, 'index' | 'kind'>): Source {
  return { name: '', connected: true, bytes: 10, speed: 0, ...changes };
}

test('the grid fills its width, keeps within its height and holds every chunk', () => {
  for (const width of [328, 700, 1184]) {
    for (const chunks of [1, 7, 40, 640, 10_000, 1_000_000]) {
      const grid = layOut(chunks, width, 264);
      assert.ok(Math.abs(grid.columns * (grid.width + grid.gap) - grid.gap - width) < 1e-6, `${chunks} in ${width}`);
      assert.ok(grid.rows * (grid.height + grid.gap) - grid.gap <= 264);
      assert.ok(grid.cells <= grid.columns * grid.rows && grid.cells <= chunks);
      assert.ok(grid.cells === chunks || grid.cells === grid.columns * grid.rows);
    }
  }
});

test('a place without width still has a cell', () => {
  assert.ok(layOut(5, 0, 264).columns >= 1);
  assert.equal(layOut(0, 300, 264).cells, 1);
});

test('10,000 chunks are binned without losing one', () => {
  const pieces = new Uint8Array(10_000).map((_, at) => (at % 2 === 0 ? 2 : 3));
  const filled = new Uint8Array(10_000).fill(255);
  const cells = binned({ pieces, filled }, 937);
  assert.equal(cells.length, 937);
  assert.equal(cells[0]?.from, 0);
  assert.equal(cells.at(-1)?.to, 10_000);
  for (const [at, cell] of cells.entries()) {
    assert.equal(cell.from, at === 0 ? 0 : cells[at - 1]?.to);
    assert.ok(Math.abs(cell.filled - 1) < 1e-9);
    assert.deepEqual(cell.parts.map(([index]) => index), [2, 3]);
  }
});

test('a cell tells how much is here and from whom; what is not here has no source', () => {
  const [cell] = binned({ pieces: Uint8Array.of(2, 3, 0, 3), filled: Uint8Array.of(255, 51, 255, 0) }, 1);
  assert.deepEqual(cell?.parts.map(([index, part]) => [index, Math.round(part * 100)]), [[2, 25], [3, 5]]);
  assert.equal(Math.round((cell?.filled ?? 0) * 100), 30);
  assert.deepEqual(binned({ pieces: new Uint8Array(), filled: new Uint8Array() }, 10), []);
});

test('a point belongs to the cell under it, or to none', () => {
  const grid = layOut(100, 328, 264);
  assert.equal(cellAt(grid, 1, 1), 0);
  assert.equal(cellAt(grid, 327, 1), grid.columns - 1);
  assert.equal(cellAt(grid, 1, grid.height + grid.gap + 1), grid.columns);
  assert.equal(cellAt(grid, -1, 1), undefined);
  assert.equal(cellAt(grid, 327, (grid.rows - 1) * (grid.height + grid.gap) + 1), 100 % grid.columns === 0 ? 99 : undefined);
});

test('the legend numbers peers in the order they came and leaves out who gave nothing and is gone', () => {
  const legend = legendOf({
    role: 'received',
    from: { disk: 5, worker: 10, peer: 20, http: 0 },
    sources: [
      source({ index: 5, kind: 'peer', offence: 'lied', connected: false, bytes: 0 }),
      source({ index: 4, kind: 'peer', connected: false, bytes: 0 }),
      source({ index: 2, kind: 'worker' }),
      source({ index: 3, kind: 'peer' }),
    ],
  });
  assert.deepEqual(legend.map(({ index, label, nth }) => [index, label, nth]), [[1, 'This device', 0], [2, 'Worker', 0], [3, 'Peer 1', 0], [5, 'Peer 3', 2]]);
  assert.equal(legend.at(-1)?.offence, 'lied');
});

test('whoever comes to the legend comes last, whatever it is', () => {
  const from = { disk: 5, worker: 10, peer: 20, http: 10 };
  const first = [source({ index: 2, kind: 'peer' }), source({ index: 3, kind: 'http' })];
  const labels = (sources: Source[]) => legendOf({ role: 'received', from, sources }).map(({ label }) => label);
  const before = labels(first);
  assert.deepEqual(labels([...first, source({ index: 4, kind: 'worker' })]), [...before, 'Worker']);
});

test('a received share has a place for what was here before it is known', () => {
  const from = { disk: 0, worker: 0, peer: 0, http: 0 };
  assert.deepEqual(legendOf({ role: 'received', from, sources: [] }).map(({ label }) => label), ['This device']);
  assert.deepEqual(legendOf({ role: 'sent', from, sources: [] }), []);
});

test('the map in a sentence', () => {
  const legend = legendOf({ role: 'received', from: { disk: 0, worker: 10, peer: 10, http: 0 }, sources: [source({ index: 2, kind: 'worker' }), source({ index: 3, kind: 'peer' })] });
  const map = { pieces: Uint8Array.of(2, 3, 3, 0), filled: Uint8Array.of(255, 255, 20, 0) };
  assert.equal(described(map, legend), '2 of 4 chunks are here: 50% from worker, 50% from peer 1.');
});
