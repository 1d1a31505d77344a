/** A media file in a worker: that it gets its bytes, and is ended when it says nothing any more. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Answer, Question } from '../rpc.ts';
import { RemoteMedia } from './remote.ts';

/** Plays the worker: `answers` hears what it is sent, and says what it says. */
class Sham {
  onmessage: ((event: { data: Question | Answer }) => void) | undefined;
  onerror: ((event: { message: string }) => void) | undefined;
  isOver = false;
  heard: Array<Question | Answer> = [];
  #answers: (message: Question | Answer, say: (message: Question | Answer) => void) => void;

  constructor(answers: (message: Question | Answer, say: (message: Question | Answer) => void) => void) {
    this.#answers = answers;
  }

  postMessage(message: Question | Answer): void {
    this.heard.push(message);
    queueMicrotask(() => this.#answers(message, (said) => this.onmessage?.({ data: said })));
  }

  terminate(): void {
    this.isOver = true;
  }
}

const bytes = { length: 10, read: async (offset: number, length: number) => new Uint8Array(length).fill(offset) };
const never = new AbortController().signal;
const OPENED = { duration: 5, types: ['video/webm'] };

function open(sham: Sham, signal = never, from: typeof bytes = bytes): Promise<RemoteMedia> {
  return RemoteMedia.open(from, (type) => type === 'good', signal, () => sham as unknown as Worker);
}

/** A worker that opens the file, and then says what `later` has it say. */
function opening(later: (question: Question & { t: 'ask' }, say: (message: Question | Answer) => void) => void = () => undefined): Sham {
  return new Sham((message, say) => {
    if (message.t !== 'ask') return;
    if (message.method === 'open') say({ t: 'answer', id: message.id, value: OPENED });
    else later(message, say);
  });
}

test('the worker is given the bytes and the answers that it asks for', async () => {
  const sham = opening((question, say) => {
    say({ t: 'ask', id: 7, method: 'read', args: [3, 2] });
    say({ t: 'ask', id: 8, method: 'plays', args: ['good'] });
    setTimeout(() => say({ t: 'answer', id: question.id, value: 4 }));
  });
  const media = await open(sham);
  assert.deepEqual([media.duration, media.tracks.map(({ type }) => type)], [5, ['video/webm']]);
  assert.equal(await media.tracks[0]!.seek(4.5), 4);
  assert.deepEqual(sham.heard.filter(({ t }) => t === 'answer'), [
    { t: 'answer', id: 8, value: true },
    { t: 'answer', id: 7, value: new Uint8Array([3, 3]) },
  ]);
  media.close();
  assert.equal(sham.isOver, true);
});

test('a worker that keeps silent though it has all it wants is ended', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const sham = opening();
  const media = await open(sham);
  const next = media.tracks[0]!.next();
  const failing = assert.rejects(next, { code: 'unplayable', message: /damaged/ });
  context.mock.timers.tick(9_000);
  assert.equal(sham.isOver, false);
  context.mock.timers.tick(2_000);
  assert.equal(sham.isOver, true);
  await failing;
});

test('a worker that waits for bytes, or has nothing to do, may keep silent', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let came: (bytes: Uint8Array<ArrayBuffer>) => void = () => undefined;
  const read = (): Promise<Uint8Array<ArrayBuffer>> => new Promise((resolve) => (came = resolve));
  const sham = opening((question, say) => {
    if (question.method === 'next') say({ t: 'ask', id: 1, method: 'read', args: [0, 1] });
  });
  const media = await open(sham, never, { length: 10, read });
  context.mock.timers.tick(60_000);
  assert.equal(sham.isOver, false, 'nothing was asked of it');
  const next = media.tracks[0]!.next();
  const failing = assert.rejects(next, { code: 'unplayable' });
  await new Promise((go) => setImmediate(go));
  context.mock.timers.tick(60_000);
  assert.equal(sham.isOver, false, 'the bytes are late, not the worker');
  came(new Uint8Array(1));
  await new Promise((go) => setImmediate(go));
  context.mock.timers.tick(11_000);
  assert.equal(sham.isOver, true);
  await failing;
});

test('what was begun ends with the signal, and so does the reading', async () => {
  const stop = new AbortController();
  let stopped = false;
  const sham = opening((_question, say) => say({ t: 'ask', id: 1, method: 'read', args: [0, 1] }));
  const read = (_offset: number, _length: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> =>
    new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new Error(String((stopped = true))))));
  const media = await open(sham, stop.signal, { length: 10, read });
  const failing = assert.rejects(media.tracks[0]!.next(), { code: 'aborted' });
  await new Promise((go) => setImmediate(go));
  stop.abort();
  await failing;
  assert.deepEqual([stopped, sham.isOver], [true, true]);
  await assert.rejects(open(opening(), AbortSignal.abort()), { code: 'aborted' });
});

test('a worker that breaks down says so', async () => {
  const sham = new Sham(() => sham.onerror?.({ message: 'no memory' }));
  await assert.rejects(open(sham), { code: 'broken', message: /no memory/ });
});
