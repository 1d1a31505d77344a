/** Tests of data channels and of what is refused in a description. Peer connections are tried in browsers. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { type ChannelInput, Channels } from '../engine/channels.ts';
import { Channel } from './channel.ts';
import { checkDescription } from './description.ts';
import type { RtcCommand } from './messages.ts';

class FakeChannel {
  readyState = 'connecting';
  binaryType = '';
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  sent = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onbufferedamountlow: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: ((event: object) => void) | null = null;

  send(data: Uint8Array): void {
    if (this.readyState !== 'open') throw new Error('not open');
    this.sent += 1;
    this.bufferedAmount += data.byteLength;
  }

  close(): void {
    this.readyState = 'closed';
  }

  as(): RTCDataChannel {
    return this as unknown as RTCDataChannel;
  }
}

function stage(fake = new FakeChannel()): { fake: FakeChannel; channel: Channel; heard: Array<[string, unknown?]> } {
  const heard: Array<[string, unknown?]> = [];
  const channel = new Channel(fake.as(), {
    open: () => heard.push(['open']),
    message: (data) => heard.push(['message', data.byteLength]),
    sent: (bytes) => heard.push(['sent', bytes]),
    closed: (reason) => heard.push(['closed', reason]),
  });
  return { fake, channel, heard };
}

test('sent is told only while there is room', () => {
  const { fake, channel, heard } = stage();
  fake.readyState = 'open';
  channel.send(new Uint8Array(1 << 20));
  channel.send(new Uint8Array(10));
  channel.send(new Uint8Array(5));
  assert.deepEqual(heard, [['sent', 1 << 20]]);
  fake.bufferedAmount = 0;
  fake.onbufferedamountlow?.();
  assert.deepEqual(heard, [['sent', 1 << 20], ['sent', 15]]);
});

test('a channel that takes nothing is closed before memory is full', () => {
  const { fake, channel, heard } = stage();
  fake.readyState = 'open';
  for (let count = 0; count < 9; count += 1) channel.send(new Uint8Array(1 << 20));
  assert.match(String(heard.at(-1)), /closed,more than 8388608 bytes/);
  channel.send(new Uint8Array(1));
  assert.equal(fake.sent, 8);
});

test('a channel that was open before it came here says so', async () => {
  const fake = new FakeChannel();
  fake.readyState = 'open';
  const { heard } = stage(fake);
  await Promise.resolve();
  assert.deepEqual(heard, [['open']]);
});

test('its end is told once, and text is one', () => {
  const { fake, heard } = stage();
  fake.onmessage?.({ data: new ArrayBuffer(3) });
  fake.onmessage?.({ data: 'text' });
  fake.onclose?.();
  assert.deepEqual(heard, [['message', 3], ['closed', 'the other side sent text']]);
});

test('closing waits for what was queued, and says nothing', async () => {
  const { fake, channel, heard } = stage();
  fake.readyState = 'open';
  channel.send(new Uint8Array(7));
  heard.length = 0;
  const closing = channel.close(true);
  assert.equal(fake.readyState, 'open');
  fake.bufferedAmount = 0;
  await closing;
  assert.equal(fake.readyState, 'closed');
  assert.deepEqual(heard, []);
});

function channels(): { channels: Channels; told: RtcCommand[]; heard: ChannelInput[] } {
  const [told, heard]: [RtcCommand[], ChannelInput[]] = [[], []];
  return { channels: new Channels((command) => told.push(command), (input) => heard.push(input)), told, heard };
}

test('a channel that moved to the worker is used there, one that stayed with the page over messages', async () => {
  const { channels: all, told, heard } = channels();
  all.execute({ t: 'rtcOffer', conn: 1 });
  all.execute({ t: 'rtcOffer', conn: 2 });
  const fake = new FakeChannel();
  fake.readyState = 'open';
  all.hear({ t: 'rtcChannel', conn: 1, channel: fake.as() });
  all.hear({ t: 'rtcOpen', conn: 2 });
  await Promise.resolve();
  all.send(1, new Uint8Array(4));
  const memory = new Uint8Array([7, 7, 7, 7, 7]);
  all.send(2, memory);
  memory.fill(0);
  assert.equal(fake.sent, 1);
  assert.deepEqual(told.slice(2), [{ t: 'rtcSend', conn: 2, data: new Uint8Array([7, 7, 7, 7, 7]).buffer }]);
  assert.deepEqual(heard, [{ t: 'rtcOpen', conn: 2 }, { t: 'rtcOpen', conn: 1 }, { t: 'rtcSent', conn: 1, bytes: 4 }]);
});

test('nothing is heard of a connection that the machine closed', async () => {
  const { channels: all, told, heard } = channels();
  all.execute({ t: 'rtcOffer', conn: 1 });
  all.execute({ t: 'rtcClose', conn: 1, flush: false });
  await all.idle(1000);
  const fake = new FakeChannel();
  all.hear({ t: 'rtcChannel', conn: 1, channel: fake.as() });
  all.hear({ t: 'rtcDescribed', conn: 1, sdp: '' });
  all.hear({ t: 'rtcClosed', conn: 1, reason: '' });
  assert.deepEqual(heard, []);
  assert.equal(fake.readyState, 'closed');
  assert.deepEqual(told.at(-1), { t: 'rtcClose', conn: 1, flush: false });
});

test('a lost channel takes its connection with it', () => {
  const { channels: all, told, heard } = channels();
  all.execute({ t: 'rtcAccept', conn: 3, sdp: '' });
  const fake = new FakeChannel();
  all.hear({ t: 'rtcChannel', conn: 3, channel: fake.as() });
  fake.onclose?.();
  all.hear({ t: 'rtcClosed', conn: 3, reason: 'again' });
  assert.deepEqual(heard, [{ t: 'rtcClosed', conn: 3, reason: 'the other side closed the data channel' }]);
  assert.deepEqual(told.at(-1), { t: 'rtcClose', conn: 3, flush: false });
});

test('a description may hold one data channel transport, and few candidates', () => {
  const data = 'v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n';
  const candidate = 'a=candidate:1 1 udp 1 127.0.0.1 1 typ host\r\n';
  assert.equal(checkDescription(data + candidate.repeat(32)), 32);
  assert.throws(() => checkDescription(data + candidate.repeat(33)), /more than 32 candidates/);
  assert.throws(() => checkDescription(`${data}m=audio 9 RTP/AVP 0\r\n`), /one section/);
  assert.throws(() => checkDescription('v=0\r\nm=audio 9 RTP/AVP 0\r\n'), /not "application"/);
});
