/**
 * What everything else stands on: data channels between browsers with the settings that their users have, without any
 * network but the namespace's.
 */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import assert from 'node:assert/strict';
import type { Room } from '../suite.ts';
import type { BrowserName } from '../tab.ts';

/** Runs `task` with the URL of a server whose one page is empty. */
async function withEmptyPage(task: (url: string) => Promise<void>): Promise<void> {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>empty</title>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await task(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** In a page: waits until all of its addresses are known; its description. */
const DESCRIBE = `
  while (pc.iceGatheringState !== 'complete') await new Promise((wake) => setTimeout(wake, 20));
  return JSON.stringify(pc.localDescription);
`;

/** Connects a page in `from` to one in `to` and has 1 MiB echoed. */
async function echo(room: Room, from: BrowserName, to: BrowserName): Promise<void> {
  await withEmptyPage(async (url) => {
    const [a, b] = [await room.tab(from, url), await room.tab(to, url)];
    assert(await a.evaluate('return isSecureContext'), 'pages on loopback count as secure');
    const offer = await a.evaluate<string>(`
      window.pc = new RTCPeerConnection();
      window.channel = pc.createDataChannel('echo');
      await pc.setLocalDescription();
      ${DESCRIBE}
    `);
    const answer = await b.evaluate<string>(`
      window.pc = new RTCPeerConnection();
      pc.ondatachannel = ({ channel }) => (channel.onmessage = ({ data }) => channel.send(data));
      await pc.setRemoteDescription(${offer});
      await pc.setLocalDescription();
      ${DESCRIBE}
    `);
    const echoed = await a.evaluate<number>(`
      channel.binaryType = 'arraybuffer';
      let bytes = 0;
      const all = new Promise((done, fail) => {
        channel.onmessage = ({ data }) => (bytes += data.byteLength) === 1 << 20 && done(bytes);
        setTimeout(() => fail(new Error('only ' + bytes + ' bytes came back; ICE is ' + pc.iceConnectionState)), 20000);
      });
      channel.onopen = () => {
        for (let n = 0; n < 16; n += 1) channel.send(new Uint8Array(1 << 16));
      };
      await pc.setRemoteDescription(${answer});
      return await all;
    `);
    assert.equal(echoed, 1 << 20);
  });
}

export const channel_between_chromium_and_chromium = (room: Room) => echo(room, 'chromium', 'chromium');
export const channel_between_chromium_and_firefox = (room: Room) => echo(room, 'chromium', 'firefox');
export const channel_between_firefox_and_chromium = (room: Room) => echo(room, 'firefox', 'chromium');
export const channel_between_firefox_and_firefox = (room: Room) => echo(room, 'firefox', 'firefox');
