/** Tests of the page's half, against an engine that is played by the test. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { FromEngine, ToEngine } from './engine/protocol.ts';
import { Kollator } from './kollator.ts';
import type { KollatorOptions, ShareState, UploadOptions } from './types.ts';

const HASH = 'a'.repeat(64);

function state(phase: ShareState['phase'], more: Partial<ShareState> = {}): ShareState {
  const files = [{ index: 0, path: 'dir/a b.txt', length: 10, bytesDone: 0 }];
  return { infoHash: HASH, phase, role: 'received', addedAt: 1, files, bytesTotal: 10, bytesDone: 0, ...more } as ShareState;
}

type Answers = Record<string, (...args: never[]) => unknown>;

/** A worker that answers so, and a peer on top of it. */
function stage(answers: Answers = {}, options: KollatorOptions = { fronts: ['http://f'] }): { kollator: Kollator; say: (message: FromEngine) => void; asked: string[]; worker: Worker } {
  const asked: string[] = [];
  const all: Answers = { open: () => [], connect: () => {}, disconnect: () => {}, ...answers };
  const say = (message: FromEngine): void => worker.onmessage?.call(worker, { data: message } as MessageEvent);
  const worker = {
    onmessage: null,
    postMessage: (message: ToEngine) => {
      if (message.t === 'abort') asked.push('abort');
      if (message.t !== 'ask') return;
      asked.push(message.method);
      const value = all[message.method]?.(...(message.args as never[]));
      if (value !== 'wait') queueMicrotask(() => say({ t: 'answer', id: message.id, value }));
    },
  } as unknown as Worker;
  return { kollator: new Kollator(options, () => worker), say, asked, worker };
}

test('options that make no sense are refused by name', () => {
  for (const [options, words] of [
    [{ chunkSize: 5_000_000 }, /chunkSize must be a power of two/],
    [{ concurrentDownloads: 0 }, /concurrentDownloads must be at least 1/],
    [{ seedingTime: -1 }, /seedingTime must not be negative/],
    [{ discoveryInterval: 999 }, /discoveryInterval must be at least 1000 milliseconds, got 999/],
    [{ uploadLimit: NaN }, /uploadLimit/],
  ] as Array<[KollatorOptions, RegExp]>) {
    assert.throws(() => new Kollator(options), words);
  }
  assert.ok(new Kollator({ uploadLimit: 5, chunkSize: undefined } as unknown as KollatorOptions));
});

test('shares that are kept are told of when it connects, and changes after that', async () => {
  const { kollator, say, asked } = stage({ open: () => [state('safe')] });
  const heard: string[] = [];
  const off = kollator.on('share', ({ phase }) => heard.push(phase));
  await assert.rejects(kollator.pause(HASH), { code: 'offline' });
  await kollator.connect();
  say({ t: 'share', state: state('complete') });
  off();
  say({ t: 'share', state: state('paused') });
  assert.deepEqual(heard, ['safe', 'complete']);
  assert.deepEqual(kollator.shares().map(({ phase }) => phase), ['paused']);
  say({ t: 'removed', infoHash: HASH });
  assert.deepEqual(kollator.shares(), []);
  await kollator.connect();
  assert.deepEqual(asked, ['open', 'connect', 'connect']);
});

test('files, folders and lists of files become items with paths', async () => {
  let items: Array<{ path: string }> = [];
  const upload = (list: typeof items): ShareState => ((items = list), state('uploading'));
  const { kollator } = stage({ upload });
  const inFolder = Object.defineProperty(new File([], 'b'), 'webkitRelativePath', { value: 'dir/b' });
  await kollator.upload(new File([], 'a'));
  assert.deepEqual(items.map(({ path }) => path), ['a']);
  await kollator.upload([inFolder, new File([], 'c')]);
  assert.deepEqual(items.map(({ path }) => path), ['dir/b', 'c']);
  await kollator.upload([{ file: inFolder, path: 'x/y' }]);
  assert.deepEqual(items.map(({ path }) => path), ['x/y']);
});

