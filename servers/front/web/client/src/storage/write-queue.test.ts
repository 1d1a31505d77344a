import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLOCK } from './storage.ts';
import { MOST, WriteQueue, together, type Run } from './write-queue.ts';

const block = (index: number, length = BLOCK): Run => ({ offset: index * BLOCK, data: new Uint8Array(length).fill(index + 1) });
const shape = (runs: Run[]): number[][] => runs.map((run) => [run.offset / BLOCK, run.data.length]);

test('neighbours go out together, whatever their order', () => {
  assert.deepEqual(shape(together([block(2), block(0), block(1), block(5)])), [[0, 3 * BLOCK], [5, BLOCK]]);
});

test('a short block is filled up to its neighbour', () => {
  const [run] = together([block(1), block(0, 10)]);
  assert.equal(run!.data.length, 2 * BLOCK);
  assert.deepEqual([run!.data[9], run!.data[10], run!.data[BLOCK]], [1, 0, 2]);
});

test('no piece is larger than the most', () => {
  const most = MOST / BLOCK;
  const runs = together(Array.from({ length: most + 1 }, (_, index) => block(index)));
  assert.deepEqual(shape(runs), [[0, MOST], [most, BLOCK]]);
});

test('what comes while it writes waits for the next turn; all of it is written in the end', async () => {
  const batches: number[][][] = [];
  let busy = false;
  const queue = new WriteQueue(async (runs) => {
    assert.equal(busy, false, 'one at a time');
    busy = true;
    await new Promise((resolve) => setTimeout(resolve, 10));
    batches.push(shape(runs));
    busy = false;
  });
  const first = queue.write(0, new Uint8Array(MOST));
  const rest = [70, 71, 90].map((index) => queue.write(index * BLOCK, block(index).data));
  await first;
  await Promise.all(rest);
  assert.deepEqual(batches, [[[0, MOST]], [[70, 2 * BLOCK], [90, BLOCK]]]);
});

test('what comes in order goes out without another copy, and may change at once', async () => {
  const seen: Array<{ stage: ArrayBufferLike; bytes: number[] }> = [];
  const queue = new WriteQueue((runs) => {
    for (const { data } of runs) seen.push({ stage: data.buffer, bytes: [0, BLOCK, 2 * BLOCK].map((at) => data[at]!) });
  });
  for (let turn = 0; turn < 2; turn += 1) {
    const memory = new Uint8Array(BLOCK);
    for (let index = 0; index < MOST / BLOCK; index += 1) void queue.write(index * BLOCK, memory.fill(index + turn));
    memory.fill(99);
    await queue.drain();
  }
  assert.deepEqual(seen.map(({ bytes }) => bytes), [[0, 1, 2], [1, 2, 3]]);
  assert.equal(seen[0]!.stage, seen[1]!.stage);
  assert.equal(seen[0]!.stage.byteLength, MOST);
});

test('more than a stage holds is kept beside it', async () => {
  const written = new Map<number, number>();
  let going = (): void => {};
  const began = new Promise<void>((resolve) => (going = resolve));
  const queue = new WriteQueue(async (runs) => {
    for (const { offset, data } of runs) for (let at = 0; at < data.length; at += BLOCK) written.set((offset + at) / BLOCK, data[at]!);
    await began;
  });
  const many = (2.5 * MOST) / BLOCK;
  const memory = new Uint8Array(BLOCK);
  const writes = Array.from({ length: many }, (_, index) => queue.write(index * BLOCK, memory.fill(index % 251)));
  going();
  await Promise.all(writes);
  assert.equal(written.size, many);
  assert.ok([...written].every(([index, value]) => value === index % 251));
});

test('whoever wrote hears of the error; later writes go on', async () => {
  let fail = true;
  const queue = new WriteQueue(() => {
    if (fail) throw new Error('no room');
  });
  await assert.rejects(queue.write(0, block(0).data), /no room/);
  fail = false;
  await queue.write(0, block(0).data);
  await queue.drain();
});
