import assert from 'node:assert/strict';
import { test } from 'node:test';

import { KollatorError } from './errors.ts';
import { type Answer, Caller, type Methods, type Question, Responder } from './rpc.ts';

/** Two sides over a real border between threads: what crosses is cloned. */
function connect(methods: Methods): { caller: Caller; close: () => void } {
  const { port1, port2 } = new MessageChannel();
  const caller = new Caller((question, transfer) => port1.postMessage(question, transfer as never));
  const responder = new Responder(methods, (answer, transfer) => port2.postMessage(answer, transfer as never));
  port1.onmessage = ({ data }: MessageEvent<Answer>) => caller.hear(data);
  port2.onmessage = ({ data }: MessageEvent<Question>) => responder.hear(data);
  return { caller, close: () => port1.close() };
}

test('answers, notes and errors come back', async () => {
  const { caller, close } = connect({
    add: ({ note }, a: number, b: number) => (note('adding'), a + b),
    fail: () => {
      throw new KollatorError('storage-full', 'no room');
    },
    bug: () => {
      throw new TypeError('oops');
    },
  });
  const notes: string[] = [];
  assert.equal(await caller.ask('add', [1, 2], undefined, (note: string) => notes.push(note)), 3);
  assert.deepEqual(notes, ['adding']);
  await assert.rejects(caller.ask('fail', []), { name: 'KollatorError', code: 'storage-full', message: 'no room' });
  await assert.rejects(caller.ask('bug', []), { code: 'broken', message: 'oops' });
  await assert.rejects(caller.ask('toString', []), { code: 'broken', message: 'there is no method "toString"' });
  close();
});

test('a signal reaches the other side', async () => {
  let heard = false;
  const { caller, close } = connect({
    wait: ({ signal }) => new Promise(() => signal.addEventListener('abort', () => (heard = true))),
    ping: () => 'pong',
  });
  const controller = new AbortController();
  const waiting = caller.ask('wait', [], controller.signal);
  await caller.ask('ping', []);
  controller.abort();
  await assert.rejects(waiting, { code: 'aborted' });
  await caller.ask('ping', []);
  assert.equal(heard, true);
  await assert.rejects(caller.ask('ping', [], controller.signal), { code: 'aborted' });
  close();
});

test('bytes are moved, not copied', async () => {
  const bytes = new Uint8Array(1000).fill(7);
  const { caller, close } = connect({ read: () => bytes });
  assert.deepEqual(await caller.ask('read', []), new Uint8Array(1000).fill(7));
  assert.equal(bytes.byteLength, 0);
  close();
});

test('what cannot be sent fails, and so does everything once the other side is gone', async () => {
  const { caller, close } = connect({ wait: () => new Promise(() => {}) });
  await assert.rejects(caller.ask('wait', [() => {}]), { name: 'DataCloneError' });
  const waiting = caller.ask('wait', []);
  caller.end(new KollatorError('broken', 'gone'));
  await assert.rejects(waiting, { message: 'gone' });
  await assert.rejects(caller.ask('wait', []), { message: 'gone' });
  close();
});