test('of the options of an upload the engine gets what it is about, and no more', async () => {
  let options: object = {};
  const { kollator } = stage({ upload: (_items: never, given: object) => ((options = given), state('uploading')), publicKey: () => 'mine', settled: () => 'wait' });
  const to = await kollator.publicKey();
  await kollator.upload(new File([], 'a'), { to, name: 'b', encrypt: undefined, onProgress: () => {} } as unknown as UploadOptions);
  assert.deepEqual(options, { to: 'mine', name: 'b' });
});

test('a download that is given up is paused', async () => {
  const { kollator, asked } = stage({ add: () => state('finding'), settled: () => 'wait', pause: () => {} });
  const controller = new AbortController();
  const download = kollator.download('link', { signal: controller.signal });
  while (!asked.includes('settled')) await Promise.resolve();
  controller.abort();
  await assert.rejects(download, { code: 'aborted' });
  assert.deepEqual(asked, ['open', 'add', 'settled', 'abort', 'pause']);
});

test('whom to take a share from, and whom to give it to, can be said', async () => {
  const met: unknown[] = [];
  const { kollator, asked } = stage({ add: () => state('finding'), meet: (...args: unknown[]) => void met.push(args) });
  const peer = 'b'.repeat(64);
  await kollator.request('link', peer);
  await kollator.send(HASH, peer);
  assert.deepEqual(asked, ['open', 'add', 'meet', 'meet']);
  assert.deepEqual(met, [[HASH, peer, 'request'], [HASH, peer, 'send']]);
});

test('a stream has the bytes that were asked for, and says why it has none', async () => {
  const bytes = Uint8Array.from({ length: 100 }, (_, index) => index);
  const read = ({ offset, length }: { offset: number; length: number }): Uint8Array => bytes.slice(offset, offset + length);
  const { kollator } = stage({ add: () => state('finding'), file: () => ({ path: 'a', length: 100 }), read });
  const got = new Uint8Array(await new Response(kollator.stream('link', { start: 10, end: 1000 })).arrayBuffer());
  assert.deepEqual(got, bytes.slice(10));
  const broken = stage({ add: () => 'wait' });
  const reading = broken.kollator.stream('link').getReader().read();
  while (!broken.asked.includes('add')) await Promise.resolve();
  broken.say({ t: 'error', id: 2, error: { code: 'link', message: 'no link' } });
  await assert.rejects(reading, { code: 'link', message: 'no link' });
});

test('playing ends when it is told to, and says why it does not begin', async () => {
  const element = {} as HTMLMediaElement;
  const { kollator } = stage({ add: () => state('finding'), file: () => ({ path: 'a', length: 100 }) });
  await assert.rejects(kollator.play('link', element), { code: 'unplayable', message: /This browser cannot play files/ });
  const waiting = stage({ add: () => 'wait' });
  const stop = new AbortController();
  const playing = waiting.kollator.play('link', element, { signal: stop.signal });
  while (!waiting.asked.includes('add')) await new Promise((resolve) => setImmediate(resolve));
  stop.abort();
  await playing;
});

test('the address of a file ends in its name', async () => {
  const { kollator } = stage({ open: () => [state('complete')] });
  await kollator.connect();
  assert.equal(kollator.fileUrl(HASH, 0, { download: true }), `/_share/${HASH}/0/a%20b.txt?download`);
});

test('settings that cannot change stay, others reach the engine', async () => {
  let settings: Partial<KollatorOptions> = {};
  const { kollator } = stage({ setSettings: (given: KollatorOptions) => void (settings = given) });
  await kollator.setOptions({ uploadLimit: 7 });
  await kollator.connect();
  await kollator.setOptions({ downloadLimit: 8, fronts: ['http://other'], storage: 'memory' });
  assert.deepEqual([settings.uploadLimit, settings.downloadLimit, settings.fronts, settings.storage], [7, 8, ['http://f'], 'auto']);
  await assert.rejects(kollator.setOptions({ downloadLimit: -1 }), RangeError);
});

test('when the engine breaks down everything fails in words', async () => {
  const { kollator, say } = stage({ stats: () => 'wait' });
  const stats = kollator.getStats();
  await new Promise((resolve) => setImmediate(resolve));
  say({ t: 'broken', message: 'a trap' });
  await assert.rejects(stats, { code: 'broken', message: /a trap.*Reload the page/ });
  await assert.rejects(kollator.pause(HASH), { code: 'broken' });
});
