/** Bad links, bad names, missing keys, liars and a front gone mad: said in words, and nothing else happens. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { App } from '../app.ts';
import { MIB, digest, holding, random } from '../files.ts';
import { until, type Room } from '../suite.ts';

/** Fails unless the page still does what it is there for. */
async function lives(room: Room, app: App): Promise<void> {
  await app.tab.goto(`${room.network.front}/#/`);
  await app.tab.find('pick');
  const uncaught = app.tab.log.filter((line) => line.startsWith('uncaught'));
  assert.deepEqual(uncaught, [], 'the page failed at something');
}

export async function a_broken_link_is_explained(room: Room): Promise<void> {
  const app = await App.start(room, 'chromium');
  for (const [fragment, word] of [
    ['0123456789abcdef', '64'],
    [`${'0'.repeat(63)}g`, 'share'],
    [`${'0'.repeat(65)}`, '65'],
    [`${'1'.repeat(64)}&k=tooshort`, 'key'],
  ] as const) {
    await app.tab.goto(`${room.network.front}/#${fragment}`);
    const { words } = await app.trouble();
    assert(words.toLowerCase().includes(word), `${fragment}: ${words}`);
    await lives(room, app);
  }
  await app.tab.goto(`${room.network.front}/#/files`);
  assert(!(await app.tab.shows('share-item')), 'something was stored');
}

export async function a_name_never_becomes_html(room: Room): Promise<void> {
  const evil = '<img src=x onerror=document.title=1>.txt';
  mkdirSync(room.path('evil'));
  writeFileSync(room.path(`evil/${evil}`), 'harmless');
  writeFileSync(room.path('evil/second'), 'harmless too');
  const link = await room.network.share(room.path('evil'), '--name', '<b>bold<script>');
  const app = await App.start(room, 'chromium', link);
  await app.reaches('complete');
  const text = await app.tab.text();
  assert(text.includes(evil) && text.includes('<b>bold<script>'), text);
  const made = `return [...document.querySelectorAll('img[src="x"], main b, main script')].length`;
  assert.equal(await app.tab.evaluate(made), 0);
  assert(!(await app.tab.evaluate<string>('return document.title')).startsWith('1'));
}

