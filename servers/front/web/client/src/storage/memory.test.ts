import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contract, pattern, someHash } from './contract.ts';
import { openStorage } from './index.ts';
import { BLOCK } from './storage.ts';

const storage = await openStorage('memory');
for (const [name, check] of Object.entries(contract)) {
  test(`memory: ${name}`, () => check(storage, async () => storage));
}

test('memory: no more than the limit, and what is deleted makes room', async () => {
  const small = await openStorage('memory', { memoryLimit: 3 * BLOCK });
  await assert.rejects(small.open(someHash(), 4 * BLOCK), { code: 'storage-full', message: /65\.5 kB.*grants 49\.2 kB/ });
  const [one, two] = [someHash(), someHash()];
  const first = await small.open(one, 2 * BLOCK);
  const second = await small.open(two, 3 * BLOCK);
  await first.write(0, pattern(0, 2 * BLOCK));
  await assert.rejects(second.write(0, pattern(0, 2 * BLOCK)), { code: 'storage-full' });
  assert.deepEqual(second.present(), []);
  assert.deepEqual(await small.usage(), { used: 2 * BLOCK, available: BLOCK });
  await small.delete(one);
  await second.write(0, pattern(0, 3 * BLOCK));
  assert.deepEqual(second.present(), [[0, 3 * BLOCK]]);
});

test('auto takes memory where there is nothing else', async () => {
  assert.equal((await openStorage()).kind, 'memory');
  await assert.rejects(openStorage('indexeddb'), { code: 'storage', message: /indexeddb/ });
});
