/**
 * What everything else stands on: data channels between browsers with the settings that their users have, without any
 * network but the namespace's.
 */

import assert from 'node:assert/strict';
import { OFFER, answer, withEmptyPage } from '../page.ts';
import type { Room } from '../suite.ts';
import type { BrowserName } from '../tab.ts';

/** Connects a page in `from` to one in `to` and has 1 MiB echoed. */
async function echo(room: Room, from: BrowserName, to: BrowserName): Promise<void> {
  await withEmptyPage(async (url) => {
    const [a, b] = [await room.tab(from, url), await room.tab(to, url)];
    assert(await a.evaluate('return isSecureContext'), 'pages on loopback count as secure');
    const offer = await a.evaluate<string>(OFFER);
    const back = await b.evaluate<string>(answer(offer, `channel.onmessage = ({ data }) => channel.send(data);`));
    const echoed = await a.evaluate<number>(`
      let bytes = 0;
      const all = new Promise((done, fail) => {
        channel.onmessage = ({ data }) => (bytes += data.byteLength) === 1 << 20 && done(bytes);
        setTimeout(() => fail(new Error('only ' + bytes + ' bytes came back; ICE is ' + pc.iceConnectionState)), 20000);
      });
      channel.onopen = () => {
        for (let n = 0; n < 16; n += 1) channel.send(new Uint8Array(1 << 16));
      };
      await pc.setRemoteDescription(${back});
      return await all;
    `);
    assert.equal(echoed, 1 << 20);
  });
}

export const channel_between_chromium_and_chromium = (room: Room) => echo(room, 'chromium', 'chromium');
export const channel_between_chromium_and_firefox = (room: Room) => echo(room, 'chromium', 'firefox');
export const channel_between_firefox_and_chromium = (room: Room) => echo(room, 'firefox', 'chromium');
export const channel_between_firefox_and_firefox = (room: Room) => echo(room, 'firefox', 'firefox');