/** Random, so that nothing else on a disk is taken for it. */
export async function an_encrypted_share_is_nothing_without_its_key(room: Room): Promise<void> {
  const known = randomBytes(48);
  const text = Buffer.concat(Array.from({ length: 40_000 }, () => known));
  const name = `secret-${randomBytes(8).toString('hex')}.bin`;
  writeFileSync(room.path(name), text);
  const app = await App.start(room, 'chromium');
  await app.pick(room.path(name));
  const link = await app.link();
  assert(/[#&]k=[\w-]{43}(&|$)/.test(link), `no key in ${link}`);
  await app.reaches('safe');

  const { stored } = room.network;
  assert.deepEqual(holding(stored, known), [], 'what is stored holds the text');
  assert.deepEqual(holding(stored, Buffer.from(name)), [], 'what is stored holds the name');
  const key = /k=([\w-]{43})/.exec(link)?.[1] ?? '';
  assert.deepEqual(holding(stored, Buffer.from(key)), [], 'what is stored or logged holds the key');
  // The search finds what is there: a share that is not encrypted.
  await room.network.share(room.path(name), '--name', 'open');
  assert(holding(stored, known).length > 0, 'this test cannot see');

  const visitor = await App.start(room, 'firefox', link.replace(/&?k=[\w-]{43}/, ''));
  const missing = await visitor.trouble();
  assert.equal(missing.code, 'key-missing', missing.words);
  assert(missing.words.includes('key'), missing.words);
  const wrong = randomBytes(32).toString('base64url');
  const stranger = await App.start(room, 'chromium', link.replace(key, wrong));
  const refused = await stranger.trouble();
  assert.equal(refused.code, 'key-wrong', refused.words);
}

/** Makes a page flip a bit in every long message it sends, which are those with blocks. */
const LIE = `
  const { postMessage } = Worker.prototype;
  Worker.prototype.postMessage = function (message, transfer = []) {
    // A channel that moved to a worker would be out of this script's reach.
    const list = Array.isArray(transfer) ? transfer : (transfer.transfer ?? []);
    if (list.some((item) => item instanceof RTCDataChannel)) throw new DOMException('it stays', 'DataCloneError');
    return postMessage.call(this, message, transfer);
  };
  const { send } = RTCDataChannel.prototype;
  RTCDataChannel.prototype.send = function (data) {
    if (data.byteLength < 16384) return send.call(this, data);
    const lie = new Uint8Array(data.slice(0));
    lie[lie.length - 1] ^= 1;
    return send.call(this, lie);
  };
`;

export async function a_lying_tab_is_shut_out(room: Room): Promise<void> {
  const source = random(room.path('truth.bin'), 20 * MIB);
  const link = await room.network.share(source);
  // Workers leave something for the liar to give.
  await room.network.having({ UPLOAD_LIMIT_KB: '1024' }, async () => {
    const liar = await App.start(room, 'chromium');
    await liar.tab.page.evaluateOnNewDocument(LIE);
    await liar.tab.goto(link);
    await liar.tab.reload();
    await liar.reaches('complete');

    const app = await App.start(room, 'chromium', link);
    await app.reaches('complete');
    const saved = await app.save('truth.bin', 20 * MIB);
    assert.equal(await digest(saved), await digest(source));
    const from = await app.from();
    assert.equal(from.peer, 0, 'bytes of the liar were believed');
    const legend = await app.tab.text('sources');
    assert(legend.includes('shut out'), `the page does not tell of the liar: ${legend}`);
  });
}

/** A front that serves the real one's page and, on its WebSocket, as much as a browser takes. */
async function withMadFront(front: string, task: (url: string) => Promise<void>): Promise<void> {
  const server = createServer((asked, answer) => {
    const onward = request(`${front}${asked.url}`, { method: asked.method, headers: asked.headers }, (got) => {
      answer.writeHead(got.statusCode ?? 502, got.headers);
      got.pipe(answer);
    });
    asked.pipe(onward);
    onward.once('error', () => answer.destroy());
  });
  server.on('upgrade', (asked: IncomingMessage, socket: Socket) => {
    socket.on('error', () => socket.destroy());
    const accept = createHash('sha1').update(`${asked.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept.digest('base64')}\r\n\r\n`,
    );
    for (const text of ['null', '[]', '{"type":', `"${'x'.repeat(8 * MIB)}"`, '['.repeat(60_000)]) socket.write(frame(text));
    const bomb = frame(JSON.stringify({ type: 'signal', from: 'f'.repeat(64), session: 1, body: { type: 'offer', sdp: 'v=0' } }));
    const drop = setInterval(() => {
      for (let n = 0; n < 1000 && socket.writableLength < MIB; n += 1) socket.write(bomb);
    }, 5);
    socket.once('close', () => clearInterval(drop));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await task(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** An unmasked text frame (RFC 6455, 5.2). */
function frame(text: string): Buffer {
  const payload = Buffer.from(text);
  const head = Buffer.alloc(10);
  head[0] = 0x81;
  head[1] = 127;
  head.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([head, payload]);
}

export async function a_front_gone_mad_does_not_stop_the_page(room: Room): Promise<void> {
  await withMadFront(room.network.front, async (url) => {
    const app = await App.start(room, 'chromium', `${url}/#${'2'.repeat(64)}`);
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    const began = performance.now();
    await app.tab.goto(`${url}/#/files`);
    await app.tab.evaluate('return 1');
    const slow = performance.now() - began;
    assert(slow < 5000, `the page needs ${slow} ms to answer`);
    assert(!(await app.tab.shows('share-item')) || (await app.phase()) !== 'complete', 'something was stored');
    const uncaught = app.tab.log.filter((line) => line.startsWith('uncaught'));
    assert.deepEqual(uncaught, [], 'the page failed at something');
  });
}

/** A `.ko` of one file, as whoever makes them by hand may have it. */
function ko(name: string, length: number, root: Buffer): { bytes: Buffer; infoHash: string } {
  const text = (value: string | Buffer) => Buffer.concat([Buffer.from(`${Buffer.byteLength(value)}:`), Buffer.from(value)]);
  const file = Buffer.concat([
    Buffer.from('d'), text(''), Buffer.from(`d6:lengthi${length}e`), text('pieces root'), text(root), Buffer.from('ee'),
  ]);
  const info = Buffer.concat([
    Buffer.from('d'), text('file tree'), Buffer.from('d'), text(name), file, Buffer.from('e'),
    text('meta version'), Buffer.from('i2e'), text('name'), text(name), text('piece length'), Buffer.from('i16384ee'),
  ]);
  const bytes = Buffer.concat([Buffer.from('d'), text('info'), info, text('piece layers'), Buffer.from('dee')]);
  return { bytes, infoHash: createHash('sha256').update(info).digest('hex') };
}

/** Whoever keeps shares may keep anything: what is not a share, or not this one, comes to nothing but an explanation. */
export async function a_ko_that_lies_comes_to_nothing(room: Room): Promise<void> {
  const root = randomBytes(32);
  const right = ko('right.bin', 10_000, root);
  const lies = {
    'more bytes than it has hashes for': ko('huge.bin', 2 ** 50, root),
    'a name that leads elsewhere': ko('..', 10_000, root),
    'another share': { bytes: ko('other.bin', 10_000, root).bytes, infoHash: right.infoHash },
  };
  const torrents = join(room.network.stored, 's3/kollator-chunks/torrents');
  mkdirSync(torrents, { recursive: true });
  const opened: Array<[string, App]> = [];
  for (const [lie, { bytes, infoHash }] of Object.entries(lies)) {
    writeFileSync(join(torrents, `${infoHash}.ko`), bytes);
    opened.push([lie, await App.start(room, 'chromium', `${room.network.front}/#${infoHash}`)]);
  }
  for (const [lie, app] of opened) {
    const { code, words } = await app.trouble();
    assert.equal(code, 'not-found', `${lie}: ${words}`);
    await lives(room, app);
    await app.tab.goto(`${room.network.front}/#/files`);
    assert(!(await app.tab.text()).includes('huge.bin'), lie);
  }
  // What lies there is looked at: one that tells the truth is shown.
  writeFileSync(join(torrents, `${right.infoHash}.ko`), right.bytes);
  const app = await App.start(room, 'chromium', `${room.network.front}/#${right.infoHash}`);
  await until('its name', async () => (await app.tab.text()).includes('right.bin'), 60);
}
