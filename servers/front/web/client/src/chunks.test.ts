import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Seal, decrypt, encrypt, newKey, plainChunkSize, reassemble, rootOf, split, verify, type Chunk } from './chunks.ts';
import { Machine } from './machine.ts';
import { sealedLength } from './seal.ts';

const KIB = 1024;
const SIZE = 64 * KIB;
const random = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(randomBytes(length));

async function all(chunks: AsyncIterable<Chunk>): Promise<Chunk[]> {
  const list: Chunk[] = [];
  for await (const chunk of chunks) list.push(chunk);
  return list;
}

test('what is split can be put together in any order', async () => {
  for (const length of [0, 1, SIZE, SIZE + 1, 3 * SIZE + 100]) {
    const data = random(length);
    for (const source of [data, new Blob([data])]) {
      const chunks = await all(split(source, SIZE));
      assert.equal(chunks.length, Math.ceil(length / SIZE));
      const whole = await reassemble(chunks.reverse(), SIZE, length);
      assert.deepEqual(new Uint8Array(await whole.arrayBuffer()), data);
    }
  }
});

test('a file is not put together of what is missing, doubled or of another length', async () => {
  const [one, two] = (await all(split(random(SIZE + 5), SIZE))) as [Chunk, Chunk];
  for (const chunks of [[one], [one, one, two], [one, { ...two, index: 2 }], [one, { ...two, index: -1 }], [one, { index: 1, data: one.data }]]) {
    await assert.rejects(reassemble(chunks, SIZE, SIZE + 5), { code: 'broken' });
  }
});

test('roots are those of BitTorrent v2', async () => {
  const zeros = { index: 0, chunkSize: 1024 * KIB };
  assert.equal(await rootOf(new Uint8Array(64 * KIB), { ...zeros, fileLength: 64 * KIB }), '60aae9c7b428f87e0713e88229e18f0adf12cd7b22a0dd8a92bb2485eb7af242');
  assert.equal(await rootOf(new Uint8Array(1024 * KIB), { ...zeros, fileLength: 1024 * KIB }), '515ea9181744b817744ded9d2e8e9dc6a8450c0b0c52e24b5077f302ffbd9008');
  const machine = await Machine.load(readFileSync(new URL('../../dist-wasm/kollator_machine.wasm', import.meta.url)));
  for (const fileLength of [1, 16 * KIB, 16 * KIB + 1, 3 * 16 * KIB, SIZE, SIZE + 1, 2 * SIZE + 3 * 16 * KIB]) {
    for (const { index, data } of await all(split(random(fileLength), SIZE))) {
      const leaves = machine.call({ t: 'leaves' }, data).payload.slice();
      const { payload } = machine.call({ t: 'pieceRoot', length: data.length, pieceLength: SIZE, fileLength }, leaves);
      assert.equal(await rootOf(data, { index, chunkSize: SIZE, fileLength }), Buffer.from(payload).toString('hex'), `${fileLength}, chunk ${index}`);
    }
  }
});

test('a chunk is verified by its root, length and place', async () => {
  const place = { index: 0, chunkSize: SIZE, fileLength: 3 * 16 * KIB };
  const data = random(place.fileLength);
  const root = await rootOf(data, place);
  assert.equal(await verify(data, root, place), true);
  const changed = data.slice();
  changed[12345]! ^= 1;
  assert.equal(await verify(changed, root, place), false);
  assert.equal(await verify(data.slice(1), root, place), false);
  assert.equal(await verify(data, root, { ...place, index: 1 }), false);
  await assert.rejects(verify(data, root, { ...place, chunkSize: 5_000_000 }), RangeError);
});

test('an encrypted chunk fills a chunk, opens at its place, and nowhere else', async () => {
  const seal = await Seal.of(newKey());
  const { share } = await seal.layout('film', [{ path: ['film'], length: 2 * plainChunkSize(SIZE) + 10 }]);
  const file = share.files[0]!;
  const key = await seal.content(file);
  const data = random(file.length);
  const fileLength = sealedLength(file.length);
  const opened: Chunk[] = [];
  for (const { index, data: plain } of await all(split(data, plainChunkSize(SIZE)))) {
    const place = { index, chunkSize: SIZE, fileLength };
    const cipher = await encrypt(plain, key, place);
    assert.equal(cipher.length, Math.min(SIZE, fileLength - index * SIZE));
    opened.push({ index, data: await decrypt(cipher, key, place) });
    if (index === 0) await assert.rejects(decrypt(cipher, key, { ...place, index: 1 }), { code: 'broken' });
  }
  const whole = await reassemble(opened, plainChunkSize(SIZE), file.length);
  assert.deepEqual(new Uint8Array(await whole.arrayBuffer()), data);
});
