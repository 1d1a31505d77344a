/** Many sources, and downloads that end early: tabs give to tabs, and nothing verified is fetched twice. */

import assert from 'node:assert/strict';
import { App } from '../app.ts';
import { MIB, digest, random } from '../files.ts';
import type { Room } from '../suite.ts';

/** Slow enough for a test to see what happens meanwhile. */
const SLOW = { UPLOAD_LIMIT_KB: '2048' };

/** Three tabs have a share at last, of which workers gave the third less than half. */
export async function tabs_give_most_of_it_to_each_other(room: Room): Promise<void> {
  const size = 40 * MIB;
  const source = random(room.path('shared.bin'), size);
  const link = await room.network.share(source);
  await room.network.having(SLOW, async () => {
    const first = [await App.start(room, 'chromium', link), await App.start(room, 'firefox', link)];
    for (const app of first) await app.passes(0.2);
    const third = await App.start(room, 'chromium', link);
    // What the first two have is a part of it only, and they give that already.
    await third.passes(0.05);
    const early = await third.from();
    for (const app of [...first, third]) await app.reaches('complete');
    const from = await third.from();
    assert.equal(from.disk + from.worker + from.peer + from.http, size, JSON.stringify(from));
    assert(from.peer > size / 2, `tabs gave the third ${from.peer} of ${size} bytes: ${JSON.stringify({ early, from })}`);
    assert.equal(await digest(await third.save('shared.bin', size)), await digest(source));
  });
}

/** A browser that dies in mid-download, as in a power cut, has what was verified when it is there again. */
export async function a_killed_browser_fetches_no_verified_block_again(room: Room): Promise<void> {
  const size = 40 * MIB;
  const source = random(room.path('resumed.bin'), size);
  const link = await room.network.share(source);
  await room.network.having({ UPLOAD_LIMIT_KB: '1024' }, async () => {
    const first = await room.browser('chromium', 'killed');
    const before = await (await App.open(first, link)).passes(0.25);
    assert(before.done < size, 'it was too quick to be killed');
    await first.kill();

    const app = await App.open(await room.browser('chromium', 'killed'), link);
    await app.reaches('complete');
    const from = await app.from();
    assert(from.disk >= before.done, `of ${before.done} bytes only ${from.disk} were still there`);
    assert.equal(from.disk + from.worker + from.peer + from.http, size, `something came twice: ${JSON.stringify(from)}`);
    assert.equal(await digest(await app.save('resumed.bin', size)), await digest(source));
  });
}
