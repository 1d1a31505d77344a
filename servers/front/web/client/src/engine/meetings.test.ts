/** Tests of who waits to hear of a peer. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Meetings } from './meetings.ts';

const never = new AbortController().signal;

test('each who waits for a peer hears of that one, for that share, once', async () => {
  const meetings = new Meetings();
  const outcomes: string[] = [];
  const wait = (infoHash: string, peer: string): void => {
    const note = (outcome: string) => () => void outcomes.push(`${infoHash} ${peer} ${outcome}`);
    meetings.met(infoHash, peer, never).then(note('met'), note('missed'));
  };
  for (const [infoHash, peer] of [['a', 'p'], ['a', 'p'], ['a', 'q'], ['b', 'p']] as const) wait(infoHash, peer);
  meetings.hear('a', 'p', null);
  meetings.hear('a', 'p', 'gone');
  meetings.hear('b', 'p', 'gone');
  meetings.hear('c', 'p', null);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(outcomes, ['a p met', 'a p met', 'b p missed']);
});

test('why a peer is not met is said in words', async () => {
  const meetings = new Meetings();
  const missed = meetings.met('a', 'p', never);
  meetings.hear('a', 'p', 'the front cannot reach it');
  await assert.rejects(missed, { code: 'not-found', message: 'This peer cannot be reached: the front cannot reach it.' });
  const left = meetings.met('a', 'p', never);
  meetings.leave();
  await assert.rejects(left, { code: 'offline' });
  const controller = new AbortController();
  const given = meetings.met('a', 'p', controller.signal);
  controller.abort();
  await assert.rejects(given, { code: 'aborted' });
  await assert.rejects(meetings.met('a', 'p', AbortSignal.abort()), { code: 'aborted' });
  meetings.hear('a', 'p', null);
});
