import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Link, type LinkInput, signalingUrl } from './link.ts';

class FakeSocket {
  readyState = 0;
  bufferedAmount = 0;
  sent: string[] = [];
  isClosed = false;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { reason: string; wasClean: boolean }) => void) | null = null;

  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  send(text: string): void {
    this.sent.push(text);
  }

  close(): void {
    this.isClosed = true;
    this.readyState = 3;
    this.onclose?.({ reason: '', wasClean: true });
  }
}

function stage(): { link: Link; sockets: FakeSocket[]; urls: string[]; heard: LinkInput[]; texts: string[] } {
  const [sockets, urls, heard, texts]: [FakeSocket[], string[], LinkInput[], string[]] = [[], [], [], []];
  const link = new Link(
    ['http://one.example:1', 'https://two.example'],
    (input, payload) => {
      heard.push(input);
      if (payload) texts.push(new TextDecoder().decode(payload));
    },
    (url) => {
      urls.push(url);
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket as unknown as WebSocket;
    },
  );
  return { link, sockets, urls, heard, texts };
}

test('a front is reached over its WebSocket, encrypted where its pages are', () => {
  assert.equal(signalingUrl('http://127.0.0.1:8080'), 'ws://127.0.0.1:8080/signaling');
  assert.equal(signalingUrl('https://front.example/'), 'wss://front.example/signaling');
});

test('text goes both ways', () => {
  const { link, sockets, heard, texts } = stage();
  link.connect(0);
  link.send('too early');
  sockets[0]?.open();
  link.send('hello');
  sockets[0]?.onmessage?.({ data: 'grüezi' });
  assert.deepEqual(heard.map(({ t }) => t), ['linkUp', 'linkMessage']);
  assert.deepEqual(texts, ['grüezi']);
  assert.deepEqual(sockets[0]?.sent, ['hello']);
  link.close();
});

test('connecting again gives the last connection up without a word of it', () => {
  const { link, sockets, urls, heard } = stage();
  link.connect(0);
  sockets[0]?.open();
  link.connect(1);
  assert.equal(sockets[0]?.isClosed, true);
  sockets[0]?.open();
  sockets[0]?.onmessage?.({ data: 'late' });
  assert.deepEqual(heard, [{ t: 'linkUp' }]);
  assert.deepEqual(urls, ['ws://one.example:1/signaling', 'wss://two.example/signaling']);
  link.close();
});

test('it says once that it is down, and why', () => {
  const { link, sockets, heard } = stage();
  link.connect(0);
  sockets[0]?.open();
  sockets[0]?.onclose?.({ reason: 'too many connections', wasClean: true });
  sockets[0]?.onclose?.({ reason: 'again', wasClean: true });
  assert.deepEqual(heard.slice(1), [{ t: 'linkDown', reason: 'the front closed: too many connections' }]);
});

test('a front that floods, sends binary data or does not read is given up', () => {
  for (const [misbehave, reason] of [
    [(socket: FakeSocket) => socket.onmessage?.({ data: 'x'.repeat(65_537) }), /65537 bytes/],
    [(socket: FakeSocket) => socket.onmessage?.({ data: new ArrayBuffer(1) }), /binary/],
    [(socket: FakeSocket, link: Link) => ((socket.bufferedAmount = 5 << 20), link.send('x')), /does not read/],
  ] as Array<[(socket: FakeSocket, link: Link) => void, RegExp]>) {
    const { link, sockets, heard } = stage();
    link.connect(0);
    sockets[0]?.open();
    misbehave(sockets[0]!, link);
    assert.match(JSON.stringify(heard.at(-1)), reason);
    assert.equal(sockets[0]?.isClosed, true);
  }
});

test('a front that does not answer is down after a while', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { link, heard } = stage();
  link.connect(1);
  context.mock.timers.tick(4999);
  assert.deepEqual(heard, []);
  context.mock.timers.tick(1);
  assert.deepEqual(heard, [{ t: 'linkDown', reason: 'https://two.example did not answer within 5 s' }]);
});
