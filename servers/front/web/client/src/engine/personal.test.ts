/** Shares for one person, from engine to engine: real machine, real storage in memory, no network. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, test } from 'node:test';

import { Machine } from '../machine.ts';
import { publicKeyOf, unwrapKey } from '../person.ts';
import { openStorage } from '../storage/index.ts';
import type { ShareState } from '../types.ts';
import { Engine } from './engine.ts';
import { prepareUpload } from './prepare-upload.ts';
import type { Settings } from './protocol.ts';

const module = new WebAssembly.Module(readFileSync(new URL('../../../dist-wasm/kollator_machine.wasm', import.meta.url)));
const SETTINGS: Settings = {
  fronts: ['https://front.example'],
  concurrentDownloads: 1,
  concurrentUploads: 1,
  chunkSize: 65536,
  seedingTime: 0,
  discoveryInterval: 30_000,
  storage: 'memory',
  relayOnly: false,
  uploadLimit: 0,
  downloadLimit: 0,
};

/** What is open in the test that runs. */
const engines: Engine[] = [];

// A share that is on its way is told of now and then, which would keep the tests from ending.
afterEach(async () => {
  for (const engine of engines.splice(0)) for (const { infoHash } of engine.states()) await engine.delete(infoHash);
});

async function open(): Promise<Engine> {
  const engine = await Engine.open(module, SETTINGS, () => {});
  engines.push(engine);
  return engine;
}

function upload(engine: Engine, options: { to?: string; encrypt?: boolean }, heard: ShareState[] = []): Promise<ShareState> {
  const asked = { signal: new AbortController().signal, note: (state: never) => void heard.push(state) };
  return engine.upload(asked, [{ file: new File(['for your eyes only'], 'secret.txt') }], options);
}

test('a share for one person has a link that opens with their key alone', async () => {
  const [sender, friend, stranger] = await Promise.all([open(), open(), open()]);
  const heard: ShareState[] = [];
  const { link, personal, infoHash } = await upload(sender, { to: await friend.publicKey() }, heard);
  assert.match(link, /#[0-9a-f]{64}&dn=secret\.txt&to=[\w-]{107}$/);
  assert.equal(personal, true);
  assert.ok(heard.every((state) => state.personal && state.encrypted), 'it is known from the beginning');

  const got = await friend.add(link, {});
  assert.deepEqual([got.infoHash, got.link, got.personal, got.encrypted], [infoHash, link, true, true]);
  for (const key of [false, true]) {
    if (key) await stranger.publicKey();
    await assert.rejects(stranger.add(link, {}), { code: 'key-wrong', message: /for somebody else/ });
  }
  assert.deepEqual(stranger.states(), []);
  // Whoever sent it has the share, and is not told off for opening the link.
  assert.equal((await sender.add(link, {})).role, 'sent');
});

test('what the link unwraps to is what opens the share', async () => {
  const [storage, machine] = [await openStorage('memory'), await Machine.load(module)];
  const items = [{ file: new File(['for your eyes only'], 'secret.txt') }];
  const { signal } = new AbortController();
  const rest = { fronts: SETTINGS.fronts, chunkSize: 65536, isKnown: () => false, onProgress: () => {}, signal };
  const record = await prepareUpload(items, { ...rest, storage, machine, to: await publicKeyOf(storage.keyPair) });
  assert.ok(typeof record === 'object' && record.ko);
  const { key: open, to } = machine.call({ t: 'parseLink', text: record.link }).ok;
  assert.equal(open, null, 'the link has no other key');
  const key = await unwrapKey(storage.keyPair, to!);
  assert.equal(machine.call({ t: 'openMetainfo', key }, record.ko).ok.name, 'secret.txt');
});

test('a link for anyone stays as it was', async () => {
  const engine = await open();
  const { link, personal } = await upload(engine, {});
  assert.match(link, /&k=[\w-]{43}$/);
  assert.equal(personal, false);
});

test('a person that nobody can be is refused before anything is read', async () => {
  const engine = await open();
  const heard: ShareState[] = [];
  await assert.rejects(upload(engine, { to: 'my friend' }, heard), { code: 'refused', message: /43 letters/ });
  await assert.rejects(upload(engine, { to: await engine.publicKey(), encrypt: false }, heard), { code: 'refused', message: /encrypted/ });
  await assert.rejects(upload(engine, { to: 'A'.repeat(43) }, heard), { code: 'refused', message: /none that somebody can have/ });
  assert.ok(heard.every(({ bytesPrepared }) => bytesPrepared === 0));
  assert.deepEqual(engine.states(), []);
});
