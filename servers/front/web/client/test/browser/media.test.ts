/** Films and sound through Media Source Extensions, in real browsers: no service worker, no network in between. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { browsers, launch, serve, type Page } from './harness.ts';

/** Seconds of each. */
const LENGTH = 300;
const PICTURES = ['-f', 'lavfi', '-i', `testsrc2=size=160x90:rate=10:duration=${LENGTH}`];
const SOUND = ['-f', 'lavfi', '-i', `sine=frequency=440:duration=${LENGTH}`];
const VP8 = ['-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-b:v', '200k', '-g', '20'];
/** Pictures that refer to later ones, in groups of ten seconds, and what tells where they are at the very end. */
const H264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '2', '-b_strategy', '0', '-g', '100', '-b:v', '200k', '-pix_fmt', 'yuv420p'];
/** What to make each of with ffmpeg. */
const FILES: Record<string, string[]> = {
  'vp8-opus.webm': [...PICTURES, ...SOUND, ...VP8, '-c:a', 'libopus'],
  'h264-aac.mp4': [...PICTURES, ...SOUND, ...H264, '-c:a', 'aac'],
  'h264-vorbis.mkv': [...PICTURES, ...SOUND, ...H264, '-c:a', 'libvorbis'],
  'sound.mp3': [...SOUND, '-c:a', 'libmp3lame'],
  'sound.ogg': [...SOUND, '-c:a', 'libopus'],
  'sound.flac': [...SOUND, '-c:a', 'flac'],
  'sound.m4a': [...SOUND, '-c:a', 'aac'],
};

