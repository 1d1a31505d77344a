/** Video that plays while it comes in, and what can be done with it where browsers keep less for pages than usual. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { App } from '../app.ts';
import { MIB, digest, random } from '../files.ts';
import { until, type Room } from '../suite.ts';
import type { BrowserName, Habits } from '../tab.ts';

/** Seconds of film. */
const LENGTH = 200;
const SCENE = 10;

/** Writes a WebM film of about 73 MB to `room`: ten seconds of noise, which nothing makes smaller, over and over. */
function film(room: Room): string {
  const [scene, all] = [room.path('scene.webm'), room.path('film.webm')];
  const noise = `color=gray:size=320x180:rate=25:duration=${SCENE},noise=alls=80:allf=t`;
  const rate = ['-deadline', 'realtime', '-cpu-used', '8', '-b:v', '2800k', '-minrate', '2800k', '-g', '25'];
  ffmpeg('-f', 'lavfi', '-i', noise, '-c:v', 'libvpx', ...rate, scene);
  ffmpeg('-stream_loop', String(LENGTH / SCENE - 1), '-i', scene, '-c', 'copy', all);
  return all;
}

function ffmpeg(...args: string[]): void {
  const done = spawnSync('ffmpeg', ['-v', 'error', '-y', ...args], { encoding: 'utf8', timeout: 120_000 });
  if (done.status !== 0) throw new Error(`ffmpeg: ${done.stderr}`);
}

/** In a page: where the film is, and whether it moves. */
interface Playing {
  time: number;
  ready: number;
  error: string | null;
}

async function playing(app: App): Promise<Playing | undefined> {
  const source = `
    const video = document.querySelector('video');
    return video && { time: video.currentTime, ready: video.readyState, error: video.error?.message ?? null };
  `;
  const state = await app.tab.evaluate<Playing | null>(source);
  if (state?.error) throw new Error(`the film does not play: ${state.error}`);
  return state ?? undefined;
}

/** What pages lack in browsers without service workers, and what no test can answer: the system's own dialog. */
const WITHOUT = 'delete Navigator.prototype.serviceWorker; delete window.showSaveFilePicker';

/** Plays a film that is still coming, from two places; saves it in the end if `saves`. */
async function plays(room: Room, name: BrowserName, habits: Habits = {}, saves = false): Promise<void> {
  const source = film(room);
  const size = statSync(source).size;
  assert(size > 20e6, `the film has ${size} bytes only: it proves nothing`);
  const link = await room.network.share(source);
  // Quicker than the film runs, and slow enough that it is not all there at once.
  await room.network.having({ UPLOAD_LIMIT_KB: '2048' }, async () => {
    const app = await App.open(await room.browser(name, undefined, habits), habits.serviceWorkers === false ? 'about:blank' : link);
    if (habits.serviceWorkers === false) {
      if (name === 'chromium') await app.tab.page.evaluateOnNewDocument(WITHOUT);
      await app.tab.goto(link);
    }
    const reach = await app.tab.evaluate('return [!!navigator.serviceWorker, await navigator.storage.getDirectory().then(() => true, () => false)]');
    assert.deepEqual(reach, [habits.serviceWorkers !== false, !habits.private], 'the browser has other habits');
    await app.tab.find('play', 60);
    await app.tab.click('play');
    // A test presses no button with a hand, which is what browsers want for sound.
    await app.tab.evaluate(`document.querySelector('video').muted = true; await document.querySelector('video').play().catch(() => undefined)`);
    await until('the film begins', async () => ((await playing(app))?.time ?? 0) > 0.1, 60);
    const begun = await app.progress();
    assert(begun && begun.done < size / 10, `it began to play at ${begun?.done} of ${size} bytes`);
    const address = await app.tab.evaluate<string>(`return document.querySelector('video').currentSrc`);
    assert.equal(address.startsWith('blob:'), habits.serviceWorkers === false, address);

    const middle = LENGTH / 2;
    const asked = performance.now();
    await app.tab.evaluate(`document.querySelector('video').currentTime = ${middle}`);
    await until('the middle', async () => ((await playing(app))?.time ?? 0) > middle + 0.1, 20);
    const seconds = (performance.now() - asked) / 1000;
    const progress = await app.progress();
    console.log(`${name}: plays at ${((100 * begun.done) / size).toFixed(1)}%, from the middle after ${seconds.toFixed(2)} s`);
    assert(progress && progress.done < size / 2, `${progress?.done} of ${size} bytes were there by then`);
    if (saves) assert.equal(await digest(await app.save('film.webm', size)), await digest(source));
  });
}

export const a_film_plays_in_chromium_while_it_comes = (room: Room) => plays(room, 'chromium');
export const a_film_plays_in_firefox_while_it_comes = (room: Room) => plays(room, 'firefox');
export const a_film_plays_in_a_private_window = (room: Room) => plays(room, 'firefox', { private: true }, true);
export const a_film_plays_in_a_private_window_without_service_workers = (room: Room) => plays(room, 'firefox', { private: true, serviceWorkers: false }, true);
export const a_film_plays_in_chromium_without_service_workers = (room: Room) => plays(room, 'chromium', { serviceWorkers: false }, true);

/** Where pages may keep nothing at all, shares are kept in memory, and what is too large for that is told. */
export async function a_page_that_may_keep_nothing_gets_and_saves_files(room: Room): Promise<void> {
  const source = random(room.path('kept.bin'), 20 * MIB);
  const link = await room.network.share(source);
  const app = await App.open(await room.browser('firefox', undefined, { cookies: false }), link);
  await app.reaches('complete');
  assert.equal(await digest(await app.save('kept.bin', 20 * MIB)), await digest(source));
  // Firefox reports by itself that it refused the service worker.
  assert.deepEqual(app.tab.log.filter((line) => line.startsWith('uncaught') && !line.includes('ServiceWorker')), []);
}
