/** Tests of meeting peers, by the engine around the real module, with a front that is never there. `build.sh machine` builds it. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import type { Asked } from '../rpc.ts';
import { Engine } from './engine.ts';
import type { Settings } from './protocol.ts';

const module = new WebAssembly.Module(readFileSync(new URL('../../../dist-wasm/kollator_machine.wasm', import.meta.url)));
const SETTINGS: Settings = {
  fronts: ['http://127.0.0.1:1'],
  concurrentDownloads: 1,
  concurrentUploads: 1,
  chunkSize: 1 << 20,
  seedingTime: 0,
  discoveryInterval: 1234.5,
  storage: 'memory',
  relayOnly: true,
  uploadLimit: 0,
  downloadLimit: 0,
};
const HASH = 'a'.repeat(64);
const PEER = 'b'.repeat(64);
const asked = { signal: new AbortController().signal, note: () => {} } as Asked;

/** Lets what was begun get as far as it can. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20));
}

test('who cannot be met is not waited for, and who may be is until there is no use for it', async () => {
  const engine = await Engine.open(module, SETTINGS, () => {});
  await assert.rejects(engine.meet(asked, HASH, 'nobody', 'request'), { code: 'refused' });
  await assert.rejects(engine.meet(asked, HASH, PEER, 'request'), { code: 'not-found' });
  await engine.add(HASH, {});
  await assert.rejects(engine.meet(asked, HASH, PEER, 'request'), { code: 'offline' });
  await engine.connect();
  assert.deepEqual(engine.peers(), []);
  const first = engine.meet(asked, HASH, PEER, 'request');
  const stopped = assert.rejects(first, { code: 'not-found', message: /the share was stopped before/ });
  await settle();
  engine.pause(HASH);
  await stopped;
  await assert.rejects(engine.meet(asked, HASH, PEER, 'send'), { code: 'refused', message: 'This share is paused.' });
  engine.resume(HASH);
  // The next one waits for its turn before it can be asked for.
  const other = 'c'.repeat(64);
  await engine.add(other, {});
  const second = engine.meet(asked, other, PEER, 'request');
  const missed = assert.rejects(second, { code: 'offline' });
  await settle();
  engine.pause(HASH);
  await settle();
  const controller = new AbortController();
  const given = engine.meet({ ...asked, signal: controller.signal }, other, PEER, 'send');
  controller.abort();
  await assert.rejects(given, { code: 'aborted' });
  await engine.disconnect();
  await missed;
});
