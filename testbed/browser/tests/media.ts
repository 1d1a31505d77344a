/** Video that plays while it comes in. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { App } from '../app.ts';
import { until, type Room } from '../suite.ts';
import type { BrowserName } from '../tab.ts';

/** Seconds of film. */
const LENGTH = 120;
const SCENE = 10;

/** Writes a WebM film of about 44 MB to `room`: ten seconds of noise, which nothing makes smaller, over and over. */
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

async function plays(room: Room, name: BrowserName): Promise<void> {
  const source = film(room);
  const size = statSync(source).size;
  assert(size > 20e6, `the film has ${size} bytes only: it proves nothing`);
  const link = await room.network.share(source);
  // Quicker than the film runs, and slow enough that it is not all there at once.
  await room.network.having({ UPLOAD_LIMIT_KB: '2048' }, async () => {
    const app = await App.start(room, name, link);
    await app.tab.find('play', 60);
    await app.tab.click('play');
    // A test presses no button with a hand, which is what browsers want for sound.
    await app.tab.evaluate(`document.querySelector('video').muted = true; await document.querySelector('video').play()`);
    await until('the film begins', async () => ((await playing(app))?.time ?? 0) > 0.1, 60);
    const begun = await app.progress();
    assert(begun && begun.done < size / 10, `it began to play at ${begun?.done} of ${size} bytes`);

    const middle = LENGTH / 2;
    const asked = performance.now();
    await app.tab.evaluate(`document.querySelector('video').currentTime = ${middle}`);
    await until('the middle', async () => ((await playing(app))?.time ?? 0) > middle + 0.1, 20);
    const seconds = (performance.now() - asked) / 1000;
    const progress = await app.progress();
    console.log(`${name}: plays at ${((100 * begun.done) / size).toFixed(1)}%, from the middle after ${seconds.toFixed(2)} s`);
    assert(progress && progress.done < size / 2, `${progress?.done} of ${size} bytes were there by then`);
  });
}

export const a_film_plays_in_chromium_while_it_comes = (room: Room) => plays(room, 'chromium');
export const a_film_plays_in_firefox_while_it_comes = (room: Room) => plays(room, 'firefox');
