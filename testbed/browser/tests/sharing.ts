/** From one kind of peer to another: browsers and the terminal, files and folders, with and without whoever sent them. */

import assert from 'node:assert/strict';
import { basename, join } from 'node:path';
import { App } from '../app.ts';
import { MIB, below, digest, random } from '../files.ts';
import type { Room } from '../suite.ts';
import type { BrowserName } from '../tab.ts';

/** As large as a file that people send each other; less where a machine has no time for that. */
const LARGE = process.env.KOLLATOR_E2E_LARGE === '0' ? 20 * MIB : 200 * MIB;
const FOLDER = { 'one.bin': 3 * MIB + 5, 'empty.txt': 0, 'deeper/two.bin': 100_000, 'deeper/Привет 文件 🦀.txt': 17 };

/** `sender` shares a large file; the terminal and `receiver` get it. */
async function largeFile(room: Room, sender: BrowserName, receiver: BrowserName): Promise<void> {
  const source = random(room.path('large.bin'), LARGE);
  const expected = await digest(source);
  const app = await App.start(room, sender);
  await app.pick(source);
  const link = await app.link();
  const other = await App.start(room, receiver, link);
  await room.network.download(link, room.path('received.bin'));
  assert.equal(await digest(room.path('received.bin')), expected, 'the terminal got something else');
  await other.reaches('complete');
  assert.equal(await digest(await other.save('large.bin', LARGE)), expected, `${receiver} got something else`);
  await app.reaches('safe');
}

export const chromium_shares_a_large_file = (room: Room) => largeFile(room, 'chromium', 'firefox');
export const firefox_shares_a_large_file = (room: Room) => largeFile(room, 'firefox', 'chromium');

/** Not from Firefox: WebDriver BiDi gives an input files only, and refuses folders. */
export async function chromium_shares_a_folder(room: Room): Promise<void> {
  for (const [path, size] of Object.entries(FOLDER)) random(room.path(join('folder', path)), size);
  const app = await App.start(room, 'chromium');
  await app.pickFolder(room.path('folder'));
  const link = await app.link();
  await app.reaches('safe');
  await room.network.download(link, room.path('received'));
  assert.deepEqual(below(room.path('received')).sort(), Object.keys(FOLDER).sort());
  for (const path of Object.keys(FOLDER)) {
    const [sent, received] = [room.path(join('folder', path)), room.path(join('received', path))];
    assert.equal(await digest(received), await digest(sent), path);
  }
  const other = await App.start(room, 'firefox', link);
  await other.reaches('complete');
  const text = await other.tab.text();
  for (const path of Object.keys(FOLDER)) assert(text.includes(path), `${path} is not listed: ${text}`);
  const saved = await other.saveAll(Object.fromEntries(Object.entries(FOLDER).map(([path, size]) => [basename(path), size])));
  for (const path of Object.keys(FOLDER)) {
    assert.equal(await digest(join(saved, basename(path))), await digest(room.path(join('folder', path))), path);
  }
}

/** The terminal shares; both browsers get it. */
export async function the_terminal_shares_a_file(room: Room): Promise<void> {
  const source = random(room.path('terminal.bin'), 20 * MIB + 1);
  const link = await room.network.share(source);
  for (const name of ['chromium', 'firefox'] as const) {
    const app = await App.start(room, name, link);
    await app.reaches('complete');
    const saved = await app.save('terminal.bin', 20 * MIB + 1);
    assert.equal(await digest(saved), await digest(source), name);
  }
}

export async function a_link_needs_its_tab_no_more_once_it_is_safe(room: Room): Promise<void> {
  const source = random(room.path('kept.bin'), 10 * MIB);
  const browser = await room.browser('chromium');
  const app = await App.open(browser, room.network.front);
  await app.pick(source);
  const link = await app.link();
  await app.reaches('safe');
  await browser.close();
  const other = await App.start(room, 'chromium', link);
  await other.reaches('complete');
  assert.equal(await digest(await other.save('kept.bin', 10 * MIB)), await digest(source));
  const from = await other.from();
  assert.equal(from.peer, 0, 'nobody but workers was there');
}

export async function an_upload_goes_on_by_itself_when_the_app_is_opened_again(room: Room): Promise<void> {
  const source = random(room.path('later.bin'), LARGE);
  const first = await room.browser('chromium', 'sender');
  let app = await App.open(first, room.network.front);
  await app.pick(source);
  const link = await app.link();
  assert.equal(await app.phase(), 'uploading', 'it must not be called safe so early');
  await first.close();

  const second = await room.browser('chromium', 'sender');
  app = await App.open(second, `${room.network.front}/#/files`);
  await app.tab.find('share-item');
  await app.tab.page.waitForSelector('[data-testid="share-item"][data-phase="safe"]', { timeout: 120_000 });
  await second.close();
  await room.network.download(link, room.path('received.bin'));
  assert.equal(await digest(room.path('received.bin')), await digest(source));
}

/** A page shares to the key of a terminal: that one opens it, and another does not. */
export async function a_page_shares_with_one_person_at_a_terminal(room: Room): Promise<void> {
  const source = random(room.path('personal.bin'), MIB + 7);
  const [mine, theirs] = [room.path('mine'), room.path('theirs')];
  const [key, other] = await Promise.all([mine, theirs].map(async (file) => (await room.network.kollator('key', '--identity', file)).trim()));
  assert.notEqual(key, other);
  const app = await App.start(room, 'chromium');
  await app.forPerson(key!);
  await app.pick(source);
  const link = await app.link();
  assert.match(link, /&to=[\w-]{107}$/);
  await app.reaches('safe');
  await room.network.download(link, room.path('received.bin'), '--identity', mine);
  assert.equal(await digest(room.path('received.bin')), await digest(source));
  await assert.rejects(
    room.network.download(link, room.path('refused.bin'), '--identity', theirs),
    /not for this identity: it was made for another public key/,
  );
}

/** The terminal shares to the key of a browser: that one opens it, after a restart too, and others say whom it is not for. */
async function toThisBrowser(room: Room, name: BrowserName): Promise<void> {
  const source = random(room.path('for you.bin'), MIB + 7);
  const first = await room.browser(name, 'person');
  const key = await (await App.open(first, room.network.front)).publicKey();
  await first.close();
  const link = await room.network.share(source, '--to', key);

  const stranger = await App.start(room, name, link);
  for (const hasKey of [false, true]) {
    if (hasKey) {
      assert.notEqual(await stranger.publicKey(), key);
      await stranger.tab.goto(link);
    }
    const { code, words } = await stranger.trouble();
    assert.equal(code, 'key-wrong');
    assert.match(words, /This is for somebody else/);
  }

  const again = await App.open(await room.browser(name, 'person'), link);
  await again.reaches('complete');
  assert.equal(await digest(await again.save('for you.bin', MIB + 7)), await digest(source));
}

export const the_terminal_shares_with_one_person_in_chromium = (room: Room) => toThisBrowser(room, 'chromium');
export const the_terminal_shares_with_one_person_in_firefox = (room: Room) => toThisBrowser(room, 'firefox');
