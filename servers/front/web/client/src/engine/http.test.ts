import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';

import { BLOCK } from '../storage/storage.ts';
import { Http, type WebInput, wholeBlocks } from './http.ts';

/** What comes of one request to a server that answers so. */
async function ask(answer: RequestListener, more: { head?: boolean; range?: [number, number] } = {}): Promise<Array<[WebInput, number | undefined]>> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  const heard: Array<[WebInput, number | undefined]> = [];
  await new Promise<void>((resolve) => {
    const http = new Http((input, payload) => {
      heard.push([input, payload?.byteLength]);
      if (input.t === 'webEnd' || input.t === 'webFailed' || (input.t === 'webHead' && (more.head || input.status >= 300))) resolve();
    });
    http.request({ id: 5, url: `http://127.0.0.1:${port}/x`, head: false, range: null, ...more });
  });
  server.closeAllConnections();
  server.close();
  return heard;
}

test('a range is asked for, and its body comes in whole blocks', async () => {
  const heard = await ask(
    (request, response) => {
      assert.equal(request.headers.range, 'bytes=32768-82019');
      response.writeHead(206).end(Buffer.alloc(3 * BLOCK + 100));
    },
    { range: [32768, 82019] },
  );
  assert.deepEqual(heard[0], [{ t: 'webHead', id: 5, status: 206 }, undefined]);
  assert.deepEqual(heard.at(-1), [{ t: 'webEnd', id: 5 }, undefined]);
  const lengths = heard.slice(1, -1).map(([, length]) => length ?? 0);
  assert.equal(lengths.reduce((sum, length) => sum + length, 0), 3 * BLOCK + 100);
  assert.ok(lengths.slice(0, -1).every((length) => length > 0 && length % BLOCK === 0), String(lengths));
});

test('what is refused is told, with how long to wait', async () => {
  const heard = await ask((_request, response) => response.writeHead(503, { 'retry-after': '7' }).end('no'));
  assert.deepEqual(heard, [[{ t: 'webHead', id: 5, status: 503, retryAfter: 7 }, undefined]]);
});

test('a HEAD has a head only', async () => {
  const heard = await ask((request, response) => response.writeHead(request.method === 'HEAD' ? 200 : 500).end(), { head: true });
  assert.deepEqual(heard, [[{ t: 'webHead', id: 5, status: 200 }, undefined]]);
});

test('a redirect is not followed', async () => {
  const heard = await ask((request, response) => (request.url === '/y' ? response.end('there') : response.writeHead(302, { location: '/y' }).end()));
  assert.match(JSON.stringify(heard), /webFailed.*no answer/);
});

test('an answer that breaks off has failed', async () => {
  const heard = await ask((_request, response) => {
    response.writeHead(200, { 'content-length': '9' });
    response.write('half', () => response.destroy());
  });
  assert.match(JSON.stringify(heard.at(-1)), /webFailed.*the answer broke off/);
});

test('a request that is given up is heard of no more', async () => {
  const heard: WebInput[] = [];
  let answer: ((response: Response) => void) | undefined;
  const http = new Http((input) => heard.push(input), () => new Promise((resolve) => (answer = resolve)));
  http.request({ id: 1, url: 'http://x/', head: false, range: null });
  http.cancel(1);
  answer?.(new Response('late'));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(heard, []);
});

test('blocks are put together from whatever comes', async () => {
  const sizes = [1, BLOCK - 2, 3 * BLOCK, 5, 0, 7];
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const all = Uint8Array.from({ length: total }, (_, index) => index % 251);
  let at = 0;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const size of sizes) controller.enqueue(all.slice(at, (at += size)));
      controller.close();
    },
  });
  const parts: Uint8Array[] = [];
  for await (const part of wholeBlocks(body)) parts.push(part);
  assert.deepEqual(parts.map((part) => part.byteLength), [3 * BLOCK, BLOCK, 11]);
  assert.deepEqual(Buffer.concat(parts), Buffer.from(all));
});