function made(): Record<string, Buffer> {
  const folder = mkdtempSync(join(tmpdir(), 'kollator-media-'));
  try {
    const files: Record<string, Buffer> = {};
    for (const [name, args] of Object.entries(FILES)) {
      const path = join(folder, name);
      const done = spawnSync('ffmpeg', ['-v', 'error', '-y', ...args, path], { encoding: 'utf8', timeout: 120_000 });
      if (done.status !== 0) throw new Error(`ffmpeg: ${done.error ?? ''}${done.stderr}`);
      files[`/${name}`] = readFileSync(path);
    }
    return files;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const files = made();
const server = await serve({
  ...files,
  '/text.mp4': Buffer.from('This is no film. '.repeat(10_000)),
  '/cut.mp4': Buffer.from(files['/h264-aac.mp4']!.subarray(0, 300_000)),
  '/garbled.webm': garbled(files['/vp8-opus.webm']!),
  '/silence.wav': Buffer.concat([Buffer.from('524946462408000057415645666d74201000000001000100401f0000803e0000020010006461746100080000', 'hex'), Buffer.alloc(2048)]),
});
after(() => server.close());

/** A film whose pictures are noise from some place on. */
function garbled(film: Buffer): Buffer {
  const bytes = Buffer.from(film);
  for (let at = 20_000; at < bytes.length; at += 1) bytes[at] = (at * 7919) % 256;
  return bytes;
}

/** Begins to play a file; `read` says how many bytes of it were read, `most` how many seconds were ever held. */
async function begin(page: Page, name: string, kind = name.startsWith('sound') ? 'audio' : 'video'): Promise<void> {
  await page.run(`
    const { play } = await import('/src/media/play.ts');
    const bytes = new Uint8Array(await (await fetch('/${name}')).arrayBuffer());
    globalThis.read = 0;
    globalThis.givenUp = 0;
    globalThis.most = 0;
    globalThis.failure = undefined;
    globalThis.stop = new AbortController();
    globalThis.element = document.createElement('${kind}');
    element.muted = true;
    element.autoplay = true;
    document.body.append(element);
    setInterval(() => {
      let held = 0;
      for (let at = 0; at < element.buffered.length; at += 1) held += element.buffered.end(at) - element.buffered.start(at);
      most = Math.max(most, held);
    }, 100);
    globalThis.playing = play(element, {
      length: bytes.length,
      read: async (offset, length, signal) => {
        signal.addEventListener('abort', () => givenUp += 1);
        await new Promise((go) => setTimeout(go, 5));
        while (globalThis.hold && !signal.aborted) await new Promise((go) => setTimeout(go, 5));
        signal.throwIfAborted();
        if (globalThis.broken) throw broken;
        read += length;
        return bytes.slice(offset, offset + length);
      },
    }, stop.signal).then(() => 'ended', (error) => (failure = { code: error.code, message: error.message, cause: String(error.cause) }));
  `);
}

/** Waits until the element is past a time and moves; seconds it took. */
async function passes(page: Page, time: number): Promise<number> {
  const began = performance.now();
  for (;;) {
    const state = (await page.run(`
      return { time: element.currentTime, ready: element.readyState, failure, duration: element.duration, ended: element.ended,
        ranges: Array.from({ length: element.buffered.length }, (_, at) => [element.buffered.start(at), element.buffered.end(at)]) };
    `)) as { time: number; failure?: unknown };
    assert.equal(state.failure, undefined, JSON.stringify(state));
    if (state.time >= time) return (performance.now() - began) / 1000;
    assert.ok(performance.now() - began < 15_000, `it does not come past ${time}: ${JSON.stringify(state)}`);
    await new Promise((wake) => setTimeout(wake, 30));
  }
}

for (const name of browsers) {
  for (const file of Object.keys(FILES)) {
    test(`${name} plays ${file}, and seeks in it, without reading or holding all of it`, async () => {
      const browser = await launch(name, server.url);
      try {
        const page = await browser.page();
        await begin(page, file);
        await passes(page, 0.3);
        const duration = Number(await page.run('return element.duration'));
        assert.ok(Math.abs(duration - LENGTH) < 0.3, `it is said to take ${duration} s`);
        for (const [to, why] of [[150, 'forth'], [5, 'back'], [6.5, 'a little'], [220.25, 'forth again']] as const) {
          await page.run(`element.currentTime = ${to}`);
          const took = await passes(page, to + 0.2);
          assert.ok(took < 5, `${why} took ${took} s`);
        }
        const [read, most] = (await page.run('return [read, most]')) as [number, number];
        const size = files[`/${file}`]!.length;
        console.log(`${name} ${file}: read ${((100 * read) / size).toFixed(0)}% of ${size}, held ${most.toFixed(0)} s`);
        assert.ok(most < 70, `${most} seconds were held`);
        // To find a place in sound that has no index all before it is read.
        assert.ok(read < 0.75 * size || file.startsWith('sound'), `${read} of ${size} bytes were read`);
        await page.run(`element.currentTime = ${LENGTH - 1}`);
        await page.run('if (!element.ended) await new Promise((go) => element.onended = go)');
        assert.equal(await page.run('stop.abort(); return playing'), 'ended');
        assert.equal(await page.run('return element.hasAttribute("src")'), false);
      } finally {
        await browser.close();
      }
    });
  }
}

for (const name of browsers) {
  test(`${name} says what is wrong with a file that it cannot play`, async () => {
    const browser = await launch(name, server.url);
    try {
      for (const file of ['text.mp4', 'cut.mp4', 'garbled.webm', 'silence.wav']) {
        const page = await browser.page();
        await begin(page, file, 'video');
        await page.run('await Promise.race([playing, new Promise((go) => setTimeout(go, 15_000))])');
        const failure = (await page.run('return failure ?? null')) as { code: string; message: string } | null;
        assert.equal(failure?.code, 'unplayable', `${file}: ${JSON.stringify(failure)}`);
        assert.match(failure.message, /cannot|neither film|damaged/, file);
        assert.equal(await page.run('return element.hasAttribute("src")'), false, file);
        await page.close();
      }
    } finally {
      await browser.close();
    }
  });

  test(`${name} plays where it is wanted last, however late and in whatever order bytes come`, async () => {
    const browser = await launch(name, server.url);
    try {
      const page = await browser.page();
      await begin(page, 'vp8-opus.webm');
      await passes(page, 0.2);
      // From now on only what is wanted last ever comes.
      await page.run(`
        globalThis.hold = true;
        for (const time of [100, 250, 40, 200, 120, 180]) {
          element.currentTime = time;
          await new Promise((go) => setTimeout(go, 60));
        }
        globalThis.hold = false;
      `);
      await passes(page, 180.2);
      assert.ok(Number(await page.run('return givenUp')) > 0, 'nothing was given up');
      await page.run('globalThis.hold = true; element.currentTime = 280; await new Promise((go) => setTimeout(go, 200)); stop.abort()');
      assert.equal(await page.run('return playing'), 'ended');
      const read = await page.run('return read');
      await page.run('await new Promise((go) => setTimeout(go, 500))');
      assert.equal(await page.run('return read'), read, 'it reads on');
    } finally {
      await browser.close();
    }
  });

  test(`${name} plays in a browser that has room for little, and after it dropped what was fed`, async () => {
    const browser = await launch(name, server.url);
    try {
      const page = await browser.page();
      await page.run(`
        const { appendBuffer } = SourceBuffer.prototype;
        globalThis.refused = 0;
        SourceBuffer.prototype.appendBuffer = function (data) {
          let held = 0;
          for (let at = 0; at < this.buffered.length; at += 1) held += this.buffered.end(at) - this.buffered.start(at);
          if (held > 10) {
            refused += 1;
            throw new DOMException('full', 'QuotaExceededError');
          }
          if (!globalThis.buffers) globalThis.buffers = new Set();
          buffers.add(this);
          return appendBuffer.call(this, data);
        };
      `);
      await begin(page, 'vp8-opus.webm');
      // A rate that is set before there is anything to play does not last.
      await passes(page, 0.1);
      await page.run('element.playbackRate = 2');
      await passes(page, 20);
      const [most, refused] = (await page.run('return [most, refused]')) as [number, number];
      assert.ok(most < 14 && refused > 0, `${most} s were held, ${refused} times it was full`);
      assert.ok(refused < 500, `it was asked ${refused} times`);
      await page.run(`
        for (const buffer of buffers) {
          if (buffer.updating) await new Promise((go) => buffer.addEventListener('updateend', go, { once: true }));
          buffer.remove(0, Infinity);
        }
      `);
      await passes(page, 24);
    } finally {
      await browser.close();
    }
  });

  test(`${name} tells of a reading that failed`, async () => {
    const browser = await launch(name, server.url);
    try {
      const page = await browser.page();
      await begin(page, 'vp8-opus.webm');
      await passes(page, 0.2);
      await page.run(`
        const { KollatorError } = await import('/src/errors.ts');
        globalThis.broken = new KollatorError('not-found', 'There is no such share here.');
        element.currentTime = 200;
        await Promise.race([playing, new Promise((go) => setTimeout(go, 5000))]);
      `);
      const failure = (await page.run('return failure ?? null')) as { code: string } | null;
      assert.equal(failure?.code, 'not-found');
    } finally {
      await browser.close();
    }
  });
}
